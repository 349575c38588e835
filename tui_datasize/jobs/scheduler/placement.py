"""Placement: which waiting jobs start together on which device. A pure function of a snapshot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

MARGIN_BYTES = 512 * 2**20
"""Memory left free on a GPU beyond what its jobs are known to need."""
UNKNOWN_PEAK_BYTES = 2 * 2**30
"""Free memory asked for a workload that has never run; it then runs alone, to be measured."""
_LARGEST_SHARE = 0.8
"""No job waits for more than this share of the largest GPU: a driver or a desktop always holds some."""


@dataclass(frozen=True, slots=True)
class WaitingJob:
    """A job that may start."""

    run_id: str
    priority: int
    position: int
    alone: bool = False
    """It ran out of memory beside others and gets a GPU to itself."""
    peak_bytes: int | None = None
    """Most memory that it will take on a GPU by itself; None while no run of its workload has been seen."""
    pack_key: str = ""
    """What it must have in common with others to share a worker with them; empty to have its own."""
    shared_bytes: int = 0
    """What of its peak a worker has once for all its jobs: its context, the test images."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device that takes jobs."""

    name: str
    """GPU UUID or `cpu`."""
    slots: int
    free_slots: int
    memory_total_bytes: int | None = None
    """None for the CPU, as is the next."""
    memory_free_bytes: int | None = None
    pack_width: int = 1
    """Most jobs that share a worker on it."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """What an active worker has of a device."""

    device: str
    reserved_bytes: int = 0
    allocated_bytes: int = 0
    alone: bool = False
    warming: bool = False
    """It started so recently that its memory may still grow."""


@dataclass(frozen=True, slots=True)
class Placement:
    """One decision: start these jobs there, with one worker."""

    run_ids: tuple[str, ...]
    """One job, or the lanes of a pack."""
    device: str
    slots: int
    """Slots to take; all of them for a job that runs alone."""
    reserved_bytes: tuple[int, ...]
    """Memory for each of the jobs."""


def place_jobs(
    waiting: Iterable[WaitingJob], devices: Sequence[Device], reservations: Sequence[Reservation]
) -> tuple[Placement, ...]:
    """Decide what starts now, by priority, then position.

    A later job may overtake one that fits nowhere yet, but not on the device that this one waits
    for, so that large jobs are not starved by small ones. A job takes a slot of its own where it can:
    only then it joins a worker that is just being started for others of its pack key and priority.
    """
    largest_bytes = max((device.memory_total_bytes or 0 for device in devices), default=0)
    most_bytes = int(largest_bytes * _LARGEST_SHARE)
    rooms = [
        _Room(device, [r for r in reservations if r.device == device.name], most_bytes) for device in devices
    ]
    in_line = sorted(waiting, key=lambda job: (-job.priority, job.position))
    alike = Counter((job.pack_key, job.priority) for job in in_line)
    packs: list[_Pack] = []
    someone_waits = False
    for job in in_line:
        admitting = (room for room in rooms if room.admits(job))
        # The emptiest device.
        room = min(admitting, key=lambda room: (room.occupants, -room.headroom_bytes), default=None)
        if room:
            packs.append(room.take(job))
        elif pack := _pack_for(job, packs, rooms, alike[job.pack_key, job.priority]):
            pack.join(job)
        elif not someone_waits:
            someone_waits = True
            # Where the fewest jobs must end before the device is empty.
            later = [room for room in rooms if room.will_admit(job)]
            if promised := min(later, key=lambda room: room.occupants, default=None):
                promised.closed = True
        if not any(room.is_open() for room in rooms) and not any(pack.is_open() for pack in packs):
            break
    return tuple(pack.placement() for pack in packs)


def _pack_for(job: WaitingJob, packs: Sequence[_Pack], rooms: Sequence[_Room], alike: int) -> _Pack | None:
    """The narrowest of the workers that are just being started which the job may share.

    It may be one on a device that another job waits for: that one comes behind the first of the pack, and
    has no higher priority. No worker takes so many that slots which cannot be used yet, as while a device
    warms up, would find none of the `alike` jobs left.
    """
    if job.alone or not job.pack_key:
        return None
    key = (job.priority, job.pack_key)
    same = [pack for pack in packs if (pack.first.priority, pack.first.pack_key) == key]
    if not same:
        return None
    fair = -(-alike // (len(same) + sum(room.free_slots for room in rooms)))
    admitting = (pack for pack in same if len(pack.jobs) < fair and pack.admits(job))
    return min(admitting, key=lambda pack: len(pack.jobs), default=None)


class _Room:
    """What is left of one device while placements are decided."""

    def __init__(self, device: Device, reservations: Sequence[Reservation], most_bytes: int) -> None:
        self.device = device
        self.most_bytes = most_bytes
        self.free_slots = device.free_slots
        self.occupants = len(reservations)
        self.has_lone_job = any(reservation.alone for reservation in reservations)
        self.warming = any(reservation.warming for reservation in reservations)
        self.own_bytes = sum(max(r.reserved_bytes, r.allocated_bytes) for r in reservations)
        promised_bytes = sum(max(0, r.reserved_bytes - r.allocated_bytes) for r in reservations)
        self.headroom_bytes = (device.memory_free_bytes or 0) - promised_bytes
        self.closed = False

    def is_open(self) -> bool:
        """Whether any job at all could still be admitted."""
        return not self.closed and self.free_slots > 0 and not self.has_lone_job

    def admits(self, job: WaitingJob) -> bool:
        if not self.is_open():
            return False
        if self.device.memory_total_bytes is None:
            return True
        if _wants_whole(job) and (self.occupants or (job.alone and self.free_slots < self.device.slots)):
            return False
        return not self.warming and self._need_bytes(job) <= self.headroom_bytes

    def will_admit(self, job: WaitingJob) -> bool:
        """Whether the end of our own jobs alone would make room."""
        if self.device.memory_total_bytes is None:
            return True
        return self._need_bytes(job) <= self.headroom_bytes + self.own_bytes

    def take(self, job: WaitingJob) -> _Pack:
        """Admit the job, with a worker of its own."""
        on_gpu = self.device.memory_total_bytes is not None
        need_bytes = self._need_bytes(job) if on_gpu else 0
        slots = self.device.slots if job.alone and on_gpu else 1
        self.free_slots -= slots
        self.occupants += 1
        self.own_bytes += need_bytes
        self.headroom_bytes -= need_bytes
        self.warming = on_gpu
        self.has_lone_job = on_gpu and _wants_whole(job)
        return _Pack(self, slots, [job], [need_bytes])

    def takes_lane(self, job: WaitingJob) -> bool:
        """Whether the job may share a worker that was just admitted."""
        if self.device.memory_total_bytes is None:
            return True
        return not _wants_whole(job) and self._lane_bytes(job) <= self.headroom_bytes

    def take_lane(self, job: WaitingJob) -> int:
        """Admit the job to a worker that was just admitted, and return the memory that it has."""
        on_gpu = self.device.memory_total_bytes is not None
        need_bytes = self._lane_bytes(job) if on_gpu else 0
        self.own_bytes += need_bytes
        self.headroom_bytes -= need_bytes
        return need_bytes

    def _need_bytes(self, job: WaitingJob) -> int:
        peak_bytes = UNKNOWN_PEAK_BYTES if job.peak_bytes is None else job.peak_bytes
        return min(peak_bytes + MARGIN_BYTES, self.most_bytes)

    def _lane_bytes(self, job: WaitingJob) -> int:
        # The margin is left once for each worker.
        return max(0, self._need_bytes(job) - MARGIN_BYTES - job.shared_bytes)


@dataclass(slots=True)
class _Pack:
    """A worker that is to be started, and the jobs that it takes so far."""

    room: _Room
    slots: int
    jobs: list[WaitingJob]
    reserved_bytes: list[int] = field(default_factory=list)

    @property
    def first(self) -> WaitingJob:
        return self.jobs[0]

    def is_open(self) -> bool:
        """Whether any job at all could still join."""
        return self.first.pack_key != "" and len(self.jobs) < self.room.device.pack_width

    def admits(self, job: WaitingJob) -> bool:
        """Whether the job may join, as far as the device is concerned."""
        is_lone = self.first.alone or self.room.has_lone_job
        return self.is_open() and not is_lone and self.room.takes_lane(job)

    def join(self, job: WaitingJob) -> None:
        self.jobs.append(job)
        self.reserved_bytes.append(self.room.take_lane(job))

    def placement(self) -> Placement:
        run_ids = tuple(job.run_id for job in self.jobs)
        return Placement(run_ids, self.room.device.name, self.slots, tuple(self.reserved_bytes))


def _wants_whole(job: WaitingJob) -> bool:
    return job.alone or job.peak_bytes is None
