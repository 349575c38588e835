"""What leaves the screen: the table in view and a chart as files, a chart as text for the clipboard."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from rich.text import Text

from tui_datasize.errors import StorageError
from tui_datasize.text import plural

if TYPE_CHECKING:
    import polars as pl

ChartForm: TypeAlias = Literal["svg", "png", "txt", "copy"]
CHART_FORMS: tuple[tuple[ChartForm, str], ...] = (
    ("png", "PNG   picture"),
    ("svg", "SVG   picture that stays sharp at every size"),
    ("txt", "text  as on the screen, to a file"),
    ("copy", "copy  as text, to the clipboard"),
)
"""What a chart may become, and how a dialog offers it."""
_LONGEST_NAME = 60
_TMUX_S = 2.0
_SCREEN_PIECE = 512
"""Bytes that GNU screen hands on at once, at least."""


@dataclass(frozen=True, slots=True)
class TableInView:
    """What an export writes."""

    name: str
    """Beginning of the file's name, such as `digits-curve`."""
    build: Callable[[], pl.DataFrame]
    """Makes the table; called off the screen's thread."""


async def save_table(table: TableInView | None, directory: Path) -> str:
    """Write a table off the screen's thread, and say where; raises StorageError as `export_csv`."""
    if table is None:
        return "nothing to export yet"
    return await asyncio.to_thread(export_csv, table, directory, datetime.now())


async def save_chart(
    title: str, lines: Sequence[Text], form: ChartForm, directory: Path, send: Callable[[str], object]
) -> str:
    """Let a chart leave the screen, and say where to; `send` writes codes to the terminal, from any thread.

    Raises StorageError: it cannot be written.
    """
    if form == "copy":
        text = "\n".join(line.plain.rstrip() for line in lines)
        return await asyncio.to_thread(copy_text, text, send)
    return await asyncio.to_thread(export_chart, title, lines, form, directory, datetime.now())


def export_csv(table: TableInView, directory: Path, now: datetime) -> str:
    """Write a table under a name that holds the time, and say where.

    Raises StorageError: the file can be written neither there nor in the home directory.
    """
    from tui_datasize.runlog.export import render

    frame = table.build()
    rows = plural(frame.height, "row")
    return _write(rows, directory, table.name, ".csv", render(frame, "csv"), now)


def export_chart(title: str, lines: Sequence[Text], form: ChartForm, directory: Path, now: datetime) -> str:
    """Write a chart as text or as a picture under a name that holds its title and the time; say where.

    Raises StorageError: as `export_csv`.
    """
    from tui_datasize.tui.charts.picture import png_picture, svg_picture

    if form == "txt":
        data = "".join(f"{line.plain.rstrip()}\n" for line in lines).encode()
    else:
        data = png_picture(lines) if form == "png" else svg_picture(lines)
    name = re.sub(r"[^\w.]+", "-", title.lower()).strip("-.")[:_LONGEST_NAME] or "chart"
    return _write("the chart", directory, name, f".{form}", data, now)


def _write(what: str, directory: Path, name: str, suffix: str, data: bytes, now: datetime) -> str:
    """Write to a file that is not there yet, in the home directory where the first cannot be written."""
    from tui_datasize.runlog.outputs import write_output

    stem, home = f"{name}-{now:%Y%m%d-%H%M%S}", Path.home()
    try:
        write_output(file := _free(directory, stem, suffix), data, suffixes=(suffix,))
    except StorageError as error:
        try:
            write_output(file := _free(home, stem, suffix), data, suffixes=(suffix,))
        except StorageError:
            # Nobody can name another file here.
            raise StorageError(error.what, where=error.where) from None
        return f"wrote {what} to {file}: {directory} takes no files"
    return f"wrote {what} to {file}"


def _free(directory: Path, stem: str, suffix: str) -> Path:
    file, number = directory / f"{stem}{suffix}", 2
    while os.path.lexists(file):
        file, number = directory / f"{stem}-{number}{suffix}", number + 1
    return file


def copy_text(text: str, send: Callable[[str], object], environment: Mapping[str, str] = os.environ) -> str:
    """Put text on the clipboard of the terminal at which somebody sits, and say what was done.

    tmux takes it by its own command, since it does not hand on what programs send unless it is told to.
    Everything else is sent as OSC 52, which no terminal answers.
    """
    if environment.get("TMUX"):
        try:
            command = ("tmux", "load-buffer", "-w", "-")
            subprocess.run(command, input=text.encode(), timeout=_TMUX_S, check=True, capture_output=True)
        except (OSError, subprocess.SubprocessError):
            pass
        else:
            return "copied to tmux (its paste key), and sent to the terminal's clipboard"
    send(clipboard_sequence(text, environment))
    return "sent to the terminal's clipboard; terminals do not say whether they take it (OSC 52)"


async def copy(text: str, send: Callable[[str], object]) -> str:
    """Put one line on the clipboard, and say that it was."""
    return f"{text} {await asyncio.to_thread(copy_text, text, send)}"


def clipboard_sequence(text: str, environment: Mapping[str, str]) -> str:
    r"""OSC 52 with a text, wrapped as tmux and GNU screen hand it on.

    >>> clipboard_sequence("a", {})
    '\x1b]52;c;YQ==\x07'
    >>> clipboard_sequence("a", {"TMUX": "/tmp/x"})
    '\x1bPtmux;\x1b\x1b]52;c;YQ==\x07\x1b\\'
    """
    sequence = f"\x1b]52;c;{b64encode(text.encode()).decode()}\a"
    if environment.get("TMUX"):
        return f"\x1bPtmux;\x1b{sequence}\x1b\\"
    if environment.get("STY"):
        pieces = range(0, len(sequence), _SCREEN_PIECE)
        return "".join(f"\x1bP{sequence[at : at + _SCREEN_PIECE]}\x1b\\" for at in pieces)
    return sequence
