"""Values of foreign runs as they are found, put together to the rows of `metrics.jsonl`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tui_datasize.experiments.spec import Budget, ModelSpec, RunSpec, SubsetSpec
from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.schema import METRICS, SCORES

MOST_RUNS = 20_000
MOST_VALUES = 4_000_000

_DIGEST_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Cell:
    """What tells the runs of one import apart."""

    train_size: int
    seed: int
    draw: int = 0
    variant: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        words = [f"size {self.train_size}", f"seed {self.seed}", f"draw {self.draw}"]
        return ", ".join([*words, *(f"{name} {value}" for name, value in self.variant)])


@dataclass(frozen=True, slots=True)
class Moment:
    """When in a run something was measured, as far as the file tells."""

    update: int | None = None
    epoch: float | None = None


@dataclass(frozen=True)
class ForeignRun:
    """One run that was trained elsewhere."""

    cell: Cell
    rows: tuple[Mapping[str, Any], ...]
    """Rows of `metrics.jsonl`, all columns of `METRICS`, in order of updates."""

    @property
    def end(self) -> Mapping[str, float | None]:
        """The scores of the last evaluation on each split, by their full names; None where there is none."""
        found: dict[str, float | None] = {}
        for row in self.rows:
            found |= {f"{row['split']}_{score}": row[score] for score in SCORES}
        return found

    def spec(self, experiment: str, layout: Layout) -> RunSpec:
        """The specification under which the run enters a project; its id follows from its values."""
        cell = self.cell
        return RunSpec(
            experiment=experiment,
            dataset=layout.dataset,
            model=ModelSpec(layout.model, MappingProxyType(dict(cell.variant))),
            train_size=cell.train_size,
            seed=cell.seed,
            budget=Budget("updates", max([1, *(row["update"] for row in self.rows)])),
            subset=SubsetSpec(seed=cell.draw),
            imported=hashlib.sha256(self.text()).hexdigest()[:_DIGEST_DIGITS],
        )

    def text(self) -> bytes:
        """The run's `metrics.jsonl`."""
        return b"".join(json.dumps(row, allow_nan=False).encode() + b"\n" for row in self.rows)


@dataclass
class Collected:
    """Values found so far."""

    values: dict[Cell, dict[Moment, dict[str, float | None]]] = field(default_factory=dict)
    ignored: dict[str, None] = field(default_factory=dict)
    """Columns that were not read, in the order of their finding."""
    _count: int = 0

    def begin(self, cell: Cell) -> None:
        """Note that there is such a run.

        Raises:
            ValueError: Its size is 0, or there are more than `MOST_RUNS`.
        """
        if cell.train_size < 1:
            raise ValueError("the train size is 0")
        self.values.setdefault(cell, {})
        if len(self.values) > MOST_RUNS:
            raise ValueError(f"more than {MOST_RUNS:,} runs")

    def add(self, cell: Cell, moment: Moment, metric: str, value: float | None) -> None:
        """Note a value.

        Args:
            cell: Whose.
            moment: When.
            metric: `test_...`, `train_...` or `wall_s`.
            value: In the record's units; None where the file says that it was not finite.

        Raises:
            ValueError: It is the second for this metric and moment, or one of too many.
        """
        self.begin(cell)
        found = self.values[cell].setdefault(moment, {})
        if metric in found:
            raise ValueError(f"a second {metric} of {cell}{_when(moment)}")
        found[metric] = value
        self._count += 1
        if self._count > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES:,} values")

    def runs(self) -> list[ForeignRun]:
        """All runs, in order of size, draw and seed.

        Raises:
            ValueError: Only some values of a run tell their update.
        """
        cells = sorted(self.values, key=lambda cell: (cell.variant, cell.train_size, cell.draw, cell.seed))
        return [ForeignRun(cell, _rows(cell, self.values[cell])) for cell in cells]


def _rows(cell: Cell, values: Mapping[Moment, Mapping[str, float | None]]) -> tuple[dict[str, Any], ...]:
    tell_update = {moment.update is not None for moment in values}
    if len(tell_update) > 1:
        raise ValueError(f"some rows of {cell} tell their update and others do not")
    moments = sorted(values, key=lambda moment: (moment.update or 0, moment.epoch or 0.0))
    rows = []
    for number, moment in enumerate(moments, start=1):
        # Without updates the evaluations are counted; a single value at step 0 is that of a whole run.
        update = number if moment.update is None or moments[-1].update == 0 else moment.update
        measured = values[moment]
        for split in ("train", "test"):
            scores = {s: measured[f"{split}_{s}"] for s in SCORES if f"{split}_{s}" in measured}
            if scores or (split == "test" and set(measured) == {"wall_s"}):
                known = {"event": "evaluation", "update": update, "epoch": moment.epoch, "split": split}
                row = {**known, **scores, "wall_s": measured.get("wall_s")}
                rows.append({column: row.get(column) for column in METRICS})
    return tuple(rows)


def _when(moment: Moment) -> str:
    if moment.update is not None:
        return f" at update {moment.update}"
    if moment.epoch is not None:
        return f" at epoch {moment.epoch:g}"
    return "; if a row is an evaluation, name the column of its epoch or update"
