"""Remarks of people on experiments: a text file each, which any editor can change and no command deletes."""

from __future__ import annotations

import os
from datetime import datetime

from tui_datasize.errors import ConfigError, StorageError
from tui_datasize.experiments.spec import NAME_PATTERN
from tui_datasize.files import open_regular
from tui_datasize.runlog.paths import ProjectPaths

_MOST_BYTES = 1_000_000


def add_note(project: ProjectPaths, experiment: str, text: str, now: datetime) -> None:
    """Add a remark to those of an experiment, synced to the disk.

    Raises ConfigError: it says nothing, or no experiment can have this name.
    Raises StorageError: it cannot be written.
    """
    said = " ".join(text.split())
    if not said or not NAME_PATTERN.fullmatch(experiment):
        what = f"no experiment can be called {experiment!r}" if said else "a note without words"
        raise ConfigError(what, fix="name one of the project" if said else "write what you want to remember")
    file = project.note(experiment)
    line = f"- {now:%Y-%m-%d %H:%M %Z}: {said}\n"
    try:
        file.parent.mkdir(exist_ok=True)
        # One write at the end of the file: several who write at once lose nothing.
        with open_regular(file, "ab", buffering=0) as stream:
            # A shell hands bytes over that are no text.
            stream.write(line.encode(errors="replace"))
            os.fsync(stream.fileno())
    except OSError as error:
        raise StorageError.of(error, "cannot be written", where=str(file)) from None


def read_remarks(project: ProjectPaths, experiment: str) -> list[str]:
    """The remarks on an experiment, a line each, the oldest first; none where there is no file to read."""
    if not NAME_PATTERN.fullmatch(experiment):
        return []
    try:
        with open_regular(project.note(experiment)) as stream:
            text = stream.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return []
    return [line.removeprefix("- ") for line in map(str.strip, text.splitlines()) if line]
