"""Which of torch's and CUDA's errors are faults of the device, and what to do about each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch

from tui_datasize.errors import DeviceUnavailable

_LONGEST = 200
_DRIVER_FILE = Path("/proc/driver/nvidia/version")
_NEEDED_DRIVERS: Mapping[str, str] = MappingProxyType({"11": "450", "12": "525", "13": "580"})
"""Oldest driver for each major version of CUDA: "Minor Version Compatibility" in NVIDIA's guide to CUDA
compatibility, table 1 (docs.nvidia.com/deploy/cuda-compatibility)."""


@dataclass(frozen=True, slots=True)
class _Sign:
    """Words of an error that tell a fault of the device."""

    words: tuple[str, ...]
    what: str
    fix: str
    while_training: bool = False
    """Whether they tell it at any time; else only while the device is opened, later they are the run's."""
    detail: Callable[[str], str] | None = None
    """From the error's text to what explains it; by default the text itself."""


_SIGNS: Sequence[_Sign] = (
    _Sign(
        ("not compiled with CUDA", "compiled without CUDA", "libcudart functions unavailable"),
        "this torch is a build without CUDA",
        "install a torch that is built for CUDA",
    ),
    _Sign(
        ("Found no NVIDIA driver", "CUDA driver is a stub library", "Failed to load CUDA driver"),
        "no NVIDIA driver is loaded",
        "install it, or load it with `sudo modprobe nvidia`",
    ),
    _Sign(
        (
            "driver on your system is too old",
            "driver version is insufficient for CUDA runtime",
            "cudaErrorInsufficientDriver",
            "not supported in the installed CUDA driver",
        ),
        "the NVIDIA driver is too old",
        "update the driver and restart the machine, or install a torch for an older CUDA",
        detail=lambda text: _drivers(text),
    ),
    _Sign(
        (
            "unsupported display driver / cuda driver combination",
            "cudaErrorSystemDriverMismatch",
            "Driver/library version mismatch",
            "forward compatibility was attempted on non supported HW",
            "cudaErrorCompatNotSupportedOnDevice",
        ),
        "the loaded NVIDIA driver and its libraries have different versions",
        "restart the machine: the driver was updated while it was in use",
    ),
    _Sign(
        (
            "busy or unavailable",
            "cudaErrorDevicesUnavailable",
            "exclusive-thread device already in use",
            "cudaErrorDeviceAlreadyInUse",
        ),
        "the GPU does not take another process",
        "end the process that has it, or allow several with `sudo nvidia-smi -c DEFAULT`",
        while_training=True,
    ),
    _Sign(
        (
            "no kernel image is available",
            "cudaErrorNoKernelImageForDevice",
            "device kernel image is invalid",
            "compiled with an unsupported toolchain",
            "cudaErrorUnsupportedPtxVersion",
            "CUDNN_STATUS_ARCH_MISMATCH",
            "CUBLAS_STATUS_ARCH_MISMATCH",
        ),
        "this torch has no kernels for the GPU",
        "install a torch that is built for it",
        while_training=True,
        detail=lambda _: _capabilities(),
    ),
    _Sign(
        ("uncorrectable ECC error", "cudaErrorECCUncorrectable"),
        "the GPU's memory has an error that cannot be corrected",
        "see `nvidia-smi -q -d ECC,ROW_REMAPPER`; reset the GPU or restart the machine",
        while_training=True,
    ),
    _Sign(
        ("uncorrectable NVLink error", "cudaErrorNvlinkUncorrectable", "over nvlink or a hardware error"),
        "the GPU's link has an error that cannot be corrected",
        "see `nvidia-smi nvlink -e`; reset the GPU or restart the machine",
        while_training=True,
    ),
    _Sign(
        (
            "fallen off the bus",
            "GPU is lost",
            "cudaErrorDeviceUninitialized",
            "invalid device context",
            "cudaErrorUnknown",
            "CUDA error: unknown error",
        ),
        "the driver has lost the GPU",
        "look for `NVRM: Xid` in `sudo dmesg`; restart the machine",
        while_training=True,
    ),
    _Sign(
        (
            "system not yet initialized",
            "cudaErrorSystemNotReady",
            "MPS client failed to connect",
            "MPS server is not ready",
            "MPS client has been terminated",
            "between the MPS server and the MPS client failed",
            "required to create MPS client have been exhausted",
            "support device connections have been exhausted",
        ),
        "a service of the GPU does not answer",
        "start it: `nvidia-fabricmanager`, or the control daemon of MPS",
        while_training=True,
    ),
    _Sign(
        ("valid Grid license",),
        "the virtual GPU has no licence",
        "see `nvidia-smi -q` and the licence server",
        while_training=True,
    ),
    _Sign(
        (
            "No CUDA GPUs are available",
            "no CUDA-capable device is detected",
            "cudaErrorNoDevice",
            "invalid device ordinal",
            "cudaErrorInvalidDevice",
            "Invalid device id",
            "Invalid device argument",
        ),
        "torch does not see the GPU",
        "`datasize-tui doctor` lists the GPUs there are; one that was removed or renamed needs a restart",
    ),
    _Sign(
        ("out of memory", "cudaErrorMemoryAllocation", "ALLOC_FAILED"),
        "the GPU has no memory left to begin with",
        "see `nvidia-smi` for what takes it",
    ),
)


