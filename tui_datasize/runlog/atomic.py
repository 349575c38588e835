"""Files that are either whole or not there, and names that survive a power cut: all is synced in order.

What the disk does not take is raised as `OSError`, and what was there before is untouched.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, so that a reader or a power cut sees the old file or the new one."""
    # A thread id is unique on the machine while the thread lives: writers never share a temporary
    # file, and one that was killed leaves no more than a single stale file behind.
    temporary = path.with_name(f".{path.name}.{threading.get_native_id()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_json(path: Path, obj: Any) -> None:
    """Replace `path` by `obj` as indented JSON, in the way of `write_bytes`.

    Raises TypeError: `obj` holds something that JSON has no form for.
    Raises ValueError: `obj` holds NaN or infinity; write them as None.
    """
    text = json.dumps(obj, indent=2, allow_nan=False, ensure_ascii=False)
    write_bytes(path, text.encode() + b"\n")


def make_directory(directory: Path, root: Path) -> None:
    """Make a directory below one that exists, and those between, so that they survive a power cut."""
    directory.mkdir(parents=True, exist_ok=True)
    # What is there already may have been made by somebody who was killed before this.
    for parent in directory.parents:
        sync_directory(parent)
        if parent == root:
            break


def rename(source: Path, target: Path) -> None:
    """Give a file or directory another name, also after a power cut; never is it without any."""
    source.rename(target)
    # In this order: what is in both places is not lost.
    sync_directory(target.parent)
    if source.parent != target.parent:
        sync_directory(source.parent)


def sync_directory(directory: Path) -> None:
    """Make creations, renames and removals of names in `directory` survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
