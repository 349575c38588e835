"""Transfer conditions: what taking layers over from another run is worth, against training from scratch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from tui_datasize.answers.answer import (
    Answer,
    Axis,
    Chart,
    Column,
    Figure,
    Line,
    Sentence,
    Table,
    does_not_apply,
)
from tui_datasize.answers.columns import INTERVAL, SIZE_AND_RUNS, interval_words, metric_axis, of_kind
from tui_datasize.answers.grids import size_map, size_table
from tui_datasize.answers.record import NO_RUN, Record, numbers
from tui_datasize.metric import Metric
from tui_datasize.stats import transfer_conditions
from tui_datasize.stats.group_tests import SIGNIFICANT, p_words
from tui_datasize.stats.transfer_conditions import BASE, BOTH, Crossing
from tui_datasize.text import listed, plural

_VIEWS = 2
"""A line per target size, and a map of sizes and conditions."""
_NO_TRANSFER = (
    "No run of this experiment starts from the weights of another. "
    'transfer = { from = "...", layers = 3, freeze = true } in experiments.toml makes one.'
)
_NO_BASE = "A gain needs runs of the same train size without transfer (base)."
_CONDITIONS = "FTall: all transferred layers go on training. S3T: the first 3 of them stay as they were."


def is_offered(runs: pl.DataFrame) -> bool:
    """Whether any run starts from the weights of another."""
    return bool((runs["transfer"] != BASE).any())


def ask(record: Record) -> Answer:
    """The metric per condition and target size, its gain over base, and up to which size freezing helps."""
    runs, metric = record.all_runs, record.metric
    if not is_offered(runs):
        return does_not_apply(_NO_TRANSFER)
    table = transfer_conditions.transfer_table(runs, metric.name)
    if table.is_empty():
        return does_not_apply(NO_RUN)
    # The mean over both directions stands last, where there is one.
    direction = str(table["classes"].unique(maintain_order=True)[-1])
    shown, per_half = table.filter(classes=direction), _classes_in(record, direction)
    found = [crossing for crossing in transfer_conditions.crossings(table) if crossing.classes == direction]
    ordered, title = transfer_conditions.layer_order(shown), f"{metric.heading} per condition and size"
    figures: Sequence[Figure] = (_chart(ordered, metric), size_map(title, ordered, "condition", metric))
    whose = direction if direction == BOTH else f"classes {direction}"
    headline, *others = _told(shown, metric)
    return Answer(
        headline,
        [
            *map(Sentence, others),
            *(Sentence(_crossing_told(crossing, per_half)) for crossing in found),
            *([] if shown["gain"].is_not_null().any() else [Sentence(_NO_BASE)]),
            Sentence(_CONDITIONS, "aside"),
        ],
        [
            size_table(shown, "condition", metric, whose),
            Table(table, _COLUMNS, metric, "All conditions", is_detail=True),
        ],
        figures[:: -1 if record.asked.view % _VIEWS else 1],
        whose,
        rows=lambda: table,
        views=_VIEWS,
    )


_COLUMNS = (
    *of_kind("text", classes="classes", condition="condition"),
    *SIZE_AND_RUNS,
    *of_kind("value", mean="mean", **INTERVAL),
    Column("gain", "over base", "difference"),
    Column("gain_se", "SE of it", "spread"),
    Column("p", "p, Holm", "p"),
)


def _classes_in(record: Record, direction: str) -> int | None:
    """How many classes a target set has; None where that is unknown, or differs between the directions."""
    runs = record.all_runs.filter(state="succeeded")
    own = runs.filter(classes=direction)
    # The mean over both directions is no direction of any run.
    examples = (runs if own.is_empty() else own).unique("classes", keep="first", maintain_order=True)
    counts = record.log.datasets(examples["run_id"]).group_by("run_id").len()["len"].unique()
    return int(counts[0]) if len(counts) == 1 else None


def _told(shown: pl.DataFrame, metric: Metric) -> Iterator[str]:
    """What is beyond chance first, and what gains most though it may be chance."""
    known = shown.drop_nulls("gain").sort("gain", descending=True, maintain_order=True)
    if known.is_empty():
        best = shown.sort("mean", descending=metric.higher_is_better, maintain_order=True).row(0, named=True)
        value = metric.text(best["mean"])
        yield f"{value} is the best mean: {best['condition']} at {best['train_size']:,} images."
        return
    clear = known.filter(pl.col("p") < SIGNIFICANT)
    gaining, losing = clear.filter(pl.col("gain") > 0), clear.filter(pl.col("gain") < 0)
    at_best = _at_best((known if gaining.is_empty() else gaining).row(0, named=True), metric)
    worse = [] if losing.is_empty() else [_worse(losing, metric)]
    yield from [*worse, at_best] if gaining.is_empty() else [at_best, *worse]


def _at_best(best: dict[str, Any], metric: Metric) -> str:
    place = f"{best['condition']} at {best['train_size']:,} images"
    p, sure = best["p"], ""
    if best["gain_low"] is not None:
        tested = "too few to test" if p is None else f"{p_words(p)} after correction"
        sure = f" ({interval_words(best['gain_low'], best['gain_high'], metric)}; {tested})"
    if best["gain"] <= 0:
        return f"{metric.change(best['gain'])} over training from scratch at best, by {place}: none beats it."
    gain = f"{metric.difference(best['gain'])}{sure}"
    if p is not None and p >= SIGNIFICANT:
        return f"None beats training from scratch beyond chance: at best {place}, by {gain}."
    return f"{gain} better than training from scratch: {place} gains most{'' if sure else ', not tested'}."


def _worse(losing: pl.DataFrame, metric: Metric) -> str:
    lost, ps = [-gain for gain in losing["gain"]], losing["p"].to_list()
    least, most = metric.difference(min(lost)), metric.difference(max(lost))
    span = most if len(lost) == 1 else f"{least.removesuffix(' points')} to {most}"
    ordered = losing.sort("condition", "train_size").group_by("condition", maintain_order=True)
    who = ", ".join(
        f"{name} at {listed([f'{size:,}' for size in of_name['train_size']])} images"
        for (name,), of_name in ordered
    )
    sure = f"{p_words(max(ps))}{' at most,' * (len(ps) > 1)} after correction"
    return f"{span} worse than training from scratch: {who} ({sure})."


def _crossing_told(crossing: Crossing, classes: int | None) -> str:
    subject = f"Freezing {plural(crossing.frozen_layers, 'layer')}"
    if not crossing.helps_at:
        return f"{subject} does not beat training from scratch at any size that was run."
    if crossing.until is None:
        largest = _size(crossing.helps_at[-1], classes)
        return f"{subject} beats training from scratch up to the largest size, {largest}."
    told = f"{subject} beats training from scratch until about {_size(crossing.until, classes)}"
    return f"{told}." if crossing.is_steady else f"{told}, but not at every smaller size."


def _size(train_size: float, classes: int | None) -> str:
    return f"{train_size / classes:,.0f} images per class" if classes else f"{train_size:,.0f} images"


def _chart(table: pl.DataFrame, metric: Metric) -> Chart:
    names = table["condition"].unique(maintain_order=True).to_list()
    groups = table.sort("train_size", maintain_order=True).partition_by("train_size", maintain_order=True)
    lines = [one for ink, group in enumerate(groups) for one in _of_size(group, names, metric, ink)]
    x = Axis("transfer condition", names=names)
    return Chart("a line per target size", x, metric_axis(metric), lines)


def _of_size(group: pl.DataFrame, names: Sequence[str], metric: Metric, ink: int) -> Iterator[Line]:
    """A line through the numbers of frozen layers, and single marks for what has none."""
    is_frozen = group["frozen_layers"].is_not_null()
    lines, marks = group.filter(is_frozen), group.filter(~is_frozen)
    label = f"n {group['train_size'][0]:,}"
    for part, name, is_joined in ((marks, "" if lines.height else label, False), (lines, label, True)):
        places = [float(names.index(condition)) for condition in part["condition"]]
        if places:
            yield Line(name, places, numbers(part["mean"], metric.scale), ink, is_joined=is_joined)
