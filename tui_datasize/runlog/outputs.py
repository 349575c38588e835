"""Files that a person names: written whole, and never in the place of something else."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Collection
from pathlib import Path

from tui_datasize.errors import ConfigError, StorageError
from tui_datasize.experiments.load import load_project
from tui_datasize.runlog.atomic import rename, write_bytes


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
        raise _refusal(file, f"cannot be written: {error.strerror}") from None


def extend_project_file(file: Path, lines: str) -> None:
    """Add lines to the end of `experiments.toml`, whose own text, comments and all, stays as it is.

    Raises ConfigError: the file is not right, or not with these lines; nothing was written.
    Raises StorageError: it cannot be written, or was changed meanwhile.
    """
    load_project(file)
    place = file.resolve()
    before = place.read_bytes()
    end = b"\r\n" if b"\r\n" in before else b"\n"
    added = lines.strip("\n").encode().replace(b"\n", end)
    text = before.rstrip() + 2 * end + added + end
    try:
        tried = place.with_name(f".{place.name}.tried")
        write_bytes(tried, text)
        try:
            shutil.copymode(place, tried)
            load_project(tried)
            if place.read_bytes() != before:
                raise StorageError(
                    "was changed just now, and is left as it is", where=str(file), fix="try again"
                )
            rename(tried, place)
        finally:
            tried.unlink(missing_ok=True)
    except ConfigError as error:
        fix = "add the lines by hand"
        raise ConfigError(f"cannot be extended: {error.what}", where=str(file), fix=fix) from None
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", where=str(file)) from None


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
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise _refusal(file, f"cannot be written: {why}") from None
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
    return StorageError(what, where=str(file), fix="name another file")
