"""What the columns of a foreign file mean, as a person or a small TOML file says."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.toml_file import read_toml
from tui_datasize.experiments.toml_table import Table, nearest
from tui_datasize.runlog.schema import SCORES, SHARE_ROUNDING, SHARES

FIELDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "size": ("train_size", "size", "n"),
        "seed": ("seed",),
        "draw": ("subset_seed", "draw"),
        "epoch": ("epoch",),
        "update": ("update", "step", "global_step"),
        "split": ("split",),
        "run": ("run", "name"),
    }
)
"""What a column may tell beside metrics, and the names by which it is known without being told."""

METRIC_NAMES = (*(f"{split}_{score}" for split in ("test", "train") for score in SCORES), *SCORES, "wall_s")
"""Metrics that can be imported; one without a split is of the split that its row or file names, else test."""

LARGEST_WHOLE = 2**53
_DECIMAL_COMMA = re.compile(r"-?\d+,\d+")
_WORDS: Mapping[str, str] = MappingProxyType(
    {"size": "n|size|train_size", "seed": "s|seed", "draw": "d|draw"}
)


@dataclass(frozen=True)
class Layout:
    """How to read foreign files."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Column (or tag) by field or metric, where it does not answer to a known name."""
    variant: tuple[str, ...] = ()
    """Columns whose values tell curves of one experiment apart."""
    run_pattern: str = ""
    """Regular expression with groups `size`, `seed`, `draw`, searched in the names of runs."""
    percent: bool = False
    """Whether accuracies and other shares are given in percent."""
    test_split: str = "test"
    """What the file calls the test split."""
    train_size: int | None = None
    """Of rows that tell none."""
    seed: int = 0
    """Of rows that tell none."""
    dataset: str = "unknown"
    model: str = "unknown"

    def __post_init__(self) -> None:
        for name in self.columns:
            known = {*FIELDS, *METRIC_NAMES}
            if name not in known:
                raise ConfigError(
                    f"no field or metric {name!r} to read a column as", fix=nearest(name, known)
                )
        try:
            groups = set(re.compile(self.run_pattern).groupindex)
        except re.error as error:
            raise ConfigError(f"the run pattern is no regular expression: {error}") from None
        if self.run_pattern and not groups & set(_WORDS):
            raise ConfigError(
                "the run pattern names neither size, seed nor draw", fix=r"write it like n(?P<size>\d+)"
            )

    def field_column(self, name: str, columns: Sequence[str]) -> str | None:
        """The column that tells a field; None where none does."""
        if name in self.columns:
            return self.columns[name]
        return next((column for column in columns if _plain(column) in FIELDS[name]), None)

    def metric_of(self, column: str) -> str | None:
        """The metric that a column or tag holds; None where it is none that is known."""
        told = next((n for n, c in self.columns.items() if c == column and n in METRIC_NAMES), None)
        if told or column in self.columns.values():
            return told
        name = _plain(column)
        return name if name in METRIC_NAMES and name not in self.columns else None

    def told_by_name(self, run: str) -> dict[str, int]:
        """Size, seed and draw as far as a run's name tells them.

        >>> Layout().told_by_name("cifar-n750-s101")
        {'size': 750, 'seed': 101}
        >>> Layout(run_pattern=r"frac(?P<size>[0-9]+)").told_by_name("resnet_frac500_x")
        {'size': 500}
        """
        found: dict[str, int] = {}
        for name, words in _WORDS.items():
            pattern = self.run_pattern or rf"(?:^|[^a-zA-Z])(?:{words})[=_-]?(?P<{name}>\d{{1,15}})(?![.\d])"
            matches = [m for m in re.finditer(pattern, run, re.ASCII) if m.groupdict().get(name)]
            if matches:
                found[name] = whole(matches[-1][name])
        return found

    def value(self, metric: str, text: str | float) -> float | None:
        """A metric's value in the record's units; None where it is NaN, or a loss that is not finite.

        Raises:
            ValueError: It is no number, or none that the metric can have.
        """
        try:
            number = float(text)
        except ValueError:
            hint = "; decimals are written with a point" if _DECIMAL_COMMA.fullmatch(str(text)) else ""
            raise ValueError(f"{metric} is {text!r}, not a number{hint}") from None
        score = metric.removeprefix("test_").removeprefix("train_")
        # A loss that diverges is infinite; an accuracy never is.
        if math.isnan(number) or (math.isinf(number) and score not in SHARES):
            return None
        if score not in SHARES:
            if number < 0:
                raise ValueError(f"{metric} is {number:g}, expected 0 or more")
            return number
        share = number / 100 if self.percent else number
        if not -SHARE_ROUNDING <= share <= 1 + SHARE_ROUNDING:
            hint = "" if self.percent or not 0 <= number <= 100 else "; if it is in percent, give --percent"
            raise ValueError(f"{metric} is {number:g}, expected 0 to {100 if self.percent else 1}{hint}")
        return min(max(share, 0.0), 1.0)


def whole(text: str) -> int:
    """A whole number of at least 0, also one written like 750.0.

    Raises:
        ValueError: It is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not (0 <= number <= LARGEST_WHOLE and number.is_integer()):
        raise ValueError(f"{text!r} is not a whole number of 0 or more")
    return int(number)


def read_layout(file: Path) -> dict[str, Any]:
    """The arguments of `Layout` that a TOML file gives.

    Raises:
        ConfigError: The file is missing, no TOML, or has a key or value that is not known.
    """
    table = Table(read_toml(file), str(file))
    columns = table.table("columns")
    found: dict[str, Any] = {"columns": {key: columns.text(key) for key in columns.take_all()}}
    for key in ("run_pattern", "test_split", "dataset", "model"):
        if table.has(key):
            found[key] = table.text(key)
    for key, name in (("size", "train_size"), ("seed", "seed")):
        if table.has(key):
            found[name] = table.integer(key)
    if table.has("percent"):
        found["percent"] = table.boolean("percent", False)
    if table.has("variant"):
        names = table.take("variant")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise table.error("variant", "a list of columns")
        found["variant"] = tuple(names)
    table.finish()
    return found


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower())
