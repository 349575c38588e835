"""Runs put together from the rows of all files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from operator import attrgetter
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from tui_datasize.experiments.spec import Budget, ModelSpec, RunSpec, SubsetSpec
from tui_datasize.runlog.describe import MEANS_OF, SPREADS, TELLS
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
    group: str = ""
    """Of several experiments, its name in the file."""

    def __str__(self) -> str:
        return _words(Origin(self.train_size, self.seed, self.draw, self.variant, group=self.group))


class ForeignRow(NamedTuple):
    """A row of `metrics.jsonl`, of which other columns are null."""

    split: str
    update: int
    epoch: float | None
    scores: tuple[str, ...]
    values: tuple[float | None, ...]
    """Of these scores."""
    wall_s: float | None

    @property
    def row(self) -> dict[str, Any]:
        """All columns of `METRICS`."""
        known = {"event": "evaluation", "update": self.update, "epoch": self.epoch, "split": self.split}
        own = dict(zip(self.scores, self.values, strict=True))
        return {**_BLANK, **known, **own, "wall_s": self.wall_s}


_BLANK: Mapping[str, Any] = MappingProxyType(dict.fromkeys(METRICS))


@cache
def _template(names: tuple[str, ...], has_epoch: bool, has_seconds: bool) -> str:
    own = {"event": '"evaluation"', "update": "%s", "split": '"%s"', **dict.fromkeys(names, "%s")}
    own |= {"epoch": "%s"} if has_epoch else {}
    own |= {"wall_s": "%s"} if has_seconds else {}
    return "{" + ", ".join(f'"{column}": {own.get(column, "null")}' for column in METRICS) + "}\n"


@dataclass(frozen=True)
class ForeignRun:
    """One run that was trained elsewhere, or the mean over several."""

    cell: ForeignCell
    evaluations: tuple[ForeignRow, ...]
    """In order of updates."""
    tells: tuple[str, ...] = ("seed", "draw")
    """Which of the two the files tell; another is only a number."""
    name: str = ""
    carried: Mapping[str, str] = field(default_factory=dict)
    """By metric the moment of its last value, where the run goes on without one."""
    n_runs: int | None = None
    """Runs behind the mean; None of a single run."""
    spreads: Mapping[str, float] = field(default_factory=dict)
    """Of a mean, by metric the standard deviation over the runs behind it."""

    def __str__(self) -> str:
        cell = self.cell
        seed = cell.seed if self.repeat is None else None
        draw = cell.draw if "draw" in self.tells else None
        told = Origin(cell.train_size, seed, draw, cell.variant, group=cell.group)
        return _words(told) if seed is not None else f"{_words(told)}, repeat {self.repeat}"

    @property
    def rows(self) -> tuple[Mapping[str, Any], ...]:
        """Rows of `metrics.jsonl`, all columns of `METRICS`."""
        return tuple(evaluation.row for evaluation in self.evaluations)

    @property
    def repeat(self) -> int | None:
        """Which of the runs of its size it is, from 1, where nothing tells its seed."""
        return None if "seed" in self.tells else self.cell.seed + 1

    @cached_property
    def end(self) -> Mapping[str, float | None]:
        """The scores of the last evaluation on each split, by their full names; None where there is none."""
        last = {one.split: dict(zip(one.scores, one.values, strict=True)) for one in self.evaluations}
        return {f"{split}_{s}": scores.get(s) for split, scores in last.items() for s in SCORES}

    def spec(self, experiment: str, layout: Layout) -> RunSpec:
        """The specification under which the run enters a project; its id follows from its values."""
        cell = self.cell
        return RunSpec(
            experiment=experiment,
            dataset=layout.dataset,
            model=ModelSpec(layout.model, MappingProxyType(dict(cell.variant))),
            train_size=cell.train_size,
            seed=cell.seed,
            budget=Budget("updates", max([1, *(one.update for one in self.evaluations)])),
            subset=SubsetSpec(seed=cell.draw),
            imported=hashlib.sha256(self.text + self._told_of_means()).hexdigest()[:16],
        )

    @cached_property
    def text(self) -> bytes:
        """`metrics.jsonl`, as `json.dumps` writes each row, only faster: an import has hundred thousands."""
        forms: list[str] = []
        told: list[Any] = []
        for split, update, epoch, scores, values, wall_s in self.evaluations:
            forms.append(_template(scores, epoch is not None, wall_s is not None))
            when, seconds = () if epoch is None else (epoch,), () if wall_s is None else (wall_s,)
            told += (update, *when, split, *values, *seconds)
        if None in told:
            told = ["null" if value is None else value for value in told]
        return ("".join(forms) % tuple(told)).encode()

    def forget_text(self) -> None:
        """Keep its text in mind no longer."""
        self.__dict__.pop("text", None)

    def _told_of_means(self) -> bytes:
        return b"" if self.n_runs is None else json.dumps(self.facts, sort_keys=True).encode()

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the provenance says of it beside its files."""
        of_means = {} if self.n_runs is None else {MEANS_OF: self.n_runs, SPREADS: dict(self.spreads)}
        return {TELLS: list(self.tells), **of_means}


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
    n_runs: int | None = None
    """Runs behind each value; None of a single run."""
    spreads: dict[str, dict[Moment, float]] = field(default_factory=dict)
    """Of means, by metric and moment."""

    def take_spreads(self, row: StagedRow, spreads: Mapping[str, float]) -> None:
        """Note how far the runs behind a row of means scatter."""
        self.n_runs = row.n_runs
        for metric, spread in spreads.items():
            self.spreads.setdefault(metric, {})[row.moment] = spread


