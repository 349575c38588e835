"""How many independent runs the runs of a size are worth: runs that share a subset draw are a cluster.

Two runs on one draw have more in common than two on different draws, so that a mean over them is known less
well than over as many independent runs; the same holds for runs that share a training seed on several draws.
The scatter is split into draw, seed and rest by the method of moments, from squared sums over clusters that
all sizes of a curve share in: for a balanced sweep that is the analysis of variance (Searle, Casella and
McCulloch, *Variance Components*, 1992, chapters 4 and 5). What it makes of a mean is the design effect of
Donner and Klar (*Design and Analysis of Cluster Randomization Trials in Health Research*, 2000, chapter 1),
which for draws alone is 1 + (m - 1) * ICC with m runs a draw; degrees of freedom are Satterthwaite's
(*Biometrics Bulletin* 2, 1946, 110) and stay few where draws are few, however many seeds there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tui_datasize.stats.exponent import USUAL_EXPONENT, fit_exponent
from tui_datasize.stats.odd_sizes import odd_variances

Floats = NDArray[np.float64]

PRIOR_DEGREES = 4
"""What the scatter at all other sizes counts for against that at one, in degrees of freedom."""

_ROUNDING = 8 * np.finfo(float).eps
"""Values that differ by less than this part of the largest are equal."""
_RUN, _DRAW, _SEED = range(3)
"""Places of the sources of scatter in every table here."""


@dataclass(frozen=True, slots=True, eq=False)
class SizeRuns:
    """The runs of one train size; arrays of shape (n,), values finite."""

    train_size: float
    values: Floats
    draws: NDArray[np.int64]
    seeds: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MeanScatter:
    """How well the mean over the runs of one size is known."""

    stderr: float
    degrees: float
    """Of freedom behind it."""
    n_effective: float
    """Independent runs that would tell the mean as well."""
    pooled_degrees: float = math.inf
    """Of what all sizes were pooled for, draws taken for unrelated between sizes."""


@dataclass(frozen=True, slots=True)
class Clusters:
    """The scatter of one curve whose runs share draws."""

    draw_share: float
    """Intraclass correlation of runs on one draw: its share of the variance of a run, in [0, 1]."""
    seed_share: float
    """The same of a training seed that several draws share."""
    n_draws: int
    """At the size with the fewest, of those that have several."""
    exponent: float
    """Of the standard deviation of a run against train size."""
    sd_at_one: float
    """Standard deviation of one run = `sd_at_one` * n^`exponent`."""
    means: tuple[MeanScatter, ...]
    """Of each size, in the order given."""

    @property
    def pooled_degrees(self) -> float:
        return min(mean.pooled_degrees for mean in self.means)


def independent(values: Floats) -> MeanScatter:
    """The mean of runs that share nothing, at least one."""
    n = len(values)
    stderr = float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return MeanScatter(stderr, n - 1, n)


def find_clusters(curve: Sequence[SizeRuns]) -> Clusters | None:
    """What sharing draws makes of the means of one curve; None where its runs do not tell.

    They tell where some size has several draws with several runs. Sizes may scatter unequally: by a power of
    the train size whose exponent leans on that of public curves, and each size then by its own runs, as far
    as they weigh against `PRIOR_DEGREES`. A source whose part is estimated below 0 is taken for absent.

    Draws that sizes share under one id are nested as a rule: the effects of a draw at n1 < n2 images then
    correlate, as means over images of which the smaller set is a part do, by sqrt(n1/n2). That leaves every
    mean as uncertain as it is, but pooling over sizes gains less: so it is counted in the degrees of freedom
    of a mean. The effects of a training seed are taken for unrelated between sizes.
    """
    if not any(1 < len(np.unique(size.draws)) < len(size.values) for size in curve):
        return None
    odd = odd_scatter(curve)
    exponent = _exponent(curve, odd)
    sizes = np.array([size.train_size for size in curve], float)
    centre = math.exp(float(np.log(sizes).mean()))
    scales = (sizes / centre) ** exponent * np.sqrt(odd)
    if all(len(np.unique(size.seeds)) == len(size.values) for size in curve):
        # A seed of one run tells nothing that the run does not, and thousands of them take seconds.
        curve = [replace(size, seeds=np.zeros_like(size.seeds)) for size in curve]
    forms = [_Forms.of(size, float(scale)) for size, scale in zip(curve, scales, strict=True)]
    expected = sum((form.expected for form in forms), np.zeros((3, 3)))
    split = _split(expected, sum((form.squares for form in forms), np.zeros(3)))
    if split is None or all(np.ptp(size.values) <= _ROUNDING * np.abs(size.values).max() for size in curve):
        return None
    variances, inverse = split
    total = float(variances.sum())
    return Clusters(
        draw_share=float(variances[_DRAW]) / total,
        seed_share=float(variances[_SEED]) / total,
        n_draws=min(n for n in (len(np.unique(size.draws)) for size in curve) if n > 1),
        exponent=exponent,
        sd_at_one=math.sqrt(total) * centre**-exponent,
        means=_scatter_of_means(forms, sizes, variances, inverse),
    )


def _scatter_of_means(
    forms: Sequence[_Forms], sizes: Floats, variances: Floats, inverse: Floats
) -> tuple[MeanScatter, ...]:
    of_squares = [form.covariance(variances) for form in forms]
    apart = sum(of_squares, np.zeros((3, 3)))
    nested = apart + _in_common(forms, sizes, float(variances[_DRAW]))
    spreads = inverse @ apart @ inverse.T, inverse @ nested @ inverse.T
    means = [
        form.mean_scatter(variances, *spreads, float(own[_RUN, _RUN]))
        for form, own in zip(forms, of_squares, strict=True)
    ]
    least = min(mean.pooled_degrees for mean in means)
    return tuple(replace(mean, pooled_degrees=least) for mean in means)


def odd_scatter(curve: Sequence[SizeRuns]) -> Floats:
    """How many times its neighbours' the variance of each odd size is within draws; 1 for the rest, (n,)."""
    return odd_variances(*np.array([_within_draws(size) for size in curve]).reshape(-1, 2).T)


