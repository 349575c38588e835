"""Typed values as text: the one way by which every printer writes the cells of a table."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tui_datasize.answers.answer import Column, Kind, Table

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.metric import Metric

MOST_ROWS = 60
"""Rows of a table that a page shows; export writes all."""
NUMBER = re.compile(
    r"(?<![\w.=^(/:-])(?:[+\-±] ?)?\d[\d,.]*(?<=\d)(?:e[+-]?\d+)?(?: %| points)?(?![\w-]*\d)(?!\w)"
)
"""What stands out in a sentence; not the value of an option, a date, or the degrees of freedom of a test."""
_SHARES = ("share", "points")
_OF_METRIC = ("value", "difference", "spread")
_SIGNED = ("points", "difference")
_ROUNDING = 1e-14
_LEAST_P = 1e-16
"""Below that a p value says no more."""
_FEW_DIGITS, _MANY_DIGITS = 1e4, 1e8
"""Numbers between are written in full: four digits and an exponent read badly."""


@dataclass(frozen=True)
class Written:
    """A table as texts."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    n_texts: int
    """Columns that hold words, from the first on; the others hold numbers and end at the right."""
    n_left_out: int = 0
    """Rows beyond those that are shown."""
    is_detail: bool = False
    """Whether it is for specialists: a page shows it when it is asked to."""


def written(table: Table, most: int | None = MOST_ROWS) -> Written:
    """The texts of a table; columns without any value are left out."""
    frame, metric, columns = table.frame, table.metric, filled_columns(table)
    shown = frame if most is None else frame.head(most)
    return Written(
        table.title,
        [heading(column, metric) for column in columns],
        [
            [cell(row[column.name], column.kind, metric) for column in columns]
            for row in shown.iter_rows(named=True)
        ],
        sum(column.kind == "text" for column in columns),
        frame.height - shown.height,
        table.is_detail,
    )


def filled_columns(table: Table) -> list[Column]:
    """The columns that are shown: those that hold any value, and the variant where there are several."""
    frame = table.frame
    columns = [column for column in table.columns if _has_values(frame[column.name])]
    if "variant" in frame.columns and frame["variant"].n_unique() > 1:
        columns.insert(0, Column("variant", "variant", "text"))
    return columns


def heading(column: Column, metric: Metric) -> str:
    """The title of a column with its unit."""
    unit = {"share": "%", "points": "points"}.get(column.kind, "")
    if column.kind in _OF_METRIC and metric.is_share:
        unit = "%" if column.kind == "value" else "points"
    return f"{column.title}, {unit}" if unit else column.title


def cell(value: Any, kind: Kind, metric: Metric) -> str:
    """One value; empty where there is none.

    >>> from tui_datasize.metric import metric_named
    >>> [cell(value, "number", metric_named("test_loss")) for value in (0.0123, 61.532, 12_345.6, 1.5e12)]
    ['0.0123', '61.53', '12,346', '1.5e+12']
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    if kind == "text":
        return str(value)
    if kind == "cell":
        return _mean_cell(value, metric)
    scale = 100 if kind in _SHARES else metric.scale if kind in _OF_METRIC else 1
    # What should be 0 and is not, by rounding, is 0.
    if kind == "p" and value < _LEAST_P:
        return f"<{_LEAST_P:.0e}"
    number = scale * value if abs(value) > _ROUNDING else 0
    if kind == "number" and _FEW_DIGITS <= abs(number) < _MANY_DIGITS:
        return f"{number:,.0f}"
    return f"{number:{_format(kind, scale)}}"


def _mean_cell(value: Mapping[str, Any], metric: Metric) -> str:
    half = cell(value["half"], "spread", metric)
    runs = "" if value["n_runs"] is None else f" ({value['n_runs']:,})"
    mark = "*" if value["is_best"] else " "
    return f"{cell(value['mean'], 'value', metric)}{half and f' ±{half}'}{runs}{mark}"


def _format(kind: Kind, scale: float) -> str:
    sign = "+" if kind in _SIGNED else ""
    fixed = {"count": ",.0f", "number": ".4g", "p": ".2g"}
    return fixed.get(kind, f"{sign}z.{2 if scale == 100 else 4}f")


def _has_values(values: pl.Series) -> bool:
    known = values.drop_nulls()
    return known.len() > 0 and not (str(values.dtype) == "String" and (known == "").all())
