"""How runs ended, in the words of those who kept their tables."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tui_datasize.runlog.importing.meanings import plain

_COLUMNS = (
    *("state", "status", "run_state", "run_status", "trial_status", "job_state", "success", "succeeded"),
    *("finished", "is_finished"),
)
_REVERSED = (
    "exit_code",
    "exit_status",
    "exitcode",
    "returncode",
    "return_code",
    "crashed",
    "failed",
    "killed",
)
"""Columns in which 0 or false is what a run that ended has."""
_DONE_COLUMN = "done"
"""True in the last row of a run that ended, as Ray writes it."""

# Words of Weights & Biases, MLflow, Ray Tune, Optuna, SLURM, ClearML and Neptune.
_ENDED = frozenset(
    {"finished", "terminated", "complete", "completed", "succeeded", "success", "done", "ok", "true", "1"}
)
_NOT_ENDED = frozenset(
    (
        *("crashed", "failed", "fail", "error", "errored", "node_fail", "out_of_memory"),
        *("killed", "cancelled", "canceled", "stopped", "aborted", "timeout", "preempted", "preempting"),
        *("pruned", "interrupted", "deadline", "running", "pending", "scheduled", "paused", "queued"),
        *("waiting", "created", "in_progress", "active", "starting", "false", "0"),
        *("unfinished", "suspended", "stalled", "lost", "timed_out", "oom", "diverged", "initialized"),
    )
)


def state_column(header: Sequence[str]) -> str | None:
    """The column that tells how a run ended."""
    names = (*_COLUMNS, *_REVERSED, _DONE_COLUMN)
    return next((c for name in names for c in header if plain(c) == name), None)


def is_told_last(column: str) -> bool:
    """Whether only the last row of a run tells its end."""
    return plain(column) == _DONE_COLUMN


def has_ended(text: str, column: str = "state") -> bool | None:
    """Whether a run in this state has a result; None where the word is not known.

    >>> [has_ended(text) for text in ("FINISHED", "crashed", "RUNNING", "TrialState.PRUNED", "CA")]
    [True, False, False, False, None]
    >>> has_ended("CANCELLED by 1000"), has_ended("137", "exit_code"), has_ended("False", "crashed")
    (False, False, True)
    """
    word = text.strip().lower()
    if plain(column) in _REVERSED:
        number = re.fullmatch(r"(-?\d+)(\.0)?(:\d+)?", word, re.ASCII)
        return int(number[1]) == 0 if number else {"false": True, "true": False}.get(word)
    word = word.rpartition(".")[2]
    first = re.split(r"[ +:]", word)[0]
    word = word.replace(" ", "_").replace("-", "_")
    return True if word in _ENDED else False if word in _NOT_ENDED or first in _NOT_ENDED else None
