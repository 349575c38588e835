"""What the document of a job, the content of its `spec.json`, says about queueing it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tui_datasize.experiments.spec import RunSpec
from tui_datasize.jobs.records import NewJob
from tui_datasize.jobs.state import MAX_ATTEMPTS, JobState
from tui_datasize.runlog.claim import Observation


@dataclass(frozen=True, slots=True)
class Order:
    """A document, read."""

    document: str
    spec: RunSpec
    attempts_allowed: int
    after: tuple[str, ...]
    queued_at: str
    """UTC, ISO 8601; empty where it is not told."""

    @classmethod
    def read(cls, document: str) -> Order:
        """Read a document.

        Raises:
            KeyError, TypeError, ValueError: It is damaged, or of another version.
        """
        content = json.loads(document)
        return cls(
            document,
            RunSpec.from_dict(content["spec"]),
            int(content.get("max_attempts", MAX_ATTEMPTS)),
            tuple(content.get("after", ())),
            str(content.get("queued_at", "")),
        )

    def job(
        self, run_id: str, seen: Observation, state: JobState, reason: str = "", priority: int = 0
    ) -> NewJob:
        """The job that a queue which does not know the run begins with.

        Args:
            run_id: The run's id.
            seen: Its directory.
            state: Where it stands.
            reason: Why.
            priority: Higher runs first.
        """
        spec = self.spec
        return NewJob(
            run_id=run_id,
            experiment=spec.experiment,
            workload=f"{spec.dataset} {spec.model} b{spec.batch_size}",
            state=state,
            priority=priority,
            attempts=seen.newest_attempt,
            max_attempts=seen.newest_attempt + self.attempts_allowed,
            reason=reason,
            started_at=seen.claim.started_at if seen.claim and state is not JobState.QUEUED else "",
            finished_at=seen.final_exit.finished_at if seen.final_exit and state.is_final else "",
            document=self.document,
            queued_at=self.queued_at,
            attempts_allowed=self.attempts_allowed,
        )
