"""A project without `[cluster]` is what it was: nothing more is loaded, written, waited for, or asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tui_datasize.runlog.claim import RunOutcome, acquire, conclude, observe
from tui_datasize.runlog.paths import RunPaths

OF_A_CLUSTER = (
    "tui_datasize.jobs.scheduler.slurm",
    "tui_datasize.cli.doctor_cluster",
    "tui_datasize.tui.polling.patient",
)
LIFE = """
import sys
from pathlib import Path
from tests.fakes import fake_spec
from tests.stand_ins import FakeSpawner
from tui_datasize.cli.dispatch import main
from tui_datasize.experiments.device_settings import DeviceSettings
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.scheduler.lock import SchedulerLock
from tui_datasize.jobs.scheduler.main import Scheduler, SchedulerSettings
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.tui.polling.poller import open_look
from tui_datasize.tui.polling.record import ProjectRecord
from tui_datasize.tui.polling.snapshot import Interest

project = ProjectPaths(Path(sys.argv[1]))
client = QueueClient(project)
client.enqueue([fake_spec("letters")])
authority = SchedulerLock(project.scheduler_lock)
authority.take()
scheduler = Scheduler(SchedulerSettings(project, devices=DeviceSettings(cpu=True)), authority, FakeSpawner())
for _ in range(3):
    scheduler._step()
look = open_look(project, client, lambda: ProjectRecord(project), lambda: None)
while not look(Interest()).is_ready:
    pass
main(["status", "--project", sys.argv[1]])
print(*sys.modules, file=sys.stderr)
"""


def test_neither_scheduler_nor_app_nor_command_line_loads_what_a_cluster_needs(tmp_path: Path) -> None:
    (tmp_path / "experiments.toml").write_text("")
    environment = os.environ | {"DATASIZE_SLOTS_DIR": str(tmp_path / "slots"), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", LIFE, tmp_path],
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[2],
        check=True,
    )
    # The run was handed to a worker of this machine.
    assert "letters" in done.stdout
    assert "starting" in done.stdout
    loaded = done.stderr.splitlines()[-1].split()
    assert "tui_datasize.jobs.scheduler.main" in loaded
    assert [name for name in loaded if name.startswith(OF_A_CLUSTER)] == []


def test_a_claim_of_this_machine_is_a_lock_alone(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path / "runs" / "x" / "run")
    paths.directory.mkdir(parents=True)
    threads = threading.active_count()
    claim = acquire(paths, 1)
    assert claim._lease is None
    assert {file.name for file in paths.directory.iterdir()} == {"lock", "claim.json"}
    assert threading.active_count() == threads
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    claim.finish(RunOutcome.INTERRUPTED)
    claim.release()
    assert conclude(paths, 1, RunOutcome.FAILED, "once more")
    assert not observe(paths).is_running
    assert {file.name for file in paths.directory.iterdir()} == {"lock", "claim.json", "exit.json"}


def test_a_claim_of_this_machine_looks_at_the_directory_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = RunPaths(tmp_path / "runs" / "x" / "run")
    paths.directory.mkdir(parents=True)
    looks: list[object] = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda place: looks.append(place) or listdir(place))
    acquire(paths, 1)
    observe(paths)
    assert looks == [paths.directory]
