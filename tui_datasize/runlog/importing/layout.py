"""What the columns of a foreign file mean, as a person or a small TOML file says, and whose a row is.

What cannot be told, or may be read in two ways, is a `ValueError` that says which option tells it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.toml import TomlTable, nearest, read_toml
from tui_datasize.runlog.importing.meanings import (
    Meaning,
    counts_something_else,
    is_share,
    is_share_of_data,
    meaning_of,
    plain,
)
from tui_datasize.runlog.importing.means import SpreadKind
from tui_datasize.runlog.importing.names import (
    OF_ALL,
    TOLD_BY_NAMES,
    UnclearNameError,
    count_of,
    may_be_share,
    told_by_name,
    whole,
)
from tui_datasize.runlog.importing.staged import Moment, Origin
from tui_datasize.runlog.schema import SCORES
from tui_datasize.text import listed

FIELDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "size": ("train_size", "size", "n", "n_train"),
        "seed": ("seed", "random_seed", "random_state", "seed_everything"),
        "draw": ("subset_seed", "draw"),
        "epoch": ("epoch",),
        "update": ("update", "step", "global_step", "training_iteration"),
        "split": ("split",),
        "run": ("run", "name", "run_name", "tags_mlflow_runname"),
        "n_runs": (
            *("n_runs", "num_runs", "n_seeds", "num_seeds", "n_repeats", "num_repeats", "n_reps", "n_trials"),
            *("n_folds", "runs", "seeds", "count"),
        ),
    }
)
"""What a column may tell beside metrics, and the names by which it is known without being told."""

METRIC_NAMES = (*(f"{split}_{score}" for split in ("test", "train") for score in SCORES), *SCORES, "wall_s")
"""Metrics that can be imported; one without a split is of the split that its row or file names."""
SPREAD_ENDING = "_sd"
"""Behind the name of a metric: how far the runs behind its means scatter."""


@dataclass(frozen=True)
class Layout:
    """How to read foreign files."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Column (or tag) by field or metric, where it does not answer to a known name.

    In the name of a column of a metric `#` stands for a number: each such column holds runs of its own.
    """
    variant: tuple[str, ...] = ()
    """Columns whose values tell curves of one experiment apart."""
    experiment_column: str = ""
    """The column whose values tell experiments apart."""
    ignore: tuple[str, ...] = ()
    run_pattern: str = ""
    """Regular expression with groups `size`, `seed`, `draw`, searched in the names of runs."""
    percent: bool | None = None
    """Whether accuracies and other shares are given in percent; None where each column tells by itself."""
    test_split: str = ""
    """What the file calls the test split; empty for test, or validation where nothing is of a test split."""
    any_state: bool = False
    train_size: int | None = None
    """Of rows that tell none, so with seed and draw; of the whole set where sizes are shares of it."""
    seed: int | None = None
    draw: int | None = None
    n_runs: int | None = None
    """Runs behind each mean, where no column tells them."""
    spread: SpreadKind | None = None
    """What the number beside a mean is; None where the column's name says it, else the standard deviation."""
    sheet: str = ""
    """Of a workbook; empty for its only one with cells."""
    dataset: str = "unknown"
    model: str = "unknown"
    skip_lines: tuple[str, ...] = ()
    """Lines that are not read: a number, or the end of a path, a colon and a number."""

    def __post_init__(self) -> None:
        for text in self.skip_lines:
            if not re.fullmatch(r"(.+:)?\d{1,9}", text, re.ASCII):
                raise ConfigError(f"--skip-line {text!r}", fix="write it like 12, or runs.csv:12")
        for name in self.columns:
            known = {*FIELDS, *METRIC_NAMES, *(f"{metric}{SPREAD_ENDING}" for metric in METRIC_NAMES)}
            if name not in known:
                what = f"no field or metric {name!r} to read a column as"
                raise ConfigError(what, fix=nearest(name, known))
        if self.spread not in (None, "sd", "se"):
            raise ConfigError(f"spread is {self.spread!r}", fix="expected sd or se")
        try:
            groups = set(re.compile(self.run_pattern).groupindex)
        except re.error as error:
            what = f"the run pattern is no regular expression: {error}"
            raise ConfigError(what, fix=r"write it like n(?P<size>\d+)") from None
        if self.run_pattern and not groups & set(TOLD_BY_NAMES):
            what = "the run pattern names neither size, seed nor draw"
            raise ConfigError(what, fix=r"write it like n(?P<size>\d+)")

    @property
    def named(self) -> tuple[str, ...]:
        """Columns that are named for something else than a field or metric."""
        experiment = (self.experiment_column,) if self.experiment_column else ()
        return (*self.variant, *self.ignore, *experiment)

    def skipped(self, file: Path) -> frozenset[int]:
        found = (text.rpartition(":") for text in self.skip_lines)
        return frozenset(int(line) for path, _, line in found if not path or file.match(path))

    def numbered(self, header: Collection[str]) -> dict[str, dict[str, str]]:
        """By the number that `#` stands for, the columns by what they are told to be."""
        found: dict[str, dict[str, str]] = {}
        for name, told in self.columns.items():
            if "#" in told and told not in header and name in METRIC_NAMES:
                pattern = re.escape(told).replace(r"\#", r"(\d[\d,_]*)", 1)
                for column in header:
                    if match := re.fullmatch(pattern, column):
                        found.setdefault(match[1], {})[told] = column
        return found

    def fields_of(self, header: Sequence[str]) -> dict[str, str]:
        """The column of each field that a table tells."""
        found = {}
        for name, known in FIELDS.items():
            if name in self.columns:
                found[name] = self.columns[name]
                continue
            free = [c for c in header if c not in {*self.columns.values(), *self.named}]
            columns = [column for word in known for column in free if plain(column) == word]
            if len(columns) > 1 and name in ("size", "seed", "draw"):
                raise ValueError(
                    f"the {name} may be given by {listed([repr(c) for c in columns])}; "
                    f"give --column {name}=COLUMN"
                )
            if columns:
                found[name] = columns[0]
        shares = [c for c in header if c not in self.named and is_share_of_data(c)]
        if "size" not in found and self.train_size is not None and len(shares) == 1:
            found["size"] = shares[0]
        size = found.get("size", "")
        if counts_something_else(size) and not (is_share(size) and self.train_size is not None):
            way_out = OF_ALL if is_share(size) else ""
            other = "--column size=COLUMN, with a column of numbers of images"
            raise ValueError(
                f"{size!r} is in other units than images by its name; give "
                f"{' or '.join(filter(None, [way_out, other]))}"
            )
        return found

    def meaning_of(self, column: str) -> Meaning | None:
        """What a column or tag holds; None where it is no metric that is known."""
        if column in self.ignore:
            return None
        by_name = meaning_of(column, self.test_split.lower())
        told = next((n for n, c in self.columns.items() if c == column and n in METRIC_NAMES), None)
        if told is None:
            return None if column in self.columns.values() else by_name
        split, _, score = told.partition("_") if told.startswith(("test_", "train_")) else ("", "", told)
        if by_name is None or by_name.score != score:
            return Meaning(score, split, is_told=True, is_percent="%" in column)
        return replace(by_name, split=split or by_name.split, is_told=True)


