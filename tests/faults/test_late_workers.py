"""A worker that comes when nobody waits for it any more: its preloader was stopped while others took over."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.faults.lab import Lab
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.runlog.claim import RunOutcome, read_exit
from tui_datasize.runlog.paths import RunPaths

pytestmark = pytest.mark.faults

PRELOADER = "workers.preloader"


class Stranded:
    """A run whose worker was asked for, and whose preloader stands still."""

    def __init__(self, lab: Lab, slots: int) -> None:
        self.lab = lab
        options = ("--cpu-slots", str(slots))
        scheduler = lab.start_scheduler(*options)
        # The preloader is known to serve once it has served.
        (first,) = lab.enqueue(lab.spec(0))
        lab.wait_for(first, JobState.SUCCEEDED)
        lab.wait(lambda: len(lab.processes(PRELOADER)) == 1)
        (self.preloader,) = lab.processes(PRELOADER)
        os.kill(self.preloader, signal.SIGSTOP)
        (self.run,) = lab.enqueue(lab.spec(1))
        lab.wait_for(self.run, JobState.STARTING)
        lab.wait(lambda: f"{self.run.run_id} attempt 1: started" in lab.log())
        lab.kill(scheduler)
        lab.start_scheduler(*options)

    def go_on(self) -> None:
        """Let the preloader do what it was asked for, and wait until its worker has left."""
        os.kill(self.preloader, signal.SIGCONT)
        self.lab.wait(lambda: not self.has_preloader())

    def has_preloader(self) -> bool:
        return self.preloader in self.lab.processes(PRELOADER)


@pytest.fixture
def lab(warm_lab: Lab) -> Iterator[Lab]:
    yield warm_lab
    for pid in warm_lab.processes():
        os.kill(pid, signal.SIGCONT)


def late_worker_has_left(lab: Lab, run: RunPaths) -> bool:
    """Whether every worker that was ever asked for has come and gone; each keeps its log open."""
    mine = (str(run.stdout), str(run.stderr))
    for pid in lab.processes():
        try:
            targets = {os.readlink(f"/proc/{pid}/fd/{number}") for number in (1, 2)}  # noqa: PTH115
        except OSError:
            continue
        if targets & set(mine):
            return False
    return True


def test_a_run_that_was_done_meanwhile_is_left_alone(lab: Lab) -> None:
    stranded = Stranded(lab, slots=2)
    assert lab.wait_for(stranded.run, JobState.SUCCEEDED).attempts == 2
    stranded.go_on()
    lab.wait(lambda: late_worker_has_left(lab, stranded.run))
    lab.assert_ran_once(stranded.run)


@pytest.mark.parametrize(
    ("kind", "state"), [(CommandKind.HOLD, JobState.HELD), (CommandKind.CANCEL, JobState.CANCELLED)]
)
def test_a_run_that_was_held_or_cancelled_meanwhile_is_left_alone(
    lab: Lab, kind: CommandKind, state: JobState
) -> None:
    # The request that is on its way keeps the only slot, so that the run waits.
    stranded = Stranded(lab, slots=1)
    run = stranded.run
    lab.wait_for(run, JobState.INTERRUPTED)
    assert lab.ask(kind, run)[0][0]
    stranded.go_on()
    lab.wait(lambda: late_worker_has_left(lab, run))
    assert lab.executions(run) == []
    assert lab.job(run).state is state
    ending = read_exit(run)
    assert ending is not None
    assert ending.outcome is not RunOutcome.SUCCEEDED
    lab.ask(CommandKind.RELEASE if state is JobState.HELD else CommandKind.RETRY, run)
    lab.wait_for(run, JobState.SUCCEEDED)
    lab.assert_ran_once(run)
