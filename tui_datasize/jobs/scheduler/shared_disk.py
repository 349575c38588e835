"""Reaching directories on a disk that may not answer: a thread has them, and nobody waits for it for long."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import Any, TypeVar

from tui_datasize.files import fault_of

T = TypeVar("T")
_ASK_S = 2.0
"""For which a command of a person waits."""


class SharedDiskError(Exception):
    """What a shared disk refuses, or does not answer to: the state of a machine, no fault of a run."""


class SharedDisk:
    """One thread at most, made for the first call; while a call is stuck no other is begun.

    A call that is given up may still be done, when the disk is back: it is to be one that may be repeated.
    """

    def __init__(self, ask_s: float = _ASK_S) -> None:
        self._ask_s = ask_s
        self._asked: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._last: Future[Any] | None = None
        self._since_s = 0.0

    def busy_s(self) -> float:
        """Seconds for which a call has been under way; 0 without one."""
        return 0.0 if self._last is None or self._last.done() else time.monotonic() - self._since_s

    def start(self, work: Callable[[], T]) -> Future[T]:
        """Have something done; only while no call is under way."""
        if self._last is None:
            # At the end of the program nobody waits for it: it may be stuck.
            threading.Thread(target=self._work, daemon=True, name="shared disk").start()
        future: Future[T] = Future()
        self._last, self._since_s = future, time.monotonic()
        self._asked.put((future, work))
        return future

    def ask(self, work: Callable[[], T]) -> T:
        """Have something done within a moment.

        Raises SharedDiskError: the disk refuses it, or does not answer.
        """
        try:
            if self._last is not None and self.busy_s():
                wait([self._last], max(0.0, self._ask_s - self.busy_s()))
            if self.busy_s():
                raise silent()
            future = self.start(work)
            if not wait([future], self._ask_s).done:
                raise silent()
            return future.result()
        except OSError as error:
            raise SharedDiskError(fault_of(error)) from error

    def close(self) -> None:
        """Let the thread end once its call has."""
        self._asked.put(None)

    def _work(self) -> None:
        while asked := self._asked.get():
            future, work = asked
            try:
                result = work()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)


def silent() -> OSError:
    """That a shared disk does not answer."""
    return OSError(errno.ETIMEDOUT, "the shared disk does not answer")
