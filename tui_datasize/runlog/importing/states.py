"""How runs ended, in the words of who kept the table; those that did not are left out."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tui_datasize.runlog.importing.meanings import plain
from tui_datasize.runlog.importing.staged import Staged, StagedRow

_COLUMNS = (
    *("state", "status", "run_state", "run_status", "trial_status", "job_state", "success", "succeeded"),
    *("finished", "is_finished"),
)
_REVERSED = (
    *("exit_code", "exit_status", "exitcode", "returncode", "return_code"),
    *("crashed", "failed", "killed"),
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
        *("crashed", "failed", "fail", "error", "errored", "node_fail", "out_of_memory", "killed"),
        *("cancelled", "canceled", "stopped", "aborted", "timeout", "preempted", "preempting", "pruned"),
        *("interrupted", "deadline", "running", "pending", "scheduled", "paused", "queued", "waiting"),
        *("created", "in_progress", "active", "starting", "false", "0", "unfinished", "suspended", "stalled"),
        *("lost", "deleted", "timed_out", "oom", "diverged", "initialized"),
    )
)


def state_column(header: Sequence[str]) -> str | None:
    """The column that tells how a run ended."""
    names = (*_COLUMNS, *_REVERSED, _DONE_COLUMN)
    return next((c for name in names for c in header if plain(c) == name), None)


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


def leave_out_unfinished(staged: Staged) -> None:
    """Drop the rows of runs that did not end, and note their names.

    Raises ConfigError: a state is not known.
    """
    column = next((c for c, name in staged.fields.items() if name == "state"), None)
    if column is None:
        return
    ended = [has_ended(row.state, column) for row in staged.rows]
    if not any(known is not None for known in ended):
        # A column of that name that is about something else.
        del staged.fields[column]
        staged.passed[column] = "none of its values is the state of a run"
        return
    for row, known in zip(staged.rows, ended, strict=True):
        if known is None:
            what = f"{column} is {row.state!r}, no state of a run that is known"
            raise staged.error(what, row.place, fix="--any-state reads runs whatever their state")
    last = {row.origin: known for row, known in zip(staged.rows, ended, strict=True)}
    is_told_last = plain(column) == _DONE_COLUMN
    kept = []
    for row, known in zip(staged.rows, ended, strict=True):
        if last[row.origin] if is_told_last else known:
            kept.append(row)
            continue
        is_word = not re.fullmatch(r"[\d.:-]+|true|false", row.state, re.IGNORECASE)
        names = staged.unfinished.setdefault(row.state if is_word else f"{column} {row.state}", {})
        names[_name(row, staged)] = None
    staged.rows[:] = kept


def _name(row: StagedRow, staged: Staged) -> str:
    if "run" in staged.fields.values():
        return row.origin.run
    # One of several rows of its run.
    if row.moment.is_told:
        return f"size {row.origin.train_size}, seed {row.origin.seed}"
    return f"{staged.place} {row.place}"
