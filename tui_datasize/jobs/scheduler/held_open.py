"""What a scheduler has open where its project lies: with any of it a disk could not be mounted anew."""

from __future__ import annotations

import gc
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tui_datasize.jobs.queue.database import not_mounted, storage_errors
from tui_datasize.jobs.scheduler.launch import open_log
from tui_datasize.jobs.scheduler.lock import SchedulerLock
from tui_datasize.jobs.workers.warm import Spawner, WarmSpawner
from tui_datasize.runlog.paths import ProjectPaths


@dataclass(eq=False)
class HeldOpen:
    """The right to schedule, the log and the working directory of this process, and its preloaders."""

    project: ProjectPaths
    lock: SchedulerLock
    spawner: Spawner
    _logs: bool = field(default=False, init=False)
    """Whether the output of this process is the log."""

    def __post_init__(self) -> None:
        with suppress(OSError):
            self._logs = os.path.samestat(os.fstat(2), self.project.scheduler_log.stat())

    def renew(self) -> bool:
        """Have all of it in the project that is there now; False where that is another scheduler's to do.

        Raises PassingStorageError: none is there; meanwhile nothing of it is open.
        """
        with storage_errors(self.project.queue):
            has_queue = self.project.queue.exists()
        if self.lock.is_in_place():
            # Without one it was deleted, and not its disk unmounted.
            return has_queue
        self._let_go()
        with storage_errors(self.project.queue):
            # Not to be made: it would be another one, hidden once the disk is mounted.
            if not self.project.queue.exists():
                raise not_mounted(self.project.queue)
            if not self.lock.take():
                return False
            os.chdir(self.project.root)
            if self._logs:
                with open_log(self.project.scheduler_log) as log:
                    _put_out(log.fileno())
        return True

    def _let_go(self) -> None:
        if not self.lock.is_taken:
            return
        self.lock.release()
        # A database that could not be used stays open as long as the trace of that error is kept.
        gc.collect()
        os.chdir("/")
        if isinstance(self.spawner, WarmSpawner):
            self.spawner.poll()
            self.spawner.end_preloaders()
        if self._logs:
            with Path(os.devnull).open("wb") as nowhere:
                _put_out(nowhere.fileno())


def _put_out(descriptor: int) -> None:
    """Have the output of this process go there."""
    for output in (1, 2):
        os.dup2(descriptor, output)
