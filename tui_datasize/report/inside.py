"""What a report shows of the inside of runs: surfaces, classes, and the overlap of their subset draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from tui_datasize.analysis.curve import Metric
from tui_datasize.answers.answer import Chart, Line, Map
from tui_datasize.answers.axes import SIZE_AXIS, share_axis
from tui_datasize.report.blocks import Block, Figure, Heading, Table
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


def _steepest_and_flattest(groups: Sequence[pl.DataFrame]) -> Sequence[pl.DataFrame]:
    half = _CLASSES_DRAWN // 2
    return groups if len(groups) <= _CLASSES_DRAWN else [*groups[:half], *groups[-half:]]


def _class_row(group: pl.DataFrame) -> list[str]:
    last = group.sort("train_size").row(-1, named=True)
    slope, error = (
        "" if value is None else f"{100 * value:+z.2f}" for value in (last["slope"], last["slope_stderr"])
    )
    return [str(last["class_name"]), slope, error.lstrip("+"), f"{100 * last['mean']:.2f}"]


def _named(table: pl.DataFrame) -> str:
    return f"{table['variant'][0]}: " if table["variant"][0] else ""
