"""Runs that share a worker, as clients see them: which they are, and what time each has had."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes import fake_sweep
from tests.unit.test_store import new_job
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.schema import NEVER_BEGAN
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.runlog.paths import ProjectPaths

DAY = "2026-01-01T{:02}:00:00.000+00:00"
SPECS = [replace(fake_sweep()[0], seed=seed) for seed in range(3)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(ProjectPaths(tmp_path).queue)) as store:
        for spec in SPECS:
            document = json.dumps({"spec": spec.to_dict()})
            store.add(new_job(spec.run_id, experiment=spec.experiment, document=document))
        yield store


@pytest.fixture
def client(store: Store) -> QueueClient:
    return QueueClient(ProjectPaths(store.path.parent.parent))


def attempt(
    store: Store,
    spec: RunSpec,
    tag: str,
    began: int,
    ended: int,
    outcome: str = "succeeded",
    device: str = "cpu",
) -> None:
    """An attempt of one of the jobs, from one hour to another."""
    number = store._one("SELECT count(*) FROM attempts WHERE run_id = ?", spec.run_id)[0] + 1
    store._run(
        "INSERT INTO attempts VALUES (?, ?, ?, 0, ?, ?, ?, ?, '')",
        *(spec.run_id, number, device, tag, DAY.format(began), DAY.format(ended), outcome),
    )
    store._run("UPDATE jobs SET attempts = ?, device = ? WHERE run_id = ?", number, device, spec.run_id)


def hours(store: Store, client: QueueClient) -> list[float]:
    """What each job has had of its devices."""
    for spec in SPECS:
        store._run("UPDATE jobs SET state = 'succeeded' WHERE run_id = ?", spec.run_id)
    used_s = {execution.run_id: execution.used_s for execution in client.executions(client.jobs())}
    return [round(used_s[spec.run_id] / 3600, 2) for spec in SPECS]


def test_runs_of_a_pack_share_the_time_of_its_slot(store: Store, client: QueueClient) -> None:
    for spec, ended in zip(SPECS, (2, 4, 6), strict=True):
        attempt(store, spec, "t", 0, ended)
    assert hours(store, client) == [1, 2, 3]
    (usage,) = client.usage()
    assert round(usage.cpu_s / 3600, 2) == 6


def test_attempts_alone_count_in_full_beside_those_in_packs(store: Store, client: QueueClient) -> None:
    first, second, third = SPECS
    attempt(store, first, "alone", 0, 2, "interrupted")
    for spec in (first, second):
        attempt(store, spec, "t", 2, 4)
    # Its worker left it out.
    attempt(store, third, "t", 2, 2, NEVER_BEGAN)
    attempt(store, third, "", 5, 8)
    assert hours(store, client) == [3, 1, 3]
    (usage,) = client.usage()
    assert round(usage.cpu_s / 3600, 2) == 7


def test_a_job_names_the_runs_that_its_worker_has_beside_it(store: Store, client: QueueClient) -> None:
    ids = [spec.run_id for spec in SPECS]
    with store.transaction():
        for run_id in (ids[1], ids[0]):
            store.begin_attempt(run_id, 1, "cpu", 0, "t")
        store.begin_attempt(ids[2], 1, "cpu", 0, "u")
    packs = {job.run_id: job.pack for job in client.jobs()}
    assert packs == {ids[0]: (ids[1], ids[0]), ids[1]: (ids[1], ids[0]), ids[2]: ()}
    assert {execution.run_id: execution.worker for execution in client.executions(client.jobs())} == dict(
        zip(ids, "ttu", strict=True)
    )
    with store.transaction():
        store.change(ids[1], JobState.SUCCEEDED)
    assert all(job.pack == () for job in client.jobs())
