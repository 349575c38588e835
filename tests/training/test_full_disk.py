"""The disk fills up under a real worker, while it logs and while it saves: it says so, and loses nothing."""

from __future__ import annotations

import math
import os
from pathlib import Path

import polars as pl
import pytest

from tests.disks import SmallDisk
from tests.training.conftest import QueueRun
from tests.training.helpers import small_spec, train, write_queued
from tui_datasize.errors import EXIT_OK, EXIT_RUN_FAILED, EXIT_TRY_AGAIN
from tui_datasize.runlog.claim import RunOutcome, read_exit
from tui_datasize.runlog.paths import ProjectPaths, RunPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.schema import TIME_COLUMNS
from tui_datasize.runlog.writer import MetricsWriter
from tui_datasize.training import checkpoint, session
from tui_datasize.training.worker import main

pytestmark = pytest.mark.faults


def end_of_process(run: RunPaths) -> None:
    """Free the lock, as the end of the worker's process does and nothing else."""
    for link in Path("/proc/self/fd").iterdir():
        if os.path.realpath(link) == str(run.lock):
            os.close(int(link.name))


def measured(run: RunPaths) -> list[dict[str, object]]:
    """Evaluation rows as a reader sees them, past a row that was torn."""
    project = ProjectPaths(run.directory.parents[2])
    rows = RunLog(project).metrics().filter(pl.col("event") == "evaluation")
    return rows.drop(*TIME_COLUMNS).to_dicts()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, digits_dir: Path) -> list[dict[str, object]]:
    """What a run measures on a disk with room."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATASIZE_DATA", str(digits_dir))
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        run = write_queued(tmp_path_factory.mktemp("undisturbed"), small_spec())
        train(run)
    return measured(run)


@pytest.mark.parametrize(
    ("owner", "name", "calls_before", "interval_s", "saved"),
    [
        pytest.param(MetricsWriter, "write", 5, math.inf, set(), id="metrics"),
        pytest.param(checkpoint, "save", 2, 0, {"checkpoint.pt"}, id="checkpoint on the way"),
        pytest.param(checkpoint, "save", 0, math.inf, set(), id="best weights"),
        pytest.param(checkpoint, "save", 1, math.inf, {"best.pt"}, id="last checkpoint"),
    ],
)
def test_a_run_that_met_a_full_disk_goes_on_and_measures_the_same(
    owner: object,
    name: str,
    calls_before: int,
    interval_s: float,
    saved: set[str],
    queue_run: QueueRun,
    undisturbed: list[dict[str, object]],
    small_disk: SmallDisk,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    run = queue_run(small_spec())
    document = run.spec.read_text()
    small_disk.mount(run.directory)
    run.spec.write_text(document)
    original, calls, ballast = getattr(owner, name), [], list[Path]()

    def write_or_save(*arguments: object, **values: object) -> None:
        calls.append(name)
        if len(calls) > calls_before and not ballast:
            ballast.append(small_disk.fill(run.directory))
        original(*arguments, **values)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, write_or_save)
        patch.setattr(session, "save_interval_s", lambda _: interval_s)
        status = main([str(run.directory)])
    # How it ended is told by the status alone where nothing could be written.
    assert status == (EXIT_RUN_FAILED if read_exit(run) else EXIT_TRY_AGAIN)
    assert "No space left on device" in capfd.readouterr().err
    assert {path.name for path in run.directory.glob("*.pt")} == saved
    ending = read_exit(run)
    assert ending is None or ending.outcome is RunOutcome.FAILED
    ballast[0].unlink()
    end_of_process(run)

    assert main([str(run.directory)]) == EXIT_OK
    assert measured(run) == undisturbed
