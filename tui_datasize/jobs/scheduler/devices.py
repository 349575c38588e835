"""The devices of this machine: GPUs as NVML reports them, or CPU slots where there never was a GPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.device_settings import DeviceSettings
from tui_datasize.experiments.project_tables import device_settings
from tui_datasize.jobs.queue.state import CPU
from tui_datasize.jobs.scheduler.nvml import (
    Gpu,
    GpuProcess,
    NvmlFailure,
    connect,
    disconnect,
    driver_version,
    read_gpus,
)

__all__ = ["DeviceMonitor", "DeviceReport", "Gpu", "GpuProcess", "capacities", "or_cpu"]

VISIBLE_VARIABLE = "CUDA_VISIBLE_DEVICES"

_ON_CPU = ": jobs run on the CPU"
_NO_JOBS = ": no jobs are started"
_ASK_FOR_CPU = "; `[devices] cpu = true` runs them on the CPU"
FORGET = "`datasize-tui doctor --forget-gpus` forgets GPUs that were taken out for good"


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """What jobs may run on."""

    gpus: tuple[Gpu, ...]
    cpu_slots: int
    """Jobs of one thread that the cores take at once, unless told otherwise; 0 where the CPU takes none."""
    problem: str
    """One line for a person on what is missing or failing; empty if nothing is."""
    driver_version: str = ""
    """Of the NVIDIA driver; empty where NVML does not answer."""


class DeviceMonitor:
    """Reads the devices again and again over one connection to NVML.

    Args:
        nvml: A module-like object with NVML's functions; the installed `pynvml` when None.
        environment: Where `CUDA_VISIBLE_DEVICES` restricts the GPUs.
        traces: Finds the files by which a machine tells that it has GPUs, should NVML not be there.
        used: UUIDs of GPUs that runs of the project have used; asked where there is no other trace of one.
        forgettings: How often GPUs were forgotten; another number than before has this one forget them too.
    """

    def __init__(
        self,
        nvml: Any = None,
        environment: Mapping[str, str] = os.environ,
        traces: Callable[[], Sequence[str]] = lambda: find_traces(),
        used: Callable[[], Collection[str]] = tuple,
        forgettings: Callable[[], int] = lambda: 0,
    ) -> None:
        self._nvml = nvml
        self._environment = environment
        self._traces = traces
        self._used = used
        self._forgettings = forgettings
        self._known_since = forgettings()
        self._is_connected = False
        self._driver_version = ""
        self._labels: dict[str, str] = {}
        """By UUID, the GPUs that have been seen, and their numbers in NVML's list."""

    def read(self) -> DeviceReport:
        """Look at all devices; never raises for what NVML does.

        Only a machine without a trace of a GPU, for a project that never used one, has CPU slots: its
        NVML is not there, nor are the files of a driver. Everything else, such as a driver that does not
        fit, a name in `CUDA_VISIBLE_DEVICES` that nothing has, or a GPU that is gone, gives no devices:
        a sweep meant for GPUs should not creep on to the CPU.
        """
        if (forgettings := self._forgettings()) != self._known_since:
            self._known_since = forgettings
            self._labels.clear()
        try:
            if not self._is_connected:
                self._nvml = connect(self._nvml)
                self._is_connected = True
                self._driver_version = driver_version(self._nvml)
            gpus, failures = read_gpus(self._nvml)
        except NvmlFailure as failure:
            self._is_connected = False
            trace = self._trace(failure)
            if trace is None:
                return DeviceReport((), cpu_count(), f"{failure}{_ON_CPU}")
            return DeviceReport((), 0, f"{failure}{trace}{_NO_JOBS}{_ASK_FOR_CPU}")
        visible = self._environment.get(VISIBLE_VARIABLE)
        listed, gpus = gpus, tuple(gpu for gpu in gpus if _is_visible(gpu, visible))
        self._labels |= {gpu.uuid: gpu.label for gpu in gpus}
        problems = [
            *(f"GPU {index} takes no jobs: {failure}" for index, failure in failures.items()),
            *self._missing(gpus, failures),
            *(f"{gpu.title} takes no jobs: {gpu.fault}" for gpu in gpus if gpu.fault),
        ]
        if not gpus and not problems:
            hidden = f"{VISIBLE_VARIABLE}={visible} names none of {len(listed)} on this machine"
            why = f"no GPU is visible: {hidden}" if listed else "the driver lists no GPU"
            problems = [f"{why}{_NO_JOBS}{_ASK_FOR_CPU}"]
        return DeviceReport(gpus, 0, "; ".join(problems), self._driver_version)

    def _trace(self, failure: NvmlFailure) -> str | None:
        """What tells of a GPU though NVML does not, beginning with a comma; None where nothing does."""
        if not failure.is_without_library:
            return ""
        if traces := self._traces():
            return f", though there is {traces[0]}"
        if self._labels:
            return ", though GPUs were there a while ago"
        if used := sorted(self._used()):
            return f", though runs of this project have used {used[0]} ({FORGET})"
        return None

    def _missing(self, gpus: Sequence[Gpu], failures: Mapping[int, str]) -> Iterator[str]:
        """What there is to say of GPUs that were seen before and are not now."""
        present = {gpu.uuid for gpu in gpus}
        for uuid, label in self._labels.items():
            # One that fails may not even tell its UUID, and is told of already.
            if uuid not in present and int(label.partition(":")[0]) not in failures:
                yield f"GPU {label} ({uuid}) is gone: it takes no jobs until it is back"

    def close(self) -> None:
        if self._is_connected:
            self._is_connected = False
            disconnect(self._nvml)


