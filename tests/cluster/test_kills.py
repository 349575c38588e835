"""Whatever is killed, every run succeeds exactly once: slurmctld, slurmd, workers, our scheduler."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from tests.cluster.conftest import ClusterLab
from tui_datasize.jobs.queue.state import JobState

KILLING_S = 60.0
_RUNS = 60


def test_every_run_succeeds_once_while_everything_is_killed(lab: ClusterLab) -> None:
    lab.say(gpus=1)
    seed = int(os.environ.get("DATASIZE_KILL_SEED", random.SystemRandom().getrandbits(24)))
    draw = random.Random(seed)
    specs = [lab.spec(number, steps=20, step_s=0.03) for number in range(_RUNS)]
    runs = lab.hand(*specs, max_attempts=1000)
    scheduler = lab.start_scheduler()
    killed: Counter[str] = Counter()

    def kill_scheduler() -> None:
        nonlocal scheduler
        lab.kill(scheduler)
        scheduler = lab.start_scheduler()

    def kill_controller() -> None:
        lab.slurm.kill("slurmctld")
        lab.slurm.start_controller()

    def kill_node() -> None:
        lab.slurm.kill("slurmd")
        lab.slurm.start_node()

    def kill_worker() -> None:
        # The command line of a scheduler has the worker's program in it, too.
        pids = lab.processes(f"tests.cluster.worker {lab.project.runs}")
        if pids:
            with suppress(ProcessLookupError):
                os.kill(draw.choice(pids), signal.SIGKILL)
                killed["kill_worker"] += 1

    kills: list[Callable[[], None]] = [kill_scheduler, kill_controller, kill_node, kill_worker]
    deadline_s = time.monotonic() + KILLING_S
    while time.monotonic() < deadline_s:
        kill = draw.choice(kills)
        kill()
        killed[kill.__name__] += kill is not kill_worker
        # Moments, not a condition: the kills are to come at any of them.
        time.sleep(draw.uniform(0.1, 2.0))

    def is_over() -> bool:
        lab.slurm.resume()
        return all(job.state.is_final for job in lab.jobs().values())

    lab.slurm.wait(is_over, 900.0)
    states = Counter(lab.job(paths).state for paths in runs)
    print(f"seed {seed}: {dict(killed)}, {states[JobState.SUCCEEDED]} of {len(runs)} runs succeeded")
    assert states == {JobState.SUCCEEDED: len(runs)}, f"seed {seed}: {lab.states()}"
    for paths in runs:
        lab.assert_ran_once(paths)
    assert set(killed) == {kill.__name__ for kill in kills}, seed
