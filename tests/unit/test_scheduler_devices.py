"""`[devices]` of the project's file while a scheduler runs, and how many jobs at once everybody tells of."""

from __future__ import annotations

import logging
import os
from contextlib import closing
from pathlib import Path

import pytest

from tests.stand_ins import FakeClock, FakeSpawner
from tests.tui.fake_queue import CPU_ONLY
from tests.tui.stage import busy_stage, look
from tests.unit.test_store import new_job
from tui_datasize.cli.dispatch import main
from tui_datasize.cli.doctor import _devices
from tui_datasize.experiments.device_settings import DeviceOptions, DeviceSettings
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler import device_file as module
from tui_datasize.jobs.scheduler.device_file import DeviceFile
from tui_datasize.jobs.scheduler.devices import DeviceReport
from tui_datasize.jobs.scheduler.lock import read_notes
from tui_datasize.jobs.scheduler.main import Scheduler, SchedulerLock, SchedulerSettings
from tui_datasize.runlog.paths import ProjectPaths


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def write(project: ProjectPaths, devices: str) -> None:
    """Give the file other content, with a time of its own however fast that goes."""
    before = project.experiments.stat().st_mtime_ns if project.experiments.exists() else 0
    project.experiments.write_text(f"[devices]\n{devices}\n")
    os.utime(project.experiments, ns=(before + 1, before + 1))


def polled(file: DeviceFile, clock: FakeClock) -> DeviceSettings | None:
    """What two looks at the file come to: the first of them only notices that it has changed."""
    for _ in range(2):
        clock.now_s += 1
        limits = file.poll()
    return limits


def test_the_file_is_read_again_when_it_changes_and_options_win(tmp_path: Path, clock: FakeClock) -> None:
    project = ProjectPaths(tmp_path)
    file = DeviceFile(project, DeviceOptions(pack_width=3))
    assert polled(file, clock) is None
    write(project, 'packs = "always"\ncpu_slots = 2\npack_width = 6')
    read = polled(file, clock)
    assert read is not None
    assert (read.packs, read.cpu_slots, read.pack_width) == ("always", 2, 3)
    assert polled(file, clock) is None
    write(project, 'packs = "off"\ncpu_slots = 1')
    # Half of it might be written by now.
    clock.now_s += 1
    assert file.poll() is None
    clock.now_s += 0.5
    assert file.poll() is None
    clock.now_s += 0.5
    read = file.poll()
    assert read is not None
    assert (read.packs, read.cpu_slots) == ("off", 1)
    project.experiments.unlink()
    assert polled(file, clock) is None


