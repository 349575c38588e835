"""Entry point: parse, call one command, turn every expected error into one line."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import TypeAlias, cast

from tui_datasize.cli.parser import build_parser
from tui_datasize.errors import EXIT_BAD_INPUT, DatasizeError
from tui_datasize.text import visible

Command: TypeAlias = Callable[[argparse.Namespace], int]

EXIT_INTERRUPTED = 130

_COMMANDS: Mapping[str | None, str] = MappingProxyType(
    {
        None: "app:open_app",
        "demo": "demo:demo",
        "experiments": "queueing:experiments",
        "queue": "queueing:queue",
        "run": "watch:run",
        "logs": "watch:logs",
        "status": "status:status",
        "hold": "levers:change_jobs",
        "release": "levers:change_jobs",
        "cancel": "levers:change_jobs",
        "retry": "levers:change_jobs",
        "priority": "levers:change_jobs",
        "move": "levers:change_jobs",
        "drain": "levers:drain",
        "prune": "prune:prune",
        "export": "tables:export",
        "analyze": "tables:analyze",
        "plan": "planning:plan",
        "report": "reporting:report",
        "import": "importing:import_runs",
        "doctor": "doctor:doctor",
        "selftest": "selftest:selftest",
        "scheduler": "scheduling:scheduler",
    }
)
"""Where each command lives: its module is imported only when it is called."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; those of the process by default.

    Returns:
        The exit status: 0 done, 1 a run failed, 2 wrong usage or bad input, 130 interrupted.
    """
    words = sys.argv[1:] if argv is None else argv
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What the locale of a terminal has no character for is written as an escape, as on stderr.
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = build_parser(words[0] if words else "").parse_args(words)
    try:
        status = _load(arguments.command)(arguments)
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
        return EXIT_BAD_INPUT
    return status


def _load(command: str | None) -> Command:
    module, function = _COMMANDS[command].split(":")
    return cast(Command, getattr(import_module(f"tui_datasize.cli.{module}"), function))
