"""Which split values are of, and in which unit: decided over all files, because one tells of another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.meanings import SPLIT_WORDS, TEST, TRAIN, VALIDATION, Meaning
from tui_datasize.runlog.importing.staged import Origin, Staged, StagedKey, ValueRange, option
from tui_datasize.runlog.schema import SHARE_ROUNDING, SHARES
from tui_datasize.text import listed


@dataclass
class Settled:
    """What is read of one file as what."""

    metrics: dict[StagedKey, str] = field(default_factory=dict)
    """Metric by column and split."""
    why: dict[StagedKey, str] = field(default_factory=dict)
    """What decided, where the name alone does not."""
    passed: dict[StagedKey, str] = field(default_factory=dict)
    """Why others are not read."""


def test_split(files: Sequence[Staged], layout: Layout) -> tuple[str, bool]:
    """The split that is read as the test split, and whether that has to be told, over all files."""
    word = layout.test_split.lower()
    if word:
        return SPLIT_WORDS.get(word, word), False
    keys = [(key, key.column in staged.extents) for staged in files for key in _keys(staged)]
    with_values = {key.split for key, has_values in keys if has_values}
    splits = with_values & {TEST, VALIDATION} or {key.split for key, _ in keys}
    return (TEST, False) if TEST in splits else (VALIDATION, True)


def _keys(staged: Staged) -> dict[StagedKey, Meaning]:
    """Columns with the splits that name, row or folder tell, in order of the columns."""
    seen = dict.fromkeys(key for row in staged.rows for key, _ in row.values)
    # A column without any value is read as well, to be told.
    empty = {StagedKey(c, meaning.split): None for c, meaning in staged.columns.items()}
    found = {key.column for key in seen}
    keys = [*seen, *(key for key in empty if key.column not in found)]
    order = {column: place for place, column in enumerate(staged.columns)}
    return {key: staged.columns[key.column] for key in sorted(keys, key=lambda key: order[key.column])}


def settle(staged: Staged, tests: tuple[str, bool]) -> Settled:
    """Decide on the split of every value of a file; `tests` is that of `test_split`, over all files.

    Raises ConfigError: it cannot be known for a column that is needed, or several columns hold one metric.
    """
    test, is_told = tests
    keys = _keys(staged)
    settled = Settled()
    for key, meaning in keys.items():
        split, why = key.split, ""
        if meaning.score == "wall_s":
            settled.metrics[key] = "wall_s"
            continue
        if not split:
            split, why = _of_bare(staged, key, keys, test)
        if split == TRAIN:
            settled.metrics[key] = f"train_{meaning.score}"
        elif split == test or (meaning.is_told and split == TEST):
            settled.metrics[key] = f"test_{meaning.score}"
            if is_told and key.split == test:
                why = "no column is of the test split"
        else:
            name, of = split, f"the split {split!r}"
            if split == VALIDATION:
                name, of = "val", "the validation split"
            reads = f"--test-split {name} reads it as the test split"
            settled.passed[key] = why or f"of {of}, and there are values of the {test} split; {reads}"
            continue
        if why:
            settled.why[key] = why
    _drop_repeated(staged, keys, settled)
    _refuse_unknown(staged, keys, settled)
    return settled


_UNKNOWN = "its split is not given"


def _of_bare(staged: Staged, key: StagedKey, keys: Mapping[StagedKey, Meaning], test: str) -> tuple[str, str]:
    """The split of a score whose name tells none, and what tells it; empty where nothing does."""
    bare = {meaning.score for other, meaning in keys.items() if not other.split}
    named = {(other.split, meaning.score): other.column for other, meaning in keys.items() if other.split}
    twins = {s: column for (split, s), column in named.items() if split == VALIDATION and s in bare}
    score = keys[key].score
    if twins:
        twin = twins.get(score, next(iter(twins.values())))
        return TRAIN, f"the training value, as Keras writes it: {twin} is there too"
    if {"train_loss", "valid_loss"} <= staged.columns.keys():
        return VALIDATION, "as fastai writes it: train_loss and valid_loss are there too"
    if _is_log(staged) or any(split != TRAIN for split, _ in named):
        return "", _UNKNOWN
    beside = named.get((TRAIN, score))
    return test, f"{beside} is there too" if beside else ""


def _is_log(staged: Staged) -> bool:
    """Whether it is of evaluations of a run: one of a single one has no column that tells runs apart."""
    if not {"size", "seed", "run"} & {*staged.fields.values()}:
        return any(row.moment.is_told for row in staged.rows)
    first: dict[object, object] = {}
    return any(
        row.moment.is_told and first.setdefault(row.origin, row.moment) != row.moment for row in staged.rows
    )


def _drop_repeated(staged: Staged, keys: Mapping[StagedKey, Meaning], settled: Settled) -> None:
    """Of columns that hold one metric keep the plainest."""
    by_metric: dict[str, list[StagedKey]] = {}
    for key, metric in settled.metrics.items():
        by_metric.setdefault(metric, []).append(key)
    for metric, found in by_metric.items():
        columns = list(dict.fromkeys(key.column for key in found))
        if len(columns) < 2:
            continue
        ranks = {column: min(_rank(k, keys[k]) for k in found if k.column == column) for column in columns}
        best = [column for column in columns if ranks[column] == min(ranks.values())]
        if len(best) > 1 and metric.startswith("train_"):
            best = []
        if len(best) > 1:
            raise staged.error(
                f"{listed([repr(column) for column in best])} may all be {metric}"
                if len(best) > 2
                else f"{best[0]!r} and {best[1]!r} may both be {metric}",
                fix=f"name the one meant: {option('column', metric, best[0])}",
            )
        kept = f"{best[0]} is read as {metric}" if best else f"several columns may be {metric}"
        way_out = f"--column {metric}=COLUMN names the one meant"
        for key in found:
            if key.column not in best:
                del settled.metrics[key]
                settled.why.pop(key, None)
                settled.passed[key] = f"{kept}; {way_out}"


def _rank(key: StagedKey, meaning: Meaning) -> tuple[bool, ...]:
    return (not meaning.is_told, meaning.is_error, meaning.is_step, not meaning.split and not key.split)


def _refuse_unknown(staged: Staged, keys: Mapping[StagedKey, Meaning], settled: Settled) -> None:
    held_out = {metric for metric in settled.metrics.values() if metric.startswith("test_")}
    others = {keys[key].score for key, why in settled.passed.items() if why != _UNKNOWN}
    for key in [key for key, why in settled.passed.items() if why == _UNKNOWN]:
        score = keys[key].score
        is_there = f"test_{score}" in held_out or score in others
        ways = " or ".join(option("column", f"{split}_{score}", key.column) for split in (TEST, TRAIN))
        if not is_there and (score == "accuracy" or not held_out):
            raise staged.error(f"{_UNKNOWN}: {key.column}", fix=f"give {ways}")
        settled.passed[key] = f"{_UNKNOWN}; {ways}"


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

    def spread(self, number: float) -> float:
        """A standard deviation in the record's units."""
        return number / 100 if self.is_share and self.is_percent else number


