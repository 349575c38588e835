"""What went wrong within a run, as its log tells: a loss that is no number, a spike, a stall. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from math import inf
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tui_datasize.text import duration
from tui_datasize.tui.polling.snapshot import Part, TrainingCurve

PARTS: tuple[Part, ...] = ("batches", "train", "test")
Kind: TypeAlias = Literal["NaN", "spike", "stall"]

_BEFORE = 9
"""Points before one whose median is what it is expected to be."""
_NEARBY = 40
"""Points before one that tell how much the curve scatters there."""
_SPIKE_SIGMAS = 8.0
_LEAST_RISE = 0.1
"""Of a spike, as a share of all that the curve fell."""
_LEAST_FACTOR = 2.0
_SIGMA_OF_MAD = 1.4826
_STALL_FACTOR = 10.0
_LEAST_STALL_S = 10.0
_LEAST_GAPS = 5
_MORE = 1.02
"""Times as many rows before a curve that goes on is looked at again."""
_LEAST_KNOWN = 3
"""Rows with a loss, from the first, after which one without it is no row of something else."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that went wrong."""

    kind: Kind
    part: Part
    row: int
    """Which of the part's rows: of a stall, the last before it."""
    words: str
    is_now: bool = False
    """Whether it lasts."""


@dataclass(eq=False)
class TroubleFinder:
    """Remembers what it has found, also in curves that are not shown any more."""

    _curves: dict[str, TrainingCurve] = field(default_factory=dict)
    """The curves in which it was found, of those that are shown."""
    _found: dict[str, tuple[Trouble, ...]] = field(default_factory=dict)
    _usual_s: dict[str, float] = field(default_factory=dict)

    def knows(self, run_id: str) -> bool:
        return run_id in self._found

    def look(
        self, curves: Mapping[str, TrainingCurve], running: Collection[str], now: datetime
    ) -> Mapping[str, tuple[Trouble, ...]]:
        """All that is known, by run; of those that run also whether they stall `now`, in UTC."""
        self._curves = {run_id: curve for run_id, curve in self._curves.items() if run_id in curves}
        for run_id, curve in curves.items():
            before = self._curves.get(run_id)
            if before is None or (before is not curve and _is_due(before, curve, run_id in running)):
                self._curves[run_id] = curve
                self._found[run_id] = find_troubles(curve)
                self._usual_s[run_id] = usual_gap_s(curve)
        stalling = {one: stall_now(curves[one], self._usual_s[one], now) for one in running if one in curves}
        lasting = {run_id: (*self._found[run_id], stall) for run_id, stall in stalling.items() if stall}
        return MappingProxyType({run_id: one for run_id, one in (self._found | lasting).items() if one})


def _is_due(before: TrainingCurve, now: TrainingCurve, is_running: bool) -> bool:
    """Whether a curve that goes on has become so much longer that looking at all of it costs little."""
    return not (is_running and before.rows.height <= now.rows.height < before.rows.height * _MORE)


def find_troubles(curve: TrainingCurve) -> tuple[Trouble, ...]:
    """All that went wrong until its last row, in no order."""
    found = []
    for part in PARTS:
        losses, updates = curve.column(part, "loss").to_numpy(), curve.column(part, "update").to_numpy()
        row = first_missing(losses)
        if row is not None:
            found.append(Trouble("NaN", part, row, f"loss is NaN at update {updates[row]:,.0f}"))
        if part == "batches":
            found += [
                Trouble("spike", part, row, f"loss {losses[row]:.3g} at update {updates[row]:,.0f}")
                for row in spikes(losses)
            ]
    kinds, gaps = _gaps(curve)
    usual = _usual(kinds, gaps)
    for row, (kind, gap) in enumerate(zip(kinds, gaps, strict=True)):
        if gap > _longest(usual.get(kind, inf)):
            words = f"no row for {duration(gap)}, usually {usual[kind]:.2g} s"
            found.append(_stall(curve, row - 1, words))
    return tuple(found)


def first_missing(losses: NDArray[np.float64]) -> int | None:
    """The first place without a finite loss, where all of several before it have one."""
    (missing,) = np.nonzero(~np.isfinite(losses))
    return int(missing[0]) if len(missing) and missing[0] >= _LEAST_KNOWN else None


