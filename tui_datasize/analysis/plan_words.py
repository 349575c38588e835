"""A plan in sentences: what the runs buy, what is foreseen, and what may be wrong with either."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tui_datasize.analysis.design import design_law
from tui_datasize.analysis.extrapolate import Outlook
from tui_datasize.analysis.noise import Noise
from tui_datasize.analysis.view import shown
from tui_datasize.words import plural

if TYPE_CHECKING:
    from tui_datasize.analysis.planner import Plan

BATCHES = 3
"""A plan is made from a guess of the law; after this part of it a new one is better."""


def plan_words(plan: Plan, outlook: Outlook, noise: Noise) -> tuple[str, ...]:
    """One sentence or two on each question.

    Args:
        plan: Without its words.
        outlook: What `analyze` says of the same runs and the same target.
        noise: The scatter that the plan was made with.
    """
    return tuple(_sentences(plan, outlook, noise))


def _sentences(plan: Plan, outlook: Outlook, noise: Noise) -> Iterator[str]:
    now, then = (
        shown(width, plan.metric, is_difference=True) for width in (plan.half_width_now, plan.half_width_then)
    )
    verb = "narrows" if plan.n_added == 1 else "narrow"
    yield (
        f"{plural(plan.n_added, 'run')} {verb} the 95 % interval of {plan.metric.name} at {plan.at:,.0f} "
        f"images from +-{now} to +-{then}: that is scatter alone, by the law {design_law().formula}, which "
        "tells where runs go."
    )
    yield _foreseen(plan)
    if outlook.doubt:
        yield outlook.doubt
    if outlook.needed:
        yield outlook.needed.words
        yield _of_target(plan, is_reached=outlook.needed.train_size is not None)
    checks = sum(size.check for size in plan.sizes)
    if checks:
        yield f"Kept at other sizes to check whether that law holds: {plural(checks, 'run')}."
    if not noise.degrees:
        yield "No size has two runs that differ: the scatter between runs is a guess."
    part = max(1, math.ceil(plan.n_added / BATCHES))
    if part < plan.n_added:
        yield f"Plan again after about {part} of them: the law is known better then."


def _foreseen(plan: Plan) -> str:
    """The value that `analyze` gives, how far laws may miss it, and what the plan's own law says."""
    value, by_law = (shown(value, plan.metric) for value in (plan.value, plan.value_by_law))
    aside = f"that law alone says {by_law}"
    if plan.band is not None:
        low, high = (shown(end, plan.metric) for end in plan.band)
        aside = f"its band, {low} to {high}, also counts how far laws miss; {aside}"
    return f"Foreseen there is {value}, by the average of the laws as in `analyze`; {aside}."


def _of_target(plan: Plan, *, is_reached: bool) -> str:
    if is_reached and plan.factor_now and plan.factor_then:
        return (
            f"As far as scatter goes, that size is known to a factor of {_factor(plan.factor_now)} now, of "
            f"{_factor(plan.factor_then)} then."
        )
    return f"The plan narrows what lies at {plan.at:,.0f} images instead."


def _factor(factor: float) -> str:
    return f"{factor:.2f}" if factor < 10 else "10 or more"
