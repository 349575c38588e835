from __future__ import annotations

import pytest

from tui_datasize.jobs.queue.state import TRANSITIONS, JobState, sources


def test_every_state_has_its_row_and_can_be_left() -> None:
    assert set(TRANSITIONS) == set(JobState)
    assert all(TRANSITIONS.values())


def test_every_state_but_the_first_can_be_reached() -> None:
    reached = frozenset().union(*TRANSITIONS.values())
    assert reached == set(JobState)


def test_a_job_is_waiting_active_final_or_held() -> None:
    for state in JobState:
        assert [state.is_waiting, state.is_active, state.is_final, state is JobState.HELD].count(True) == 1


@pytest.mark.parametrize("state", [state for state in JobState if state.is_final])
def test_what_has_ended_only_begins_anew(state: JobState) -> None:
    assert TRANSITIONS[state] == {JobState.QUEUED}


def test_only_a_started_job_runs() -> None:
    assert sources(JobState.RUNNING) == (JobState.STARTING,)
    assert set(sources(JobState.STARTING)) == {state for state in JobState if state.is_waiting}


@pytest.mark.parametrize("target", list(JobState))
def test_sources_and_targets_agree(target: JobState) -> None:
    assert all((target in TRANSITIONS[state]) == (state in sources(target)) for state in JobState)
