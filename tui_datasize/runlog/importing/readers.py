"""The forms of files that are read: each in a file of its own, with the rule by which it is known."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.toml import text_of
from tui_datasize.files import read_bounded
from tui_datasize.runlog.importing import charts, events, tables
from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.staged import MOST_BYTES, Staged

_HEAD_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class FileForm:
    """One form of file."""

    form: str
    knows: Callable[[str, bytes], bool]
    """Whether a file of this name and this beginning has the form."""
    read: Callable[[bytes, str, Layout, Staged], None]
    """Reads content and name of the run into what is staged."""
    in_folders: str
    """Names of files that are looked for in a folder."""


def _of_text(knows: Callable[[str], bool]) -> Callable[[str, bytes], bool]:
    def known(_name: str, head: bytes) -> bool:
        try:
            text = text_of(head)
        except UnicodeDecodeError as error:
            text = text_of(head[: error.start])
        # A machine that went down may leave zeros among the rows; other files have some at once.
        return bool(text or not head) and "\0" not in text.partition("\n")[0].rstrip("\0") and knows(text)

    return known


READERS: Sequence[FileForm] = (
    FileForm(events.FORM, events.is_events, events.read_events, "*tfevents*"),
    FileForm(charts.FORM, _of_text(charts.is_chart), charts.read_chart, "*.csv"),
    FileForm(
        tables.FORM,
        _of_text(lambda text: not text.lstrip().startswith(("{", "["))),
        tables.read_table,
        "*.csv",
    ),
)
"""In the order in which they are asked."""


def read_file(file: Path, run: str, layout: Layout, into: Staged) -> None:
    """Read a file by the first reader that knows its form.

    Args:
        file: Path of the file.
        run: Its folders, and its name where these tell nothing alone.
        layout: What columns mean.
        into: Receives what the file tells.

    Raises:
        ConfigError: The file is too large, broken, or of no form that is known.
    """
    try:
        data = read_bounded(file, MOST_BYTES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise ConfigError(f"larger than {MOST_BYTES // 2**20} MiB", where=str(file)) from None
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(file)) from None
    reader = next((reader for reader in READERS if reader.knows(file.name, data[:_HEAD_BYTES])), None)
    if reader is None:
        known = ", ".join(dict.fromkeys(reader.form for reader in READERS))
        raise ConfigError(f"unknown format; expected {known}", where=str(file), fix="save its table as CSV")
    into.form = reader.form
    reader.read(data, run, layout, into)


def files_of(given: Sequence[Path]) -> list[tuple[Path, str]]:
    """Every file that was meant, with what names its run.

    That is the folders of an event file, and the folder and name of any other. In a folder and below it the
    files of the first reader are taken that has any there.

    Raises:
        ConfigError: A path is none, or nothing in a folder can be read.
    """
    found: list[tuple[Path, str]] = []
    for path in given:
        if not path.exists():
            raise ConfigError("no such file", where=str(path))
        if not path.is_dir():
            found.append((path, _name(path, path.absolute().parent.parent)))
            continue
        inside = next(filter(None, (_below(path, reader.in_folders) for reader in READERS)), [])
        if not inside:
            raise ConfigError("no TensorBoard event file there, and no CSV", where=str(path))
        found += [(file, _name(file, path.absolute().parent)) for file in inside]
    return found


def _below(folder: Path, pattern: str) -> list[Path]:
    # Of files that TensorBoard numbers the tenth comes behind the second.
    return sorted(
        (file for file in folder.rglob(pattern) if file.is_file()),
        key=lambda file: [(file.parent, re.sub(r"\d+", lambda n: n[0].zfill(20), file.name)), file.name],
    )


def _name(file: Path, top: Path) -> str:
    relative = file.absolute().relative_to(top)
    return (relative.parent if "tfevents" in file.name else relative.with_suffix("")).as_posix()
