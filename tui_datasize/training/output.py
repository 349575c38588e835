"""What a worker prints: into its own output, and into the logs of the runs that it concerns."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import TextIO

_STDOUT, _STDERR = 1, 2


@contextmanager
def forgiving(stdout: Path | None = None, stderr: Path | None = None) -> Iterator[None]:
    """While inside, what is printed and cannot be written is lost, and nothing else happens.

    A log that cannot be written keeps no run from being trained, nor its end from being written.

    Args:
        stdout: A log that standard output is copied to, unless its descriptor leads there already.
        stderr: The same for standard error.
    """
    out = _Forgiving(sys.stdout, _STDOUT, stdout)
    err = _Forgiving(sys.stderr, _STDERR, stderr)
    with redirect_stdout(out), redirect_stderr(err):
        yield


class _Forgiving(io.TextIOBase):
    """Writes to a stream, and to a log where there is one.

    Args:
        stream: None where the process was started without.
        descriptor: Where the stream leads to when the process is a worker.
        log: Appended to, unless the descriptor leads there.
    """

    def __init__(self, stream: TextIO | None, descriptor: int, log: Path | None) -> None:
        self._stream = stream
        self._log = None if log is None or _leads_to(descriptor, log) else log

    def write(self, text: str) -> int:
        if self._log:
            with suppress(OSError), self._log.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        if self._stream:
            # Full, or closed, or of an encoding that cannot spell the name of a file.
            with suppress(OSError, ValueError):
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        if self._stream:
            with suppress(OSError, ValueError):
                self._stream.flush()


def _leads_to(descriptor: int, log: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), log.stat())
    except OSError:
        return False
