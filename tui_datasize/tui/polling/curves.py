"""Training curves as plain columns: what the Live tab draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

from tui_datasize.metric import SCORES

if TYPE_CHECKING:
    import polars as pl

Part: TypeAlias = Literal["test", "train", "batches"]
"""Whole passes over the test and the training split, and means over the batches since the last row."""

POSITIONS = ("update", "epoch", "samples_seen", "wall_s")
"""Columns that may be the horizontal axis."""

_COLUMNS = (
    *POSITIONS,
    *(score.name for score in SCORES),
    "lr",
    "grad_norm",
    "images_per_s",
)
_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Curve:
    """The metric rows of one run."""

    run_id: str
    parts: Mapping[Part, Mapping[str, tuple[float, ...]]]
    """Per part the columns of `metrics.jsonl`, all equally long; NaN where a row has no value."""

    def column(self, part: Part, name: str) -> tuple[float, ...]:
        """Values of one column; empty where the run has no such rows."""
        return self.parts.get(part, {}).get(name, ())

    def last(self, part: Part, name: str) -> float:
        """The newest value of a column; NaN where there is none."""
        column = self.column(part, name)
        return column[-1] if column else _NAN


def curve_from(run_id: str, rows: pl.DataFrame) -> Curve:
    """Split the metric rows of one run (schema `METRICS`, none of them void) into its parts."""
    import polars as pl

    parts: dict[Part, Mapping[str, tuple[float, ...]]] = {}
    selections: Mapping[Part, pl.Expr] = {
        "test": (pl.col("event") == "evaluation") & (pl.col("split") == "test"),
        "train": (pl.col("event") == "evaluation") & (pl.col("split") == "train"),
        "batches": pl.col("event") == "train",
    }
    for part, selection in selections.items():
        chosen = rows.filter(selection).select(_COLUMNS)
        if chosen.height:
            parts[part] = _columns(chosen)
    return Curve(run_id, MappingProxyType(parts))


def _columns(rows: pl.DataFrame) -> Mapping[str, tuple[float, ...]]:
    return MappingProxyType(
        {name: tuple(_NAN if v is None else float(v) for v in rows[name].to_list()) for name in _COLUMNS}
    )


def smooth(values: Sequence[float], weight: float) -> list[float]:
    """Exponential moving average without the pull of the start (Kingma and Ba 2015, section 3).

    Args:
        values: Numbers; one that is not finite breaks nothing and stays as it is.
        weight: Share of the past in [0, 1); 0 leaves the values as they are.

    >>> smooth([1.0, 1.0, 1.0], 0.9)
    [1.0, 1.0, 1.0]
    """
    mean, share = 0.0, 0.0
    out: list[float] = []
    for value in values:
        if value != value or abs(value) == float("inf"):
            out.append(value)
            continue
        mean = weight * mean + (1 - weight) * value
        share = weight * share + (1 - weight)
        out.append(round(mean / share, 12))
    return out
