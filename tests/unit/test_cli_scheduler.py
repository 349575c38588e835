"""`scheduler`: what it starts, restarts and shows, and what it refuses in one line."""

from __future__ import annotations

import json
import os

import pytest

from tests.unit.test_cli import PROJECT, assert_one_line
from tui_datasize.cli.dispatch import main
from tui_datasize.errors import StorageError
from tui_datasize.experiments.device_settings import DeviceOptions, DeviceSettings
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.scheduler import launch
from tui_datasize.jobs.scheduler.lock import SchedulerLock
from tui_datasize.runlog.paths import ProjectPaths


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project directory that is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATASIZE_DATA", str(tmp_path / "data"))
    (tmp_path / "experiments.toml").write_text(f"[devices]\nslots_per_gpu = 2\n{PROJECT}")
    (tmp_path / "runs").mkdir()
    return ProjectPaths(tmp_path)


@pytest.fixture
def launched(project, monkeypatch):
    """The options of every scheduler that is started; each runs, as this process, until it is stopped."""
    options: list[list[str]] = []
    authority = SchedulerLock(project.scheduler_lock)

    def start(_project, words=()):
        if launch.scheduler_alive(project):
            return None
        assert authority.take()
        authority.note(DeviceOptions(cpu_slots=1), DeviceSettings(cpu_slots=1))
        options.append(list(words))
        return os.getpid()

    def stop(_client, **_options):
        authority.release()
        return True

    monkeypatch.setattr(launch, "ensure_scheduler", start)
    monkeypatch.setattr(QueueClient, "stop_scheduler", stop)
    yield options
    authority.release()


def test_restart_starts_one_with_exactly_its_options_whether_one_runs_or_not(launched, capsys):
    assert main(["scheduler", "restart", "--cpu-slots", "1", "--no-cold"]) == 0
    told = "scheduler: restarted with cpu_slots 1, cold false; running jobs go on; that holds until it ends"
    assert capsys.readouterr().err.startswith(told)
    assert main(["scheduler", "restart"]) == 0
    assert capsys.readouterr().err == "scheduler: restarted as experiments.toml says; running jobs go on\n"
    assert launched == [["--cpu-slots", "1", "--no-cold"], []]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["restart", "--max-jobs-per-gpu", "1"],
            "max_jobs_per_gpu: expected at least slots_per_gpu, which is 2, got 1",
        ),
        (["start", "--max-jobs-per-gpu", "4"], "`datasize-tui scheduler restart` takes the same options"),
        (["stop", "--no-cold"], "--no-cold is for a scheduler that starts"),
    ],
)
def test_options_that_make_no_sense_are_one_line_and_end_nothing(launched, capsys, arguments, message):
    assert main(["scheduler", "start"]) == 0
    capsys.readouterr()
    assert main(["scheduler", *arguments]) == 2
    assert_one_line(capsys, message)
    assert launched == [[]]
    assert main(["scheduler", "status"]) == 0


def test_a_wrong_file_ends_no_scheduler(project, launched, capsys):
    assert main(["scheduler", "start"]) == 0
    project.experiments.write_text("[devices]\ncpu_slots = 0")
    capsys.readouterr()
    assert main(["scheduler", "restart"]) == 2
    assert_one_line(capsys, "cpu_slots: expected a whole number from 1 to 64, got 0")
    assert launched == [[]]


def test_start_refuses_what_contradicts_the_file(launched, capsys):
    assert main(["scheduler", "start", "--max-jobs-per-gpu", "1"]) == 2
    assert_one_line(capsys, "max_jobs_per_gpu: expected at least slots_per_gpu, which is 2, got 1")
    assert launched == []


def test_status_tells_every_setting_and_where_it_comes_from(launched, capsys):
    assert main(["scheduler", "status"]) == 1
    shown = capsys.readouterr()
    assert shown.err == "scheduler: not running\n"
    rows = {line.split()[0]: line.split()[1:] for line in shown.out.splitlines()}
    assert rows["slots_per_gpu"] == ["2", "experiments.toml"]
    assert rows["max_jobs_per_gpu"] == ["2", "as", "slots_per_gpu"]
    assert rows["cpu_slots"] == ["one", "per", "core", "default"]
    assert main(["scheduler", "start"]) == 0
    capsys.readouterr()
    assert main(["scheduler", "status"]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert rows["cpu_slots"] == ["1", "option", "of", "the", "scheduler"]
    assert main(["status"]) == 0
    assert "scheduler: running with cpu_slots 1\n" in capsys.readouterr().err
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scheduler_options"] == {"cpu_slots": 1}


def test_a_restart_that_others_get_in_the_way_of_says_so(project, launched, monkeypatch):
    starts = []

    def start_another(_project, words=()):
        """As if another client had been faster each time."""
        starts.append(words)

    monkeypatch.setattr(launch, "ensure_scheduler", start_another)
    with pytest.raises(StorageError, match="ask again"):
        QueueClient(project).restart_scheduler(DeviceOptions(cpu_slots=2))
    assert len(starts) == 3
