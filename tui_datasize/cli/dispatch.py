"""Entry point: parse, call one command, turn every expected error into one line."""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TypeAlias, cast

from tui_datasize.characters import write_plainly
from tui_datasize.cli.basics import without_collection
from tui_datasize.cli.parser import SUBCOMMANDS, build_parser
from tui_datasize.errors import ConfigError, DatasizeError, exit_status_of
from tui_datasize.text import visible

Call: TypeAlias = Callable[[argparse.Namespace], int]

EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, from the words after the program's name; those of the process by default.

    The exit status is 0 done, 1 a run failed, 2 wrong usage or bad input, 3 the machine is short of something
    for now, 130 interrupted.
    """
    words = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            write_plainly(stream)
    arguments = build_parser(words).parse_args(words)
    try:
        with without_collection():
            call = _load(arguments.command)
        status = call(arguments)
        sys.stdout.flush()
    except DatasizeError as error:
        print(f"datasize-tui: {error.line}", file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:
        # The reader of our output has gone; Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(visible(f"datasize-tui: {where}{error.strerror or error}"), file=sys.stderr)
        return exit_status_of(error)
    return status


def _load(command: str | None) -> Call:
    calls = {one.name: one.call for one in SUBCOMMANDS}
    module, function = (calls[command] if command else "dispatch:open_app").split(":")
    return cast(Call, getattr(import_module(f"tui_datasize.cli.{module}"), function))


def open_app(arguments: argparse.Namespace) -> int:
    """Open the app on a project."""
    if not arguments.once and not (sys.stdin.isatty() and sys.stderr.isatty()):
        fix = "`datasize-tui --help` lists the commands, `--once queue` prints a screen"
        raise ConfigError("the app needs a terminal", fix=fix)
    from tui_datasize.cli.basics import experiments_of, project_paths

    paths = project_paths(arguments)
    if paths.experiments.exists():
        experiments_of(paths)
    if arguments.once:
        from tui_datasize.tui.start import print_screen

        size = arguments.size or shutil.get_terminal_size((80, 24))
        return print_screen(paths, arguments.once, (size[0], size[1]))
    if os.environ.get("TERM") in (None, "", "dumb"):
        from tui_datasize.cli.terminals import plain_screen

        return plain_screen(arguments)
    from tui_datasize.tui.start import run_app

    return run_app(paths, slow=arguments.slow, read_only=arguments.read_only)