def _within_draws(size: SizeRuns) -> tuple[float, int]:
    """Variance and its degrees of freedom over runs of one draw; over all where no draw has two runs."""
    draws, of_draw = np.unique(size.draws, return_inverse=True)
    n = len(size.values)
    if n == len(draws):
        return (float(size.values.var(ddof=1)) if n > 1 else 0.0), n - 1
    means = np.bincount(of_draw, size.values) / np.bincount(of_draw)
    deviations = size.values - means[of_draw]
    return float(deviations @ deviations) / (n - len(draws)), n - len(draws)


@dataclass(frozen=True, slots=True, eq=False)
class _Forms:
    """Squared sums over the clusters of one size: what they are and what they are expected to be."""

    scale: float
    """Standard deviation of a run here against that at the middle of the sizes."""
    squares: Floats
    """Sum over clusters of the squared sum of scaled deviations from the mean, by source, shape (3,)."""
    expected: Floats
    """Of row's form per unit variance of column's source, shape (3, 3)."""
    in_mean: Floats
    """Of the variance of each source, the part that the mean over the runs keeps, shape (3,)."""
    overlap: Floats
    """Products of the centred memberships in draws and then in seeds, shape (d + s, d + s)."""
    draws: NDArray[np.int64]
    """Ids of the draws, shape (d,)."""

    @classmethod
    def of(cls, size: SizeRuns, scale: float) -> _Forms:
        n = len(size.values)
        draws, of_draw = np.unique(size.draws, return_inverse=True)
        seeds, of_seed = np.unique(size.seeds, return_inverse=True)
        deviations = (size.values - size.values.mean()) / scale
        sums = deviations, np.bincount(of_draw, deviations), np.bincount(of_seed, deviations)
        members = np.hstack([np.eye(len(draws))[of_draw], np.eye(len(seeds))[of_seed]])
        runs = members.sum(axis=0)
        overlap = members.T @ members - np.outer(runs, runs) / n
        parts = [np.s_[: len(draws)], np.s_[len(draws) :]]
        expected = np.empty((3, 3))
        expected[_RUN, _RUN] = n - 1
        expected[_RUN, 1:] = expected[1:, _RUN] = [np.trace(overlap[part, part]) for part in parts]
        expected[1:, 1:] = [[(overlap[row, column] ** 2).sum() for column in parts] for row in parts]
        return cls(
            scale=scale,
            squares=np.array([float(of_cluster @ of_cluster) for of_cluster in sums]),
            expected=expected,
            in_mean=np.array([n, *((runs[part] ** 2).sum() for part in parts)]) / n**2,
            overlap=overlap,
            draws=draws,
        )

    @property
    def over_draws(self) -> Floats:
        """The matrices of the forms summed over draws, shape (3, d, d)."""
        within, across = np.split(self.overlap[: len(self.draws)], [len(self.draws)], axis=1)
        return np.stack([within, within @ within, across @ across.T])

    def covariance(self, variances: Floats) -> Floats:
        """Of `squares` for normal values, shape (3, 3): 2 tr(F S F' S) for forms F, F' and scatter S.

        Off the mean of the size, every one of these matrices is a multiple a of the identity and C A C' with
        C the memberships, so that products and traces take C'C, `overlap`, alone: no matrix of runs by runs.
        """
        n_draws, n = len(self.draws), int(self.expected[_RUN, _RUN]) + 1
        is_draw = np.arange(len(self.overlap)) < n_draws
        of_cluster = np.where(is_draw, variances[_DRAW], variances[_SEED])
        # Each form times the scatter: a, and A times C'C.
        scattered = self.overlap * of_cluster @ self.overlap
        of_clusters = variances[_RUN] * self.overlap + scattered
        multiples = variances[_RUN], 0.0, 0.0
        products = (
            of_cluster[:, None] * self.overlap,
            np.where(is_draw[:, None], of_clusters, 0),
            np.where(is_draw[:, None], 0, of_clusters),
        )
        both = np.empty((3, 3))
        for i, (a, left) in enumerate(zip(multiples, products, strict=True)):
            for j, (b, right) in enumerate(zip(multiples, products, strict=True)):
                crossed = a * np.trace(right) + b * np.trace(left)
                both[i, j] = a * b * (n - 1) + crossed + float((left * right.T).sum())
        return 2 * both

    def mean_scatter(self, variances: Floats, apart: Floats, nested: Floats, of_own: float) -> MeanScatter:
        """Of the mean of this size.

        `variances` are those of each source, shape (3,); `apart` is their covariance if draws of different
        sizes had nothing in common, `nested` for nested draws, shape (3, 3); `of_own` is the variance of the
        squared sum over the runs of this size.
        """
        in_mean = float(self.in_mean @ variances)
        spreads = (float(self.in_mean @ spread @ self.in_mean) for spread in (nested, apart))
        degrees, compared = (2 * in_mean**2 / spread for spread in spreads)
        stderr, worth = self.scale * math.sqrt(in_mean), float(variances.sum()) / in_mean
        expected, seen = float(self.expected[_RUN] @ variances), float(self.squares[_RUN])
        if not expected:
            return MeanScatter(stderr, degrees, worth, compared)
        own = 2 * expected**2 / of_own
        moderation = (own * seen / expected + PRIOR_DEGREES) / (own + PRIOR_DEGREES)
        unknown = own / (own + PRIOR_DEGREES) ** 2
        known = 1 / (1 / degrees + unknown)
        return MeanScatter(stderr * math.sqrt(moderation), known, worth, compared)


