"""What a log tells of a run that went wrong, and that it tells nothing of one that did not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from tui_datasize.runlog.schema import METRICS
from tui_datasize.tui.polling.snapshot import TrainingCurve
from tui_datasize.tui.polling.trouble import (
    TroubleFinder,
    find_troubles,
    first_missing,
    spikes,
    stall_now,
    usual_gap_s,
)

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def curve(losses, gaps_s=None, *, evaluate_every: int = 0, evaluation_s: float = 1.0) -> TrainingCurve:
    """A row of batches per loss; now and then a pass over the test split behind one."""
    gaps = [1.0] * len(losses) if gaps_s is None else gaps_s
    rows, wall_s = [], 0.0

    def add(event: str, split: str | None, update: int, loss: float | None) -> None:
        time = (BEGAN + timedelta(seconds=wall_s)).isoformat()
        row = {"event": event, "split": split, "update": update, "loss": loss, "wall_s": wall_s, "time": time}
        rows.append(row)

    for place, (loss, gap) in enumerate(zip(losses, gaps, strict=True)):
        wall_s += gap
        add("train", None, 10 * place, loss)
        if evaluate_every and place % evaluate_every == 0:
            wall_s += evaluation_s
            add("evaluation", "test", 10 * place, loss)
    return TrainingCurve("run", pl.DataFrame(rows, schema=METRICS))


def falling(generator: np.random.Generator, noise: str, n: int = 300) -> np.ndarray:
    """A curve as trainings have it: early steep, later flat, its scatter of one of several kinds."""
    steps = np.arange(1, n + 1)
    level = 2.3 * steps ** -generator.uniform(0.1, 1.5) + generator.uniform(0, 0.3)
    scatter = {
        "small": 0.02 * generator.standard_normal(n),
        "grows": np.linspace(0.01, 0.4, n) * generator.standard_normal(n),
        "heavy": 0.06 * generator.standard_t(5, n),
        "restarts": 0.05 * generator.standard_normal(n) + 0.5 * (1 - (steps % 75) / 75),
    }[noise]
    return level * np.exp(scatter)


@pytest.mark.parametrize("noise", ["small", "grows", "heavy", "restarts"])
def test_ordinary_curves_raise_no_alarm(noise: str):
    generator = np.random.default_rng(7)
    alarms = [len(spikes(falling(generator, noise))) for _ in range(100)]
    assert np.count_nonzero(alarms) <= 1


@pytest.mark.parametrize("place", [20, 150, 299])
@pytest.mark.parametrize("noise", ["small", "grows"])
def test_a_leap_is_found_where_it_is(place: int, noise: str):
    generator = np.random.default_rng(3)
    found = 0
    for _ in range(20):
        losses = falling(generator, noise)
        losses[place : place + 2] = [30.0, 20.0][: len(losses) - place]
        found += spikes(losses) == [place]
    assert found >= (19 if noise == "small" else 15)


def test_a_large_factor_of_almost_nothing_is_no_spike():
    losses = np.concatenate([[2.0, 1.0, 0.4], np.full(60, 1e-4)])
    losses[40] = 2e-3
    assert spikes(losses) == []
    assert spikes(losses[:10]) == []


def test_a_loss_that_is_no_number_is_told_once_and_a_column_that_comes_and_goes_is_not():
    (trouble,) = find_troubles(curve([1.0, 0.9, 0.8, None, None, None]))
    assert (trouble.kind, trouble.row, trouble.words) == ("NaN", 3, "loss is NaN at update 30")
    assert find_troubles(curve([1.0, None, 0.8, None, 0.7, None])) == ()
    assert first_missing(np.array([1.0, 1.0, 1.0, np.inf, 1.0])) == 3


def test_a_stall_is_ten_times_the_usual_of_its_kind_and_ten_seconds():
    gaps = [1.0] * 30
    gaps[20] = 45.0
    (trouble,) = find_troubles(curve([1.0] * 30, gaps))
    assert (trouble.kind, trouble.part, trouble.row) == ("stall", "batches", 19)
    assert trouble.words == "no row for 45 s, usually 1 s"
    gaps[20] = 9.0
    assert find_troubles(curve([1.0] * 30, gaps)) == ()
    assert find_troubles(curve([1.0] * 30, [0.01] * 29 + [5.0])) == ()
    # Passes over the test split that take long are usual for them, and delay only what is measured anyway.
    slow = curve([1.0] * 30, evaluate_every=5, evaluation_s=40.0)
    assert find_troubles(slow) == ()


def test_a_run_that_writes_nothing_any_more_stalls_now():
    running = curve([1.0] * 30, evaluate_every=5, evaluation_s=4.0)
    last = datetime.fromisoformat(running.rows["time"][-1])
    usual_s = usual_gap_s(running)
    assert usual_s == 4.0
    assert stall_now(running, usual_s, last + timedelta(seconds=39)) is None
    stall = stall_now(running, usual_s, last + timedelta(seconds=41))
    assert stall is not None
    assert stall.is_now
    assert stall.row == 29
    # It stays the same while it lasts: nothing is drawn anew.
    assert stall == stall_now(running, usual_s, last + timedelta(seconds=60))
    short = curve([1.0] * 3)
    assert stall_now(short, usual_gap_s(short), last + timedelta(hours=1)) is None


def test_what_was_found_is_kept_for_runs_that_are_not_looked_at_any_more():
    finder, broken = TroubleFinder(), curve([1.0, 0.9, 0.8, None])
    assert set(finder.look({"a": broken, "b": curve([1.0] * 9)}, ["b"], BEGAN)) == {"a"}
    assert set(finder.look({}, (), BEGAN)) == {"a"}
    assert finder.look({"a": curve([1.0] * 4)}, (), BEGAN) == {}


def test_a_run_at_work_is_looked_at_again_once_it_is_longer_and_always_at_its_end():
    finder, losses = TroubleFinder(), [1.0] * 200
    assert finder.look({"a": curve(losses)}, ["a"], BEGAN) == {}
    broken = {"a": curve([*losses, None])}
    assert finder.look(broken, ["a"], BEGAN) == {}
    assert set(finder.look(broken, (), BEGAN)) == {"a"}
    assert set(finder.look({"a": curve([*losses, *[None] * 4])}, ["a"], BEGAN)) == {"a"}
