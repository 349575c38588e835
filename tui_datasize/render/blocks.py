"""What a page or report is put together from, before it is HTML or Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tui_datasize.answers.answer import SEVERITIES, Answer, Table
from tui_datasize.answers.answer import Figure as Picture
from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.answers.provenance import provenance_tables, runs_table
from tui_datasize.answers.record import Record
from tui_datasize.render.cells import MOST_ROWS, Written, written
from tui_datasize.text import plural


@dataclass(frozen=True)
class HeadingBlock:
    """A heading; level 1 is that of the page."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; `kind` is empty, or the severity of a finding, which stands before it."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Figure:
    """A chart and what it shows."""

    chart: Picture
    caption: str


Block: TypeAlias = HeadingBlock | Paragraph | Written | Figure


def answer_blocks(title: str, answer: Answer, drawn: set[str]) -> Iterator[Block]:
    """The blocks of one answer, if it applies; its figures join those that the page has drawn, by title."""
    if not answer.applies:
        return
    yield HeadingBlock(title)
    yield Paragraph(answer.headline)
    yield from (Paragraph(s.text, s.tone if s.tone in SEVERITIES else "") for s in answer.sentences)
    figures = [figure for figure in answer.figures if figure.title not in drawn]
    drawn.update(figure.title for figure in figures)
    drawings = [Figure(figure, _caption(figure, answer)) for figure in figures]
    yield from drawings[:1]
    for is_detail in (False, True):
        for table in answer.tables:
            if table.is_detail == is_detail:
                yield from table_blocks(table)
        yield from () if is_detail else drawings[1:]


def _caption(figure: Picture, answer: Answer) -> str:
    # A name of a variant stays as it is written.
    title = figure.title if ": " in figure.title else f"{figure.title[:1].upper()}{figure.title[1:]}"
    # What is said of all runs is not said of one variant's.
    return f"{title}: {answer.about}." if len(answer.figures) == 1 else f"{title}."


def table_blocks(table: Table, most: int = MOST_ROWS) -> Iterator[Block]:
    """A table, and how many of its rows are left out."""
    texts = written(table, most)
    yield texts
    if texts.n_left_out:
        yield Paragraph(f"{plural(texts.n_left_out, 'more row')} in `export`.")


_MOST_RUNS = 500
"""Rows of the table of runs; `export` writes all."""


def contents(record: Record, page: Mapping[str, str], notes: Sequence[str] = ()) -> list[Block]:
    """The blocks of a report, with what people remarked on the experiment."""
    drawn: set[str] = set()
    answers = [
        (entry.title, entry.ask(record)) for entry in QUESTIONS.values() if entry.is_offered(record.runs)
    ]
    left_out: list[Block] = [
        Paragraph(f"{title}: {answer.why_not}") for title, answer in answers if not answer.applies
    ]
    return [
        HeadingBlock(f"{record.experiment}: {record.metric.in_words} against train size", 1),
        Paragraph(f"{record.counted}."),
        *([Written("Notes", ("remark",), [(one,) for one in notes], 1)] if notes else []),
        *(block for title, answer in answers for block in answer_blocks(title, answer, drawn)),
        *([HeadingBlock("Not answered"), *left_out] if left_out else []),
        HeadingBlock("Runs"),
        *table_blocks(runs_table(record), _MOST_RUNS),
        HeadingBlock("Provenance"),
        *(block for table in provenance_tables(record, page) for block in table_blocks(table)),
    ]
