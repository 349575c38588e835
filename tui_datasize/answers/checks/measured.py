"""Checks of the measurement: on how many images, with how much noise, and whether two metrics are one.

Runs have schema `RUNS`, are of one curve, and count; `test_images` is the size of the test set, None where
unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from scipy.special import bdtrc, chdtr, chdtrc

from tui_datasize.answers.checks.finding import Finding, Severity, finding, sizes_words
from tui_datasize.runlog.schema import IS_INCOMPLETE, were_imported
from tui_datasize.stats.clusters import SizeRuns, odd_scatter
from tui_datasize.stats.curve import COUNTED_STATES, points, size_runs
from tui_datasize.text import listed, plural

TOLERANCE = 2e-7
"""An accuracy may be off by this much, as a number of single precision."""
LARGEST_GRID = 20_000
CHANCE = 1e-6
"""A grid that whole-set values would all fall on with a greater probability is no evidence."""
COARSE_CHANCE = 1e-4
"""The same of one size beside others."""
MOST_VALUES = 64
LEAST_DEGREES = 4
_MOST_NAMED = 3
"""Runs that a sentence names; more are counted."""
NOISE_P = 0.05
GUESS_P = 0.01
"""A run that guesses comes out better than a run is taken for trained this often."""

_DECIMAL_GRIDS = frozenset(10**digits for digits in range(1, 6))
"""Grids of numbers written with a few digits, whatever was measured."""
_OR_ROUNDED = " (or the values are rounded)"


def smallest_grid(values: ArrayLike, most: int = LARGEST_GRID) -> int | None:
    """The smallest m for which all values are k/m for whole k, or None up to `most`.

    Values are shares in [0, 1], shape (n,).

    >>> smallest_grid([0.5, 0.75, 0.125]), smallest_grid([0.5, 0.3])
    (8, 10)
    """
    shares = np.unique(np.asarray(values, float))[:MOST_VALUES]
    if not len(shares):
        return None
    for start in range(1, most + 1, 512):
        images = np.arange(start, min(start + 512, most + 1))[:, None]
        hits = images * shares
        fits = (np.abs(hits - np.rint(hits)) <= images * TOLERANCE + 1e-9).all(axis=1)
        if fits.any():
            return start + int(np.argmax(fits))
    return None


def check_measured_part(runs: pl.DataFrame, test_images: int | None) -> Iterator[Finding]:
    """Evaluations of a part of the test split: values on a k/m grid with m below its size."""
    yield from _as_published(runs.filter("as_published"))
    grid = _grid(runs, test_images)
    if grid is None or grid == test_images:
        return
    fact = f"All test accuracies are whole {grid:,}ths"
    rounded = grid in _DECIMAL_GRIDS
    if test_images is None:
        # Numbers from elsewhere are mostly written with a few digits.
        told, unless = ("they are rounded, or ", "they are not rounded and ") if rounded else ("", "")
        what = f"{fact}: {told}so many images were tested, or a multiple of them."
        to_do = f"If {unless}the test set is larger than {grid:,}, only a part of it was evaluated."
        yield finding(Severity.NOTE, "part-of-split", runs, what, to_do)
        return
    share = math.sqrt(test_images / grid)
    what = (
        f"{fact}: {grid:,} of {test_images:,} test images were evaluated{_OR_ROUNDED if rounded else ''}, "
        f"which makes the sampling noise of each run {share:.1f} times larger."
    )
    to_do = "Evaluate the whole split and run again."
    yield finding(Severity.WARNING if rounded else Severity.ERROR, "part-of-split", runs, what, to_do)


def _as_published(marked: pl.DataFrame) -> Iterator[Finding]:
    if marked.height:
        what = (
            f"{plural(marked.height, 'run')} trained or measured as a study's code did it, "
            "not as its text says."
        )
        to_do = "Compare with the same sweep done right before you conclude anything."
        yield finding(Severity.WARNING, "as-published", marked, what, to_do)


def check_odd_sizes(runs: pl.DataFrame) -> Iterator[Finding]:
    """Sizes whose runs scatter unlike their neighbours', or whose scores are coarser than those of others."""
    sizes = size_runs(points(runs, "test_accuracy").filter(~pl.col("of_mean")))
    for place, (size, factor) in enumerate(zip(sizes, odd_scatter(sizes), strict=True)):
        grid = _own_grid(sizes, place)
        if factor == 1 and grid is None:
            continue
        until = "; until then it counts by its own scatter, and plans leave it out" if factor != 1 else ""
        yield finding(
            Severity.WARNING,
            "measured-differently",
            runs.filter(train_size=int(size.train_size)),
            f"{size.train_size:,.0f} images are measured unlike others: {_odd_words(size, factor, grid)}.",
            f"Evaluate every size on the same whole test set{until}.",
            names_sizes=True,
        )


