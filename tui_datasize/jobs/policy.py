"""Placement: which waiting job starts on which device. A pure function of a snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
    """Most memory that runs of its workload took on a GPU; None while none has been seen."""


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


@dataclass(frozen=True, slots=True)
class Reservation:
    """What an active job has of a device."""

    run_id: str
    device: str
    reserved_bytes: int = 0
    allocated_bytes: int = 0
    alone: bool = False
    warming: bool = False
    """It started so recently that its memory may still grow."""


@dataclass(frozen=True, slots=True)
class Placement:
    """One decision: start this job there."""

    run_id: str
    device: str
    slots: int
    """Slots to take; all of them for a job that runs alone."""
    reserved_bytes: int


def place(
    waiting: Iterable[WaitingJob], devices: Sequence[Device], reservations: Sequence[Reservation]
) -> tuple[Placement, ...]:
    """Decide what starts now, by priority, then position.

    A later job may overtake one that fits nowhere yet, but not on the device that this one waits
    for, so that large jobs are not starved by small ones.
    """
    largest_bytes = max((device.memory_total_bytes or 0 for device in devices), default=0)
    most_bytes = int(largest_bytes * _LARGEST_SHARE)
    rooms = [
        _Room(device, [r for r in reservations if r.device == device.name], most_bytes) for device in devices
    ]
    placements = []
    someone_waits = False
    for job in sorted(waiting, key=lambda job: (-job.priority, job.position)):
        room = max((room for room in rooms if room.admits(job)), key=_Room.preference, default=None)
        if room:
            placements.append(room.take(job))
        elif not someone_waits:
            someone_waits = True
            promised = min((room for room in rooms if room.will_admit(job)), key=_Room.load, default=None)
            if promised:
                promised.closed = True
        if not any(room.is_open() for room in rooms):
            break
    return tuple(placements)


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
        """Whether the job may start now."""
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

    def take(self, job: WaitingJob) -> Placement:
        """Admit the job."""
        on_gpu = self.device.memory_total_bytes is not None
        need_bytes = self._need_bytes(job) if on_gpu else 0
        slots = self.device.slots if job.alone and on_gpu else 1
        self.free_slots -= slots
        self.occupants += 1
        self.own_bytes += need_bytes
        self.headroom_bytes -= need_bytes
        self.warming = on_gpu
        self.has_lone_job = on_gpu and _wants_whole(job)
        return Placement(job.run_id, self.device.name, slots, need_bytes)

    def preference(self) -> tuple[int, int]:
        """Emptier devices first."""
        return (-self.occupants, self.headroom_bytes)

    def load(self) -> int:
        """Jobs that must end before the device is empty."""
        return self.occupants

    def _need_bytes(self, job: WaitingJob) -> int:
        peak_bytes = UNKNOWN_PEAK_BYTES if job.peak_bytes is None else job.peak_bytes
        return min(peak_bytes + MARGIN_BYTES, self.most_bytes)


def _wants_whole(job: WaitingJob) -> bool:
    return job.alone or job.peak_bytes is None
