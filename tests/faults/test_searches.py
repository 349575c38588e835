"""A search with halving through kill -9 of schedulers and workers: the same runs, each of them once."""

from __future__ import annotations

import os
import random
import signal
from contextlib import suppress
from dataclasses import replace

from tests.faults.lab import FINAL, Lab
from tui_datasize.experiments.search import Rung
from tui_datasize.experiments.spec import Budget, RunSpec
from tui_datasize.jobs.queue.state import JobState

AMOUNTS, KEPT, SEEDS = (1, 2, 4), (6, 3, 1), (0, 1)
FAILING = 5


def run_of(lab: Lab, candidate: int, seed: int, number: int) -> RunSpec:
    """The later a candidate was drawn, the better it does; the last fails."""
    behaviour = {"behaviour": "fail", "reason": "loss is NaN"} if candidate == FAILING else {}
    spec = lab.spec(seed, validation=candidate / 10, work_s=0.02, **behaviour)
    return replace(spec, batch_size=candidate + 1, budget=Budget("updates", AMOUNTS[number]))


def test_a_search_survives_kills_at_any_point(lab: Lab) -> None:
    first = {
        run_of(lab, candidate, seed, 0): Rung("s", 0, candidate, (), len(SEEDS), KEPT, AMOUNTS)
        for candidate in range(KEPT[0])
        for seed in SEEDS
    }
    lab.enqueue(*first, rungs={spec.run_id: rung for spec, rung in first.items()}, max_attempts=100)
    # Candidates 2, 3 and 4 go on, then the best of them.
    expected = {spec.run_id for spec in first}
    expected |= {run_of(lab, c, seed, 1).run_id for c in (2, 3, 4) for seed in SEEDS}
    expected |= {run_of(lab, 4, seed, 2).run_id for seed in SEEDS}
    draws = random.Random(3)

    def states() -> dict[str, JobState]:
        return {job.run_id: job.state for job in lab.client.jobs()}

    kills = 0
    while not (states().keys() == expected and all(state in FINAL for state in states().values())):
        scheduler = lab.start_scheduler()
        ended = sum(state in FINAL for state in states().values())
        wanted = min(len(expected), ended + draws.randint(0, 2))
        lab.wait(
            lambda wanted=wanted: (
                sum(state in FINAL for state in states().values()) >= wanted or len(states()) == len(expected)
            )
        )
        if kills >= 20:
            lab.wait_until_over()
            continue
        lab.kill(scheduler)
        for pid in draws.sample(workers := lab.processes("fake_worker"), len(workers) // 2):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        kills += 1
    assert kills > 2
    found = states()
    assert {run_id for run_id, state in found.items() if state is JobState.FAILED} == {
        run_of(lab, FAILING, seed, 0).run_id for seed in SEEDS
    }
    for run_id in found.keys() - {run_of(lab, FAILING, seed, 0).run_id for seed in SEEDS}:
        lab.assert_ran_once(lab.project.run("lab", run_id))
