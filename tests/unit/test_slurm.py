"""Runs that Slurm makes: handed over once, and ended as their directories tell, whatever it answers."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.slurm_desk import Cluster, opened_cluster, specs
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.runlog import lease as leases
from tui_datasize.runlog.claim import (
    Lack,
    RunOutcome,
    read_exit,
)
from tui_datasize.runlog.paths import RunPaths

QUEUED, RUNNING, HELD = JobState.QUEUED, JobState.RUNNING, JobState.HELD
SUCCEEDED, FAILED, CANCELLED = JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED
INTERRUPTED = JobState.INTERRUPTED


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with opened_cluster(tmp_path, monkeypatch) as cluster:
        yield cluster


def test_runs_go_to_slurm_in_one_array_and_end_as_their_directories_tell(cluster: Cluster) -> None:
    first, second, third = specs(3)
    cluster.enqueue(first, second, third)
    assert cluster.store.waiting(10) == []
    cluster.round()
    assert [words[0] for words in cluster.slurm.asked] == ["scontrol", "squeue", "sbatch"]
    (name,) = cluster.store.cluster.arrays()
    assert f"--name={name}" in cluster.asked("squeue")[0]
    assert {f"--job-name={name}", "--array=0-2", "--requeue", "--signal=B:USR2@120"} <= {
        *cluster.asked("sbatch")[0]
    }
    cluster.slurm.tasks[0].starts = "2031-11-30T14:20:00"
    cluster.round()
    assert cluster.states() == [QUEUED] * 3
    assert cluster.job(first).reason == "waits for a free node; Slurm expects Sun 30 Nov 14:20"
    cluster.begin(2)
    cluster.round()
    assert cluster.states() == [RUNNING, RUNNING, QUEUED]
    assert cluster.job(first).device == os.uname().nodename
    assert cluster.store.active() == []
    # Slurm says that it failed, the directory that it succeeded.
    cluster.end(state="FAILED")
    cluster.round()
    assert cluster.states() == [SUCCEEDED, SUCCEEDED, QUEUED]
    cluster.begin()
    cluster.end(RunOutcome.FAILED, "the loss is NaN")
    cluster.round(2)
    assert cluster.states() == [SUCCEEDED, SUCCEEDED, FAILED]
    assert cluster.job(third).reason == "the loss is NaN"
    assert not cluster.store.cluster.has_work()
    assert len(cluster.asked("sbatch")) == 1


@pytest.mark.parametrize("fault", ["lost", "torn"])
def test_a_submission_whose_answer_is_lost_is_found_and_not_repeated(cluster: Cluster, fault: str) -> None:
    cluster.slurm.faults["sbatch"] = [fault]
    cluster.enqueue(*specs(4))
    cluster.round()
    assert not any(cluster.store.cluster.arrays().values())
    # Nor is it while nobody says whether Slurm has it.
    cluster.slurm.faults["squeue"] = ["down", "torn"]
    cluster.round(2)
    cluster.other_executor()
    cluster.round(2)
    assert len(cluster.asked("sbatch")) == 1
    assert [*cluster.store.cluster.arrays().values()] == ["1"]
    cluster.begin()
    cluster.end()
    cluster.round(2)
    assert cluster.states() == [SUCCEEDED] * 4


def test_what_slurm_did_not_take_is_handed_over_again(cluster: Cluster) -> None:
    cluster.slurm.faults["sbatch"] = ["down", "down"]
    cluster.enqueue(*specs(2))
    cluster.round()
    assert "Slurm does not answer: Unable to contact slurm controller" in cluster.fault("answer")
    cluster.round(3)
    assert len(cluster.asked("sbatch")) == 3
    assert cluster.fault("answer") == ""
    cluster.begin()
    cluster.end()
    cluster.round(2)
    assert (cluster.states(), cluster.successes()) == ([SUCCEEDED] * 2, 2)


def test_a_second_submission_that_slips_in_finds_every_run_claimed_or_ended(cluster: Cluster) -> None:
    cluster.enqueue(*specs(2))
    cluster.round()
    cluster.slurm.answer(cluster.asked("sbatch")[0], cluster.slurm.script)
    cluster.begin(3)
    assert cluster.refused == ["another worker executes this run, or its directory is gone"]
    cluster.end()
    cluster.round()
    # The one that has not begun is cancelled.
    assert cluster.slurm.tasks[-1].state == "CANCELLED"
    cluster.slurm.tasks[-1].state = "PENDING"
    cluster.begin()
    assert cluster.refused[1:] == ["the run was handed over for attempt 1, and attempt 1 ended as succeeded"]
    cluster.round()
    assert (cluster.states(), cluster.successes()) == ([SUCCEEDED] * 2, 2)


def test_a_worker_that_leaves_goes_on_as_another_job_unless_slurm_starts_it_again(cluster: Cluster) -> None:
    (spec,) = specs(1)
    cluster.enqueue(spec, max_attempts=1)
    cluster.round()
    cluster.begin()
    cluster.round()
    # Slurm has it again, and so it is Slurm's.
    cluster.paths(spec).checkpoint.touch()
    cluster.end(RunOutcome.INTERRUPTED, "asked to leave", state="PENDING")
    cluster.slurm.tasks[0].reason = "BeginTime"
    cluster.round(2)
    assert cluster.job(spec).state is INTERRUPTED
    assert cluster.job(spec).reason == "waits a moment before it is started again"
    assert len(cluster.asked("sbatch")) == 1
    cluster.begin()
    cluster.round()
    assert (cluster.job(spec).state, cluster.job(spec).attempts) == (RUNNING, 2)
    # Now it is done with it, at the time limit.
    cluster.paths(spec).checkpoint.touch()
    cluster.end(RunOutcome.INTERRUPTED, "asked to leave", state="TIMEOUT")
    cluster.round(2)
    assert len(cluster.asked("sbatch")) == 2
    cluster.begin()
    # An attempt that brought nothing counts.
    cluster.paths(spec).checkpoint.unlink()
    cluster.end(RunOutcome.INTERRUPTED, "asked to leave", state="TIMEOUT")
    cluster.round(2)
    assert cluster.job(spec).state is FAILED
    assert cluster.job(spec).reason == "asked to leave on attempt 3, the last one"
    assert read_exit(cluster.paths(spec)).outcome is RunOutcome.FAILED  # type: ignore[union-attr]


def test_a_slurm_that_starts_a_run_twice_has_it_claimed_once(cluster: Cluster) -> None:
    (spec,) = specs(1)
    cluster.enqueue(spec)
    cluster.round()
    (task,) = cluster.slurm.tasks
    cluster.slurm.begin(cluster.die)
    cluster.round()
    assert cluster.job(spec).state is RUNNING
    # A slurmctld that was killed and came back knows it as waiting, and starts it again.
    task.state = "PENDING"
    cluster.begin()
    cluster.round()
    assert (cluster.job(spec).state, cluster.job(spec).attempts) == (RUNNING, 2)
    assert cluster.job(spec).interrupted_by == "Slurm started it again"
    cluster.end()
    cluster.round()
    assert (cluster.states(), cluster.successes()) == ([SUCCEEDED], 1)


def test_a_worker_that_vanishes_is_believed_gone_only_when_slurm_says_so(cluster: Cluster) -> None:
    (spec,) = specs(1)
    cluster.enqueue(spec, max_attempts=2)
    cluster.round()
    for attempt in (1, 2):
        cluster.slurm.begin(cluster.die)
        cluster.round(2)
        assert (cluster.job(spec).state, cluster.job(spec).attempts) == (RUNNING, attempt)
        task = cluster.slurm.tasks[-1]
        task.state = "NODE_FAIL"
        cluster.slurm.faults["squeue"] = ["down", "torn", "lost"]
        cluster.round(3)
        assert cluster.job(spec).state is RUNNING
        assert "Slurm does not answer" in cluster.fault("answer")
        cluster.round(2)
        assert cluster.fault("answer") == ""
    assert cluster.job(spec).state is FAILED
    assert cluster.job(spec).reason == "worker vanished on attempt 2, the last one"


def test_a_vanished_node_keeps_its_run_until_its_lease_is_old(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    (spec,) = specs(1)
    cluster.enqueue(spec)
    cluster.round()
    paths = cluster.paths(spec)
    cluster.slurm.begin(cluster.die)
    _as_elsewhere(paths)
    cluster.slurm.tasks[0].state = "NODE_FAIL"
    now_s = leases.file_system_time(paths.directory)
    os.utime(paths.lease(1), (now_s - 170, now_s - 170))
    cluster.round(2)
    assert cluster.job(spec).state is RUNNING
    # A worker of another node leaves it alone, too.
    cluster.slurm.tasks[0].state = "PENDING"
    cluster.begin()
    assert cluster.refused == ["job 1_0 on elsewhere has attempt 1 and has not ended it"]
    os.utime(paths.lease(1), (now_s - 190, now_s - 190))
    cluster.round(2)
    assert cluster.job(spec).state is INTERRUPTED
    cluster.begin()
    cluster.end()
    cluster.round()
    assert cluster.states() == [SUCCEEDED]


def _as_elsewhere(paths: RunPaths) -> None:
    """Have a claim and its lease be of another host."""
    import json

    for file in (paths.claim, paths.lease(1)):
        told = json.loads(file.read_text())
        file.write_text(json.dumps(told | {"boot_id": "another", "host": "elsewhere"}))


def test_a_job_that_ends_before_it_begins_costs_nothing_before_any_has_begun(cluster: Cluster) -> None:
    cluster.enqueue(*specs(3), max_attempts=2)
    cluster.round()
    (name,) = cluster.store.cluster.arrays()
    for number in range(3):
        (cluster.project.cluster / f"{name}-{number}.log").write_text("bash: module: command not found\n")
    for task in cluster.slurm.tasks:
        task.state = "FAILED"
    cluster.round()
    assert cluster.states() == [INTERRUPTED] * 3
    assert "ended before it began: bash: module: command not found; see" in cluster.fault("runs")
    # One run finds out whether it is over.
    cluster.round(2)
    assert cluster.sizes() == ["0-2", "0-0"]
    cluster.begin()
    cluster.round()
    assert cluster.fault("runs") == ""
    cluster.end()
    for _ in range(3):
        cluster.round()
        cluster.begin()
        cluster.end()
    cluster.round()
    assert cluster.states() == [SUCCEEDED] * 3


def test_cancel_hold_release_and_retry_are_passed_on(cluster: Cluster) -> None:
    waits, runs = specs(2)
    cluster.enqueue(waits, runs)
    cluster.round()
    assert cluster.queue.ask(CommandKind.HOLD, waits) == ["held"]
    cluster.round()
    assert cluster.task_of(cluster.paths(waits)).reason == "JobHeldUser"
    cluster.begin()
    cluster.round()
    assert [cluster.job(spec).state for spec in (waits, runs)] == [HELD, RUNNING]
    cluster.queue.ask(CommandKind.RELEASE, waits)
    cluster.round()
    assert cluster.task_of(cluster.paths(waits)).reason == "Resources"
    # What waits is cancelled at once, even while Slurm does not answer.
    cluster.slurm.faults["squeue"] = ["down"]
    assert cluster.queue.ask(CommandKind.CANCEL, waits, runs) == ["cancelled", "is being cancelled"]
    cluster.round(2)
    task = cluster.task_of(cluster.paths(runs))
    assert (cluster.task_of(cluster.paths(waits)).state, task.signals) == ("CANCELLED", 1)
    cluster.end(RunOutcome.INTERRUPTED, "asked to leave", state="CANCELLED")
    cluster.round()
    assert [cluster.job(spec).state for spec in (waits, runs)] == [CANCELLED, CANCELLED]
    # A task that Slurm starts all the same finds its run over.
    cluster.task_of(cluster.paths(waits)).state = "PENDING"
    cluster.begin()
    assert cluster.refused == ["the run was handed over for attempt 1, and attempt 1 ended as cancelled"]
    cluster.queue.ask(CommandKind.RETRY, waits, runs)
    cluster.round(2)
    cluster.begin()
    cluster.end()
    cluster.round()
    assert cluster.states() == [SUCCEEDED] * 2


def test_a_cancelled_run_is_queued_again_before_slurm_has_heard_of_it(cluster: Cluster) -> None:
    (spec,) = specs(1)
    cluster.enqueue(spec)
    cluster.round()
    cluster.queue.ask(CommandKind.CANCEL, spec)
    cluster.queue.ask(CommandKind.RETRY, spec)
    cluster.round(3)
    assert [task.state for task in cluster.slurm.tasks] == ["CANCELLED", "PENDING"]
    cluster.begin()
    cluster.end()
    cluster.round()
    assert (cluster.states(), cluster.successes()) == ([SUCCEEDED], 1)


def test_priority_orders_what_is_not_handed_over_and_sources_come_first(cluster: Cluster) -> None:
    source, other, last = specs(3)
    cluster.slurm.most_tasks = 1
    cluster.enqueue(source, other)
    cluster.enqueue(last, after={last: [source]})
    cluster.queue.ask(CommandKind.PRIORITY, other, amount=5)
    cluster.round(2)
    assert [Path(task.directory).name for task in cluster.slurm.tasks] == [other.run_id, source.run_id]
    cluster.begin()
    cluster.end()
    cluster.round(2)
    assert Path(cluster.slurm.tasks[-1].directory).name == last.run_id


def test_arrays_are_as_large_as_the_cluster_and_the_account_allow(cluster: Cluster) -> None:
    cluster.slurm.most_tasks, cluster.slurm.submit_limit = 8, 5
    cluster.say("array_width = 3", "partition = 'main'", "account = 'lab'")
    cluster.enqueue(*specs(20))
    cluster.round(2)
    assert "Job violates accounting/QOS policy" in cluster.fault("submit")
    for _ in range(30):
        cluster.round()
        cluster.begin(2)
        cluster.end()
    assert cluster.states() == [SUCCEEDED] * 20
    assert cluster.sizes()[:2] == ["0-7%3", "0-3%3"]
    assert {"--partition=main", "--account=lab"} <= {*cluster.asked("sbatch")[0]}


def test_what_slurm_refuses_is_a_fault_until_the_file_is_mended(cluster: Cluster) -> None:
    cluster.say("partition = 'gpu'")
    cluster.enqueue(*specs(2))
    cluster.round(3)
    assert cluster.fault("submit") == (
        "Slurm takes no runs: Batch job submission failed: Invalid partition name specified; "
        "`datasize-tui doctor --cluster` looks further"
    )
    cluster.say("partition = 5")
    cluster.round()
    assert "cluster.partition: expected a string, got 5" in cluster.fault("file")
    cluster.say()
    cluster.round(3)
    assert (len(cluster.slurm.tasks), cluster.fault("submit"), cluster.fault("file")) == (2, "", "")


def test_a_full_shared_disk_is_a_state_and_ends_no_run(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tui_datasize.jobs.scheduler.slurm import handing

    def full(*_: object) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "/shared")

    cluster.enqueue(*specs(2))
    with monkeypatch.context() as patched:
        patched.setattr(handing, "prepare_directory", full)
        cluster.round()
    assert (
        cluster.fault("disk") == "/shared: Disk quota exceeded: runs of the cluster wait until that is fixed"
    )
    cluster.round(2)
    assert cluster.fault("disk") == ""
    cluster.begin()
    for claim in cluster.claims:
        claim.finish(RunOutcome.INTERRUPTED, "no space left", lack=Lack.DISK)
        claim.release()
        cluster.task_of(claim.paths).state = "COMPLETED"
    cluster.claims.clear()
    cluster.round()
    assert "no space left" in cluster.fault("runs")
    assert cluster.states() == [INTERRUPTED] * 2
    assert [job.max_attempts - job.attempts for job in cluster.queue.client.jobs()] == [3, 3]


def test_limits_that_are_torn_are_no_limits(cluster: Cluster) -> None:
    cluster.enqueue(*specs(2))
    cluster.slurm.faults["scontrol"] = ["torn"]
    cluster.round()
    assert cluster.fault("answer").startswith("Slurm does not answer: its MaxArraySize is not told")
    assert cluster.sizes() == []
    cluster.round()
    assert cluster.sizes() == ["0-1"]
