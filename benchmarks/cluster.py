"""Thousands of runs on a Slurm that is none: what the scheduler spends on them, and that each succeeds once.

`python -m benchmarks.cluster --runs 10000` queues them, has a mocked Slurm start some after each squeue, and
ends them as their workers would; a tenth of its answers are late, torn, lost or errors. Exit status 1 where a
run did not succeed exactly once, an array was too large, or two squeues came too soon after each other.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tests.fakes import fake_spec
from tests.slurm_mock import MockCall, MockSlurm, MockTask
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.apply_commands import CommandApplier
from tui_datasize.jobs.scheduler.slurm.executor import SlurmExecutor
from tui_datasize.runlog import lease as leases
from tui_datasize.runlog.claim import ClaimRefused, RunOutcome, acquire, next_attempt
from tui_datasize.runlog.paths import ProjectPaths, RunPaths

_FAULTS = ("down", "lost", "torn", "slow")
_SHARE = 0.1
_SEED = 7


class Cluster(MockSlurm):
    """Starts tasks after each squeue, whose workers end at once, and notes when it was asked."""

    at_once: int = 500
    squeues: list[float]
    successes: Counter[str]
    draw: random.Random

    def start(self, words: Sequence[str], text: str = "") -> MockCall:
        """As of `MockSlurm`, with faults at random."""
        if words[0] == "squeue":
            self.squeues.append(time.monotonic())
            self.begin(self.work, self.at_once)
        if self.draw.random() < _SHARE:
            self.faults[words[0]] = [self.draw.choice(_FAULTS)]
        self.asked.clear()
        return super().start(words, text)

    def work(self, task: MockTask) -> None:
        """Be a worker, from its claim to its end."""
        os.environ[leases.FIRST_VARIABLE] = str(task.first)
        os.environ |= {"SLURM_ARRAY_JOB_ID": task.job_id, "SLURM_ARRAY_TASK_ID": str(task.number)}
        paths = RunPaths(Path(task.directory))
        task.state = "COMPLETED"
        try:
            claim = acquire(paths, next_attempt(paths))
        except ClaimRefused:
            return
        finally:
            del os.environ[leases.FIRST_VARIABLE]
        claim.finish(RunOutcome.SUCCEEDED)
        claim.release()
        self.successes[paths.run_id] += 1


def main(argv: Sequence[str] | None = None) -> int:
    """Queue, run and say what it took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="default: 10000")
    parser.add_argument("--most-tasks", type=int, default=1001, help="MaxArraySize (default: 1001)")
    parser.add_argument("--interval-s", type=float, default=5.0, help="between squeues (default: 5)")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="cluster.") as name:
        return play(Path(name), arguments.runs, arguments.most_tasks, arguments.interval_s)


def play(root: Path, runs: int, most_tasks: int, interval_s: float) -> int:
    """One sweep from its queueing to its end."""
    (root / "bin").mkdir()
    (root / "bin" / "sbatch").touch(0o755)
    os.environ["PATH"] += f"{os.pathsep}{root / 'bin'}"
    project = ProjectPaths(root)
    project.experiments.write_text("[cluster]\ngpus = 0\n")
    slurm = Cluster(most_tasks=most_tasks, submit_limit=10 * runs)
    slurm.squeues, slurm.successes, slurm.draw = [], Counter(), random.Random(_SEED)
    begun_s = time.monotonic()
    with closing(Store(project.queue)) as store:
        QueueClient(project).enqueue([fake_spec("letters", seed=seed) for seed in range(runs)], on="slurm")
        applier = CommandApplier(store, project)
        while applier.apply_pending():
            pass
        queued_s, cpu_s = time.monotonic() - begun_s, _cpu_s()
        longest_s = _until_done(SlurmExecutor(store, project, ["worker"], slurm, interval_s), store)
        states = Counter(job.state for job in QueueClient(project).jobs())
    arrays = Counter(task.job_id for task in slurm.tasks)
    gaps = [after - before for before, after in zip(slurm.squeues, slurm.squeues[1:], strict=False)]
    is_right = (
        states == {JobState.SUCCEEDED: runs}
        and set(slurm.successes.values()) == {1}
        and max(arrays.values()) <= most_tasks
        and min(gaps, default=interval_s) >= 0.99 * interval_s
    )
    print(
        f"{runs:,} runs queued in {queued_s:.1f} s and done in {time.monotonic() - begun_s:.0f} s: "
        f"{len(arrays)} arrays of at most {max(arrays.values()):,}, {len(slurm.squeues)} squeues at least "
        f"{min(gaps, default=0.0):.2f} s apart, {_cpu_s() - cpu_s:.1f} CPU s, their workers' included, "
        f"longest step {longest_s:.2f} s; {dict(states)}; {'right' if is_right else 'WRONG'}"
    )
    return 0 if is_right else 1


def _until_done(executor: SlurmExecutor, store: Store) -> float:
    """Step until nothing is left; processor seconds of the longest step, its workers' included."""
    longest_s = 0.0
    while store.cluster.has_work():
        begun_s = time.process_time()
        executor.step()
        longest_s = max(longest_s, time.process_time() - begun_s)
        time.sleep(0.01)
    return longest_s


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
