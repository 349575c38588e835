from __future__ import annotations

from dataclasses import replace

import pytest

from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.scheduler.attempt_end import AttemptState, Decision, Ending, decide, find
from tui_datasize.runlog.claim import LEFT_WITH_PACK, ClaimRecord, ExitRecord, Lack, Observation, RunOutcome


def seen(
    *,
    exit: tuple[int, RunOutcome] | None = None,
    claim: int | None = None,
    held: bool = False,
    alive: bool = False,
) -> Observation:
    return Observation(
        ExitRecord(exit[0], exit[1], "", "") if exit else None,
        ClaimRecord(claim, 1, 1, "boot", "tag", "") if claim else None,
        lock_held=held,
        claimant_alive=alive,
    )


AGAIN = "; starts again by itself"
FAILED, SUCCEEDED, INTERRUPTED = RunOutcome.FAILED, RunOutcome.SUCCEEDED, RunOutcome.INTERRUPTED


@pytest.mark.parametrize(
    ("observation", "worker_alive", "expected"),
    [
        (seen(), True, AttemptState.STARTING),
        (seen(), False, AttemptState.UNCLAIMED),
        (seen(claim=2, held=True, alive=True), True, AttemptState.RUNNING),
        (seen(claim=2, alive=True), False, AttemptState.RUNNING),  # claimed since the lock was probed
        (seen(claim=1, held=True, alive=True), False, AttemptState.RUNNING),  # a straggler has it
        (seen(claim=2, held=True), False, AttemptState.LEFTOVERS),
        (seen(claim=2), False, AttemptState.VANISHED),
        (seen(claim=1), False, AttemptState.UNCLAIMED),
        (seen(claim=1, exit=(1, INTERRUPTED)), True, AttemptState.STARTING),
        (seen(claim=1, exit=(1, INTERRUPTED)), False, AttemptState.UNCLAIMED),
        (seen(claim=1, exit=(1, INTERRUPTED), held=True), True, AttemptState.STARTING),
        (seen(claim=2, exit=(2, FAILED), held=True, alive=True), True, AttemptState.ENDING),
        (seen(claim=2, exit=(2, FAILED), held=True), False, AttemptState.ENDING),
        (seen(claim=2, exit=(2, FAILED)), False, AttemptState.ENDED),
        # Its worker is done with this run and goes on with others of its pack.
        (seen(claim=2, exit=(2, FAILED), alive=True), True, AttemptState.ENDED),
        # So does the worker of the attempt before, while the next one is under way.
        (seen(claim=1, exit=(1, FAILED), alive=True), True, AttemptState.STARTING),
        (seen(claim=1, exit=(1, FAILED), alive=True), False, AttemptState.UNCLAIMED),
        (seen(claim=1, exit=(1, SUCCEEDED)), False, AttemptState.ENDED),  # success ends every attempt
        (seen(exit=(3, FAILED)), False, AttemptState.ENDED),
    ],
)
def test_the_directory_tells_how_an_attempt_stands(
    observation: Observation, worker_alive: bool, expected: AttemptState
) -> None:
    assert find(2, observation, worker_alive) is expected


def ending(outcome: RunOutcome | None, reason: str = "", **changes: object) -> Ending:
    values: dict[str, object] = {
        "attempt": 1,
        "max_attempts": 3,
        "cancel_requested": False,
        "beside_others": True,
    }
    return Ending(outcome, reason, **(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (ending(SUCCEEDED), Decision(JobState.SUCCEEDED, "")),
        (ending(SUCCEEDED, cancel_requested=True), Decision(JobState.SUCCEEDED, "")),
        (ending(FAILED, "NaN loss"), Decision(JobState.FAILED, "NaN loss")),
        (ending(FAILED, "NaN loss", cancel_requested=True), Decision(JobState.CANCELLED, "cancelled")),
        (ending(INTERRUPTED, "asked to leave"), Decision(JobState.INTERRUPTED, f"asked to leave{AGAIN}")),
        (ending(INTERRUPTED, cancel_requested=True), Decision(JobState.CANCELLED, "cancelled")),
        (ending(None, "worker vanished"), Decision(JobState.INTERRUPTED, f"worker vanished{AGAIN}")),
        # It may have brought down the others of its pack.
        (
            ending(None, "worker vanished", has_shared=True),
            Decision(
                JobState.INTERRUPTED,
                "worker vanished; starts again alone, since it may have ended its worker",
            ),
        ),
        (
            ending(None, "worker vanished", attempt=3),
            Decision(JobState.FAILED, "worker vanished on attempt 3, the last one"),
        ),
        # Another run of its worker was the cause: it costs nothing, however often.
        (
            ending(INTERRUPTED, LEFT_WITH_PACK, attempt=3, is_for_another=True),
            Decision(JobState.INTERRUPTED, f"{LEFT_WITH_PACK}{AGAIN}", is_forgiven=True),
        ),
        # Somebody else asked the worker to leave, as of a run alone.
        (
            ending(INTERRUPTED, LEFT_WITH_PACK, has_shared=True),
            Decision(JobState.INTERRUPTED, f"{LEFT_WITH_PACK}{AGAIN}"),
        ),
        (
            ending(INTERRUPTED, LEFT_WITH_PACK, attempt=3),
            Decision(JobState.FAILED, f"{LEFT_WITH_PACK} on attempt 3, the last one"),
        ),
        (ending(FAILED, "NaN loss", is_for_another=True), Decision(JobState.FAILED, "NaN loss")),
        (
            ending(INTERRUPTED, LEFT_WITH_PACK, cancel_requested=True),
            Decision(JobState.CANCELLED, "cancelled"),
        ),
        (
            ending(None, "worker vanished", attempt=3, is_for_another=True, has_shared=True),
            Decision(JobState.INTERRUPTED, f"worker vanished{AGAIN}", is_forgiven=True),
        ),
        (ending(None, cancel_requested=True, attempt=3), Decision(JobState.CANCELLED, "cancelled")),
        (
            ending(RunOutcome.CANCELLED, "cancelled before it began"),
            Decision(JobState.CANCELLED, "cancelled before it began"),
        ),
        (
            ending(FAILED, "CUDA out of memory", lack=Lack.DEVICE_MEMORY),
            Decision(JobState.INTERRUPTED, "CUDA out of memory; starts again alone", alone=True),
        ),
        (
            ending(FAILED, "CUDA out of memory", lack=Lack.DEVICE_MEMORY, beside_others=False),
            Decision(JobState.FAILED, "CUDA out of memory"),
        ),
        (
            ending(FAILED, "CUDA out of memory", lack=Lack.DEVICE_MEMORY, attempt=3),
            Decision(JobState.FAILED, "CUDA out of memory"),
        ),
    ],
)
def test_what_becomes_of_a_job(case: Ending, expected: Decision) -> None:
    assert decide(case) == expected


@pytest.mark.parametrize("case", [ending(None, "worker vanished"), ending(FAILED, "no data", attempt=3)])
def test_the_machines_fault_costs_no_attempt(case: Ending) -> None:
    decision = decide(case, is_machines_fault=True)
    assert (decision.state, decision.is_forgiven) == (JobState.INTERRUPTED, True)
    assert decide(replace(case, cancel_requested=True), is_machines_fault=True).state is JobState.CANCELLED


def test_words_alone_are_no_lack_of_memory() -> None:
    case = ending(FAILED, "data set 'out of memory' is missing")
    assert decide(case).state is JobState.FAILED