ReadRow: TypeAlias = tuple[StagedRow, Sequence[tuple[str, float | None]], Mapping[str, float]]
"""A row, its values by metric, and of means their spreads."""


def foreign_curves(rows: Iterable[ReadRow], source: str, *, in_order: bool) -> list[ForeignCurve]:
    """The runs of one file, or of the event files of one folder.

    A step that comes back is one at which a run was resumed: what was written from it on before counts no
    more (TensorBoard does the same). With `in_order` so is one that lies before the last. Where it is the
    first step, or there is none, another run begins.

    Raises RepeatedError: two runs that are told to be one have values of one metric at one moment.
    """
    found: dict[Origin, list[ForeignCurve]] = {}
    for row, values, spreads in rows:
        of_origin = found.get(row.origin)
        if of_origin is None:
            of_origin = found[row.origin] = [ForeignCurve(row.origin, source)]
        curve = of_origin[-1]
        if row.moment.is_told:
            curve = _add_moment(of_origin, row, values, in_order=in_order)
        elif curve.goes_to.is_told:
            _add_at_end(curve, row, values)
        else:
            curve = _add_whole(of_origin, row, values, source)
        if row.n_runs is not None:
            curve.take_spreads(row, spreads)
    return [curve for of_origin in found.values() for curve in of_origin]


def _add_moment(
    of_origin: list[ForeignCurve],
    row: StagedRow,
    values: Sequence[tuple[str, float | None]],
    *,
    in_order: bool,
) -> ForeignCurve:
    curve, moment = of_origin[-1], row.moment
    for metric, value in values:
        there = curve.values.get(metric)
        if there:
            if not in_order and moment == next(iter(there)):
                curve = ForeignCurve(row.origin, curve.source)
                _begin_another(of_origin, curve, metric, row)
            elif moment in there or (in_order and moment.order < next(reversed(there)).order):
                _resume(of_origin, curve, metric, row)
        curve.values.setdefault(metric, {})[moment] = value
    if not in_order and moment.order > curve.goes_to.order:
        curve.goes_to = moment
    return curve


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
) -> ForeignCurve:
    metrics = {metric for metric, _ in values}
    curve = next((one for one in of_origin if metrics.isdisjoint(one.values)), None)
    if curve is None:
        curve = ForeignCurve(row.origin, source)
        _begin_another(of_origin, curve, next(iter(metrics)), row)
    for metric, value in values:
        curve.values.setdefault(metric, {})[row.moment] = value
    return curve


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
    named = (f"{name} {value}" for name, value in origin.variant)
    return ", ".join([*([origin.group] if origin.group else []), *words, *named])


