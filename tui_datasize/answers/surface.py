"""Metrics over train size and training: means over runs at each share of the training done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from tui_datasize.answers.answer import Answer, Map, Sentence, does_not_apply
from tui_datasize.answers.grids import size_map
from tui_datasize.answers.record import NO_RUN, ONE_EVALUATION, Record, named, per_variant
from tui_datasize.metric import METRICS_OFFERED, Metric
from tui_datasize.stats.training_views import CURVE_KEY
from tui_datasize.stats.training_views import surface as surface_table

_SPLITS = ("test", "train")
_SCORES = ("accuracy", "f1_macro", "loss")
"""Those that the main study shows."""
_SHARE = "share of the training done"
_AXES = "Rows are train sizes, columns shares of the training done."


@dataclass(frozen=True)
class _Surface:
    metric: Metric
    table: pl.DataFrame
    is_gap: bool = False

    @property
    def title(self) -> str:
        unit = ", points" if self.is_gap else ", %"
        return f"{self.metric.title}{unit if self.metric.is_share else ''}"


def ask(record: Record) -> Answer:
    """All metrics of the evaluations; in further views one by one, and last training less test accuracy."""
    found = []
    for metric in (METRICS_OFFERED[name] for name in _names(record)):
        split, score = metric.split_and_score
        table = surface_table(record.runs, record.metrics, score, split)
        found += [_Surface(metric, table)] if table.height else []
    if not found:
        return does_not_apply(NO_RUN)
    if all(one.table["evaluation"].max() == 1 for one in found):
        return does_not_apply(ONE_EVALUATION)
    views = [*found, *_gap(found)]
    view = record.asked.view % len(views)
    first = views[view]
    # Of several variants one map each is enough.
    is_alone = view > 0 or first.table["variant"].n_unique() > 1
    return Answer.of_each(
        (named(variant, _told(rows, first)) for variant, rows in per_variant(first.table)),
        [Sentence(_AXES, "aside")],
        figures=[
            _map(variant, rows, one)
            for one in ([first] if is_alone else found)
            for variant, rows in per_variant(one.table)
        ],
        about="mean over runs",
        rows=lambda: first.table,
        views=len(views),
    )


def _names(record: Record) -> Sequence[str]:
    """The metric in question, then the others of its split, then the same of the other split."""
    split, score = record.metric.split_and_score
    scores = dict.fromkeys([*([score] if score else []), *_SCORES])
    splits = dict.fromkeys([*([split] if split else []), *_SPLITS])
    names = [f"{one}_{of}" for one in splits for of in scores]
    return [name for name in names if name in METRICS_OFFERED]


def _gap(found: Sequence[_Surface]) -> list[_Surface]:
    sides = {one.metric.name: one for one in found}
    train, test = sides.get("train_accuracy"), sides.get("test_accuracy")
    if train is None or test is None:
        return []
    key = [*CURVE_KEY, "evaluation"]
    both = train.table.join(test.table.select(*key, "mean"), on=key, suffix="_test", maintain_order="left")
    table = both.with_columns(mean=both["mean"] - both["mean_test"]).drop("mean_test", "sd")
    metric = Metric("gap", "Train - test accuracy", test.metric.is_share, higher_is_better=False)
    return [_Surface(metric, table, is_gap=True)] if table.height else []


def _told(rows: pl.DataFrame, surface: _Surface) -> str:
    metric = surface.metric
    ranked = rows.sort("mean", descending=metric.higher_is_better, maintain_order=True)
    best, worst = (ranked.row(place, named=True) for place in (0, -1))
    if surface.is_gap:
        return f"{metric.change(worst['mean'])} is the widest gap, at {_place(worst)}."
    title = metric.in_words
    return (
        f"{metric.text(best['mean'])} is the best mean {title}, at {_place(best)}; "
        f"{metric.text(worst['mean'])} the worst, at {_place(worst)}."
    )


def _place(row: dict[str, float]) -> str:
    return f"{row['train_size']:,} images after {100 * row['progress']:.0f} % of the training"


def _map(variant: str, rows: pl.DataFrame, surface: _Surface) -> Map:
    told = rows.with_columns(pl.col("progress").round(3).alias(_SHARE)).sort(_SHARE)
    title = named(variant, surface.title)
    return size_map(title, told, _SHARE, surface.metric, write=lambda share: f"{100 * share:.0f} %")
