"""Ten thousand runs by a Slurm whose answers are late, torn, lost or errors: each succeeds once.

Directories are in memory; `benchmarks/cluster.py` does the same with those of a disk.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import pytest

from tests.slurm_mock import MockCall, MockSlurm, MockTask
from tests.unit.slurm_desk import Cluster, opened_cluster, specs
from tui_datasize.experiments.cluster_settings import ClusterSettings
from tui_datasize.jobs.queue.cluster import HandedRun
from tui_datasize.jobs.queue.records import QueuedJob
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.scheduler.slurm import attempts, executor, handing
from tui_datasize.jobs.scheduler.slurm.arrays import HandedDirectory
from tui_datasize.jobs.scheduler.slurm.attempts import Sight
from tui_datasize.jobs.scheduler.slurm.executor import SlurmExecutor
from tui_datasize.runlog.claim import ClaimRecord, ExitRecord, Observation, RunOutcome
from tui_datasize.runlog.paths import ProjectPaths, RunPaths

RUNS, MADE = 10_000, 500
MOST_TASKS, AT_ONCE = 1001, 250
QUEUED, SUCCEEDED = JobState.QUEUED, JobState.SUCCEEDED


class Directories:
    """What run directories would tell, and the workers that write there."""

    def __init__(self, project: ProjectPaths) -> None:
        self.project = project
        self.seen: dict[str, Observation] = {}
        self.successes: Counter[str] = Counter()

    def prepare(
        self, project: ProjectPaths, _settings: ClusterSettings, job: QueuedJob
    ) -> HandedDirectory | str:
        seen = self.seen.get(job.run_id, NOTHING)
        return HandedDirectory(Path("/nodes") / job.run_id, max(job.attempts, seen.newest_attempt) + 1)

    def see(self, run: HandedRun, _paths: RunPaths, _log: Path, _living: object, *, is_gone: bool) -> Sight:
        seen = self.seen.get(run.run_id, NOTHING)
        return Sight(seen, is_gone, is_leased=False, leased=0, has_saved=False, said="")

    def conclude(
        self, paths: RunPaths, attempt: int, outcome: RunOutcome, reason: str, *, is_gone: bool
    ) -> bool:
        seen = self.seen.get(paths.run_id, NOTHING)
        if seen.newest_attempt > attempt or (seen.exit and seen.exit.outcome is RunOutcome.SUCCEEDED):
            return False
        end = ExitRecord(attempt, outcome, reason, "")
        self.seen[paths.run_id] = Observation(end, seen.claim, lock_held=False, claimant_alive=False)
        return True

    def work(self, task: MockTask) -> None:
        """Be a worker, from its claim to its end, unless the run is over."""
        task.state, run_id = "COMPLETED", Path(task.directory).name
        seen = self.seen.get(run_id, NOTHING)
        if seen.exit and seen.exit.outcome is RunOutcome.SUCCEEDED:
            return
        attempt = max(task.first, seen.newest_attempt + 1)
        claim = ClaimRecord(attempt, 1, 1, "boot", "tag", "", host="n1", job=task.name)
        end = ExitRecord(attempt, RunOutcome.SUCCEEDED, "", "2026-11-30T00:00:00.000+00:00")
        self.seen[run_id] = Observation(end, claim, lock_held=False, claimant_alive=False)
        self.successes[run_id] += 1


NOTHING = Observation(None, None, lock_held=False, claimant_alive=False)


class Moody(MockSlurm):
    """Starts tasks after each squeue; some of its answers are late, torn, lost or errors."""

    work: Callable[[MockTask], object]
    clock: Clock
    squeues: list[float]

    def start(self, words: Sequence[str], text: str = "") -> MockCall:
        if words[0] == "squeue":
            self.squeues.append(self.clock.now_s)
            self.begin(self.work, AT_ONCE)
        return super().start(words, text)


def reach(work: Callable[[], object]) -> Generator[bool, None, object]:
    """As of `Reach`, in this very thread."""
    yield from ()
    return work()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with opened_cluster(tmp_path, monkeypatch) as cluster:
        yield cluster


class Clock:
    """Stands while something is done."""

    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


def queue_many(cluster: Cluster) -> None:
    """Ten thousand runs, copies of one in all but name and place."""
    cluster.enqueue(*specs(1))
    columns = [row["name"] for row in cluster.store._all("PRAGMA table_info(jobs)")]
    made = {"run_id": "printf('run-%05d', n)", "position": "n + 1"}
    cluster.store._run(
        f"WITH RECURSIVE more(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM more WHERE n < {RUNS - 1}) "
        f"INSERT INTO jobs ({', '.join(columns)}) SELECT {', '.join(made.get(c, c) for c in columns)} "
        "FROM jobs, more"
    )


def test_ten_thousand_runs_are_handed_over_and_begin_once(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of them is made, too: what each costs the queue is the same here as with a Slurm."""
    slurm, directories, clock = Moody(most_tasks=MOST_TASKS), Directories(cluster.project), Clock()
    slurm.work, slurm.clock = directories.work, clock
    slurm.faults = {
        "scontrol": ["torn", "down"],
        "sbatch": ["", "lost", "slow", "torn", "down"],
        "squeue": ["", "torn", "", "slow", "down", "lost"],
    }
    slurm.submit_limit, slurm.squeues = 10 * RUNS, []
    cluster.slurm = slurm
    cluster.executor = SlurmExecutor(cluster.store, cluster.project, ["worker"], slurm)
    monkeypatch.setattr(executor, "time", clock)
    monkeypatch.setattr(handing, "_prepare", directories.prepare)
    monkeypatch.setattr(attempts, "see", directories.see)
    monkeypatch.setattr(attempts, "conclude_if_there", directories.conclude)
    monkeypatch.setattr(cluster.executor, "_reach", reach)
    queue_many(cluster)
    while len(directories.successes) < MADE or not all(cluster.store.cluster.arrays().values()):
        cluster.executor.step()
        clock.now_s += 1.0
    slurm.work = str
    for _ in range(30):
        cluster.executor.step()
        clock.now_s += 1.0
    states = Counter(cluster.states())
    assert states == {SUCCEEDED: len(directories.successes), QUEUED: RUNS - len(directories.successes)}
    assert set(directories.successes.values()) == {1}
    # All of that was met.
    assert not any(slurm.faults.values())
    names = Counter(task.directory for task in slurm.tasks)
    assert len(names) == RUNS
    arrays = Counter(task.job_id for task in slurm.tasks)
    assert max(arrays.values()) <= MOST_TASKS
    gaps = [after - before for before, after in itertools.pairwise(slurm.squeues)]
    assert min(gaps) >= 5.0
