from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tui_datasize.jobs.policy import (
    MARGIN_BYTES,
    UNKNOWN_PEAK_BYTES,
    Device,
    Placement,
    Reservation,
    WaitingJob,
    place,
)

GIB = 2**30


def gpu(
    name: str = "GPU-a", *, slots: int = 4, free_slots: int = 4, total: int = 24, free: float = 24
) -> Device:
    return Device(name, slots, free_slots, total * GIB, int(free * GIB))


def job(
    run_id: str, position: int = 0, *, peak: float | None = 4, priority: int = 0, alone: bool = False
) -> WaitingJob:
    return WaitingJob(run_id, priority, position, alone, None if peak is None else int(peak * GIB))


def held(run_id: str, *, reserved: float, allocated: float, **flags: bool) -> Reservation:
    return Reservation(run_id, "GPU-a", int(reserved * GIB), int(allocated * GIB), **flags)


def placed(placements: Sequence[Placement]) -> list[tuple[str, str]]:
    return [(placement.run_id, placement.device) for placement in placements]


def test_higher_priority_first_then_the_order_of_the_queue() -> None:
    waiting = [job("late", 3), job("urgent", 4, priority=1), job("early", 1), job("middle", 2)]
    assert placed(place(waiting, [Device("cpu", 3, 3)], [])) == [
        ("urgent", "cpu"),
        ("early", "cpu"),
        ("middle", "cpu"),
    ]


def test_no_more_jobs_than_free_slots() -> None:
    assert len(place([job(str(n), n) for n in range(5)], [Device("cpu", 4, 2)], [])) == 2


def test_jobs_are_spread_over_gpus() -> None:
    devices = [gpu("GPU-a"), gpu("GPU-b")]
    assert {device for _, device in placed(place([job("1", 1), job("2", 2)], devices, []))} == {
        "GPU-a",
        "GPU-b",
    }


def test_the_gpu_with_more_room_is_taken_first() -> None:
    devices = [gpu("GPU-a", free=8), gpu("GPU-b", free=20)]
    assert placed(place([job("1")], devices, [])) == [("1", "GPU-b")]


def test_memory_that_is_reserved_but_not_yet_allocated_is_not_free() -> None:
    waiting = [job("new", peak=10)]
    filled_late = held("old", reserved=16, allocated=1)
    assert place(waiting, [gpu(free=23)], [filled_late]) == ()
    assert placed(place(waiting, [gpu(free=12)], [held("old", reserved=12, allocated=12)])) == [
        ("new", "GPU-a")
    ]


def test_memory_of_others_counts_as_occupied() -> None:
    assert place([job("new", peak=10)], [gpu(free=8)], []) == ()


def test_one_warm_up_at_a_time_per_gpu() -> None:
    waiting = [job("1", 1), job("2", 2)]
    assert placed(place(waiting, [gpu()], [])) == [("1", "GPU-a")]
    assert place(waiting, [gpu()], [held("0", reserved=4, allocated=1, warming=True)]) == ()


def test_a_workload_never_seen_is_measured_alone() -> None:
    unknown = job("new", peak=None)
    assert place([unknown], [gpu()], [held("old", reserved=1, allocated=1)]) == ()
    (placement,) = place([unknown], [gpu()], [])
    assert (placement.slots, placement.reserved_bytes) == (1, UNKNOWN_PEAK_BYTES + MARGIN_BYTES)


def test_a_job_that_ran_out_of_memory_gets_all_slots_of_an_empty_gpu() -> None:
    alone = job("1", alone=True)
    assert place([alone], [gpu(free_slots=3)], []) == ()
    (placement,) = place([alone], [gpu()], [])
    assert placement.slots == 4
    assert place([job("2")], [gpu(free_slots=1)], [held("1", reserved=4, allocated=4, alone=True)]) == ()


def test_a_job_as_large_as_the_gpu_is_tried_on_an_empty_one() -> None:
    assert placed(place([job("huge", peak=40)], [gpu(free=23.5)], [])) == [("huge", "GPU-a")]


