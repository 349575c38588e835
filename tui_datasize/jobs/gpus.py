"""The devices of this machine: GPUs as NVML reports them, otherwise CPU slots."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tui_datasize.errors import ConfigError

CPU = "cpu"
"""The name of the CPU where a job's device is named; GPUs are named by UUID."""
VISIBLE_VARIABLE = "CUDA_VISIBLE_DEVICES"

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that has memory on a GPU."""

    pid: int
    used_bytes: int | None
    """None where the driver does not tell."""
    computes: bool = True
    """Whether it is a job, and not a screen."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU at one moment."""

    uuid: str
    index: int
    name: str
    memory_total_bytes: int
    memory_free_bytes: int
    utilisation_percent: int | None
    """None where the driver does not tell, as with the next."""
    temperature_c: int | None
    processes: tuple[GpuProcess, ...] = ()
    fault: str = ""
    """Why it should take no jobs; empty while it is sound."""


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """What jobs may run on."""

    gpus: tuple[Gpu, ...]
    cpu_slots: int
    """Jobs of one thread that the cores take at once, unless told otherwise; 0 where GPUs take the jobs."""
    problem: str
    """One line for a person on what is missing or failing; empty if nothing is."""
    driver_version: str = ""
    """Of the NVIDIA driver; empty where NVML does not answer."""


class DeviceMonitor:
    """Reads the devices again and again over one connection to NVML.

    Args:
        nvml: A module-like object with NVML's functions; the installed `pynvml` when None.
        environment: Where `CUDA_VISIBLE_DEVICES` restricts the GPUs.
    """

    def __init__(self, nvml: Any = None, environment: Mapping[str, str] = os.environ) -> None:
        self._nvml = nvml
        self._environment = environment
        self._connected = False
        self._driver_version = ""
        self._had_gpus = False
        self._indices: dict[str, int] = {}
        """By UUID, the GPUs that have been seen, and where they last stood in NVML's list."""

    def read(self) -> DeviceReport:
        """Look at all devices; never raises for what NVML does.

        Without NVML jobs run on the CPU. Once GPUs have been seen, a failing NVML, or one that lists none
        of them any more, gives no devices at all until they are back: a sweep begun on GPUs should not
        creep on to the CPU. This is remembered for as long as the monitor lives.
        """
        try:
            gpus, failures = self._read_gpus()
        except _NvmlFailure as failure:
            self._connected = False
            if self._had_gpus:
                return DeviceReport((), 0, f"{failure}: no jobs are started until it answers again")
            return _cpu_report(str(failure))
        gpus = tuple(gpu for gpu in gpus if _is_visible(gpu, self._environment.get(VISIBLE_VARIABLE)))
        if not (gpus or failures or self._had_gpus):
            return _cpu_report("no GPU is visible", self._driver_version)
        self._had_gpus = True
        self._indices |= {gpu.uuid: gpu.index for gpu in gpus}
        problems = [
            *(f"GPU {index} takes no jobs: {failure}" for index, failure in failures.items()),
            *self._missing(gpus, failures),
            *(f"GPU {gpu.index}: {gpu.fault}" for gpu in gpus if gpu.fault),
        ]
        return DeviceReport(gpus, 0, "; ".join(problems), self._driver_version)

    def _missing(self, gpus: Sequence[Gpu], failures: Mapping[int, str]) -> Iterator[str]:
        """What there is to say of GPUs that were seen before and are not now."""
        present = {gpu.uuid for gpu in gpus}
        for uuid, index in self._indices.items():
            # One that fails may not even tell its UUID, and is told of already.
            if uuid not in present and index not in failures:
                yield f"GPU {index} ({uuid}) is gone: it takes no jobs until it is back"

    def close(self) -> None:
        """Give the connection to NVML back."""
        if self._connected:
            self._connected = False
            _try(self._nvml, self._nvml.nvmlShutdown, None)

    def _read_gpus(self) -> tuple[tuple[Gpu, ...], dict[int, str]]:
        """The GPUs that answer, and by index why others do not."""
        self._connect()
        nvml = self._nvml
        gpus, failures = [], {}
        for index in range(_demand(nvml, nvml.nvmlDeviceGetCount)):
            try:
                gpus.append(_read_gpu(nvml, index))
            except _NvmlFailure as failure:
                failures[index] = str(failure)
        return tuple(gpus), failures

    def _connect(self) -> None:
        if self._connected:
            return
        if self._nvml is None:
            try:
                import pynvml
            except ImportError:
                raise _NvmlFailure("nvidia-ml-py is not installed") from None
            self._nvml = pynvml
        _demand(self._nvml, self._nvml.nvmlInit)
        self._connected = True
        self._driver_version = _text(_try(self._nvml, self._nvml.nvmlSystemGetDriverVersion, ""))