def _odd_words(size: SizeRuns, factor: float, grid: int | None) -> str:
    facts, cause = [], "fewer test images, or runs that went wrong"
    if grid is not None:
        facts.append(f"all scores are whole {grid:,}ths, others finer")
        cause = f"{grid:,} test images" if factor > 1 else f"{grid:,} test images, or rounding"
    elif factor < 1:
        cause = "more test images, or one run counted several times"
    if factor != 1:
        sd = 100 * float(size.values.std(ddof=1))
        facts.append(f"runs scatter by {sd:.1f} points (SD), its neighbours' by {sd / math.sqrt(factor):.1f}")
    return f"{'; '.join(facts)}, as with {cause}"


def _own_grid(sizes: Sequence[SizeRuns], place: int) -> int | None:
    """On how many images a size was tested; None where its scores are no coarser than those of others."""
    own = np.unique(sizes[place].values)
    others = [size.values for i, size in enumerate(sizes) if i != place]
    grid = smallest_grid(own)
    if grid is None or not others:
        return None
    finer = smallest_grid(np.concatenate(others)) or LARGEST_GRID
    chance = len(sizes) * (grid / finer) ** len(own)
    return grid if 1 < 2 * grid <= finer and chance < COARSE_CHANCE else None


def check_sampling_noise(runs: pl.DataFrame, test_images: int | None) -> Iterator[Finding]:
    """Spread over runs no larger than that of drawing test images alone (binomial variance p(1 - p)/m)."""
    grid = _grid(runs, test_images)
    tested = test_images if grid is None or grid in _DECIMAL_GRIDS else grid
    by_size = runs.filter(pl.col("test_accuracy").is_between(0, 1, closed="none")).group_by("train_size").agg(
        pl.len().alias("n"),
        pl.col("test_accuracy").mean().alias("p"),
        pl.col("test_accuracy").var().alias("v"),
    )  # fmt: skip
    repeated = by_size.filter(pl.col("n") > 1)
    degrees = int((repeated["n"] - 1).sum())
    if tested is None or degrees < LEAST_DEGREES:
        return
    expected = repeated["p"] * (1 - repeated["p"]) / tested
    chi = float(((repeated["n"] - 1) * repeated["v"] / expected).sum())
    if chdtrc(degrees, chi) < NOISE_P:
        return
    seen, drawn = (math.sqrt(float(v.mean() or 0)) for v in (repeated["v"], expected))  # type: ignore[arg-type]
    is_far_below = float(chdtr(degrees, chi)) < NOISE_P
    # A part may be another one in every run: then its images do scatter the runs.
    is_part = test_images is not None and tested < test_images
    words = _part_words if is_part else _whole_words
    severity = Severity.WARNING if is_part else Severity.NOTE
    yield finding(severity, "sampling-noise", runs, *words(seen, drawn, tested, is_far_below))


def _part_words(seen: float, drawn: float, tested: int, is_far_below: bool) -> tuple[str, str]:
    """Fact and advice where each run may have been tested on other images."""
    does = "would give more" if is_far_below else "explains it"
    return (
        f"Runs of one size scatter by {100 * seen:.2f} points (SD); drawing {tested:,} test images alone "
        f"{does} ({100 * drawn:.2f} points).",
        "Differences between seeds may be test-set noise alone.",
    )


def _whole_words(seen: float, drawn: float, tested: int, is_far_below: bool) -> tuple[str, str]:
    """The same where all runs share their test images."""
    least = "less than" if is_far_below else "no more than"
    return (
        f"Runs of one size scatter by {100 * seen:.2f} points (SD), {least} the {100 * drawn:.2f} points "
        f"(binomial SD) by which another test set of {tested:,} images would move them together.",
        "Differences between seeds may hold for this test set alone; intervals cover seeds only, not other "
        "test images.",
    )


def check_chance(runs: pl.DataFrame, test_classes: Sequence[int]) -> Iterator[Finding]:
    """Runs that do no better than to name the commonest class (binomial test of each, one-sided).

    `test_classes` are the test images of each class; empty where unknown.
    """
    images = sum(test_classes)
    if not images:
        return
    grid = _grid(runs, images)
    tested = images if grid is None or grid in _DECIMAL_GRIDS else grid
    # A class that the test set lacks is one more to guess wrongly.
    chance = max(1 / len(test_classes), max(test_classes) / images)
    scored = runs.filter(pl.col("test_accuracy").is_between(0, 1))
    hits = np.rint(scored["test_accuracy"].to_numpy() * tested)
    guessing = scored.filter(pl.Series(bdtrc(hits - 1, tested, chance)) > GUESS_P)
    if guessing.is_empty():
        return
    best = 100 * float(str(guessing["test_accuracy"].max()))
    is_most = 2 * guessing.height > scored.height
    others = "" if guessing.height == scored.height else f" of {scored.height}"
    who = f"{guessing.height}{others} runs" if scored.height > 1 else "The run"
    yield finding(
        Severity.ERROR if is_most else Severity.WARNING,
        "no-better-than-chance",
        guessing,
        f"{who} cannot be told from guessing: "
        f"at most {best:.1f} % right, where naming one class gives {100 * chance:.1f} % "
        f"({sizes_words(guessing['train_size'].unique().sort().to_list())}).",
        "Look at their training curves: learning rate, budget or labels may be wrong. If there are simply "
        "too few images, leave these sizes out with --fit-from.",
        names_sizes=True,
    )


