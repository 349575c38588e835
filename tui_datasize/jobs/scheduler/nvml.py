"""What NVML tells of the GPUs: one reading of every card, or of every part of one that MIG divides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

_Value = TypeVar("_Value")

_LIBRARY = "libnvidia-ml.so.1"
_NOT_SUPPORTED = 3
_NOT_FOUND = 6
_LIBRARY_NOT_FOUND = 12
_VERSION_MISMATCH = 18
"""Of `nvmlReturn_t`."""
_MIG_ENABLED = 1
_MEMORY = Path("/proc/meminfo")


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
    """One GPU, or one part that MIG made of it, at one moment."""

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
    """Why it takes no jobs; empty while it is sound."""
    part: int | None = None
    """Which part of the card it is; None for a whole one."""
    card_uuid: str = ""
    """The card that it is a part of; empty for a whole one."""
    power_w: int | None = None
    """What the whole card draws."""

    @property
    def memory_used_bytes(self) -> int:
        return self.memory_total_bytes - self.memory_free_bytes

    @property
    def label(self) -> str:
        """Its number for a person: of a part, the card's and its own, as in `0:1`."""
        return str(self.index) if self.part is None else f"{self.index}:{self.part}"

    @property
    def title(self) -> str:
        """How messages name it, such as `GPU 0 (H200)`."""
        return f"GPU {self.label} ({self.name.removeprefix('NVIDIA ')})"


class NvmlFailure(Exception):  # noqa: N818 - never leaves the room
    """A call to NVML that nothing can be told without has failed."""

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.is_without_library = code == _LIBRARY_NOT_FOUND


def connect(nvml: Any) -> Any:
    """Begin to use NVML, the installed `pynvml` when None.

    Raises NvmlFailure: there is none, or it does not answer.
    """
    if nvml is None:
        # Not above: what only looks at the queue is counted in milliseconds, pynvml alone takes 25.
        import ctypes

        try:
            ctypes.CDLL(_LIBRARY)
        except OSError:
            raise NvmlFailure("NVML Shared Library Not Found", _LIBRARY_NOT_FOUND) from None
        try:
            import pynvml
        except ImportError:
            raise NvmlFailure("nvidia-ml-py is not installed", _LIBRARY_NOT_FOUND) from None
        nvml = pynvml
    _demand(nvml, nvml.nvmlInit)
    return nvml


def disconnect(nvml: Any) -> None:
    """Give the connection back."""
    _try(nvml, nvml.nvmlShutdown, None)


def driver_version(nvml: Any) -> str:
    """Of the NVIDIA driver; empty where it does not tell."""
    return _text(_try(nvml, nvml.nvmlSystemGetDriverVersion, ""))


def read_gpus(nvml: Any) -> tuple[tuple[Gpu, ...], Mapping[int, str]]:
    """The GPUs that answer, parts of divided ones instead of these, and by index why others do not.

    Raises NvmlFailure: not even their number can be told.
    """
    gpus: list[Gpu] = []
    failures = {}
    for index in range(_demand(nvml, nvml.nvmlDeviceGetCount)):
        try:
            handle = _demand(nvml, nvml.nvmlDeviceGetHandleByIndex, index)
            mode, _ = _try(nvml, nvml.nvmlDeviceGetMigMode, (0, 0), handle)
            if mode == _MIG_ENABLED:
                parts = list(_read_parts(nvml, handle, index))
                gpus += parts
                if not parts:
                    failures[index] = "MIG is on and it has no instances: make some, or turn MIG off"
            else:
                gpus.append(_read_gpu(nvml, handle, handle, index))
        except NvmlFailure as failure:
            failures[index] = str(failure)
    return tuple(gpus), failures


def _read_parts(nvml: Any, card: Any, index: int) -> Iterator[Gpu]:
    card_uuid = _text(_demand(nvml, nvml.nvmlDeviceGetUUID, card))
    for part in range(_demand(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, card)):
        try:
            handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(card, part)
        except nvml.NVMLError as error:
            # Numbers of instances that are not there may lie between those that are.
            if _code(error) == _NOT_FOUND:
                continue
            raise _failure(error) from error
        yield _read_gpu(nvml, handle, card, index, part, card_uuid)


