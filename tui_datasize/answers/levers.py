"""What each lever beside more images is worth, in images of the baseline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import polars as pl

from tui_datasize.answers.answer import Answer, Axis, Chart, Column, Line, Sentence, Table, does_not_apply
from tui_datasize.answers.columns import INTERVAL, SIZE, SIZE_AXIS, metric_axis, of_kind
from tui_datasize.answers.generated import has_generated, with_generated
from tui_datasize.answers.labelling import Labelled, labelled
from tui_datasize.answers.record import NO_RUN, Comparisons, Record, per_variant, said_plainly
from tui_datasize.answers.search import cost_words
from tui_datasize.metric import Metric, metric_named
from tui_datasize.runlog.schema import Schema, is_chosen, schema
from tui_datasize.stats.curve import learning_curve
from tui_datasize.stats.effective import Saved
from tui_datasize.stats.levers import BASELINE, MEMBERS, lever_runs, told_by, worth
from tui_datasize.stats.pairwise import Difference, corrected
from tui_datasize.stats.run_costs import S_PER_HOUR
from tui_datasize.stats.view import about

_CHEAPEST_WITHIN = 1.05
"""Of the cheapest: as cheap, for what is known of either."""
_ONE = "There is one way to train. Sweep a model, an augmentation or a transfer to compare levers."
_MOST_DRAWN = 12

LEVERS: Schema = schema(
    (pl.String, "variant", "images", "of_baseline"),
    (pl.Int64, "train_size"),
    (pl.Float64, "ratio", "low", "high", "p", "wall_s", "price"),
    (pl.Boolean, "is_cheapest"),
)
"""A lever a row, the baseline first. `images` are what it needs for what is asked, in words; at `train_size`
it is worth `of_baseline` images of the baseline, `ratio` times its own, from `low` to `high`; `p` is
corrected for as many levers as there are; `wall_s` is a training's time for as many updates as one of the
baseline has, all members of an ensemble and all runs before on a path together, `price` that of labels and
one training; `is_cheapest` within 5 % of the lowest price, without prices of the fewest images, of those that
are told apart."""


@dataclass(frozen=True, slots=True)
class _Lever:
    name: str
    worth: Saved
    """What the baseline needs for what this reaches at a size."""
    at_sizes: Sequence[Saved]
    """The same at each of its sizes."""
    against: Difference | None
    wall_s: float
    """Of one training of as many updates as one of the baseline has, and of those that it needs before."""

    @property
    def is_apart(self) -> bool:
        return self.against is not None and self.against.is_distinguishable

    @property
    def doubt(self) -> str:
        if self.is_apart:
            return ""
        is_tested = self.against is not None and not math.isnan(self.against.p)
        return "not significant" if is_tested else "untested"


def is_offered(runs: pl.DataFrame) -> bool:
    """Whether there is more than one variant, an ensemble can be made, or images were generated."""
    cells = runs.filter(state="succeeded").group_by("variant", "train_size", "subset_seed").len()["len"]
    return runs["variant"].n_unique() > 1 or any(cells >= MEMBERS) or has_generated(runs)


def ask(record: Record) -> Answer:
    """How many images of the baseline each lever is worth, for which time and price."""
    metric = record.metric
    if record.all_runs.is_empty():
        return does_not_apply(NO_RUN)
    read = partial(record.log.table, "predictions")
    runs, base = lever_runs(record.reading.in_full, metric.name, read, record.asked.variant)
    runs = runs.with_columns(pl.col("variant").replace(said_plainly(runs)))
    compared = Comparisons(runs, metric.name)
    names = [name for name in compared.curves if name != BASELINE]
    if BASELINE not in compared.curves:
        return does_not_apply(NO_RUN)
    if not names:
        return _alone(record)
    against = {name: found for name in names if (found := compared.over_all(name, BASELINE))}
    tested = dict(zip(against, corrected([*against.values()]), strict=True))
    every = [_lever(runs, compared, name, tested.get(name)) for name in names]
    ordered = sorted(
        every, key=lambda one: (not one.is_apart, one.worth.ratio if one.is_apart else 0, one.name)
    )
    table, at_sizes = _table(record, runs, compared, ordered), _at_sizes(ordered)
    told = [*map(_told, ordered), *_unranked(compared, ordered), *_times_told(ordered, runs)]
    if not ordered[0].is_apart:
        which = f"None of {len(names)} levers can" if len(names) > 1 else f"{names[0]} cannot"
        told.insert(0, f"{which} be told apart from the baseline.")
    figures, choices = [_forest(ordered), _curves(runs, metric)], with_generated(labelled(record), record)
    told += [*cost_words(record.reading.of_search), *choices.sentences]
    return Answer(
        told[0],
        [*map(Sentence, told[1:]), *record.without_result, _ASIDE],
        [
            Table(table, _columns(record, _asked(record, compared)), metric),
            Table(at_sizes, [SIZE, *_WORTH], metric, "At each size", is_detail=True),
            *choices.tables,
        ],
        [*figures[:: -1 if record.asked.view % len(figures) else 1], *choices.figures],
        f"baseline: {base or 'the only way to train'}; means over runs",
        rows=lambda: table,
        views=len(figures),
    )


def _alone(record: Record) -> Answer:
    """Of a single way to train what it has generated, which is worth something beside another one alone."""
    made = with_generated(Labelled(), record)
    first, *others = *map(Sentence, made.sentences), *record.without_result, Sentence(_ONE, "note")
    if not others:
        return does_not_apply(_ONE)
    return Answer(first.text, others, figures=made.figures)


_ASIDE = Sentence(
    "The baseline pulls no lever: no augmentation, no transfer, no images without labels or generated ones, "
    "the labels as they are, the smallest model, or what is searched at its default; v chooses another. "
    "Levers that cannot be told apart from it are in no order. Times are of as many updates, those of a "
    "labelling strategy with all runs before on the path, those with a generator with its own training.",
    "aside",
)


def _asked(record: Record, compared: Comparisons) -> float:
    """The target; by default what the baseline reaches at its largest size."""
    if record.asked.target is not None:
        return record.asked.target
    return compared.saved(BASELINE, BASELINE, None).at_sizes[-1].value


def _lever(runs: pl.DataFrame, compared: Comparisons, name: str, against: Difference | None) -> _Lever:
    sizes, saved = compared.curves[BASELINE], compared.saved(BASELINE, name, None)
    return _Lever(
        name,
        worth(saved, sizes),
        [told_by(one, sizes) for one in saved.at_sizes],
        against,
        _seconds(runs, name),
    )


def _needed(compared: Comparisons, name: str, asked: float) -> tuple[str, float]:
    """Images of a variant for what is asked, in words and as a number, NaN where it has not got there."""
    own, sizes = compared.saved(name, name, asked), compared.curves[name]
    if own.at_target is not None:
        return f"about {about(own.at_target.images)}", own.at_target.images
    least = own.at_sizes[0].value
    if (least >= asked) == metric_named(compared.metric).higher_is_better:
        return f"at most {min(sizes):,}", min(sizes)
    return f"over {max(sizes):,}", math.nan


def _seconds(runs: pl.DataFrame, name: str) -> float:
    """Of a training with as many updates as the baseline's have, at the largest size.

    That of a strategy has to be trained at each size before, to choose what it learns from.
    """
    largest = runs.filter(
        pl.col("train_size") == pl.col("train_size").max().over("variant"), state="succeeded"
    )
    own, other = (largest.filter(variant=variant) for variant in (name, BASELINE))
    path = runs.filter(is_chosen(), variant=name, state="succeeded").join(own, on="train_size", how="anti")
    before = [_mean(of_size["wall_s"]) for of_size in path.partition_by("train_size")]
    return sum(before) + _mean(own["wall_s"]) / _mean(own["updates"]) * _mean(other["updates"])


def _mean(values: pl.Series) -> float:
    found = values.mean()
    return float(found) if isinstance(found, int | float) else math.nan


def _told(one: _Lever) -> str:
    """Such as `flip=0.5 at 750 images = about 1,200 of the baseline: 1.6 times (95 % 1.3 to 1.9)`."""
    saved, doubt = one.worth, f", {one.doubt}" if one.doubt else ""
    least = _least(saved) or "about "
    images = f"{one.name} at {saved.other_images:,.0f} images = {least}{_images(saved)} of the baseline"
    bound = "at least " if saved.is_more_than else "at most " if saved.is_at_most else ""
    times, low, high = _ratio(saved)
    ends = "" if math.isnan(low) else f" (95 % {low:.2g} to {high:.2g})"
    return f"{images}: {bound}{times:.1f} times{ends}{doubt}."


def _ratio(saved: Saved) -> tuple[float, float, float]:
    """Images of the baseline for one of the lever, and the ends of the 95 % interval."""
    times = 1 / saved.ratio
    return times, times / saved.spread, times * saved.spread


def _unranked(compared: Comparisons, levers: Sequence[_Lever]) -> Iterator[str]:
    """Neighbours in the order that the runs cannot tell apart."""
    for one, other in pairwise(lever for lever in levers if lever.is_apart):
        found = compared.over_all(one.name, other.name)
        if found is None or not found.is_distinguishable:
            yield f"{one.name} and {other.name} cannot be told apart: their order is not known."


def _least(saved: Saved) -> str:
    return "over " if saved.is_more_than else "at most " if saved.is_at_most else ""


def _images(saved: Saved) -> str:
    return f"{saved.images:,.0f}" if saved.is_bound else about(saved.images)


def _times_told(levers: Sequence[_Lever], runs: pl.DataFrame) -> Iterator[str]:
    """Where levers cost another amount of training than the baseline."""
    wall_s = _seconds(runs, BASELINE)
    if runs.filter(state="succeeded")["device"].n_unique() != 1 or not wall_s > 0:
        return
    longer = [one for one in levers if one.wall_s > 1.2 * wall_s]
    if longer:
        path = " and the runs before on the path" if runs.filter(is_chosen()).height else ""
        times = [f"{one.wall_s / wall_s:.1f} times" for one in longer]
        first = f"With {longer[0].name} as many updates as the baseline's{path} take {times[0]} as long"
        others = (f"with {one.name} {more}" for one, more in zip(longer[1:], times[1:], strict=True))
        yield f"{'; '.join([first, *others])}."


def _table(
    record: Record, runs: pl.DataFrame, compared: Comparisons, levers: Sequence[_Lever]
) -> pl.DataFrame:
    asked = _asked(record, compared)
    rows: list[dict[str, Any]] = [
        {"variant": BASELINE, "wall_s": _seconds(runs, BASELINE)},
        *map(_row, levers),
    ]
    by = "price" if record.costs.are_known else "needed"
    for row in rows:
        row["is_cheapest"] = False
        row["images"], row["needed"] = _needed(compared, row["variant"], asked)
        if record.costs.are_known:
            hours = 0.0 if math.isnan(row["wall_s"]) else row["wall_s"] / S_PER_HOUR
            row["price"] = row["needed"] * record.costs.label + hours * record.costs.gpu_hour
    # What cannot be told apart from the baseline may be as dear.
    told = [rows[0], *(row for row, one in zip(rows[1:], levers, strict=True) if one.is_apart)]
    least = min((row[by] for row in told if math.isfinite(row[by])), default=math.nan)
    for row in told:
        row["is_cheapest"] = row[by] <= _CHEAPEST_WITHIN * least
    return pl.DataFrame(rows, schema=dict(LEVERS), strict=False)


def _row(one: _Lever) -> dict[str, Any]:
    p = one.against.p_adjusted if one.against else None
    return {"variant": one.name, "wall_s": one.wall_s, "p": p, **_worth_row(one.worth)}


def _worth_row(saved: Saved) -> dict[str, Any]:
    times, low, high = _ratio(saved)
    of_baseline = f"{saved.other_images:,.0f} = {_least(saved)}{_images(saved)}"
    return {
        "train_size": int(saved.other_images),
        "of_baseline": of_baseline,
        **{"ratio": times, "low": low, "high": high},
    }


def _at_sizes(levers: Sequence[_Lever]) -> pl.DataFrame:
    rows = [{"variant": one.name, **_worth_row(saved)} for one in levers for saved in one.at_sizes]
    columns = ("variant", "train_size", "of_baseline", "ratio", "low", "high")
    return pl.DataFrame(rows, schema={name: LEVERS[name] for name in columns})


_WORTH = (Column("of_baseline", "is worth", "text"), *of_kind("number", ratio="times", **INTERVAL))


def _columns(record: Record, asked: float) -> list[Column]:
    return [
        Column("images", f"images for {record.metric.text(asked)}", "text"),
        *_WORTH,
        Column("p", "p, Holm", "p"),
        *of_kind("number", wall_s="s a run", price=f"price, {record.costs.currency}".rstrip(", ")),
        Column("is_cheapest", "cheapest"),
    ]


def _forest(levers: Sequence[_Lever]) -> Chart:
    places = [float(place) for place in range(len(levers))]
    told = [_ratio(one.worth) for one in levers]
    ends = [Line("", [x, x], [low, high], 0) for x, (_, low, high) in zip(places, told, strict=True)]
    times = Line("times, with 95 %", places, [ratio for ratio, *_ in told], 0, "dot", is_joined=False)
    return Chart(
        "images of the baseline that one image is worth",
        Axis("", names=[one.name for one in levers]),
        Axis("times fewer images", is_log=True),
        [*ends, times, Line(BASELINE, places, [1.0] * len(places), "target")],
    )


def _curves(runs: pl.DataFrame, metric: Metric) -> Chart:
    lines = [
        Line.of(rows, "train_size", "mean", metric.scale, variant, place)
        for place, (variant, rows) in enumerate(per_variant(learning_curve(runs, metric.name)))
        if place < _MOST_DRAWN
    ]
    return Chart("levers at each train size", SIZE_AXIS, metric_axis(metric), lines)
