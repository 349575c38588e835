"""One run in the hands of a worker: its claim, its logs, how it ends, and what is said about it."""

from __future__ import annotations

import io
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import (
    AbstractContextManager,
    contextmanager,
    nullcontext,
    redirect_stderr,
    redirect_stdout,
    suppress,
)
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TextIO

from tui_datasize.errors import DeviceUnavailable
from tui_datasize.runlog.claim import LEFT, LEFT_WITH_PACK, Claim, Lack, RunOutcome
from tui_datasize.training import failures

_STDOUT, _STDERR = 1, 2


@contextmanager
def forgiving(stdout: Path | None = None, stderr: Path | None = None) -> Iterator[None]:
    """While inside, what is printed and cannot be written is lost, and nothing else happens.

    A log that cannot be written keeps no run from being trained, nor its end from being written. Output
    is copied to the logs given, unless its descriptor leads there already.
    """
    out = _Forgiving(sys.stdout, _STDOUT, stdout)
    err = _Forgiving(sys.stderr, _STDERR, stderr)
    with redirect_stdout(out), redirect_stderr(err):
        yield


class _Forgiving(io.TextIOBase):
    """Writes to a stream, and to a log where there is one and the descriptor leads elsewhere."""

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


_RETRY_INTERVAL_S = 1.0
"""Between two attempts to write an end that could not be written."""


@dataclass(frozen=True, slots=True)
class _End:
    outcome: RunOutcome
    reason: str
    words: str = ""
    """Said once it is written; nothing where they are empty."""
    device_fault: str = ""
    """Why its device cannot be used, where that ended it."""
    lack: Lack = Lack.NOTHING


class Lane:
    """A claimed run that this worker trains, alone or as one of several.

    How it ends is decided once. Where that cannot be written at first, the lane remembers it.
    """

    def __init__(self, claim: Claim, *, is_one_of_several: bool) -> None:
        self.claim = claim
        self.paths = claim.paths
        self.ruins_process = False
        """Whether it failed in a way that the process cannot go on after."""
        self._is_one_of_several = is_one_of_several
        self._end: _End | None = None
        self._is_written = False
        self._tried_s = -inf

    @property
    def is_open(self) -> bool:
        return self._end is None

    @property
    def has_failed(self) -> bool:
        """Whether it ended in failure or for its device, or its end could not be written."""
        end = self._end
        return end is not None and (
            end.outcome is RunOutcome.FAILED or bool(end.device_fault or end.lack) or not self._is_written
        )

    @property
    def is_lost(self) -> bool:
        """Whether it has ended and nothing on the disk says so."""
        return self._end is not None and not self._is_written

    def telling(self) -> AbstractContextManager[None]:
        """While inside, what is printed also goes to the run's own logs, if it would not anyway.

        The output of a worker for several runs is the log of the first of them.
        """
        return forgiving(self.paths.stdout, self.paths.stderr) if self._is_one_of_several else nullcontext()

    def say(self, words: str) -> None:
        with self.telling():
            print(f"{self.paths.run_id}: {words}", flush=True)

    def succeed(self) -> None:
        self._decide(_End(RunOutcome.SUCCEEDED, "", "succeeded"))

    def leave(self) -> None:
        """The worker was asked to leave; a later attempt goes on."""
        reason = LEFT_WITH_PACK if self._is_one_of_several else LEFT
        self._decide(_End(RunOutcome.INTERRUPTED, reason, "left when asked to"))

    def fail(self, error: Exception, lack: Lack = Lack.NOTHING) -> None:
        """The run cannot be trained to its end: it failed, or the machine did, which is no end of a run.

        The error is told and not kept: its traceback holds whatever was being trained, with its memory.
        """
        self.ruins_process = failures.ruins_process(error)
        reason = failures.reason(error)
        try:
            with self.telling():
                tell_log(error)
        finally:
            lack = lack or failures.lack(error)
            if isinstance(error, DeviceUnavailable):
                self._decide(_End(RunOutcome.INTERRUPTED, reason, device_fault=reason))
            else:
                is_own = lack in (Lack.NOTHING, Lack.DEVICE_MEMORY)
                outcome = RunOutcome.FAILED if is_own else RunOutcome.INTERRUPTED
                self._decide(_End(outcome, reason, lack=lack))

    def write_end(self) -> None:
        """Write how the run ended and free it, where that is decided and still to be done."""
        if self._end is None or self._is_written:
            return
        is_first_try = self._tried_s == -inf
        self._tried_s = time.monotonic()
        try:
            self.claim.finish(self._end.outcome, self._end.reason, self._end.device_fault, self._end.lack)
        except OSError as error:
            # Should it never succeed, the attempt counts as interrupted, which is what it is.
            if is_first_try:
                with self.telling():
                    tell_log(error)
            return
        self._is_written = True
        if self._end.words:
            self.say(self._end.words)
        self.claim.release()

    def write_end_if_due(self) -> None:
        """As `write_end`, once in a while: to be called at any rate."""
        if time.monotonic() - self._tried_s >= _RETRY_INTERVAL_S:
            self.write_end()

    def _decide(self, end: _End) -> None:
        self._end = self._end or end
        self.write_end()


def tell_log(error: Exception) -> None:
    """Tell the log; a traceback only where the reason leaves questions open."""
    reason = failures.reason(error)
    if reason.endswith(failures.SEE_LOG):
        traceback.print_exception(error)
    print(reason, file=sys.stderr, flush=True)
