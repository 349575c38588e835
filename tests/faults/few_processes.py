"""A user who may have no more processes (`ulimit -u`, which does not bind root), under a queue of their own.

`python -m tests.faults.few_processes DIRECTORY cold|forked` ends well where no run fails of it.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from tests.faults.lab import Lab
from tui_datasize.jobs.queue.faults import FaultKind
from tui_datasize.jobs.queue.state import JobState

_NONE = 1
"""The user has more than one already."""


def main(directory: Path, starts: str) -> None:
    """Limit those who start workers, see that their runs wait, and lift the limit."""
    lab = Lab(directory, ("--cold",) if starts == "cold" else ())
    try:
        scheduler = lab.start_scheduler("--cpu-slots", "2")
        lab.enqueue(lab.spec(99))
        lab.wait_until_over()
        starting = lab.processes("workers.preloader") if starts == "forked" else [scheduler.pid]
        assert starting
        _limit(starting, _NONE)
        runs = lab.enqueue(*(lab.spec(seed) for seed in range(2)))
        lab.wait(lambda: [fault.kind for fault in lab.client.faults()] == [FaultKind.PROCESSES])
        assert "Resource temporarily unavailable" in lab.client.faults()[0].sentence
        assert not any(lab.executions(run) for run in runs)
        _limit(starting, resource.RLIM_INFINITY)
        for run in runs:
            job = lab.wait_for(run, JobState.SUCCEEDED)
            assert job.max_attempts - job.attempts == 2
            lab.assert_ran_once(run)
        lab.wait(lambda: lab.client.faults() == [])
        assert scheduler.poll() is None
        assert "Traceback" not in lab.log()
    finally:
        lab.close()


def _limit(processes: list[int], most: int) -> None:
    for pid in processes:
        hard = resource.prlimit(pid, resource.RLIMIT_NPROC)[1]
        soft = hard if most == resource.RLIM_INFINITY else most
        resource.prlimit(pid, resource.RLIMIT_NPROC, (soft, hard))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