def read_devices(used: Callable[[], Collection[str]] = tuple, nvml: Any = None) -> DeviceReport:
    """Look at the devices of this machine once, see `DeviceMonitor`."""
    with closing(DeviceMonitor(nvml, used=used)) as monitor:
        return monitor.read()


def find_traces(root: Path = Path("/")) -> list[str]:
    """Files by which a machine tells that it has, or had, an NVIDIA GPU and a driver."""
    devices = sorted(str(path) for path in root.glob("dev/nvidia*"))
    others = (root / "dev/dxg", root / "proc/driver/nvidia")
    return devices + [str(path) for path in others if path.exists()]


def or_cpu(report: DeviceReport, allowed: bool, faulty: Collection[str] = ()) -> DeviceReport:
    """The report of a machine whose CPU takes the jobs where no GPU can, if that is `allowed`.

    `faulty` are UUIDs of GPUs that have been found to take no jobs, though NVML says nothing of it.
    """
    is_usable = any(not gpu.fault and gpu.uuid not in faulty for gpu in report.gpus)
    if not allowed or is_usable or report.cpu_slots:
        return report
    reason = report.problem.removesuffix(_ASK_FOR_CPU).removesuffix(_NO_JOBS)
    return replace(report, cpu_slots=cpu_count(), problem=f"{reason or 'no GPU can be used'}{_ON_CPU}")


def capacities(
    report: DeviceReport, slots_per_gpu: int, cpu_slots: int | None, faulty: Collection[str] = ()
) -> dict[str, int]:
    """Slots of each device that takes jobs.

    Those of the CPU count where no GPU takes the jobs; None for one per core. `faulty` is as for `or_cpu`.
    """
    slots = {gpu.uuid: slots_per_gpu for gpu in report.gpus if not gpu.fault and gpu.uuid not in faulty}
    if report.cpu_slots:
        slots[CPU] = cpu_slots or report.cpu_slots
    return slots


def slots_by_file(project_root: Path, used: Callable[[], Collection[str]]) -> int:
    """Jobs that the devices take at once by a project's file, or by its defaults where it is wrong."""
    settings = settings_of(project_root)
    report = or_cpu(read_devices(used), settings.cpu)
    return sum(capacities(report, settings.slots_per_gpu, settings.cpu_slots).values())


def settings_of(project_root: Path) -> DeviceSettings:
    """What a project's file says of the devices; the defaults where it is wrong."""
    try:
        return device_settings(project_root)
    except ConfigError:
        return DeviceSettings()


def cpu_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _is_visible(gpu: Gpu, visible: str | None) -> bool:
    """Whether `CUDA_VISIBLE_DEVICES` lets this process use the GPU.

    It names indices or beginnings of UUIDs; what names a card names the parts that MIG made of it.
    """
    if visible is None:
        return True
    names = [name.strip() for name in visible.split(",") if name.strip()]
    uuids = [name for name in names if name.startswith(("GPU-", "MIG-"))]
    is_named = any(uuid.startswith(name) for uuid in (gpu.uuid, gpu.card_uuid) for name in uuids)
    return is_named or str(gpu.index) in names
