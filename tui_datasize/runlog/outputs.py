"""Files that a person names: written whole, and never in the place of something else."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path

from tui_datasize.errors import StorageError
from tui_datasize.runlog.atomic import write_bytes

_FIX = "name another file"


def write_output(file: Path, data: bytes, *, suffixes: Collection[str], force: bool = False) -> None:
    """Write a file that a person named, whole or not at all.

    One that is there is replaced if it has one of the `suffixes` of its format, in lower case, or with
    `force`.

    Raises StorageError: it cannot be written, or is what no output may replace: a link, a device, a pipe, a
        directory, a file of another user, or a part of a project.
    """
    refuse_output(file, suffixes=suffixes, force=force)
    try:
        # The folder may be a link; of the name itself it is known that it is none.
        write_bytes(file.parent.resolve() / file.name, data)
    except OSError as error:
        raise StorageError.of(error, "cannot be written", where=str(file), fix=_FIX) from None


def refuse_output(file: Path, *, suffixes: Collection[str], force: bool = False) -> None:
    """Refuse early what `write_output` would refuse."""
    if _is_of_a_project(file):
        raise _refusal(file, "belongs to a project and is not replaced")
    try:
        there = file.lstat()
    except FileNotFoundError:
        if not file.parent.is_dir():
            raise _refusal(file, f"cannot be written: no folder {file.parent}") from None
        return
    except (OSError, ValueError) as error:
        raise StorageError.of(error, "cannot be written", where=str(file), fix=_FIX) from None
    if not stat.S_ISREG(there.st_mode):
        kind = "a link" if stat.S_ISLNK(there.st_mode) else "no regular file"
        raise _refusal(file, f"cannot be written: it is {kind}")
    if there.st_uid != os.geteuid():
        raise _refusal(file, "cannot be written: it belongs to another user")
    if file.suffix.lower() not in suffixes and not force:
        expected = " or ".join(sorted(suffixes))
        raise StorageError(
            f"is there already, and is no {expected} file", where=str(file), fix="--force replaces it"
        )


def _is_of_a_project(file: Path) -> bool:
    place = file.parent.resolve() / file.name
    if place.name == "experiments.toml" or place.name.startswith("queue.db"):
        return True
    runs = [above for above in place.parents if above.name == "runs"]
    return any((one / "queue.db").exists() or (one.parent / "experiments.toml").exists() for one in runs)


def _refusal(file: Path, what: str) -> StorageError:
    return StorageError(what, where=str(file), fix=_FIX)
