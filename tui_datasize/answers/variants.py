"""Variants against each other at equal train sizes, and over all sizes that they share."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl

from tui_datasize.answers.answer import Answer, Chart, Column, Line, Sentence, Table, does_not_apply
from tui_datasize.answers.columns import (
    INTERVAL,
    PAIR_COLUMNS,
    SIZE,
    SIZE_AND_RUNS,
    SIZE_AXIS,
    basis_words,
    corrected_for,
    interval_words,
    metric_axis,
    of_kind,
)
from tui_datasize.answers.grids import size_table
from tui_datasize.answers.record import NO_RUN, Record, per_variant
from tui_datasize.metric import Metric
from tui_datasize.runlog.schema import schema
from tui_datasize.stats.curve import learning_curve, points
from tui_datasize.stats.effective import Saved
from tui_datasize.stats.extrapolate import DEFAULT_DELTA
from tui_datasize.stats.group_tests import SIGNIFICANT, p_words
from tui_datasize.stats.groups import VariantComparison
from tui_datasize.stats.laws import Loss
from tui_datasize.stats.pairwise import Difference, units_needed
from tui_datasize.stats.single_runs import images_needed, mcnemar, right_answers, share_apart
from tui_datasize.stats.view import about
from tui_datasize.text import plural

_MOST_DRAWN = 12
BASE = "the base variant"
_SAVED = schema(
    (pl.String, "other", "images"), (pl.Int64, "train_size"), (pl.Float64, "value", "ratio", "low", "high")
)


def is_offered(runs: pl.DataFrame) -> bool:
    """Whether there are several variants."""
    return runs["variant"].n_unique() > 1


def ask(record: Record) -> Answer:
    """The best variant and how far it is ahead; means of all variants and sizes; every pair as a detail."""
    metric = record.metric
    means = with_clear(learning_curve(record.all_runs, metric.name), record)
    curve = means.with_columns(pl.col("variant").replace("", BASE))
    if curve.is_empty():
        return does_not_apply(NO_RUN)
    if curve["variant"].n_unique() < 2:
        return does_not_apply("There is one variant. Sweep an option or several models to compare them.")
    shared = curve.filter(pl.col("variant").n_unique().over("train_size") > 1)
    if shared.is_empty():
        return does_not_apply("No two variants share a train size. Run them at equal sizes.")
    found = record.comparisons.variants
    pairs = found[-1].pairs
    rows = record.comparisons.table.filter(asks="variants")
    best, other = _first_two(pairs, shared, metric)
    told = _tested(found, metric) if pairs else _untested(shared, metric)
    headline, *others = led_by_images(record, best, other, told)
    return Answer(
        headline,
        [
            *(Sentence(text) for text in (*others, *_counted(pairs), *_power(pairs, record))),
            *(Sentence(text) for text in single_runs_told(record, best, other)),
            *(Sentence(text, "aside") for text in corrected_for(rows.filter(pl.col("train_size").is_null()))),
        ],
        [size_table(curve, "variant", metric), _saved_table(record, best), *_details(curve, rows, metric)],
        [_chart(curve, metric)],
        "means over runs",
        rows=lambda: rows,
    )


def led_by_images(record: Record, best: str, other: str, told: str) -> list[str]:
    """What is told of two variants, and before it how many images the best one saves; after it by chance.

    Nothing of images where only a bound is known and the two do not differ significantly.
    """
    compared, target = record.comparisons.over_all(other, best), record.asked.target
    if compared is not None and compared.is_same:
        return [told]
    is_tested = compared is not None and not math.isnan(compared.p)
    is_apart = compared is not None and compared.is_distinguishable
    found, texts = record.comparisons.saved(best, other, target), list[str]()
    decides = found.at_target or found.overall
    if decides is None or decides.ratio < 1:
        best, other = other, best
        found = record.comparisons.saved(best, other, target)
    names = best or BASE, other or BASE
    if target is not None and found.at_target and (is_apart or not found.at_target.is_bound):
        saved = _as_measured(record, best, other, found.at_target)
        texts.append(f"{record.metric.exact(target)}: {_needs(names, saved)}")
    if found.overall and (not found.overall.is_bound or (is_apart and not _is_one(found.overall))):
        subject = "over all values" if texts else f"{names[0]} needs"
        texts.append(f"{subject} {_times(found.overall, '' if texts else f' images than {names[1]}')}")
    if not texts:
        return [told]
    doubt = "" if is_apart else ", not significant" if is_tested else ", untested"
    images = f"{'; '.join(texts)}{doubt}."
    return [told, images] if is_tested and not is_apart else [images, told]


def _as_measured(record: Record, best: str, other: str, saved: Saved) -> Saved:
    """With the images that are said of a target where two sizes measured it."""
    said = {
        one.variant: float(one.needed.train_size)
        for one in record.all_curves
        if one.needed and one.needed.below and one.needed.above and one.needed.train_size
    }
    images, others = said.get(best, saved.images), said.get(other, saved.other_images)
    return replace(saved, images=images, other_images=others)


def _needs(names: tuple[str, str], saved: Saved) -> str:
    """Such as `cnn3 about 170 images, mlp more than 960: at least 5.6 times fewer`."""
    first = f"at most {saved.images:,.0f}" if saved.is_at_most else f"about {about(saved.images)}"
    missed = f"more than {saved.other_images:,.0f}"
    second = missed if saved.is_more_than else f"about {about(saved.other_images)}"
    return f"{names[0]} {first} images, {names[1]} {second}: {_times(saved)}"


def _times(saved: Saved, than: str = "") -> str:
    """Such as `2.5 times fewer images than mlp (95 % 2.3 to 2.7)`, or `about as many images as mlp`."""
    least, is_fewer = "at least " if saved.is_bound else "", saved.ratio >= 1
    ratio = saved.ratio if is_fewer else 1 / saved.ratio
    both = ratio / saved.spread, ratio * saved.spread
    low, high = (f"{end:.1f}" if end > 1 else f"{end:.2g}" for end in both)
    ends = "" if math.isnan(saved.spread) else f" (95 % {low} to {high})"
    if not saved.is_bound and _is_one(saved):
        return f"about as many{than.replace(' than ', ' as ')}{ends.replace(')', ' times fewer)')}"
    return f"{least}{ratio:.1f} times {'fewer' if is_fewer else 'more'}{than}{ends}"


def _is_one(saved: Saved) -> bool:
    """Whether a ratio is told as 1.0, which as a bound says nothing."""
    return f"{max(saved.ratio, 1 / saved.ratio):.1f}" == "1.0"


def _saved_table(record: Record, best: str) -> Table:
    """What the best variant needs for what each of the others reaches at each of its sizes, and overall."""
    rows = []
    for name in [name for name in record.comparisons.curves if name != best]:
        found = record.comparisons.saved(best, name, None)
        for saved in filter(None, (*found.at_sizes, found.overall)):
            low, high = saved.interval
            row = {"other": name or BASE, "ratio": saved.ratio, "low": low, "high": high}
            if saved is found.overall:
                rows.append(row | {"images": "overall, at least" if saved.is_bound else "overall"})
            elif math.isfinite(saved.images):
                images = f"{'at most ' if saved.is_bound else ''}{about(saved.images)}"
                rows.append(row | {"images": images, "train_size": saved.other_images, "value": saved.value})
    columns = [
        *of_kind("text", other="variant", images=f"images of {best or BASE}"),
        SIZE,
        Column("value", "reaches", "value"),
        *of_kind("number", ratio="times fewer", **INTERVAL),
    ]
    frame = pl.DataFrame(rows, schema=dict(_SAVED), strict=False)
    return Table(frame, columns, record.metric, f"Images that {best or BASE} saves", is_detail=True)


def with_clear(means: pl.DataFrame, record: Record) -> pl.DataFrame:
    """Means with `is_clear`: whether a variant differs significantly from all others at its size.

    `means` has `train_size` and `variant`.
    """
    clear = [
        {"train_size": at.train_size, "variant": name}
        for at in record.comparisons.variants
        for name in at.variants
        if all(
            any({one.first, one.second} == {name, other} and one.is_distinguishable for one in at.pairs)
            for other in at.variants
            if other != name
        )
    ]
    schema = {"train_size": pl.Int64, "variant": pl.String}
    told = pl.DataFrame(clear, schema=schema).with_columns(is_clear=True)
    marked = means.join(told, on=list(schema), how="left", maintain_order="left")
    return marked.with_columns(pl.col("is_clear").fill_null(False))


def _tested(found: Sequence[VariantComparison], metric: Metric) -> str:
    """The best variant against the next one, over the sizes that both have."""
    pairs = found[-1].pairs
    pair = _leading(pairs, metric)
    names = {pair.first, pair.second}
    over = plural(sum(names <= set(at.variants) for at in found[:-1]), "train size")
    best, other = _in_order(pair, metric)
    first, second = best or BASE, other or BASE
    if pair.is_same:
        return f"{first} and {second} are the same: equal values in every run that both have, over {over}."
    low, high = sorted(end if pair.value > 0 else -end for end in (pair.low, pair.high))
    basis = basis_words(pair, of_several=sum(not math.isnan(one.p) for one in pairs) > 1)
    rest = f"({interval_words(low, high, metric)}; {basis})."
    apart = _apart(abs(pair.value), metric)
    if math.isnan(pair.p) and low > 0:
        return f"{first} is {apart} ahead of {second} over {over}, untested {rest}"
    if not pair.is_distinguishable:
        return f"{first} and {second} cannot be told apart over {over}: {apart} for {first} {rest}"
    n_variants = len(found[-1].variants)
    of_all = f", the best of {n_variants}," if n_variants > 2 else ""
    return f"{first}{of_all} is {apart} better than {second} over {over} {rest}"


def _apart(value: float, metric: Metric) -> str:
    """How far two means are apart, which is never 0.00."""
    least = 0.01 if metric.name.endswith("_s") else 0.0001
    return metric.difference(value) if value >= least / 2 else f"less than {metric.difference(least)}"


def _in_order(pair: Difference, metric: Metric) -> tuple[str, str]:
    is_second = (pair.value > 0) == metric.higher_is_better
    return (pair.second, pair.first) if is_second else (pair.first, pair.second)


def _first_two(pairs: Sequence[Difference], shared: pl.DataFrame, metric: Metric) -> tuple[str, str]:
    if pairs:
        return _in_order(_leading(pairs, metric), metric)
    size = int(shared["train_size"].to_numpy().max())
    ranked = shared.filter(train_size=size).sort("mean", descending=metric.higher_is_better)
    best, other, *_ = ranked["variant"].replace(BASE, "").to_list()
    return best, other


def _leading(pairs: Sequence[Difference], metric: Metric) -> Difference:
    """The variant that is ahead of the others on average, with the best that it was compared with."""
    ahead: dict[str, list[float]] = {}
    for pair in pairs:
        better = pair.value if metric.higher_is_better else -pair.value
        ahead.setdefault(pair.second, []).append(better)
        ahead.setdefault(pair.first, []).append(-better)
    ranked = sorted(ahead, key=lambda name: -sum(ahead[name]) / len(ahead[name]))
    of_best = {
        pair.second if pair.first == ranked[0] else pair.first: pair
        for pair in pairs
        if ranked[0] in (pair.first, pair.second)
    }
    return next(of_best[name] for name in ranked if name in of_best)


def _untested(shared: pl.DataFrame, metric: Metric) -> str:
    """The two best means at the largest shared size, where no test can be made."""
    size = int(shared["train_size"].to_numpy().max())
    here = shared.filter(train_size=size).sort("mean", descending=metric.higher_is_better)
    best, following = here.row(0, named=True), here.row(1, named=True)
    if best["mean"] == following["mean"]:
        return f"{best['variant']} and {following['variant']} are the same at {size:,} images: equal means."
    apart = _apart(abs(best["mean"] - following["mean"]), metric)
    return (
        f"{best['variant']} is {apart} ahead of {following['variant']} at {size:,} images, untested: a test "
        "takes two runs of each that differ."
    )


def single_runs_told(record: Record, best: str, other: str) -> Iterator[str]:
    """Two trainings of one size image by image, where the two variants have one run each."""
    if record.metric.name != "test_accuracy":
        return
    runs = single_runs(record, best, other)
    if runs.is_empty():
        return
    right = right_answers(record.log.table("predictions", runs["run_id"]))
    found = mcnemar(*(right.get(one) for one in runs["run_id"]))
    delta = _delta(record)
    worth = record.metric.exact_difference(delta)
    seen = f"test images give 80 % power for a difference of {worth} between two trainings"
    if found is None:
        if needed := images_needed(share_apart(*runs[record.metric.name]), delta):
            yield f"{needed:,} {seen}; fewer do where both err on the same images."
        return
    ends = interval_words(found.low, found.high, record.metric)
    does = "differ" if found.p < SIGNIFICANT else "cannot be told apart"
    yield (
        f"{best or BASE} alone has {found.only_second:,} of {found.n_images:,} test images right, "
        f"{other or BASE} alone {found.only_first:,} ({ends}; McNemar, {p_words(found.p)}): these two "
        f"trainings {does}; other seeds may give another result."
    )
    if needed := images_needed(found.share_apart, delta):
        yield f"{needed:,} {seen}; there are {found.n_images:,}."


def single_runs(record: Record, best: str, other: str) -> pl.DataFrame:
    """The runs of the other and of the best at their largest common size; none where either has more."""
    counted = points(record.all_runs, record.metric.name).select("run_id")
    runs = record.all_runs.join(counted, on="run_id", how="semi", maintain_order="left")
    own = [runs.filter(variant=name) for name in (other, best)]
    sizes = set(own[0]["train_size"]) & set(own[1]["train_size"])
    chosen = pl.concat([of_one.filter(train_size=max(sizes, default=-1)) for of_one in own])
    return chosen if chosen["variant"].to_list() == [other, best] else chosen.clear()


def _delta(record: Record) -> float:
    kind = Loss.ERROR if record.metric.is_share else Loss.CROSS_ENTROPY
    return record.asked.delta or DEFAULT_DELTA[kind]


def _power(pairs: Sequence[Difference], record: Record) -> Iterator[str]:
    """How many draws or seeds it takes to see a difference that is worth it, of the pair that is told."""
    if not pairs:
        return
    pair, delta = _leading(pairs, record.metric), _delta(record)
    needed = units_needed(pair, delta)
    if needed is None and not math.isnan(pair.detectable):
        yield f"80 % power for a difference of {record.metric.difference(pair.detectable)} or more."
    if needed is not None:
        worth = record.metric.exact_difference(delta)
        has = f"you have {pair.n_units:,}"
        yield f"{plural(needed, pair.unit)} per variant give 80 % power for a difference of {worth}; {has}."


def _counted(pairs: Sequence[Difference]) -> Iterator[str]:
    tested = sum(not math.isnan(pair.p) for pair in pairs)
    if tested > 1:
        n = sum(pair.is_distinguishable for pair in pairs)
        yield f"{n} of {tested} pairs of variants differ significantly after correction."


def _details(curve: pl.DataFrame, rows: pl.DataFrame, metric: Metric) -> Iterator[Table]:
    cells = [*SIZE_AND_RUNS, *of_kind("value", mean="mean", **INTERVAL), Column("sd", "SD", "spread")]
    yield Table(curve, cells, metric, "Every variant and size", is_detail=True)
    is_over_all = pl.col("train_size").is_null()
    named = rows.drop("variant").with_columns(pl.col("first", "second").replace("", BASE))
    for title, chosen in (
        ("Every pair, over the sizes that it shares", is_over_all),
        ("Every pair at each size", ~is_over_all),
    ):
        yield Table(named.filter(chosen), PAIR_COLUMNS, metric, title, is_detail=True)


def _chart(curve: pl.DataFrame, metric: Metric) -> Chart:
    lines = [
        Line.of(rows, "train_size", "mean", metric.scale, variant, place)
        for place, (variant, rows) in enumerate(per_variant(curve))
        if place < _MOST_DRAWN
    ]
    return Chart("variants at each train size", SIZE_AXIS, metric_axis(metric), lines)
