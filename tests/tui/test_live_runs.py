"""Which runs the Live tab lists: filter, columns, order, groups."""

from __future__ import annotations

import polars as pl
import pytest

from tui_datasize.runlog.schema import RUNS
from tui_datasize.tui.live.columns import ColumnChoice, fitted, longest, usual_columns
from tui_datasize.tui.live.runs import (
    RunOrder,
    differences,
    differing,
    group_choices,
    group_curve,
    short_names,
)
from tui_datasize.tui.run_filter import completions, filter_of, mistake
from tui_datasize.tui.widgets.filter_box import RunList

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
    "note": [None, None, None, "out of memory: 11.2 GB asked"],
    "fraction": [0.25, 1.0, 1.0, 0.5],
    "remaining_s": [75.0, None, None, None],
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
        ("state:succeeded", "bc"),
        ("progress>=50%", "bcd"),
        ("memory", "d"),
        ("nothing-like-it", ""),
        (".*[", ""),
    ],
)
def test_a_filter_lets_through_what_it_says(text: str, found: str):
    wanted = filter_of(text, RUNS_LISTED.schema)
    chosen = RUNS_LISTED if wanted is None else RUNS_LISTED.filter(wanted)
    assert "".join(chosen["run_id"]) == found


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("sise>4", "no column 'sise'; did you mean size"),
        ("size>many", "size needs a number, not 'many'; such as size>=100"),
        ("acc<", "acc needs a number, not ''; such as acc>=100"),
        ("model=resnet", "no run has model 'resnet'; there is mlp, cnn3"),
        ("size>=40 !model:res seed=0", "no run has model 'res'; there is mlp, cnn3"),
        (
            "state:finished",
            "no run has state 'finished'; there is missing, queued, held, starting, running, ",
        ),
        ("state:failed size>40", ""),
        ("experiment:digits", ""),
    ],
)
def test_a_filter_that_says_nothing_is_told(text: str, line: str):
    told = mistake(text, RUNS_LISTED)
    assert told.startswith(line)
    assert bool(told) == bool(line)


@pytest.mark.parametrize("text", ["size>", "state:ru", "model=c", "expe", "acc>=9 sta"])
def test_what_may_become_right_is_no_mistake_while_it_is_written(text: str):
    assert mistake(text, RUNS_LISTED, is_written=False) == ""


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("si", ["size"]),
        ("acc>.5 see", ["seed"]),
        ("size", ["size>=", "size<="]),
        ("size=", ["size=40", "size=1280"]),
        ("!sta", ["!state"]),
        ("state", ["state:", "state="]),
        ("model=", ["model=mlp", "model=cnn3"]),
        ("model=c", ["model=cnn3"]),
        ("train_s", ["train_size"]),
        ("nothing", []),
        ("nothing=", []),
    ],
)
def test_keys_signs_and_values_are_completed(text: str, first: list[str]):
    assert completions(text, RUNS_LISTED)[: len(first) or 9] == first


def test_a_filter_written_before_the_first_look_is_heeded():
    class Runs(RunList):
        def list_again(self) -> None:
            self.keys = self.matching()["run_id"].to_list()

    runs = Runs()
    assert runs.filter("size>=1000 sise>4") == ""
    runs.take(RUNS_LISTED)
    assert runs.keys == ["b", "d"]


def shown(choice: ColumnChoice, width: int, runs: pl.DataFrame = RUNS_LISTED) -> list[tuple[str, int]]:
    naming = differing(runs)
    return [
        (column.name, own)
        for column, own in fitted(choice, naming, longest(runs, [*usual_columns(naming), "lr"]), width)
    ]


def test_what_tells_runs_apart_comes_first_and_the_window_is_filled():
    two = RUNS_LISTED.with_columns(
        experiment=pl.Series(["digits-with-a-long-name", "digits", "digits", "letters"]),
        subset_seed=pl.Series([0, 1, 0, 1]),
        seed=pl.Series([101, 202, 303, 404]),
    )
    for width in (40, 74, 120, 154, 194, 300):
        columns = dict(shown(ColumnChoice(), width, two))
        assert list(columns)[:5] == ["experiment", "variant", "train_size", "subset_seed", "seed"]
        assert sum(columns.values()) <= width
        if width >= 74:
            assert {"fraction", "test_accuracy"} <= columns.keys()
        assert ("note" in columns) == (width >= 120)
        if "note" in columns:
            assert sum(columns.values()) == width


def test_columns_are_hidden_shown_pinned_and_widened():
    usual = usual_columns(differing(RUNS_LISTED))
    hidden = ColumnChoice().toggled("test_loss", usual)
    assert "test_loss" in dict(shown(ColumnChoice(), 74))
    assert "test_loss" not in dict(shown(hidden, 300))
    assert "test_loss" in dict(shown(hidden.toggled("test_loss", usual), 74))
    asked = ColumnChoice().toggled("lr", usual)
    assert "lr" in dict(shown(asked, 50))
    pinned = ColumnChoice().pin_turned("test_accuracy")
    assert next(iter(shown(pinned, 40)))[0] == "test_accuracy"
    assert shown(pinned.pin_turned("test_accuracy"), 40) == shown(ColumnChoice(), 40)
    wider = dict(shown(ColumnChoice().widened("train_size", 5), 40))
    assert wider["train_size"] >= dict(shown(ColumnChoice(), 40))["train_size"] + 4


def test_runs_are_called_by_what_differs():
    assert differing(RUNS_LISTED) == ["variant", "train_size"]
    assert short_names(RUNS_LISTED)[0] == "mlp lr=0.1 40"
    assert short_names(RUNS_LISTED.filter(variant="mlp lr=0.1")) == ["40 seed 0"]
    nameless = RUNS_LISTED.with_columns(train_size=None, seed=None).head(1)
    assert short_names(nameless) == ["a"]


def test_runs_are_listed_by_any_column_that_tells_something():
    order, seen, names = RunOrder(), [], ["variant", "train_size", "seed", "test_accuracy", "test_loss"]
    for _ in range(4):
        order = order.following(1, RUNS_LISTED, names)
        seen.append((order.column, order.is_descending))
    assert seen == [
        ("variant", False),
        ("train_size", False),
        ("test_accuracy", True),
        ("test_loss", False),
    ]
    assert order.following(1, RUNS_LISTED, names) == RunOrder()
    best_first = RunOrder("test_accuracy", is_descending=True).of(RUNS_LISTED)
    assert "".join(best_first["run_id"]) == "bcad"


def test_runs_are_put_together_by_any_swept_key_that_several_share():
    # The variant is of one run each; model and learning rate are shared by two each.
    assert group_choices(RUNS_LISTED) == ["", "train_size", "model"]
    assert group_choices(RUNS_LISTED.with_columns(lr=pl.Series([0.1, 0.1, 0.1, 0.2])))[-1] == "lr"
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
