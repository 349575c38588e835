"""What stands in a report: the answer first, then the evidence, and last where the numbers come from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.metric import Metric
from tui_datasize.report.blocks import Block, Heading, Table, Words
from tui_datasize.report.evidence import Evidence
from tui_datasize.report.framed import answer_blocks
from tui_datasize.report.sources import provenance_blocks
from tui_datasize.text import plural

_MOST_RUNS = 500
"""Rows of the table of runs; `export` writes all."""


def contents(evidence: Evidence, page: Mapping[str, str]) -> list[Block]:
    """The blocks of a report.

    Args:
        evidence: What it is of.
        page: Facts of the page itself, for its provenance.
    """
    analysis = evidence.analysis
    drawn: set[str] = set()
    left_out = f", {analysis.n_left_out:,} unfinished or without this metric" if analysis.n_left_out else ""
    return [
        Heading(f"{analysis.experiment}: {analysis.metric.title.lower()} against train size", 1),
        Words(f"{plural(analysis.n_runs, 'run')} used{left_out}."),
        *_answers(evidence, drawn, "answer", "audit", "curve", "forecast", "plan"),
        *_answers(evidence, drawn, "variants", "spread", "variance"),
        *_answers(evidence, drawn, "courses", "surface", "gap", "best", "classes"),
        *_answers(evidence, drawn, "confusions", "calibration", "margins"),
        *_answers(evidence, drawn, "overlap", "agreement", "conditions", "options", "cost", "ensembles"),
        *_answers(evidence, drawn, "laws"),
        Heading("Runs"),
        *_runs(evidence),
        Heading("Provenance"),
        *provenance_blocks(evidence, page),
    ]


def _answers(evidence: Evidence, drawn: set[str], *names: str) -> Iterator[Block]:
    for name in names:
        yield from answer_blocks(QUESTIONS[name].title, QUESTIONS[name].ask(evidence.record), drawn)


def _runs(evidence: Evidence) -> Iterator[Block]:
    metric, shown_runs = evidence.analysis.metric, evidence.runs.head(_MOST_RUNS)
    columns = ("train_size", "subset_seed", "seed", "updates")
    rows = [
        [
            row["run_id"],
            row["state"],
            *(
                f"repeat {row['repeat']}"
                if name == "seed" and row["repeat"] is not None
                else ""
                if row[name] is None
                else f"{row[name]:,}"
                for name in columns
            ),
            _value(row[metric.name], metric),
            "" if row["wall_s"] is None else f"{row['wall_s']:,.1f}",
        ]
        for row in shown_runs.iter_rows(named=True)
    ]
    title = f"{metric.title.lower()}{', %' if metric.is_share else ''}"
    heads = ("run", "state", "train size", "draw", "seed", "updates", title, "s")
    yield Table("", heads, rows, left=2)
    if evidence.runs.height > _MOST_RUNS:
        yield Words(f"The first {_MOST_RUNS} of {evidence.runs.height:,} runs; `export` writes all of them.")


def _value(value: float | None, metric: Metric) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return f"{100 * value:.2f}" if metric.is_share else f"{value:.4f}"
