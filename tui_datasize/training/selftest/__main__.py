"""`python -m tui_datasize.training.selftest`: for machines that have torch and little else."""

import sys

from tui_datasize.training.selftest.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