def may_scatter(metric: str, mean: float | None, sd: float, n_runs: int) -> bool:
    """Whether values of a metric with this mean can have this standard deviation: shares only up to some.

    >>> may_scatter("test_accuracy", 0.7, 0.02, 5), may_scatter("test_accuracy", 0.7, 2.0, 5)
    (True, False)
    """
    if mean is None or n_runs < 2 or not metric.endswith(SHARES):
        return True
    return sd**2 <= mean * (1 - mean) * n_runs / (n_runs - 1) + SHARE_ROUNDING


def check_range(staged: Staged, settled: Settled, layout: Layout) -> None:
    """Refuse values that no metric has.

    Raises ConfigError: a loss is below 0, or a share is none, in percent neither.
    """
    for column in dict.fromkeys(key.column for key in settled.metrics):
        extent, meaning = staged.extents.get(column), staged.columns[column]
        if extent is None:
            continue
        most_of_shares = 1.0 if layout.percent is False else 100.0
        most = most_of_shares if meaning.score in SHARES else math.inf
        if extent.low < -SHARE_ROUNDING:
            expected = f"0 to {most:g}" if math.isfinite(most) else "0 or more"
            what = f"{column} is {extent.low:g}, expected {expected}"
            raise staged.error(what, extent.low_place, fix=_leave_out(staged, extent.low_place, column))
        if extent.high > most * (1 + SHARE_ROUNDING):
            hint = _leave_out(staged, extent.high_place, column)
            hint = "if it is in percent, leave --no-percent out" if layout.percent is False else hint
            what = f"{column} is {extent.high:g}, expected 0 to {most:g}"
            raise staged.error(what, extent.high_place, fix=hint)


def _leave_out(staged: Staged, place: int, column: str) -> str:
    return f"--skip-line {place} leaves the {staged.place} out, {option('ignore', column)} the column"


def units(files: Sequence[Staged], settled: Sequence[Settled], layout: Layout) -> dict[str, Unit]:
    """The unit of every column that is read, one for all files.

    Raises ConfigError: name and values of a column contradict each other, or some runs are in percent by
        their values and others are not.
    """
    found: dict[str, Unit] = {}
    for staged, decided in zip(files, settled, strict=True):
        for key in decided.metrics:
            if key.column not in found:
                is_share = staged.columns[key.column].score in SHARES
                found[key.column] = _unit(key.column, files, layout) if is_share else Unit(is_share=False)
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
    if any(extent.n_percent for _, extent in extents):
        if mixed := [one for one, extent in extents if extent.n_plain]:
            what = f"{column!r} holds numbers with a percent sign and others without"
            raise mixed[0].error(what, fix=_WAY_OUT)
        return Unit(True, True, meaning.is_error, "it holds percent signs")
    is_percent = most.high > 1 + SHARE_ROUNDING
    if not is_percent and (why := _like_its_sibling(column, having, most.high)):
        return Unit(True, True, meaning.is_error, why)
    if meaning.is_percent and not is_percent and most.high > 0:
        what = f"{column!r} is in percent by its name, but no value is above 1: the largest is {most.high:g}"
        raise staged.error(what, most.high_place, fix=_WAY_OUT)
    if is_percent and not meaning.is_percent:
        _refuse_mixed(column, having, staged, most)
    told = f"its largest value is {most.high:g}" if is_percent else ""
    return Unit(True, is_percent, meaning.is_error, told)


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


def _refuse_mixed(column: str, files: Iterable[Staged], largest: Staged, most: ValueRange) -> None:
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
                what = (
                    f"{column} is {most.high:g}, in percent as it seems, but {top:g} in "
                    f"{'' if staged is largest else f'{staged.file}, '}{staged.place} {place}"
                )
                raise largest.error(what, most.high_place, fix=_WAY_OUT)