def _read_gpu(
    nvml: Any, handle: Any, card: Any, index: int, part: int | None = None, card_uuid: str = ""
) -> Gpu:
    memory = _read_memory(nvml, handle)
    load = _try(nvml, nvml.nvmlDeviceGetUtilizationRates, None, handle)
    power_mw: int | None = _try(nvml, nvml.nvmlDeviceGetPowerUsage, None, card)
    kind = (nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC)
    errors = _try(nvml, nvml.nvmlDeviceGetTotalEccErrors, 0, card, *kind)
    return Gpu(
        uuid=_text(_demand(nvml, nvml.nvmlDeviceGetUUID, handle)),
        index=index,
        name=_text(_try(nvml, nvml.nvmlDeviceGetName, "GPU", handle)),
        memory_total_bytes=int(memory.total),
        memory_free_bytes=int(memory.free),
        utilisation_percent=None if load is None else int(load.gpu),
        temperature_c=_try(nvml, nvml.nvmlDeviceGetTemperature, None, card, nvml.NVML_TEMPERATURE_GPU),
        processes=_read_processes(nvml, handle),
        fault=f"{errors} uncorrectable memory errors" if errors else "",
        part=part,
        card_uuid=card_uuid,
        power_w=None if power_mw is None else round(power_mw / 1000),
    )


def _read_memory(nvml: Any, handle: Any) -> Any:
    """Memory of a GPU; the host's where they share one and the driver has no figures of its own."""
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError as error:
        if _code(error) != _NOT_SUPPORTED:
            raise _failure(error) from error
        return host_memory(_MEMORY.read_text())
    return memory if memory.total else host_memory(_MEMORY.read_text())


def host_memory(text: str) -> SimpleNamespace:
    r"""Bytes in `total` and `free`, of a text in the form of proc_meminfo(5).

    >>> host_memory("MemTotal: 8 kB\nMemFree: 1 kB\nMemAvailable: 4 kB\n")
    namespace(total=8192, free=4096)
    """
    lines = (line.partition(":") for line in text.splitlines())
    kib = {name: int(rest.split()[0]) for name, _, rest in lines}
    return SimpleNamespace(total=kib["MemTotal"] * 1024, free=kib["MemAvailable"] * 1024)


def _read_processes(nvml: Any, handle: Any) -> tuple[GpuProcess, ...]:
    """Who has memory on a GPU; whatever draws is a screen, though a browser or a compositor computes too."""
    computing: list[Any] = _try(nvml, nvml.nvmlDeviceGetComputeRunningProcesses, [], handle)
    drawing: list[Any] = _try(nvml, nvml.nvmlDeviceGetGraphicsRunningProcesses, [], handle)
    found = {process.pid: GpuProcess(process.pid, process.usedGpuMemory) for process in computing}
    found |= {process.pid: GpuProcess(process.pid, process.usedGpuMemory, False) for process in drawing}
    return tuple(found.values())


def _demand(nvml: Any, function: Callable[..., _Value], *arguments: Any) -> _Value:
    try:
        return function(*arguments)
    except nvml.NVMLError as error:
        raise _failure(error) from error


def _try(nvml: Any, function: Callable[..., _Value], default: _Value, *arguments: Any) -> _Value:
    try:
        return function(*arguments)
    except nvml.NVMLError:
        return default


def _failure(error: Exception) -> NvmlFailure:
    # The driver was replaced under a system that runs: the most frequent cause, and the remedy.
    code = _code(error)
    remedy = " (the driver was updated: restart the machine)" if code == _VERSION_MISMATCH else ""
    return NvmlFailure(f"NVML: {str(error).rstrip('.')}{remedy}", code)


def _code(error: Exception) -> int | None:
    return getattr(error, "value", None)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