def read_layout(file: Path) -> dict[str, Any]:
    """The arguments of `Layout` that a TOML file gives.

    Raises ConfigError: the file is missing, no TOML, or has a key or value that is not known.
    """
    table = TomlTable(read_toml(file), str(file))
    columns = table.table("columns")
    found: dict[str, Any] = {"columns": {key: columns.text(key) for key in columns.take_all()}}
    texts = ("run_pattern", "test_split", "dataset", "model", "experiment_column", "spread", "sheet")
    numbers = ("size", "seed", "draw", "n_runs")
    found |= {key: table.text(key) for key in texts if table.has(key)}
    found |= {"train_size" if key == "size" else key: table.integer(key) for key in numbers if table.has(key)}
    found |= {key: table.boolean(key, False) for key in ("percent", "any_state") if table.has(key)}
    for key in ("variant", "ignore"):
        if table.has(key):
            names = table.take(key)
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise table.error(key, "a list of columns")
            found[key] = tuple(names)
    table.finish()
    return found


def origin_of(
    known: Mapping[str, str], run: str, layout: Layout, variant: tuple[tuple[str, str], ...] = ()
) -> Origin:
    """Whose a row is, by the texts of its columns, the name of its run or file, and what is told of all.

    Raises ValueError: nothing tells the size, or something may be read in two ways.
    """
    told = {name: _told(name, known[name]) for name in TOLD_BY_NAMES if name in known}
    wanted = set(TOLD_BY_NAMES) - set(told)
    try:
        by_name = told_by_name(run, wanted, layout.run_pattern, layout.train_size)
    except ValueError:
        # What an option says for all needs no name.
        given = {"size": layout.train_size, "seed": layout.seed, "draw": layout.draw}
        wanted = {name for name in wanted if given[name] is None}
        by_name = told_by_name(run, wanted, layout.run_pattern)
    size = told.get("size", by_name.get("size", layout.train_size))
    if size is None:
        what = f"no train size is given for run {run!r}"
        raise UnclearNameError(what, "give --column size=COLUMN, a --run-pattern or --size N")
    seed = told.get("seed", by_name.get("seed", layout.seed))
    return Origin(size, seed, told.get("draw", by_name.get("draw", layout.draw)), variant, run)


def _told(name: str, text: str) -> int:
    try:
        if name == "size" and may_be_share(text):
            either = "is a share, not a number of images"
            either = either if float(text) < 1 else "may be one image, which is written 1, or a share: all"
            raise ValueError(f"{text!r} {either}")
        return count_of(text) if name == "size" else whole(text)
    except ValueError as error:
        other = f"give {OF_ALL}; " if "a share" in str(error) else ""
        other += f"--column {name}=COLUMN names another column"
        raise ValueError(f"the {name}: {error}; {other}, --ignore COLUMN reads none") from None


def refuse_contradiction(origin: Origin, known: Mapping[str, str], layout: Layout) -> None:
    """Refuse a row whose column says one thing and the name of its run another.

    A column that a person names is taken at its word.
    """
    for name in TOLD_BY_NAMES:
        if name not in known or name in layout.columns:
            continue
        try:
            by_name = told_by_name(origin.run, {name}, layout.run_pattern).get(name)
        except ValueError:
            continue
        value = {"size": origin.train_size, "seed": origin.seed, "draw": origin.draw}[name]
        if by_name not in (None, value):
            raise ValueError(
                f"the {name} is {value:,} by its column and {by_name:,} by the name of run {origin.run!r}; "
                f"give --column {name}=COLUMN where the column is right, else --ignore COLUMN"
            )


def moment_of(known: Mapping[str, str]) -> Moment:
    """When a row was measured; untold for one that says that it is of the end."""
    known = {name: text for name, text in known.items() if text.lower() not in ("final", "last", "end")}
    update = whole(known["update"]) if "update" in known else None
    if "epoch" not in known:
        return Moment(update)
    try:
        epoch = float(known["epoch"])
    except ValueError:
        epoch = -1.0
    if not 0 <= epoch < float("inf"):
        expected = "expected a number of 0 or more; --column epoch=COLUMN names another column"
        raise ValueError(f"the epoch is {known['epoch']!r}, {expected}")
    return Moment(update, epoch)
