"""The last minutes of the devices: what is kept, what is read again, and what becomes of a damaged file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.fake_nvml import FakeGpu, FakeNvml
from tui_datasize.jobs.queue.state import CPU
from tui_datasize.jobs.scheduler import device_history
from tui_datasize.jobs.scheduler.device_history import DeviceHistory, Load, Sample, merged, read_history
from tui_datasize.jobs.scheduler.devices import DeviceMonitor

GIB = 2**30


class Machine:
    """A machine whose clock and counters a test turns."""

    def __init__(self, root: Path, nvml: FakeNvml | None = None) -> None:
        self.now_s = 1000.0
        self.monitor = DeviceMonitor(nvml or FakeNvml(missing=True), {}, traces=list)
        self.system, self.file = root, root / "cache" / "devices.jsonl"
        (root / "meminfo").write_text("MemTotal: 8388608 kB\nMemFree: 1 kB\nMemAvailable: 2097152 kB\n")
        self.count(busy=0, idle=0)
        self.history = DeviceHistory(self.file, lambda: self.now_s, root)

    def count(self, *, busy: int, idle: int) -> None:
        (self.system / "stat").write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 7 7\ncpu0 1 2 3 4\n")

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        self.history.note(self.monitor.read())


def test_a_gpu_is_sampled_with_all_that_the_driver_tells(tmp_path: Path):
    gpu = FakeGpu("GPU-a", 24 * GIB, used_bytes=6 * GIB)
    nvml = FakeNvml(gpu)
    machine = Machine(tmp_path, nvml)
    machine.pass_time(0)
    machine.count(busy=75, idle=25)
    nvml.fail_in("nvmlDeviceGetPowerUsage")
    machine.pass_time(5)
    loads = [sample.loads["GPU-a"] for sample in machine.history.samples]
    assert loads == [Load(50, 6 * GIB, 60, 412), Load(50, 6 * GIB, 60, None)]
    assert [sample.loads[CPU] for sample in machine.history.samples] == [
        Load(None, 6 * GIB),
        Load(75.0, 6 * GIB),
    ]


def test_whoever_looks_later_finds_the_last_minutes_and_no_older_ones(tmp_path: Path):
    machine = Machine(tmp_path)
    for place in range(400):
        machine.count(busy=60 * place, idle=40 * place)
        machine.pass_time(2.5)
    assert len(machine.file.read_text().splitlines()) == 200
    with machine.file.open("a") as file:
        file.write('not JSON\n{"time": "x", "loads": {}}\n{"time": 1999, "loads": {"cpu": ["hot"]}}\n')
        for bad in ("-1", "1e300", "1" * 400, "[]", "true, 1, 1, 1, 1"):
            file.write(f'{{"time": 1999, "loads": {{"cpu": [{bad}]}}}}\n')
        file.write('{"ti')
    found = read_history(machine.file, machine.now_s)
    assert found == list(machine.history.samples)[-len(found) :]
    assert len(found) == 120
    assert found[-1].loads[CPU].percent == pytest.approx(60)
    assert read_history(machine.file, machine.now_s + 3600) == []
    assert read_history(tmp_path / "none", 0) == []


def test_the_file_never_grows_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(device_history, "_LONGEST_BYTES", 4000)
    machine = Machine(tmp_path)
    for _ in range(300):
        machine.pass_time(5)
    assert machine.file.stat().st_size < 5000
    kept = read_history(machine.file, machine.now_s)
    assert len(kept) > 10
    assert kept == list(machine.history.samples)[-len(kept) :]
    assert list(machine.file.parent.iterdir()) == [machine.file]


def test_a_file_that_cannot_be_written_costs_the_minutes_alone(tmp_path: Path):
    machine = Machine(tmp_path)
    machine.file.parent.write_text("in the way")
    machine.pass_time(0)
    assert len(machine.history.samples) == 1


def test_a_machine_that_tells_nothing_has_no_load(tmp_path: Path):
    machine = Machine(tmp_path)
    (tmp_path / "stat").write_text("")
    (tmp_path / "meminfo").unlink()
    machine.pass_time(0)
    assert machine.history.samples[0].loads == {CPU: Load()}


def test_of_two_observers_the_first_wins():
    own, filed = Sample(12.0, {CPU: Load(1.0)}), Sample(11.0, {CPU: Load(2.0)})
    later = Sample(16.0, {})
    assert merged([filed], [own, later]) == (filed, later)
