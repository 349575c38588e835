"""Leaving in order when asked to: signals become a request that the training loop answers."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class StopRequested(BaseException):
    """Someone asked this worker to leave.

    No `Exception`, so that no library on the way takes it for a failure of its own.
    """


class StopRequest:
    """Whether this worker was asked to leave, and how soon it may."""

    requested: bool = False
    _at_once: bool = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While inside, SIGTERM and SIGINT are requests, and SIGHUP of a closed terminal is nothing.

        So is SIGUSR2, by which a cluster says that a job's time is nearly up.
        """
        requests = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
        handlers = {number: signal.signal(number, self._receive) for number in requests} | {
            signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_IGN),
        }
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """While inside, a request raises wherever the program stands: nothing there needs saving.

        Raises StopRequested: a request came, before or while inside.
        """
        self._at_once = True
        try:
            self.check()
            yield
        finally:
            self._at_once = False

    def check(self) -> None:
        """Raise `StopRequested` where a request has come."""
        if self.requested:
            raise StopRequested

    def _receive(self, _number: int, _frame: object) -> None:
        self.requested = True
        if self._at_once:
            # Once: whoever answers it is not to be interrupted by a second one.
            self._at_once = False
            raise StopRequested
