"""Which runs the Live tab lists: filter, columns, order, groups."""

from __future__ import annotations

import polars as pl
import pytest

from tui_datasize.runlog.schema import RUNS
from tui_datasize.tui.live.runs import (
    FilterError,
    RunOrder,
    differences,
    differing,
    filter_of,
    group_choices,
    group_curve,
    listed,
    short_names,
)

_ROWS = {
    "run_id": ["a", "b", "c", "d"],
    "experiment": ["digits"] * 4,
    "variant": ["mlp lr=0.1", "mlp lr=0.01", "cnn3 lr=0.1", "cnn3 lr=0.01"],
    "model": ["mlp", "mlp", "cnn3", "cnn3"],
    "train_size": [40, 1280, 40, 1280],
    "seed": [0, 0, 0, 0],
    "lr": [0.1, 0.01, 0.1, 0.01],
    "state": ["running", "done", "done", "failed"],
    "test_accuracy": [0.5, 0.9, 0.7, None],
    "test_loss": [1.5, 0.3, 0.9, None],
}
RUNS_LISTED = pl.concat([pl.DataFrame(schema=dict(RUNS)), pl.DataFrame(_ROWS)], how="diagonal_relaxed")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "abcd"),
        ("size>=1000", "bd"),
        ("state:run", "a"),
        ("lr=1e-2", "bd"),
        ("acc<90%", "ac"),
        ("acc<.9", "ac"),
        ("acc>=90", "b"),
        ("loss<1", "bc"),
        ("!mlp", "cd"),
        ("!state:failed CNN3", "c"),
        ("train_size=40 !lr<0.05", "ac"),
        ("model=mlp size!=40", "b"),
        ("!", "abcd"),
        ("nothing-like-it", ""),
        (".*[", ""),
    ],
)
def test_a_filter_lets_through_what_it_says(text: str, found: str):
    chosen = listed(RUNS_LISTED, RunOrder(), filter_of(text, RUNS_LISTED.schema))
    assert "".join(chosen["run_id"]) == found


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("sise>4", "no column 'sise'; did you mean size"),
        ("size>many", "size needs a number, not 'many'; such as size>=100"),
        ("acc<", "acc needs a number, not ''; such as acc>=100"),
    ],
)
def test_a_filter_that_says_nothing_is_told(text: str, line: str):
    with pytest.raises(FilterError) as caught:
        filter_of(text, RUNS_LISTED.schema)
    assert caught.value.line == line


def test_runs_are_called_by_what_differs():
    assert differing(RUNS_LISTED) == ["variant", "train_size"]
    assert short_names(RUNS_LISTED)[0] == "mlp lr=0.1 40"
    assert short_names(RUNS_LISTED.filter(variant="mlp lr=0.1")) == ["40 seed 0"]
    nameless = RUNS_LISTED.with_columns(train_size=None, seed=None).head(1)
    assert short_names(nameless) == ["a"]


def test_runs_are_listed_by_any_column_that_tells_something():
    order, seen = RunOrder(), []
    for _ in range(4):
        order = order.following(1, RUNS_LISTED)
        seen.append(order.column)
    assert seen == ["variant", "train_size", "test_accuracy", "test_loss"]
    assert order.following(1, RUNS_LISTED) == RunOrder()
    best_first = listed(RUNS_LISTED, RunOrder("test_accuracy", is_descending=True), None)
    assert "".join(best_first["run_id"]) == "bcad"


def test_runs_are_put_together_by_what_several_share():
    assert group_choices(RUNS_LISTED) == ["", "train_size"]
    curves = [([10, 20, 30], [1.0, 2.0, 3.0]), ([10, 20], [3.0, float("nan")]), ([10, 20], [2.0, 4.0])]
    curve = group_curve("40", curves)
    assert (curve.n_runs, curve.x, curve.mean) == (3, [10, 20], [2.0, 3.0])
    assert (curve.low, curve.high) == ([1.0, 2.0], [3.0, 4.0])


def test_runs_side_by_side_show_only_what_differs():
    rows = dict(differences(RUNS_LISTED.filter(train_size=40)))
    assert rows["variant"] == ["mlp lr=0.1", "cnn3 lr=0.1"]
    assert rows["test accuracy"] == ["50.00 %", "70.00 %"]
    assert not rows.keys() & {"size", "seed", "lr", "experiment"}
    assert differences(RUNS_LISTED.head(1)) == []
