"""The notification command: told of failures and ends, without ever keeping the scheduler waiting."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.project_tables import notify_command
from tui_datasize.jobs.queue.database import storage_errors
from tui_datasize.jobs.queue.notices import Notice
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.launch import open_log
from tui_datasize.runlog.paths import ProjectPaths

_LOG = logging.getLogger(__name__)
_MOST_AT_ONCE = 4
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class _Call:
    """One run of the command."""

    process: subprocess.Popen[bytes]
    notice: Notice
    deadline_s: float
    """On the monotonic clock."""


@dataclass(eq=False)
class Notifier:
    """Runs `notify` of `experiments.toml` once for each notice, a few at a time.

    The command is a person's own and is given to `sh`; the facts come in its environment alone, so
    that no name or reason is ever read as shell. A notice is taken out of the database before its
    command starts: a scheduler that dies in between tells of it never rather than twice. The file is read
    anew for every notice. After `timeout_s` the command is killed with its children.
    """

    _store: Store
    _project: ProjectPaths
    timeout_s: float = _TIMEOUT_S
    _calls: list[_Call] = field(default_factory=list, init=False)

    def is_busy(self) -> bool:
        """Whether there is something left to tell, or a command that has not ended."""
        return bool(self._calls) or self._store.has_notices()

    def poll(self) -> None:
        """Look at the running commands and start those that are due; never waits."""
        self._calls = [call for call in self._calls if not self._settle(call)]
        free = _MOST_AT_ONCE - len(self._calls)
        if free <= 0 or not self._store.has_notices():
            return
        with self._store.transaction():
            notices = self._store.notices.take(free)
        for notice in notices:
            self._tell(notice)

    def _tell(self, notice: Notice) -> None:
        try:
            command = notify_command(self._project.root)
            if command:
                self._calls.append(self._call(command, notice))
        except ConfigError as error:
            _LOG.error("not notified of %s: %s", _describe(notice), error.line)
        except OSError as error:
            _LOG.error("not notified of %s: %s", _describe(notice), error)

    def _call(self, command: str, notice: Notice) -> _Call:
        with storage_errors(self._project.scheduler_log):
            log = open_log(self._project.scheduler_log)
        with log:
            process = subprocess.Popen(
                ["sh", "-c", command],
                cwd=self._project.root,
                env=os.environ | facts(notice) | {"DATASIZE_PROJECT": str(self._project.root)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _LOG.info("notifying of %s", _describe(notice))
        return _Call(process, notice, time.monotonic() + self.timeout_s)

    def _settle(self, call: _Call) -> bool:
        """End a command that takes too long, and tell one that failed; whether it has ended."""
        status = call.process.poll()
        if status is None and time.monotonic() < call.deadline_s:
            return False
        if status is None:
            _LOG.error("notifying of %s: took longer than %g s", _describe(call.notice), self.timeout_s)
            with suppress(ProcessLookupError):
                os.killpg(call.process.pid, signal.SIGKILL)
            call.process.wait()
        elif status:
            _LOG.error("notifying of %s: the command ended with status %d", _describe(call.notice), status)
        return True


def facts(notice: Notice) -> dict[str, str]:
    """What the command finds in its environment; numbers are of the experiment's jobs."""
    counts = {
        f"DATASIZE_{state.upper()}": str(notice.counts.get(state, 0))
        for state in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)
    }
    unfinished = sum(count for state, count in notice.counts.items() if not state.is_final)
    return {
        "DATASIZE_EVENT": notice.event.value,
        "DATASIZE_EXPERIMENT": notice.experiment,
        "DATASIZE_RUN_ID": notice.run_id,
        "DATASIZE_REASON": notice.reason.replace("\0", ""),
        "DATASIZE_UNFINISHED": str(unfinished),
        **counts,
    }


def _describe(notice: Notice) -> str:
    return f"{notice.event} {notice.run_id or notice.experiment}"
