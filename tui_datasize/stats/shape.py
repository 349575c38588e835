"""What a learning curve does that none of the usual laws does: rises, bends the wrong way, breaks.

About one public curve in seven is ill-behaved in one of these ways (Yan et al., LCDB 1.1, 2025).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeAlias

import numpy as np
from scipy.special import ndtri

from tui_datasize.stats.averaging import FittedLaws
from tui_datasize.stats.fitting import CurvePoints, LawFit, floored
from tui_datasize.stats.laws import Floats

SIGNIFICANT = 0.01
"""One-sided, of all comparisons of one kind on a curve together (Bonferroni)."""
BREAK_EVIDENCE = 10.0
"""How much lower the AICc of a broken power law has to be than that of the best smooth law: "essentially no
support" for the other (Burnham and Anderson, section 2.6)."""
BROKEN = "BNSL1"
Fault: TypeAlias = Literal["rise", "hump", "break"]


@dataclass(frozen=True, slots=True)
class Rise:
    """The error is larger at the larger of two sizes, by more than chance."""

    from_size: int
    to_size: int
    by: float
    """In units of the error."""
    z: float
    """In standard errors of the difference."""


@dataclass(frozen=True, slots=True)
class Hump:
    """The error lies above the chord between two other sizes, by more than chance."""

    at_size: int
    from_size: int
    to_size: int
    by: float
    z: float


@dataclass(frozen=True, slots=True)
class CurveShape:
    """What was found; None where nothing was."""

    rise: Rise | None
    """The most significant one."""
    hump: Hump | None
    break_at: int | None
    """Train size at which a power law changes its exponent."""
    is_checked: bool
    """Whether rises and humps could be told from chance: some size has two runs that differ."""

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What was found; nothing for a curve that falls ever more slowly."""
        found: dict[Fault, object] = {"rise": self.rise, "hump": self.hump, "break": self.break_at}
        return tuple(kind for kind, fault in found.items() if fault is not None)


def describe_shape(laws: FittedLaws) -> CurveShape:
    """Check a learning curve for rises, humps and a break.

    Rises and humps are told from chance by the standard errors of the means; the break by AICc.
    """
    points = laws.points
    known = np.isfinite(points.stderrs) & (points.stderrs > 0)
    break_at = _break_of(laws)
    if not known.any():
        return CurveShape(None, None, break_at, is_checked=False)
    stderrs = floored(points.stderrs)
    return CurveShape(_worst_rise(points, stderrs), _worst_hump(points, stderrs), break_at, is_checked=True)


def _worst_rise(points: CurvePoints, stderrs: Floats) -> Rise | None:
    if points.n_sizes < 2:
        return None
    i, j = np.triu_indices(points.n_sizes, 1)
    by = points.errors[j] - points.errors[i]
    z = by / np.hypot(stderrs[i], stderrs[j])
    worst = int(np.argmax(z))
    if z[worst] < _critical(len(z)):
        return None
    sizes = points.train_sizes
    return Rise(int(sizes[i[worst]]), int(sizes[j[worst]]), float(by[worst]), float(z[worst]))


def _worst_hump(points: CurvePoints, stderrs: Floats) -> Hump | None:
    if points.n_sizes < 3:
        return None
    i, j, k = np.array(list(combinations(range(points.n_sizes), 3))).T
    sizes, e = points.train_sizes, points.errors
    share = (sizes[j] - sizes[i]) / (sizes[k] - sizes[i])
    by = e[j] - (1 - share) * e[i] - share * e[k]
    z = by / np.sqrt(stderrs[j] ** 2 + ((1 - share) * stderrs[i]) ** 2 + (share * stderrs[k]) ** 2)
    worst = int(np.argmax(z))
    if z[worst] < _critical(len(z)):
        return None
    at, start, end = (int(sizes[index[worst]]) for index in (j, i, k))
    return Hump(at, start, end, float(by[worst]), float(z[worst]))


def _break_of(laws: FittedLaws) -> int | None:
    """The size where the broken power law breaks, if no smooth law comes near it."""
    broken = dict((law.name, fit) for law, fit in laws.fits).get(BROKEN)
    smooth = [fit.aicc for law, fit in laws.fits if law.name != BROKEN and isinstance(fit, LawFit)]
    if isinstance(broken, LawFit) and broken.aicc < min(smooth, default=math.inf) - BREAK_EVIDENCE:
        return round(broken.parameters["d"])
    return None


def _critical(comparisons: int) -> float:
    return float(ndtri(1 - SIGNIFICANT / comparisons))
