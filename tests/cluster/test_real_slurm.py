"""A real Slurm makes runs: each once, whatever is killed, and as the queue was asked to."""

from __future__ import annotations

from tests.cluster.conftest import ClusterLab
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
