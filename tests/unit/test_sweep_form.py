"""What a form shows of an experiment means the same again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tui_datasize.experiments.load import read_experiment
from tui_datasize.experiments.sweep_form import form_of, table_of
from tui_datasize.experiments.toml import read_toml

SHIPPED = read_toml(Path(__file__).parents[2] / "experiments.toml")["experiments"]
BASE = {"dataset": "digits", "model": "cnn3", "sizes": [40], "budget": {"updates": 10}, "validation": 0.2}


def again(values: dict[str, Any]) -> dict[str, Any]:
    """The table of what a form shows of one."""
    kept = {key: values[key] for key in ("also",) if key in values}
    return table_of(form_of(values), values["dataset"], kept)


def test_every_experiment_of_the_studies_is_one_that_can_be_filled_in():
    searched = 0
    for name, values in SHIPPED.items():
        table = again(values)
        assert read_experiment(name, table) == read_experiment(name, values), name
        for key in ("search", "levers", "sweep", "also"):
            assert table.get(key) == values.get(key), name
        searched += "search" in values
    assert searched > 1


@pytest.mark.parametrize(
    "searched",
    [
        {"model.width": {"low": 8, "high": 64, "integer": True}},
        {"model.width": {"low": 8, "high": 64, "log": True, "integer": True}, "halving": {}},
        {"optimizer.lr": {"low": 1e-5, "high": 0.1, "log": True}, "seed": 7, "halving": {"from": 0.1}},
        {"augmentation.flip": {"low": 0, "high": 1}},
        {"augmentation.flip": {"low": 0, "high": 1, "integer": True}},
        {"model.width": {"choices": [8]}, "default": {"model.width": 9}},
        {"synthetic": {"choices": ["none", {"from": "imagefolder:../a..b", "ratio": 1.5}]}},
    ],
)
def test_a_search_is_shown_as_it_stands(searched: dict[str, Any]):
    values = BASE | {"search": {"count": 1} | searched}
    assert again(values)["search"] == values["search"]
