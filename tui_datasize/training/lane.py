"""One run in the hands of a worker: its claim, how it ends, and what is said about it."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import TextIO

from tui_datasize.errors import DatasizeError
from tui_datasize.runlog.claim import LEFT_WITH_PACK, Claim, Outcome
from tui_datasize.training import failures

_STDOUT, _STDERR = 1, 2


class Lane:
    """A claimed run that this worker trains, alone or as one of several.

    Args:
        claim: The right to execute it.
        is_one_of_several: Whether the process was given other runs to train together with this one.
    """

    def __init__(self, claim: Claim, *, is_one_of_several: bool) -> None:
        self.claim = claim
        self.paths = claim.paths
        self.is_open = True
        """Whether its end is still to come."""
        self.failure: Exception | None = None
        """Why it failed, or why its end could not be written."""
        self._is_one_of_several = is_one_of_several

    @contextmanager
    def telling(self) -> Iterator[None]:
        """While inside, what is printed also goes to the run's own logs, if it would not anyway.

        The output of a worker for several runs is the log of the first of them.
        """
        if not self._is_one_of_several:
            yield
            return
        out = _Copying(sys.stdout, _STDOUT, self.paths.stdout)
        err = _Copying(sys.stderr, _STDERR, self.paths.stderr)
        with redirect_stdout(out), redirect_stderr(err):
            yield

    def say(self, words: str) -> None:
        """Print a line about this run."""
        with self.telling():
            print(f"{self.paths.run_id}: {words}", flush=True)

    def succeed(self) -> None:
        """The run is trained to its end."""
        self._end(Outcome.SUCCEEDED, "", "succeeded")

    def leave(self) -> None:
        """The worker was asked to leave; a later attempt goes on."""
        reason = LEFT_WITH_PACK if self._is_one_of_several else "asked to leave"
        self._end(Outcome.INTERRUPTED, reason, "left when asked to")

    def fail(self, error: Exception) -> None:
        """The run cannot be trained to its end."""
        self.failure = error
        with self.telling():
            report(error)
        self._end(Outcome.FAILED, failures.reason(error))

    def _end(self, outcome: Outcome, reason: str, words: str = "") -> None:
        self.is_open = False
        try:
            self.claim.finish(outcome, reason)
        except OSError as error:
            # Without an `exit.json` the attempt counts as interrupted, which is what it is.
            self.failure = error
            report(error)
            return
        if words:
            self.say(words)
        self.claim.release()


def report(error: Exception) -> None:
    """Tell the log; a traceback only where the reason leaves questions open."""
    if not isinstance(error, DatasizeError):
        traceback.print_exception(error)
    print(failures.reason(error), file=sys.stderr, flush=True)


class _Copying(io.TextIOBase):
    """A stream that also appends to a log, unless its descriptor leads there already."""

    def __init__(self, stream: TextIO, descriptor: int, log: Path) -> None:
        self._stream = stream
        self._log = None if _leads_to(descriptor, log) else log

    def write(self, text: str) -> int:
        # A log that cannot be written keeps no run from being trained.
        if self._log:
            with suppress(OSError), self._log.open("a", encoding="utf-8") as file:
                file.write(text)
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()


def _leads_to(descriptor: int, log: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), log.stat())
    except OSError:
        return False