@contextmanager
def while_opening() -> Iterator[None]:
    """While a device is opened, whatever torch raises says that it is unavailable.

    Raises DeviceUnavailable: why it is.
    """
    try:
        yield
    # torch raises AssertionError where it was built without CUDA, and its own kinds of RuntimeError.
    except (RuntimeError, AssertionError, OSError) as error:
        if found := _find(error, _SIGNS):
            raise _told(found, error) from error
        raise DeviceUnavailable(
            f"the GPU cannot be used ({_first_line(error)})",
            fix="`datasize-tui doctor` says whether torch and the driver fit",
        ) from error


@contextmanager
def while_computing() -> Iterator[None]:
    """Whatever torch raises of a fault of the device says so; other errors are the run's own, and stay.

    Raises DeviceUnavailable: what is wrong with it.
    """
    try:
        yield
    except RuntimeError as error:
        found = _find(error, [sign for sign in _SIGNS if sign.while_training])
        if found is None:
            raise
        raise _told(found, error) from error


def _find(error: BaseException, signs: Sequence[_Sign]) -> _Sign | None:
    text = str(error).lower()
    return next((sign for sign in signs if any(word.lower() in text for word in sign.words)), None)


def _told(sign: _Sign, error: BaseException) -> DeviceUnavailable:
    detail = sign.detail(str(error)) if sign.detail else ""
    return DeviceUnavailable(
        f"{sign.what}: {detail}" if detail else f"{sign.what} ({_first_line(error)})", fix=sign.fix
    )


def _drivers(text: str) -> str:
    """Which driver is there and which one this torch needs."""
    found = []
    with suppress(OSError):
        version = re.search(r"Module\s+(?:for \S+\s+)?([\d.]+)", _DRIVER_FILE.read_text(encoding="utf-8"))
        found += [f"version {version[1]}"] if version else []
    # Of CUDA, as 12040 for 12.4.
    reached = re.search(r"found version (\d+)", text)
    if reached:
        found.append(f"made for CUDA {int(reached[1]) // 1000}.{int(reached[1]) % 1000 // 10}")
    built_for = torch.version.cuda or "unknown"
    oldest = _NEEDED_DRIVERS.get(built_for.partition(".")[0])
    needed = f"torch {torch.__version__} is built for CUDA {built_for}"
    needed += f" and needs {oldest} or newer" if oldest else ""
    return f"{' '.join(found) or 'its version is unknown'}, {needed}"


def _capabilities() -> str:
    """Which capability the GPU has and for which ones this torch has kernels; empty if neither is told."""
    with suppress(RuntimeError, AssertionError):
        major, minor = torch.cuda.get_device_capability()
        built_for = " ".join(torch.cuda.get_arch_list())
        name = torch.cuda.get_device_name()
        return f"{name} is sm_{major}{minor}, torch {torch.__version__} has {built_for}"
    return ""


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:_LONGEST] if lines else type(error).__name__
