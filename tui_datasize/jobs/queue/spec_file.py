"""What becomes `spec.json` of a queued run, written and read: what to do, and how it was queued."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tui_datasize
from tui_datasize.experiments.packing import memory_key
from tui_datasize.experiments.search import SEARCH, Rung
from tui_datasize.experiments.spec import SCHEMA_VERSION, RunSpec
from tui_datasize.files import parse_object
from tui_datasize.jobs.queue.records import NewJob
from tui_datasize.jobs.queue.state import MAX_ATTEMPTS, JobState
from tui_datasize.programs import git
from tui_datasize.runlog.claim import Observation, utc_now


def write_documents(
    root: Path,
    runs: Mapping[str, RunSpec],
    data_dir: Path | None,
    max_attempts: int,
    after: Mapping[str, Sequence[str]],
    place: str = "",
    anew: Collection[str] = (),
    rungs: Mapping[str, Rung] = MappingProxyType({}),
) -> dict[str, str]:
    """The content of `spec.json` by run id, in the order of `runs`, with the git commit of `root`.

    `after` has the runs that each run waits for, by run id; those without any may be missing. `place` names
    the cluster that is to make them. Those to be trained `anew` have finished, and lost their checkpoints;
    `rungs` tell where those of a search stand.
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
    } | ({"on": place} if place else {})
    documents = {}
    for run_id, spec in runs.items():
        own: dict[str, Any] = {"run_id": run_id, "after": list(after.get(run_id, ())), "spec": spec.to_dict()}
        own |= {"anew": True} if run_id in anew else {}
        own |= {SEARCH: rungs[run_id].to_dict()} if run_id in rungs else {}
        documents[run_id] = json.dumps(facts | own)
    return documents


def promoted_document(document: str, rung: Rung) -> tuple[str, str]:
    """The id and the document of a candidate's run on a rung, by that of one on another rung."""
    content = parse_object(document)
    spec = RunSpec.from_dict(content["spec"])
    spec = replace(spec, budget=replace(spec.budget, amount=rung.amounts[rung.number]))
    own = {"queued_at": utc_now(), "run_id": spec.run_id, "spec": spec.to_dict(), SEARCH: rung.to_dict()}
    content.pop("anew", None)
    return spec.run_id, json.dumps(content | own)


@dataclass(frozen=True, slots=True)
class QueuedSpec:
    """A document, read: what it says about queueing its run."""

    text: str
    spec: RunSpec
    attempts_allowed: int
    after: tuple[str, ...]
    queued_at: str
    """UTC, ISO 8601; empty where it is not told."""
    place: str = ""
    """The cluster that makes it; empty for the machine that queued it."""
    anew: bool = False
    """Whether it had finished, and is trained anew for its checkpoint."""
    rung: Rung | None = None
    """Where it stands in a search; None of a run of none."""

    @classmethod
    def read(cls, text: str) -> QueuedSpec:
        """Read a document; raises KeyError, TypeError, ValueError: it is damaged, or of another version."""
        content = parse_object(text)
        return cls(
            text,
            RunSpec.from_dict(content["spec"]),
            int(content.get("max_attempts", MAX_ATTEMPTS)),
            tuple(content.get("after", ())),
            str(content.get("queued_at", "")),
            str(content.get("on", "")),
            bool(content.get("anew")),
            Rung.from_dict(content[SEARCH]) if SEARCH in content else None,
        )

    def job(
        self, run_id: str, seen: Observation, state: JobState, reason: str = "", priority: int = 0
    ) -> NewJob:
        """The job that a queue which does not know the run begins with; its directory was `seen` so."""
        spec = self.spec
        return NewJob(
            run_id=run_id,
            experiment=spec.experiment,
            workload=memory_key(spec),
            state=state,
            priority=priority,
            attempts=seen.newest_attempt,
            max_attempts=seen.newest_attempt + self.attempts_allowed,
            reason=reason,
            started_at=seen.claim.started_at if seen.claim and state is not JobState.QUEUED else "",
            finished_at=seen.final_exit.finished_at if seen.final_exit and state.is_final else "",
            document=self.text,
            queued_at=self.queued_at,
            attempts_allowed=self.attempts_allowed,
            place=self.place,
        )


def _git_state(root: Path) -> tuple[str | None, bool | None]:
    """Commit of the project directory and whether tracked files differ from it; None without git."""
    commit = git(root, "rev-parse", "HEAD")
    status = ("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty")
    changes = git(root, *status) if commit else None
    return commit, None if changes is None else bool(changes)
