"""A power cut at any moment of a queueing: what was acknowledged is there, and nothing vouches in vain."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from tests.fakes import fake_spec, metric_rows
from tests.power import Recorder, State, cuts
from tests.stand_ins import FakeSpawner
from tui_datasize.experiments.device_settings import DeviceSettings
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.apply_commands import CommandApplier
from tui_datasize.jobs.scheduler.dispatch import Dispatcher
from tui_datasize.jobs.scheduler.lock import SchedulerLock
from tui_datasize.jobs.scheduler.main import Scheduler, SchedulerSettings
from tui_datasize.jobs.workers.spawn import SpawnRequest, Worker
from tui_datasize.runlog import identity
from tui_datasize.runlog.claim import ATTEMPT_VARIABLE, ClaimRefused, RunOutcome, acquire, read_exit
from tui_datasize.runlog.collect import read_metrics
from tui_datasize.runlog.paths import ProjectPaths, RunPaths
from tui_datasize.runlog.writer import MetricsWriter

FIRST, SECOND = fake_spec(seed=1), fake_spec(seed=2)


class Story:
    """What a client, a scheduler and a worker do one after the other, with nothing of it simulated."""

    def __init__(self, root: Path, monkeypatch: Any) -> None:
        self.project = ProjectPaths(root)
        self.recorder = Recorder(root)
        self.acknowledged: list[tuple[int, list[RunSpec]]] = []
        """Runs, and the mark from which on they are."""
        self._client = QueueClient(self.project)
        commit = Store.transaction
        recorder = self.recorder

        @contextmanager
        def transaction(store: Store) -> Iterator[None]:
            with commit(store):
                yield
            recorder.mark()

        monkeypatch.setattr(Store, "transaction", transaction)

    def tell(self) -> None:
        """Live it."""
        with self.recorder:
            self._acknowledge([FIRST])
            with closing(Store(self.project.queue)) as store:
                self._apply(store)
                self._run(store, FIRST)
                self._acknowledge([FIRST, SECOND], force=True)
                self._apply(store)
                self._run(store, FIRST)

    def _acknowledge(self, specs: list[RunSpec], **options: Any) -> None:
        self._client.enqueue(specs, **options)
        self.recorder.mark()
        self.acknowledged.append((self.recorder.marks, specs))

    def _apply(self, store: Store) -> None:
        while CommandApplier(store, self.project).apply_pending():
            pass

    def _run(self, store: Store, spec: RunSpec) -> None:
        dispatcher = Dispatcher(
            store,
            self.project,
            Mock(),
            Mock(),
            Mock(),
            Mock(),
            self.project.root.parent / "slots",
            Mock(),
        )
        job = next(job for job in store.waiting(9) if job.run_id == spec.run_id)
        lane = dispatcher._prepare_lane(job, 0)
        assert lane is not None
        with store.transaction():
            store.begin_attempt(spec.run_id, lane.attempt, "cpu", 0, "tag")
        work(lane.paths, lane.attempt)
        with store.transaction():
            store.change(spec.run_id, JobState.SUCCEEDED)
            store.end_attempt(spec.run_id, lane.attempt, "succeeded", "")


def work(run: RunPaths, attempt: int) -> None:
    """What a worker does that begins anew, whatever stands there; its process is gone after it."""
    with pytest.MonkeyPatch.context() as patch:
        # Whoever looks for it would find this process, and end it.
        patch.setattr(identity, "boot_id", lambda: "another")
        claim = acquire(run, attempt)
    with closing(MetricsWriter(run.metrics)) as metrics:
        metrics.resume(0)
        for row in metric_rows(FIRST, [1, 2], 0.5):
            metrics.write(
                row.pop("event"), row.pop("update"), **{k: v for k, v in row.items() if k != "time"}
            )
    claim.finish(RunOutcome.SUCCEEDED)
    claim.release()


class WorkingSpawner(FakeSpawner):
    """Starts workers that have ended by the time it has started them."""

    def worker_of(self, request: SpawnRequest) -> Worker:
        for run, attempt in zip(request.runs, request.environment[ATTEMPT_VARIABLE].split(","), strict=True):
            with suppress(ClaimRefused):
                work(run, int(attempt))
        return Worker(status=0, is_gone=True)


@pytest.mark.long
def test_a_power_cut_at_any_moment_of_a_queueing_loses_nothing_acknowledged(
    tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "project").mkdir()
    story = Story(tmp_path / "project", monkeypatch)
    story.tell()
    monkeypatch.undo()
    monkeypatch.setenv("DATASIZE_SLOTS_DIR", str(tmp_path / "slots"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    looked_at = 0
    reader = Reader()
    for state, left in cuts(story.recorder.states, tmp_path / "cuts", random.Random(3), torn=2):
        project = ProjectPaths(left)
        told = [specs for marks, specs in story.acknowledged if marks <= state.marks]
        known = {spec.run_id for specs in told for spec in specs}
        check(project, known, state, reader)
        if known:
            go_on(project)
            check(project, known, state, reader)
            ends = {job.run_id: job.state for job in QueueClient(project).jobs()}
            assert set(ends.values()) == {JobState.SUCCEEDED}, state.event
            assert {run.run_id for run in project.all_runs()} == ends.keys(), state.event
        looked_at += 1
    assert looked_at > 40


def go_on(project: ProjectPaths) -> None:
    """A new scheduler does what was asked for before the cut."""
    authority = SchedulerLock(project.scheduler_lock)
    assert authority.take()
    settings = SchedulerSettings(project, devices=DeviceSettings(cpu=True, cpu_slots=2))
    scheduler = Scheduler(settings, authority, WorkingSpawner())
    try:
        scheduler._supervisor.refresh()
        deadline_s = time.monotonic() + 20
        while scheduler._has_work():
            scheduler._dispatch_at_s = 0.0
            scheduler._step()
            assert time.monotonic() < deadline_s, QueueClient(project).jobs()
    finally:
        scheduler.close()
        authority.release()


class Reader:
    """What readers find in metrics, of which most cuts leave the same."""

    def __init__(self) -> None:
        self._found: dict[bytes, list[int]] = {}

    def updates(self, run: RunPaths) -> list[int]:
        content = re.sub(rb'"time": "[^"]*"', b"", run.metrics.read_bytes())
        if content not in self._found:
            self._found[content] = read_metrics([run])[0]["update"].to_list()
        return self._found[content]


def check(project: ProjectPaths, known: set[str], state: State, reader: Reader) -> None:
    if not known and not project.queue.exists():
        return
    jobs = {job.run_id: job for job in QueueClient(project).jobs()}
    assert known <= jobs.keys(), state.event
    for job in jobs.values():
        run = project.run(job.experiment, job.run_id)
        if job.state is JobState.SUCCEEDED and run.run_id in {p.run_id for p in project.all_runs()}:
            end = read_exit(run)
            assert end is not None, state.event
            assert end.outcome is RunOutcome.SUCCEEDED
        if job.state.is_active:
            assert run.spec.stat().st_size, state.event
    for run in (*project.all_runs(), *superseded(project)):
        end = read_exit(run)
        if end is not None and end.outcome is RunOutcome.SUCCEEDED:
            assert reader.updates(run) == [1] * 3 + [2] * 3, state.event


def superseded(project: ProjectPaths) -> Iterator[RunPaths]:
    for directory in project.superseded(FIRST.experiment).glob("*"):
        yield RunPaths(directory)
