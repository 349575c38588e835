"""What to read first: how good now, how much better with twice the data, how many images for a target."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from tui_datasize.answers import ahead, prices
from tui_datasize.answers.answer import Answer, Chart, Line, Sentence, Table, does_not_apply
from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.answers.columns import INTERVAL, SIZE_AXIS, metric_axis, of_kind
from tui_datasize.answers.grids import mean_table, size_label, size_table
from tui_datasize.answers.learning_curve import chart
from tui_datasize.answers.record import Record
from tui_datasize.answers.search import so_far
from tui_datasize.answers.starts import is_all_there_is
from tui_datasize.answers.variants import led_by_images, with_clear
from tui_datasize.metric import Metric
from tui_datasize.runlog.schema import Schema, schema
from tui_datasize.stats.curve import with_interval
from tui_datasize.stats.extrapolate import Outlook
from tui_datasize.stats.search import is_alone
from tui_datasize.stats.summary import CurveAnalysis
from tui_datasize.stats.training_views import surface
from tui_datasize.stats.transfer_conditions import varies_alone
from tui_datasize.text import plural

ANSWER: Schema = schema(
    (pl.String, "experiment", "variant", "metric"),
    (pl.Int64, "train_size", "n_runs"),
    (pl.Float64, "mean", "low", "high"),
    (pl.Int64, "next_size"),
    (pl.Float64, "gain", "gain_low", "gain_high", "target"),
    (pl.Int64, "images_needed", "images_low", "images_high"),
    (pl.String, "method"),
    (pl.Float64, "odds"),
    (pl.Int64, "images_assured"),
)
"""A variant a row: the mean at its largest train size with its 95 % interval, the change that the next
doubling brings with its 90 % band, and the images that the target takes with their 80 % interval. `method` is
"measured" where two sizes that were run lie around it, "forecast" where it is foreseen, "beyond" where
the size is unknown and above `images_low`; null without a target. `odds` is how sure the bounds are, null
where they were measured; with `images_assured` 80 % of single trainings reach the target."""

_COLUMNS = (
    *of_kind("count", train_size="train size", n_runs="runs"),
    *of_kind("value", mean="mean", **INTERVAL),
    *of_kind("difference", gain="next doubling", gain_low="90 % from", gain_high="to"),
    *of_kind("count", images_needed="images for target", images_low="at least", images_high="at most"),
    *of_kind("share", odds="sure"),
)
_FEW_SIZES = 3
"""Up to so many sizes, how long runs trained is of as much interest as how much data they had."""
_SHARES = (0.1, 0.2, 0.5, 1.0)
"""Of the training, at which variants are compared."""
_FIRST_VARIANTS = 4
"""That have sentences of their own; the table has all."""


def ask(record: Record) -> Answer:
    """Now, the next doubling and the target, of the variant that is best now where there are several."""
    if is_all_there_is(record.all_runs):
        return QUESTIONS["starts"].ask(record)
    if (led := _led_by(record)) and (found := QUESTIONS[led].ask(record)).applies:
        return found
    is_awaited = led == "search" and record.metric.split_and_score[0] == "test"
    awaited = [Sentence(so_far(record))] if is_awaited else []
    curves = record.curves
    if not curves:
        return does_not_apply(
            "No run of this experiment has succeeded with this metric yet. Queue it or choose another metric."
        )
    best, *rest = sorted(curves, key=lambda curve: _rank(record, curve, largest_shared(curves)))
    table = answer_table(curves)
    if rest:
        told, sentences = _compared(record, best, rest)
        headline, *others = led_by_images(record, best.variant, rest[0].variant, told)
        sentences[:0] = map(Sentence, others)
        shown = [*_means(record), Table(table, _COLUMNS, record.metric, "What more data brings")]
    else:
        headline, sentences, shown = ahead.now(best), list(_ahead(record, best)), []
    return Answer(
        headline,
        [*awaited, *sentences, *record.without_result, *ahead.doubts(best)],
        shown,
        [*([compared_chart(record.metric, curves)] if rest else []), chart(best)],
        record.counted,
        rows=lambda: table,
    )


def _led_by(record: Record) -> str:
    """The question that an experiment was made for, where it was made for one alone."""
    if record.asked.variant is None and is_alone(record.runs):
        return "search"
    has_conditions = QUESTIONS["conditions"].is_offered(record.runs)
    return "conditions" if has_conditions and varies_alone(record.runs) else ""


def _means(record: Record) -> Iterator[Table]:
    """Variants by train sizes; of few sizes the variants by how long they trained, too."""
    base = pl.col("variant").replace("", "base")
    means = with_clear(pl.concat([curve.curve for curve in record.curves]), record).with_columns(base)
    yield size_table(means, "variant", record.metric)
    split, score = record.metric.split_and_score
    if not score or means["train_size"].n_unique() > _FEW_SIZES:
        return
    size = means["train_size"].to_numpy().max()
    table = surface(record.runs.filter(train_size=size), record.metrics, score, split)
    last = int(table["evaluation"].to_numpy().max()) if table.height else 0
    shown = sorted({max(1, round(share * last)) for share in _SHARES})
    if len(shown) > 1:
        lengths = table.filter(pl.col("evaluation").is_in(shown)).sort("evaluation", maintain_order=True)
        title = f"By updates at {size:,} images"
        one_draw = record.runs.filter(train_size=size)["subset_seed"].n_unique() == 1
        by_length = _by_length(lengths, record.metric, with_intervals=one_draw)
        yield mean_table(by_length, "variant", "updates", record.metric, title)


def _by_length(lengths: pl.DataFrame, metric: Metric, *, with_intervals: bool) -> pl.DataFrame:
    """Means by length; an interval would take runs that share a draw for independent."""
    n_runs = pl.col("n_runs")
    named = lengths.with_columns(
        pl.col("variant").replace("", "base"),
        place=size_label(pl.col("update").mean().over("evaluation").round().cast(pl.Int64)),
        se=pl.when((pl.col("sd") > 0) & with_intervals).then(pl.col("sd") / n_runs.sqrt()),
        df=n_runs - 1,
    )
    return with_interval(named, metric.name)


def compared_chart(metric: Metric, curves: tuple[CurveAnalysis, ...]) -> Chart:
    """The means of several variants in one chart."""
    lines = [
        Line.of(curve.curve, "train_size", "mean", metric.scale, curve.variant or "base", index)
        for index, curve in enumerate(curves)
    ]
    return Chart(f"{metric.in_words} against train size", SIZE_AXIS, metric_axis(metric), lines)


def answer_table(curves: tuple[CurveAnalysis, ...]) -> pl.DataFrame:
    """The answer of each curve, schema `ANSWER`."""
    return pl.DataFrame([_row(curve) for curve in curves], schema=dict(ANSWER))


def largest_shared(curves: Sequence[CurveAnalysis]) -> int | None:
    """The largest train size that all variants have; None where they share none."""
    return max(set.intersection(*(set(curve.curve["train_size"]) for curve in curves)), default=None)


def _rank(record: Record, curve: CurveAnalysis, size: int | None) -> tuple[int, float]:
    row = ahead.row_at(curve, size)
    return -row["train_size"], -row["mean"] if record.metric.higher_is_better else row["mean"]


def _ahead(record: Record, curve: CurveAnalysis) -> Iterator[Sentence]:
    yield Sentence(ahead.next_doubling(curve))
    if text := ahead.target(curve):
        yield Sentence(text, "good")
    for price in (prices.of_doubling, prices.of_target):
        if text := price(record, curve):
            yield Sentence(text)
    if text := ahead.tried(curve):
        yield Sentence(text, "aside")
    if text := ahead.small_gains(curve):
        yield Sentence(text, "aside")


def _rank_told(record: Record, best: CurveAnalysis, rest: Sequence[CurveAnalysis]) -> str:
    over_all = record.comparisons.over_all
    pairs = {curve.variant or "base": over_all(best.variant, curve.variant) for curve in rest}
    for what, names in (
        (
            f" and {{}} cannot be told apart; {best.variant or 'the base'} at ",
            [n for n, pair in pairs.items() if pair and not math.isnan(pair.p)],
        ),
        (
            f" has the best mean of {len(rest) + 1} variants, not tested against {{}}: ",
            [n for n, pair in pairs.items() if not pair or math.isnan(pair.p)],
        ),
    ):
        near = [n for n in names if not (found := pairs[n]) or not found.is_distinguishable]
        if near:
            return what.format(near[0] if len(near) == 1 else plural(len(near), "other"))
    return f" has the best mean of {len(rest) + 1} variants: "


def _compared(
    record: Record, best: CurveAnalysis, rest: Sequence[CurveAnalysis]
) -> tuple[str, list[Sentence]]:
    """The best variant first, the others as far as there is room for sentences."""
    variants = [best, *rest]
    name, size = best.variant or "The base", largest_shared(variants)
    pairs = [record.comparisons.over_all(best.variant, curve.variant) for curve in rest]
    if all(pair is not None and pair.is_same for pair in pairs):
        headline = f"All {len(variants)} variants are the same: {ahead.now(best, size)}"
    else:
        headline = f"{name}{_rank_told(record, best, rest)}{ahead.now(best, size)}"
    told = [Sentence(f"{name}: {ahead.next_doubling(best)}")]
    further = [curve for curve in variants if size and curve.curve["train_size"][-1] > size]
    told += [Sentence(f"{curve.variant or 'base'} alone: {ahead.now(curve)}") for curve in further]
    told += [
        Sentence(f"{curve.variant or 'base'}: {aim}", "good")
        for curve in variants[:_FIRST_VARIANTS]
        if (aim := ahead.target(curve))
    ]
    return headline, told


def _row(curve: CurveAnalysis) -> Mapping[str, object]:
    row, outlook, needed = curve.curve.row(-1, named=True), curve.outlook, curve.needed
    doubling = outlook.doubling if isinstance(outlook, Outlook) else None
    method = None
    if needed is not None:
        method = "measured" if needed.is_measured else "forecast" if needed.train_size else "beyond"
    return {
        **{name: row[name] for name in ("experiment", "variant", "metric", "train_size", "n_runs")},
        **{name: row[name] for name in ("mean", "low", "high")},
        "next_size": 2 * row["train_size"],
        "gain": doubling and doubling.gain,
        "gain_low": doubling and doubling.low,
        "gain_high": doubling and doubling.high,
        "target": needed and needed.target,
        "images_needed": needed and needed.train_size,
        "images_low": needed and _least(curve),
        "images_high": needed and (needed.above.train_size if needed.above else needed.at_most),
        "odds": None if needed is None or needed.is_measured else needed.sure or None,
        "images_assured": needed and needed.assured,
        "method": method,
    }


def _least(curve: CurveAnalysis) -> int | None:
    needed = curve.needed
    if needed is None:
        return None
    if needed.above is not None:
        return needed.below.train_size if needed.below else None
    return needed.at_least or needed.largest
