"""NVML as a module-like object, with GPUs that tests can lose and fill."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

NOT_SUPPORTED = 3
NOT_FOUND = 6
LIBRARY_NOT_FOUND = 12
MISMATCH = 18
UNKNOWN = 999
_NUMBERS = {"Not Supported": NOT_SUPPORTED, "Driver/library version mismatch": MISMATCH}


class NVMLError(Exception):
    """What every call may raise, with NVML's number of it."""

    def __init__(self, text: str, value: int = UNKNOWN) -> None:
        super().__init__(text)
        self.value = value


@dataclass
class FakeGpu:
    """One GPU and its faults."""

    uuid: str
    total_bytes: int
    used_bytes: int = 0
    ecc_errors: int = 0
    is_lost: bool = False
    processes: dict[int, int | None] = field(default_factory=dict)
    drawing: dict[int, int | None] = field(default_factory=dict)
    """Processes that draw; those in both compute as well, as a browser does."""
    parts: dict[int, FakeGpu] | None = None
    """What MIG made of it, by number; None where MIG is off."""
    has_memory: bool = True
    """Whether the driver has figures of its memory."""


class FakeNvml:
    """The functions of `pynvml` that the queue calls."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0
    NVML_MEMORY_ERROR_TYPE_UNCORRECTED = 1
    NVML_VOLATILE_ECC = 0

    def __init__(self, *gpus: FakeGpu, missing: bool = False) -> None:
        self.gpus = list(gpus)
        """Those that the driver lists; tests may take some away."""
        self._missing = missing
        self.failing: set[str] = set()
        self.reason = "Not Supported"
        """What failing functions say."""
        self.connections = 0
        self.is_connected = False

    def fail_in(self, function: str) -> None:
        self.failing.add(function)

    def nvmlInit(self) -> None:  # noqa: N802
        if self._missing:
            raise NVMLError("NVML Shared Library Not Found", LIBRARY_NOT_FOUND)
        self._check("nvmlInit")
        self.connections += 1
        self.is_connected = True

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.is_connected = False

    def nvmlSystemGetDriverVersion(self) -> bytes:  # noqa: N802
        self._check("nvmlSystemGetDriverVersion")
        return b"580.95.05"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        self._check("nvmlDeviceGetCount")
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:  # noqa: N802
        return self.gpus[index]

    def nvmlDeviceGetMemoryInfo(self, gpu: FakeGpu) -> SimpleNamespace:  # noqa: N802
        self._check("nvmlDeviceGetMemoryInfo", gpu)
        if not gpu.has_memory:
            raise NVMLError("Not Supported", NOT_SUPPORTED)
        return SimpleNamespace(
            total=gpu.total_bytes, free=gpu.total_bytes - gpu.used_bytes, used=gpu.used_bytes
        )

    def nvmlDeviceGetUtilizationRates(self, gpu: FakeGpu) -> SimpleNamespace:  # noqa: N802
        self._check("nvmlDeviceGetUtilizationRates", gpu)
        return SimpleNamespace(gpu=50, memory=10)

    def nvmlDeviceGetTemperature(self, gpu: FakeGpu, _sensor: int) -> int:  # noqa: N802
        self._check("nvmlDeviceGetTemperature", gpu)
        return 60

    def nvmlDeviceGetPowerUsage(self, gpu: FakeGpu) -> int:  # noqa: N802
        self._check("nvmlDeviceGetPowerUsage", gpu)
        return 412_345

    def nvmlDeviceGetUUID(self, gpu: FakeGpu) -> bytes:  # noqa: N802
        self._check("nvmlDeviceGetUUID", gpu)
        return gpu.uuid.encode()

    def nvmlDeviceGetName(self, gpu: FakeGpu) -> str:  # noqa: N802
        self._check("nvmlDeviceGetName", gpu)
        return "Fake GPU"

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: FakeGpu) -> list[SimpleNamespace]:  # noqa: N802
        self._check("nvmlDeviceGetComputeRunningProcesses", gpu)
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in gpu.processes.items()]

    def nvmlDeviceGetGraphicsRunningProcesses(self, gpu: FakeGpu) -> list[SimpleNamespace]:  # noqa: N802
        self._check("nvmlDeviceGetGraphicsRunningProcesses", gpu)
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in gpu.drawing.items()]

    def nvmlDeviceGetMigMode(self, gpu: FakeGpu) -> list[int]:  # noqa: N802
        self._check("nvmlDeviceGetMigMode", gpu)
        return [int(gpu.parts is not None)] * 2

    def nvmlDeviceGetMaxMigDeviceCount(self, gpu: FakeGpu) -> int:  # noqa: N802
        self._check("nvmlDeviceGetMaxMigDeviceCount", gpu)
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu: FakeGpu, part: int) -> FakeGpu:  # noqa: N802
        if part not in (gpu.parts or {}):
            raise NVMLError("Not Found", NOT_FOUND)
        return (gpu.parts or {})[part]

    def nvmlDeviceGetTotalEccErrors(self, gpu: FakeGpu, _kind: int, _counter: int) -> int:  # noqa: N802
        self._check("nvmlDeviceGetTotalEccErrors", gpu)
        return gpu.ecc_errors

    def _check(self, function: str, gpu: FakeGpu | None = None) -> None:
        if gpu and gpu.is_lost:
            raise NVMLError("GPU is lost", 15)
        if function in self.failing:
            raise NVMLError(self.reason, _NUMBERS.get(self.reason, UNKNOWN))
