"""A power cut at any moment of a queueing: what was acknowledged is there, and nothing vouches in vain."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

from tests.fakes import fake_spec, metric_rows
from tests.power import Recorder, State, cuts
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.jobs.apply import CommandDesk
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.dispatch import Dispatcher
from tui_datasize.jobs.state import JobState
from tui_datasize.jobs.store import Store
from tui_datasize.runlog.claim import Outcome, acquire, read_exit
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
        while CommandDesk(store, self.project).apply_pending():
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
        claim = acquire(lane.paths, lane.attempt)
        with MetricsWriter(lane.paths.metrics) as metrics:
            for row in metric_rows(spec, [1, 2], 0.5):
                metrics.write(
                    row.pop("event"), row.pop("update"), **{k: v for k, v in row.items() if k != "time"}
                )
        claim.finish(Outcome.SUCCEEDED)
        claim.release()
        with store.transaction():
            store.change(spec.run_id, JobState.SUCCEEDED)
            store.end_attempt(spec.run_id, lane.attempt, "succeeded", "")


def test_a_power_cut_at_any_moment_of_a_queueing_loses_nothing_acknowledged(
    tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "project").mkdir()
    story = Story(tmp_path / "project", monkeypatch)
    story.tell()
    monkeypatch.undo()
    looked_at = 0
    for state, left in cuts(story.recorder.states, tmp_path / "cuts", random.Random(3), torn=2):
        project = ProjectPaths(left)
        told = [specs for marks, specs in story.acknowledged if marks <= state.marks]
        known = {spec.run_id for specs in told for spec in specs}
        check(project, known, state)
        looked_at += 1
    assert looked_at > 40


def check(project: ProjectPaths, known: set[str], state: State) -> None:
    if not known and not project.queue.exists():
        return
    jobs = {job.run_id: job for job in QueueClient(project).jobs()}
    assert known <= jobs.keys(), state.event
    for job in jobs.values():
        run = project.run(job.experiment, job.run_id)
        if job.state is JobState.SUCCEEDED and run.run_id in {p.run_id for p in project.all_runs()}:
            end = read_exit(run)
            assert end is not None, state.event
            assert end.outcome is Outcome.SUCCEEDED
        if job.state.is_active:
            assert run.spec.stat().st_size, state.event
    for run in (*project.all_runs(), *superseded(project)):
        end = read_exit(run)
        if end is not None and end.outcome is Outcome.SUCCEEDED:
            assert run.metrics.read_bytes().count(b"\n") == 6, state.event


def superseded(project: ProjectPaths) -> Iterator[RunPaths]:
    for directory in project.superseded(FIRST.experiment).glob("*"):
        yield RunPaths(directory)
