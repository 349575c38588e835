"""Answers as blocks of a page: headline, sentences, figures, and tables of bounded length."""

from __future__ import annotations

from collections.abc import Iterator

from tui_datasize.answers.answer import SEVERITIES, Answer
from tui_datasize.render.cells import written
from tui_datasize.report.blocks import Block, Figure, Heading, Table, Words
from tui_datasize.text import plural


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
        folded = table.is_detail
        yield Table(texts.title, texts.heads, texts.rows, left=texts.n_texts, is_folded=folded)
        if texts.n_left_out:
            yield Words(f"{plural(texts.n_left_out, 'more row')} in `export`.")
