from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import Mock

import pynvml
import pytest

from tests.unit.fake_nvml import FakeGpu, FakeNvml
from tui_datasize.jobs.scheduler.devices import (
    DeviceMonitor,
    GpuProcess,
    capacities,
    find_traces,
    or_cpu,
    read_devices,
)

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
    assert report.problem == "NVML: NVML Shared Library Not Found: jobs run on the CPU"


def without_nvml(traces: tuple[str, ...] = (), used: tuple[str, ...] = ()) -> DeviceMonitor:
    return DeviceMonitor(FakeNvml(missing=True), {}, lambda: traces, lambda: used)


def mismatched() -> DeviceMonitor:
    nvml = FakeNvml(FakeGpu("GPU-a", 24 * GIB))
    nvml.fail_in("nvmlInit")
    nvml.reason = "Driver/library version mismatch"
    return DeviceMonitor(nvml, {})


def really_mismatched() -> DeviceMonitor:
    """As the installed binding raises it."""
    nvml = FakeNvml(FakeGpu("GPU-a", 24 * GIB))
    nvml.NVMLError = pynvml.NVMLError  # type: ignore[misc]
    nvml.nvmlInit = Mock(side_effect=pynvml.NVMLError(pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH))  # type: ignore[method-assign]
    return DeviceMonitor(nvml, {})


def hiding(visible: str) -> DeviceMonitor:
    return DeviceMonitor(FakeNvml(FakeGpu("GPU-a", 24 * GIB)), {"CUDA_VISIBLE_DEVICES": visible})


@pytest.mark.parametrize(
    ("monitor", "words"),
    [
        (without_nvml(traces=("/dev/nvidia0",)), "though there is /dev/nvidia0"),
        (
            without_nvml(used=("GPU-a",)),
            "runs of this project have used GPU-a (`datasize-tui doctor --forget",
        ),
        (mismatched(), "version mismatch (the driver was updated: restart the machine): no jobs are started"),
        (really_mismatched(), "version mismatch (the driver was updated: restart the machine): no jobs"),
        (hiding("MIG-x"), "CUDA_VISIBLE_DEVICES=MIG-x names none of 1 on this machine"),
        (hiding(""), "no GPU is visible"),
        (DeviceMonitor(FakeNvml(), {}), "the driver lists no GPU: no jobs are started"),
        (
            DeviceMonitor(FakeNvml(FakeGpu("GPU-a", GIB, is_lost=True)), {}),
            "GPU 0 takes no jobs: NVML: GPU is lost",
        ),
    ],
)
def test_any_trace_of_a_gpu_keeps_the_cpu_from_taking_jobs_unless_it_is_asked_for(
    monitor: DeviceMonitor, words: str
) -> None:
    report = monitor.read()
    assert (report.gpus, report.cpu_slots) == ((), 0)
    assert words in report.problem
    assert capacities(or_cpu(report, allowed=False), 1, None) == {}
    asked = or_cpu(report, allowed=True)
    assert capacities(asked, 1, 3) == {"cpu": 3}
    assert asked.problem.endswith(": jobs run on the CPU")


def test_the_cpu_takes_no_jobs_beside_a_gpu_that_does() -> None:
    report = DeviceMonitor(FakeNvml(FakeGpu("GPU-a", GIB)), {}).read()
    assert capacities(or_cpu(report, allowed=True), 2, None) == {"GPU-a": 2}
    assert "cpu" in capacities(or_cpu(report, allowed=True, faulty={"GPU-a"}), 2, None, {"GPU-a"})


@pytest.mark.parametrize("trace", ["dev/nvidia0", "dev/dxg", "proc/driver/nvidia"])
def test_the_files_of_a_driver_are_traces(tmp_path: Path, trace: str) -> None:
    assert find_traces(tmp_path) == []
    (tmp_path / trace).parent.mkdir(parents=True)
    (tmp_path / trace).touch()
    assert find_traces(tmp_path) == [str(tmp_path / trace)]


DIVIDED = FakeGpu(
    "GPU-b",
    80 * GIB,
    parts={0: FakeGpu("MIG-one", 10 * GIB), 2: FakeGpu("MIG-two", 20 * GIB, processes={7: GIB})},
)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["GPU-a", "MIG-one", "MIG-two"]),
        ("MIG-two", ["MIG-two"]),
        ("GPU-b", ["MIG-one", "MIG-two"]),
        ("1", ["MIG-one", "MIG-two"]),
        ("MIG-one,0", ["GPU-a", "MIG-one"]),
    ],
)
def test_instances_of_a_divided_card_are_used_instead_of_it(visible: str | None, expected: list[str]) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    report = DeviceMonitor(FakeNvml(FakeGpu("GPU-a", 24 * GIB), DIVIDED), environment).read()
    assert [gpu.uuid for gpu in report.gpus] == expected
    assert report.problem == ""
    assert all(gpu.title == "GPU 1:2 (Fake GPU)" for gpu in report.gpus if gpu.uuid == "MIG-two")
    assert {gpu.memory_total_bytes for gpu in report.gpus if gpu.uuid == "MIG-two"} <= {20 * GIB}


def test_a_divided_card_without_instances_takes_no_jobs() -> None:
    report = DeviceMonitor(FakeNvml(FakeGpu("GPU-a", GIB, parts={})), {}).read()
    assert (report.gpus, report.cpu_slots) == ((), 0)
    assert report.problem.startswith("GPU 0 takes no jobs: MIG is on and it has no instances")


def test_a_gpu_that_shares_the_memory_of_the_host_has_its_figures() -> None:
    (gpu,) = DeviceMonitor(FakeNvml(FakeGpu("GPU-a", 0, has_memory=False)), {}).read().gpus
    assert gpu.memory_total_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < gpu.memory_free_bytes <= gpu.memory_total_bytes


def test_a_process_that_draws_is_a_screen_though_it_computes() -> None:
    device = FakeGpu("GPU-a", 24 * GIB, processes={1: GIB, 2: GIB}, drawing={2: GIB, 3: None})
    (gpu,) = DeviceMonitor(FakeNvml(device), {}).read().gpus
    assert {process.pid: process.computes for process in gpu.processes} == {1: True, 2: False, 3: False}


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
    assert report.gpus[0].fault == "3 uncorrectable memory errors"
    assert report.problem == "GPU 0 (Fake GPU) takes no jobs: 3 uncorrectable memory errors"


def test_a_sweep_begun_on_gpus_does_not_creep_on_to_the_cpu() -> None:
    nvml = FakeNvml(FakeGpu("GPU-a", 24 * GIB))
    monitor = DeviceMonitor(nvml, {})
    monitor.read()
    nvml.fail_in("nvmlDeviceGetCount")
    report = monitor.read()
    assert (report.gpus, report.cpu_slots) == ((), 0)
    assert "no jobs are started" in report.problem
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
    assert report.cpu_slots == 0


def test_a_single_look_gives_the_connection_back() -> None:
    nvml = FakeNvml(FakeGpu("GPU-a", 24 * GIB))
    read_devices(nvml=nvml)
    assert nvml.connections == 1
    assert not nvml.is_connected


def test_the_installed_library_answers_or_fails_in_words() -> None:
    report = read_devices()
    assert report.gpus or report.problem
