"""What stands in a report: the answer first, then the evidence, and last where the numbers come from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from tui_datasize.analysis.curve import Metric
from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.report.blocks import Block, Figure, Heading, Table, Words
from tui_datasize.report.evidence import Evidence
from tui_datasize.report.figures import courses_chart
from tui_datasize.report.framed import answer_blocks, view_blocks
from tui_datasize.report.inside import class_blocks, surface_blocks
from tui_datasize.report.sources import provenance_blocks
from tui_datasize.words import plural

_MOST_FLAGGED = 3
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
        *_views(evidence, drawn, "answer", "audit", "curve", "forecast", "plan"),
        *_views(evidence, drawn, "variants", "spread", "variance"),
        *_courses(evidence),
        *_views(evidence, drawn, "gap", "best", "margins"),
        *surface_blocks(evidence),
        *class_blocks(evidence),
        *_views(evidence, drawn, "confusions", "calibration"),
        *_views(evidence, drawn, "overlap", "agreement", "conditions", "options", "cost", "ensembles"),
        *_views(evidence, drawn, "laws"),
        Heading("Runs"),
        *_runs(evidence),
        Heading("Provenance"),
        *provenance_blocks(evidence, page),
    ]


def _views(evidence: Evidence, drawn: set[str], *names: str) -> Iterator[Block]:
    for name in names:
        if name in QUESTIONS:
            yield from answer_blocks(QUESTIONS[name].title, QUESTIONS[name].ask(evidence.record), drawn)
        for view in evidence.views.get(name, ()):
            yield from view_blocks(view)


def _courses(evidence: Evidence) -> Iterator[Block]:
    courses, metric = evidence.courses, evidence.analysis.metric
    if courses is None or courses["evaluation"].max() in (None, 1):
        return
    yield Heading("Courses of training")
    for group in courses.partition_by("variant", maintain_order=True):
        variant = f"{group['variant'][0]}: " if group["variant"][0] else ""
        caption = f"{variant}means over the runs of each train size; shaded: all runs of the largest."
        yield Figure(courses_chart(group, metric), caption)


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
