from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tui_datasize.jobs.scheduler.placement import (
    MARGIN_BYTES,
    UNKNOWN_PEAK_BYTES,
    Device,
    Placement,
    Reservation,
    WaitingJob,
    place_jobs,
)

GIB = 2**30


def gpu(
    name: str = "GPU-a", *, slots: int = 4, free_slots: int = 4, total: int = 24, free: float = 24
) -> Device:
    return Device(name, slots, free_slots, total * GIB, int(free * GIB))


def job(
    run_id: str,
    position: int = 0,
    *,
    peak: float | None = 4,
    priority: int = 0,
    alone: bool = False,
    key: str = "",
) -> WaitingJob:
    return WaitingJob(run_id, priority, position, alone, None if peak is None else int(peak * GIB), key)


def held(*, reserved: float, allocated: float, **flags: bool) -> Reservation:
    return Reservation("GPU-a", int(reserved * GIB), int(allocated * GIB), **flags)


def placed(placements: Sequence[Placement]) -> list[tuple[str, str]]:
    return [(run_id, placement.device) for placement in placements for run_id in placement.run_ids]


def packs(placements: Sequence[Placement]) -> list[str]:
    return [" ".join(placement.run_ids) for placement in placements]


def test_higher_priority_first_then_the_order_of_the_queue() -> None:
    waiting = [job("late", 3), job("urgent", 4, priority=1), job("early", 1), job("middle", 2)]
    assert placed(place_jobs(waiting, [Device("cpu", 3, 3)], [])) == [
        ("urgent", "cpu"),
        ("early", "cpu"),
        ("middle", "cpu"),
    ]


def test_no_more_jobs_than_free_slots() -> None:
    assert len(place_jobs([job(str(n), n) for n in range(5)], [Device("cpu", 4, 2)], [])) == 2


def test_jobs_are_spread_over_gpus() -> None:
    devices = [gpu("GPU-a"), gpu("GPU-b")]
    assert {device for _, device in placed(place_jobs([job("1", 1), job("2", 2)], devices, []))} == {
        "GPU-a",
        "GPU-b",
    }


def test_the_gpu_with_more_room_is_taken_first() -> None:
    devices = [gpu("GPU-a", free=8), gpu("GPU-b", free=20)]
    assert placed(place_jobs([job("1")], devices, [])) == [("1", "GPU-b")]


def test_memory_that_is_reserved_but_not_yet_allocated_is_not_free() -> None:
    waiting = [job("new", peak=10)]
    filled_late = held(reserved=16, allocated=1)
    assert place_jobs(waiting, [gpu(free=23)], [filled_late]) == ()
    assert placed(place_jobs(waiting, [gpu(free=12)], [held(reserved=12, allocated=12)])) == [
        ("new", "GPU-a")
    ]


def test_memory_of_others_counts_as_occupied() -> None:
    assert place_jobs([job("new", peak=10)], [gpu(free=8)], []) == ()


def test_one_warm_up_at_a_time_per_gpu() -> None:
    waiting = [job("1", 1), job("2", 2)]
    assert placed(place_jobs(waiting, [gpu()], [])) == [("1", "GPU-a")]
    assert place_jobs(waiting, [gpu()], [held(reserved=4, allocated=1, warming=True)]) == ()


def test_a_workload_never_seen_is_measured_alone() -> None:
    unknown = job("new", peak=None)
    assert place_jobs([unknown], [gpu()], [held(reserved=1, allocated=1)]) == ()
    (placement,) = place_jobs([unknown], [gpu()], [])
    assert (placement.slots, placement.reserved_bytes) == (1, (UNKNOWN_PEAK_BYTES + MARGIN_BYTES,))


def test_a_job_that_ran_out_of_memory_gets_all_slots_of_an_empty_gpu() -> None:
    alone = job("1", alone=True)
    assert place_jobs([alone], [gpu(free_slots=3)], []) == ()
    (placement,) = place_jobs([alone], [gpu()], [])
    assert placement.slots == 4
    assert place_jobs([job("2")], [gpu(free_slots=1)], [held(reserved=4, allocated=4, alone=True)]) == ()


