"""A power cut at any moment of a run: what it leaves goes on to the curve of an undisturbed run."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import polars as pl
import pytest

from tests.power import Recorder, State, cuts
from tests.training.helpers import small_spec
from tui_datasize.experiments.spec import Budget
from tui_datasize.runlog import schema
from tui_datasize.runlog.claim import RunOutcome, read_exit
from tui_datasize.runlog.collect import read_metrics
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.training import session
from tui_datasize.training.worker import main

SPEC = small_spec(budget=Budget("updates", 6), evaluations=3, train_size=20, batch_size=10)
MOST_CUTS = 6


@pytest.fixture
def recorded(queue_run, monkeypatch):
    """A run that saves after every evaluation, and the states of the disk while it was trained."""
    monkeypatch.setattr(session, "save_interval_s", lambda _: 0.0)
    run = queue_run(SPEC)
    with Recorder(run.directory) as recorder:
        assert main([str(run.directory)]) == 0
    return run, recorder.states


def evaluations(run: RunPaths) -> pl.DataFrame:
    """The evaluation rows as every reader sees them, without what equal runs may differ in."""
    rows, problems = read_metrics([run])
    assert not problems
    return rows.filter(pl.col("event") == "evaluation").drop(schema.TIME_COLUMNS)


def is_whole(run: RunPaths, plain: RunPaths) -> bool:
    """Whether a directory has the rows and the tables of an undisturbed run."""
    for file in (run.per_class, run.confusion, run.predictions, run.subset):
        assert pl.read_parquet(file).equals(pl.read_parquet(plain.directory / file.name))
    return evaluations(run).equals(evaluations(plain))


def restored(left: Path, plain: RunPaths, tmp_path: Path) -> RunPaths:
    """What a cut has left, where a run of this name would be."""
    shutil.rmtree(tmp_path / "after", ignore_errors=True)
    run = RunPaths(tmp_path / "after" / plain.experiment / plain.run_id)
    shutil.copytree(left, run.directory)
    assert run.spec.read_bytes() == plain.spec.read_bytes()
    return run


def test_a_power_cut_at_any_moment_of_a_run_loses_no_evaluation(recorded, tmp_path):
    plain, states = recorded
    found = list(cuts(states, tmp_path / "cuts", random.Random(7), torn=2))
    for state, left in _some(found):
        run = restored(left, plain, tmp_path)
        end = read_exit(run)
        if end is not None and end.outcome is RunOutcome.SUCCEEDED:
            assert is_whole(run, plain), state.event
        else:
            assert main([str(run.directory)]) == 0, state.event
            assert is_whole(run, plain), state.event


def _some(found: list[tuple[State, Path]]) -> list[tuple[State, Path]]:
    """All whose run has ended, which cost nothing, and some others spread over the run."""
    ended = [one for one in found if (one[1] / "exit.json").exists()]
    others = [one for one in found if one not in ended]
    return ended + others[:: max(1, len(others) // MOST_CUTS)]
