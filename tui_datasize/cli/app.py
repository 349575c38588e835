"""Open the app."""

from __future__ import annotations

import argparse
import sys

from tui_datasize.cli.project import project_paths, read_project
from tui_datasize.errors import ConfigError


def open_app(arguments: argparse.Namespace) -> int:
    """Open the app on a project.

    Raises:
        ConfigError: There is no terminal, or `experiments.toml` is missing or wrong: said before the screen
            changes.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError("the app needs a terminal", fix="`datasize-tui --help` lists the commands")
    paths = project_paths(arguments)
    read_project(paths)
    from tui_datasize.tui.app import run_app

    return run_app(paths)
