"""What training asks of the device of its process, whichever kind it is, and what a CPU answers."""

from __future__ import annotations

import gc
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from tui_datasize.experiments.spec import Precision

Made = TypeVar("Made")

_BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16", "bf16"})
"""How /proc/cpuinfo tells that a CPU multiplies bf16: on x86 and, the last, on ARM."""


class Capture(Protocol):
    """Records what a function does on a device."""

    def prepare(self, work: Callable[[], Made]) -> Made:
        """Do it as it is, in the place where it will be recorded."""

    def record(self, work: Callable[[], Made]) -> tuple[Made, Callable[[], None]]:
        """Record it without doing it.

        Returns:
            What it returned, whose tensors each replay fills, and what replays it.

        Raises RuntimeError: it does something that cannot be recorded; nothing was done.
        """

    def forget(self) -> None:
        """Share nothing with what was recorded before, which is gone."""


class Mark:
    """A point in the work of a stream; on the host it is reached already."""

    def wait(self) -> None:
        """Have the host wait until it is."""


class Stream:
    """Work of a device that is done in order, beside that of other streams; on the host, as it is asked for.

    What is asked for inside a `with` block goes on it.
    """

    def __enter__(self) -> Stream:
        """Make it the current one."""
        return self

    def __exit__(self, *_: object) -> None:
        """Go back to the one before."""

    def follow(self, mark: Mark) -> None:
        """Begin what is asked for from now on after that point."""

    def mark(self) -> Mark:
        """The point behind all that was asked for so far."""
        return Mark()


@dataclass(frozen=True, eq=False)
class Accelerator:
    """A device, asked for by name; holds no state beyond that name.

    What is written here is the CPU, of which a worker has one core and its share of memory: nothing runs
    beside the host. A GPU is told in `cuda.py`.
    """

    device: torch.device

    kind = "cpu"
    """Whose bits are alike: "cpu" or "cuda"."""
    is_gpu = False
    """Whether it is a GPU, with memory of its own."""
    rate_dtype = torch.float64
    """Of a learning rate that the fused optimisers read from a tensor; those of a CPU take a number."""
    warm_ups = 1
    """Updates before one that can be timed."""
    batches_ahead = 0
    """Batches of images that the host reads while the device works on those before; on a CPU that would take
    its time from what computes."""

    def initialise(self) -> None:
        """Make it ready to compute; more than once does no harm. Nothing else may be asked before.

        Raises DeviceUnavailable: it cannot be used, and why.
        """

    def facts(self) -> dict[str, Any]:
        """What it is, for `provenance.json`: `device`, `device_name`, `device_uuid` and what drives it."""
        name = next(_cpu_facts("model name"), platform.processor())
        versions = {"torch": torch.__version__, "cuda": torch.version.cuda}
        return versions | {"device": self.kind, "device_name": name, "device_uuid": ""}

    @property
    def multiplies_tf32(self) -> bool:
        """Whether it has that arithmetic."""
        return False

    @property
    def multiplies_bf16(self) -> bool:
        """Whether it has that arithmetic; where not, it is emulated, in several times the time.

        Of a CPU /proc/cpuinfo names such instructions; it has them where that names none at all.
        """
        flags = next((line for key in ("flags", "Features") for line in _cpu_facts(key)), None)
        return flags is None or not _BF16_FLAGS.isdisjoint(flags.split())

    def use_tf32(self, allowed: bool) -> None:
        """Whether products and convolutions of float32 may be computed in tf32; of the whole process."""

    def measure_algorithms(self, allowed: bool) -> None:
        """Whether the fastest algorithms may be measured, which costs equal bits; of the whole process.

        `initialise` forbids it.
        """

    def whole_products(self) -> AbstractContextManager[object]:
        """Within it, products of float32 are computed in float32 whatever is allowed, recorded ones too."""
        return nullcontext()

    def autocast(self, precision: Precision) -> AbstractContextManager[object]:
        """Within it, forward passes compute in this precision; weights and gradients stay float32.

        To be entered again and again, one entry inside another excepted.
        """
        if precision != "bf16":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    @property
    def evaluation_values(self) -> int:
        """Values of images per evaluation batch: what fits a CPU's cache, what fills a GPU."""
        return 1 << 16

    def free_bytes(self) -> int:
        """Memory that images and models may still take: a CPU slot's part of what swaps nothing out."""
        try:
            lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
            free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
        except (OSError, StopIteration):
            # All there is, where that is not told.
            free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return free // (os.cpu_count() or 1)

    def reserved_bytes(self) -> int:
        """Memory of the device that this process keeps for tensors now; 0 where that is the host's."""
        return 0

    def peak_bytes(self) -> int | None:
        """The most it kept since `forget_peak`; None where that is the host's memory."""
        return None

    def forget_peak(self) -> None:
        """Measure the peak from now on."""

    def release_memory(self) -> None:
        """Collect what only refers to itself, and give back what no tensor holds any more."""
        gc.collect()

    def wait(self) -> None:
        """Have the host wait until all work is done; raises RuntimeError: some of it failed."""

    def times_s(
        self, step: Callable[[], object], longest_s: float, *, least: int = 1, most: int = 1000
    ) -> list[float]:
        """What a step takes each time, once it is warm: made again for so long, `least` to `most` times."""
        for _ in range(self.warm_ups):
            step()
        times_s: list[float] = []
        while len(times_s) < least or (len(times_s) < most and sum(times_s) < longest_s):
            self.wait()
            started_s = time.perf_counter()
            step()
            self.wait()
            times_s.append(time.perf_counter() - started_s)
        return times_s

    def stream(self) -> Stream:
        """A new stream."""
        return Stream()

    def current_stream(self) -> Stream:
        """The stream that work goes on now."""
        return Stream()

    def capture(self, generators: Sequence[torch.Generator]) -> Capture | None:  # noqa: ARG002
        """A way to record work that draws from these generators; None where nothing is gained."""
        return None

    @property
    def is_recording(self) -> bool:
        """Whether what is asked for now is being recorded."""
        return False

    def staging(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Memory of the host, uninitialised, that `send` copies from without waiting."""
        return torch.empty(tuple(shape), dtype=dtype)

    def send(self, part: Tensor) -> Tensor:
        """A copy on the device of a tensor of the host, on the current stream.

        From `staging` nothing waits, and the memory must stay as it is until the copy is done: what
        torch keeps it from is being freed, not from being written to. On a CPU the tensor itself.
        """
        return part.to(self.device)

    def draws(self, generator: torch.Generator) -> torch.Generator:
        """The generator, if what is drawn on this device may be drawn from it.

        Raises ValueError: it is of another device.
        """
        if generator.device.type != self.device.type:
            raise ValueError(
                f"expected a generator of {self.device.type}, where the numbers are, "
                f"got one of {generator.device.type}"
            )
        return generator


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
