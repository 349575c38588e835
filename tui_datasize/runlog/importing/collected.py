"""Runs put together from the rows of all files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from tui_datasize.experiments.spec import Budget, ModelSpec, RunSpec, SubsetSpec
from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.staged import Moment, Origin, StagedRow
from tui_datasize.runlog.schema import METRICS, SCORES
from tui_datasize.text import listed, plural

Values: TypeAlias = dict[str, dict[Moment, float | None]]
"""By metric and moment, in the record's units; None where a value is not finite."""


@dataclass(frozen=True, slots=True)
class ForeignCell:
    """What tells the runs of one import apart."""

    train_size: int
    seed: int
    draw: int = 0
    variant: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return _words(Origin(self.train_size, self.seed, self.draw, self.variant))


@dataclass(frozen=True)
class ForeignRun:
    """One run that was trained elsewhere."""

    cell: ForeignCell
    rows: tuple[Mapping[str, Any], ...]
    """Rows of `metrics.jsonl`, all columns of `METRICS`, in order of updates."""
    tells: tuple[str, ...] = ("seed", "draw")
    """Which of the two the files tell; another is only a number."""
    name: str = ""
    carried: Mapping[str, str] = field(default_factory=dict)
    """By metric the moment of its last value, where the run goes on without one."""

    def __str__(self) -> str:
        cell = self.cell
        seed = cell.seed if self.repeat is None else None
        told = Origin(cell.train_size, seed, cell.draw if "draw" in self.tells else None, cell.variant)
        return _words(told) if seed is not None else f"{_words(told)}, repeat {self.repeat}"

    @property
    def repeat(self) -> int | None:
        """Which of the runs of its size it is, from 1, where nothing tells its seed."""
        return None if "seed" in self.tells else self.cell.seed + 1

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
            imported=hashlib.sha256(self.text()).hexdigest()[:16],
        )

    def text(self) -> bytes:
        return b"".join(json.dumps(row, allow_nan=False).encode() + b"\n" for row in self.rows)


class RepeatedError(ValueError):
    """A row has what another row of its run has already."""

    def __init__(self, what: str, place: int, *, is_of_end: bool = False) -> None:
        super().__init__(what)
        self.place = place
        """Its line or record."""
        self.is_of_end = is_of_end
        """Whether nothing but its place among the rows tells when it was measured."""


@dataclass
class ForeignCurve:
    """Values of one run, from one file or from the event files of one folder."""

    origin: Origin
    source: str
    values: Values = field(default_factory=dict)
    resumed: list[str] = field(default_factory=list)
    """Moments from which later values took the place of earlier ones."""
    goes_to: Moment = field(default_factory=Moment)
    """The last moment of which a table has a row, with values or without."""
    at_end: list[int] = field(default_factory=list)
    """Lines that tell no moment behind others that do."""


ReadRow: TypeAlias = tuple[StagedRow, Sequence[tuple[str, float | None]]]
"""A row, and its values by metric."""


def foreign_curves(rows: Iterable[ReadRow], source: str, *, in_order: bool) -> list[ForeignCurve]:
    """The runs of one file, or of the event files of one folder.

    A step that comes back is one at which a run was resumed: what was written from it on before counts no
    more (TensorBoard does the same). With `in_order` so is one that lies before the last. Where it is the
    first step, or there is none, another run begins.

    Raises RepeatedError: two runs that are told to be one have values of one metric at one moment.
    """
    found: dict[Origin, list[ForeignCurve]] = {}
    for row, values in rows:
        of_origin = found.setdefault(row.origin, [ForeignCurve(row.origin, source)])
        curve = of_origin[-1]
        if not row.moment.is_told:
            if curve.goes_to.is_told:
                _add_at_end(curve, row, values)
            else:
                _add_whole(of_origin, row, values, source)
            continue
        for metric, value in values:
            there = curve.values.get(metric, {})
            if not in_order and there and row.moment == next(iter(there)):
                curve = ForeignCurve(row.origin, source)
                _begin_another(of_origin, curve, metric, row)
            elif row.moment in there or (
                in_order and there and row.moment.order < next(reversed(there)).order
            ):
                _resume(of_origin, curve, metric, row)
            curve.values.setdefault(metric, {})[row.moment] = value
        if not in_order:
            curve.goes_to = max(curve.goes_to, row.moment, key=lambda moment: moment.order)
    return [curve for of_origin in found.values() for curve in of_origin]


