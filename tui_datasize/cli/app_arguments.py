"""What the app may be started with, and arguments of the commands on how it is used."""

from __future__ import annotations

import argparse

from tui_datasize.cli.arguments import argument, flags, valued

CONFIG = (
    argument(
        "action",
        choices=("show", "validate"),
        help="show: what holds, as a file that says the same; validate: every mistake of the file",
    ),
)
COMPLETION = (argument("shell", choices=("bash", "zsh", "fish", "tcsh"), help="of which shell"),)


def _size(text: str) -> tuple[int, int]:
    columns, _, lines = text.partition("x")
    if not (columns.isdecimal() and lines.isdecimal() and 0 < int(columns) <= 1000 >= int(lines) > 0):
        raise argparse.ArgumentTypeError(f"expected COLUMNSxLINES such as 160x48, got {text!r}")
    return int(columns), int(lines)


APP = (
    valued(
        "--once",
        "TAB",
        "print a tab of the app as it looks now, and end: queue, live or analysis; plain text where it goes "
        "to no terminal",
        choices=("queue", "live", "analysis"),
    ),
    valued("--size", "CxL", "columns and lines of what --once prints (default: the terminal's)", type=_size),
    flags(
        slow="draw less often, for a slow link, and tell the bytes a second",
        read_only="only look on: no key changes the queue or a file of the project",
    ),
)
"""Of the app, which opens without a command."""
