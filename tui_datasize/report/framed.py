"""Frames as tables of texts, of bounded length, with what they show and where the rest of them is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import polars as pl

from tui_datasize.analysis.curve import Metric
from tui_datasize.answers.answer import SEVERITIES, Answer
from tui_datasize.render.cells import written
from tui_datasize.report.blocks import Block, Figure, Heading, Table, Words
from tui_datasize.words import plural

MOST_ROWS = 60

Kind: TypeAlias = Literal["text", "count", "number", "p", "share", "points", "value", "difference", "spread"]
"""How a column is written: a share in percent and a difference of shares in points; `value`, `difference` and
`spread` (a difference without sign) are in units of the view's metric."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a frame that a table shows."""

    name: str
    title: str
    kind: Kind = "count"


@dataclass(frozen=True)
class View:
    """A table of the evidence."""

    title: str
    """Its heading; empty for a further table under the same one."""
    shows: str
    """What it shows, in one sentence."""
    frame: pl.DataFrame
    """Its rows; `variant` is shown where there are several, columns without any value are not."""
    columns: Sequence[Column]
    """Texts first."""
    export: str
    """What writes all rows."""
    metric: Metric
    words: Sequence[str] = ()
    """What follows from it."""


def answer_blocks(title: str, answer: Answer, drawn: set[str]) -> Iterator[Block]:
    """The blocks of one answer; none where the question does not apply.

    Args:
        title: Its heading.
        answer: What to print.
        drawn: Titles of the figures that the page has already; this answer's are added.
    """
    if not answer.applies:
        return
    yield Heading(title)
    yield Words(answer.headline)
    yield from (Words(s.text, s.tone if s.tone in SEVERITIES else "") for s in answer.sentences)
    for figure in answer.figures:
        if figure.title not in drawn:
            drawn.add(figure.title)
            yield Figure(figure, f"{figure.title[:1].upper()}{figure.title[1:]}: {answer.about}.")
    for table in answer.tables:
        texts = written(table)
        yield Table(texts.title, texts.heads, texts.rows, left=texts.n_texts)
        if texts.n_left_out:
            yield Words(f"{plural(texts.n_left_out, 'more row')} in `export`.")


def view_blocks(view: View) -> Iterator[Block]:
    """The blocks of one view; none where it has neither rows nor words."""
    frame = view.frame
    if frame.is_empty() and not view.words:
        return
    if view.title:
        yield Heading(view.title)
    yield Words(view.shows)
    yield from (Words(sentence) for sentence in view.words)
    if frame.is_empty():
        return
    columns = [column for column in view.columns if _has_values(frame[column.name])]
    if "variant" in frame.columns and frame["variant"].n_unique() > 1:
        columns.insert(0, Column("variant", "variant", "text"))
    rows = [
        [_text(row[column.name], column.kind, view.metric) for column in columns]
        for row in frame.head(MOST_ROWS).iter_rows(named=True)
    ]
    texts = sum(column.kind == "text" for column in columns)
    yield Table("", [column.title for column in columns], rows, left=texts)
    if frame.height > MOST_ROWS:
        left_out = plural(frame.height - MOST_ROWS, "further row is", "further rows are")
        yield Words(f"{left_out} left out; {view.export} writes all of them.")


def _has_values(values: pl.Series) -> bool:
    known = values.drop_nulls()
    return known.len() > 0 and not (values.dtype == pl.String and (known == "").all())


def _text(value: Any, kind: Kind, metric: Metric) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    if kind == "text":
        return str(value)
    scale = 100 if kind in _SHARES or (kind in _OF_METRIC and metric.is_share) else 1
    # What should be 0 and is not, by rounding, is 0.
    number = scale * value if abs(value) > _ROUNDING else 0
    return f"{number:{_fraction(kind, scale)}}"


def _fraction(kind: Kind, scale: int) -> str:
    """How the number is written."""
    sign = "+" if kind in _SIGNED else ""
    written = {"count": ",.0f", "number": ".4g", "p": ".2g"}
    return written.get(kind, f"{sign}z.{2 if scale == 100 else 4}f")


_SHARES = ("share", "points")
_OF_METRIC = ("value", "difference", "spread")
_SIGNED = ("points", "difference")
_ROUNDING = 1e-14
