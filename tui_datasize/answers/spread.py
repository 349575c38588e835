"""How far the runs of each size are apart, and whether sizes differ by more than that."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import polars as pl

from tui_datasize.answers.answer import Answer, Box, Chart, Column, Sentence, Table, does_not_apply
from tui_datasize.answers.columns import (
    INTERVAL,
    PAIR_COLUMNS,
    SIZE_AND_RUNS,
    SIZE_AXIS,
    TEST_COLUMNS,
    basis_words,
    corrected_for,
    interval_words,
    metric_axis,
    of_kind,
)
from tui_datasize.answers.record import NO_RUN, Comparisons, Record, named, per_variant
from tui_datasize.metric import METRICS_OFFERED, Metric
from tui_datasize.stats.curve import points
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.group_tests import SIGNIFICANT
from tui_datasize.stats.groups import SEEDS_CHOOSE, SizeComparison
from tui_datasize.stats.groups_table import sizes_table
from tui_datasize.stats.pairwise import Difference
from tui_datasize.stats.spread import SpreadLaw, best_values, box_table
from tui_datasize.text import listed, plural

LEAST_SHARE = 0.01
"""Of the variance of a run, for its source to be named."""
WORTH_TELLING = 0.95
"""Runs that are worth this part of their number, or more, are as good as independent."""
_MOST_NAMED = 3
_MEANS_ALONE = "These are means over runs that were imported; this takes single runs."


@dataclass(frozen=True, slots=True)
class _View:
    """What of a run the boxes are made of."""

    metric: Metric
    score: str
    """Empty for a metric that is not of an evaluation."""
    is_best: bool = False
    """Its best evaluation on this split, not its last."""

    @property
    def about(self) -> str:
        which = "best" if self.is_best else "last"
        split = self.metric.name.partition("_")[0]
        return f"{which} value, {split} split" if self.score else "one value a run"

    @property
    def shown(self) -> Metric:
        return replace(self.metric, title=f"Best {self.metric.in_words}") if self.is_best else self.metric

    def of(self, runs: pl.DataFrame, record: Record) -> pl.DataFrame:
        """The runs with the values in view in the column of the metric."""
        if not self.is_best:
            return runs
        name = self.metric.name
        metrics, is_up = record.log.metrics(runs["run_id"]), self.metric.higher_is_better
        best = best_values(metrics, self.score, higher_is_better=is_up)
        values = best.select("run_id", best[f"best_{name}"].alias(name))
        return runs.drop(name).join(values, on="run_id", how="left", maintain_order="left")


def ask(record: Record) -> Answer:
    """Box plots over the runs of each size, each step from size to size, and tests between sizes.

    Views are the last and the best value on the split of the metric, then on the other one.
    """
    views = _views(record)
    if not views:
        return does_not_apply(NO_RUN)
    view = views[record.asked.view % len(views)]
    runs, name = view.of(record.runs, record), view.metric.name
    boxes = box_table(runs, name)
    if boxes.filter(pl.col("n_runs") > 1).is_empty():
        why = "No train size has two runs with this metric. Add seeds, or draws, to see their spread."
        if points(runs, name)["of_mean"].any():
            why = _MEANS_ALONE
        return does_not_apply(why, views=len(views))
    wanted = record.asked.variant
    found = [one for one in _comparisons(record, runs, view).sizes if wanted in (None, one.variant)]
    groups = sizes_table(found)
    pairs = groups.filter(asks="sizes")
    is_level = pl.col("first").is_null()
    return Answer.of_each(
        (named(variant, _told(rows, view.metric)) for variant, rows in per_variant(boxes)),
        [
            *(_alone(found[0]) if len(found) == 1 else _together(found)),
            *(Sentence(text, "aside") for text in corrected_for(pairs)),
            Sentence("Boxes are quartiles; whiskers reach at most 1.5 interquartile ranges.", "aside"),
        ],
        tables=[
            Table(_steps(boxes, found), _STEP_COLUMNS, view.metric),
            Table(groups.filter(is_level), TEST_COLUMNS, view.metric, "Tests over all sizes", is_detail=True),
            Table(pairs, PAIR_COLUMNS, view.metric, "Every pair of sizes", is_detail=True),
        ],
        figures=[_chart(variant, rows, view.shown) for variant, rows in per_variant(boxes)],
        about=view.about,
        rows=lambda: _comparisons(record, view.of(record.all_runs, record), view).table,
        views=len(views),
    )


def _comparisons(record: Record, runs: pl.DataFrame, view: _View) -> Comparisons:
    is_other = view.is_best or view.metric != record.metric
    return Comparisons(runs, view.metric.name) if is_other else record.comparisons


def _views(record: Record) -> Sequence[_View]:
    """Those that have runs, that of the metric itself first."""
    split, score = record.metric.split_and_score
    other = METRICS_OFFERED.get(f"{'train' if split == 'test' else 'test'}_{score}")
    metrics = [record.metric, *([other] if other else [])]
    measured = [metric for metric in metrics if points(record.runs, metric.name).height]
    kinds = (False, True) if score else (False,)
    return [_View(metric, score, is_best) for metric in measured for is_best in kinds]


def _told(boxes: pl.DataFrame, metric: Metric) -> str:
    repeated = boxes.filter(pl.col("n_runs") > 1).with_columns(sd=pl.col("values").list.std())
    if repeated.is_empty():
        return "One run a size: no spread to see."
    ends = [repeated.row(place, named=True) for place in (-1, 0)]
    (largest, of_largest), (smallest, of_smallest) = ((row["train_size"], row["sd"]) for row in ends)
    text = f"{metric.difference(of_largest)} (SD) between runs of {largest:,} images"
    other = f", {metric.difference(of_smallest)} at {smallest:,} images" if repeated.height > 1 else ""
    return f"{text}{other}."


_STEP_COLUMNS = (
    *SIZE_AND_RUNS,
    Column("median", "median", "value"),
    Column("sd", "SD", "spread"),
    *of_kind("difference", estimate="from the size before", **INTERVAL),
    Column("p_adjusted", "p, Holm", "p"),
)


def _steps(boxes: pl.DataFrame, found: Sequence[SizeComparison]) -> pl.DataFrame:
    steps = [
        (one.variant, int(pair.second.replace(",", "")), pair.value, pair.low, pair.high, pair.p_adjusted)
        for one in found
        for pair in one.neighbours
    ]
    numbers = ("estimate", "low", "high", "p_adjusted")
    schema = {"variant": pl.String, "train_size": pl.Int64, **dict.fromkeys(numbers, pl.Float64)}
    spread = boxes.with_columns(sd=pl.col("values").list.std())
    differences = pl.DataFrame(steps, schema=schema, orient="row")
    return spread.join(differences, on=["variant", "train_size"], how="left", maintain_order="left")


def _alone(found: SizeComparison) -> Iterator[str]:
    yield _level(found)
    yield from _clusters(found)
    if len(found.sizes) > 1:
        yield trend_of(found.spread)
    if isinstance(found.seed, FitFailure):
        if found.seed.reason == SEEDS_CHOOSE:
            yield f"Seeds are not compared over sizes: that {SEEDS_CHOOSE}."
        return
    if found.seed.p < SIGNIFICANT:
        yield f"A seed that is good at one size is good at others ({found.seed.brief}): compare equal seeds."
    else:
        yield f"No seed is consistently better ({found.seed.brief}): pairing by seed helps little."


def _level(found: SizeComparison) -> str:
    """How the metric changes with the size, which steps may be chance, and what the test sees."""
    if len(found.sizes) < 2:
        return "There is one train size. Run another to compare them."
    trend, metric = found.trend, found.metric
    if isinstance(trend, FitFailure):
        takes = "that takes two runs that differ at each of two sizes"
        return f"Sizes cannot be tested against each other: {takes}."
    doubt = ", not significant" if trend.p >= SIGNIFICANT else ""
    told = (
        f"{metric.change(trend.value)} with each doubling of the train size{doubt} "
        f"({interval_words(trend.low, trend.high, metric)}; {basis_words(trend)})."
    )
    same = [pair for pair in found.neighbours if pair.p_adjusted >= SIGNIFICANT]
    if same and (trend.p < SIGNIFICANT or any(pair.is_distinguishable for pair in found.neighbours)):
        steps = [f"{pair.first} to {pair.second}" for pair in same[:_MOST_NAMED]]
        steps += [f"{len(same) - _MOST_NAMED} more"] if len(same) > _MOST_NAMED else []
        told += f" Not significant after correction: {listed(steps)}."
    if not math.isnan(trend.detectable):
        told += f" 80 % power for a change of {metric.difference(trend.detectable)} a doubling."
    return told


def _clusters(found: SizeComparison) -> Iterator[str]:
    clusters = found.clusters
    if clusters is None:
        return
    repeated = [(n, mean.n_effective) for n, mean in zip(found.n_runs, clusters.means, strict=True) if n > 1]
    runs, worth = min(repeated, key=lambda both: both[1] / both[0])
    if worth >= WORTH_TELLING * runs:
        return
    shares = {"subset draw": clusters.draw_share, "training seed": clusters.seed_share}
    what = " or a ".join(name for name, share in shares.items() if share >= LEAST_SHARE)
    yield f"{runs} runs of a size count as {worth:.1f} independent ones: they share a {what}."


def trend_of(spread: SpreadLaw | FitFailure) -> str:
    """How the scatter changes with size, as a power of it."""
    if isinstance(spread, FitFailure):
        return (
            "How the scatter changes with size is unknown: that takes two runs that differ at each of two "
            "sizes."
        )
    law = f"n^{spread.exponent:z.2f} (95 % {spread.low:z.2f} to {spread.high:z.2f})"
    if spread.is_steady:
        return f"The scatter between runs does not visibly change with size: it goes as {law}."
    return f"The scatter between runs goes as {law}."


def _together(found: Sequence[SizeComparison]) -> Iterator[str]:
    """The same of several variants, counted; the tests of each are a table."""
    trends = [one.trend.p for one in found if isinstance(one.trend, Difference) and one.trend.p >= 0]
    if trends:
        n = sum(p < SIGNIFICANT for p in trends)
        what, variants = found[0].metric.title, plural(len(trends), "variant")
        yield f"{what} changes significantly with size in {n} of {variants}."
    laws = [one.spread for one in found if isinstance(one.spread, SpreadLaw)]
    if laws:
        n = sum(not law.is_steady for law in laws)
        yield f"The scatter differs between sizes significantly in {n} of {plural(len(laws), 'variant')}."


def _chart(variant: str, boxes: pl.DataFrame, metric: Metric) -> Chart:
    quartiles = pl.col("whisker_low", "q1", "median", "q3", "whisker_high") * metric.scale
    outliers = pl.col("outliers").list.eval(pl.element() * metric.scale)
    drawn = [Box(*row) for row in boxes.select("train_size", quartiles, outliers).iter_rows()]
    title = named(variant, f"spread of {metric.in_words}")
    return Chart(title, SIZE_AXIS, metric_axis(metric), boxes=drawn)
