"""What a power cut may leave of a directory: names and contents that were synced, and any part of the rest.

A recorder watches what this process does to the names below a directory, and what it syncs. At each such
moment it knows what of each file and directory is sure to be on the disk; a cut there may leave that alone,
all that was done, or any part in between, torn and in any order.

SQLite syncs in its own library, where nobody here can watch: what its files hold is taken for synced, as
`synchronous = FULL` promises of what was committed; the name of the database is not. The command on a real
file system (`python -m benchmarks.power_cut`) takes nothing for granted.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest

_DATABASE = "queue.db"


@dataclass
class _Names:
    """The entries of one directory: nodes by name, as they are and as they are sure to be."""

    now: dict[str, int] = field(default_factory=dict)
    synced: dict[str, int] = field(default_factory=dict)


@dataclass
class _Data:
    """The content of one file, as it is and as it is sure to be; None for one that was never synced."""

    now: bytes = b""
    synced: bytes | None = None


@dataclass
class State:
    """What is known of the disk at one moment."""

    names: dict[int, _Names]
    data: dict[int, _Data]
    root: int
    event: str
    marks: int
    """How many things had been acknowledged by then."""


class Recorder:
    """Records states of the disk below a directory for as long as it is entered.

    Args:
        directory: Whose names and contents count; what it holds at first is on the disk.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.states: list[State] = []
        self.marks = 0
        self._names: dict[int, _Names] = {}
        self._data: dict[int, _Data] = {}
        self._patch = pytest.MonkeyPatch()
        self._node_of: dict[int, int] = {}
        """Nodes by inode: that of a file which is gone may become another file's."""
        self._nodes = 0
        self._seen: dict[int, tuple[int, int]] = {}
        """Times and sizes of nodes under which their contents were read."""

    def __enter__(self) -> Recorder:
        self._scan()
        for names in self._names.values():
            names.synced = dict(names.now)
        for data in self._data.values():
            data.synced = data.now
        self._watch("fsync", self._sync)
        for name in ("rename", "replace", "mkdir", "unlink", "link", "rmdir"):
            self._watch(name, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()
        self._note("end")

    def mark(self) -> None:
        """Something is acknowledged from here on."""
        self.marks += 1
        self._note("acknowledged")

    def _watch(self, name: str, then: Callable[..., None]) -> None:
        do = getattr(os, name)

        def call(*arguments: Any, **options: Any) -> Any:
            self._note(f"before {name}")
            result = do(*arguments, **options)
            then(*arguments)
            self._note(f"after {name} {arguments[0] if name != 'fsync' else ''}")
            return result

        self._patch.setattr(os, name, call)

    def _sync(self, descriptor: int, *_: object) -> None:
        self._scan()
        node = self._node_of.get(os.fstat(descriptor).st_ino, -1)
        if node in self._names:
            self._names[node].synced = dict(self._names[node].now)
        elif node in self._data:
            self._data[node].synced = self._data[node].now

    def _scan(self) -> None:
        """Take in what the names and contents are now."""
        before, self._node_of = self._node_of, {}
        for folder, directories, files in os.walk(self.directory):
            path = Path(folder)
            found = {name: self._node(path / name, before) for name in (*directories, *files)}
            self._names.setdefault(self._node(path, before), _Names()).now = found
            for name in files:
                self._read(path / name, found[name])
                if f"{_DATABASE}-" in name:
                    self._names[self._node(path, before)].synced[name] = found[name]

    def _node(self, path: Path, before: dict[int, int]) -> int:
        inode = path.lstat().st_ino
        if inode not in self._node_of:
            self._nodes += inode not in before
            self._node_of[inode] = before.get(inode, self._nodes)
        return self._node_of[inode]

    def _read(self, path: Path, node: int) -> None:
        status = path.lstat()
        if self._seen.get(node) != (status.st_mtime_ns, status.st_size):
            self._seen[node] = status.st_mtime_ns, status.st_size
            data = self._data.setdefault(node, _Data())
            data.now = path.read_bytes()
            if _DATABASE in path.name:
                data.synced = data.now

    def _note(self, event: str) -> None:
        self._scan()
        self.states.append(
            State(
                {node: _Names(dict(n.now), dict(n.synced)) for node, n in self._names.items()},
                {node: _Data(d.now, d.synced) for node, d in self._data.items()},
                self._node_of[self.directory.stat().st_ino],
                event,
                self.marks,
            )
        )


_Left: TypeAlias = dict[str, bytes | None]
"""Contents by path, those of a directory before those below it; None for a directory."""


def left_by(state: State, chance: random.Random, how: str) -> _Left:
    """What a cut may leave of a directory.

    Args:
        state: What was known of the disk.
        chance: Decides what of the rest has reached the disk where that is "torn".
        how: "synced" for what is sure alone, "all", "names" for all names and the sure contents, or "torn".
    """
    # By node: what was moved is in one place or in the other, for a rename is whole or has not been.
    torn = {node: chance.random() < 0.5 for node in (*state.names, *state.data)}
    reached = torn if how == "torn" else dict.fromkeys(torn, how != "synced")
    left: _Left = {"": None}
    folders = [(state.root, "")]
    for folder, path in folders:
        for name, node in sorted(_entries(state.names[folder], reached).items()):
            is_folder = node in state.names
            left[path + name] = None if is_folder else _content(state.data[node], chance, how)
            if is_folder:
                folders.append((node, f"{path}{name}/"))
    return left


def _write(left: _Left, place: Path) -> None:
    for path, content in left.items():
        if content is None:
            (place / path).mkdir(parents=True)
        else:
            (place / path).write_bytes(content)


def _entries(names: _Names, reached: dict[int, bool]) -> dict[str, int]:
    left = {}
    for name in names.now | names.synced:
        old, new = names.synced.get(name), names.now.get(name)
        changed = new if new is not None else old
        value = new if changed is not None and reached[changed] else old
        if value is not None:
            left[name] = value
    return left


def _content(data: _Data, chance: random.Random, how: str) -> bytes:
    sure = data.synced or b""
    if how == "all":
        return data.now
    if how in ("synced", "names"):
        return sure
    kind = chance.randrange(4)
    if kind == 0:
        return sure
    if kind == 1:
        return data.now
    cut = chance.randint(min(len(sure), len(data.now)), len(data.now))
    # A block that was not written yet reads as zeros where the new length was.
    return data.now[:cut] if kind == 2 else data.now[:cut] + bytes(len(data.now) - cut)


def cuts(
    states: Sequence[State], place: Path, chance: random.Random, torn: int
) -> Iterator[tuple[State, Path]]:
    """What cuts at each moment may leave, each different result once.

    Args:
        states: All moments.
        place: An empty directory for them.
        chance: Decides what is torn.
        torn: How many of these at each moment.
    """
    seen: set[tuple[int, int]] = set()
    for number, state in enumerate(states):
        for variant, kind in enumerate(("synced", "all", "names", *["torn"] * torn)):
            left = left_by(state, chance, kind)
            if (key := (hash(tuple(left.items())), state.marks)) not in seen:
                seen.add(key)
                where = place / f"{number}-{variant}-{kind}"
                _write(left, where)
                yield state, where
