"""The steps of a selftest: what each looks at, how long it may take and where it is written.

Imports nothing heavy, and no step: each is imported by the process that it is made in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Step:
    """One part of a selftest, made in a process of its own."""

    name: str
    what: str
    """One line for the help."""
    limit_s: float
    """It is ended after so long, with all processes that it waits for."""
    entry: str
    """Module within this room, and the function in it that makes it."""
    on_cpu: bool = True
    """Whether there is anything to it without a GPU."""
    packages: tuple[str, ...] = ()
    """What it imports beside torch, torchvision, torchmetrics and NumPy."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Those of the packages that are not installed."""
        return tuple(package for package in self.packages if not _is_installed(package))


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    # What is held back in `sys.modules` has no specification.
    except (ImportError, ValueError):
        return False


_QUEUE = ("polars", "platformdirs", "tomli", "rich", "sklearn")

DEVICE_VARIABLE = "CUDA_VISIBLE_DEVICES"
"""Names the device of a step's process."""
BEGUN, ENDED = "begun", "ended"
"""What the process that steps are forked from says of one, before a number."""
FIRST = "probe"
"""The step that tells which device it is; no other is made without it."""

STEPS: Mapping[str, Step] = MappingProxyType(
    {
        step.name: step
        for step in (
            Step(FIRST, "opens the device; versions, driver, what else uses it", 45, "devices:check_probe"),
            Step(
                "kernels",
                "each model and precision against float64 on the CPU",
                80,
                "exactness:check_kernels",
            ),
            Step("bits", "equal bits: again, after kill -9, side by side", 80, "exactness:check_bits"),
            Step(
                "recording",
                "updates as CUDA graphs, and one that is refused",
                45,
                "exactness:check_recording",
                on_cpu=False,
            ),
            Step("packs", "fused lanes against their runs alone", 50, "exactness:check_packs"),
            Step(
                "memory",
                "memory that runs out, recording and in packs",
                65,
                "memory:check_memory",
                on_cpu=False,
            ),
            Step(
                "placement", "images on the device and mapped from their file", 70, "memory:check_placement"
            ),
            Step("speed", "images/s alone and in packs, start of a process", 100, "speed:check_speed"),
            Step("faults", "what no GPU or driver is: no run on the CPU", 45, "devices:check_faults"),
            Step(
                "end-to-end",
                "12 runs of the digits through the queue",
                70,
                "end_to_end:check_end_to_end",
                packages=_QUEUE,
            ),
            Step(
                "tests",
                "the tests that need a GPU",
                70,
                "end_to_end:check_gpu_tests",
                on_cpu=False,
                packages=(*_QUEUE, "pytest", "pytest_asyncio", "xdist", "hypothesis"),
            ),
        )
    }
)
"""In the order in which they are made; their limits come to 12 minutes."""