def test_a_job_as_large_as_the_gpu_is_tried_on_an_empty_one() -> None:
    assert placed(place_jobs([job("huge", peak=40)], [gpu(free=23.5)], [])) == [("huge", "GPU-a")]


def test_small_jobs_do_not_starve_a_large_one() -> None:
    waiting = [job("large", 1, peak=20), job("small", 2, peak=2)]
    small_ones = [held(reserved=8, allocated=8)]
    assert place_jobs(waiting, [gpu(free=16)], small_ones) == ()
    devices = [gpu("GPU-a", free=16), gpu("GPU-b", total=8, free=8)]
    assert placed(place_jobs(waiting, devices, small_ones)) == [("small", "GPU-b")]


def test_a_gpu_filled_by_others_is_not_kept_for_a_job_that_cannot_have_it() -> None:
    waiting = [job("large", 1, peak=18), job("small", 2, peak=2)]
    assert placed(place_jobs(waiting, [gpu(free=8)], [])) == [("small", "GPU-a")]


devices = st.lists(
    st.builds(
        lambda name, slots, used, total, free, width: Device(
            f"GPU-{name}", slots, max(0, slots - used), total * GIB, min(free, total) * GIB, width
        ),
        st.integers(0, 99),
        st.integers(1, 6),
        st.integers(0, 6),
        st.integers(1, 80),
        st.integers(0, 80),
        st.integers(1, 4),
    )
    | st.builds(Device, st.just("cpu"), st.just(4), st.just(3), pack_width=st.integers(1, 4)),
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
        pack_key=st.sampled_from(["", "a", "b"]),
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


def alike(count: int, start: int = 0, **changes: Any) -> list[WaitingJob]:
    return [job(f"a{n}", n, key="a", **changes) for n in range(start, start + count)]


def cpu(free_slots: int, width: int = 8) -> Device:
    return Device("cpu", 4, free_slots, pack_width=width)


def packing(width: int = 8, **changes: Any) -> Device:
    return replace(gpu(**changes), pack_width=width)


def test_alike_jobs_share_a_worker_up_to_its_width() -> None:
    assert packs(place_jobs(alike(5), [cpu(1, width=3)], [])) == ["a0 a1 a2"]
    assert packs(place_jobs(alike(5), [Device("cpu", 4, 1)], [])) == ["a0"]
    others = [job("b0", 5, key="b"), job("lone", 6), job("b1", 7, key="b")]
    assert packs(place_jobs([*alike(2), *others], [cpu(1)], [])) == ["a0 a1"]


def test_free_slots_come_before_packs() -> None:
    assert packs(place_jobs(alike(3), [cpu(4)], [])) == ["a0", "a1", "a2"]
    assert packs(place_jobs(alike(5), [cpu(2)], [])) == ["a0 a2 a4", "a1 a3"]
    assert packs(place_jobs([*alike(3), job("lone", 9)], [cpu(4)], [])) == ["a0", "a1", "a2", "lone"]
    two = [packing(name="GPU-a", free_slots=1), packing(name="GPU-b", free_slots=1)]
    assert sorted(packs(place_jobs(alike(4), two, []))) == ["a0 a2", "a1 a3"]


def test_slots_that_warm_up_later_find_jobs_as_well() -> None:
    assert packs(place_jobs(alike(6), [packing(free_slots=3)], [])) == ["a0 a1"]
    assert packs(place_jobs(alike(40, peak=1), [packing(free_slots=3)], [])) == [
        " ".join(f"a{n}" for n in range(8))
    ]


def test_a_pack_passes_others_of_its_priority_alone() -> None:
    between = job("lone", 1)
    assert packs(place_jobs([*alike(1), between, *alike(2, start=2)], [cpu(1)], [])) == ["a0 a2 a3"]
    low = alike(2, start=5, priority=-1)
    assert packs(place_jobs([*alike(1), *low], [cpu(1)], [])) == ["a0"]
    assert packs(place_jobs([*alike(1, priority=1), *alike(2, start=5)], [cpu(1)], [])) == ["a0"]


def test_a_pack_has_once_what_a_worker_has_once() -> None:
    waiting = [replace(one, shared_bytes=3 * GIB) for one in alike(8, peak=4)]
    (placement,) = place_jobs(waiting, [packing(free=15, free_slots=1)], [])
    assert placement.reserved_bytes == (4 * GIB + MARGIN_BYTES, *[GIB] * 7)


def test_a_pack_has_the_peak_of_each_of_its_jobs_and_one_margin() -> None:
    (placement,) = place_jobs(alike(8, peak=4), [packing(free=15, free_slots=1)], [])
    assert placement.reserved_bytes == (4 * GIB + MARGIN_BYTES, 4 * GIB, 4 * GIB)
    assert placement.slots == 1


def test_a_workload_never_seen_and_one_that_ran_out_of_memory_have_no_company() -> None:
    assert packs(place_jobs(alike(3, peak=None), [packing()], [])) == ["a0"]
    assert packs(place_jobs(alike(3, alone=True), [packing()], [])) == ["a0"]
    assert packs(place_jobs([*alike(1), *alike(1, start=1, alone=True)], [packing()], [])) == ["a0"]
    assert packs(place_jobs(alike(2, peak=None), [cpu(1)], [])) == ["a0 a1"]


@given(snapshots())
def test_placements_keep_every_limit(
    snapshot: tuple[list[WaitingJob], list[Device], list[Reservation]],
) -> None:
    waiting, present, reservations = snapshot
    placements = place_jobs(waiting, present, reservations)
    by_id = {job.run_id: job for job in waiting}
    started = [run_id for placement in placements for run_id in placement.run_ids]
    assert len(set(started)) == len(started)
    for device in present:
        mine = [placement for placement in placements if placement.device == device.name]
        before = [reservation for reservation in reservations if reservation.device == device.name]
        assert sum(placement.slots for placement in mine) <= device.free_slots
        if device.memory_free_bytes is None:
            continue
        promised = sum(max(0, r.reserved_bytes - r.allocated_bytes) for r in before)
        assert not mine or sum(sum(p.reserved_bytes) for p in mine) + promised <= device.memory_free_bytes
        assert len(mine) <= 1
        assert not (mine and any(r.warming or r.alone for r in before))
        assert not any(by_id[p.run_ids[0]].alone for p in mine) or not before


@given(snapshots())
def test_only_jobs_that_are_alike_share_a_worker(
    snapshot: tuple[list[WaitingJob], list[Device], list[Reservation]],
) -> None:
    waiting, present, reservations = snapshot
    by_id = {job.run_id: job for job in waiting}
    widths = {device.name: device.pack_width for device in present}
    for placement in place_jobs(waiting, present, reservations):
        first, *others = (by_id[run_id] for run_id in placement.run_ids)
        assert len(placement.run_ids) == len(placement.reserved_bytes) <= widths[placement.device]
        for other in others:
            assert (other.pack_key, other.priority) == (first.pack_key, first.priority) != ("", 0)
            assert other.pack_key
            assert (first.alone, other.alone) == (False, False)
            assert first.position < other.position
            assert placement.device == "cpu" or None not in (first.peak_bytes, other.peak_bytes)


@given(snapshots())
def test_no_job_is_overtaken_by_one_that_asks_for_the_same(
    snapshot: tuple[list[WaitingJob], list[Device], list[Reservation]],
) -> None:
    waiting, present, reservations = snapshot
    started = {run_id for run_id, _ in placed(place_jobs(waiting, present, reservations))}
    for first in waiting:
        for second in waiting:
            alike = (first.alone, first.peak_bytes, first.pack_key) == (
                *(second.alone, second.peak_bytes, second.pack_key),
            )
            earlier = (-first.priority, first.position) < (-second.priority, second.position)
            if alike and earlier and second.run_id in started:
                assert first.run_id in started


@given(snapshots())
def test_placement_is_a_function_of_the_snapshot_alone(
    snapshot: tuple[list[WaitingJob], list[Device], list[Reservation]],
) -> None:
    waiting, present, reservations = snapshot
    assert place_jobs(waiting, present, reservations) == place_jobs(waiting[::-1], present, reservations)
