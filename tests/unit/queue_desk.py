"""A queue whose commands are applied in the test's own process, and four runs to queue."""

from __future__ import annotations

from tests.fakes import fake_spec
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.state import Job, JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.apply_commands import CommandApplier
from tui_datasize.runlog.paths import ProjectPaths

SOURCE, OTHER = fake_spec("base", seed=1), fake_spec("base", seed=2)
FIRST, SECOND = fake_spec("transfer", seed=1), fake_spec("transfer", seed=2)


class Queue:
    """A client and the desk that applies what it asks."""

    def __init__(self, project: ProjectPaths, store: Store) -> None:
        self.client = QueueClient(project)
        self.store = store
        self._desk = CommandApplier(store, project)

    def enqueue(self, *specs: RunSpec, after: dict[RunSpec, list[RunSpec]] | None = None, **options) -> None:
        by_id = {spec.run_id: [s.run_id for s in sources] for spec, sources in (after or {}).items()}
        self.client.enqueue(specs, after=by_id, **options)
        self.apply()

    def apply(self) -> None:
        while self._desk.apply_pending():
            pass

    def ask(self, kind: CommandKind, *specs: RunSpec, amount: int = 0) -> list[str]:
        """Answers, with a minus before those that refuse."""
        acknowledgement = self.client.send(kind, [spec.run_id for spec in specs] or [""], amount)
        self.apply()
        results = self.client.wait(acknowledgement, 0)
        assert results is not None
        return [("" if r.ok else "-") + r.message.removeprefix(f"{r.run_id}: ") for r in results]

    def job(self, spec: RunSpec) -> Job:
        return next(job for job in self.client.jobs() if job.run_id == spec.run_id)

    def begin(self, spec: RunSpec) -> None:
        attempt = self.job(spec).attempts + 1
        self.store.begin_attempt(spec.run_id, attempt, "cpu", 0, f"tag {attempt}")
        self.store.change(spec.run_id, JobState.RUNNING)

    def end(self, spec: RunSpec, state: JobState, reason: str = "") -> None:
        with self.store.transaction():
            self.begin(spec)
            self.store.change(spec.run_id, state, reason)
            self.store.end_attempt(spec.run_id, self.job_attempts(spec), state, reason)

    def job_attempts(self, spec: RunSpec) -> int:
        return int(self.store._one("SELECT attempts FROM jobs WHERE run_id = ?", spec.run_id)[0])

    def startable(self) -> list[str]:
        return [job.run_id for job in self.store.waiting(100)]
