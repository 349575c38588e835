"""Starting waiting jobs on free devices: snapshot, placement, commit, spawn."""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tui_datasize.experiments.load import DATA_VARIABLE
from tui_datasize.jobs.database import PASSING_ERRNOS, storage_errors
from tui_datasize.jobs.gpus import CPU, VISIBLE_VARIABLE
from tui_datasize.jobs.ledger import DeviceLedger
from tui_datasize.jobs.policy import Placement, WaitingJob, place
from tui_datasize.jobs.records import QueuedJob
from tui_datasize.jobs.slots import take_slots
from tui_datasize.jobs.spawn import ONE_THREAD, Spawner, SpawnRequest, Worker
from tui_datasize.jobs.state import JobState
from tui_datasize.jobs.store import Store
from tui_datasize.jobs.supervisor import Supervisor
from tui_datasize.jobs.turns import Turns
from tui_datasize.runlog.atomic import write_json
from tui_datasize.runlog.claim import ATTEMPT_VARIABLE, TAG_VARIABLE, observe
from tui_datasize.runlog.paths import ProjectPaths, RunPaths

_LOG = logging.getLogger(__name__)
_LOOKAHEAD = 32
"""Waiting jobs considered beyond the free slots, so that small ones may pass one that does not fit."""


@dataclass(frozen=True, slots=True)
class _Start:
    """One committed decision on its way to a worker."""

    job: QueuedJob
    placement: Placement
    paths: RunPaths
    attempt: int
    tag: str


class Dispatcher:
    """Fills free devices with waiting jobs."""

    def __init__(
        self,
        store: Store,
        project: ProjectPaths,
        supervisor: Supervisor,
        spawner: Spawner,
        ledger: DeviceLedger,
        slots: Path,
    ) -> None:
        self._store = store
        self._project = project
        self._supervisor = supervisor
        self._spawner = spawner
        self._ledger = ledger
        self._slots = slots
        self._turns = Turns(slots, project.root.absolute())

    @property
    def waits_for_others(self) -> bool:
        """Whether other projects have slots that jobs of this one wait for."""
        return self._turns.is_waiting

    def close(self) -> None:
        """Wait for nothing any more."""
        self._turns.leave()

    def dispatch(self) -> int:
        """Start what can be started now and return how many jobs that were.

        Raises:
            StorageError: Nothing could be written; nothing has been started.
        """
        if not self._store.has_waiting() or not self._spawner.is_ready():
            self._turns.leave()
            return 0
        free = self._take_free_slots()
        try:
            placements = self._place(free)
            starts = [start for job, placement in placements if (start := self._prepare(job, placement))]
            self._commit(starts)
            for start in starts:
                self._start(start, free[start.placement.device])
            return len(starts)
        finally:
            # The workers have their own copies; what was not needed is free again.
            _close(free)

    def _take_free_slots(self) -> dict[str, list[int]]:
        """Lock the free slots of every device, by device; none beyond what our own jobs leave.

        None either while it is the turn of another project that waits for them.
        """
        capacities, unclaimed, held = (
            self._ledger.capacities(),
            self._ledger.unclaimed(),
            len(self._supervisor),
        )
        project = self._project.root.absolute()
        with storage_errors(self._slots):
            free = {
                device: take_slots(self._slots, device, capacities[device], wanted, project)
                for device, wanted in unclaimed.items()
            }
            taken = sum(map(len, free.values()))
            if taken and self._turns.must_yield(held):
                _close(free)
                free, taken = {device: [] for device in free}, 0
            if taken:
                self._turns.served()
            if taken < sum(unclaimed.values()):
                self._turns.wait(held + taken)
            else:
                self._turns.leave()
        return free

    def _place(self, free: dict[str, list[int]]) -> list[tuple[QueuedJob, Placement]]:
        free_slots = sum(len(descriptors) for descriptors in free.values())
        if not free_slots:
            return []
        waiting = {job.run_id: job for job in self._store.waiting(free_slots + _LOOKAHEAD)}
        placements = place(
            [
                WaitingJob(job.run_id, job.priority, job.position, job.alone, job.peak_bytes)
                for job in waiting.values()
            ],
            self._ledger.devices({device: len(descriptors) for device, descriptors in free.items()}),
            self._ledger.reservations(),
        )
        return [(waiting[placement.run_id], placement) for placement in placements]

    def _prepare(self, job: QueuedJob, placement: Placement) -> _Start | None:
        """Write the run directory, before anything is committed; a job that cannot have one is held."""
        paths = self._project.run(job.experiment, job.run_id)
        try:
            paths.directory.mkdir(parents=True, exist_ok=True)
            write_json(paths.spec, json.loads(job.document))
        except OSError as error:
            if error.errno in PASSING_ERRNOS:
                with storage_errors(paths.directory):
                    raise
            with self._store.transaction():
                self._store.change(job.run_id, JobState.HELD, f"{paths.directory}: {error.strerror}")
            return None
        # A queue that was restored or rebuilt may know fewer attempts than the directory.
        attempt = max(job.attempts, observe(paths).newest_attempt) + 1
        return _Start(job, placement, paths, attempt, uuid.uuid4().hex)

    def _commit(self, starts: Sequence[_Start]) -> None:
        if not starts:
            return
        with self._store.transaction():
            for start in starts:
                placement = start.placement
                self._store.begin_attempt(
                    start.job.run_id, start.attempt, placement.device, placement.reserved_bytes, start.tag
                )

    def _start(self, start: _Start, slots: list[int]) -> None:
        job, placement = start.job, start.placement
        taken = tuple(slots[: placement.slots])
        request = SpawnRequest(
            paths=start.paths,
            environment=_environment(start),
            tag=start.tag,
            slots=taken,
            directory=self._project.root.absolute(),
        )
        try:
            worker = self._spawner.start(request)
        except OSError as error:
            _LOG.error("%s: no worker could be started: %s", job.run_id, error)
            worker = Worker(is_gone=True, status_expected=False)
        for descriptor in taken:
            slots.remove(descriptor)
            os.close(descriptor)
        self._supervisor.add(self._store.active_job(job.run_id), worker)
        _LOG.info("%s attempt %d: started on %s", job.run_id, start.attempt, placement.device)


def _close(slots: Mapping[str, Sequence[int]]) -> None:
    for descriptors in slots.values():
        for descriptor in descriptors:
            os.close(descriptor)


def _environment(start: _Start) -> dict[str, str]:
    """What a worker's environment has beyond the scheduler's."""
    data_dir = json.loads(start.job.document).get("data_dir")
    environment = {
        **ONE_THREAD,
        TAG_VARIABLE: start.tag,
        ATTEMPT_VARIABLE: str(start.attempt),
        VISIBLE_VARIABLE: "" if start.placement.device == CPU else start.placement.device,
        "PYTHONUNBUFFERED": "1",
    }
    return environment | ({DATA_VARIABLE: data_dir} if data_dir else {})
