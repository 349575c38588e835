"""Estimates of time: what they are learned from, and when runs end on so many slots."""

from __future__ import annotations

import pytest

from tui_datasize.jobs.queue.paces import Kind, Paces, Work, estimate_ends, latest


def work(run_id: str = "r", **changes) -> Work:
    kind = Kind("letters", "digits", "cnn3", batch_size=32, device="cpu", total_updates=100)
    of_kind = {name: changes.pop(name) for name in Kind._fields if name in changes}
    return Work(run_id, kind._replace(**of_kind), **changes)


FINISHED = [work(total_updates=u, used_s=5 + 0.1 * u) for u in (100, 200, 400)]


def test_the_same_work_is_learned_from_first():
    others = [work(model="mlp", used_s=1.0), work(device="NVIDIA H100", used_s=2.0)]
    pace = Paces([*FINISHED, *others]).pace(work().kind)
    assert (pace.start_s, pace.update_s) == (pytest.approx(5), pytest.approx(0.1))
    assert pace.basis == "3 finished runs of cnn3 on cpu"


@pytest.mark.parametrize(
    ("changes", "basis"),
    [
        ({"dataset": "mnist"}, "3 finished runs of cnn3 on cpu, other data"),
        ({"batch_size": 64}, "3 finished runs of cnn3, other device or batch size"),
        ({"device": "NVIDIA H100"}, "3 finished runs of cnn3, other device or batch size"),
        ({"model": "mlp"}, "3 finished runs of other models"),
    ],
)
def test_without_it_the_most_similar_work_is(changes, basis):
    assert Paces(FINISHED).pace(work(**changes).kind).basis == basis


def test_a_run_that_goes_on_has_its_remaining_updates_to_do():
    paces = Paces(FINISHED)
    assert paces.remaining(work(total_updates=1000))[0] == pytest.approx(105)
    assert paces.remaining(work(total_updates=1000, updates=600, used_s=70))[0] == pytest.approx(40)
    assert paces.remaining(work(total_updates=1000, used_s=30))[0] == pytest.approx(75)
    assert paces.remaining(work(total_updates=100, used_s=300))[0] == 0


def test_what_a_run_has_done_tells_more_than_other_models():
    seconds, basis = Paces(FINISHED).remaining(work(model="mlp", total_updates=1000, updates=250, used_s=50))
    assert (seconds, basis) == (pytest.approx(150), "its own first 250 updates")


def test_before_any_run_has_finished_its_own_beginning_tells():
    paces = Paces([])
    assert paces.remaining(work()) == (None, "")
    seconds, basis = paces.remaining(work(total_updates=1000, updates=250, used_s=50))
    assert (seconds, basis) == (pytest.approx(150), "its own first 250 updates")


def test_runs_end_one_after_the_other_on_the_slots_there_are():
    paces = Paces([work(used_s=10.0)])
    running = work("running", updates=50, used_s=5, is_running=True)
    queued = [work(f"q{n}") for n in range(3)]
    ends = {e.run_id: e.ends_in_s for e in estimate_ends([*queued, running], paces, slots=2)}
    assert ends == pytest.approx({"running": 5, "q0": 10, "q1": 15, "q2": 20})


def test_what_waits_has_no_end_where_there_are_no_slots():
    running, waiting = work("a", is_running=True, used_s=30), work("b")
    ends = [estimate.ends_in_s for estimate in estimate_ends([waiting, running], Paces(FINISHED), slots=0)]
    assert (ends[0] is None, ends[1]) == (False, None)


def test_a_run_does_not_begin_before_its_source_has_ended():
    paces = Paces([work(used_s=10.0)])
    works = [work("source"), work("later", after=("source",)), work("free")]
    ends = {e.run_id: e.ends_in_s for e in estimate_ends(works, paces, slots=2)}
    assert (ends["source"], ends["later"]) == (10, 20)


def test_more_running_than_slots_are_all_running():
    paces = Paces([work(used_s=10.0)])
    works = [work(f"r{n}", is_running=True, used_s=4.0) for n in range(3)]
    assert [e.ends_in_s for e in estimate_ends(works, paces, slots=1)] == [6, 6, 6]


def test_the_end_of_all_is_not_known_while_one_is_not():
    known = estimate_ends([work()], Paces([work(used_s=10.0)]), slots=1)
    unknown = estimate_ends([work()], Paces([]), slots=1)
    assert latest(known) == 10
    assert latest([*known, *unknown]) is None
    assert latest([]) == 0


def test_runs_of_one_worker_share_it_and_free_its_slot_together():
    paces = Paces([work(used_s=10.0)])
    lanes = [work(f"r{n}", updates=u, is_running=True, worker="t") for n, u in enumerate((50, 50, 80))]
    ends = {e.run_id: e.ends_in_s for e in estimate_ends([*lanes, work("q")], paces, slots=1)}
    # They have 5, 5 and 2 seconds of the slot to go; in the first 6 s each has had 2 of them.
    assert ends == pytest.approx({"r0": 12, "r1": 12, "r2": 6, "q": 22})
    lone = estimate_ends([work("r", updates=50, is_running=True, worker="t")], paces, slots=1)
    assert lone[0].remaining_s == pytest.approx(5)


def test_a_run_of_a_pack_of_which_nothing_is_known_yet_keeps_no_other_from_its_estimate():
    lanes = [
        work("r0", updates=50, used_s=5.0, is_running=True, worker="t"),
        work("r1", is_running=True, worker="t", model="mlp"),
    ]
    assert [e.remaining_s for e in estimate_ends(lanes, Paces([]), slots=1)] == [5, None]


def test_runs_of_a_cluster_take_no_slot_and_begin_when_it_likes():
    paces = Paces([work(used_s=10.0), work(device="the cluster", used_s=4.0)])
    away = {"device": "the cluster", "is_away": True}
    runs = work("runs", **away, updates=50, used_s=2.0, is_running=True, worker="its own")
    waits, here, behind = work("waits", **away), work("here"), work("behind", after=("waits",))
    found = {one.run_id: one for one in estimate_ends([waits, here, runs, behind], paces, slots=1)}
    told = {name: (one.remaining_s, one.ends_in_s, one.awaits_cluster) for name, one in found.items()}
    assert told == {
        "runs": (pytest.approx(2), pytest.approx(2), False),
        "waits": (pytest.approx(4), None, True),
        "here": (pytest.approx(10), pytest.approx(10), False),
        "behind": (pytest.approx(10), None, False),
    }
    assert found["waits"].basis == "1 finished run of cnn3 on the cluster"
    assert latest(found.values()) is None
