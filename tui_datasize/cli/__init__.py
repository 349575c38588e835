"""The command line: one module per group of commands, imported only when a command is called."""

from tui_datasize.cli.dispatch import main

__all__ = ["main"]
