"""The scheduler is killed, doubled or starved of its memory; nothing is lost, nothing runs twice."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.faults.lab import Lab, is_alive
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.state import CPU, JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.apply_commands import CommandApplier
from tui_datasize.runlog.claim import observe, read_exit
from tui_datasize.runlog.identity import ProcessIdentity

pytestmark = pytest.mark.faults


@contextmanager
def in_place_of_a_scheduler(lab: Lab) -> Iterator[Store]:
    """The database with all commands applied, as a scheduler sees it before it starts anything."""
    with closing(Store(lab.project.queue)) as store:
        CommandApplier(store, lab.project).apply_pending()
        yield store


@pytest.mark.long
def test_every_run_ends_exactly_once_when_schedulers_are_killed_in_the_middle(lab: Lab) -> None:
    paths = lab.enqueue(*(lab.spec(seed, work_s=0.05) for seed in range(10)))
    for done in (2, 4, 6):
        scheduler = lab.start_scheduler()
        lab.wait(lambda done=done: lab.client.counts()[JobState.SUCCEEDED] >= done)
        lab.kill(scheduler)
    lab.start_scheduler()
    lab.wait_until_over()
    for run in paths:
        assert lab.job(run).state is JobState.SUCCEEDED
        lab.assert_ran_once(run)


def test_a_start_that_was_committed_and_not_followed_is_repeated(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec())
    with in_place_of_a_scheduler(lab) as store, store.transaction():
        store.begin_attempt(run.run_id, 1, CPU, 0, "f" * 32)
    lab.start_scheduler()
    job = lab.wait_for(run, JobState.SUCCEEDED)
    assert (job.attempts, job.max_attempts) == (2, 4)
    lab.assert_ran_once(run)


def test_a_worker_that_has_not_claimed_yet_is_found_by_the_next_scheduler(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec(claim_gate=str(lab.gate())))
    scheduler = lab.start_scheduler()
    lab.wait(lambda: lab.processes(run.run_id))
    lab.kill(scheduler)
    lab.start_scheduler()
    lab.gate().touch()
    assert lab.wait_for(run, JobState.SUCCEEDED).attempts == 1
    lab.assert_ran_once(run)


def test_only_one_of_two_workers_of_one_run_executes_it(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec(claim_gate=str(lab.gate()), work_s=0.2))
    scheduler = lab.start_scheduler()
    lab.wait(lambda: lab.processes(run.run_id))
    lab.kill(scheduler)
    with closing(sqlite3.connect(lab.project.queue)) as connection:
        # As if the worker had been on its way through a preloader while the next scheduler looked.
        connection.execute("UPDATE attempts SET tag = ?", ("e" * 32,))
        connection.commit()
    lab.start_scheduler()
    lab.wait(lambda: len(lab.processes(run.run_id)) == 2)
    lab.gate().touch()
    assert lab.wait_for(run, JobState.SUCCEEDED).attempts == 2
    lab.assert_ran_once(run)


def test_a_running_worker_is_adopted(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec(gate=str(lab.gate())))
    scheduler = lab.start_scheduler()
    lab.wait_for(run, JobState.RUNNING)
    lab.kill(scheduler)
    lab.start_scheduler()
    lab.gate().touch()
    assert lab.wait_for(run, JobState.SUCCEEDED).attempts == 1
    lab.assert_ran_once(run)


def test_an_adopted_worker_that_dies_is_noticed_and_its_run_resumed(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec(gate=str(lab.gate())))
    scheduler = lab.start_scheduler()
    lab.wait_for(run, JobState.RUNNING)
    lab.kill(scheduler)
    lab.start_scheduler()
    os.kill(lab.worker_pid(run), signal.SIGKILL)
    lab.gate().touch()
    assert lab.wait_for(run, JobState.SUCCEEDED).attempts == 2
    lab.assert_ran_once(run)


def test_what_ends_while_no_scheduler_runs_is_told_from_the_directories(lab: Lab) -> None:
    done, dead = lab.enqueue(lab.spec(0, gate=str(lab.gate())), lab.spec(1, gate=str(lab.gate("never"))))
    scheduler = lab.start_scheduler()
    lab.wait_for(done, JobState.RUNNING)
    lab.wait_for(dead, JobState.RUNNING)
    lab.kill(scheduler)
    os.kill(lab.worker_pid(dead), signal.SIGKILL)
    lab.gate().touch()
    lab.wait(lambda: observe(done).final_exit)
    lab.start_scheduler()
    lab.gate("never").touch()
    assert lab.wait_for(done, JobState.SUCCEEDED).attempts == 1
    assert lab.wait_for(dead, JobState.SUCCEEDED).attempts == 2
    lab.assert_ran_once(done)
    lab.assert_ran_once(dead)


def test_a_claim_of_an_earlier_boot_is_void_though_its_process_number_lives(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec(gate=str(lab.gate())))
    scheduler = lab.start_scheduler()
    lab.wait_for(run, JobState.RUNNING)
    lab.kill(scheduler)
    os.kill(lab.worker_pid(run), signal.SIGKILL)
    lab.wait(lambda: not observe(run).lock_held)
    innocent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    same_number = ProcessIdentity.of(innocent.pid)
    claim = json.loads(run.claim.read_text())
    claim |= {"pid": same_number.pid, "start_ticks": same_number.start_ticks, "boot_id": "an earlier boot"}
    run.claim.write_text(json.dumps(claim))
    lab.start_scheduler()
    lab.gate().touch()
    assert lab.wait_for(run, JobState.SUCCEEDED).attempts == 2
    assert innocent.poll() is None
    innocent.communicate(b"\n")


def test_a_process_that_got_the_number_of_a_dead_worker_is_left_alone(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec(gate=str(lab.gate())))
    scheduler = lab.start_scheduler()
    lab.wait_for(run, JobState.RUNNING)
    lab.kill(scheduler)
    os.kill(lab.worker_pid(run), signal.SIGKILL)
    lab.wait(lambda: not observe(run).lock_held)
    innocent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    run.claim.write_text(json.dumps(json.loads(run.claim.read_text()) | {"pid": innocent.pid}))
    lab.start_scheduler()
    lab.gate().touch()
    lab.wait_for(run, JobState.SUCCEEDED)
    assert innocent.poll() is None
    innocent.communicate(b"\n")


def test_a_rival_scheduler_leaves_at_once(lab: Lab) -> None:
    lab.enqueue(lab.spec(gate=str(lab.gate())))
    lab.start_scheduler()
    rival = lab.spawn_scheduler()
    assert rival.wait(60) == 0
    assert "another scheduler has the queue" in lab.log()


def test_closing_the_client_and_its_terminal_leaves_everything_running(lab: Lab, tmp_path: Path) -> None:
    (run,) = lab.enqueue(lab.spec(gate=str(lab.gate())))
    client = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, signal, sys; from pathlib import Path\n"
            "from tui_datasize.jobs.client import QueueClient\n"
            "from tui_datasize.runlog.paths import ProjectPaths\n"
            "project = ProjectPaths(Path(sys.argv[1]))\n"
            # Whoever runs the tests under nohup has it ignored, here too.
            "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
            "QueueClient(project, scheduler_options=sys.argv[2:]).ensure_scheduler()\n"
            "os.killpg(0, signal.SIGHUP)",
            str(tmp_path),
            *lab.options,
        ],
        start_new_session=True,
    )
    assert client.wait(60) == -signal.SIGHUP
    lab.wait_for(run, JobState.RUNNING)
    (scheduler,) = lab.processes("jobs.scheduler")
    os.kill(scheduler, signal.SIGHUP)
    lab.gate().touch()
    lab.wait_for(run, JobState.SUCCEEDED)
    assert is_alive(scheduler)


def test_a_stopped_scheduler_leaves_its_workers_to_the_next(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec(gate=str(lab.gate())))
    lab.client.ensure_scheduler()
    lab.wait_for(run, JobState.RUNNING)
    assert lab.client.stop_scheduler()
    worker = lab.worker_pid(run)
    assert is_alive(worker)
    lab.client.keep_scheduler()
    assert not lab.client.scheduler_alive()
    lab.client.ensure_scheduler()
    lab.wait(lambda: not lab.client.settings().stopped)
    lab.gate().touch()
    lab.wait_for(run, JobState.SUCCEEDED)
    lab.assert_ran_once(run)


def test_an_old_request_to_stop_does_not_stop_the_next_scheduler(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec())
    lab.client.send(CommandKind.STOP, [""])
    lab.start_scheduler()
    lab.wait_for(run, JobState.SUCCEEDED)


def test_an_idle_scheduler_ends_and_the_next_command_finds_another(lab: Lab) -> None:
    lab.enqueue(lab.spec(0))
    scheduler = lab.start_scheduler("--idle-s", "0.2")
    assert scheduler.wait(60) == 0
    assert not lab.client.scheduler_alive()
    (second,) = lab.enqueue(lab.spec(1))
    lab.client.ensure_scheduler()
    lab.wait_for(second, JobState.SUCCEEDED)


def test_a_rebuilt_queue_knows_what_has_ended_and_adopts_what_runs(lab: Lab) -> None:
    specs = [lab.spec(0), lab.spec(1, behaviour="fail", reason="NaN loss"), lab.spec(2, gate=str(lab.gate()))]
    done, failed, running = lab.enqueue(*specs)
    scheduler = lab.start_scheduler()
    lab.wait_for(done, JobState.SUCCEEDED)
    lab.wait_for(failed, JobState.FAILED)
    lab.wait_for(running, JobState.RUNNING)
    lab.kill(scheduler)
    for file in lab.project.runs.glob("queue.db*"):
        file.unlink()
    acknowledgement = lab.client.enqueue(specs)
    lab.start_scheduler()
    lab.answers(acknowledgement)
    assert lab.job(done).state is JobState.SUCCEEDED
    assert lab.job(failed).reason == "NaN loss"
    assert lab.job(running).state is JobState.RUNNING
    lab.gate().touch()
    lab.wait_for(running, JobState.SUCCEEDED)
    lab.assert_ran_once(done)
    lab.assert_ran_once(running)


def test_a_scheduler_whose_database_is_taken_away_ends(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec(gate=str(lab.gate())))
    scheduler = lab.start_scheduler()
    lab.wait_for(run, JobState.RUNNING)
    for file in lab.project.runs.glob("queue.db*"):
        file.unlink()
    assert scheduler.wait(60) == 0, lab.log()


def test_time_is_counted_to_the_end_of_a_worker_not_to_its_discovery(lab: Lab) -> None:
    done, vanished = lab.enqueue(*(lab.spec(seed, gate=str(lab.gate(str(seed)))) for seed in range(2)))
    scheduler = lab.start_scheduler()
    for run in (done, vanished):
        lab.wait_for(run, JobState.RUNNING)
    lab.kill(scheduler)
    lab.gate("0").touch()
    lab.wait(lambda: read_exit(done))
    os.kill(lab.worker_pid(vanished), signal.SIGKILL)
    lab.wait(lambda: not observe(vanished).claimant_alive)
    began = lab.job(vanished).started_at
    last_sign = datetime.fromisoformat(began) + timedelta(seconds=2)
    for file in vanished.directory.iterdir():
        os.utime(file, (last_sign.timestamp(), last_sign.timestamp()))
    lab.gate("1").touch()
    lab.start_scheduler()
    lab.wait_until_over()
    with closing(sqlite3.connect(lab.project.queue)) as connection:
        ends = dict(
            connection.execute("SELECT run_id, finished_at FROM attempts WHERE attempt = 1").fetchall()
        )
    end = read_exit(done)
    assert end is not None
    assert ends == {
        done.run_id: end.finished_at,
        vanished.run_id: last_sign.isoformat(timespec="milliseconds"),
    }