def _exponent(curve: Sequence[SizeRuns], odd: Floats) -> float:
    """Of the standard deviation, as if a size told no more of it than its draws do."""
    sizes = zip(curve, odd, strict=True)
    repeated = [(size, factor) for size, factor in sizes if len(size.values) > 1 and np.ptp(size.values) > 0]
    found = fit_exponent(
        [size.train_size for size, _ in repeated],
        [size.values.var(ddof=1) / factor for size, factor in repeated],
        [max(1, len(np.unique(size.draws)) - 1) for size, _ in repeated],
    )
    return USUAL_EXPONENT if found is None else found.drawn_to_usual


def _split(expected: Floats, squares: Floats) -> tuple[Floats, Floats] | None:
    """Variance of each source, shape (3,), and the matrix that makes them of the squares, shape (3, 3).

    Sources are left out that the design does not tell apart from others, and those estimated below 0, the
    farthest below first; where draws do nothing, intervals are then hardly wider than of independent runs.
    None where draws cannot be told, nothing scatters, or values are too large to square.
    """
    sources = [_RUN]
    for source in (_DRAW, _SEED):
        if _is_told(expected, [*sources, source]):
            sources.append(source)
    if _DRAW not in sources:
        return None
    while True:
        inverse = np.zeros((3, 3))
        inverse[np.ix_(sources, sources)] = np.linalg.inv(expected[np.ix_(sources, sources)])
        variances = inverse @ squares
        if not np.isfinite(variances).all():
            return None
        if variances[1:].min() >= 0:
            break
        sources.remove(1 + int(np.argmin(variances[1:])))
    variances = np.maximum(variances, 0)
    return (variances, inverse) if variances.sum() > 0 else None


def _is_told(expected: Floats, sources: list[int]) -> bool:
    table = expected[np.ix_(sources, sources)]
    roots = np.sqrt(np.diag(table))
    if not roots.all():
        return False
    return float(np.linalg.eigvalsh(table / np.outer(roots, roots))[0]) > 1e-9


def _in_common(forms: Sequence[_Forms], sizes: Floats, draw_variance: float) -> Floats:
    """What nested draws add to the covariance of the squares summed over sizes, shape (3, 3)."""
    added = np.zeros((3, 3))
    over_draws = [form.over_draws for form in forms]
    for i in range(len(forms)):
        for j in range(i):
            _, here, there = np.intersect1d(forms[i].draws, forms[j].draws, return_indices=True)
            mine, others = over_draws[i][:, here][:, :, here], over_draws[j][:, there][:, :, there]
            common = draw_variance**2 * min(sizes[i], sizes[j]) / max(sizes[i], sizes[j])
            both = 2 * common * np.einsum("aij,bij->ab", mine, others)
            added += both + both.T
    return added
