"""What `analyze` says around the curves: the audit, sizes and variants compared, where scatter comes from."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tui_datasize.answers.answer import Answer
from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.answers.record import Record
from tui_datasize.answers.values import finite
from tui_datasize.stats.groups_table import groups_table


def comparison_dict(record: Record) -> dict[str, Any]:
    """The same for JSON: under `audit`, `groups`, `comparisons` (sentences) and `variance`."""
    runs, metric = record.all_runs, record.metric.name
    document = {
        "audit": [{**asdict(finding), "words": finding.words} for finding in record.findings],
        "groups": groups_table(runs, metric).to_dicts(),
        "comparisons": [
            sentence for name in ("spread", "variants") for sentence in sentences(QUESTIONS[name].ask(record))
        ],
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
