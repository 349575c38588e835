"""What a report says first: how good, how much further data would help, and whether to believe it."""

from __future__ import annotations

from collections.abc import Iterator

from tui_datasize.analysis.averaging import FittedLaws
from tui_datasize.analysis.curve import Metric
from tui_datasize.analysis.fits import FitFailure, LogLinearFit
from tui_datasize.analysis.summary import CurveAnalysis
from tui_datasize.analysis.view import shown
from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.report.blocks import Block, Heading, Words
from tui_datasize.report.evidence import Evidence
from tui_datasize.words import plural


def answer_blocks(evidence: Evidence) -> Iterator[Block]:
    """The answer for each curve, and what was found against the numbers."""
    yield Heading("Answer")
    for curve in evidence.analysis.curves:
        if curve.curve.height:
            for sentence in _sentences(curve):
                yield Words(f"{curve.variant}: {sentence}" if curve.variant else sentence)
    yield Words(QUESTIONS["audit"].ask(evidence.record).headline)


def _sentences(curve: CurveAnalysis) -> Iterator[str]:
    yield _at_largest(curve, curve.metric)
    if isinstance(curve.fit, LogLinearFit):
        yield f"Log-linear law: {curve.metric.name} = {curve.fit.formula}, r² {curve.fit.r2:.3f}."
    if not isinstance(curve.outlook, FitFailure):
        yield curve.outlook.doubling.words
        if curve.outlook.needed:
            yield curve.outlook.needed.words
    elif isinstance(curve.laws, FittedLaws):
        yield f"No forecast: it {curve.outlook.reason}."


def _at_largest(curve: CurveAnalysis, metric: Metric) -> str:
    row = curve.curve.row(-1, named=True)
    interval = ""
    if row["low"] is not None:
        interval = f" (95 % {shown(row['low'], metric)} to {shown(row['high'], metric)})"
    size, runs = plural(row["train_size"], "image"), plural(row["n_runs"], "run")
    return f"{size}: {metric.title.lower()} {shown(row['mean'], metric)}{interval}, mean of {runs}."