def test_small_jobs_do_not_starve_a_large_one() -> None:
    waiting = [job("large", 1, peak=20), job("small", 2, peak=2)]
    small_ones = [held("0", reserved=8, allocated=8)]
    assert place(waiting, [gpu(free=16)], small_ones) == ()
    devices = [gpu("GPU-a", free=16), gpu("GPU-b", total=8, free=8)]
    assert placed(place(waiting, devices, small_ones)) == [("small", "GPU-b")]


def test_a_gpu_filled_by_others_is_not_kept_for_a_job_that_cannot_have_it() -> None:
    waiting = [job("large", 1, peak=18), job("small", 2, peak=2)]
    assert placed(place(waiting, [gpu(free=8)], [])) == [("small", "GPU-a")]


devices = st.lists(
    st.builds(
        lambda name, slots, used, total, free: Device(
            f"GPU-{name}", slots, max(0, slots - used), total * GIB, min(free, total) * GIB
        ),
        st.integers(0, 99),
        st.integers(1, 6),
        st.integers(0, 6),
        st.integers(1, 80),
        st.integers(0, 80),
    )
    | st.just(Device("cpu", 4, 3)),
    max_size=4,
    unique_by=lambda device: device.name,
)
jobs = st.lists(
    st.builds(
        WaitingJob,
        run_id=st.integers(0, 10**6).map(str),
        priority=st.integers(-2, 2),
        position=st.integers(0, 10**6),
        alone=st.booleans(),
        peak_bytes=st.none() | st.integers(0, 40 * GIB),
    ),
    max_size=12,
    unique_by=(lambda job: job.run_id, lambda job: job.position),
)


@st.composite
def snapshots(draw: st.DrawFn) -> tuple[list[WaitingJob], list[Device], list[Reservation]]:
    present = draw(devices)
    reservations = []
    if present:
        reservations = draw(
            st.lists(
                st.builds(
                    Reservation,
                    run_id=st.integers().map(str),
                    device=st.sampled_from([device.name for device in present]),
                    reserved_bytes=st.integers(0, 30 * GIB),
                    allocated_bytes=st.integers(0, 30 * GIB),
                    alone=st.booleans(),
                    warming=st.booleans(),
                ),
                max_size=4,
            )
        )
    return draw(jobs), present, reservations


@given(snapshots())
def test_placements_keep_every_limit(
    snapshot: tuple[list[WaitingJob], list[Device], list[Reservation]],
) -> None:
    waiting, present, reservations = snapshot
    placements = place(waiting, present, reservations)
    by_id = {job.run_id: job for job in waiting}
    assert len({placement.run_id for placement in placements}) == len(placements)
    for device in present:
        mine = [placement for placement in placements if placement.device == device.name]
        before = [reservation for reservation in reservations if reservation.device == device.name]
        assert sum(placement.slots for placement in mine) <= device.free_slots
        if device.memory_free_bytes is None:
            continue
        promised = sum(max(0, r.reserved_bytes - r.allocated_bytes) for r in before)
        assert not mine or sum(p.reserved_bytes for p in mine) + promised <= device.memory_free_bytes
        assert len(mine) <= 1
        assert not (mine and any(r.warming or r.alone for r in before))
        assert not any(by_id[placement.run_id].alone for placement in mine) or not before


@given(snapshots())
def test_no_job_is_overtaken_by_one_that_asks_for_the_same(
    snapshot: tuple[list[WaitingJob], list[Device], list[Reservation]],
) -> None:
    waiting, present, reservations = snapshot
    started = {placement.run_id for placement in place(waiting, present, reservations)}
    for first in waiting:
        for second in waiting:
            alike = (first.alone, first.peak_bytes) == (second.alone, second.peak_bytes)
            earlier = (-first.priority, first.position) < (-second.priority, second.position)
            if alike and earlier and second.run_id in started:
                assert first.run_id in started


@given(snapshots())
def test_placement_is_a_function_of_the_snapshot_alone(
    snapshot: tuple[list[WaitingJob], list[Device], list[Reservation]],
) -> None:
    waiting, present, reservations = snapshot
    assert place(waiting, present, reservations) == place(waiting[::-1], present, reservations)
