"""Answers as plain values for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tui_datasize.answers.answer import Answer, Table
from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.render.cells import filled_columns

SCHEMA_VERSION = 2
"""Of what `analyze --json` prints; 1 had no answers and no version."""


def finite(value: Any) -> Any:
    """Nested lists and dictionaries with NaN and infinity replaced by None."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def answers_dict(answers: Mapping[str, Answer]) -> dict[str, Any]:
    """Answers by the names of their questions; NaN and infinity are what they are, see `finite`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "answers": [_answer(name, answer) for name, answer in answers.items()],
    }


def _answer(name: str, answer: Answer) -> dict[str, Any]:
    return {
        "name": name,
        "title": QUESTIONS[name].title,
        "headline": answer.headline,
        "sentences": [{"tone": sentence.tone, "text": sentence.text} for sentence in answer.sentences],
        "about": answer.about,
        "why_not": answer.why_not,
        "tables": [_table(table) for table in answer.tables],
        "figures": [{"kind": type(one).__name__.lower(), **asdict(one)} for one in answer.figures],
        "proposed": None if answer.proposed is None else [spec.run_id for spec in answer.proposed],
    }


def _table(table: Table) -> dict[str, Any]:
    columns = filled_columns(table)
    return {
        "title": table.title,
        "is_detail": table.is_detail,
        "columns": [{"name": column.name, "title": column.title, "kind": column.kind} for column in columns],
        "rows": table.frame.select(list(dict.fromkeys(column.name for column in columns))).to_dicts(),
    }
