"""What becomes `spec.json` of a queued run: its specification and the facts of its enqueueing."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tui_datasize
from tui_datasize.experiments.spec import SCHEMA_VERSION, RunSpec
from tui_datasize.runlog.claim import utc_now

_GIT_TIMEOUT_S = 5.0


def write_documents(
    root: Path,
    specs: Sequence[RunSpec],
    *,
    data_dir: Path | None,
    max_attempts: int,
    after: Mapping[str, Sequence[str]],
) -> dict[str, str]:
    """The content of `spec.json` by run id, in the order of `specs`.

    Args:
        root: The project directory, whose git commit is noted.
        specs: The runs.
        data_dir: Where the workers find data sets.
        max_attempts: Attempts that each run is allowed.
        after: The runs that each run waits for, by run id; those without any may be missing.
    """
    commit, dirty = _git_state(root)
    facts: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "package_version": tui_datasize.__version__,
        "git_commit": commit,
        "git_dirty": dirty,
        "queued_at": utc_now(),
        "data_dir": str(data_dir.absolute()) if data_dir else None,
        "max_attempts": max_attempts,
    }
    documents = {}
    for spec in specs:
        run_id = spec.run_id
        own = {"run_id": run_id, "after": list(after.get(run_id, ())), "spec": spec.to_dict()}
        documents[run_id] = json.dumps(facts | own)
    return documents


def _git_state(root: Path) -> tuple[str | None, bool | None]:
    """Commit of the project directory and whether tracked files differ from it; None without git."""
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no") if commit else None
    return commit, None if changes is None else bool(changes)


def _git(root: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
