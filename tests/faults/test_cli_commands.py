"""The commands of the command line on a queue that runs: real schedulers and workers, no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.faults.lab import Lab
from tui_datasize.cli import doctor
from tui_datasize.cli.dispatch import main
from tui_datasize.jobs.queue.state import JobState

pytestmark = pytest.mark.faults

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(lab: Lab, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command on the lab's project: its exit status, and what it told."""

    def run(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        status = main([*words, "--project", str(lab.project.root)])
        output = capsys.readouterr()
        return status, output.out + output.err

    return run


def test_drain_finishes_what_runs_and_survives_the_scheduler(lab: Lab, command: Command) -> None:
    first, second = lab.enqueue(lab.spec(0, gate=str(lab.gate())), lab.spec(1))
    scheduler = lab.start_scheduler("--cpu-slots", "1", "--idle-s", "0.2")
    lab.wait_for(first, JobState.RUNNING)
    assert command("drain") == (0, "draining: running jobs finish, no new ones start\n")
    lab.gate().touch()
    lab.wait_for(first, JobState.SUCCEEDED)
    assert scheduler.wait(60) == 0
    assert lab.job(second).state is JobState.QUEUED
    status, told = command("status")
    assert (status, "draining: running jobs finish" in told) == (0, True)
    lab.start_scheduler("--cpu-slots", "1")
    assert command("drain", "--off") == (0, "the queue starts jobs again\n")
    lab.wait_for(second, JobState.SUCCEEDED)


def test_hold_release_and_cancel_of_everything(lab: Lab, command: Command) -> None:
    runs = lab.enqueue(*(lab.spec(seed, gate=str(lab.gate())) for seed in range(4)))
    lab.start_scheduler("--cpu-slots", "1")
    lab.wait_for(runs[0], JobState.RUNNING)
    status, told = command("hold", "--all")
    assert (status, told) == (0, "3 runs: held\n")
    nothing = "nothing to hold: 3 held, 1 running; that is for interrupted or queued jobs\n"
    assert command("hold", "--all") == (0, nothing)
    assert command("release", "lab", "--state", "held")[1] == "3 runs: released\n"
    command("cancel", "--all")
    lab.wait_until_over()
    assert {job.state for job in lab.client.jobs()} == {JobState.CANCELLED}


def test_move_and_priority_from_the_command_line(lab: Lab, command: Command) -> None:
    runs = lab.enqueue(*(lab.spec(seed, gate=str(lab.gate())) for seed in range(5)))
    lab.start_scheduler("--cpu-slots", "1")
    lab.wait_for(runs[0], JobState.RUNNING)

    def line() -> list[int]:
        waiting = [job for job in lab.client.jobs() if job.state is JobState.QUEUED]
        waiting.sort(key=lambda job: (-job.priority, job.position))
        return [[run.run_id for run in runs].index(job.run_id) for job in waiting]

    assert command("move", runs[4].run_id, "--by", "-2")[0] == 0
    assert line() == [1, 4, 2, 3]
    assert command("move", runs[1].run_id, "--by", "1") == (0, f"{runs[1].run_id}: moved\n")
    assert line() == [4, 1, 2, 3]
    assert command("priority", runs[3].run_id, "--by", "5")[0] == 0
    assert line() == [3, 4, 1, 2]


def test_retry_of_what_failed_in_an_experiment(lab: Lab, command: Command) -> None:
    failed, done, cancelled = lab.enqueue(
        lab.spec(0, behaviour="fail", reason="no"), lab.spec(1), lab.spec(2, gate=str(lab.gate()))
    )
    lab.start_scheduler()
    lab.wait_for(failed, JobState.FAILED)
    lab.wait_for(done, JobState.SUCCEEDED)
    command("cancel", cancelled.run_id)
    lab.wait_for(cancelled, JobState.CANCELLED)
    status, told = command("retry", "lab", "--state", "failed")
    assert (status, told) == (0, f"{failed.run_id}: queued again\n")
    lab.wait(lambda: lab.job(failed).attempts == 2)
    lab.wait_for(failed, JobState.FAILED)
    assert lab.job(cancelled).state is JobState.CANCELLED


def test_a_run_with_one_attempt_fails_when_its_worker_vanishes(lab: Lab) -> None:
    spec = lab.spec(behaviour="die", deaths=5)
    (run,) = lab.enqueue(spec, max_attempts=1)
    lab.start_scheduler()
    job = lab.wait_for(run, JobState.FAILED)
    assert (job.attempts, job.max_attempts) == (1, 1)
    assert "on attempt 1, the last one" in job.reason


def test_a_dependant_starts_after_its_source_even_across_a_scheduler_kill(lab: Lab) -> None:
    source, dependant = lab.spec(0, gate=str(lab.gate())), lab.spec(1)
    runs = lab.enqueue(source)
    waits = lab.enqueue(dependant, after={dependant.run_id: [source.run_id]})
    scheduler = lab.start_scheduler()
    lab.wait_for(runs[0], JobState.RUNNING)
    lab.kill(scheduler)
    lab.start_scheduler()
    assert lab.executions(waits[0]) == []
    assert lab.job(waits[0]).waits_for == (source.run_id,)
    lab.gate().touch()
    lab.wait_for(waits[0], JobState.SUCCEEDED)
    ended = lab.job(runs[0]).finished_at
    assert lab.job(waits[0]).started_at >= ended
    lab.assert_ran_once(waits[0])


def test_a_failed_source_fails_its_dependants_and_a_retry_brings_both_back(
    lab: Lab, command: Command
) -> None:
    source, dependant = lab.spec(0, gate=str(lab.gate())), lab.spec(1)
    first, second = lab.enqueue(source, dependant, after={dependant.run_id: [source.run_id]})
    lab.start_scheduler()
    lab.wait_for(first, JobState.RUNNING)
    assert f"waits for {first.run_id}" in command("status")[1]
    command("cancel", first.run_id)
    job = lab.wait_for(second, JobState.FAILED)
    assert job.reason == f"its source {first.run_id} was cancelled"
    status, told = command("retry", second.run_id)
    assert (status, told.count("\n"), "retry that first" in told) == (2, 1, True)
    lab.gate().touch()
    assert command("retry", "lab")[0] == 0
    lab.wait_for(second, JobState.SUCCEEDED)


def test_the_end_of_an_experiment_is_told_once_whoever_schedules(lab: Lab) -> None:
    lab.project.experiments.write_text(
        "notify = 'echo $DATASIZE_EVENT $DATASIZE_EXPERIMENT $DATASIZE_SUCCEEDED $DATASIZE_FAILED >> told'"
    )
    told = lab.project.root / "told"
    lab.enqueue(lab.spec(0), lab.spec(1, behaviour="fail", reason="no"))
    scheduler = lab.start_scheduler()
    lab.wait_until_over()
    lab.wait(lambda: told.exists() and "ended" in told.read_text())
    lab.kill(scheduler)
    second = lab.start_scheduler("--idle-s", "0.2")
    assert second.wait(60) == 0
    lines = told.read_text().splitlines()
    assert lines.count("experiment-ended lab 1 1") == 1
    assert [line.split()[0] for line in lines].count("job-failed") == 1


def test_a_queue_that_drains_has_no_time_left_and_adds_up_the_time_used(lab: Lab, command: Command) -> None:
    lab.enqueue(*(lab.spec(seed, work_s=0.2) for seed in range(3)))
    lab.start_scheduler()
    lab.wait_until_over()
    lab.client.wait(lab.client.drain(), 60)
    lab.enqueue(*(lab.spec(seed, work_s=0.2) for seed in range(3, 7)))
    lab.wait(lambda: len(lab.client.executions(lab.client.jobs())) == 7)
    status, told = command("status", "--json")
    shown = json.loads(told)
    assert (status, shown["settings"]) == (
        0,
        {"draining": True, "slots": 4, "stopped": False, "loading": False},
    )
    assert (shown["ends_in_s"], shown["held_up"]) == (None, "the queue is draining")
    assert shown["experiments"]["lab"]["cpu_s"] >= 0.6
    queued = [job for job in shown["jobs"] if job["state"] == "queued"]
    assert {job["basis"].partition(" of ")[0] for job in queued} == {"3 finished runs"}
    status, told = command("status")
    assert "time left: not known for 4 runs: the queue is draining" in told
    assert "learned from 3 finished runs of fake(work_s=0.2) on cpu (4 runs)" in told


def test_options_for_a_scheduler_that_runs_already_are_refused(lab: Lab, command: Command) -> None:
    lab.start_scheduler()
    status, told = command("scheduler", "start", "--slots-per-gpu", "2")
    assert (status, told.count("\n")) == (2, 1)
    assert "--slots-per-gpu is for a scheduler that starts" in told


def test_a_wrong_devices_table_keeps_the_scheduler_from_starting_in_one_line(
    lab: Lab, command: Command
) -> None:
    lab.project.experiments.write_text("[devices]\nslots_per_gpu = 'two'\n")
    lab.enqueue(lab.spec())
    status, told = command("scheduler", "start")
    assert (status, told.count("\n")) == (2, 1)
    assert "devices.slots_per_gpu: expected a whole number from 1 to 64, got 'two'" in told


def test_doctor_finds_workers_that_have_no_run_any_more(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    # Importing torch takes seconds, whatever it says.
    monkeypatch.setattr(doctor, "_torch", lambda: doctor.Check("torch", "ok", "torch"))
    (run,) = lab.enqueue(lab.spec(gate=str(lab.gate())))
    lab.start_scheduler()
    lab.wait_for(run, JobState.RUNNING)
    assert lab.client.orphans() == []
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        cwd=lab.project.root,
        env=os.environ | {"DATASIZE_TAG": "f00"},
    ) as orphan:
        lab.wait(lambda: [process.pid for process in lab.client.orphans()] == [orphan.pid])
        checks = {check.name: check for check in doctor.run_checks(lab.project)}
        assert checks["orphans"].verdict == "warn"
        assert f"ps -fp {orphan.pid}" in checks["orphans"].text
        assert checks["file system"].verdict == "ok"
        orphan.kill()
    assert lab.client.orphans() == []
