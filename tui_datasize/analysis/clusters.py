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

from tui_datasize.analysis.exponent import USUAL_EXPONENT, fit_exponent

Floats = NDArray[np.float64]

PRIOR_DEGREES = 4
"""What the scatter at all other sizes counts for against that at one, in degrees of freedom."""

_ROUNDING = 8 * np.finfo(float).eps
"""Values that differ by less than this part of the largest are equal."""
_RUN, _DRAW, _SEED = range(3)
"""Places of the sources of scatter in every table here."""


@dataclass(frozen=True, slots=True, eq=False)
class SizeRuns:
    """The runs of one train size."""

    train_size: float
    values: Floats
    """Finite, shape (n,)."""
    draws: NDArray[np.int64]
    """Subset draw of each run, shape (n,)."""
    seeds: NDArray[np.int64]
    """Training seed of each run, shape (n,)."""


@dataclass(frozen=True, slots=True)
class MeanScatter:
    """How well the mean over the runs of one size is known."""

    stderr: float
    degrees: float
    """Of freedom behind it."""
    degrees_compared: float
    """The same for a comparison with other sizes, see `find_clusters`."""
    n_effective: float
    """Independent runs that would tell the mean as well."""
    pooled_degrees: float = math.inf
    """Of what all sizes were pooled for: a comparison of sizes has no more."""


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
        """Degrees of freedom behind what all sizes were pooled for."""
        return min(mean.pooled_degrees for mean in self.means)


def independent(values: Floats) -> MeanScatter:
    """The mean of runs that share nothing, at least one."""
    n = len(values)
    stderr = float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return MeanScatter(stderr, n - 1, n - 1, n)


def find_clusters(curve: Sequence[SizeRuns]) -> Clusters | None:
    """What sharing draws makes of the means of one curve; None where its runs do not tell.

    They tell where some size has several draws with several runs. Sizes may scatter unequally: by a power of
    the train size whose exponent leans on that of public curves, and each size then by its own runs, as far
    as they weigh against `PRIOR_DEGREES`. A source whose part is estimated below 0 is taken for absent.

    Draws that sizes share under one id are nested as a rule: the effects of a draw at n1 < n2 images then
    correlate, as means over images of which the smaller set is a part do, by sqrt(n1/n2). That leaves every
    mean as uncertain as it is, but pooling over sizes gains less: so it is counted in the degrees of freedom
    of a mean. Sizes are compared as if their draws were independent, which errs towards finding none.
    The effects of a training seed are taken for unrelated between sizes.

    Args:
        curve: One entry per train size, at least one run each.
    """
    if not any(1 < len(np.unique(size.draws)) < len(size.values) for size in curve):
        return None
    exponent = _exponent(curve)
    sizes = np.array([size.train_size for size in curve], float)
    centre = math.exp(float(np.log(sizes).mean()))
    scales = (sizes / centre) ** exponent
    forms = [_Forms.of(size, float(scale)) for size, scale in zip(curve, scales, strict=True)]
    expected = sum((form.expected for form in forms), np.zeros((3, 3)))
    split = _split(expected, sum((form.squares for form in forms), np.zeros(3)))
    if split is None or all(np.ptp(size.values) <= _ROUNDING * np.abs(size.values).max() for size in curve):
        return None
    variances, inverse = split
    apart, shared = (inverse @ covariance @ inverse.T for covariance in _covariances(forms, sizes, variances))
    means = [form.mean_scatter(variances, apart, shared) for form in forms]
    least = min(mean.pooled_degrees for mean in means)
    total = float(variances.sum())
    return Clusters(
        draw_share=float(variances[_DRAW]) / total,
        seed_share=float(variances[_SEED]) / total,
        n_draws=min(n for n in (len(np.unique(size.draws)) for size in curve) if n > 1),
        exponent=exponent,
        sd_at_one=math.sqrt(total) * centre**-exponent,
        means=tuple(replace(mean, pooled_degrees=least) for mean in means),
    )


def draw_means(size: SizeRuns) -> Floats:
    """The mean over the runs of each draw, shape (draws,)."""
    _, of_draw = np.unique(size.draws, return_inverse=True)
    means: Floats = np.bincount(of_draw, size.values) / np.bincount(of_draw)
    return means


