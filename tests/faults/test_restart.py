"""A scheduler is replaced by one with other options while jobs run: they go on, and go by the new ones."""

from __future__ import annotations

import pytest

from tests.faults.lab import Lab
from tui_datasize.errors import ConfigError
from tui_datasize.experiments.device_settings import DeviceOptions
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.scheduler import launch
from tui_datasize.jobs.scheduler.lock import read_notes

pytestmark = pytest.mark.faults


@pytest.fixture(autouse=True)
def _forked(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What clients start begins at once; that they start a program is seen by other tests."""
    monkeypatch.setattr(launch, "_spawn", lambda _project, options: lab.fork_scheduler(options))


def test_a_restart_with_other_options_adopts_what_runs_and_starts_by_them(lab: Lab) -> None:
    runs = lab.enqueue(*(lab.spec(seed, gate=str(lab.gate())) for seed in range(6)))
    lab.client.ensure_scheduler()
    lab.wait(lambda: lab.client.counts()[JobState.RUNNING] == 4)
    workers = {run.run_id: lab.worker_pid(run) for run in runs[:4]}
    before = read_notes(lab.project.scheduler_lock)
    lab.client.restart_scheduler(DeviceOptions(cpu=True, cpu_slots=5))
    after = read_notes(lab.project.scheduler_lock)
    assert before is not None
    assert after is not None
    assert after.pid != before.pid
    assert after.options.said["cpu_slots"] == 5
    lab.wait(lambda: lab.client.counts()[JobState.RUNNING] == 5)
    assert {run.run_id: lab.worker_pid(run) for run in runs[:4]} == workers
    assert lab.client.slots() == 5
    lab.gate().touch()
    lab.wait_until_over()
    for run in runs:
        assert lab.job(run).attempts == 1
        lab.assert_ran_once(run)


def test_a_restart_where_none_runs_starts_one_and_ends_a_stop(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec())
    assert lab.client.stop_scheduler()
    lab.client.restart_scheduler(DeviceOptions(cpu=True, cpu_slots=1))
    lab.wait_for(run, JobState.SUCCEEDED)
    assert not lab.client.settings().stopped


def test_a_restart_that_is_broken_off_does_not_count_as_a_stop(lab: Lab) -> None:
    lab.client.ensure_scheduler()
    (run,) = lab.enqueue(lab.spec())
    lab.client.stop_scheduler(for_another=True)
    assert not lab.client.settings().stopped
    # As the open app does, and whoever waits for runs.
    lab.client.keep_scheduler()
    lab.wait_for(run, JobState.SUCCEEDED)


def test_what_a_client_restarts_with_holds_for_what_it_starts_later(lab: Lab) -> None:
    lab.client.restart_scheduler(DeviceOptions(cpu=True, cpu_slots=3))
    # Another client stops it, and this one needs one again.
    assert QueueClient(lab.project).stop_scheduler()
    assert lab.client.look_at_scheduler().options == DeviceOptions(cpu=True, cpu_slots=3)
    lab.client.ensure_scheduler()
    lab.wait(lambda: lab.client.scheduler_options().said.get("cpu_slots") == 3)


def test_options_that_contradict_the_file_leave_the_scheduler_as_it_is(lab: Lab) -> None:
    lab.project.experiments.write_text("[devices]\nslots_per_gpu = 3\n")
    lab.client.ensure_scheduler()
    lab.wait(lambda: read_notes(lab.project.scheduler_lock))
    before = read_notes(lab.project.scheduler_lock)
    with pytest.raises(ConfigError, match="at least slots_per_gpu, which is 3"):
        lab.client.restart_scheduler(DeviceOptions(max_jobs_per_gpu=2))
    assert read_notes(lab.project.scheduler_lock) == before
