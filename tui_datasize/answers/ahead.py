"""What one learning curve says in sentences: now, twice the data, a target, and what is doubtful."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from tui_datasize.answers.answer import Sentence
from tui_datasize.stats.extrapolate import Outlook
from tui_datasize.stats.fits import FitFailure, LackOfFit
from tui_datasize.stats.shape import CurveShape
from tui_datasize.stats.size_needed import ASSURANCE, SizeNeeded
from tui_datasize.stats.summary import CurveAnalysis, backtest
from tui_datasize.stats.view import about
from tui_datasize.text import listed, plural

DIGITS = 1
"""Behind the point, of shares in sentences: a test set of some thousand images tells no more."""


def row_at(curve: CurveAnalysis, size: int | None) -> dict[str, Any]:
    """What is known at a train size that was run, or at the largest one."""
    rows = curve.curve if size is None else curve.curve.filter(train_size=size)
    return rows.row(-1, named=True)


def now(curve: CurveAnalysis, size: int | None = None) -> str:
    """The mean at a size that was run, or at the largest one, with its interval."""
    row = row_at(curve, size)
    runs = plural(row["n_runs"], "run")
    return f"{plural(row['train_size'], 'image')}: {mean_and_interval(curve, row)} ({runs})."


def mean_and_interval(curve: CurveAnalysis, row: dict[str, Any]) -> str:
    """A mean with half the width of its interval, or both its ends where one was cut off."""
    metric, low, high = curve.metric, row["low"], row["high"]
    mean = metric.text(row["mean"], digits_of(curve))
    if low is None:
        return mean
    if math.isclose(high - row["mean"], row["mean"] - low, rel_tol=1e-6):
        return f"{mean} ± {bare(metric.difference(high - row['mean'], digits_of(curve)))}"
    ends = f"{bare(metric.text(low, digits_of(curve)))} to {metric.text(high, digits_of(curve))}"
    return f"{mean} (95 % interval {ends})"


def next_doubling(curve: CurveAnalysis) -> str:
    """What twice the data are likely to change, and how sure that is."""
    outlook, size = curve.outlook, 2 * int(curve.curve["train_size"][-1])
    if isinstance(outlook, FitFailure):
        return f"{size:,} images: no forecast. {outlook.sentence}"
    doubling, metric, digits = outlook.doubling, curve.metric, digits_of(curve)
    values = (doubling.gain, doubling.low, doubling.high, doubling.one_in_ten)
    change, low, high, lucky = (metric.change(value, digits) for value in values)
    level = 100 * outlook.bands.nominal
    text = f"{size:,} images: likely {change}, {level:.0f} % sure of {bare(low)} to {bare(high)}"
    if (doubling.one_in_ten > 0) is not metric.higher_is_better:
        return f"{text}."
    more = "less" if doubling.one_in_ten < 0 else "more"
    return f"{text}; 1 chance in 10 of {more} than {bare(lucky)}."


def target(curve: CurveAnalysis) -> str:
    """How many images the target takes; empty where none is asked."""
    needed = curve.needed
    if needed is None:
        return ""
    goal = curve.metric.exact(needed.target)
    if needed.above is not None:
        above = f"{needed.above.train_size:,} ({curve.metric.text(needed.above.mean, digits_of(curve))})"
        if needed.below is None:
            most = above.replace(" (", " images (", 1)
            return f"{goal}: at most {most}, your smallest size.{_assured(needed)}"
        below = f"{needed.below.train_size:,} ({curve.metric.text(needed.below.mean, digits_of(curve))})"
        size = about(needed.train_size or needed.above.train_size)
        return f"{goal}: about {size} images, between your sizes {below} and {above}.{_assured(needed)}"
    if not needed.odds:
        return f"{goal}: {_not_reached(curve, needed)}"
    return f"{goal}: {_foreseen(needed)}{_assured(needed)}"


def _not_reached(curve: CurveAnalysis, needed: SizeNeeded) -> str:
    """Without a forecast."""
    rows, sign = curve.curve.select("train_size", "mean").rows(), 1 if curve.metric.higher_is_better else -1
    reached = [size for size, mean in rows if sign * (mean - needed.target) >= 0]
    if reached:
        return f"reached at {plural(reached[-1], 'image')}, and no longer at {needed.largest:,}."
    return f"not reached by {plural(needed.largest, 'image')}. Without a forecast nothing more is known."


def _foreseen(needed: SizeNeeded) -> str:
    odds = one_sided = f"{100 * needed.sure:.0f} % sure"
    least, most = needed.at_least or needed.largest, needed.at_most
    farthest = about(needed.farthest)
    if needed.train_size is None:
        bound = beyond(least, needed.largest)
        likely = f"; likely more than {farthest}" if bound != farthest else ""
        return f"more than {bound} images, {one_sided}{likely}. Run a larger size to know how many."
    size = f"about {about(needed.train_size)} images"
    if most is None:
        odds = f"{one_sided} of more than {about(least)}"
        enough = f"{100 * needed.enough:.0f} % sure that {farthest} are enough"
        return f"{size}; {odds if least > needed.largest else enough}."
    if least <= needed.largest:
        return f"{size}; {one_sided} of at most {about(most)}."
    return f"{size}; {odds} of {about(least)} to {about(most)}."


def beyond(least: float, largest: float) -> str:
    """A size that is foreseen as `about`, but the largest one that was run to the image."""
    return about(least) if least > largest else f"{largest:,.0f}"


def _assured(needed: SizeNeeded) -> str:
    """The size that single trainings need, where it is another than that of the mean."""
    if needed.assured is None or needed.assured == needed.train_size:
        return ""
    return f" {100 * ASSURANCE:.0f} % of trainings reach it from about {about(needed.assured)} images on."


def small_gains(curve: CurveAnalysis) -> str:
    """From which size on a doubling buys little."""
    outlook = curve.outlook
    if isinstance(outlook, FitFailure):
        return ""
    doubling = outlook.doubling
    amount = curve.metric.exact_difference(doubling.delta)
    if doubling.small_from is None:
        return f"These runs cannot tell where a doubling gains less than {amount}."
    text = f"From about {about(doubling.small_from)} images on a doubling gains less than {amount}"
    is_within = doubling.small_from <= int(curve.curve["train_size"][-1])
    if is_within and doubling.may_be_more:
        return f"{text}; the next one may still gain more."
    if not is_within and doubling.may_be_less:
        return f"{text}; perhaps the next one does already."
    return f"{text}."


def doubts(curve: CurveAnalysis) -> Iterator[Sentence]:
    """What speaks against the forecast and against the log-linear law."""
    outlook = curve.outlook
    if isinstance(outlook, Outlook):
        if outlook.faults:
            yield Sentence(f"The curve is {_faults(curve)}: take the forecast as a guess.", "warning")
        if outlook.scatter:
            yield Sentence(
                "With one run a size, scatter and shape look alike, so the forecast is less sure: the runs "
                f"lie {100 * outlook.scatter:.0f} % of the error off the laws. Run more seeds.",
                "warning",
            )


def tried(curve: CurveAnalysis) -> str:
    """What would have been foreseen of the largest size without its runs; empty where nothing would."""
    found = backtest(curve)
    if found is None:
        return ""
    row, metric, digits = curve.curve.row(-1, named=True), curve.metric, digits_of(curve)
    low, high, mean = (metric.text(value, digits) for value in (found.low, found.high, row["mean"]))
    said = f"this would have said {bare(low)} to {high}; measured: {mean}"
    return f"Without the runs at {found.train_size:,} {said}."


def _faults(curve: CurveAnalysis) -> str:
    """What the curve does that laws do not, to follow "is"."""
    if not isinstance(curve.shape, CurveShape):
        return ""
    broken = f"broken near {curve.shape.break_at or 0:,} images"
    words = {"rise": "not monotone", "hump": "not convex", "break": broken}
    return listed([words[fault] for fault in curve.shape.faults])


def shape_told(curve: CurveAnalysis) -> Iterator[str]:
    """A sentence for each thing that the curve does and laws do not."""
    shape = curve.shape
    if not isinstance(shape, CurveShape):
        return
    if rise := shape.rise:
        yield (
            f"Not monotone: {rise.to_size:,} images do worse than {rise.from_size:,} "
            f"({rise.z:.1f} standard errors)."
        )
    if hump := shape.hump:
        yield (
            f"Not convex: between {hump.from_size:,} and {hump.to_size:,} images more data first gains "
            f"little and then much ({hump.z:.1f} standard errors at {hump.at_size:,})."
        )
    if shape.break_at is not None:
        yield f"A break near {shape.break_at:,} images: a law fitted from there on extrapolates better."
    if not shape.is_checked:
        yield "Whether the curve is monotone and convex is unknown: no size has two runs that differ."


def of_the_law(curve: CurveAnalysis) -> str:
    """Whether the log-linear law holds; empty where there is none."""
    test = curve.lack_of_fit
    if isinstance(curve.fit, FitFailure):
        return ""
    if isinstance(test, LackOfFit):
        if curve.is_law_rejected:
            return f"The log-linear law fits badly ({_quoted(test)}): use the averaged curve."
        return f"The log-linear law is not rejected ({_quoted(test)})."
    return f"Whether the log-linear law holds cannot be tested. {test.sentence}"


def _quoted(test: LackOfFit) -> str:
    """Such as `lack of fit F(4,12) = 11.2, p = 0.00051`."""
    return f"lack of fit F({test.sizes_df},{test.runs_df:.3g}) = {test.f:.3g}, p = {test.p:.2g}"


def of_the_bands(outlook: Outlook) -> str:
    """How often such a forecast was right."""
    bands = outlook.bands
    text = (
        f"Bands made for {100 * bands.nominal:.0f} % held for {_range(bands.held)} of {bands.curves:,} "
        f"public curves of {bands.data_sets} data sets that they were not learned from, for "
        f"{_range(bands.held_few_runs)} with three runs at each of five sizes ({bands.source})."
    )
    if bands.held_losses:
        return (
            f"{text} Those are error rates. Of cross-entropy they held for "
            f"{_range(bands.held_losses)} of forecasts of real trainings of four image data sets."
        )
    if bands.held_ill_shaped:
        return f"{text} On curves of such a shape they held for {_range(bands.held_ill_shaped)}."
    return text


def _range(ends: tuple[float, float]) -> str:
    shown = dict.fromkeys(f"{100 * end:.0f}" for end in ends)
    return f"{' to '.join(shown)} %"


def bare(text: str) -> str:
    """A value without its unit, where the unit is written once for several."""
    return text.removesuffix(" points").removesuffix(" %").removesuffix(" s")


def digits_of(curve: CurveAnalysis) -> int | None:
    """Digits behind the point in sentences; None for as many as tables have."""
    return DIGITS if curve.metric.is_share else None