def within_draws(size: SizeRuns) -> Floats:
    """Runs as far from the mean of their draw as they are, all draws put at one level, shape (n,).

    Stretched by what taking a mean per draw costs the variance; as they are where no draw has two runs.
    """
    draws, of_draw = np.unique(size.draws, return_inverse=True)
    n = len(size.values)
    if n == len(draws):
        return size.values
    deviations = size.values - draw_means(size)[of_draw]
    stretched: Floats = size.values.mean() + deviations * math.sqrt((n - 1) / (n - len(draws)))
    return stretched


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
    forms: tuple[Floats, ...]
    """Matrices of these quadratic forms, each of shape (n, n)."""
    over_draws: Floats
    """The same summed over draws, shape (3, d, d), d being all draws of the size."""
    draws: NDArray[np.int64]
    """Ids of these draws, shape (d,)."""

    @classmethod
    def of(cls, size: SizeRuns, scale: float) -> _Forms:
        n = len(size.values)
        draws, of_draw = np.unique(size.draws, return_inverse=True)
        seeds, of_seed = np.unique(size.seeds, return_inverse=True)
        members = np.eye(n), np.eye(len(draws))[of_draw], np.eye(len(seeds))[of_seed]
        centred = [member - member.mean(axis=0) for member in members]
        deviations = (size.values - size.values.mean()) / scale
        forms = tuple(member @ member.T for member in centred)
        return cls(
            scale=scale,
            squares=np.array([float(((deviations @ member) ** 2).sum()) for member in centred]),
            expected=np.array([[float(((a.T @ b) ** 2).sum()) for b in centred] for a in centred]),
            in_mean=np.array([float((member.sum(axis=0) ** 2).sum()) for member in members]) / n**2,
            forms=forms,
            over_draws=np.stack([members[_DRAW].T @ form @ members[_DRAW] for form in forms]),
            draws=draws,
        )

    def covariance(self, variances: Floats) -> Floats:
        """Of `squares` for normal values, shape (3, 3)."""
        scatter = sum((v * form for v, form in zip(variances, self.forms, strict=True)), 0 * self.forms[_RUN])
        # Centred on both sides already: the forms of a size are projected off its mean.
        products = [form @ scatter for form in self.forms]
        both: Floats = 2 * np.array([[float((a * b.T).sum()) for b in products] for a in products])
        return both

    def covariance_with(self, other: _Forms, draw_variance: float) -> Floats:
        """Of the `squares` of two sizes whose common draws have the same effect at both, shape (3, 3)."""
        _, here, there = np.intersect1d(self.draws, other.draws, return_indices=True)
        mine, others = self.over_draws[:, here][:, :, here], other.over_draws[:, there][:, :, there]
        both: Floats = 2 * draw_variance**2 * np.einsum("aij,bij->ab", mine, others)
        return both

    def mean_scatter(self, variances: Floats, apart: Floats, shared: Floats) -> MeanScatter:
        """Of the mean of this size.

        Args:
            variances: Of each source, shape (3,).
            apart: Covariance of these if draws of different sizes had nothing in common, shape (3, 3).
            shared: The same for nested draws.
        """
        in_mean = float(self.in_mean @ variances)
        spreads = (float(self.in_mean @ spread @ self.in_mean) for spread in (shared, apart))
        degrees, compared = (2 * in_mean**2 / spread for spread in spreads)
        stderr, worth = self.scale * math.sqrt(in_mean), float(variances.sum()) / in_mean
        expected, seen = float(self.expected[_RUN] @ variances), float(self.squares[_RUN])
        if not expected:
            return MeanScatter(stderr, degrees, compared, worth, compared)
        own = 2 * expected**2 / float(self.covariance(variances)[_RUN, _RUN])
        moderation = (own * seen / expected + PRIOR_DEGREES) / (own + PRIOR_DEGREES)
        of_own = own / (own + PRIOR_DEGREES) ** 2
        known, known_compared = (1 / (1 / pooled + of_own) for pooled in (degrees, compared))
        return MeanScatter(stderr * math.sqrt(moderation), known, known_compared, worth, compared)


def _exponent(curve: Sequence[SizeRuns]) -> float:
    """Of the standard deviation, as if a size told no more of it than its draws do."""
    repeated = [size for size in curve if len(size.values) > 1 and np.ptp(size.values) > 0]
    found = fit_exponent(
        [size.train_size for size in repeated],
        [size.values.var(ddof=1) for size in repeated],
        [max(1, len(np.unique(size.draws)) - 1) for size in repeated],
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
    """Whether the squares of some sources tell their variances apart."""
    table = expected[np.ix_(sources, sources)]
    roots = np.sqrt(np.diag(table))
    if not roots.all():
        return False
    return float(np.linalg.eigvalsh(table / np.outer(roots, roots))[0]) > 1e-9


def _covariances(forms: Sequence[_Forms], sizes: Floats, variances: Floats) -> tuple[Floats, Floats]:
    """Of the squares summed over sizes, shape (3, 3) each: of unrelated draws, and of nested ones."""
    apart = sum((form.covariance(variances) for form in forms), np.zeros((3, 3)))
    shared = apart.copy()
    for i in range(len(forms)):
        for j in range(i):
            correlation = math.sqrt(min(sizes[i], sizes[j]) / max(sizes[i], sizes[j]))
            both = forms[i].covariance_with(forms[j], correlation * float(variances[_DRAW]))
            shared += both + both.T
    return apart, shared
