"""Whether a column of shares is in percent: its values tell it, and its name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.splits import Settled
from tui_datasize.runlog.importing.staged import Extent, Origin, Staged
from tui_datasize.runlog.schema import SHARE_ROUNDING, SHARES

_WAY_OUT = "give --percent or --no-percent"
_MOST_TIMES = 3
"""How much higher the accuracy of one split may be than that of another, both in percent."""
_TIMM = frozenset({"eval_loss", "eval_top1", "eval_top5"})
"""Columns of timm's summary.csv, which is in percent."""


@dataclass(frozen=True, slots=True)
class Unit:
    """How the values of a column become those of the record."""

    is_share: bool
    is_percent: bool = False
    is_error: bool = False
    why: str = ""
    """What tells that it is in percent."""

    def value(self, number: float | None) -> float | None:
        """A value in the record's units, shares within [0, 1]."""
        if number is None or not self.is_share:
            return number
        share = min(max(number / 100 if self.is_percent else number, 0.0), 1.0)
        # 1 - 0.1 is 0.9 as it would have been written.
        return round(1 - share, 12) if self.is_error else share


def check_range(staged: Staged, settled: Settled, layout: Layout) -> None:
    """Refuse values that no metric has.

    Raises:
        ConfigError: A loss is below 0, or a share is none, in percent neither.
    """
    for column in dict.fromkeys(key.column for key in settled.metrics):
        extent, meaning = staged.extents.get(column), staged.columns[column]
        if extent is None:
            continue
        most = _most(meaning.score, layout)
        if extent.low < -SHARE_ROUNDING:
            expected = f"0 to {most:g}" if math.isfinite(most) else "0 or more"
            raise staged.error(f"{column} is {extent.low:g}, expected {expected}", extent.low_place)
        if extent.high > most * (1 + SHARE_ROUNDING):
            hint = "if it is in percent, leave --no-percent out" if layout.percent is False else ""
            raise staged.error(
                f"{column} is {extent.high:g}, expected 0 to {most:g}", extent.high_place, hint
            )


def _most(score: str, layout: Layout) -> float:
    if score not in SHARES:
        return math.inf
    return 1.0 if layout.percent is False else 100.0


def units(files: Sequence[Staged], settled: Sequence[Settled], layout: Layout) -> dict[str, Unit]:
    """The unit of every column that is read, one for all files.

    Raises:
        ConfigError: Name and values of a column contradict each other, or some runs are in percent by their
            values and others are not.
    """
    found: dict[str, Unit] = {}
    for staged, decided in zip(files, settled, strict=True):
        for key in decided.metrics:
            if key.column not in found:
                meaning = staged.columns[key.column]
                if meaning.score in SHARES:
                    found[key.column] = _unit(key.column, files, layout)
                else:
                    found[key.column] = Unit(is_share=False)
    return found


def _unit(column: str, files: Sequence[Staged], layout: Layout) -> Unit:
    having = [staged for staged in files if column in staged.columns]
    meaning = having[0].columns[column]
    if layout.percent is not None:
        return Unit(True, layout.percent, meaning.is_error)
    extents = [(staged, staged.extents[column]) for staged in having if column in staged.extents]
    if not extents:
        return Unit(True, False, meaning.is_error)
    staged, most = max(extents, key=lambda pair: pair[1].high)
    n_percent = sum(extent.n_percent for _, extent in extents)
    if n_percent:
        return Unit(True, _all_signed(column, extents), meaning.is_error, "it holds percent signs")
    is_percent = most.high > 1 + SHARE_ROUNDING
    if not is_percent and (why := _like_its_sibling(column, having, most.high)):
        return Unit(True, True, meaning.is_error, why)
    if meaning.is_percent and not is_percent and most.high > 0:
        raise staged.error(
            f"{column!r} is in percent by its name, but no value is above 1: the largest is {most.high:g}",
            most.high_place,
            _WAY_OUT,
        )
    if is_percent and not meaning.is_percent:
        _refuse_mixed(column, having, staged, most)
    return Unit(
        True, is_percent, meaning.is_error, f"its largest value is {most.high:g}" if is_percent else ""
    )


def _like_its_sibling(column: str, files: Sequence[Staged], high: float) -> str:
    """Why a column without a value above 1 is in percent; empty where nothing tells it.

    A column of the other split or of the five largest probabilities goes with it where the two can only so be
    of one run: top-1 is at most top-5, and no training accuracy is 99 % where no test accuracy is above 3 %.
    """
    columns = files[0].columns
    meaning = columns[column]
    if high <= 0:
        return ""
    if not meaning.is_percent and columns.keys() >= _TIMM and column in _TIMM:
        return "as timm writes it"
    for other, its in columns.items():
        tops = [staged.extents[other].high for staged in files if other in staged.extents]
        top = max(tops, default=0.0)
        if top <= 1 + SHARE_ROUNDING or its.is_error != meaning.is_error:
            continue
        if its.score == meaning.score and its.split != meaning.split:
            is_like = meaning.is_error or top <= _MOST_TIMES * high
        elif {its.score, meaning.score} == {"accuracy", "top5"} and its.split == meaning.split:
            is_lower = (meaning.score == "accuracy") != meaning.is_error
            is_like = (100 * high > top) == is_lower
        else:
            continue
        if is_like:
            return f"{other} goes to {top:g}"
    return ""


def _all_signed(column: str, extents: Iterable[tuple[Staged, Extent]]) -> bool:
    for staged, extent in extents:
        if extent.n_plain:
            raise staged.error(
                f"{column!r} holds numbers with a percent sign and others without", fix=_WAY_OUT
            )
    return True


def _refuse_mixed(column: str, files: Iterable[Staged], largest: Staged, most: Extent) -> None:
    """Refuse a column by which some runs are in percent and others are not.

    A run that never comes above 1 % is one whose values are shares, or one that learnt nothing.
    """
    for staged in files:
        tops: dict[Origin, tuple[float, int]] = {}
        for row in staged.rows:
            for key, number in row.values:
                if key.column == column and number is not None:
                    tops[row.origin] = max(tops.get(row.origin, (-math.inf, 0)), (number, row.place))
        for top, place in tops.values():
            if 0 < top <= 1:
                raise largest.error(
                    f"{column} is {most.high:g}, in percent as it seems, but {top:g} in "
                    f"{'' if staged is largest else f'{staged.file}, '}{staged.place} {place}",
                    most.high_place,
                    _WAY_OUT,
                )
