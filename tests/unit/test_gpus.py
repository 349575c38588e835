from __future__ import annotations

import os

import pytest

from tests.unit.fake_nvml import FakeGpu, FakeNvml
from tui_datasize.jobs.gpus import DeviceMonitor, GpuProcess, read_devices

GIB = 2**30


def test_two_gpus_of_different_size_are_reported_by_uuid() -> None:
    nvml = FakeNvml(FakeGpu("GPU-a", 24 * GIB, used_bytes=GIB), FakeGpu("GPU-b", 80 * GIB))
    report = DeviceMonitor(nvml, {}).read()
    assert [(gpu.uuid, gpu.index) for gpu in report.gpus] == [("GPU-a", 0), ("GPU-b", 1)]
    assert [gpu.memory_free_bytes // GIB for gpu in report.gpus] == [23, 80]
    assert (report.gpus[0].utilisation_percent, report.gpus[0].temperature_c) == (50, 60)
    assert (report.cpu_slots, report.problem) == (0, "")


def test_processes_of_others_are_seen() -> None:
    nvml = FakeNvml(FakeGpu("GPU-a", 24 * GIB, processes={4711: 3 * GIB, 4712: None}))
    (gpu,) = DeviceMonitor(nvml, {}).read().gpus
    assert set(gpu.processes) == {GpuProcess(4711, 3 * GIB), GpuProcess(4712, None)}


def test_memory_that_fills_late_is_seen_at_the_next_look() -> None:
    device = FakeGpu("GPU-a", 24 * GIB)
    monitor = DeviceMonitor(FakeNvml(device), {})
    assert monitor.read().gpus[0].memory_free_bytes == 24 * GIB
    device.used_bytes = 20 * GIB
    assert monitor.read().gpus[0].memory_free_bytes == 4 * GIB


def test_without_a_driver_jobs_run_on_the_cpu_and_the_report_says_so() -> None:
    report = DeviceMonitor(FakeNvml(missing=True), {}).read()
    assert report.gpus == ()
    assert report.cpu_slots == len(os.sched_getaffinity(0))
    assert report.problem == "NVML: Shared Library Not Found: jobs run on the CPU"


def test_a_machine_whose_driver_sees_no_gpu_has_cpu_slots() -> None:
    report = DeviceMonitor(FakeNvml(), {}).read()
    assert report.cpu_slots > 0
    assert report.problem.startswith("no GPU is visible")


@pytest.mark.parametrize(
    "function", ["nvmlDeviceGetUtilizationRates", "nvmlDeviceGetTemperature", "nvmlDeviceGetTotalEccErrors"]
)
def test_a_call_that_is_not_supported_leaves_a_gap_and_nothing_else(function: str) -> None:
    nvml = FakeNvml(FakeGpu("GPU-a", 24 * GIB))
    nvml.fail_in(function)
    report = DeviceMonitor(nvml, {}).read()
    assert len(report.gpus) == 1
    assert report.problem == ""


def test_a_gpu_that_is_lost_takes_no_jobs_and_the_other_goes_on() -> None:
    lost = FakeGpu("GPU-a", 24 * GIB)
    monitor = DeviceMonitor(FakeNvml(lost, FakeGpu("GPU-b", 24 * GIB)), {})
    assert len(monitor.read().gpus) == 2
    lost.is_lost = True
    report = monitor.read()
    assert [gpu.uuid for gpu in report.gpus] == ["GPU-b"]
    assert report.problem == "GPU 0 takes no jobs: NVML: GPU is lost"
    assert report.cpu_slots == 0


def test_uncorrectable_errors_are_a_fault() -> None:
    report = DeviceMonitor(FakeNvml(FakeGpu("GPU-a", 24 * GIB, ecc_errors=3)), {}).read()
    assert report.gpus[0].fault == "3 uncorrectable memory errors, it takes no jobs"
    assert "GPU 0: 3 uncorrectable" in report.problem


def test_a_sweep_begun_on_gpus_does_not_creep_on_to_the_cpu() -> None:
    nvml = FakeNvml(FakeGpu("GPU-a", 24 * GIB))
    monitor = DeviceMonitor(nvml, {})
    monitor.read()
    nvml.fail_in("nvmlDeviceGetCount")
    report = monitor.read()
    assert (report.gpus, report.cpu_slots) == ((), 0)
    assert "no jobs are started until it answers again" in report.problem
    nvml.failing.clear()
    assert len(monitor.read().gpus) == 1
    assert nvml.connections == 2


@pytest.mark.parametrize(
    ("left", "gone"), [((), ("GPU 0 (GPU-a)", "GPU 1 (GPU-b)")), ((1,), ("GPU 0 (GPU-a)",))]
)
def test_gpus_that_are_listed_no_more_are_named_until_they_are_back(
    left: tuple[int, ...], gone: tuple[str, ...]
) -> None:
    nvml = FakeNvml(FakeGpu("GPU-a", 24 * GIB), FakeGpu("GPU-b", 24 * GIB))
    monitor = DeviceMonitor(nvml, {})
    whole = monitor.read()
    every = nvml.gpus
    nvml.gpus = [every[one] for one in left]
    report = monitor.read()
    assert [gpu.uuid for gpu in report.gpus] == [every[one].uuid for one in left]
    assert report.cpu_slots == 0
    words = "; ".join(f"{name} is gone: it takes no jobs until it is back" for name in gone)
    assert report.problem == words
    nvml.gpus = every
    assert monitor.read() == whole
    assert whole.problem == ""


def test_a_gpu_that_is_hidden_is_not_missed() -> None:
    nvml = FakeNvml(FakeGpu("GPU-a", 24 * GIB), FakeGpu("GPU-b", 24 * GIB))
    monitor = DeviceMonitor(nvml, {"CUDA_VISIBLE_DEVICES": "GPU-b"})
    assert monitor.read().problem == ""
    del nvml.gpus[0]
    assert monitor.read().problem == ""
    nvml.gpus.clear()
    report = monitor.read()
    assert (report.gpus, report.cpu_slots) == ((), 0)
    assert "(GPU-b) is gone" in report.problem


def test_the_driver_tells_its_version_or_not() -> None:
    nvml = FakeNvml(FakeGpu("GPU-a", 24 * GIB))
    assert DeviceMonitor(nvml, {}).read().driver_version == "580.95.05"
    nvml.fail_in("nvmlSystemGetDriverVersion")
    report = DeviceMonitor(nvml, {}).read()
    assert (len(report.gpus), report.driver_version, report.problem) == (1, "", "")
    assert DeviceMonitor(FakeNvml(missing=True), {}).read().driver_version == ""


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("", []), ("-1", []), ("1", ["GPU-b"]), ("GPU-a", ["GPU-a"]), ("1,GPU-a", ["GPU-a", "GPU-b"])],
)
def test_only_visible_gpus_are_used(visible: str, expected: list[str]) -> None:
    nvml = FakeNvml(FakeGpu("GPU-a", 24 * GIB), FakeGpu("GPU-b", 24 * GIB))
    report = DeviceMonitor(nvml, {"CUDA_VISIBLE_DEVICES": visible}).read()
    assert [gpu.uuid for gpu in report.gpus] == expected
    assert (report.cpu_slots > 0) == (not expected)


def test_a_single_look_gives_the_connection_back() -> None:
    nvml = FakeNvml(FakeGpu("GPU-a", 24 * GIB))
    read_devices(nvml)
    assert nvml.connections == 1
    assert not nvml.is_connected


def test_the_installed_library_answers_or_fails_in_words() -> None:
    report = read_devices()
    assert report.gpus or report.problem
