"""The CPU as a device: nothing runs beside the host, and its memory is the host's."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from tui_datasize.training.accelerator.interface import Accelerator

_BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16", "bf16"})
"""How /proc/cpuinfo tells that a CPU multiplies bf16: on x86 and, the last, on ARM."""


class Host(Accelerator):
    """The CPU, of which a worker has one core and its share of memory."""

    kind = "cpu"
    is_gpu = False
    # The fused kernels of a CPU take the rate as the number it is.
    rate_dtype = torch.float64
    warm_ups = 1
    evaluation_values = 1 << 16
    # Reading ahead would take its time from what computes.
    batches_ahead = 0

    def facts(self) -> dict[str, Any]:
        name = next(_cpu_facts("model name"), platform.processor())
        return super().facts() | {"device": self.kind, "device_name": name, "device_uuid": ""}

    @property
    def multiplies_bf16(self) -> bool:
        """Whether /proc/cpuinfo names such instructions; true where it names none at all."""
        flags = next((line for key in ("flags", "Features") for line in _cpu_facts(key)), None)
        return flags is None or not _BF16_FLAGS.isdisjoint(flags.split())

    def free_bytes(self) -> int:
        """A CPU slot's part of the memory that can be had without swapping."""
        return _available_bytes() // (os.cpu_count() or 1)


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


def _available_bytes() -> int:
    """Memory that can be had without swapping, or all there is where that is not told."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
