"""How runs ended, in the words of those who kept their tables."""

from __future__ import annotations

from collections.abc import Sequence

from tui_datasize.runlog.importing.meanings import plain

_COLUMNS = ("state", "status", "run_state", "run_status", "trial_status", "job_state", "success", "succeeded")
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
    return next((c for name in (*_COLUMNS, _DONE_COLUMN) for c in header if plain(c) == name), None)


def is_told_last(column: str) -> bool:
    """Whether only the last row of a run tells its end."""
    return plain(column) == _DONE_COLUMN


def has_ended(text: str) -> bool | None:
    """Whether a run in this state has a result; None where the word is not known.

    >>> [has_ended(text) for text in ("FINISHED", "crashed", "RUNNING", "TrialState.PRUNED", "CA")]
    [True, False, False, False, None]
    """
    word = text.strip().lower().rpartition(".")[2].replace(" ", "_").replace("-", "_")
    return True if word in _ENDED else False if word in _NOT_ENDED else None
