"""Open the app."""

from __future__ import annotations

import argparse

from tui_datasize.cli.project import project_paths, read_project


def open_app(arguments: argparse.Namespace) -> int:
    """Open the app on a project.

    Raises:
        ConfigError: `experiments.toml` is missing or wrong: said before the screen changes.
    """
    paths = project_paths(arguments)
    read_project(paths)
    from tui_datasize.tui.app import run_app

    return run_app(paths)
