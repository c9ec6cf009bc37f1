"""Generated Python: written out, or as loops over rows."""
