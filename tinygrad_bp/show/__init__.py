"""What happened in my graph?  Pictures of training (`plotting.py`); imported only when they are asked for."""
