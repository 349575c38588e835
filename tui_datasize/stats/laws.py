"""The laws that a learning curve may follow, in one table.

All describe how the error falls with the train size n: error = 1 - accuracy, or cross-entropy. All but M4
are linear in the floor a and the scale b once their shape parameters are given, e(n) = a + b*term(n);
`fitting` makes use of it. Names follow Viering and Loog, *The Shape of Learning Curves: a Review* (2022),
table 1, but for the laws whose source is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tui_datasize.metric import Metric

Floats: TypeAlias = NDArray[np.float64]
Term: TypeAlias = Callable[[Floats, Floats], Floats]
"""The term that b scales: train sizes of shape (n,) and shape parameters of shape (s, g, 1) to (g, n)."""

Scale: TypeAlias = Literal["log", "linear"]
FloorKind: TypeAlias = Literal["free", "zero", "unbounded"]


class Loss(StrEnum):
    """What a law is fitted to; both fall as the train size grows."""

    ERROR = "error"
    """A share in [0, 1], such as 1 - accuracy."""
    CROSS_ENTROPY = "cross-entropy"
    """At least 0, without an upper end."""


WHAT_LAWS_DESCRIBE = "they describe accuracy, F1, AUROC and cross-entropy on the test split"


def loss_of(metric: Metric) -> Loss | None:
    """What the laws are fitted to for a metric; None where they describe no such metric.

    Train metrics have none: the train error commonly rises with the train size.
    """
    if metric.name.startswith("train_"):
        return None
    if metric.name.endswith(("_accuracy", "_f1_macro", "_top5", "_auroc")):
        return Loss.ERROR
    return Loss.CROSS_ENTROPY if metric.name.endswith("_loss") else None


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape parameter and where it may lie."""

    name: str
    low: float
    high: float
    points: int
    """How many values the first grid takes."""
    scale: Scale = "log"
    low_unit: Literal["", "n_min"] = ""
    """What `low` counts: plain numbers, or the smallest train size fitted."""
    high_unit: Literal["", "n_min", "n_max"] = ""

    def bounds(self, train_sizes: Floats) -> tuple[float, float]:
        """Both ends for ascending train sizes, on the scale of the grid (natural logarithm, or as it is)."""
        units = {"": 1.0, "n_min": float(train_sizes[0]), "n_max": float(train_sizes[-1])}
        low, high = self.low * units[self.low_unit], self.high * units[self.high_unit]
        return (math.log(low), math.log(high)) if self.scale == "log" else (low, high)


@dataclass(frozen=True, slots=True)
class Law:
    """A parametric form of the learning curve."""

    name: str
    formula: str
    """With n for the train size, e for the error; parameters as in `shapes`, and a and b."""
    shapes: tuple[Shape, ...]
    form: Literal["linear", "implicit", "last"]
    """Linear in a and b given the shapes; M4, to be solved for e; or the last value repeated."""
    term: Term
    """What b scales, where the form is linear."""
    floor: FloorKind
    """Of a: between 0 and the least error seen; 0; any number (with b of any sign, too)."""
    suits: tuple[Loss, ...]
    averaged_for: tuple[Loss, ...]
    """Where it takes part in the AICc average."""
    least_sizes: int
    """Sizes that it takes to fit it at all."""
    source: str

    @property
    def n_parameters(self) -> int:
        """Parameters of the curve, without the variance around it."""
        return len(self.shapes) + (1 if self.floor == "zero" else 2)


def _power(sizes: Floats, shapes: Floats) -> Floats:
    term: Floats = np.exp(-shapes[0] * np.log(sizes))
    return term


def _broken_power(sizes: Floats, shapes: Floats) -> Floats:
    c0, c1, d, f = shapes
    log_size = np.log(sizes)
    term: Floats = np.exp(-c0 * log_size - c1 * f * np.logaddexp(0, (log_size - np.log(d)) / f))
    return term


