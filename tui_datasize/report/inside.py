"""What a report shows of the inside of runs: surfaces, classes, and the overlap of their subset draws."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from tui_datasize.analysis.curve import Metric
from tui_datasize.analysis.overlap import DrawOverlap
from tui_datasize.analysis.overlap_extremes import (
    largest_expected,
    largest_expected_of_classes,
    largest_observed,
    largest_observed_of_classes,
)
from tui_datasize.analysis.overlap_tables import per_class_table
from tui_datasize.answers.answer import Axis, Band, Chart, Line, Map
from tui_datasize.answers.axes import SIZE_AXIS, share_axis
from tui_datasize.report.blocks import Block, Figure, Heading, Table, Words
from tui_datasize.report.evidence import Evidence

_CLASSES_DRAWN = 8
_CLASSES_TOLD = 60


def surface_blocks(evidence: Evidence) -> Iterator[Block]:
    """A map of each metric over train size and progress; of several variants, of the first metric alone."""
    drawn = [(metric, table) for metric, table in evidence.surfaces if table["evaluation"].n_unique() > 1]
    if len(evidence.analysis.curves) > 1:
        own = [one for one in drawn if one[0] == evidence.analysis.metric]
        drawn = (own or drawn)[:1]
    if drawn:
        yield Heading("Metrics over size and training")
    for metric, table in drawn:
        for group in table.partition_by("variant", maintain_order=True):
            caption = f"{_named(group)}{metric.title}{', %' if metric.is_share else ''}: means over runs."
            yield Figure(surface_map(group, metric), caption)


def surface_map(table: pl.DataFrame, metric: Metric) -> Map:
    """A map of the frame of `surface`, of one variant."""
    scale = 100.0 if metric.is_share else 1.0
    sizes = table["train_size"].unique().sort().to_list()
    shares = table["progress"].round(3).unique().sort().to_list()
    cells = {
        (row["train_size"], round(row["progress"], 3)): row["mean"] * scale
        for row in table.iter_rows(named=True)
    }
    return Map(
        f"{metric.title} over train size and progress",
        "train size",
        "share of the training done",
        [f"{size:,}" for size in sizes],
        [f"{100 * share:.0f} %" for share in shares],
        [[cells.get((size, share)) for share in shares] for size in sizes],
        digits=1 if metric.is_share else 3,
    )


def class_blocks(evidence: Evidence) -> Iterator[Block]:
    """Learning curves of the classes: the steepest and the flattest as a chart, all slopes as a table."""
    if evidence.classes.is_empty():
        return
    yield Heading("Classes")
    for table in evidence.classes.partition_by("variant", maintain_order=True):
        groups = table.partition_by("label", maintain_order=True)
        chosen = _steepest_and_flattest(groups)
        several = "classes that gain most and least from more data, " if len(chosen) < len(groups) else ""
        caption = f"{_named(table)}{several}means over runs, test split, last evaluation."
        yield Figure(class_chart(chosen), caption)
        yield Table(
            "Gain in accuracy for ten times the data, points",
            ("class", "gain", "SE", "accuracy at the largest size, %"),
            [_class_row(group) for group in groups[:_CLASSES_TOLD]],
        )


def class_chart(groups: Sequence[pl.DataFrame]) -> Chart:
    """The learning curve of each of some classes.

    Args:
        groups: Rows of schema `CLASS_CURVES`, of one class each.
    """
    lines = []
    for index, group in enumerate(groups):
        ordered = group.sort("train_size")
        values = [100 * value for value in ordered["mean"]]
        name = str(group["class_name"][0])
        lines.append(Line(name, ordered["train_size"].to_list(), values, index, "dot"))
    return Chart(
        "Accuracy of single classes against train size",
        SIZE_AXIS,
        share_axis("accuracy"),
        lines,
    )


def overlap_blocks(overlaps: Iterable[DrawOverlap]) -> Iterator[Block]:
    """Matrices of what the draws of each size share, and of the largest size class by class."""
    several = [overlap for overlap in overlaps if len(overlap.draws) > 1]
    if not several:
        return
    yield Heading("Overlap of subset draws")
    for overlap in several:
        yield Figure(overlap_map(overlap), f"{overlap.train_size:,} images: shared, % of the smaller draw.")
        yield Words(_pairs_words(overlap))
    yield Figure(
        class_overlap_chart(several[-1]),
        f"{several[-1].train_size:,} images: shared within each class, the highest first; the band is where "
        "the mean over pairs of independent draws lies in 95 of 100 cases.",
    )
    yield Words(_classes_words(several[-1]))


def overlap_map(overlap: DrawOverlap) -> Map:
    """The matrix of shared fractions; a draw with itself is left out, so that others differ."""
    shares = [
        [None if row == column else 100 * share for column, share in enumerate(values)]
        for row, values in enumerate(overlap.fraction.tolist())
    ]
    title = f"Overlap of draws of {overlap.train_size:,} images"
    return Map(title, "", "draw", overlap.draws, overlap.draws, shares)


def class_overlap_chart(overlap: DrawOverlap) -> Chart:
    """Shared fraction of each class, with what is expected and its interval."""
    table = per_class_table([overlap]).drop_nulls("fraction")
    places = list(range(1, table.height + 1))
    shares = {name: _percent(table[name]) for name in ("fraction", "expected", "low", "high")}
    inside = [None if out else y for out, y in zip(table["is_outside"], shares["fraction"], strict=True)]
    outside = [y if out else None for out, y in zip(table["is_outside"], shares["fraction"], strict=True)]
    lines = [
        Line("expected", places, shares["expected"], 1),
        Line("within", places, inside, 0, "dot", is_joined=False),
    ]
    if any(value is not None for value in outside):
        lines.append(Line("outside", places, outside, 1, "dot", is_joined=False))
    return Chart(
        "Overlap within each class",
        Axis("class, the highest overlap first"),
        share_axis("shared"),
        lines,
        [Band(places, shares["low"], shares["high"], 1, "95 % by chance")],
    )


def _pairs_words(overlap: DrawOverlap) -> str:
    mean, low, high = (100 * value for value in overlap.expected_fraction)
    if not math.isfinite(mean):
        return "What independent draws would share is unknown: the images per class are."
    words = f"Independent draws would share {mean:.1f} % ({low:.1f} to {high:.1f} %)."
    if len(overlap.draws) == 2:
        return words
    observed, expected = (100 * f(overlap, "fraction") for f in (largest_observed, largest_expected))
    return (
        f"{words} The largest of all pairs is {observed:.1f} %; by chance it would be about {expected:.1f} %."
    )


def _classes_words(overlap: DrawOverlap) -> str:
    table = per_class_table([overlap]).drop_nulls("fraction")
    observed = 100 * largest_observed_of_classes(overlap, "fraction")
    expected = 100 * largest_expected_of_classes(overlap, "fraction")
    words = f"The largest overlap of a pair within a class is {observed:.1f} %"
    if not math.isfinite(expected):
        return f"{words}."
    outside = table.filter("is_outside")["class_name"].to_list()
    named = f": {', '.join(outside[:_CLASSES_TOLD])}" if outside else ""
    return (
        f"{words}; by chance it would be about {expected:.1f} %. {len(outside)} of {table.height} classes "
        f"lie outside of the band, where 5 of 100 do by chance{named}."
    )


def _steepest_and_flattest(groups: Sequence[pl.DataFrame]) -> Sequence[pl.DataFrame]:
    half = _CLASSES_DRAWN // 2
    return groups if len(groups) <= _CLASSES_DRAWN else [*groups[:half], *groups[-half:]]


def _class_row(group: pl.DataFrame) -> list[str]:
    last = group.sort("train_size").row(-1, named=True)
    slope, error = (
        "" if value is None else f"{100 * value:+z.2f}" for value in (last["slope"], last["slope_stderr"])
    )
    return [str(last["class_name"]), slope, error.lstrip("+"), f"{100 * last['mean']:.2f}"]


def _percent(values: pl.Series) -> list[float | None]:
    return [None if value is None else 100 * value for value in values]


def _named(table: pl.DataFrame) -> str:
    return f"{table['variant'][0]}: " if table["variant"][0] else ""
