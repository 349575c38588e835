"""Questions of the catalogue asked of runs, for tests."""

from __future__ import annotations

from typing import Any

from tui_datasize.answers.answer import Answer, Asked
from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.answers.record import Reading, Record
from tui_datasize.metric import metric_named
from tui_datasize.runlog.reader import RunLog


def ask(
    log: RunLog, question: str, metric: str = "test_accuracy", experiment: str = "digits", **asked: Any
) -> Answer:
    """The answer of the runs of one experiment; `asked` are fields of `Asked`."""
    record = Record(Reading(log, log.runs(experiment)), metric_named(metric), Asked(**asked))
    return QUESTIONS[question].ask(record)