def put_together(parts: Sequence[ForeignCurve]) -> tuple[list[ForeignRun], list[str]]:
    """All runs, in order of size, draw and seed, and what is to be told of them.

    Raises ValueError: two sources have other values for one run, or some values of a run tell no update.
    """
    told: dict[tuple[Any, ...], list[ForeignCurve]] = {}
    for part in parts:
        one = part.origin
        key = (one.group, one.variant, one.train_size, one.draw or 0, one.draw is None, one.seed)
        told.setdefault(key, []).append(part)
    cells: dict[ForeignCell, ForeignCurve] = {}
    numbered: dict[ForeignCell, ForeignCurve] = {}
    repeats, among_told = 0, 0
    seeds: dict[tuple[Any, ...], set[int]] = {}
    for group, variant, size, draw, _, seed in told:
        if seed is not None:
            seeds.setdefault((group, variant, size, draw), set()).add(seed)
    for (group, variant, size, draw, _, seed), found in told.items():
        if seed is not None:
            curve = ForeignCurve(found[0].origin, found[0].source)
            for part in found:
                _join(curve, part)
            cells[_free(ForeignCell(size, seed, draw, variant, group), cells)] = curve
            continue
        slots = _numbered(found)
        repeats = max(repeats, len(slots))
        taken = seeds.get((group, variant, size, draw), set())
        among_told += sum(slot.n_runs is None for slot in slots) if taken else 0
        free = (number for number in range(len(slots) + len(taken)) if number not in taken)
        own = zip(free, slots, strict=False)
        numbered |= {ForeignCell(size, s, draw, variant, group): curve for s, curve in own}
    for cell, curve in numbered.items():
        cells[_free(cell, cells)] = curve
    runs = [_run(cell, curve, cell not in numbered) for cell, curve in cells.items()]
    runs.sort(
        key=lambda run: (
            *(run.cell.group, run.cell.variant, run.cell.train_size, run.cell.draw, run.cell.seed),
        )
    )
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
    curve.n_runs = part.n_runs if curve.n_runs is None else curve.n_runs
    curve.spreads |= part.spreads


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
    evaluations, carried = _evaluations(cell, curve.values, curve.goes_to)
    spreads = {}
    for metric, own in curve.spreads.items():
        values = curve.values.get(metric, {})
        if (end := _last(sorted(values, key=_order), values)) in own:
            spreads[metric] = own[end]
    return ForeignRun(
        cell,
        evaluations,
        tuple(tells),
        curve.origin.run,
        carried,
        curve.n_runs,
        dict(sorted(spreads.items())),
    )


def _evaluations(
    cell: ForeignCell, values: Values, goes_to: Moment
) -> tuple[tuple[ForeignRow, ...], dict[str, str]]:
    moments = sorted(set().union(*values.values()), key=_order)
    if len({moment.update is not None for moment in moments}) > 1:
        raise ValueError(f"some rows of {cell} have an update and others do not")
    # Without updates the evaluations are counted; a single value at step 0 is that of a whole run.
    is_counted = not moments or moments[-1].update in (None, 0)
    updates = {m: number if is_counted else m.update or 0 for number, m in enumerate(moments, start=1)}
    seconds = values.get("wall_s", {})
    evaluations: list[ForeignRow] = []
    carried: dict[str, str] = {}
    for split in ("train", "test"):
        of_split = {s: values[f"{split}_{s}"] for s in SCORES if f"{split}_{s}" in values}
        last = {s: _last(moments, found) for s, found in of_split.items()}
        end = max((m for m in last.values() if m is not None), key=_order, default=None)
        names, columns = tuple(of_split), [*of_split.values()]
        there = set().union(*columns)
        for moment in moments if end else ():
            if moment not in there:
                continue
            values_then = tuple([found.get(moment) for found in columns])
            if moment == end:
                values_then = tuple([of_split[s].get(m) if m else None for s, m in last.items()])
            told = split, updates[moment], moment.epoch, names, values_then, seconds.get(moment)
            evaluations.append(ForeignRow(*told))
            if moment == end:
                break
        seen = max(goes_to.order, next((m.order for m in reversed(moments) if m in there), (0, 0.0)))
        carried |= {f"{split}_{s}": str(m) for s, m in last.items() if m is not None and m.order < seen}
    if not evaluations and seconds:
        moment = max(seconds, key=_order)
        evaluations = [ForeignRow("test", updates[moment], moment.epoch, (), (), seconds[moment])]
    evaluations.sort(key=lambda evaluation: evaluation.update)
    return tuple(evaluations), carried


_order = attrgetter("order")


def _last(moments: Sequence[Moment], values: Mapping[Moment, float | None]) -> Moment | None:
    return next((moment for moment in reversed(moments) if values.get(moment) is not None), None)
