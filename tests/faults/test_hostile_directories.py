"""What stands in one run directory is that run's: the others go on, and the queue tells of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.lab import Lab
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.runlog.paths import RunPaths

pytestmark = pytest.mark.faults

NOT_OURS = {
    "a number beyond 64 bits": '{"attempt": 9223372036854775808}',
    "a number of 6,000 digits": '{"attempt": ' + "9" * 6000 + "}",
    "a number that no attempt reaches": '{"attempt": 9223372036854775807}',
    "deep nesting": "[" * 100_000,
    "no number": '{"attempt": [1]}',
}
CLAIM = '"pid": 1, "start_ticks": 1, "boot_id": "", "tag": "", "started_at": ""}'
EXIT = '"outcome": "failed", "reason": "", "finished_at": ""}'


@pytest.fixture
def lab(warm_lab: Lab) -> Lab:
    """How workers start makes no difference to what they find, and forked ones start at once."""
    return warm_lab


def as_directory(file: Path) -> None:
    file.unlink(missing_ok=True)
    file.mkdir()


def as_pipe(file: Path) -> None:
    file.unlink(missing_ok=True)
    os.mkfifo(file)


def as_loop(file: Path) -> None:
    file.unlink(missing_ok=True)
    file.symlink_to(file)


def as_endless(file: Path) -> None:
    file.unlink(missing_ok=True)
    file.symlink_to("/dev/zero")


IRREGULAR = (as_directory, as_pipe, as_loop, as_endless)


def write_not_ours(run: RunPaths, text: str) -> None:
    run.directory.mkdir(parents=True)
    run.claim.write_text(f"{text[:-1]}, {CLAIM}")
    run.exit.write_text(f"{text[:-1]}, {EXIT}")


def test_claims_and_ends_that_are_not_ours_are_written_over(lab: Lab) -> None:
    runs = [lab.project.run("lab", lab.spec(seed).run_id) for seed in range(len(NOT_OURS))]
    for run, text in zip(runs, NOT_OURS.values(), strict=True):
        write_not_ours(run, text)
    scheduler = lab.start_scheduler()
    lab.enqueue(*(lab.spec(seed) for seed in range(len(runs) + 1)))
    for run in lab.jobs():
        lab.wait(lambda run=run: lab.jobs()[run].state is JobState.SUCCEEDED)
    assert scheduler.poll() is None


def test_a_waiting_run_whose_directory_cannot_be_used_is_put_aside(lab: Lab) -> None:
    names = ("exit", "claim", "lock", "metrics", "stdout", "checkpoint")
    specs = [lab.spec(seed) for seed in range(len(names) + 1)]
    bad = []
    scheduler = lab.start_scheduler()
    lab.client.drain()
    lab.answers(lab.client.enqueue(specs))
    runs = [lab.project.run("lab", spec.run_id) for spec in specs]
    for number, run in enumerate(runs[1:]):
        run.directory.mkdir(parents=True)
        file = getattr(run, names[number])
        IRREGULAR[number % len(IRREGULAR)](file)
        bad.append((run, file))
    lab.client.drain(False)
    lab.wait_for(runs[0], JobState.SUCCEEDED)
    for run, file in bad:
        assert str(file) in lab.wait_for(run, JobState.HELD).reason
    assert scheduler.poll() is None
    run, file = bad[4]
    file.rmdir()
    lab.ask(CommandKind.RELEASE, run)
    lab.wait_for(run, JobState.SUCCEEDED)


def test_what_cannot_be_queued_is_refused_by_name(lab: Lab) -> None:
    runs = [lab.project.run("lab", lab.spec(seed).run_id) for seed in range(len(IRREGULAR))]
    for run, spoil in zip(runs, IRREGULAR, strict=True):
        run.directory.mkdir(parents=True)
        spoil(run.exit)
    lab.start_scheduler()
    acknowledgement = lab.client.enqueue([lab.spec(seed) for seed in range(len(runs) + 1)])
    *refused, taken = lab.answers(acknowledgement)
    assert taken[0]
    for (ok, message), run in zip(refused, runs, strict=True):
        assert not ok
        assert str(run.exit) in message


def test_runs_whose_directories_are_spoilt_while_they_run_end_with_their_workers(lab: Lab) -> None:
    runs = lab.enqueue(*(lab.spec(seed, gate=str(lab.gate())) for seed in range(3)))
    scheduler = lab.start_scheduler()
    for run in runs:
        lab.wait_for(run, JobState.RUNNING)
    pids = [lab.worker_pid(run) for run in runs]
    for run, spoil in zip(runs, (as_directory, as_pipe, as_pipe), strict=True):
        spoil(run.claim)
    (other,) = lab.enqueue(lab.spec(3))
    lab.wait_for(other, JobState.SUCCEEDED)
    assert all(lab.job(run).state is JobState.RUNNING for run in runs)
    lab.ask(CommandKind.CANCEL, runs[-1])
    lab.wait_for(runs[-1], JobState.CANCELLED)
    for run, pid in zip(runs[:-1], pids, strict=False):
        os.kill(pid, 9)
        assert str(run.claim) in lab.wait_for(run, JobState.FAILED).reason
    assert scheduler.poll() is None


def as_deep(file: Path) -> None:
    file.write_text("a = " + "[" * 100_000)


def as_deep_tables(file: Path) -> None:
    file.write_text("[devices" + ".a" * 20_000 + "]")


def as_long(file: Path) -> None:
    file.write_text("# " + "x" * 3_000_000)


def as_unbounded(file: Path) -> None:
    file.write_text("[devices]\ncpu_slots = " + "9" * 6_000 + '\nnotify = "\\u0000"')


def test_a_scheduler_goes_on_whatever_experiments_toml_becomes(lab: Lab) -> None:
    """It reads the file again when it changes, and when a run fails, whom to notify."""
    file = lab.project.experiments
    file.write_text("notify = 'true'\n[devices]\ncpu_slots = 2\n")
    scheduler = lab.start_scheduler()
    for number, spoil in enumerate((as_deep, as_deep_tables, as_long, as_unbounded, *IRREGULAR), start=1):
        spoil(file)
        if spoil is as_deep:
            lab.wait(lambda: "[devices] stay as they were" in lab.log())
        reason = f"lost {spoil.__name__}"
        (bad,) = lab.enqueue(lab.spec(number, behaviour="fail", reason=reason))
        assert lab.wait_for(bad, JobState.FAILED).reason == reason
        lab.wait(lambda told=number: lab.log().count("not notified of") >= told)
        if file.is_dir():
            file.rmdir()
    (good,) = lab.enqueue(lab.spec())
    lab.wait_for(good, JobState.SUCCEEDED)
    assert scheduler.poll() is None
    assert "Traceback" not in lab.log()
