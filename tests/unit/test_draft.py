"""A form filled in: what its texts mean, and which field a mistake is told of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_datasize.experiments.draft import Draft, draft_of
from tui_datasize.experiments.load import Project
from tui_datasize.experiments.sweep_form import HINTS, USUAL, SweepForm, form_of, table_of
from tui_datasize.experiments.toml import read_toml

NEW: Mapping[str, Any] = MappingProxyType({})
WRITTEN = {
    "title": "Mine", "dataset": "digits", "model": "mlp", "sizes": [40, 80], "seeds": [0],
    "budget": {"updates": 10}, "also": [{"sizes": [160]}],
}  # fmt: skip


def draft(written: Mapping[str, Any] = NEW, **texts: str) -> Draft:
    """Of the digits, where no text is given, in a project that has an experiment."""
    project = Project(Path("/nowhere/experiments.toml"), {}, Path("/nowhere"), names=("there",))
    return draft_of(SweepForm(**{"dataset": "digits", "model": "mlp"} | texts), project, written)


@pytest.mark.parametrize(
    ("texts", "field", "says"),
    [
        ({"seeds": "0"}, "seeds", "seeds: expected a whole number of at least 1, got 0"),
        ({"seeds": "2 from 0 step 0"}, "seeds", "seeds: expected a whole number of at least 1, got 0"),
        ({"draws": "0"}, "draws", "draws: expected a whole number of at least 1, got 0"),
        ({"budget": "-5 epochs"}, "budget", "budget: expected a number above 0"),
        ({"budget": "12 samples"}, "budget", "budget: one update of 64 images is more than"),
        ({"budget": "12 samples", "options": "batch_size=32"}, "options", "options: batch_size: one update"),
        ({"budget": "1,2 samples"}, "budget", "budget: '1,2' is no value"),
        ({"options": "evaluate.times=3 batch_size=0"}, "options", "options: batch_size: expected"),
        ({"options": "model.foo=1"}, "options", "options: model.foo: unknown key 'foo'"),
        ({"options": "evaluate.tmes=1"}, "options", "options: evaluate.tmes: unknown key 'tmes'"),
        ({"sweep": "batch_size=8,8"}, "sweep", "sweep: two combinations of swept values"),
        ({"levers": "batch_size=64"}, "levers", "levers: two combinations of swept values"),
        ({"sizes": "1,200"}, "sizes", "sizes: 1,200 may be one number or two; write 1200, or 1, 200"),
        ({"name": "There"}, "name", "name: 'There' and 'there' are one name"),
        ({"search": "halving=true halving.keep=0.5"}, "search", "search: halving is there twice"),
        ({"search": "halving.keep=0.5 halving=true"}, "search", "search: halving is there twice"),
        ({"sizes": "1,000, 1,200"}, "sizes", "sizes: 1,200 may be one number or two"),
    ],
)
def test_a_mistake_is_told_of_the_field_that_has_it(texts: dict[str, str], field: str, says: str):
    found = draft(**texts)
    assert found.wrong == field
    assert found.problem.startswith(says)


@pytest.mark.parametrize(
    ("sizes", "means"),
    [
        ("1,000", [1000]),
        ("1,000..1300", [1000]),
        ("100,200,400", [100, 200, 400]),
        ("128,256", [128, 256]),
        ("5,100,1000", [5, 100, 1000]),
        ("1, 200", [1, 200]),
        ("1_200", [1200]),
    ],
)
def test_commas_within_a_number_are_none_between_two(sizes: str, means: list[int]):
    assert draft(sizes=sizes).table["sizes"] == means


def test_seeds_between_commas_are_a_list_as_large_as_they_are():
    assert draft(seeds="7,101").table["seeds"] == [7, 101]
    assert draft(seeds="0,101,202").table["seeds"] == [0, 101, 202]
    assert draft(seeds="1,000").table["seeds"] == {"count": 1000, "step": 101}
    assert draft(draws="3 step 2").table["subset"]["seeds"] == {"count": 3, "step": 2}


def test_what_is_there_stays_as_it_is_written_where_the_form_changes_nothing():
    shipped = read_toml(Path(__file__).parents[2] / "experiments.toml")["experiments"]
    assert len(shipped) > 20
    for written in (*shipped.values(), WRITTEN):
        assert table_of(form_of(written).over(USUAL), written["dataset"], written) == written


def test_of_what_is_there_what_is_filled_in_differently_alone_is_changed():
    texts = asdict(form_of(WRITTEN)) | {"title": "", "name": "mine", "draws": "2"}
    assert draft(WRITTEN, **texts).table == WRITTEN | {"subset": {"seeds": [0, 1]}}
    assert draft(WRITTEN, **texts | {"title": "Ours"}).table["title"] == "Ours"


PIECES = (
    *(
        "1",
        "0",
        "-1",
        "²",
        "٣",
        "1e9",
        "nan",
        "5%",
        "nan%",
        "per class",
        "..",
        "5..",
        "2 from 3 step 0",
        "1,200",
    ),
    *("batch_size=8,16", "batch_size.x=1", "optimizer=sgd", "optimizer.lr=nan", "model=mlp,cnn3", "a.b.c=1"),
    *(
        "subset.path=[40,80]",
        "transfer={}",
        "tests.a=b",
        "halving=true",
        "halving.keep=0.5",
        "count=2",
        "x=..",
    ),
    *(
        "batch_size=8..16,log",
        "synthetic=cvae",
        "=1",
        "x=",
        "a={",
        '"',
        "\\",
        "\n",
        "\0",
        "\udc80",
        "updates",
        "e",
    ),
)
texts = st.lists(st.sampled_from(PIECES), max_size=3).map(" ".join)


@given(st.dictionaries(st.sampled_from([*HINTS][1:]), texts, max_size=4))
def test_whatever_is_filled_in_is_a_sweep_or_a_mistake_of_one_of_the_fields(filled: dict[str, str]):
    found = draft(**{"model": "mlp"} | filled)
    assert (found.wrong in HINTS) if found.problem else found.table
