"""`python -m tui_datasize.training RUN_DIR [RUN_DIR ...]`."""

import sys

from tui_datasize.training.worker import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
