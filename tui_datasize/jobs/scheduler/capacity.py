"""What the devices have, and what the active jobs have of them."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from tui_datasize.experiments.device_settings import DeviceSettings
from tui_datasize.jobs.queue.faults import FaultKind
from tui_datasize.jobs.queue.gpu_memory import CONTEXT_BYTES, learn, noted_images
from tui_datasize.jobs.queue.known_gpus import software
from tui_datasize.jobs.queue.state import CPU, JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.active_run import ActiveRun
from tui_datasize.jobs.scheduler.devices import DeviceMonitor, DeviceReport, Gpu, capacities, or_cpu
from tui_datasize.jobs.scheduler.placement import Device, Reservation
from tui_datasize.jobs.scheduler.supervisor import Supervisor
from tui_datasize.jobs.workers.process import describe_process
from tui_datasize.text import plural

_LOG = logging.getLogger(__name__)
_READ_INTERVAL_S = 2.0
WARM_UP_S = 20.0
"""After its claim, during which a job's GPU memory may still grow."""
_NAMED = 3
"""Most processes of others that are named."""


@dataclass(eq=False)
class DeviceCapacity:
    """Keeps the latest look at the devices, and learns what workloads take of a GPU."""

    monitor: DeviceMonitor
    settings: DeviceSettings
    supervisor: Supervisor
    store: Store
    warm_up_s: float = WARM_UP_S
    report: DeviceReport = field(default_factory=lambda: DeviceReport((), 0, "not looked at yet"))
    _read_at_s: float = -inf
    _contexts: Mapping[str, int] = field(default_factory=dict)
    _others: Mapping[str, int] = field(default_factory=dict)
    _slots_published: int | None = None
    _taken_published: Mapping[str, str] | None = None
    _preparing: Sequence[str] = ()

    def set_devices(self, settings: DeviceSettings) -> None:
        """Take other settings for what is started from now on; what runs beyond them goes on."""
        if settings != self.settings:
            self.settings = settings
            _LOG.info("[devices] for what starts from now on: %s", settings.describe())
            self._read_at_s = float("-inf")

    def update(self) -> None:
        """Look at the devices unless the last look is recent."""
        if time.monotonic() < self._read_at_s + _READ_INTERVAL_S:
            return
        self._read_at_s = time.monotonic()
        try:
            found = self.monitor.read()
        except OSError as error:
            # Short of descriptors, say: what was seen holds until the next look.
            _LOG.error("devices: cannot be looked at: %s", error)
            return
        report = or_cpu(found, self.settings.cpu, self._faulty())
        if report.problem != self.report.problem:
            _LOG.info("devices: %s", report.problem or plural(len(report.gpus), "GPU"))
        self.report = report
        self._contexts = self.store.known_gpus.contexts(software(report.driver_version))
        # The log says what may keep ours waiting.
        others = {gpu.uuid: self._count_others(gpu) for gpu in report.gpus}
        for gpu in report.gpus:
            if others[gpu.uuid] != self._others.get(gpu.uuid, 0):
                _LOG.info("GPU %d: %s of others on it", gpu.index, plural(others[gpu.uuid], "job"))
        self._others = others
        self._publish_taken()
        self._publish_slots()
        if report.problem and not self.capacities():
            self.store.faults.report(FaultKind.GPU, "", report.problem)
        else:
            self.store.faults.clear(FaultKind.GPU, "")
        for runs in self.supervisor.workers():
            self._learn_peak(runs)

    def capacities(self) -> dict[str, int]:
        settings = self.settings
        return capacities(self.report, settings.slots_per_gpu, settings.cpu_slots, self._faulty())

    def _faulty(self) -> set[str]:
        return self.store.faults.subjects(FaultKind.GPU)

    @property
    def slots_per_gpu(self) -> int:
        return self.settings.slots_per_gpu

    def has_run(self, device: str) -> bool:
        return any(runs[0].job.device == device for runs in self.supervisor.workers())

    def idle_gpus(self) -> list[Gpu]:
        """GPUs that NVML calls sound, that have no run of ours, and that the jobs of others leave to us."""
        return [
            gpu
            for gpu in self.report.gpus
            if not gpu.fault
            and not self.has_run(gpu.uuid)
            and self._others.get(gpu.uuid, 0) < self._most_jobs()
        ]

    def unclaimed(self) -> dict[str, int]:
        """Slots of each device that nobody is seen to have; other projects may have locked some of them."""
        used = Counter(runs[0].job.device for runs in self.supervisor.workers())
        return {device: max(0, available - used[device]) for device, available in self._available().items()}

    def _available(self) -> dict[str, int]:
        """Slots of each device that the jobs of others leave to us."""
        available = self.capacities()
        for gpu in self.report.gpus:
            if gpu.uuid in available:
                # A job of ours that ended since the last look is still on the GPU there, and nobody's.
                others = min(self._others.get(gpu.uuid, 0), self._count_others(gpu))
                available[gpu.uuid] = min(available[gpu.uuid], max(0, self._most_jobs() - others))
        return available

    def _most_jobs(self) -> int:
        """Jobs on a GPU at once, those of others included."""
        return self.settings.max_jobs_per_gpu or self.settings.slots_per_gpu

    def tell_preparing(self, datasets: Sequence[str]) -> None:
        """Let clients know for which data sets no GPU is taken yet."""
        if datasets != self._preparing:
            self._preparing = datasets
            self._publish_taken()

    def _publish_taken(self) -> None:
        """Let clients know what keeps GPUs from taking jobs: jobs of others and whose, or images."""
        ours = {runs[0].job.device for runs in self.supervisor.workers()}
        taken = {
            gpu.uuid: f"{gpu.title} is taken by {_named(self._foreign(gpu))}"
            for gpu in self.report.gpus
            if not gpu.fault and gpu.uuid not in ours and self._others[gpu.uuid] >= self._most_jobs()
        }
        preparing = "the images of {} are fetched and decoded before a run takes a GPU"
        taken |= {name: preparing.format(name) for name in self._preparing}
        if taken != self._taken_published:
            with self.store.transaction():
                self.store.known_gpus.note_taken(taken)
            self._taken_published = taken
            for sentence in taken.values():
                _LOG.info("%s", sentence)

    def _publish_slots(self) -> None:
        """Let clients know how many jobs are taken at once: they tell from it when the queue ends."""
        slots = sum(self._available().values())
        if slots != self._slots_published:
            with self.store.transaction():
                self.store.settings.write(slots=slots)
            self._slots_published = slots
            _LOG.info("devices: %s at once", plural(slots, "job"))

    def _foreign(self, gpu: Gpu) -> set[int]:
        """The processes that compute on a GPU and are not known to be ours."""
        return {process.pid for process in gpu.processes if process.computes} - self._own(gpu).keys()

    def _own(self, gpu: Gpu) -> Mapping[int, bool]:
        """Our workers on a GPU, and whether each of them still warms up."""
        return {
            runs[0].worker.process.pid: self._is_warming(runs)
            for runs in self.supervisor.workers()
            if runs[0].job.device == gpu.uuid and runs[0].worker.process
        }

    def _count_others(self, gpu: Gpu) -> int:
        seen, own = {process.pid for process in gpu.processes if process.computes}, self._own(gpu)
        # In a container the driver tells other numbers: warm jobs of ours that it does not name stand
        # behind some of those that it does.
        unnamed = sum(not warming for pid, warming in own.items() if pid not in seen)
        return max(0, len(self._foreign(gpu)) - unnamed)

    def devices(self, free_slots: Mapping[str, int]) -> list[Device]:
        """The devices as placement sees them, with the given numbers of free slots."""
        gpus = {gpu.uuid: gpu for gpu in self.report.gpus}
        available = self._available()
        packs, pack_width = self.settings.packs, self.settings.pack_width
        return [
            Device(
                name=name,
                # A job that wants all of a GPU gets what others leave: they may stay for weeks.
                slots=max(free, available[name]),
                free_slots=free,
                memory_total_bytes=gpus[name].memory_total_bytes if name in gpus else None,
                memory_free_bytes=gpus[name].memory_free_bytes if name in gpus else None,
                pack_width=pack_width if packs == "always" or (packs == "auto" and name != CPU) else 1,
            )
            for name, free in free_slots.items()
        ]

    def reservations(self) -> Sequence[Reservation]:
        return [self._reservation(runs) for runs in self.supervisor.workers()]

    def _reservation(self, runs: Sequence[ActiveRun]) -> Reservation:
        warming = self._is_warming(runs)
        allocated_bytes = self._used_bytes(runs)
        reserved_bytes = sum(run.job.reserved_bytes for run in runs)
        if not allocated_bytes and not warming:
            # The driver does not tell processes apart, as in a container: it has what it will have.
            allocated_bytes = reserved_bytes
        return Reservation(
            device=runs[0].job.device,
            reserved_bytes=reserved_bytes,
            allocated_bytes=allocated_bytes,
            alone=any(run.job.alone for run in runs),
            warming=warming,
        )

    def _is_warming(self, runs: Sequence[ActiveRun]) -> bool:
        return any(run.job.state is JobState.STARTING or run.running_s < self.warm_up_s for run in runs)

    @property
    def context_bytes(self) -> int:
        """What a process takes of a GPU beyond its tensors, where most was measured."""
        return max(self._contexts.values(), default=CONTEXT_BYTES)

    def _learn_peak(self, runs: Sequence[ActiveRun]) -> None:
        used_bytes = self._used_bytes(runs)
        for run in runs:
            run.seen_bytes = max(run.seen_bytes, used_bytes)
            run.used_with = software(self.report.driver_version)
        # Memory of a run that has ended stays with the process for those that go on.
        if not used_bytes or len(runs) < runs[0].worker.lanes:
            return
        images = [noted_images(run.paths, run.job.attempts) for run in runs]
        placed = [one for one in images if one]
        context_bytes = self._contexts.get(runs[0].job.device, CONTEXT_BYTES)
        learned = learn(used_bytes - context_bytes, placed) if len(placed) == len(runs) else None
        if learned is None:
            return
        for run in runs:
            before = run.learned
            # More is told by another place of the images, or by more memory.
            if not before or before.in_file != learned.in_file or before.work_bytes < learned.work_bytes:
                run.learned = learned
                with self.store.transaction():
                    self.store.learn_memory(run.job.workload, learned)

    def _used_bytes(self, runs: Sequence[ActiveRun]) -> int:
        process = runs[0].worker.process
        pid = process.pid if process else None
        processes = [process for gpu in self.report.gpus for process in gpu.processes]
        return sum(process.used_bytes or 0 for process in processes if process.pid == pid)


def _named(pids: Iterable[int]) -> str:
    """Processes for a person, three at most."""
    known = sorted(pids)
    named = [describe_process(pid) for pid in known[:_NAMED]]
    return ", ".join(named) + (f" and {len(known) - _NAMED} more" if len(known) > _NAMED else "")