def _add_at_end(curve: ForeignCurve, row: StagedRow, values: Sequence[tuple[str, float | None]]) -> None:
    for metric, value in values:
        there = curve.values.setdefault(metric, {})
        last = there.get(curve.goes_to)
        if last is not None and value is not None and value != last:
            what = (
                f"a row behind the others of {_words(row.origin)} tells no epoch or update; its {metric} is "
                f"{value:g}, and that of {curve.goes_to} {last:g}"
            )
            raise RepeatedError(what, row.place, is_of_end=True)
        if last is None:
            there[curve.goes_to] = value
    curve.at_end.append(row.place)


def _add_whole(
    of_origin: list[ForeignCurve], row: StagedRow, values: Sequence[tuple[str, float | None]], source: str
) -> None:
    metrics = {metric for metric, _ in values}
    curve = next((one for one in of_origin if metrics.isdisjoint(one.values)), None)
    if curve is None:
        curve = ForeignCurve(row.origin, source)
        _begin_another(of_origin, curve, next(iter(metrics)), row)
    for metric, value in values:
        curve.values.setdefault(metric, {})[row.moment] = value


def _begin_another(of_origin: list[ForeignCurve], curve: ForeignCurve, metric: str, row: StagedRow) -> None:
    if row.origin.seed is not None:
        when = f" at {row.moment}" if row.moment.is_told else ""
        raise RepeatedError(f"a second {metric} of {_words(row.origin)}{when}", row.place)
    of_origin.append(curve)


def _resume(of_origin: list[ForeignCurve], curve: ForeignCurve, metric: str, row: StagedRow) -> None:
    if len(of_origin) > 1:
        raise RepeatedError(
            f"a second {metric} of {_words(row.origin)} at {row.moment}: neither repeats one below another "
            "nor one run that was resumed",
            row.place,
        )
    curve.values[metric] = {m: v for m, v in curve.values[metric].items() if m.order < row.moment.order}
    if str(row.moment) not in curve.resumed:
        curve.resumed.append(str(row.moment))


def _words(origin: Origin) -> str:
    words = [f"size {origin.train_size}"]
    words += [f"{n} {v}" for n, v in (("seed", origin.seed), ("draw", origin.draw)) if v is not None]
    return ", ".join([*words, *(f"{name} {value}" for name, value in origin.variant)])


def put_together(parts: Sequence[ForeignCurve]) -> tuple[list[ForeignRun], list[str]]:
    """All runs, in order of size, draw and seed, and what is to be told of them.

    Raises ValueError: two sources have other values for one run, or some values of a run tell no update.
    """
    told: dict[tuple[Any, ...], list[ForeignCurve]] = {}
    for part in parts:
        one = part.origin
        key = (one.variant, one.train_size, one.draw or 0, one.draw is None, one.seed)
        told.setdefault(key, []).append(part)
    cells: dict[ForeignCell, ForeignCurve] = {}
    numbered: dict[ForeignCell, ForeignCurve] = {}
    repeats, among_told = 0, 0
    for (variant, size, draw, _, seed), found in told.items():
        if seed is not None:
            curve = ForeignCurve(found[0].origin, found[0].source)
            for part in found:
                _join(curve, part)
            cells[_free(ForeignCell(size, seed, draw, variant), cells)] = curve
            continue
        slots = _numbered(found)
        repeats = max(repeats, len(slots))
        taken = {s for (v, n, d, _, s) in told if (v, n, d) == (variant, size, draw)} - {None}
        among_told += len(slots) if taken else 0
        free = (number for number in range(len(slots) + len(taken)) if number not in taken)
        numbered |= {ForeignCell(size, s, draw, variant): c for s, c in zip(free, slots, strict=False)}
    for cell, curve in numbered.items():
        cells[_free(cell, cells)] = curve
    runs = [_run(cell, curve, cell not in numbered) for cell, curve in cells.items()]
    runs.sort(key=lambda run: (run.cell.variant, run.cell.train_size, run.cell.draw, run.cell.seed))
    return runs, list(_notes(parts, repeats, among_told))


def _free(cell: ForeignCell, cells: Mapping[ForeignCell, ForeignCurve]) -> ForeignCell:
    if cell in cells:
        raise ValueError(f"some rows of {cell} have a draw and others do not")
    return cell


def _numbered(parts: Sequence[ForeignCurve]) -> list[ForeignCurve]:
    """Runs without a seed: parts that have no metric in common may be of one."""
    slots: list[ForeignCurve] = []
    for part in parts:
        slot = next((one for one in slots if one.values.keys().isdisjoint(part.values)), None)
        if slot is None:
            slot = ForeignCurve(part.origin, part.source)
            slots.append(slot)
        _join(slot, part)
    return slots