def spikes(values: Sequence[float] | NDArray[np.float64]) -> list[int]:
    """Places where a curve of positive values leaps up, one for points that follow each other.

    A spike lies above the median of the points before it by eight standard deviations of its logarithm,
    estimated from medians (1.4826 MAD) of the whole curve and of what is near, whichever is larger; it is
    twice as high; and it leaps by a tenth of what the curve fell in all: near 0 factors mean little.
    """
    known = np.nonzero(np.isfinite(values))[0]
    y = np.maximum(np.asarray(values, dtype=float)[known], np.finfo(float).tiny)
    if len(y) < 2 * _BEFORE:
        return []
    usual = np.median(sliding_window_view(y, _BEFORE), axis=1)
    rise = y[_BEFORE:] - usual[:-1]
    strange = np.log(y[_BEFORE:]) - np.log(usual[:-1])
    deviations = np.abs(strange - np.median(strange))
    padded = np.concatenate([np.zeros(_NEARBY), deviations[:-1]])
    nearby = np.median(sliding_window_view(padded, _NEARBY), axis=1)
    sigma = _SIGMA_OF_MAD * np.maximum(nearby, np.median(deviations))
    fallen = max(usual.max(), y[:_BEFORE].max()) - usual.min()
    is_spike = (
        (strange > _SPIKE_SIGMAS * sigma)
        & (rise > _LEAST_RISE * fallen)
        & (y[_BEFORE:] > _LEAST_FACTOR * usual[:-1])
    )
    places = (np.nonzero(is_spike)[0] + _BEFORE).tolist()
    runs = groupby(enumerate(places), key=lambda pair: pair[1] - pair[0])
    return [int(known[max((place for _, place in run), key=lambda place: y[place])]) for _, run in runs]


def usual_gap_s(curve: TrainingCurve) -> float:
    """Seconds between rows of the kind that takes longest, as a rule; infinite where nobody knows yet."""
    return max(_usual(*_gaps(curve)).values(), default=inf)


def stall_now(curve: TrainingCurve, usual_s: float, now: datetime) -> Trouble | None:
    """Whether a run that runs has written nothing for ten times as long as usual, and for ten seconds."""
    since = _last_time(curve)
    if since is None or (now - since).total_seconds() <= _longest(usual_s):
        return None
    words = f"no row since {since.astimezone():%H:%M:%S}, usually every {usual_s:.2g} s"
    return _stall(curve, curve.rows.height - 1, words, is_now=True)


def _gaps(curve: TrainingCurve) -> tuple[list[str], NDArray[np.float64]]:
    """Of each row what it is, and the seconds since the one before; NaN for the first."""
    kinds = (curve.rows["event"] + curve.rows["split"].fill_null("")).to_list()
    return kinds, np.diff(curve.rows["wall_s"].to_numpy().astype(float), prepend=np.nan)


def _usual(kinds: Sequence[str], gaps: NDArray[np.float64]) -> Mapping[str, float]:
    """By kind of row, the median of the seconds before it; of kinds that came several times."""
    own = {kind: gaps[[one == kind for one in kinds]] for kind in dict.fromkeys(kinds)}
    known = {kind: values[np.isfinite(values)] for kind, values in own.items()}
    return {kind: float(np.median(values)) for kind, values in known.items() if len(values) >= _LEAST_GAPS}


def _longest(usual_s: float) -> float:
    return max(_STALL_FACTOR * usual_s, _LEAST_STALL_S)


def _stall(curve: TrainingCurve, row: int, words: str, *, is_now: bool = False) -> Trouble:
    """At a row of the log, as the part of the log knows it."""
    event, split = (curve.rows[name][: row + 1] for name in ("event", "split"))
    batches, tests = int((event == "train").sum()), int(((event == "evaluation") & (split == "test")).sum())
    before = int((event == "generator").sum())
    part: Part = "batches" if batches else "generator" if before and not tests else "test"
    return Trouble("stall", part, max(0, (batches or tests or before) - 1), words, is_now)


def _last_time(curve: TrainingCurve) -> datetime | None:
    text = curve.rows["time"][-1] if curve.rows.height else None
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
