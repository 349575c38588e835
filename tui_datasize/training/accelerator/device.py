"""Which device a process has, how a worker sets it up for a run, and what is recorded of it."""

from __future__ import annotations

import os
import platform
import resource
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from tui_datasize.errors import RunFailedError
from tui_datasize.experiments.spec import Precision
from tui_datasize.training.accelerator.cuda import CudaDevice
from tui_datasize.training.accelerator.interface import Accelerator


def chosen() -> Accelerator:
    """The GPU that `CUDA_VISIBLE_DEVICES` names, not yet opened; the CPU where it names none.

    Whether torch sees that GPU shows when it is initialised: a sweep must not drift onto the CPU unnoticed.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return accelerator_of(torch.device("cuda", 0) if named else torch.device("cpu"))


def accelerator_of(device: torch.device) -> Accelerator:
    """Whoever asks this device."""
    return CudaDevice(device) if device.type == "cuda" else Accelerator(device)


_MOST_IMAGES_PER_EVALUATION_BATCH = 8192
_FEWEST_IMAGES_PER_EVALUATION_BATCH = 32
"""Large weights are read once per batch: AlexNet takes 5.6 ms an image in batches of 5, 2.3 ms in these."""


def resolve(device: torch.device, precision: Precision) -> Precision:
    """What a run computes products and convolutions in: fp32, tf32 or bf16.

    Raises RunFailedError: the device has no such arithmetic.
    """
    has_tf32 = accelerator_of(device).multiplies_tf32
    if precision == "auto":
        return "tf32" if has_tf32 else "fp32"
    if precision == "tf32" and not has_tf32:
        raise RunFailedError(
            f"precision tf32 needs a GPU of compute capability 8.0 or later, this run is on {_name(device)}",
            fix='use precision = "auto", which is tf32 on such a GPU and fp32 elsewhere',
        )
    return precision


def set_up(device: torch.device, precision: Precision = "auto") -> None:
    """Open the device and make a run's numbers repeatable on it, at no cost in speed.

    One thread, since the queue runs one worker per core; on a GPU fixed cuDNN and cuBLAS algorithms,
    and tf32 for products and convolutions of float32 where the run is computed in it.

    Raises DeviceUnavailable: the device cannot be used.
    Raises RunFailedError: it has no such arithmetic.
    """
    torch.set_num_threads(1)
    accelerator = accelerator_of(device)
    accelerator.initialise()
    # Either way, since a process may execute several runs.
    accelerator.use_tf32(resolve(device, precision) == "tf32")
    accelerator.forget_peak()


def advice(device: torch.device, precision: Precision) -> str:
    """What to know before a run is computed in this precision on this device; empty where nothing is."""
    if precision != "bf16" or accelerator_of(device).multiplies_bf16:
        return ""
    return f"{_name(device)} has no bf16 arithmetic: emulating it takes several times as long as fp32"


def evaluation_batch_size(device: torch.device, image_values: int) -> int:
    """Images of so many values per evaluation batch: few enough for a CPU's cache, enough to fill a GPU."""
    fitting = accelerator_of(device).evaluation_values // image_values
    return max(_FEWEST_IMAGES_PER_EVALUATION_BATCH, min(_MOST_IMAGES_PER_EVALUATION_BATCH, fitting))


def memory_now(device: torch.device) -> int | None:
    """What this process keeps of the GPU's memory for tensors; without a GPU all that it has in memory."""
    if on_device := accelerator_of(device).reserved_bytes():
        return on_device
    # No run ends for a figure that cannot be had.
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    return None


def peak_memory(device: torch.device) -> dict[str, int]:
    """The most memory used so far, for `provenance.json`: of this process, and of its run on the GPU."""
    # Linux counts in kibibytes.
    peaks = {"peak_memory_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
    on_device = accelerator_of(device).peak_bytes()
    return peaks if on_device is None else peaks | {"peak_device_memory_bytes": on_device}


def describe(device: torch.device, precision: Precision = "auto") -> dict[str, Any]:
    """Facts for `provenance.json`."""
    return {
        "python": platform.python_version(),
        "hostname": platform.node(),
        "threads": torch.get_num_threads(),
        "precision": resolve(device, precision),
        **accelerator_of(device).facts(),
    }


def _name(device: torch.device) -> str:
    return str(accelerator_of(device).facts()["device_name"])
