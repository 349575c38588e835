"""How long the rest will take, and durations as text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.tui.fake_queue import USED_S, FakeQueue
from tests.tui.stage import Stage, look
from tui_datasize.jobs.queue.faults import FaultKind, new_fault
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.time_left import KeptTimeLeft
from tui_datasize.text import duration
from tui_datasize.tui.queue.actions import _time_facts, experiment_facts
from tui_datasize.tui.queue_dialog import time_words


def test_runs_at_work_have_the_rest_of_their_updates_and_others_all_of_them(busy: Stage):
    snapshot = look(busy)
    remaining_s = {row.state: row.remaining_s for row in snapshot.jobs}
    # The six that are done took as long for as many updates; half of those of a running one are made.
    assert remaining_s[JobState.RUNNING] == pytest.approx(USED_S / 2)
    assert remaining_s[JobState.QUEUED] == pytest.approx(USED_S)
    assert remaining_s[JobState.HELD] is None
    assert remaining_s[JobState.SUCCEEDED] is None
    # Two slots: half a run each, then two whole ones each.
    assert snapshot.time_left.ends_in_s == pytest.approx(2.5 * USED_S)
    assert snapshot.time_left.experiment_ends_in_s == {"digits": pytest.approx(2.5 * USED_S)}


def test_the_basis_is_told(busy: Stage):
    estimates = look(busy).time_left.estimates.values()
    assert {estimate.basis for estimate in estimates} == {"6 finished runs of mlp on cpu"}


def test_the_cost_of_what_is_not_queued_is_learned_from_the_same(busy: Stage):
    forecast = look(busy).time_left
    assert forecast.estimate_s(busy.specs()[14:]) == pytest.approx(USED_S)
    busy.queue.specs.clear()
    assert look(busy).time_left.estimate_s(busy.specs()[14:]) is None


def test_a_cluster_takes_runs_one_after_the_other_and_begins_them_when_it_likes(busy: Stage):
    busy.queue.entries = [
        entry._replace(place="slurm", device="slurm" if entry.device else "") for entry in busy.queue.entries
    ]
    snapshot, new = look(busy), busy.specs()[14:]
    runs, waits = (
        next(snapshot.time_left.estimates[row.run_id] for row in snapshot.jobs if row.state is state)
        for state in (JobState.RUNNING, JobState.QUEUED)
    )
    assert (runs.ends_in_s, runs.awaits_cluster) == (pytest.approx(USED_S / 2), False)
    assert (waits.ends_in_s, waits.awaits_cluster) == (None, True)
    assert snapshot.time_left.ends_in_s is None
    assert ("done in", "not known: Slurm decides when it begins") in _time_facts(waits)
    assert time_words(snapshot, new, "slurm") == "about 8 s of nodes"
    assert time_words(snapshot, new) == "about 4 s on 2 slots"


def test_a_run_waits_for_its_source_even_where_slots_are_free(busy: Stage):
    busy.queue.slots = 16
    source, waiting = busy.queue.entries[9], busy.queue.entries[10]
    assert look(busy).time_left.estimates[waiting.run_id].ends_in_s == pytest.approx(USED_S)
    busy.queue.entries[10] = waiting._replace(after=(source.run_id,), waits_for=(source.run_id,))
    assert look(busy).time_left.estimates[waiting.run_id].ends_in_s == pytest.approx(2 * USED_S)


def draining(queue: FakeQueue) -> None:
    queue.drains.append(True)


def stopped(queue: FakeQueue) -> None:
    queue.stopped = True


def without_slots(queue: FakeQueue) -> None:
    queue.slots = 0


def disk_ended_a_run(queue: FakeQueue) -> None:
    queue.standing = [new_fault(FaultKind.DISK, "", "digits-n40: its disk took nothing more")]


@pytest.mark.parametrize("hold_up", [draining, stopped, without_slots, disk_ended_a_run])
def test_what_keeps_waiting_jobs_from_starting_leaves_those_at_work_their_ends(
    busy: Stage, hold_up: Callable[[FakeQueue], None]
):
    hold_up(busy.queue)
    snapshot = look(busy)
    remaining_s = {row.state: row.remaining_s for row in snapshot.jobs}
    assert remaining_s[JobState.RUNNING] == pytest.approx(USED_S / 2)
    assert remaining_s[JobState.QUEUED] is None
    left = snapshot.time_left
    assert (left.ends_in_s, left.experiment_ends_in_s) == (None, {"digits": None})
    assert ("time left", f"not known: {left.held_up}") in experiment_facts(
        snapshot, snapshot.experiments[0], None
    )


def test_slots_of_others_keep_jobs_waiting_until_one_of_our_own_runs(busy: Stage):
    busy.queue.waiting = "waiting: all 2 CPU slots are used by /a (2)"
    assert look(busy).time_left.ends_in_s == pytest.approx(2.5 * USED_S)
    busy.queue.entries = [one for one in busy.queue.entries if not one.state.is_active]
    left = look(busy).time_left
    assert (left.ends_in_s, left.held_up) == (None, "all 2 CPU slots are used by /a (2)")


class CountingQueue(FakeQueue):
    """Counts how often its executions are read."""

    reads = 0

    def executions(self, jobs):
        self.reads += 1
        return super().executions(jobs)


def test_nothing_is_read_again_while_nothing_changes(busy: Stage):
    queue = CountingQueue(entries=busy.queue.entries, specs=busy.queue.specs)
    outlook, reached = KeptTimeLeft(), {}
    first = outlook.look(queue.jobs(), queue.executions, 2, reached)
    assert outlook.look(queue.jobs(), queue.executions, 2, reached) is first
    assert queue.reads == 1
    queue.entries[9] = queue.entries[9]._replace(state=JobState.HELD)
    assert outlook.look(queue.jobs(), queue.executions, 2, reached) is not first
    assert queue.reads == 2


def test_durations_stay_short():
    seconds = [None, 0.2, 59.4, 60, 3599, 3600, 86_399, 86_400, 9 * 86_400, 40 * 86_400]
    assert all(len(duration(value)) <= 7 for value in seconds)
    assert [duration(value) for value in seconds[-4:]] == ["23 h 59", "1 d 00", "9 d 00", "40 d"]
