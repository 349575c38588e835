"""What the devices have, and what the active jobs have of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tui_datasize.jobs.gpus import CPU, DeviceMonitor, DeviceReport, Gpu
from tui_datasize.jobs.policy import Device, Reservation
from tui_datasize.jobs.state import JobState
from tui_datasize.jobs.store import Store
from tui_datasize.jobs.supervisor import ActiveRun, Supervisor

_LOG = logging.getLogger(__name__)
_READ_INTERVAL_S = 2.0


@dataclass(frozen=True, slots=True)
class DeviceLimits:
    """How many jobs this machine takes at once."""

    slots_per_gpu: int = 1
    max_jobs_per_gpu: int | None = None
    """Jobs on a GPU, those of others included; None for `slots_per_gpu`."""
    cpu_slots: int | None = None
    """None for one per core."""
    warm_up_s: float = 20.0
    """Seconds after its claim during which a job's GPU memory may still grow."""


class DeviceLedger:
    """Keeps the latest look at the devices, and learns what workloads take of a GPU."""

    def __init__(
        self, monitor: DeviceMonitor, limits: DeviceLimits, supervisor: Supervisor, store: Store
    ) -> None:
        self._monitor = monitor
        self._limits = limits
        self._supervisor = supervisor
        self._store = store
        self._report = DeviceReport((), 0, "not looked at yet")
        self._read_at_s = float("-inf")
        self._others_seen: dict[str, int] = {}
        self._slots_published: int | None = None

    def update(self) -> None:
        """Look at the devices unless the last look is recent."""
        if time.monotonic() < self._read_at_s + _READ_INTERVAL_S:
            return
        self._read_at_s = time.monotonic()
        report = self._monitor.read()
        if report.problem != self._report.problem:
            _LOG.info("devices: %s", report.problem or f"{len(report.gpus)} GPUs")
        self._report = report
        self._notice_others()
        self._publish_slots()
        for run in self._supervisor.runs():
            self._learn_peak(run)

    def capacities(self) -> dict[str, int]:
        """Slots of each device that takes jobs."""
        capacities = {gpu.uuid: self._limits.slots_per_gpu for gpu in self._report.gpus if not gpu.fault}
        if self._report.cpu_slots:
            capacities[CPU] = self._limits.cpu_slots or self._report.cpu_slots
        return capacities

    def unclaimed(self) -> dict[str, int]:
        """Slots of each device that nobody is seen to have; other projects may have locked some of them."""
        return {
            device: max(0, available - sum(run.job.device == device for run in self._supervisor.runs()))
            for device, available in self._available().items()
        }

    def _available(self) -> dict[str, int]:
        """Slots of each device that the jobs of others leave to us."""
        most = self._limits.max_jobs_per_gpu or self._limits.slots_per_gpu
        gpus = {gpu.uuid: gpu for gpu in self._report.gpus}
        return {
            device: min(capacity, max(0, most - self._others(gpus[device]))) if device in gpus else capacity
            for device, capacity in self.capacities().items()
        }

    def _publish_slots(self) -> None:
        """Let clients know how many jobs are taken at once: they tell from it when the queue ends."""
        slots = sum(self._available().values())
        if slots != self._slots_published:
            with self._store.transaction():
                self._store.settings.set_slots(slots)
            self._slots_published = slots
            _LOG.info("devices: %d jobs at once", slots)

    def _notice_others(self) -> None:
        """Say in the log what may keep our jobs waiting."""
        others = {gpu.uuid: self._others(gpu) for gpu in self._report.gpus}
        for gpu in self._report.gpus:
            if others[gpu.uuid] != self._others_seen.get(gpu.uuid, 0):
                _LOG.info("GPU %d: %d jobs of others on it", gpu.index, others[gpu.uuid])
        self._others_seen = others

    def _others(self, gpu: Gpu) -> int:
        """Jobs on a GPU that are not ours."""
        seen = {process.pid for process in gpu.processes if process.computes}
        own = {
            run.worker.process.pid: self._is_warming(run)
            for run in self._supervisor.runs()
            if run.job.device == gpu.uuid and run.worker.process
        }
        # In a container the driver tells other numbers: warm jobs of ours that it does not name stand
        # behind some of those that it does.
        unnamed = sum(not warming for pid, warming in own.items() if pid not in seen)
        return max(0, len(seen - own.keys()) - unnamed)

    def devices(self, free_slots: Mapping[str, int]) -> list[Device]:
        """The devices as placement sees them, with the given numbers of free slots."""
        gpus = {gpu.uuid: gpu for gpu in self._report.gpus}
        available = self._available()
        return [
            Device(
                name=name,
                # A job that wants all of a GPU gets what others leave: they may stay for weeks.
                slots=max(free, available[name]),
                free_slots=free,
                memory_total_bytes=gpus[name].memory_total_bytes if name in gpus else None,
                memory_free_bytes=gpus[name].memory_free_bytes if name in gpus else None,
            )
            for name, free in free_slots.items()
        ]

    def reservations(self) -> Sequence[Reservation]:
        """What the active jobs have of their devices."""
        return [self._reservation(run) for run in self._supervisor.runs()]

    def _reservation(self, run: ActiveRun) -> Reservation:
        warming = self._is_warming(run)
        allocated_bytes = self._used_bytes(run)
        if not allocated_bytes and not warming:
            # The driver does not tell processes apart, as in a container: it has what it will have.
            allocated_bytes = run.job.reserved_bytes
        return Reservation(
            run_id=run.job.run_id,
            device=run.job.device,
            reserved_bytes=run.job.reserved_bytes,
            allocated_bytes=allocated_bytes,
            alone=run.job.alone,
            warming=warming,
        )

    def _is_warming(self, run: ActiveRun) -> bool:
        return run.job.state is JobState.STARTING or run.lasts("running") < self._limits.warm_up_s

    def _learn_peak(self, run: ActiveRun) -> None:
        used_bytes = self._used_bytes(run)
        if used_bytes > run.peak_bytes:
            run.peak_bytes = used_bytes
            with self._store.transaction():
                self._store.learn_peak(run.job.workload, used_bytes)

    def _used_bytes(self, run: ActiveRun) -> int:
        pid = run.worker.process.pid if run.worker.process else None
        processes = [process for gpu in self._report.gpus for process in gpu.processes]
        return sum(process.used_bytes or 0 for process in processes if process.pid == pid)
