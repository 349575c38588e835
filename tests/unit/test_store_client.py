from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import fake_spec, fake_sweep
from tui_datasize.errors import StorageError, UnknownRunError
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.apply_commands import CommandApplier
from tui_datasize.runlog.paths import ProjectPaths


@pytest.fixture
def client(project: ProjectPaths) -> QueueClient:
    return QueueClient(project)


@pytest.fixture
def store(project: ProjectPaths) -> Iterator[Store]:
    with closing(Store(project.queue)) as store:
        yield store


@pytest.fixture
def desk(store: Store, project: ProjectPaths) -> CommandApplier:
    return CommandApplier(store, project)


def documents(store: Store) -> dict[str, dict[str, Any]]:
    return {job.run_id: json.loads(job.document) for job in store.waiting(100)}


def test_an_empty_project_has_an_empty_queue_and_looking_creates_none(client: QueueClient) -> None:
    assert client.jobs() == []
    assert set(client.counts().values()) == {0}
    assert not client.scheduler_alive()
    assert not client.project.queue.exists()


def test_acknowledged_runs_are_seen_at_once_and_in_order(client: QueueClient, desk: CommandApplier) -> None:
    specs = fake_sweep()
    acknowledgement = client.enqueue(specs, priority=2)
    assert (acknowledgement.new, acknowledgement.present) == (36, 0)
    for _ in range(2):
        jobs = client.jobs()
        assert [job.run_id for job in jobs] == [spec.run_id for spec in specs]
        assert {(job.state, job.experiment, job.priority) for job in jobs} == {(JobState.QUEUED, "digits", 2)}
        desk.apply_pending()


def test_a_run_is_added_once_however_often_it_is_asked_for(client: QueueClient, desk: CommandApplier) -> None:
    specs = fake_sweep()
    assert client.enqueue(specs[:20]).new == 20
    assert (again := client.enqueue(specs)).new == 16
    assert again.present == 20
    desk.apply_pending()
    assert client.enqueue(specs).new == 0
    assert client.counts()[JobState.QUEUED] == 36


def test_a_run_that_is_about_to_be_cancelled_is_missing(client: QueueClient, desk: CommandApplier) -> None:
    spec = fake_spec()
    client.enqueue([spec])
    client.send(CommandKind.CANCEL, [spec.run_id])
    assert client.enqueue([spec]).new == 1
    desk.apply_pending()
    assert client.counts()[JobState.QUEUED] == 1


def test_answers_come_in_order_and_carry_the_run(client: QueueClient, desk: CommandApplier) -> None:
    first, second = fake_sweep()[:2]
    client.enqueue([first])
    acknowledgement = client.send(CommandKind.HOLD, [second.run_id, first.run_id])
    assert client.wait(acknowledgement, 0) is None
    desk.apply_pending()
    results = client.wait(acknowledgement, 0)
    assert results is not None
    assert [(result.run_id, result.ok, result.message) for result in results] == [
        (second.run_id, False, f"{second.run_id}: is not in the queue"),
        (first.run_id, True, f"{first.run_id}: held"),
    ]


def test_the_specification_travels_with_the_facts_of_its_enqueueing(
    client: QueueClient, desk: CommandApplier, store: Store, tmp_path: Path
) -> None:
    spec = fake_spec()
    client.enqueue([spec], data_dir=tmp_path / "data")
    desk.apply_pending()
    document = documents(store)[spec.run_id]
    assert document["spec"] == spec.to_dict()
    assert document["data_dir"] == str(tmp_path / "data")
    assert (document["git_commit"], document["git_dirty"]) == (None, None)
    assert set(document) == {
        *("schema_version", "run_id", "package_version", "git_commit", "git_dirty", "queued_at", "data_dir"),
        *("max_attempts", "after"),
        "spec",
    }


def test_commit_and_dirty_flag_are_those_of_the_project(
    client: QueueClient, desk: CommandApplier, store: Store
) -> None:
    root = client.project.root

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            ["git", *identity, *arguments], cwd=root, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    (root / "experiments.toml").write_text("")
    git("add", "experiments.toml")
    git("commit", "-qm", "first")
    clean, dirty = fake_sweep()[:2]
    client.enqueue([clean])
    (root / "experiments.toml").write_text("# changed")
    client.enqueue([dirty])
    desk.apply_pending()
    found = documents(store)
    assert found[clean.run_id]["git_commit"] == git("rev-parse", "HEAD")
    assert [found[spec.run_id]["git_dirty"] for spec in (clean, dirty)] == [False, True]


def test_a_run_that_has_ended_on_disk_is_recognised(fake_project: ProjectPaths) -> None:
    client = QueueClient(fake_project)
    acknowledgement = client.enqueue(fake_sweep())
    with closing(Store(fake_project.queue)) as store:
        CommandApplier(store, fake_project).apply_pending()
    assert client.counts()[JobState.SUCCEEDED] == 36
    assert {job.finished_at != "" for job in client.jobs()} == {True}
    results = client.wait(acknowledgement, 0)
    assert results is not None
    assert results[0].message.endswith("is succeeded already, by its directory")


def test_a_prefix_is_resolved_when_it_is_the_only_one(client: QueueClient, desk: CommandApplier) -> None:
    specs = fake_sweep()
    client.enqueue(specs[:18])
    desk.apply_pending()
    client.enqueue(specs[18:])
    for spec in (specs[0], specs[-1]):
        assert client.resolve(spec.run_id) == spec.run_id
        assert client.resolve(spec.run_id[:-3]) == spec.run_id
    ambiguous = r"'digits' is ambiguous \(36 runs\); write more of it: digits-n\d+.*, \.\.\."
    with pytest.raises(UnknownRunError, match=ambiguous):
        client.resolve("digits")
    with pytest.raises(UnknownRunError, match="no run begins with 'letters'"):
        client.resolve("letters")


def test_a_run_that_only_the_disk_knows_is_resolved(fake_project: ProjectPaths) -> None:
    spec = fake_spec()
    assert QueueClient(fake_project).resolve(spec.run_id[:-2]) == spec.run_id


def test_thousands_of_runs_are_queued_in_a_few_transactions(
    client: QueueClient, desk: CommandApplier
) -> None:
    specs = [fake_spec(seed=seed) for seed in range(2_001)]
    acknowledgement = client.enqueue(specs)
    assert acknowledgement.new == 2_001
    batches = 0
    while desk.apply_pending():
        batches += 1
    assert batches == 3
    assert client.counts()[JobState.QUEUED] == 2_001


def test_a_scheduler_that_cannot_start_says_why_in_one_line(client: QueueClient) -> None:
    client.project.queue.write_bytes(b"noise" * 1000)
    with pytest.raises(StorageError) as caught:
        client.ensure_scheduler()
    assert "the scheduler did not start: " in caught.value.line
    assert "is not a queue database" in caught.value.line


def test_a_damaged_queue_is_refused_by_every_operation(client: QueueClient) -> None:
    client.project.queue.write_bytes(b"")
    for operation in (
        client.jobs,
        lambda: client.enqueue([fake_spec()]),
        lambda: client.send(CommandKind.HOLD, ["x"]),
    ):
        with pytest.raises(StorageError, match="truncated"):
            operation()