_BOTH = (Loss.ERROR, Loss.CROSS_ENTROPY)
_ERROR = (Loss.ERROR,)
_C = Shape("c", 0.02, 3, 24)

LAWS: tuple[Law, ...] = (
    Law(
        "loglin", "a - b*log10(n)", (), "linear", lambda n, _: -np.log10(n)[None, :],
        "unbounded", _BOTH, (), 3, "Hansson, Padban and Silwer (2025)",
    ),
    Law("last1", "e(n_max)", (), "last", _power, "zero", _BOTH, (), 1, "Mohr et al., LCDB 1.0 (2022)"),
    Law(
        "half", "a + b*n^-1/2", (), "linear", lambda n, _: (n**-0.5)[None, :], "free", _BOTH, _BOTH, 3,
        "Hoiem et al. (2021)",
    ),
    Law("pow2", "b*n^-c", (_C,), "linear", _power, "zero", _BOTH, _BOTH, 3, "Viering and Loog (2022)"),
    Law("pow3", "a + b*n^-c", (_C,), "linear", _power, "free", _BOTH, _BOTH, 4, "Hestness et al. (2017)"),
    Law(
        "pow4", "a + b*(n + d)^-c",
        (_C, Shape("d", 0.02, 30, 16, low_unit="n_min", high_unit="n_min")),
        "linear", lambda n, s: np.exp(-s[0] * np.log(n + s[1])), "free", _BOTH, (), 5,
        "Viering and Loog (2022)",
    ),
    Law(
        "exp3", "a + b*exp(-n/k)",
        (Shape("k", 0.5, 5, 24, low_unit="n_min", high_unit="n_max"),),
        "linear", lambda n, s: np.exp(-n / s[0]), "free", _ERROR, _ERROR, 4, "Viering and Loog (2022)",
    ),
    Law(
        "wbl4", "a + b*exp(-(n/k)^d)",
        (Shape("k", 0.1, 5, 20, low_unit="n_min", high_unit="n_max"), Shape("d", 0.1, 2, 14)),
        "linear", lambda n, s: np.exp(-np.exp(s[1] * (np.log(n) - np.log(s[0])))), "free", _ERROR, _ERROR, 5,
        "Viering and Loog (2022), as exp4",
    ),
    Law(
        "mmf4", "a + b/(1 + (n/k)^d)",
        (Shape("k", 0.1, 5, 20, low_unit="n_min", high_unit="n_max"), Shape("d", 0.1, 3, 14)),
        "linear", lambda n, s: 1 / (1 + np.exp(s[1] * (np.log(n) - np.log(s[0])))), "free", _ERROR, _ERROR, 5,
        "Morgan, Mercer and Flodin (1975)",
    ),
    Law(
        "M4", "(e - a)/(e0 - e)^alpha = b*n^-c",
        (_C, Shape("alpha", 0, 3, 13, "linear")),
        "implicit", _power, "free", _ERROR, _ERROR, 5, "Alabdulmohsin, Neyshabur and Zhai (2022), eq. 3",
    ),
    Law(
        "BNSL1", "a + b*n^-c0*(1 + (n/d)^(1/f))^(-c1*f)",
        (
            Shape("c0", 0.02, 2, 10),
            Shape("c1", -1, 3, 9, "linear"),
            Shape("d", 1, 1, 12, low_unit="n_min", high_unit="n_max"),
            Shape("f", 0.05, 1, 5),
        ),
        "linear", _broken_power, "free", _BOTH, (), 10, "Caballero et al. (2023), eq. 1, one break",
    ),
)  # fmt: skip
"""Every law there is, the published one first."""


def flipped(loss: Loss, values: ArrayLike) -> Floats:
    """The error of a metric, or the metric of an error: 1 - accuracy; a cross-entropy is its own error."""
    array = np.asarray(values, float)
    return 1 - array if loss is Loss.ERROR else array
