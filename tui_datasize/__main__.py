"""`python -m tui_datasize`: the same as the command `datasize-tui`."""

import sys

from tui_datasize.cli import main

if __name__ == "__main__":
    sys.exit(main())
