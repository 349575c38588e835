"""What sets the runs of the Live tab apart: names, differences, order, groups. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tui_datasize.answers.answer import NAMING
from tui_datasize.metric import METRICS_OFFERED
from tui_datasize.tui.live.columns import SPECIFIED, live_columns, title_of

if TYPE_CHECKING:
    import polars as pl

_NAMES = tuple(column.name for column in NAMING)
_SPEAK_FOR_THEMSELVES = ("experiment", "variant", "train_size")
_BEST_LAST = ("fraction", "remaining_s", "wall_s", "loss")
"""Parts of names of columns that are sorted upwards first; other numbers downwards."""


def differing(runs: pl.DataFrame) -> list[str]:
    """The columns that tell runs apart, of an only one or of repeats those that name them best."""
    several = [name for name in _NAMES if runs[name].n_unique() > 1]
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


def _called(name: str, value: object) -> str:
    column = live_columns()[name]
    return f"{'' if name in _SPEAK_FOR_THEMSELVES else f'{column.title} '}{column.write(value)}"


def differences(runs: pl.DataFrame) -> list[tuple[str, Sequence[str]]]:
    """What differs between runs side by side: how they were specified, then how they stand.

    Returns:
        A name and a value for each run, in their order; empty where nothing differs.
    """
    rows: list[tuple[str, Sequence[str]]] = []
    for name in dict.fromkeys((*_NAMES, *SPECIFIED, "state", "updates", *METRICS_OFFERED)):
        if runs[name].n_unique() > 1:
            metric = METRICS_OFFERED.get(name)
            write = metric.text if metric else str
            rows.append((title_of(name), ["-" if value is None else write(value) for value in runs[name]]))
    return rows


def what_is_compared(runs: pl.DataFrame) -> str:
    """Of which moment the metrics of runs side by side are, in a sentence."""
    unfinished = [
        f"{name} is {row['state']} at update {row['updates'] or 0:,} of {row['total_updates'] or 0:,}"
        for name, row in zip(short_names(runs), runs.iter_rows(named=True), strict=True)
        if row["state"] != "done"
    ]
    told = "Metrics are those of the last evaluation"
    return f"{told}; {', '.join(unfinished)}." if unfinished else f"{told}; all runs are done."


@dataclass(frozen=True, slots=True)
class RunOrder:
    """In which order runs are listed."""

    column: str = ""
    """One of the frame `runs`; empty for those at work first, as the queue has them."""
    is_descending: bool = False

    def following(self, step: int, runs: pl.DataFrame, names: Iterable[str]) -> RunOrder:
        """By the next of some columns that tells anything; the best first."""
        choices = ["", *(name for name in names if runs[name].n_unique() > 1)]
        at = choices.index(self.column) if self.column in choices else 0
        column = choices[(at + step) % len(choices)]
        is_measured = column not in _NAMES and bool(column) and runs.schema[column].is_numeric()
        return RunOrder(column, is_measured and not column.endswith(_BEST_LAST))

    def of(self, runs: pl.DataFrame) -> pl.DataFrame:
        """Runs in this order; where two are alike they stay as they are."""
        if not self.column:
            return runs
        return runs.sort(self.column, descending=self.is_descending, nulls_last=True, maintain_order=True)


def group_choices(runs: pl.DataFrame) -> Sequence[str]:
    """What runs may be put together by: nothing, or a column of which several runs have the same value.

    Of columns that part them alike only the first.
    """
    choices: list[str] = []
    for name in (*differing(runs), *SPECIFIED):
        count = runs[name].n_unique()
        parts_alike = (runs.n_unique([one, name]) == count == runs[one].n_unique() for one in choices)
        if 1 < count < runs.height and not any(parts_alike):
            choices.append(name)
    return ["", *choices]


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
    shared = sorted(place for place, own in values.items() if 2 * len(own) > len(curves))
    found = [values[place] for place in shared]
    means = [sum(own) / len(own) for own in found]
    return GroupCurve(name, len(curves), shared, means, list(map(min, found)), list(map(max, found)))
