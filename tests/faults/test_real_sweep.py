"""Real trainings, real kills: a sweep killed at every level measures what an undisturbed one does."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tui_datasize.cli.dispatch import main
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.sweep import plan_runs
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.runlog.claim import read_claim
from tui_datasize.runlog.paths import ProjectPaths, RunPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.schema import TIME_COLUMNS

DEADLINE_S = 600.0
EXPERIMENT = """
[devices]
cpu = true
cpu_slots = 4
[experiments.small]
dataset    = "digits"
model      = { name = "mlp", dropout = 0.2 }
sizes      = [40, 160]
seeds      = [0, 1]
budget     = { updates = 240 }
batch_size = 32
evaluate   = { times = 5 }
"""

pytestmark = [pytest.mark.faults, pytest.mark.long]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A project with a data directory and CPU slots of its own, where others can take names in `/tmp`."""
    shared = tmp_path / "shared"
    shared.mkdir()
    for user in {os.environ.get("USER", "root"), "root"}:
        (shared / f"torchinductor_{user}").touch()
    monkeypatch.setenv("TMPDIR", str(shared))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for variable in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "POLARS_TEMP_DIR"):
        monkeypatch.delenv(variable, raising=False)
    before = sorted(shared.iterdir())
    monkeypatch.setenv("DATASIZE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DATASIZE_SLOTS_DIR", str(tmp_path / "slots"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    paths = ProjectPaths(tmp_path / "project")
    paths.root.mkdir()
    paths.experiments.write_text(EXPERIMENT)
    yield paths
    client = QueueClient(paths)
    client.send("cancel", [job.run_id for job in client.jobs() if not job.state.is_final])
    wait(lambda: not any(job.state.is_active for job in client.jobs()))
    client.stop_scheduler()
    wait(lambda: not client.scheduler_alive())
    assert sorted(shared.iterdir()) == before


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


def scheduler_pid(paths: ProjectPaths) -> int:
    """The process that holds the scheduler's lock, as the kernel lists it."""
    inode = paths.scheduler_lock.stat().st_ino
    locks = Path("/proc/locks").read_text().splitlines()
    return next(int(line.split()[4]) for line in locks if line.split()[5].endswith(f":{inode}"))


def measured(paths: ProjectPaths) -> pl.DataFrame:
    rows = RunLog(paths).metrics().filter(pl.col("event") == "evaluation")
    return rows.drop(*TIME_COLUMNS).sort("run_id", "update", "split")


def test_kills_change_no_number_and_every_run_ends_once(project):
    assert main(["run", "small", "--project", str(project.root)]) == 0
    # All were forked from a preloader: nothing that real workers import keeps it from serving.
    assert {forked_by(run) for run in project.all_runs()} == {"preloader.py"}
    undisturbed = measured(project)

    client = QueueClient(project)
    assert main(["queue", "small", "--force", "--project", str(project.root)]) == 0
    stopped: list[int] = []
    for _ in range(2):
        wait(lambda: stop_worker(project, stopped))
    os.kill(stopped[0], signal.SIGKILL)
    # The preloader ends with its scheduler, and another one takes long to load: no run is to need it.
    wait(lambda: max(job.attempts for job in client.jobs()) == 3)
    wait(lambda: {job.state for job in client.jobs()} <= {JobState.RUNNING, JobState.SUCCEEDED})
    os.kill(scheduler_pid(project), signal.SIGKILL)
    wait(lambda: not client.scheduler_alive())
    os.kill(stopped[1], signal.SIGCONT)
    assert main(["run", "small", "--project", str(project.root)]) == 0

    jobs = client.jobs()
    assert [job.state for job in jobs] == [JobState.SUCCEEDED] * 4
    assert all((project.root / "runs/small/.superseded").iterdir())
    assert sorted(job.attempts for job in jobs) == [2, 2, 2, 3]
    assert_frame_equal(measured(project), undisturbed)
    assert undisturbed.group_by("run_id", "split").len()["len"].unique().to_list() == [5]

    loaded = load_project(project.experiments)
    specs = plan_runs(loaded.experiment("small"), loaded)
    again = client.enqueue(specs, data_dir=loaded.data_dir)
    assert (again.new, again.present) == (0, 4)


SEARCHED = """
[devices]
cpu = true
cpu_slots = 4
[experiments.searched]
dataset    = "digits"
model      = "mlp"
sizes      = [40]
seeds      = [0, 1]
budget     = { updates = 240 }
batch_size = 32
evaluate   = { times = 5 }
validation = 0.25
schedule   = "cosine"
[experiments.searched.levers]
label_smoothing = [0.1]
[experiments.searched.search]
count = 2
"model.hidden" = { low = 4, high = 64, integer = true }
halving = { keep = 0.5, from = 0.5 }
"""


def test_kills_in_the_middle_of_rungs_change_neither_numbers_nor_who_goes_on(project):
    project.experiments.write_text(SEARCHED)
    assert main(["run", "searched", "--project", str(project.root)]) == 0
    client, undisturbed = QueueClient(project), measured(project)
    assert undisturbed["run_id"].n_unique() == 2 * (2 + 2 + 1)
    assert client.stop_scheduler()
    project.runs.rename(project.root / "before")

    assert main(["queue", "searched", "--project", str(project.root)]) == 0
    stopped: list[int] = []
    for rung in (0, 1):
        wait(lambda rung=rung: len(client.promoted("searched")) == 2 * rung)
        wait(lambda: stop_worker(project, stopped))
        os.kill(scheduler_pid(project), signal.SIGKILL)
        os.kill(stopped[-1], signal.SIGKILL)
        wait(lambda: not client.scheduler_alive())
        client.ensure_scheduler()
    assert main(["run", "searched", "--project", str(project.root)]) == 0
    assert_frame_equal(measured(project), undisturbed)


STEPS = """
[devices]
cpu = true
cpu_slots = 4
[experiments.steps]
dataset    = "digits"
model      = "mlp"
sizes      = [20, 40]
seeds      = [0]
subset     = { strategy = "margin", path = [20, 40] }
budget     = { updates = 20 }
"""


def test_a_path_that_grows_after_a_prune_is_trained_anew_to_the_same_numbers(project, capsys):
    """What every answer and error advises is typed as it stands."""
    project.experiments.write_text(STEPS)
    there = ["--project", str(project.root)]
    assert main(["run", "steps", *there]) == 0
    before, early = measured(project), [run.run_id for run in project.all_runs()]
    assert main(["prune", "--yes", *there]) == 0
    project.experiments.write_text(STEPS.replace("20, 40]", "20, 40, 80]"))
    capsys.readouterr()
    assert main(["queue", "steps", "--dry-run", *there]) == 0
    assert (
        "3 of 3 runs would be queued (2 finished ones trained anew: checkpoints gone)"
        in capsys.readouterr().err
    )
    assert main(["run", "steps", *there]) == 0
    assert_frame_equal(measured(project).filter(pl.col("run_id").is_in(early)), before)

    project.experiments.write_text(STEPS.replace("20, 40]", "20, 40, 80, 160]"))
    assert main(["drain", *there]) == 0
    assert main(["queue", "steps", *there]) == 0
    client = QueueClient(project)
    last = next(job for job in client.jobs() if "-n160-" in job.run_id)
    (source,) = last.after
    project.run("steps", source).checkpoint.unlink()
    assert main(["drain", "--off", *there]) == 0
    wait(lambda: client.jobs()[-1].state is JobState.FAILED)
    advice = re.search(r"`datasize-tui (retry \S+)`", client.jobs()[-1].reason)[1]
    capsys.readouterr()
    assert main([*advice.split(), *there]) == 0
    assert (
        "queued again, behind 1 finished run for the sake of a checkpoint that is gone"
        in capsys.readouterr().err
    )
    wait(lambda: {job.state for job in client.jobs()} == {JobState.SUCCEEDED})
    assert_frame_equal(measured(project).filter(pl.col("run_id").is_in(early)), before)


def forked_by(run: RunPaths) -> str:
    """File name of the program that became the worker."""
    return Path(json.loads(run.provenance.read_text())["argv"][0]).name


def stop_worker(paths: ProjectPaths, stopped: list[int]) -> bool:
    """Stop one more worker in the middle of its run; whether one could be."""
    for run in paths.all_runs():
        claim = read_claim(run)
        if claim and claim.pid not in stopped and run.metrics.exists() and run.metrics.stat().st_size:
            with suppress(ProcessLookupError):
                # It cannot end between the look and what follows.
                os.kill(claim.pid, signal.SIGSTOP)
                if not run.exit.exists():
                    stopped.append(claim.pid)
                    return True
                os.kill(claim.pid, signal.SIGCONT)
    return False
