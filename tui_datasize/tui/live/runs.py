"""Which runs the Live tab lists and what sets them apart: filter, columns, order, groups. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import reduce
from operator import and_, eq, ge, gt, le, lt, ne
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tui_datasize.errors import DatasizeError
from tui_datasize.experiments.spec import recipe_columns
from tui_datasize.metric import METRICS_OFFERED

if TYPE_CHECKING:
    import polars as pl

DESCRIBING: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "experiment": ("experiment", "{}"),
        "variant": ("variant", "{}"),
        "train_size": ("size", "{:,}"),
        "subset_seed": ("draw", "{}"),
        "seed": ("seed", "{}"),
    }
)
"""Columns of the frame `runs` that tell runs apart: their titles, and how their values are written."""
_SPECIFIED = (
    "dataset",
    "model",
    "subset_strategy",
    "subset_nested",
    "total_updates",
    *recipe_columns(),
    "transfer",
    "transfer_source",
    "as_published",
    "parameters",
    "flops_per_image",
    "device",
    "precision",
    "pack_width",
    "hostname",
    "torch",
    "git_commit",
)
_SPEAK_FOR_THEMSELVES = ("experiment", "variant", "train_size")
_SORTED_BY = (*DESCRIBING, "test_accuracy", "test_loss", "wall_s")
_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "size": "train_size",
        "n": "train_size",
        "draw": "subset_seed",
        "acc": "test_accuracy",
        "accuracy": "test_accuracy",
        "loss": "test_loss",
        "f1": "test_f1_macro",
        "time": "wall_s",
        "id": "run_id",
    }
)
_SEARCHED = ("run_id", "experiment", "variant", "state", "model", "dataset", "augmentation", "transfer")
_COMPARISONS = MappingProxyType({">=": ge, "<=": le, "!=": ne, "=": eq, ":": eq, "<": lt, ">": gt})
_TERM = re.compile(r"(?P<key>[a-z_]\w*)(?P<sign>>=|<=|!=|=|:|<|>)(?P<value>.*)", re.IGNORECASE)


class FilterError(DatasizeError):
    """A filter that says nothing."""


def filter_of(text: str, schema: Mapping[str, pl.DataType]) -> pl.Expr | None:
    """What a filter lets through, such as `size>=1000 state:running lr=1e-3 acc<90% !mlp`.

    Terms are separated by spaces and must all hold; `!` in front turns one round. A word alone is looked for
    in the names of a run, in any case. Shares are written as .9 or 90%.

    Returns:
        None where nothing is asked for.

    Raises:
        FilterError: There is no such column, or no number where one is needed.
    """
    terms = [_term(word, schema) for word in text.split() if word.strip("!")]
    return reduce(and_, terms) if terms else None


def _term(word: str, schema: Mapping[str, pl.DataType]) -> pl.Expr:
    import polars as pl

    is_turned, bare = word.startswith("!"), word.removeprefix("!")
    found = _TERM.fullmatch(bare)
    if found is None:
        wanted = bare.lower()
        holds = pl.any_horizontal(
            pl.col(name).str.to_lowercase().str.contains(wanted, literal=True).fill_null(value=False)
            for name in _SEARCHED
        )
    else:
        holds = _comparison(found["key"].lower(), found["sign"], found["value"], schema)
    return ~holds if is_turned else holds


def _comparison(key: str, sign: str, value: str, schema: Mapping[str, pl.DataType]) -> pl.Expr:
    import polars as pl

    name = _ALIASES.get(key, key)
    if name not in schema:
        near = get_close_matches(key, [*_ALIASES, *schema], n=1)
        raise FilterError(
            f"no column {key!r}", fix=f"did you mean {near[0]}" if near else "try size, seed, acc"
        )
    column = pl.col(name)
    if schema[name] == pl.String:
        if sign == ":":
            return column.str.to_lowercase().str.contains(value.lower(), literal=True).fill_null(value=False)
        operands: tuple[pl.Expr, Any] = column.str.to_lowercase(), value.lower()
    elif schema[name] == pl.Boolean:
        operands = column, value.lower() in ("true", "yes", "1")
    else:
        operands = column, _number(key, name, value)
    compared: pl.Expr = _COMPARISONS[sign](*operands)
    return compared.fill_null(value=False)


def _number(key: str, name: str, value: str) -> float:
    try:
        number = float(value.removesuffix("%").replace(",", ""))
    except ValueError:
        raise FilterError(f"{key} needs a number, not {value!r}", fix=f"such as {key}>=100") from None
    is_share = name in METRICS_OFFERED and METRICS_OFFERED[name].is_share
    return number / 100 if is_share and (value.endswith("%") or number > 1) else number


def differing(runs: pl.DataFrame) -> list[str]:
    """The columns that tell runs apart, of an only one or of repeats those that name them best."""
    several = [name for name in DESCRIBING if name in runs.columns and runs[name].n_unique() > 1]
    known = [name for name in ("train_size", "subset_seed", "seed") if runs[name].null_count() < runs.height]
    return several or known


def short_names(runs: pl.DataFrame) -> list[str]:
    """What to call runs beside each other: what differs between them, else all that names them."""
    names = differing(runs)
    return [
        " ".join(_called(name, row[name]) for name in names if row[name] not in (None, "")) or row["run_id"]
        for row in runs.iter_rows(named=True)
    ]


def names_of_groups(runs: pl.DataFrame, column: str) -> list[str]:
    """What each of some runs has in a column, as its group is called."""
    return ["none" if value is None else _called(column, value) for value in runs[column]]


def _called(column: str, value: object) -> str:
    title, written = DESCRIBING[column]
    return f"{'' if column in _SPEAK_FOR_THEMSELVES else f'{title} '}{written.format(value)}"


def differences(runs: pl.DataFrame) -> list[tuple[str, Sequence[str]]]:
    """What differs between runs side by side: how they were specified, then how they ended.

    Returns:
        A name and a value for each run, in their order; empty where nothing differs.
    """
    metrics = [name for name in METRICS_OFFERED if name in runs.columns]
    rows: list[tuple[str, Sequence[str]]] = []
    for name in (*DESCRIBING, *_SPECIFIED, *metrics):
        if name in runs.columns and runs[name].n_unique() > 1:
            metric = METRICS_OFFERED.get(name)
            title = (
                metric.title[0].lower() + metric.title[1:]
                if metric
                else DESCRIBING.get(name, (name.replace("_", " "), ""))[0]
            )
            write = metric.text if metric else str
            rows.append((title, ["-" if value is None else write(value) for value in runs[name]]))
    return rows


@dataclass(frozen=True, slots=True)
class RunOrder:
    """In which order runs are listed."""

    column: str = ""
    """One of the frame `runs`; empty for those at work first, as the queue has them."""
    is_descending: bool = False

    def following(self, step: int, runs: pl.DataFrame) -> RunOrder:
        """By the next column that tells anything."""
        choices = ["", *(name for name in _SORTED_BY if runs[name].n_unique() > 1)]
        at = choices.index(self.column) if self.column in choices else 0
        column = choices[(at + step) % len(choices)]
        return RunOrder(column, is_descending=column in ("test_accuracy", "wall_s"))


def listed(runs: pl.DataFrame, order: RunOrder, wanted: pl.Expr | None) -> pl.DataFrame:
    """The runs that a filter lets through, in order; where two are alike they stay as they are."""
    import polars as pl

    chosen = runs if wanted is None else runs.filter(wanted)
    if not order.column:
        return chosen
    return chosen.sort(
        pl.col(order.column), descending=order.is_descending, nulls_last=True, maintain_order=True
    )


def group_choices(runs: pl.DataFrame) -> Sequence[str]:
    """What runs may be put together by: nothing, or a column of which several runs have the same value."""
    return ["", *(name for name in differing(runs) if runs[name].n_unique() < runs.height)]


@dataclass(frozen=True, slots=True)
class GroupCurve:
    """What several runs have in common, by position."""

    name: str
    n_runs: int
    x: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def group_curve(name: str, curves: Sequence[tuple[Sequence[float], Sequence[float]]]) -> GroupCurve:
    """Mean, lowest and highest of some curves where most of them have a value.

    >>> group_curve("a", [([1, 2], [0.0, 4.0]), ([1, 2, 3], [2.0, 6.0, 9.0])]).mean
    [1.0, 5.0]
    """
    values: dict[float, list[float]] = {}
    for x, y in curves:
        for place, value in zip(x, y, strict=True):
            if place == place and value == value:
                values.setdefault(place, []).append(value)
    # A mean jumps where runs that are behind drop out of it.
    shared = sorted(place for place, found in values.items() if 2 * len(found) > len(curves))
    return GroupCurve(
        name,
        len(curves),
        shared,
        [sum(values[place]) / len(values[place]) for place in shared],
        [min(values[place]) for place in shared],
        [max(values[place]) for place in shared],
    )
