"""The screen of the devices: every device, the last minutes, and who takes what."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from tests.tui.fake_queue import GIB, TWO_GPUS
from tests.tui.stage import NARROW, Stage
from tests.tui.test_charts import PALETTE
from tui_datasize.jobs.queue.state import CPU
from tui_datasize.jobs.scheduler.device_history import DeviceHistory, Load, Sample
from tui_datasize.jobs.scheduler.devices import DeviceReport, GpuProcess
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.tui.devices_screen import device_lines, sparkline
from tui_datasize.tui.polling.machine import Machine, MachineWatch, ProcessUse
from tui_datasize.tui.polling.snapshot import Snapshot


def sample(time_s: float, percent: float) -> Sample:
    gpu = Load(percent, 40 * GIB, 60, 400)
    return Sample(time_s, {CPU: Load(percent, 8 * GIB), "GPU-aaaa": gpu, "GPU-bbbb": gpu})


MACHINE = Machine(
    tuple(sample(1000 + 5 * place, place) for place in range(101)),
    (
        ProcessUse("digits-n40-d0-s0", True, ("GPU-aaaa",), 99.0, GIB, 2 * GIB),
        ProcessUse("python (process 7 of anna)", False, ("GPU-bbbb",), None, 0, None),
    ),
    16 * GIB,
)


def drawn(report: DeviceReport, width: int, height: int, machine: Machine = MACHINE) -> list[str]:
    snapshot = Snapshot(devices=report, machine=machine)
    return [line.plain for line in device_lines(snapshot, width, height, PALETTE)]


def test_every_gpu_has_four_gauges_and_whose_processes_are_on_it():
    lines = drawn(TWO_GPUS, 100, 24)
    assert max(map(len, lines)) <= 100
    words = ["utilisation", "memory", "temperature", "power"]
    assert [line.split()[0] for line in lines[1:5]] == words
    assert "41 of 80 GB" in lines[2]
    assert "63 °C" in lines[3]
    assert "●" in lines[-2]
    assert "digits-n40-d0-s0 on GPU 0" in lines[-2]
    assert lines[-2].split()[-6:] == ["2.0", "GB", "99", "%", "1.0", "GB"]
    assert "python (process 7 of anna) on GPU 1" in lines[-1]


def test_a_low_screen_has_two_gauges_a_line():
    assert len(drawn(TWO_GPUS, 80, 22)) - len(drawn(TWO_GPUS, 80, 15)) == 5
    for width in (40, 60, 80):
        assert max(map(len, drawn(TWO_GPUS, width, 15))) <= width


def test_a_machine_without_a_gpu_shows_load_memory_and_slots():
    lines = drawn(DeviceReport((), 2, "NVML: none"), 80, 11, replace(MACHINE, processes=()))
    assert lines[0].strip() == "CPU, 2 slots, 0 taken by this project"
    assert "8 of 16 GB" in lines[3]
    assert "no run is at work" in lines[-1]
    assert "takes no jobs: NVML: mismatch" in drawn(DeviceReport((), 0, "NVML: mismatch"), 80, 20)[0]


def test_a_sparkline_leaves_blank_what_nobody_saw():
    points = [(5.0 * place, float(place)) for place in range(121) if not 40 <= place < 80]
    (line,) = sparkline(points, 60, 120.0, 600.0, 1)
    assert line[:20].strip() == line[:20]
    assert not line[20:39].strip()
    assert list(line[40:]) == sorted(line[40:])
    assert sparkline(points, 0, 1.0, 600.0, 1) == [""]
    higher = sparkline(points, 60, 120.0, 600.0, 3)
    assert [sum(cell != " " for cell in row) for row in higher] == sorted(
        sum(cell != " " for cell in row) for row in higher
    )
    assert higher[-1][:20].strip() == higher[-1][:20]


def test_a_large_window_has_high_gauges():
    for height in (30, 48, 60):
        lines = drawn(TWO_GPUS, 160, height)
        assert 0.6 * height < len(lines) <= height


def test_processes_are_those_of_runs_and_the_busy_ones_of_others(busy: Stage):
    (job,) = [one for one in busy.queue.jobs() if one.state.is_active][:1]
    others = GpuProcess(os.getppid(), 3 * GIB)
    gpu = replace(TWO_GPUS.gpus[0], processes=(GpuProcess(os.getpid(), GIB), others))
    machine = MachineWatch(busy.project).look(DeviceReport((gpu,), 0, ""), [job])
    ours, *rest = machine.processes
    assert (ours.name, ours.is_ours, ours.gpu_bytes) == (job.run_id, True, GIB)
    assert [one.gpu_bytes for one in rest if f"process {os.getppid()} of" in one.name] == [3 * GIB]
    assert rest[0].devices == (gpu.uuid,)
    assert machine.memory_bytes > GIB


def test_minutes_before_the_app_was_opened_come_from_the_file(tmp_path: Path):
    project = ProjectPaths(tmp_path)
    project.runs.mkdir()
    DeviceHistory(project.device_history).note(TWO_GPUS)
    (kept,) = MachineWatch(project).look(None, ()).samples
    assert kept.loads["GPU-aaaa"].percent == 87


async def test_a_key_shows_the_devices_and_takes_them_away(busy: Stage):
    busy.devices = TWO_GPUS
    async with busy.open(NARROW) as show:
        await show.press("2", "M")
        await show.shows("Devices", "GPU 0", "GPU 1", "utilisation", "power", "CPU", "process")
        await show.press("j", "k", "escape")
        await show.shows("Runs")
        await show.until(lambda: show.app.snapshot.machine is None)
