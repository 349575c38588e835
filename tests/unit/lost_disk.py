"""A directory whose disk fails, or does not answer: what stands for a mount that has gone."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_CALLS = ("open", "stat", "lstat", "mkdir", "listdir", "scandir", "unlink", "replace", "utime")


class LostDisk:
    """Has what is asked of a directory and all below it fail, or wait, for as long as it is to."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = os.path.realpath(directory)
        self._monkeypatch = monkeypatch
        self.waiting = threading.Event()
        """Set once something waits for it."""

    @contextmanager
    def fails(self, number: int) -> Iterator[None]:
        """Every call ends with this error."""

        def refuse(path: object) -> None:
            raise OSError(number, os.strerror(number), path)

        with self._met(refuse):
            yield

    @contextmanager
    def hangs(self) -> Iterator[None]:
        """Every call waits until the end of the block."""
        is_back = threading.Event()

        def wait(_path: object) -> None:
            self.waiting.set()
            is_back.wait()

        self.waiting.clear()
        with self._met(wait):
            try:
                yield
            finally:
                is_back.set()

    @contextmanager
    def is_gone(self, *, leaves_directory: bool) -> Iterator[None]:
        """It is not there; what it was mounted on may be, an empty directory that can be written."""
        kept = f"{self.directory}.kept"
        os.rename(self.directory, kept)  # noqa: PTH104 - a string like the others here
        if leaves_directory:
            Path(self.directory).mkdir()
        yield
        if leaves_directory:
            Path(self.directory).rmdir()
        os.rename(kept, self.directory)  # noqa: PTH104

    @contextmanager
    def _met(self, meet: Callable[[object], None]) -> Iterator[None]:
        with self._monkeypatch.context() as patched:
            for name in _CALLS:
                patched.setattr(os, name, self._before(getattr(os, name), meet))
            yield

    def _before(self, call: Callable[..., Any], meet: Callable[[object], None]) -> Callable[..., Any]:
        real = (os.path.realpath, os.path.dirname)

        def called(path: Any = ".", *rest: Any, **options: Any) -> Any:
            if isinstance(path, (str, os.PathLike)):
                follows = call.__name__ != "lstat" and options.get("follow_symlinks", True)
                place = real[0](path if follows else real[1](os.path.abspath(path)))  # noqa: PTH100
                if f"{place}/".startswith(f"{self.directory}/"):
                    meet(os.fspath(path))
            return call(path, *rest, **options)

        return called