def test_a_file_that_is_wrong_is_told_once_and_changes_nothing(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    project = ProjectPaths(tmp_path)
    file = DeviceFile(project, DeviceOptions())
    write(project, "cpu_slots = 0")
    with caplog.at_level(logging.ERROR):
        assert [polled(file, clock) for _ in range(3)] == [None] * 3
    (told,) = caplog.messages
    assert told.startswith("[devices] stay as they were: ")
    assert "cpu_slots" in told


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProjectPaths:
    """A project on a machine of its own, without GPUs."""
    monkeypatch.setenv("DATASIZE_SLOTS_DIR", str(tmp_path / "slots"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return ProjectPaths(tmp_path)


def test_a_running_scheduler_starts_as_many_as_the_file_says_now(
    project: ProjectPaths, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tui_datasize.jobs.scheduler.main._DISPATCH_INTERVAL_S", 0.0)
    write(project, "cpu_slots = 1\ncpu = true")
    with closing(Store(project.queue)) as store:
        for number in range(4):
            store.add(new_job(f"r{number}"))
    spawner = FakeSpawner()
    settings = SchedulerSettings(project, devices=DeviceSettings(cpu_slots=1, cpu=True))
    with closing(Scheduler(settings, SchedulerLock(project.scheduler_lock), spawner)) as scheduler:

        def steps() -> int:
            for _ in range(3):
                clock.now_s += 1
                scheduler._step()
            return len(spawner.started)

        with caplog.at_level(logging.INFO):
            assert steps() == 1
            assert "devices: 1 job at once" in caplog.messages
            write(project, "cpu_slots = 3\ncpu = true")
            assert steps() == 3
            assert QueueClient(project).settings().slots == 3
            # What runs goes on, and nothing takes its place.
            write(project, "cpu_slots = 2\ncpu = true")
            assert steps() == 3
            assert QueueClient(project).settings().slots == 2


def test_all_tell_the_same_number_of_jobs_at_once(
    project: ProjectPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_datasize.jobs.scheduler.devices.read_devices", lambda _used: CPU_ONLY)
    monkeypatch.setattr("tui_datasize.cli.doctor.read_devices", lambda _used: CPU_ONLY)
    client = QueueClient(project)
    # By the file, while no scheduler runs, whatever an earlier one has had.
    with closing(Store(project.queue)) as store:
        store.settings.write(slots=5)
    write(project, "cpu_slots = 1")
    assert client.slots() == 1
    assert _devices(project).text.endswith(": jobs run on the CPU, 1 job at once")
    # By the scheduler that runs.
    monkeypatch.setattr(QueueClient, "scheduler_alive", lambda _client: True)
    assert client.slots() == 5
    assert _devices(project).text.endswith(": jobs run on the CPU, 5 jobs at once")


def test_status_names_what_keeps_a_scheduler_from_reading_the_file(
    project: ProjectPaths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Store(project.queue).close()
    write(project, "cpu_slots = 0")
    arguments = ["status", "--project", str(project.root)]
    assert main(arguments) == 0
    assert "keeps its settings" not in capsys.readouterr().err
    monkeypatch.setattr(QueueClient, "scheduler_alive", lambda _client: True)
    assert main(arguments) == 0
    assert "the scheduler keeps its settings of the devices: " in capsys.readouterr().err


@pytest.mark.parametrize(("alive", "told", "slots"), [(True, 5, 5), (False, 5, 1), (True, None, 1)])
def test_the_header_tells_the_slots_that_hold(
    tmp_path: Path, alive: bool, told: int | None, slots: int
) -> None:
    stage = busy_stage(tmp_path)
    stage.project.experiments.write_text(stage.project.experiments.read_text() + "[devices]\ncpu_slots = 1\n")
    stage.queue.alive, stage.queue.slots = alive, told
    snapshot = look(stage)
    assert snapshot.devices == DeviceReport((), slots, CPU_ONLY.problem)
    assert snapshot.time_left.slots == slots


def test_a_scheduler_says_with_which_settings_it_works(project: ProjectPaths, clock: FakeClock) -> None:
    write(project, "cpu_slots = 1\ncold = true\ncpu = true")
    options = DeviceOptions(pack_width=3)
    settings = SchedulerSettings(
        project, call="", options=options, devices=DeviceSettings(cpu_slots=1, cpu=True)
    )
    authority = SchedulerLock(project.scheduler_lock)
    client = QueueClient(project)

    def told() -> dict[str, tuple[str, str]]:
        look = client.look_at_scheduler()
        assert look.alive
        return {setting.name: (setting.value, setting.source) for setting in look.in_force()}

    with closing(Scheduler(settings, authority, FakeSpawner())) as scheduler:
        assert read_notes(project.scheduler_lock) is None
        assert client.scheduler_options() == DeviceOptions()
        assert authority.take()
        # Of one that does not say it, such as one of another version.
        assert client.look_at_scheduler().options is None
        assert list(client.look_at_scheduler().in_force()) == []
        write(project, "cpu_slots = 2\ncold = false\ncpu = true")
        for _ in range(2):
            clock.now_s += 1
            scheduler._step()
        assert client.scheduler_options() == options
        assert told()["cpu_slots"] == ("2", "experiments.toml")
        assert told()["pack_width"] == ("3", "option of the scheduler")
        assert told()["packs"] == ("auto", "default")
        assert told()["cold"] == (
            "true",
            "start of the scheduler; a restart takes false in experiments.toml",
        )
        write(project, "cpu_slots = 0")
        assert told()["cpu_slots"] == ("2", "experiments.toml before it was wrong, or default")
        authority.release()
    # What stands in the file means nothing without the lock, nor to whoever takes it next.
    assert read_notes(project.scheduler_lock) is None
    assert authority.take()
    assert read_notes(project.scheduler_lock) is None
    authority.release()
