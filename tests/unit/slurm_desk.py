"""A project whose runs a mocked Slurm makes, with a queue whose commands are applied at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.fakes import fake_spec
from tests.slurm_mock import MockSlurm, MockTask
from tests.unit.queue_desk import Queue
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.jobs.queue.faults import FaultKind
from tui_datasize.jobs.queue.state import Job, JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.slurm.executor import SlurmExecutor
from tui_datasize.runlog import claim as claims
from tui_datasize.runlog import lease as leases
from tui_datasize.runlog.claim import (
    Claim,
    ClaimRefused,
    RunOutcome,
    acquire,
    next_attempt,
    read_claim,
)
from tui_datasize.runlog.paths import ProjectPaths, RunPaths


class Cluster:
    """A project whose runs Slurm makes, with a queue whose commands are applied at once."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.project = ProjectPaths(root)
        self.store = Store(self.project.queue)
        self.queue = Queue(self.project, self.store)
        self.slurm = MockSlurm()
        self.claims: list[Claim] = []
        self.refused: list[str] = []
        self._monkeypatch = monkeypatch
        self.say()
        self.executor = self.other_executor()

    def say(self, *lines: str) -> None:
        """Write the project's file."""
        self.project.experiments.write_text("\n".join(["[cluster]", "gpus = 0", *lines]))

    def other_executor(self) -> SlurmExecutor:
        """One of another scheduler."""
        self.executor = SlurmExecutor(self.store, self.project, ["worker"], self.slurm, interval_s=1e9)
        return self.executor

    def enqueue(self, *specs: RunSpec, **options: object) -> None:
        self.queue.enqueue(*specs, on="slurm", **options)

    def round(self, times: int = 1) -> None:
        """Let the executor make whole rounds."""
        for _ in range(times):
            self.executor._due_s = 0.0
            for pause in self.executor._pauses.values():
                pause.until_s = 0.0
            self.executor.step()
            while self.executor._round is not None:
                self.executor.step()

    def work(self, task: MockTask) -> None:
        """Be the worker of a task, up to its claim."""
        self._monkeypatch.setenv(leases.FIRST_VARIABLE, str(task.first))
        self._monkeypatch.setenv("SLURM_ARRAY_JOB_ID", task.job_id)
        self._monkeypatch.setenv("SLURM_ARRAY_TASK_ID", str(task.number))
        paths = RunPaths(Path(task.directory))
        try:
            self.claims.append(acquire(paths, next_attempt(paths)))
        except ClaimRefused as refusal:
            task.state = "COMPLETED"
            self.refused.append(str(refusal))
        finally:
            self._monkeypatch.delenv(leases.FIRST_VARIABLE)

    def begin(self, most: int = 10**6) -> None:
        """Let Slurm start tasks, which claim their runs."""
        self.slurm.begin(self.work, most)

    def end(
        self, outcome: RunOutcome = RunOutcome.SUCCEEDED, reason: str = "", state: str = "COMPLETED"
    ) -> None:
        """Let all workers end, and their tasks with them."""
        for claim in self.claims:
            claim.finish(outcome, reason)
            claim.release()
            self.slurm.task(read_claim(claim.paths).job).state = state  # type: ignore[union-attr]
        self.claims.clear()

    def die(self, task: MockTask) -> None:
        """Be a worker that claims and is gone without a word, with its locks."""
        child = os.fork()
        if child == 0:
            self.work(task)
            os._exit(0)
        os.waitpid(child, 0)

    def task_of(self, paths: RunPaths) -> MockTask:
        """The newest task of a run."""
        return next(t for t in reversed(self.slurm.tasks) if Path(t.directory).name == paths.run_id)

    def paths(self, spec: RunSpec) -> RunPaths:
        return self.project.run(spec.experiment, spec.run_id)

    def job(self, spec: RunSpec) -> Job:
        return self.queue.job(spec)

    def states(self) -> list[JobState]:
        return [job.state for job in self.queue.client.jobs()]

    def fault(self, subject: str) -> str:
        faults = [f for f in self.store.faults.list() if f.kind is FaultKind.CLUSTER]
        return next((f.sentence for f in faults if f.subject == subject), "")

    def asked(self, command: str) -> list[list[str]]:
        return [words for words in self.slurm.asked if words[0] == command]

    def sizes(self) -> list[str]:
        """Of the arrays that were handed over, or were to be."""
        options = (word for words in self.asked("sbatch") for word in words)
        return [word.removeprefix("--array=") for word in options if word.startswith("--array=")]

    def successes(self) -> int:
        """Attempts that the queue has seen succeed."""
        return int(self.store._one("SELECT count(*) FROM attempts WHERE outcome = 'succeeded'")[0])


@contextmanager
def opened_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A project on a host from which jobs are submitted."""
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "sbatch").touch(0o755)
    monkeypatch.setattr(claims, "_PATIENCE_S", 0.05)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "project").mkdir()
    cluster = Cluster(tmp_path / "project", monkeypatch)
    with closing(cluster.store), leases_given_back(monkeypatch):
        yield cluster


@contextmanager
def leases_given_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A lease that is left and cannot be renewed would end the process of the tests a minute later."""
    kept, keep = list[leases.Lease](), leases.Lease.keep

    def keep_for_a_while(lease: leases.Lease) -> None:
        kept.append(lease)
        lease.end_within = lambda _seconds: None
        keep(lease)

    monkeypatch.setattr(leases.Lease, "keep", keep_for_a_while)
    yield
    for lease in kept:
        lease.give_back()


def specs(count: int, experiment: str = "letters") -> list[RunSpec]:
    return [fake_spec(experiment, seed=seed) for seed in range(count)]
