"""The device of a worker: which one, how it is set up, and what it is."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

from tui_datasize.errors import RunFailedError

_PIXELS_PER_EVALUATION_BATCH = {"cpu": 1 << 16, "cuda": 1 << 22}
_MOST_IMAGES_PER_EVALUATION_BATCH = 8192


def choose_device() -> torch.device:
    """The GPU that `CUDA_VISIBLE_DEVICES` names; the CPU where it names none.

    Raises:
        RunFailedError: torch does not see that GPU; a sweep must not drift onto the CPU unnoticed.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if not named:
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    raise RunFailedError(
        f"torch does not see the GPU that CUDA_VISIBLE_DEVICES={named} names",
        fix="`datasize-tui doctor` tells whether torch and the driver fit",
    )


def set_up(device: torch.device) -> None:
    """Make a run's numbers repeatable on this device, at no cost in speed.

    One thread, since the queue runs one worker per core; on a GPU tf32 for matrix products and
    convolutions, fixed cuDNN and cuBLAS algorithms.
    """
    torch.set_num_threads(1)
    if device.type != "cuda":
        return
    # Read by cuBLAS when it first meets the device.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Convolutions use tf32 unless told otherwise, matrix products only when told so.
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def evaluation_batch_size(device: torch.device, image_values: int) -> int:
    """Images per evaluation batch: small enough for a CPU's cache, large enough to fill a GPU.

    Args:
        device: Where the evaluation runs.
        image_values: Channels times height times width.
    """
    fitting = _PIXELS_PER_EVALUATION_BATCH[device.type] // image_values
    return max(1, min(_MOST_IMAGES_PER_EVALUATION_BATCH, fitting))


def describe(device: torch.device) -> dict[str, Any]:
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
        "precision": "float32",
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            "device": properties.name,
            "device_name": properties.name,
            "device_uuid": f"GPU-{properties.uuid}",
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "precision": "tf32",
        }
    return facts


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
