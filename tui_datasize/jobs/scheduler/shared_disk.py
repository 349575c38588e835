"""Reaching directories on a disk that may not answer: a thread has them, and nobody waits for it for long."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from tui_datasize.files import fault_of

T = TypeVar("T")
_ASK_S = 2.0
"""For which a command of a person waits."""


class SharedDiskError(Exception):
    """What a shared disk refuses, or does not answer to: the state of a machine, no fault of a run."""


class DiskCall(Generic[T]):
    """Something that is being done at a shared disk."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._begun_s = time.monotonic()
        self._over = threading.Event()
        self._error: BaseException | None = None

    @property
    def taken_s(self) -> float:
        """Seconds for which it has been under way; 0 once it is over."""
        return 0.0 if self._over.is_set() else time.monotonic() - self._begun_s

    def wait(self, seconds: float) -> bool:
        """Whether it is over by then."""
        return self._over.wait(max(0.0, seconds))

    def result(self) -> T:
        """What it has brought; only once it is over."""
        if self._error is not None:
            raise self._error
        return self._result

    def do(self) -> None:
        """Do it."""
        try:
            self._result = self._work()
        except BaseException as error:
            self._error = error
        self._over.set()


class SharedDisk:
    """One thread at most, made for the first call; while a call is stuck no other is begun.

    A call that is given up may still be done, when the disk is back: it is to be one that may be repeated.
    """

    def __init__(self, ask_s: float = _ASK_S) -> None:
        self._ask_s = ask_s
        self._asked: SimpleQueue[DiskCall[Any] | None] = SimpleQueue()
        self._last: DiskCall[Any] | None = None
        self.asked_s = 0.0
        """Seconds that were spent in `ask`; whoever counts them sets them back."""

    def busy_s(self) -> float:
        """Seconds for which a call has been under way; 0 without one."""
        return self._last.taken_s if self._last else 0.0

    def start(self, work: Callable[[], T]) -> DiskCall[T]:
        """Have something done; only while no call is under way."""
        if self._last is None:
            # At the end of the program nobody waits for it: it may be stuck.
            threading.Thread(target=self._work, daemon=True, name="shared disk").start()
        call = DiskCall(work)
        self._last = call
        self._asked.put(call)
        return call

    def ask(self, work: Callable[[], T]) -> T:
        """Have something done within a moment.

        Raises SharedDiskError: the disk refuses it, or does not answer.
        """
        begun_s = time.monotonic()
        try:
            if self._last and not self._last.wait(self._ask_s - self.busy_s()):
                raise silent()
            call = self.start(work)
            if not call.wait(self._ask_s):
                raise silent()
            return call.result()
        except OSError as error:
            raise SharedDiskError(fault_of(error)) from error
        finally:
            self.asked_s += time.monotonic() - begun_s

    def close(self) -> None:
        """Let the thread end once its call has."""
        self._asked.put(None)

    def _work(self) -> None:
        while call := self._asked.get():
            call.do()


def silent() -> OSError:
    """That a shared disk does not answer."""
    return OSError(errno.ETIMEDOUT, "the shared disk does not answer")
