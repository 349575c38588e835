"""The device of a worker: which one, how it is set up, and what it is."""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from tui_datasize.errors import DeviceUnavailable, RunFailedError
from tui_datasize.experiments.spec import Precision

_PIXELS_PER_EVALUATION_BATCH = {"cpu": 1 << 16, "cuda": 1 << 22}
_MOST_IMAGES_PER_EVALUATION_BATCH = 8192
_FEWEST_IMAGES_PER_EVALUATION_BATCH = 32
"""Large weights are read once per batch: AlexNet takes 5.6 ms an image in batches of 5, 2.3 ms in these."""

_BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16", "bf16"})
"""How /proc/cpuinfo tells that a CPU multiplies bf16: on x86 and, the last, on ARM."""


def choose_device() -> torch.device:
    """The GPU that `CUDA_VISIBLE_DEVICES` names; the CPU where it names none.

    Raises:
        DeviceUnavailable: torch does not see that GPU; a sweep must not drift onto the CPU unnoticed.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if not named:
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    raise DeviceUnavailable(
        f"torch does not see the GPU that CUDA_VISIBLE_DEVICES={named} names",
        fix="`datasize-tui doctor` tells whether torch and the driver fit",
    )


def resolve(device: torch.device, precision: Precision) -> Precision:
    """What a run computes products and convolutions in: fp32, tf32 or bf16.

    Raises:
        RunFailedError: The device has no such arithmetic.
    """
    on_cpu = device.type == "cpu"
    if precision == "auto":
        return "fp32" if on_cpu else "tf32"
    if precision == "tf32" and on_cpu:
        raise RunFailedError(
            "precision tf32 needs a GPU, this run is on a CPU",
            fix='use precision = "auto", which is tf32 on a GPU and fp32 on a CPU',
        )
    return precision


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Within it, forward passes compute in the given precision; weights and gradients stay float32.

    To be entered again and again, one entry inside another excepted.
    """
    if precision != "bf16":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def set_up(device: torch.device, precision: Precision = "auto") -> None:
    """Make a run's numbers repeatable on this device, at no cost in speed.

    One thread, since the queue runs one worker per core; on a GPU fixed cuDNN and cuBLAS algorithms,
    and tf32 for matrix products and convolutions unless the run asks for fp32.

    Raises:
        RunFailedError: The device has no such arithmetic.
    """
    used = resolve(device, precision)
    torch.set_num_threads(1)
    if device.type != "cuda":
        return
    # Read by cuBLAS when it first meets the device.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Both ways, since a process may execute several runs.
    torch.set_float32_matmul_precision("highest" if used == "fp32" else "high")
    torch.backends.cudnn.allow_tf32 = used != "fp32"
    # The allocator knows no device before, and asking it for statistics fails: `is_available` is not enough.
    torch.cuda.init()  # type: ignore[no-untyped-call]
    torch.cuda.reset_peak_memory_stats(device)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def advice(device: torch.device, precision: Precision) -> str:
    """What to know before a run is computed in this precision on this device; empty where nothing is."""
    if device.type != "cpu" or precision != "bf16" or _cpu_multiplies_bf16():
        return ""
    return "this CPU has no bf16 arithmetic: emulating it takes several times as long as precision fp32"


def evaluation_batch_size(device: torch.device, image_values: int) -> int:
    """Images per evaluation batch: small enough for a CPU's cache, large enough to fill a GPU.

    Args:
        device: Where the evaluation runs.
        image_values: Channels times height times width.
    """
    fitting = _PIXELS_PER_EVALUATION_BATCH[device.type] // image_values
    return max(_FEWEST_IMAGES_PER_EVALUATION_BATCH, min(_MOST_IMAGES_PER_EVALUATION_BATCH, fitting))


def peak_memory(device: torch.device) -> dict[str, int]:
    """The most memory used so far, for `provenance.json`: of this process, and of its run on the GPU."""
    # Linux counts in kibibytes.
    peaks = {"peak_memory_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
    if device.type == "cuda":
        peaks["peak_device_memory_bytes"] = torch.cuda.max_memory_reserved(device)
    return peaks


def describe(device: torch.device, precision: Precision = "auto") -> dict[str, Any]:
    """Facts for `provenance.json`."""
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "device": device.type,
        "device_name": _cpu_name(),
        "device_uuid": "",
        "hostname": platform.node(),
        "threads": torch.get_num_threads(),
        "precision": resolve(device, precision),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            "device": properties.name,
            "device_name": properties.name,
            "device_uuid": f"GPU-{properties.uuid}",
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        }
    return facts


def _cpu_name() -> str:
    return next(_cpu_facts("model name"), platform.processor())


def _cpu_multiplies_bf16() -> bool:
    """Whether /proc/cpuinfo names such instructions; true where it names none at all."""
    flags = next((line for key in ("flags", "Features") for line in _cpu_facts(key)), None)
    return flags is None or not _BF16_FLAGS.isdisjoint(flags.split())


def _cpu_facts(name: str) -> Iterator[str]:
    """What /proc/cpuinfo says under a name, core by core; nothing where there is no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == name:
            yield value.strip()
