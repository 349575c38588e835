"""What `analyze` says around the curves: the audit, sizes and variants compared, where scatter comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

import polars as pl
from rich.console import Console

from tui_datasize.analysis.document import finite
from tui_datasize.analysis.groups import SizeComparison, VariantComparison, compare_sizes, compare_variants
from tui_datasize.analysis.groups_table import groups_table
from tui_datasize.answers.answer import SEVERITIES, Answer, Sentence, Tone
from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.answers.record import Record
from tui_datasize.cli.console import plain_table, print_words, styled
from tui_datasize.render.cells import written

_STYLES: Mapping[Tone, str] = MappingProxyType(
    {"error": "bold red", "warning": "yellow", "note": "dim", "aside": "dim", "good": "green"}
)


def print_answers(console: Console, record: Record, *names: str) -> None:
    """Questions of the catalogue with their answers; nothing where one does not apply."""
    for name in names:
        answer = QUESTIONS[name].ask(record)
        if answer.applies:
            console.print(QUESTIONS[name].title, style="bold")
            _print_answer(console, answer)


def _print_answer(console: Console, answer: Answer) -> None:
    print_words(console, answer.headline)
    for sentence in answer.sentences:
        console.print(_styled(sentence), soft_wrap=not console.is_terminal)
    for table in answer.tables:
        if not table.is_detail and not table.frame.is_empty():
            texts = written(table, None)
            printed = plain_table(*texts.heads, right=tuple(texts.heads[texts.n_texts :]))
            for row in texts.rows:
                printed.add_row(*row)
            console.print(printed)
    console.print()


def _styled(sentence: Sentence) -> Any:
    style = _STYLES.get(sentence.tone, "")
    if sentence.tone in SEVERITIES:
        return styled((f"{sentence.tone}:", style), f" {sentence.text}")
    return styled((sentence.text, style))


def print_comparisons(console: Console, runs: pl.DataFrame, metric: str) -> None:
    """Sizes against each other and variants at equal sizes, in sentences."""
    for sizes in compare_sizes(runs, metric):
        _print_words(console, f"Sizes compared{_named(sizes.variant)}", sizes.words)
    variants = [found for found in compare_variants(runs, metric) if found.train_size is None]
    for found in variants:
        _print_words(console, "Variants compared at equal sizes", found.words)


def comparison_dict(record: Record) -> dict[str, Any]:
    """The same for JSON: under `audit`, `groups`, `comparisons` (sentences) and `variance`."""
    runs, metric = record.all_runs, record.metric.name
    comparisons: list[SizeComparison | VariantComparison] = [
        *compare_sizes(runs, metric),
        *compare_variants(runs, metric),
    ]
    document = {
        "audit": [{**asdict(finding), "words": finding.words} for finding in record.findings],
        "groups": groups_table(runs, metric).to_dicts(),
        "comparisons": [sentence for comparison in comparisons for sentence in comparison.words],
        "variance": [
            {
                "variant": split.variant,
                "design": split.design,
                "components": [asdict(component) | {"sd": component.sd} for component in split.components],
                "words": sentences(QUESTIONS["variance"].ask(record.of_variant(split.variant))),
            }
            for split in record.scatter
        ],
    }
    plain: dict[str, Any] = finite(document)
    return plain


def sentences(answer: Answer) -> list[str]:
    """Everything that an answer says, a sentence or two each."""
    if not answer.applies:
        return [answer.why_not]
    return [answer.headline, *(sentence.text for sentence in answer.sentences)]


def _print_words(console: Console, title: str, words: tuple[str, ...]) -> None:
    if words:
        console.print(title, style="bold")
        print_words(console, "\n".join(words) + "\n")


def _named(variant: str) -> str:
    return f", {variant}" if variant else ""
