"""Which runs to queue next, what they buy, and what may be wrong with that."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import polars as pl

from tui_datasize.answers import prices
from tui_datasize.answers.ahead import DIGITS, bare, beyond
from tui_datasize.answers.answer import Answer, Axis, Bar, Bars, Column, Table, does_not_apply
from tui_datasize.answers.proposal import Proposal, cells_alike, propose, samples_per_run
from tui_datasize.answers.record import Record, named, per_variant, said_plainly
from tui_datasize.experiments.sources import needed
from tui_datasize.experiments.spec import ClassSplit, RunSpec
from tui_datasize.experiments.variants import in_words, short_labels
from tui_datasize.stats.curve import COMING
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.levers import baseline_of
from tui_datasize.stats.placing import NO_ROOM, UNKNOWN_ROOM, Room
from tui_datasize.stats.plan_table import plans_table
from tui_datasize.stats.planner import MUCH_OF_DRAWS, Interval, Plan, plan_next_runs
from tui_datasize.stats.size_needed import ODDS
from tui_datasize.stats.view import about
from tui_datasize.text import listed, plural

MOST_PLANNED = 12
"""Variants that a plan is made for."""
BATCHES = 3
"""A plan is made from what is foreseen; after this part of it a new one is better."""
_NO_NEW_SIZES = (
    "No new sizes are planned: each would be a point of the path. A longer path in experiments.toml has more."
)
_COLUMNS = (
    Column("train_size", "train size"),
    Column("runs", "runs now"),
    Column("add", "to add"),
    Column("samples", "training samples"),
)


def ask(record: Record) -> Answer:
    """The runs that narrow the answer most within the budget.

    Raises ConfigError: what is asked makes no sense.
    """
    chosen = baseline_of(record.runs) if record.runs.height else ""
    # What the others are levers against is planned first.
    groups = sorted(per_variant(record.runs), key=lambda group: group[0] != chosen)[:MOST_PLANNED]
    labels, words = short_labels([variant for variant, _ in groups]), said_plainly(record.runs)
    words = {v: words[v] if labels[v] == v else in_words(labels[v]) or "baseline" for v in labels}
    plans = {variant: make_plan(record, runs) for variant, runs in groups}
    made = {variant: plan for variant, plan in plans.items() if isinstance(plan, Planned)}
    if not made:
        reasons = [plan.sentence for plan in plans.values() if isinstance(plan, FitFailure)]
        return does_not_apply(f"No plan. {reasons[0]}" if reasons else "No runs yet.", proposed=())
    # Of several curves what the runs buy is enough: the rest of the words is that of one curve.
    told = [named(words[v], text) for v, one in made.items() for text in _told(one, is_alone=len(made) == 1)]
    adds = {variant: one for variant, one in made.items() if one.plan.n_added}
    left_out = record.runs["variant"].n_unique() - len(groups)
    if left_out:
        told.append(f"The first {MOST_PLANNED} variants are planned, {left_out:,} are not.")
    if len(made) > 1:
        told += filter(None, [_links_told(sum(one.n_links for one in made.values()))])
        told += [_NO_NEW_SIZES] if all(_NO_NEW_SIZES in one.words for one in made.values()) else []
    bare_plans = {v: one.plan if isinstance(one, Planned) else one for v, one in plans.items()}
    every = {(record.experiment, variant): plan for variant, plan in bare_plans.items()}
    return Answer.of_each(
        told,
        tables=[plan_table(adds, record)] if adds else [],
        figures=[_bars(words[variant], one.plan) for variant, one in adds.items()],
        about=f"{plural(sum(one.plan.n_added for one in made.values()), 'run')} to add",
        rows=lambda: plans_table(every, record.metric.name),
        proposed=[spec for one in made.values() for spec in one.proposal.specs],
    )


@dataclass(frozen=True)
class Planned:
    """A plan and the runs that it asks for."""

    plan: Plan
    proposal: Proposal
    words: tuple[str, ...]
    """Of the plan, with its price."""
    n_links: int
    """Runs before these on a path, which come on top."""


def make_plan(record: Record, runs: pl.DataFrame) -> Planned | FitFailure:
    """Plan further runs of one variant; raises ConfigError: what is asked makes no sense."""
    cells = cells_alike(runs, record.sweep)
    question = record.asked
    if question.target in (0.0, record.metric.most):
        # No number of images is foreseen to reach these: what lies ahead is planned for instead.
        question = replace(question, target=None)
    room = room_of(record, runs, cells)
    made = plan_next_runs(runs, record.metric.name, question, samples_per_run(cells), room)
    if isinstance(made, FitFailure):
        return made
    words = plan_words(made, prices.of_plan(record, made), prices.of_beyond(record, made))
    proposal = propose(made, cells, runs, record.sweep, record.unlisted)
    there = set(runs.filter(pl.col("state").is_in(COMING))["run_id"])
    links = tuple(run for run in needed(proposal.specs, {}) if run.run_id not in there)
    words += tuple(filter(None, (_links_told(len(links)), _NO_NEW_SIZES if room == NO_ROOM else "")))
    return Planned(made, proposal, words, len(links))


def room_of(record: Record, runs: pl.DataFrame, cells: Sequence[RunSpec]) -> Room:
    """Which new train sizes there can be: as many images as the data set of the runs has, if it is known."""
    images = record.images_of(runs)
    # The random runs of a path carry none.
    if any(spec.subset.path for spec in (*cells, *record.sweep)):
        return NO_ROOM
    # Of a half of the classes, or of classes of unequal parts, other numbers hold.
    is_whole = all(spec.classes == ClassSplit() and spec.subset.imbalance == 1 for spec in cells)
    if not images or not cells or not is_whole:
        return UNKNOWN_ROOM
    if not any(spec.subset.strategy == "balanced" for spec in cells):
        # Images without labels are to be left.
        return Room(sum(images) - any(spec.unlabelled.is_rest for spec in cells))
    return Room(len(images) * min(images), len(images))


def plan_table(made: Mapping[str, Planned], record: Record) -> Table:
    """The runs that plans add at each size, by variant."""
    keys = {(record.experiment, variant): one.plan for variant, one in made.items()}
    return Table(plans_table(keys, record.metric.name), _COLUMNS, record.metric)


def plan_dict(one: Planned) -> dict[str, Any]:
    """A plan as nested plain values."""
    plan, proposal = one.plan, one.proposal
    told = [field.name for field in fields(plan) if field.name not in ("outlook", "noise", "sizes", "beyond")]
    return {name: getattr(plan, name) for name in told} | {
        "words": one.words,
        "metric": plan.metric.name,
        "sizes": [asdict(size) for size in plan.sizes],
        "beyond": plan.beyond and asdict(plan.beyond),
        "n_added": plan.n_added,
        "n_before": one.n_links,
        "run_ids": [spec.run_id for spec in proposal.specs],
        "lacking_seeds": {str(size): runs for size, runs in proposal.lacking.items()},
    }


def _told(one: Planned, *, is_alone: bool) -> list[str]:
    first, *others = one.words
    about_cells = [line for line in one.proposal.words.split("\n") if line]
    return [first, *about_cells, *others] if is_alone else [first]


def _links_told(count: int) -> str:
    """Of runs before those of a plan on their paths; empty where none are missing."""
    return f"{plural(count, 'run')} before them on the path would be queued too." if count else ""


def _bars(variant: str, plan: Plan) -> Bars:
    bars = [
        Bar(f"{size.train_size:,}", size.add, f"{size.runs:,} there, add {size.add:,}") for size in plan.sizes
    ]
    return Bars(named(variant, "runs to add"), Axis("runs"), bars, ("train size", "runs"))


def plan_words(plan: Plan, price: str = "", price_beyond: str = "") -> tuple[str, ...]:
    """What the runs buy, what is foreseen, and what may be wrong with either, a sentence or two each.

    `price` is that of its runs, `price_beyond` that of the runs at the larger size that it speaks of; empty
    where unknown.
    """
    return tuple(_sentences(plan, price, price_beyond))


def _sentences(plan: Plan, price: str, price_beyond: str) -> Iterator[str]:
    yield _narrowed(plan)
    if price and plan.n_added:
        yield f"{price}."
    if plan.target is not None:
        yield _of_target(plan)
    if plan.beyond is not None:
        interval, size = _written(plan, plan.beyond.interval), plan.beyond.train_size
        runs, end = plural(plan.beyond.runs, "run"), f": {price_beyond}." if price_beyond else "."
        yield f"{runs} at {size:,} images would narrow that to about {interval}{end}"
    if plan.odd:
        sizes = listed([f"{size:,}" for size in plan.odd])
        yield f"No runs at {sizes} images: their runs scatter unlike those of other sizes, see the audit."
    if plan.draw_share > MUCH_OF_DRAWS and plan.n_added:
        yield (
            f"{100 * plan.draw_share:.0f} % of the variance between runs is the subset draw: further runs "
            "get new draws."
        )
    if plan.outlook.faults:
        yield "No law describes the curve well: take the forecast as a guess."
    if not plan.noise.degrees:
        yield "No size has two runs that differ: the scatter between runs is a guess."
    part = max(1, math.ceil(plan.n_added / BATCHES))
    if part < plan.n_added and len(plan.sizes) > 1:
        yield f"Plan again after about {plural(part, 'run')}: the forecast is better known then."


def _narrowed(plan: Plan) -> str:
    is_measured = plan.at <= plan.outlook.view.foreseen.largest
    needed = plan.outlook.needed
    at = about(plan.at) if needed is not None and needed.train_size is not None else f"{plan.at:,.0f}"
    what = f"{at} images: {plan.metric.text(plan.value, _digits(plan))}"
    what += "" if is_measured else " foreseen"
    runs, sure = plural(plan.n_added, "more run"), f"({100 * plan.level:.0f} % sure)"
    if plan.now is None or plan.then is None:
        then = f", about {_written(plan, plan.then)} after {runs} {sure}" if plan.then else ""
        return f"{what}{then}."
    now = f"{what}, now {_written(plan, plan.now)}"
    if not plan.n_added:
        return (
            f"More runs would not change the answer: {now} {sure}. Give a budget to plan some all the same."
        )
    these = "this run" if plan.n_added == 1 else f"these {plan.n_added:,} runs"
    no_change = f"{runs[:1].upper()}{runs[1:]} would not change the answer: " if plan.is_idle else ""
    return f"{no_change}{now}; after {these} about {_written(plan, plan.then)} {sure}."


def _of_target(plan: Plan) -> str:
    goal, needed = plan.metric.exact(plan.target or 0.0), plan.outlook.needed
    if needed is None or plan.size_now is None:
        return f"{goal} is reached at the smallest size."
    low, high = plan.size_now
    if needed.is_measured:
        return f"{goal} is reached between {low:,.0f} and {high:,.0f} images."
    now = f"{goal}: now {_images(plan, plan.size_now)}"
    if plan.size_then is None or _images(plan, plan.size_then) == _images(plan, plan.size_now):
        return f"{now}."
    return f"{now}; after these runs {_images(plan, plan.size_then)}, as far as can be foreseen."


def _images(plan: Plan, ends: Interval) -> str:
    low, high = ends
    if math.isfinite(high):
        return f"{about(low)} to {about(high)} images ({100 * ODDS:.0f} % sure)"
    return f"more than {beyond(low, plan.outlook.view.foreseen.largest)} images ({50 + 50 * ODDS:.0f} % sure)"


def _written(plan: Plan, ends: Interval) -> str:
    low, high = (plan.metric.text(end, _digits(plan)) for end in ends)
    return f"{bare(low)} to {high}"


def _digits(plan: Plan) -> int | None:
    return DIGITS if plan.metric.is_share else None