def read_devices(nvml: Any = None) -> DeviceReport:
    """Look at the devices of this machine once, see `DeviceMonitor`."""
    monitor = DeviceMonitor(nvml)
    try:
        return monitor.read()
    finally:
        monitor.close()


def capacities(report: DeviceReport, slots_per_gpu: int, cpu_slots: int | None) -> dict[str, int]:
    """Slots of each device that takes jobs.

    Args:
        report: The devices.
        slots_per_gpu: Slots of a GPU.
        cpu_slots: Slots of the CPU where no GPU takes the jobs; None for one per core.
    """
    slots = {gpu.uuid: slots_per_gpu for gpu in report.gpus if not gpu.fault}
    if report.cpu_slots:
        slots[CPU] = cpu_slots or report.cpu_slots
    return slots


def slots_by_file(project_root: Path) -> int:
    """Jobs that the devices take at once by a project's file, or by its defaults where it is wrong."""
    # Not above: most commands do not read the file, and some are counted in milliseconds.
    from tui_datasize.experiments.device_settings import DeviceSettings
    from tui_datasize.experiments.load import device_settings

    try:
        settings = device_settings(project_root)
    except ConfigError:
        settings = DeviceSettings()
    return sum(capacities(read_devices(), settings.slots_per_gpu, settings.cpu_slots).values())


def cpu_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


class _NvmlFailure(Exception):  # noqa: N818 - never leaves this module
    """A call to NVML that nothing can be told without has failed."""


def _cpu_report(problem: str, driver_version: str = "") -> DeviceReport:
    return DeviceReport((), cpu_count(), f"{problem}: jobs run on the CPU", driver_version)


def _read_gpu(nvml: Any, index: int) -> Gpu:
    handle = _demand(nvml, nvml.nvmlDeviceGetHandleByIndex, index)
    memory = _demand(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    load = _try(nvml, nvml.nvmlDeviceGetUtilizationRates, None, handle)
    return Gpu(
        uuid=_text(_demand(nvml, nvml.nvmlDeviceGetUUID, handle)),
        index=index,
        name=_text(_try(nvml, nvml.nvmlDeviceGetName, "GPU", handle)),
        memory_total_bytes=int(memory.total),
        memory_free_bytes=int(memory.free),
        utilisation_percent=None if load is None else int(load.gpu),
        temperature_c=_try(nvml, nvml.nvmlDeviceGetTemperature, None, handle, nvml.NVML_TEMPERATURE_GPU),
        processes=_read_processes(nvml, handle),
        fault=_read_fault(nvml, handle),
    )


def _read_processes(nvml: Any, handle: Any) -> tuple[GpuProcess, ...]:
    computing: list[Any] = _try(nvml, nvml.nvmlDeviceGetComputeRunningProcesses, [], handle)
    drawing: list[Any] = _try(nvml, nvml.nvmlDeviceGetGraphicsRunningProcesses, [], handle)
    found = {process.pid: GpuProcess(process.pid, process.usedGpuMemory, False) for process in drawing}
    found |= {process.pid: GpuProcess(process.pid, process.usedGpuMemory) for process in computing}
    return tuple(found.values())


def _read_fault(nvml: Any, handle: Any) -> str:
    errors = _try(
        nvml,
        nvml.nvmlDeviceGetTotalEccErrors,
        0,
        handle,
        nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
        nvml.NVML_VOLATILE_ECC,
    )
    return f"{errors} uncorrectable memory errors, it takes no jobs" if errors else ""


def _demand(nvml: Any, function: Callable[..., _Value], *arguments: Any) -> _Value:
    try:
        return function(*arguments)
    except nvml.NVMLError as error:
        raise _NvmlFailure(f"NVML: {error}") from error


def _try(nvml: Any, function: Callable[..., _Value], default: _Value, *arguments: Any) -> _Value:
    try:
        return function(*arguments)
    except nvml.NVMLError:
        return default


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _is_visible(gpu: Gpu, visible: str | None) -> bool:
    """Whether `CUDA_VISIBLE_DEVICES` lets this process use the GPU; it names indices or UUID prefixes."""
    if visible is None:
        return True
    names = [name.strip() for name in visible.split(",") if name.strip()]
    return any(
        name == str(gpu.index) or (name.startswith("GPU-") and gpu.uuid.startswith(name)) for name in names
    )
