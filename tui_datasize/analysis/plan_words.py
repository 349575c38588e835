"""A plan in sentences: what the runs buy, what is foreseen, and what may be wrong with either."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tui_datasize.analysis.design import design_law
from tui_datasize.analysis.extrapolate import Outlook
from tui_datasize.analysis.noise import Noise
from tui_datasize.analysis.size_needed import SizeNeeded
from tui_datasize.analysis.view import about, shown
from tui_datasize.words import plural

if TYPE_CHECKING:
    from tui_datasize.analysis.planner import Plan

MOST_FACTOR = 10
"""A size known to more than this factor is not known."""
MUCH_OF_DRAWS = 0.25
"""A larger share of a run's variance than this is worth other draws."""
MUCH_NARROWER = 0.9
"""What a larger size has to leave of the interval to be spoken of."""
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
    at = _at(plan, outlook)
    yield _narrowed(plan, at)
    if noise.draw_share > MUCH_OF_DRAWS:
        yield _left_by_draws(plan, noise)
    if plan.half_width_beyond is not None and plan.half_width_beyond < MUCH_NARROWER * plan.half_width_then:
        yield _better_beyond(plan, plan.half_width_beyond)
    yield _foreseen(plan)
    if outlook.doubt:
        yield outlook.doubt
    if outlook.needed:
        yield outlook.needed.words
        yield _of_target(plan, outlook.needed, at)
    checks = sum(size.check for size in plan.sizes)
    if checks:
        yield f"Kept at other sizes to check whether that law holds: {plural(checks, 'run')}."
    if not noise.degrees:
        yield "No size has two runs that differ: the scatter between runs is a guess."
    part = max(1, math.ceil(plan.n_added / BATCHES))
    if part < plan.n_added:
        yield f"Plan again after about {part} of them: the law is known better then."


def _narrowed(plan: Plan, at: str) -> str:
    """What the runs buy: how far scatter alone leaves the answer open, now and then."""
    now, then = (
        shown(width, plan.metric, is_difference=True) for width in (plan.half_width_now, plan.half_width_then)
    )
    what = f"the 95 % interval of {plan.metric.name} at {at} images"
    by_law = f"by the law {design_law().formula}, which tells where runs go"
    if now == then:
        runs = plural(plan.n_added, "more run")
        return f"{runs} would hardly narrow {what}: scatter alone leaves +-{now} already, {by_law}."
    verb = "narrows" if plan.n_added == 1 else "narrow"
    runs = f"{plural(plan.n_added, 'run')} {verb}"
    return f"{runs} {what} from +-{now} to +-{then}: that is scatter alone, {by_law}."


def _at(plan: Plan, outlook: Outlook) -> str:
    """The train size of the answer: exact where it was asked for, to two digits where the laws tell it."""
    is_by_laws = outlook.needed is not None and outlook.needed.train_size is not None
    return about(plan.at) if is_by_laws else f"{plan.at:,.0f}"


def _left_by_draws(plan: Plan, noise: Noise) -> str:
    """What further seeds on the same subset draws cannot narrow."""
    least = shown(plan.half_width_least, plan.metric, is_difference=True)
    return (
        f"The subset draw makes about {100 * noise.draw_share:.0f} % of the variance of a run: however many "
        f"seeds run on the same {plural(noise.n_draws, 'draw')}, +-{least} remains. So runs beyond the sweep "
        "are proposed on other draws."
    )


def _better_beyond(plan: Plan, half_width: float) -> str:
    """That runs at a size that the sweep does not have yet would tell more."""
    width, size = shown(half_width, plan.metric, is_difference=True), 2 * plan.sizes[-1].train_size
    return (
        f"As many runs at {size:,} images would leave +-{width}, and show whether the law holds there: list "
        "that size in experiments.toml if the data set has so many."
    )


def _foreseen(plan: Plan) -> str:
    """The value that `analyze` gives, how far laws may miss it, and what the plan's own law says."""
    value, by_law = (shown(value, plan.metric) for value in (plan.value, plan.value_by_law))
    aside = f"that law alone says {by_law}"
    if plan.band is not None:
        low, high = (shown(end, plan.metric) for end in plan.band)
        aside = f"its band, {low} to {high}, also counts how far laws miss; {aside}"
    return f"Foreseen there is {value}, by the average of the laws as in `analyze`; {aside}."


def _of_target(plan: Plan, needed: SizeNeeded, at: str) -> str:
    """How well the size of the target is known as far as scatter goes, and what that leaves out."""
    if needed.train_size is None or not plan.factor_now or not plan.factor_then:
        return f"The plan narrows what lies at {at} images instead."
    now, then = plan.factor_now, plan.factor_then
    if min(now, then) >= MOST_FACTOR:
        return f"The curve is too flat at {at} images for runs to narrow the size that is needed."
    known = f"that size is known to a factor of {_factor(now)} now, of {_factor(then)} then"
    if needed.at_most is not None:
        return f"As far as scatter goes, {known}."
    return (
        f"The plan aims at about {at} images, where the average of the laws gets there. As far as "
        f"scatter goes, {known}; how far laws may miss comes on top, and more seeds do not narrow it."
    )


def _factor(factor: float) -> str:
    return f"{factor:.2f}" if factor < MOST_FACTOR else f"{MOST_FACTOR} or more"
