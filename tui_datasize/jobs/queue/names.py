"""Which run a word names, and what is said where that is none, or several."""

from __future__ import annotations

from collections.abc import Sequence

from tui_datasize.errors import UnknownRunError
from tui_datasize.runlog.paths import ProjectPaths

_CANDIDATES_SHOWN = 5


def find_runs(run_ids: Sequence[str], prefix: str) -> list[str]:
    """The run of that very id, else all whose ids begin with `prefix`."""
    return [prefix] if prefix in run_ids else [run_id for run_id in run_ids if run_id.startswith(prefix)]


def unclear(prefix: str, found: Sequence[str], project: ProjectPaths) -> UnknownRunError:
    """Why a word names no run, or not one alone."""
    if not found:
        what = f"no run begins with {prefix!r}, and no experiment with runs is called so"
        return UnknownRunError(
            what, where=str(project.runs), fix="`datasize-tui status` shows what is queued"
        )
    shown = ", ".join(sorted(found)[:_CANDIDATES_SHOWN]) + (", ..." if len(found) > _CANDIDATES_SHOWN else "")
    return UnknownRunError(f"{prefix!r} is ambiguous ({len(found)} runs)", fix=f"write more of it: {shown}")