def check_equal_metrics(runs: pl.DataFrame) -> Iterator[Finding]:
    """Macro F1 that equals accuracy to the last digit: a micro average, and no second evidence."""
    for split in ("test", "train"):
        accuracy, f1 = pl.col(f"{split}_accuracy"), pl.col(f"{split}_f1_macro")
        both = runs.filter(accuracy.is_finite() & f1.is_finite() & accuracy.is_between(0, 1, closed="none"))
        if both.height > 1 and both.filter((accuracy - f1).abs() > 1e-9).is_empty():
            what = (
                f"{split.capitalize()} F1 equals accuracy in all {both.height} runs: it is micro-averaged "
                "and says nothing beyond accuracy."
            )
            to_do = "Do not count it as a second result; average F1 over classes (macro)."
            yield finding(Severity.WARNING, "f1-is-accuracy", both, what, to_do)


def check_incomplete(runs: pl.DataFrame) -> Iterator[Finding]:
    """Runs that succeeded, but whose record lacks evaluations that their specification asks for."""
    lost = runs.filter(IS_INCOMPLETE)
    if lost.is_empty():
        return
    missing = plural(int(lost["missing_evaluations"].sum()), "evaluation")
    named = list(lost["run_id"].head(_MOST_NAMED))
    named += [f"{lost.height - len(named):,} more"] if lost.height > len(named) else []
    what = (
        f"{missing} of {plural(lost.height, 'run')} are not in the record: {listed(named)}. These runs are "
        "not counted: an earlier evaluation would pass for the last."
    )
    to_do = f"Rerun them: `datasize-tui queue {lost['experiment'][0]}` counts them as not done."
    yield finding(Severity.ERROR, "incomplete", lost, what, to_do, names_sizes=True)


def check_not_finite(runs: pl.DataFrame) -> Iterator[Finding]:
    """Runs that succeeded without a finite test result, and records with broken lines."""
    ended = runs.filter(pl.col("state").is_in(COUNTED_STATES))
    # A score that no run has was not measured: results that were imported need not have both.
    measured = [s for s in ("test_accuracy", "test_loss") if ended[s].null_count() < ended.height]
    scores = measured or ([] if were_imported(ended) else ["test_accuracy"])
    is_finite = pl.all_horizontal(True, *(pl.col(score).is_finite().fill_null(False) for score in scores))
    missing = ended.filter(~is_finite)
    if missing.height:
        yield _not_finite(missing)
    broken = runs.filter(pl.col("broken_lines") > 0)
    if broken.height:
        what = (
            f"The record of {plural(broken.height, 'run')} has lines that cannot be read; they are left out."
        )
        to_do = "Rerun them if the last evaluation is among these lines."
        yield finding(Severity.WARNING, "broken-lines", broken, what, to_do)


def _not_finite(missing: pl.DataFrame) -> Finding:
    who = f"{plural(missing.height, 'run')} of {sizes_words(missing['train_size'].unique().sort().to_list())}"
    if were_imported(missing):
        what = f"{who} came without a value (blank or not finite) of a metric that others have"
        to_do = "Check at their source whether they diverged or were just not written down."
    else:
        what = f"{who} ended without a finite test accuracy and loss"
        to_do = "Look at their training curves; lower the learning rate or clip gradients."
    what = f"{what}; the mean over the others is too good if these diverged."
    return finding(Severity.WARNING, "not-finite", missing, what, to_do, names_sizes=True)


def _grid(runs: pl.DataFrame, test_images: int | None) -> int | None:
    """How many images were tested, told by the values; None where they are no evidence.

    A whole test set would put values on a coarser grid too, but hardly many of them.
    """
    single = runs.filter(pl.col("test_accuracy").is_finite(), pl.col("means_of").is_null())
    values = single["test_accuracy"].to_numpy()
    grid = smallest_grid(values, min(LARGEST_GRID, test_images or LARGEST_GRID))
    if grid is None or grid == test_images:
        return grid
    share = math.gcd(grid, test_images) / test_images if test_images else 0.0
    chance = max(share, 2 * TOLERANCE * grid) ** len(np.unique(values)) * LARGEST_GRID
    return grid if chance < CHANCE else None
