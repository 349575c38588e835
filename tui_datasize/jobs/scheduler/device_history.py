"""What the devices did in the last minutes: a line every few seconds, for an app that opens later.

A scheduler appends to a small file of the project's cache while it works. Nothing relies on it: it is not
synced, and where it cannot be written the minutes are missing.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from pathlib import Path

from tui_datasize.files import open_regular, parse_object, read_end
from tui_datasize.jobs.queue.state import CPU
from tui_datasize.jobs.scheduler.devices import DeviceReport
from tui_datasize.jobs.scheduler.nvml import host_memory

HISTORY_S = 600.0
INTERVAL_S = 5.0
_MOST = 1e15
_SAMPLES = int(HISTORY_S / INTERVAL_S)
_LONGEST_BYTES = 256 * 1024
_IDLE, _WAITING = 3, 4
"""Among the times of the first line of `/proc/stat`, see proc_stat(5); what guests had is in them already."""
_OWN_TIMES = 8


@dataclass(frozen=True, slots=True)
class Load:
    """What a device had to do; None where nobody tells."""

    percent: float | None = None
    memory_bytes: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """All devices at one moment."""

    time_s: float
    """Since 1970."""
    loads: Mapping[str, Load]
    """By GPU UUID, and `cpu` for the cores and the memory of the machine."""


@dataclass(eq=False)
class DeviceHistory:
    """Takes a sample every few seconds, however often it is asked, and keeps those of the last minutes."""

    file: Path | None = None
    """Where they are written for others as well; None for nowhere."""
    clock: Callable[[], float] = time.time
    """Seconds since 1970."""
    system: Path = Path("/proc")
    """Where the kernel tells of the machine."""
    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=_SAMPLES))
    _times: tuple[int, int] | None = None

    def note(self, report: DeviceReport) -> None:
        """Take a sample unless the last one is recent."""
        now_s = self.clock()
        if self.samples and 0 <= now_s - self.samples[-1].time_s < INTERVAL_S:
            return
        loads = {
            gpu.uuid: Load(gpu.utilisation_percent, gpu.memory_used_bytes, gpu.temperature_c, gpu.power_w)
            for gpu in report.gpus
        }
        sample = Sample(now_s, {CPU: self._host(), **loads})
        self.samples.append(sample)
        if self.file is not None:
            with suppress(OSError):
                _append(self.file, sample)

    def _host(self) -> Load:
        try:
            times = [int(word) for word in (self.system / "stat").read_text().split()[1 : 1 + _OWN_TIMES]]
            memory = host_memory((self.system / "meminfo").read_text())
        except (OSError, ValueError, KeyError):
            return Load()
        before, self._times = self._times, (sum(times), times[_IDLE] + times[_WAITING])
        used = memory.total - memory.free
        if before is None or self._times[0] <= before[0]:
            return Load(None, used)
        idle = (self._times[1] - before[1]) / (self._times[0] - before[0])
        return Load(round(100 * (1 - min(1.0, max(0.0, idle))), 1), used)


def _append(file: Path, sample: Sample) -> None:
    """Begin anew with the last minutes where the file has grown long."""
    loads = {name: astuple(one) for name, one in sample.loads.items()}
    line = json.dumps({"time": sample.time_s, "loads": loads})
    file.parent.mkdir(exist_ok=True)
    with open_regular(file, "ab") as history:
        history.write(f"{line}\n".encode())
        length = history.tell()
    if length > _LONGEST_BYTES:
        kept, _ = read_end(file, _LONGEST_BYTES // 2)
        shorter = file.with_suffix(".new")
        shorter.write_bytes(kept.partition(b"\n")[2])
        os.replace(shorter, file)  # noqa: PTH105


def read_history(file: Path, now_s: float) -> list[Sample]:
    """The samples of the last minutes in a file, oldest first; lines that are none are left out."""
    try:
        end, _ = read_end(file, _LONGEST_BYTES)
    except OSError:
        return []
    found = (_sample(line) for line in end.splitlines())
    return [one for one in found if one and 0 <= now_s - one.time_s <= HISTORY_S]


def _sample(line: bytes) -> Sample | None:
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        told = parse_object(line)
        loads = {str(name): Load(*map(_number, values)) for name, values in told["loads"].items()}  # type: ignore[arg-type]
        return Sample(float(told["time"]), loads)
    return None


def _number(value: object) -> float | int | None:
    if value is None or (isinstance(value, int | float) and 0 <= value < _MOST):
        return value
    raise ValueError("nothing that a device tells")


def merged(*histories: Iterable[Sample]) -> tuple[Sample, ...]:
    """Samples of several observers in order, one for each few seconds; the first observer wins."""
    kept: dict[int, Sample] = {}
    for sample in (one for history in histories for one in history):
        kept.setdefault(int(sample.time_s // INTERVAL_S), sample)
    return tuple(kept[place] for place in sorted(kept))
