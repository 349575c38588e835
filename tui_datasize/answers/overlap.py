"""What the subset draws of each size have in common, and what independent draws would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from types import MappingProxyType

import polars as pl

from tui_datasize.answers.answer import Answer, Bar, Bars, Column, Map, Sentence, Table, does_not_apply
from tui_datasize.answers.columns import INTERVAL, SIZE, of_kind, share_axis
from tui_datasize.answers.record import Record
from tui_datasize.stats.overlap import DrawOverlap, Measure
from tui_datasize.stats.overlap_chance import (
    largest_expected,
    largest_expected_of_classes,
    largest_observed,
    largest_observed_of_classes,
)
from tui_datasize.stats.overlap_tables import overlap_table, per_class_table
from tui_datasize.text import listed, plural

MEASURES: Mapping[Measure, str] = MappingProxyType(
    {"fraction": "shared, of the smaller draw", "jaccard": "Jaccard index, shared / in either draw"}
)
_BY_CHANCE_COLUMNS: Mapping[str, str] = MappingProxyType({"expected": "by chance", **INTERVAL})
_MOST_NAMED = 12
_BY_CHANCE = 0.05
"""Of the classes lie outside of their interval by chance."""


def ask(record: Record) -> Answer:
    """The matrix and the classes of one size, by the fraction or the Jaccard index; all sizes in a table."""
    several = [overlap for overlap in record.reading.overlaps if len(overlap.draws) > 1]
    if not record.reading.overlaps:
        why = "No subset is on record. A run writes its own when it begins; imported runs have none."
        return does_not_apply(record.left_out[0].text if record.left_out else why)
    if not several:
        return does_not_apply(
            "Each size has one subset draw. Add draws to compare: subset = { seeds = [0, 1] } in "
            "experiments.toml."
        )
    measures = list(MEASURES)
    measure = measures[record.asked.view % len(measures)]
    place = (len(several) - 1 + record.asked.size) % len(several)
    chosen = several[place]
    classes = _of_classes(chosen, measure)
    told = (_largest(chosen, measure), _classes_told(chosen, classes, measure))
    return Answer(
        _told(chosen, measure),
        [*(Sentence(text) for text in told if text), *record.left_out],
        [
            _sizes(several, measure, record),
            _pairs(several, record),
            Table(classes, _CLASS_COLUMNS, record.metric, "Every class", is_detail=True),
        ],
        [
            _map(chosen, measure),
            _bars(chosen, classes, measure),
            *(_map(overlap, measure) for overlap in several if overlap is not chosen),
        ],
        f"{MEASURES[measure]}, %",
        rows=lambda: overlap_table(several),
        views=len(measures),
        sizes=len(several),
    )


def _told(overlap: DrawOverlap, measure: Measure) -> str:
    shared = float(overlap.matrix(measure)[overlap.pairs].mean())
    mean, low, high = (100 * value for value in overlap.expectation(measure))
    what = "images in common" if measure == "fraction" else "Jaccard index"
    draws = f"{len(overlap.draws)} draws of {overlap.train_size:,} images"
    chance = (
        f"independent draws would have {mean:.1f} % ({low:.1f} to {high:.1f})"
        if isfinite(mean)
        else "what independent draws would have is unknown: the images per class are not on record"
    )
    return f"{100 * shared:.1f} % {what} on average, {draws}; {chance}."


def _largest(overlap: DrawOverlap, measure: Measure) -> str:
    """Of all pairs; empty for one pair."""
    n_pairs = len(overlap.pairs[0])
    if n_pairs == 1:
        return ""
    observed, expected = largest_observed(overlap, measure), largest_expected(overlap, measure)
    return f"{100 * observed:.1f} % is the largest of {n_pairs} pairs{_by_chance(expected)}."


def _classes_told(overlap: DrawOverlap, classes: pl.DataFrame, measure: Measure) -> str:
    observed = largest_observed_of_classes(overlap, measure)
    if not isfinite(observed):
        return ""
    expected = largest_expected_of_classes(overlap, measure)
    text = f"{100 * observed:.1f} % is the largest within a class{_by_chance(expected)}."
    outside = classes.filter("is_outside")["class_name"].to_list()
    if not isfinite(expected):
        return text
    named = outside if len(outside) <= _MOST_NAMED else [*outside[:_MOST_NAMED], "..."]
    which = f": {listed(named)}" if outside else ""
    lie = "lies" if len(outside) == 1 else "lie"
    return (
        f"{len(outside)} of {plural(classes.height, 'class', 'classes')} {lie} outside the 95 % interval of "
        f"chance ({_BY_CHANCE * classes.height:.1f} expected){which}. {text}"
    )


def _by_chance(expected: float) -> str:
    return f"; by chance it would be about {100 * expected:.1f} %" if isfinite(expected) else ""


def _sizes(overlaps: Sequence[DrawOverlap], measure: Measure, record: Record) -> Table:
    columns = [
        SIZE,
        Column("draws", "draws"),
        *of_kind("share", shared="shared", **_BY_CHANCE_COLUMNS),
        *of_kind("share", largest="largest", largest_expected="by chance"),
    ]
    rows = [
        (
            *(overlap.train_size, len(overlap.draws), float(overlap.matrix(measure)[overlap.pairs].mean())),
            *overlap.expectation(measure),
            *(largest_observed(overlap, measure), largest_expected(overlap, measure)),
        )
        for overlap in overlaps
    ]
    names = [column.name for column in columns]
    return Table(pl.DataFrame(rows, names, orient="row"), columns, record.metric)


def _pairs(overlaps: Sequence[DrawOverlap], record: Record) -> Table:
    columns = [
        *of_kind("text", draw_a="draw", draw_b="and"),
        SIZE,
        Column("shared", "images shared"),
        *of_kind("share", fraction="of the smaller", jaccard="Jaccard index", **_BY_CHANCE_COLUMNS),
        Column("is_outside", "outside"),
    ]
    whole = overlap_table(overlaps).filter(pl.col("label").is_null())
    return Table(whole, columns, record.metric, "Every pair of draws", is_detail=True)


def _of_classes(overlap: DrawOverlap, measure: Measure) -> pl.DataFrame:
    """Rows of `PER_CLASS_OVERLAP` with the measure as `value`, `expected`, `low` and `high`."""
    prefix = "" if measure == "fraction" else "jaccard_"
    table = per_class_table([overlap]).drop_nulls("fraction").sort(measure, descending=True)
    ends = (pl.col(f"{prefix}{name}").alias(name) for name in ("expected", "low", "high"))
    return table.with_columns(pl.col(measure).alias("value"), *ends)


_CLASS_COLUMNS = (
    Column("class_name", "class", "text"),
    SIZE,
    *of_kind("share", value="shared", smallest="least of a pair", largest="most", **_BY_CHANCE_COLUMNS),
    Column("is_outside", "outside"),
)


def _map(overlap: DrawOverlap, measure: Measure) -> Map:
    """A draw with itself is left out, so that others differ."""
    shares = [
        [None if row == column else 100 * share for column, share in enumerate(values)]
        for row, values in enumerate(overlap.matrix(measure).tolist())
    ]
    title = f"{overlap.train_size:,} images"
    return Map(title, "", "draw", overlap.draws, overlap.draws, shares)


def _bars(overlap: DrawOverlap, classes: pl.DataFrame, measure: Measure) -> Bars:
    columns = classes.select("class_name", *(pl.col(n).fill_null(float("nan")) * 100 for n in _NUMBERS))
    bars = [Bar(name, value, "", expected, low, high) for name, value, expected, low, high in columns.rows()]
    axis = share_axis("shared" if measure == "fraction" else "Jaccard index")
    return Bars(f"{overlap.train_size:,} images, class by class", axis, bars)


_NUMBERS = ("value", "expected", "low", "high")
