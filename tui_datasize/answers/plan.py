"""Which runs to queue next, what they buy, and what may be wrong with that."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import polars as pl

from tui_datasize.answers.answer import Answer, Axis, Bar, Bars, Column, Table, does_not_apply
from tui_datasize.answers.proposal import Proposal, cells_alike, propose, samples_per_run
from tui_datasize.answers.record import Record, named, per_variant
from tui_datasize.stats.extrapolate import Outlook
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.noise import Noise
from tui_datasize.stats.plan_table import plans_table
from tui_datasize.stats.planner import MUCH_OF_DRAWS, Plan, plan_next_runs
from tui_datasize.stats.size_needed import SizeNeeded
from tui_datasize.stats.view import about
from tui_datasize.text import plural

MOST_PLANNED = 12
"""Variants that a plan is made for."""
MOST_FACTOR = 10
"""A size known to more than this factor is not known."""
MUCH_NARROWER = 0.9
"""What a larger size has to leave of the interval to be spoken of."""
BATCHES = 3
"""A plan is made from a guess of the law; after this part of it a new one is better."""
_COLUMNS = (
    Column("train_size", "train size"),
    Column("runs", "runs now"),
    Column("add", "to add"),
    Column("add_to_check", "to check the law"),
    Column("samples", "training samples"),
)


def ask(record: Record) -> Answer:
    """The runs that narrow the answer most within the budget, and those that check the law.

    Raises:
        ConfigError: What is asked makes no sense.
    """
    groups = [(variant, runs) for variant, runs in per_variant(record.runs)][:MOST_PLANNED]
    plans = {variant: make_plan(record, runs) for variant, runs in groups}
    made = {variant: plan for variant, plan in plans.items() if isinstance(plan, Planned)}
    if not made:
        reasons = [plan.sentence for plan in plans.values() if isinstance(plan, FitFailure)]
        return does_not_apply(f"No plan. {reasons[0]}" if reasons else "No runs yet.", proposed=())
    # Of several curves what the runs buy is enough: the rest of the words is that of one curve.
    told = [named(v, text) for v, one in made.items() for text in _told(one, is_alone=len(made) == 1)]
    left_out = record.runs["variant"].n_unique() - len(groups)
    if left_out:
        told.append(f"The first {MOST_PLANNED} variants are planned, {left_out:,} are not.")
    every = {
        (record.experiment, v): one.plan if isinstance(one, Planned) else one for v, one in plans.items()
    }
    return Answer.of_each(
        told,
        tables=[plan_table(made, record)],
        figures=[_bars(variant, one.plan) for variant, one in made.items()],
        about=f"{plural(sum(one.plan.n_added for one in made.values()), 'run')} to add",
        rows=lambda: plans_table(every, record.metric.name),
        proposed=[spec for one in made.values() for spec in one.proposal.specs],
    )


@dataclass(frozen=True)
class Planned:
    """A plan and the runs that it asks for."""

    plan: Plan
    proposal: Proposal


def make_plan(record: Record, runs: pl.DataFrame) -> Planned | FitFailure:
    """Plan further runs of one variant.

    Raises:
        ConfigError: What is asked makes no sense.
    """
    cells = cells_alike(runs, record.sweep)
    question = record.asked
    if question.target in (0.0, record.metric.most):
        # No number of images is foreseen to reach these: what lies ahead is planned for instead.
        question = replace(question, target=None)
    made = plan_next_runs(runs, record.metric.name, question, samples_per_run(cells))
    return made if isinstance(made, FitFailure) else Planned(made, propose(made, cells, runs))


def plan_table(made: Mapping[str, Planned], record: Record) -> Table:
    """The runs that plans add at each size, by variant."""
    keys = {(record.experiment, variant): one.plan for variant, one in made.items()}
    return Table(_written(plans_table(keys, record.metric.name)), _COLUMNS, record.metric)


def plan_dict(one: Planned) -> dict[str, Any]:
    """A plan as nested plain values."""
    plan, proposal = one.plan, one.proposal
    told = [field.name for field in fields(plan) if field.name not in ("outlook", "noise", "sizes")]
    return {name: getattr(plan, name) for name in told} | {
        "words": plan_words(plan),
        "metric": plan.metric.name,
        "sizes": [asdict(size) for size in plan.sizes],
        "n_added": plan.n_added,
        "run_ids": [spec.run_id for spec in proposal.specs],
        "lacking_seeds": {str(size): runs for size, runs in proposal.lacking.items()},
    }


def _told(one: Planned, *, is_alone: bool) -> list[str]:
    first, *others = plan_words(one.plan)
    about_cells = [line for line in one.proposal.words.split("\n") if line]
    return [first, *about_cells, *others] if is_alone else [first]


def _written(table: pl.DataFrame) -> pl.DataFrame:
    # Runs from elsewhere do not say how many samples they saw.
    return table.with_columns(samples=pl.col("samples").replace(0, None))


def _bars(variant: str, plan: Plan) -> Bars:
    """Runs to add at each size."""
    bars = [
        Bar(
            f"{size.train_size:,}",
            size.add,
            f"{size.runs:,} there, add {size.add:,}" + (f" ({size.check:,} to check)" if size.check else ""),
        )
        for size in plan.sizes
    ]
    return Bars(named(variant, "runs to add"), Axis("runs"), bars, ("train size", "runs"))


def plan_words(plan: Plan) -> tuple[str, ...]:
    """What the runs buy, what is foreseen, and what may be wrong with either, a sentence or two each."""
    return tuple(_sentences(plan, plan.outlook, plan.noise))


def _sentences(plan: Plan, outlook: Outlook, noise: Noise) -> Iterator[str]:
    at = _at(plan, outlook)
    yield _narrowed(plan, at)
    if noise.draw_share > MUCH_OF_DRAWS:
        yield _left_by_draws(plan, noise)
    yield _foreseen(plan, at)
    if plan.half_width_beyond is not None and plan.half_width_beyond < MUCH_NARROWER * plan.half_width_then:
        yield _better_beyond(plan, plan.half_width_beyond)
    if outlook.faults:
        yield "No law describes the curve well: take the forecast as a guess."
    if outlook.needed:
        yield _of_target(plan, outlook.needed, at)
    if checks := sum(size.check for size in plan.sizes):
        yield f"{checks:,} of these {'runs check' if checks > 1 else 'runs checks'} the law at other sizes."
    if not noise.degrees:
        yield "No size has two runs that differ: the scatter between runs is a guess."
    part = max(1, math.ceil(plan.n_added / BATCHES))
    if part < plan.n_added:
        yield f"Plan again after about {plural(part, 'run')}: the law is known better then."


def _narrowed(plan: Plan, at: str) -> str:
    """What the runs buy, as far as scatter goes."""
    now, then = (plan.metric.difference(width) for width in (plan.half_width_now, plan.half_width_then))
    runs = plural(plan.n_added, "more run")
    what = f"the {plan.metric.title.lower()} at {at} images"
    if now == then:
        return f"{runs} would hardly narrow {what}: ± {now} already, counting run-to-run scatter only."
    verb = "narrows" if plan.n_added == 1 else "narrow"
    return f"{runs} {verb} {what} from ± {now} to ± {then}, counting run-to-run scatter only."


def _at(plan: Plan, outlook: Outlook) -> str:
    """The train size of the answer: exact where it was asked for, to two digits where the laws tell it."""
    is_by_laws = outlook.needed is not None and outlook.needed.train_size is not None
    return about(plan.at) if is_by_laws else f"{plan.at:,.0f}"


def _left_by_draws(plan: Plan, noise: Noise) -> str:
    """What further seeds on the same subset draws cannot narrow."""
    least = plan.metric.difference(plan.half_width_least)
    return (
        f"± {least} remains however many seeds run on the same {plural(noise.n_draws, 'draw')}: the draw "
        f"makes about {100 * noise.draw_share:.0f} % of a run's variance. Further runs get other draws."
    )


def _better_beyond(plan: Plan, half_width: float) -> str:
    """That runs at a size that the sweep does not have yet would tell more."""
    width, size = plan.metric.difference(half_width), 2 * plan.sizes[-1].train_size
    return (
        f"As many runs at {size:,} images would leave ± {width} and test the law there: add that size to "
        "experiments.toml if the data set has so many."
    )


def _foreseen(plan: Plan, at: str) -> str:
    """The forecast there, how far laws may miss it, and what the plan's own law says."""
    value, by_law = (plan.metric.text(value) for value in (plan.value, plan.value_by_law))
    if plan.band is None:
        return f"Forecast at {at} images: {value}; the law that places the runs says {by_law}."
    low, high = (plan.metric.text(end) for end in plan.band)
    return f"Forecast at {at} images: {value} ({low} to {high}); the law that places the runs says {by_law}."


def _of_target(plan: Plan, needed: SizeNeeded, at: str) -> str:
    """How well the size of the target is known as far as scatter goes, and what that leaves out."""
    if needed.train_size is None or not plan.factor_now or not plan.factor_then:
        return f"The target is out of reach of the plan, which narrows the forecast at {at} images instead."
    now, then = plan.factor_now, plan.factor_then
    if min(now, then) >= MOST_FACTOR:
        return f"The curve is too flat at {at} images for more runs to narrow the size that the target needs."
    known = f"the size for the target is known to a factor of {_factor(now)} now, {_factor(then)} then"
    if needed.is_measured or needed.at_most is not None:
        return f"As far as scatter goes, {known}."
    return f"As far as scatter goes, {known}; the error of the laws adds to it, and more seeds do not help."


def _factor(factor: float) -> str:
    return f"{factor:.2f}" if factor < MOST_FACTOR else f"{MOST_FACTOR} or more"
