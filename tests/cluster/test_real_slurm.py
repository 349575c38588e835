"""A real Slurm makes runs: each once, whatever is killed, and as the queue was asked to."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from tests.cluster.conftest import ClusterLab
from tui_datasize.cli.doctor_cluster import cluster_checks
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.state import JobState


def test_runs_wait_run_and_succeed_two_on_pretended_gpus(lab: ClusterLab) -> None:
    lab.say(gpus=1)
    gate = lab.gate()
    runs = lab.hand(*(lab.spec(seed, gate=str(gate)) for seed in range(3)))
    lab.start_scheduler()
    lab.wait(lambda: [job.state for job in lab.jobs().values()].count(JobState.RUNNING) == 2)
    waiting = next(job for job in lab.jobs().values() if job.state is JobState.QUEUED)
    lab.wait(lambda: lab.jobs()[waiting.run_id].reason.startswith("waits for a GPU"))
    gate.touch()
    lab.wait_until_over()
    for paths in runs:
        lab.assert_ran_once(paths)
    assert {row["gpu"] for paths in runs for row in lab.executions(paths) if row["event"] == "begin"} == {
        "0",
        "1",
    }


def test_cancel_hold_release_and_retry(lab: ClusterLab) -> None:
    gate = lab.gate()
    (blocker, other, last) = lab.hand(*(lab.spec(seed, gate=str(gate)) for seed in range(3)))
    lab.say(array_width=1)
    lab.start_scheduler()
    lab.wait_for(blocker, JobState.RUNNING)
    lab.wait(lambda: "array_width" in lab.job(other).reason)
    assert lab.ask(CommandKind.HOLD, other) == [(True, f"{other.run_id}: held")]
    lab.slurm.wait(lambda: "JobHeld" in lab.slurm.ask("squeue", "-h", "-r", "-o", "%r"))
    assert lab.ask(CommandKind.CANCEL, last) == [(True, f"{last.run_id}: cancelled")]
    lab.ask(CommandKind.CANCEL, blocker)
    lab.wait_for(blocker, JobState.CANCELLED)
    assert lab.executions(blocker)[-1]["event"] == "end left"
    lab.ask(CommandKind.RELEASE, other)
    lab.ask(CommandKind.RETRY, blocker, last)
    gate.touch()
    lab.wait_until_over()
    assert [lab.job(paths).state for paths in (blocker, other, last)] == [JobState.SUCCEEDED] * 3


def test_a_run_at_its_time_limit_goes_on_from_its_checkpoint(lab: ClusterLab) -> None:
    # USR2 comes 120 s before the limit, and up to a minute early.
    lab.say(time="0:04:00")
    (paths,) = lab.hand(lab.spec(steps=1300, step_s=0.1), max_attempts=1)
    lab.start_scheduler()
    lab.wait_until_over(timeout_s=400.0)
    assert lab.job(paths).state is JobState.SUCCEEDED
    rows = lab.executions(paths)
    left = [row for row in rows if row["event"] == "end left"]
    assert left
    assert {row["signal"] for row in left} == {signal.SIGUSR2}
    lab.assert_ran_once(paths)
    # Where each begins the one before has left: no step is made twice, and none is missing.
    begins = [int(row["step"]) for row in rows if row["event"] == "begin"]
    ends = [int(row["step"]) for row in rows if row["event"] != "begin"]
    assert begins == [0, *ends[:-1]]
    assert ends[-1] == 1300
    assert sorted(ends) == ends
    jobs = [row["job"] for row in rows if row["event"] == "begin"]
    assert len(set(jobs)) == len(left) + 1


def test_a_requeued_run_goes_on_as_the_same_job(lab: ClusterLab) -> None:
    gate = lab.gate()
    (paths,) = lab.hand(lab.spec(gate=str(gate)), max_attempts=1)
    lab.start_scheduler()
    lab.wait_for(paths, JobState.RUNNING)
    lab.wait(paths.checkpoint.exists)
    job = lab.executions(paths)[0]["job"]
    lab.slurm.ask("scontrol", "requeue", f"{job}_0")
    lab.wait(lambda: lab.job(paths).attempts == 2)
    gate.touch()
    lab.wait_until_over()
    begun = [row for row in lab.executions(paths) if row["event"] == "begin"]
    assert [row["job"] for row in begun] == [job, job]
    assert lab.job(paths).state is JobState.SUCCEEDED
    lab.assert_ran_once(paths)


def test_a_partition_that_is_down_and_a_slurm_that_is_gone_are_states(lab: ClusterLab) -> None:
    lab.slurm.ask("scontrol", "update", "PartitionName=main", "State=DOWN")
    (paths,) = lab.hand(lab.spec())
    lab.start_scheduler()
    lab.wait(lambda: lab.job(paths).reason == "waits: the partition is down")
    lab.slurm.kill("slurmctld")
    lab.wait(lambda: any("Slurm does not answer" in fault.sentence for fault in lab.client.faults()))
    assert lab.job(paths).state is JobState.QUEUED
    lab.slurm.start_controller()
    lab.slurm.ask("scontrol", "update", "PartitionName=main", "State=UP")
    lab.wait_until_over()
    assert lab.job(paths).state is JobState.SUCCEEDED
    assert lab.client.faults() == []
    lab.assert_ran_once(paths)


def test_a_node_that_vanishes_gives_its_run_back(lab: ClusterLab) -> None:
    gate = lab.gate()
    (paths,) = lab.hand(lab.spec(gate=str(gate)))
    lab.start_scheduler()
    lab.wait_for(paths, JobState.RUNNING)
    job = lab.executions(paths)[0]["job"]
    lab.slurm.kill("slurmd")
    for pid in (*lab.slurm.steps(), lab.worker_pid(paths)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    lab.slurm.wait(lambda: "down" in lab.slurm.ask("sinfo", "-h", "-o", "%T"))
    lab.slurm.start_node()
    gate.touch()
    lab.wait_until_over(timeout_s=300.0)
    assert lab.job(paths).state is JobState.SUCCEEDED
    lab.assert_ran_once(paths)
    assert lab.executions(paths)[-1]["attempt"] > 1, job


def test_doctor_has_a_job_look_around(lab: ClusterLab) -> None:
    lab.project.runs.mkdir(exist_ok=True)
    found = {check.name: check for check in cluster_checks(lab.project)}
    # Slurm's own guess, while it recovers from what other tests did, is sometimes that it takes none.
    assert found.pop("partition").verdict != "fail"
    assert {check.verdict for check in found.values()} == {"ok"}, found
    assert "sees no GPU" in found["probe job"].text
    assert "is seen on" in found["locks"].text
    lab.say(partition="nowhere")
    assert "nowhere" in {check.name: check for check in cluster_checks(lab.project)}["partition"].text
