"""`python -m tinygrad_bp` is the command line, `tinygrad-bp`."""

import sys

from tinygrad_bp.cli import main

sys.exit(main())
