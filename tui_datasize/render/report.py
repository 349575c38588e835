"""What stands in a report: the answer first, then the evidence, and last where the numbers come from."""

from __future__ import annotations

from collections.abc import Mapping

from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.answers.provenance import provenance_tables, runs_table
from tui_datasize.answers.record import Record
from tui_datasize.render.blocks import Block, HeadingBlock, Paragraph, answer_blocks, table_blocks

_MOST_RUNS = 500
"""Rows of the table of runs; `export` writes all."""


def contents(record: Record, page: Mapping[str, str]) -> list[Block]:
    """The blocks of a report."""
    drawn: set[str] = set()
    answers = [
        (entry.title, entry.ask(record)) for entry in QUESTIONS.values() if entry.is_offered(record.runs)
    ]
    left_out: list[Block] = [
        Paragraph(f"{title}: {answer.why_not}") for title, answer in answers if not answer.applies
    ]
    return [
        HeadingBlock(f"{record.experiment}: {record.metric.title.lower()} against train size", 1),
        Paragraph(f"{record.counted}."),
        *(block for title, answer in answers for block in answer_blocks(title, answer, drawn)),
        *([HeadingBlock("Not answered"), *left_out] if left_out else []),
        HeadingBlock("Runs"),
        *table_blocks(runs_table(record), _MOST_RUNS),
        HeadingBlock("Provenance"),
        *(block for table in provenance_tables(record, page) for block in table_blocks(table)),
    ]