def _join(curve: ForeignCurve, part: ForeignCurve) -> None:
    for metric, values in part.values.items():
        there = curve.values.get(metric)
        if there is not None and there != values:
            is_one = curve.source == part.source
            names = [f"{one.source} ({one.origin.run})" if is_one else one.source for one in (curve, part)]
            raise ValueError(f"{listed(names)} have other values of {metric} for {_words(part.origin)}")
        curve.values[metric] = values
    curve.goes_to = max(curve.goes_to, part.goes_to, key=lambda moment: moment.order)


def _notes(parts: Sequence[ForeignCurve], repeats: int, among_told: int) -> Iterator[str]:
    if among_told:
        what = "1 run has no seed" if among_told == 1 else f"{among_told:,} runs have no seed"
        yield f"{what}, and others of their size do: read as further repeats, though they may be means"
    if repeats > 1:
        yield (
            f"no seed is given: up to {repeats} runs of a size are repeats, numbered from 1 as they "
            "come; --column seed=COLUMN names a column, --variant COLUMN one that tells curves apart"
        )
    ended = [part for part in parts if part.at_end]
    if ended:
        first = ended[0]
        where = f"{first.source}, line {first.at_end[0]}: of {first.goes_to}"
        yield (
            f"{plural(sum(len(part.at_end) for part in ended), 'row')} behind the others of a run without an "
            f"epoch or update: read as of its end ({where})"
        )
    resumed = [part for part in parts if part.resumed]
    if resumed:
        first = resumed[0]
        yield (
            f"{plural(len(resumed), 'run')} resumed, as steps come back: later values count "
            f"({first.origin.run or first.source}, from {listed(first.resumed)} on)"
        )


def _run(cell: ForeignCell, curve: ForeignCurve, is_seed_told: bool) -> ForeignRun:
    tells = [*(["seed"] if is_seed_told else []), *([] if curve.origin.draw is None else ["draw"])]
    rows, carried = _rows(cell, curve.values, curve.goes_to)
    return ForeignRun(cell, rows, tuple(tells), curve.origin.run, carried)


def _rows(
    cell: ForeignCell, values: Values, goes_to: Moment
) -> tuple[tuple[dict[str, Any], ...], dict[str, str]]:
    moments = sorted({moment for found in values.values() for moment in found}, key=lambda m: m.order)
    if len({moment.update is not None for moment in moments}) > 1:
        raise ValueError(f"some rows of {cell} have an update and others do not")
    # Without updates the evaluations are counted; a single value at step 0 is that of a whole run.
    is_counted = not moments or moments[-1].update in (None, 0)
    updates = {m: number if is_counted else m.update for number, m in enumerate(moments, start=1)}
    rows: list[dict[str, Any]] = []
    carried: dict[str, str] = {}
    for split in ("train", "test"):
        of_split = {s: values[f"{split}_{s}"] for s in SCORES if f"{split}_{s}" in values}
        last = {s: _last(found) for s, found in of_split.items()}
        end = max((m for m in last.values() if m is not None), key=lambda m: m.order, default=None)
        measured = [m for m in moments if any(m in found for found in of_split.values())]
        for moment in measured:
            if end is None or moment.order > end.order:
                break
            scores = {s: found.get(moment) for s, found in of_split.items()}
            if moment == end:
                for score, m in last.items():
                    if m is not None and m != end:
                        scores[score] = of_split[score][m]
            rows.append(_row(split, updates[moment], moment, scores, values))
        seen = max([goes_to, *(m for found in of_split.values() for m in found)], key=lambda m: m.order)
        carried |= {f"{split}_{s}": str(m) for s, m in last.items() if m is not None and m.order < seen.order}
    if not rows and (seconds := values.get("wall_s")):
        moment = max(seconds, key=lambda m: m.order)
        rows = [_row("test", updates[moment], moment, {}, values)]
    rows.sort(key=lambda row: row["update"])
    return tuple(rows), carried


def _last(values: Mapping[Moment, float | None]) -> Moment | None:
    return max((m for m, value in values.items() if value is not None), key=lambda m: m.order, default=None)


def _row(
    split: str, update: int | None, moment: Moment, scores: Mapping[str, float | None], values: Values
) -> dict[str, Any]:
    known = {"event": "evaluation", "update": update, "epoch": moment.epoch, "split": split}
    row = {**known, **scores, "wall_s": values.get("wall_s", {}).get(moment)}
    return {column: row.get(column) for column in METRICS}
