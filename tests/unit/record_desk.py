"""Records of frames that a test makes up, behind which there are no files."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from tui_datasize.answers.answer import Answer, Asked
from tui_datasize.answers.record import Reading, Record
from tui_datasize.metric import metric_named
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.schema import RUNS


def record_of(runs: pl.DataFrame, metric: str = "test_accuracy", asked: Asked | None = None) -> Record:
    """A record of some runs; columns of `RUNS` that they lack are null."""
    whole = pl.concat([pl.DataFrame(schema=dict(RUNS)), runs], how="diagonal_relaxed")
    reading = Reading(RunLog(ProjectPaths(Path("/no/project"))), whole)
    return Record(reading, metric_named(metric), asked or Asked())


def said(answer: Answer) -> str:
    """Everything that it says, or why it says nothing."""
    return " ".join([answer.headline, answer.why_not, *(one.text for one in answer.sentences)])
