"""What jobs that come to nothing tell: of a run, of a node, of all nodes, or of nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.slurm_mock import MockTask
from tests.unit.slurm_desk import Cluster, opened_cluster, specs
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.scheduler.slurm import evidence as evidence_module
from tui_datasize.jobs.scheduler.slurm.evidence import Evidence
from tui_datasize.runlog.claim import Lack, RunOutcome

RUNNING, SUCCEEDED, FAILED = JobState.RUNNING, JobState.SUCCEEDED, JobState.FAILED


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with opened_cluster(tmp_path, monkeypatch) as cluster:
        yield cluster


def left(cluster: Cluster) -> list[int]:
    """The attempts that each run may still make."""
    return [job.max_attempts - job.attempts for job in cluster.queue.client.jobs()]


def turn(cluster: Cluster, node: str, *, eats: bool, most: int = 1) -> list[MockTask]:
    """Let tasks begin on a node, whose workers begin and succeed, or whose jobs end without a word."""

    def work(task: MockTask) -> None:
        task.node = node
        if eats:
            task.state = "FAILED"
        else:
            cluster.work(task)

    begun = cluster.slurm.begin(work, most)
    cluster.round()
    cluster.end()
    cluster.round()
    return begun


def test_a_node_that_eats_jobs_costs_no_run_anything_and_is_avoided(cluster: Cluster) -> None:
    cluster.enqueue(*specs(6), max_attempts=1)
    cluster.round()
    turn(cluster, "good", eats=False)
    turn(cluster, "bad", eats=True, most=3)
    assert cluster.fault("runs") == ""
    assert cluster.fault("nodes") == "jobs come to nothing on bad; runs are handed over to other nodes"
    assert left(cluster)[1:] == [1] * 5
    cluster.round(2)
    assert "--exclude=bad" in cluster.asked("sbatch")[-1]
    for _ in range(8):
        turn(cluster, "good", eats=False)
    assert cluster.states() == [SUCCEEDED] * 6
    assert not cluster.store.cluster.has_work()


def test_nodes_are_avoided_for_a_while_and_never_all_of_them(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence = Evidence()
    for run in ("a", "b"):
        evidence.ended_unseen(run, "n1", run)
    assert (evidence.avoided(), evidence.is_probing) == ((), True)
    evidence.begun("c", "n2")
    assert (evidence.avoided(), evidence.is_probing) == (["n1"], False)
    monkeypatch.setattr(evidence_module, "AVOIDED_S", -1.0)
    assert evidence.avoided() == []


def test_an_environment_that_breaks_later_costs_nothing_and_is_tried_with_one_run(cluster: Cluster) -> None:
    cluster.enqueue(*specs(12), max_attempts=1)
    cluster.round()
    for node in ("n1", "n2", "n3", "n4"):
        turn(cluster, node, eats=False)
    for node in ("n1", "n2", "n3"):
        turn(cluster, node, eats=True, most=1)
    before = len(cluster.sizes())
    turn(cluster, "n4", eats=True, most=99)
    assert "ended on n4 before it began" in cluster.fault("runs")
    for _ in range(3):
        cluster.round(3)
        turn(cluster, "n1", eats=True)
    assert cluster.sizes()[before:] == ["0-0"] * 4
    for _ in range(20):
        turn(cluster, "n2", eats=False)
        cluster.round(2)
    assert cluster.states() == [SUCCEEDED] * 12
    assert cluster.fault("runs") == ""


def test_jobs_that_others_cancel_before_they_begin_cost_nothing(cluster: Cluster) -> None:
    cluster.enqueue(*specs(4), max_attempts=1)
    cluster.round()
    turn(cluster, "n1", eats=False)
    for _ in range(3):
        for task in cluster.slurm.tasks:
            task.state = "CANCELLED" if task.state == "PENDING" else task.state
        cluster.round(3)
    assert "was cancelled, not by this queue" in cluster.fault("runs")
    assert left(cluster)[1:] == [1] * 3
    for _ in range(8):
        turn(cluster, "n1", eats=False)
        cluster.round()
    assert cluster.states() == [SUCCEEDED] * 4


def test_a_slurm_that_has_forgotten_everything_costs_nothing(cluster: Cluster) -> None:
    cluster.enqueue(*specs(3), max_attempts=1)
    cluster.round()
    turn(cluster, "n1", eats=False)
    cluster.slurm.tasks.clear()
    cluster.round(2)
    for _ in range(8):
        turn(cluster, "n1", eats=False)
        cluster.round()
    assert cluster.states() == [SUCCEEDED] * 3


def test_a_run_that_begins_nowhere_while_others_do_fails_in_the_end(cluster: Cluster) -> None:
    cluster.enqueue(*specs(1), max_attempts=3)
    cluster.enqueue(*specs(12)[1:])
    poor = cluster.queue.client.jobs()[0].run_id
    for _ in range(20):
        cluster.round()
        for task in [task for task in cluster.slurm.tasks if task.state == "PENDING"][:2]:
            task.state, task.node = "RUNNING", "n1"
            if Path(task.directory).name == poor:
                task.state = "FAILED"
            else:
                cluster.work(task)
        cluster.round()
        cluster.end()
    states = cluster.states()
    assert (states[0], states[1:]) == (FAILED, [SUCCEEDED] * 11)
    job = cluster.queue.client.jobs()[0]
    assert "its job ended on n1 before it began" in job.reason
    assert job.reason.endswith("the last one")


def test_a_long_run_that_goes_on_does_not_hide_that_no_other_begins(cluster: Cluster) -> None:
    cluster.enqueue(*specs(5), max_attempts=1)
    cluster.round()
    cluster.slurm.begin(cluster.work, most=1)
    cluster.slurm.tasks[0].node = ""
    cluster.round()
    turn_of_nothing = [task for task in cluster.slurm.tasks if task.state == "PENDING"]
    for task in turn_of_nothing:
        task.state, task.node = "FAILED", "bad"
    cluster.round(3)
    assert "before it began" in cluster.fault("runs")
    assert cluster.sizes() == ["0-4", "0-0"]


def test_a_gpu_that_cannot_be_used_is_its_nodes_fault(cluster: Cluster) -> None:
    (spec,) = specs(1)
    cluster.enqueue(spec, max_attempts=1)
    for _ in range(3):
        cluster.round(2)
        cluster.begin()
        for claim in cluster.claims:
            claim.finish(RunOutcome.INTERRUPTED, "CUDA error", device_fault="no CUDA device")
            claim.release()
            cluster.task_of(claim.paths).state = "COMPLETED"
        cluster.claims.clear()
        cluster.round()
    assert "no CUDA device" in cluster.fault("runs")
    assert left(cluster) == [1]


def test_after_a_lack_it_counts_that_a_run_gets_further_and_not_that_it_begins(cluster: Cluster) -> None:
    cluster.enqueue(*specs(4), max_attempts=1)
    for _ in range(3):
        cluster.round(2)
        cluster.begin()
        cluster.round()
        assert cluster.states().count(RUNNING) == len(cluster.claims)
        for claim in cluster.claims:
            claim.finish(RunOutcome.INTERRUPTED, "no space left", lack=Lack.DISK)
            claim.release()
            cluster.task_of(claim.paths).state = "COMPLETED"
        cluster.claims.clear()
        cluster.round()
        assert "no space left" in cluster.fault("runs")
    # One at a time since the first.
    assert cluster.sizes() == ["0-3", "0-0", "0-0"]
    cluster.round(2)
    cluster.begin()
    cluster.round()
    assert "no space left" in cluster.fault("runs")
    cluster.claims[0].paths.checkpoint.touch()
    cluster.round(2)
    assert cluster.fault("runs") == ""
    assert cluster.sizes()[4:] == ["0-2"]


_SIGNS = st.tuples(
    st.sampled_from(["begun", "unseen", "lacked", "work", "saved"]),
    st.sampled_from("abcd"),
    st.sampled_from(["", "n1", "n2", "n3"]),
)


@given(st.lists(_SIGNS, max_size=60))
def test_whatever_is_seen_there_is_a_way_on(signs: list[tuple[str, str, str]]) -> None:
    seen = Evidence()
    for sign, run, node in signs:
        if sign == "begun":
            seen.begun(run, node)
        elif sign == "lacked":
            seen.lacked(run, node, run)
        elif sign == "unseen" and not seen.is_own_fault(run, node):
            seen.ended_unseen(run, node, run)
        else:
            seen.at_work(run, node, has_saved=sign == "saved")
        # A node is left out only while another is known to begin runs, and nothing is blamed without others.
        assert not seen.avoided() or seen._good
        assert not set(seen.avoided()) & seen._good
        assert not seen.is_own_fault("a", "")
        assert not seen.is_own_fault("unheard of", node)
    seen.begun("a", "n1")
    seen.at_work("a", "n1", has_saved=True)
    assert not seen.is_probing
    assert not seen.is_own_fault("a", "n1")
