"""`doctor`: what each check says of a machine that is sound, that may surprise, and that runs nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace

import pytest

from tests.unit.fake_nvml import FakeGpu, FakeNvml
from tests.unit.test_store import new_job
from tui_datasize.cli import doctor
from tui_datasize.cli.dispatch import main
from tui_datasize.cli.doctor import Check, Verdict
from tui_datasize.errors import StorageError
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue import file_systems
from tui_datasize.jobs.queue.faults import FaultKind
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.devices import DeviceMonitor
from tui_datasize.runlog.identity import ProcessIdentity
from tui_datasize.runlog.paths import ProjectPaths

GIB = 2**30
EXPERIMENT = """
[experiments.small]
dataset = "{dataset}"
model   = "mlp"
sizes   = [{size}]
seeds   = [0]
budget  = {{ updates = 10 }}
"""


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProjectPaths:
    """A project with data and slots of its own, on a machine without GPUs."""
    monkeypatch.setenv("DATASIZE_SLOTS_DIR", str(tmp_path / "slots"))
    monkeypatch.setenv("DATASIZE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    describe(ProjectPaths(tmp_path))
    return ProjectPaths(tmp_path)


def describe(paths: ProjectPaths, dataset: str = "digits", size: int = 40) -> None:
    """Give the project one experiment."""
    paths.experiments.write_text(EXPERIMENT.format(dataset=dataset, size=size))


def see(monkeypatch: pytest.MonkeyPatch, nvml: FakeNvml) -> None:
    """Let the machine have these GPUs."""
    for module in ("tui_datasize.cli.doctor", "tui_datasize.jobs.scheduler.devices"):
        monkeypatch.setattr(
            f"{module}.read_devices", lambda used=tuple: DeviceMonitor(nvml, {}, used=used).read()
        )


def damaged(gpu: FakeGpu) -> FakeGpu:
    gpu.ecc_errors = 2
    return gpu


def lost(gpu: FakeGpu) -> FakeGpu:
    gpu.is_lost = True
    return gpu


@pytest.mark.parametrize(
    ("first", "second", "verdict", "words"),
    [
        (None, None, "ok", "GiB free); driver 580.95.05, 2 jobs at once"),
        (
            None,
            damaged,
            "warn",
            "GPU 1 (Fake GPU) takes no jobs: 2 uncorrectable memory errors, 1 job at once",
        ),
        (None, lost, "warn", "GPU 1 takes no jobs: NVML: GPU is lost, 1 job at once"),
        (
            lost,
            damaged,
            "fail",
            "GPU is lost; GPU 1 (Fake GPU) takes no jobs: 2 uncorrectable memory errors, 0 jobs",
        ),
        (lost, lost, "fail", "GPU 1 takes no jobs: NVML: GPU is lost, 0 jobs at once"),
    ],
)
def test_gpus_are_told_with_their_driver_and_what_is_wrong(
    paths: ProjectPaths,
    monkeypatch: pytest.MonkeyPatch,
    first: Callable[[FakeGpu], FakeGpu] | None,
    second: Callable[[FakeGpu], FakeGpu] | None,
    verdict: Verdict,
    words: str,
) -> None:
    gpus = [FakeGpu(f"GPU-{name}", 24 * GIB) for name in "ab"]
    for gpu, harm in zip(gpus, (first, second), strict=True):
        if harm:
            harm(gpu)
    see(monkeypatch, FakeNvml(*gpus))
    check = doctor._devices(paths)
    assert check.verdict == verdict
    assert words in check.text
    assert "driver 580.95.05" in check.text


@pytest.mark.parametrize(("nvml", "before"), [(FakeNvml(), "fail"), (FakeNvml(missing=True), "warn")])
def test_a_project_that_has_run_on_gpus_misses_them(
    paths: ProjectPaths, monkeypatch: pytest.MonkeyPatch, nvml: FakeNvml, before: Verdict
) -> None:
    see(monkeypatch, nvml)
    assert doctor._devices(paths).verdict == before
    with closing(Store(paths.queue)) as store:
        store.add(new_job("r"))
        store.begin_attempt("r", 1, "GPU-a", 0, "tag")
        store.end_attempt("r", 1, "succeeded", "", finished_at="2099-01-01T00:00:00.000+00:00")
    check = doctor._devices(paths)
    assert check.verdict == "fail"
    assert "runs of this project have used GPU-a" in check.text
    assert check.text.count("doctor --forget-gpus") == 1
    assert doctor._forget(paths).text.startswith("GPU-a forgotten")
    assert doctor._devices(paths).verdict == before


def test_who_computes_on_a_gpu_is_named_and_a_screen_is_not(
    paths: ProjectPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = os.getpid()
    see(monkeypatch, FakeNvml(FakeGpu("GPU-a", GIB, processes={me: 1, 2: 1}, drawing={2: 1})))
    text = doctor._devices(paths).text
    assert f"on GPU 0 (Fake GPU): {Path('/proc/self/comm').read_text().strip()} (process {me} of " in text
    assert "process 2 " not in text


def test_a_scheduler_that_waits_for_its_gpus_is_a_failure(
    paths: ProjectPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    see(monkeypatch, FakeNvml())
    monkeypatch.setattr(QueueClient, "slots", lambda _client: 0)
    check = doctor._devices(paths)
    assert check.verdict == "fail"
    assert check.text.endswith(", 0 jobs at once")


def sound(_paths: ProjectPaths, _monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is wrong."""


def torch_says(monkeypatch: pytest.MonkeyPatch, status: int, told: str) -> None:
    done = CompletedProcess([], status, stdout="" if status else told, stderr=told if status else "")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: done)


def logind_says(monkeypatch: pytest.MonkeyPatch, linger: str, kills: str) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda _command: "/usr/bin/loginctl")
    answers = {"loginctl": linger, "busctl": kills}
    monkeypatch.setattr(doctor, "_first_output", lambda command: answers[command[0]])


def disk_has(monkeypatch: pytest.MonkeyPatch, free_bytes: float) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _where: SimpleNamespace(free=int(free_bytes)))


def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(doctor, "version", version)


def on_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(where: Path) -> None:
        raise StorageError("is on a network file system (nfs4)", where=str(where))

    monkeypatch.setattr(doctor, "check_file_system", refuse)


def on_another_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_systems, "file_system", lambda *_: "9p")


def with_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    see(monkeypatch, FakeNvml(FakeGpu("GPU-a", GIB)))
    torch_says(monkeypatch, 0, "2.15.0 sees no GPU\n")
    # A real probe would import torch.
    monkeypatch.setattr(doctor, "probe_now", lambda *_: "torch does not see the GPU")


def with_waiting_job(paths: ProjectPaths, alive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Store(paths.queue)) as store:
        store.add(new_job("r"))
    monkeypatch.setattr(QueueClient, "scheduler_alive", lambda _client: alive)


def with_queue(
    paths: ProjectPaths, monkeypatch: pytest.MonkeyPatch, setting: str, state: JobState = JobState.QUEUED
) -> None:
    """A queue with one job, and a setting that keeps all jobs from starting."""
    with closing(Store(paths.queue)) as store, store.transaction():
        store.add(new_job("r", state=state))
        if setting == "draining":
            store.settings.write(draining=True)
        elif setting == "stopped":
            store.settings.write(stopped=True)
    monkeypatch.setattr(QueueClient, "scheduler_alive", lambda _client: setting != "stopped")


def with_fault(paths: ProjectPaths) -> None:
    with closing(Store(paths.queue)) as store:
        store.faults.report(FaultKind.SLOTS, "", "the slots cannot be used; mend that")
    with closing(Store(paths.queue)) as store:
        store.faults.report(FaultKind.SLOTS, "", "the slots cannot be used; mend that")


def with_orphan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QueueClient, "orphans", lambda _client: [ProcessIdentity(4711, 1, "boot")])


def with_decoded(paths: ProjectPaths) -> None:
    describe(paths, "mnist")
    (paths.root / "data" / "arrays" / "mnist-v1").mkdir(parents=True)


CASES: list[tuple[str, Callable[[ProjectPaths, pytest.MonkeyPatch], object], Verdict, str]] = [
    ("versions", sound, "ok", "Python 3."),
    ("versions", lambda _, m: not_installed(m), "fail", "torch is not installed"),
    ("torch", lambda _, m: torch_says(m, 0, "2.15.0 sees no GPU\n"), "ok", "torch 2.15.0 sees no GPU"),
    (
        "torch",
        lambda _, m: torch_says(m, 1, "a\nImportError: libc10\n"),
        "fail",
        "imported: ImportError: libc",
    ),
    ("torch", lambda _, m: with_gpu(m), "fail", "though the driver does: versions clash"),
    ("ssh drop", lambda _, m: logind_says(m, "yes", "b true"), "ok", "runs outlive"),
    ("ssh drop", lambda _, m: logind_says(m, "no", "b false"), "ok", "runs outlive"),
    ("ssh drop", lambda _, m: logind_says(m, "no", "b true"), "warn", "run `loginctl enable-linger`"),
    ("ssh drop", lambda _, m: logind_says(m, "", ""), "ok", "logind does not answer"),
    ("disk", lambda _, m: disk_has(m, 50e9), "ok", "50.0 GB free"),
    ("disk", lambda _, m: disk_has(m, 1e9), "warn", "1.0 GB free"),
    ("disk", lambda _, m: disk_has(m, 1e8), "fail", "0.1 GB free"),
    ("file system", sound, "ok", "is on a local file system"),
    ("file system", lambda _, m: on_a_network(m), "fail", "network file system (nfs4)"),
    ("file system", lambda _, m: on_another_file_system(m), "warn", "(9p) that may be one of a network"),
    ("experiments", lambda p, _: p.experiments.unlink(), "fail", "experiments.toml"),
    ("data set", sound, "ok", "digits, it comes with scikit-learn"),
    ("data set", lambda p, _: describe(p, "mnist"), "warn", "the first run downloads it"),
    ("data set", lambda p, _: with_decoded(p), "ok", "mnist, decoded in"),
    ("data set", lambda p, _: describe(p, "imagefolder:gone"), "fail", "no such image folder"),
    ("data set", lambda p, _: describe(p, "digits", 99_999), "fail", "99999 images, but digits has 1437"),
    ("queue", sound, "ok", "empty"),
    ("queue", lambda p, m: with_waiting_job(p, True, m), "ok", "1 not done, scheduler running"),
    ("queue", lambda p, m: with_waiting_job(p, False, m), "warn", "`datasize-tui scheduler start` starts it"),
    ("queue", lambda p, _: p.queue.write_bytes(b"x" * 4096), "fail", "doctor --repair"),
    ("queue", lambda p, m: with_queue(p, m, "draining"), "fail", "no jobs; `datasize-tui drain --off` ends"),
    ("queue", lambda p, m: with_queue(p, m, "draining", JobState.HELD), "warn", "`datasize-tui drain --off`"),
    ("queue", lambda p, m: with_queue(p, m, "draining", JobState.SUCCEEDED), "warn", "it is draining"),
    ("queue", lambda p, m: with_queue(p, m, "stopped"), "fail", "; `datasize-tui scheduler start` starts an"),
    ("queue", lambda p, m: with_queue(p, m, "stopped", JobState.SUCCEEDED), "warn", "was stopped"),
    ("fault", lambda p, _: with_fault(p), "fail", "the slots cannot be used; mend that (met 2 times since"),
    ("slots", lambda p, m: with_queue(p, m, "stopped", JobState.SUCCEEDED), "ok", "no slot"),
    ("orphans", sound, "ok", "no worker is left over"),
    ("orphans", lambda _, m: with_orphan(m), "warn", "ps -fp 4711"),
]


@pytest.mark.parametrize(("name", "harm", "verdict", "words"), CASES)
def test_what_a_check_finds_decides_the_exit_status(
    paths: ProjectPaths,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    harm: Callable[[ProjectPaths, pytest.MonkeyPatch], object],
    verdict: Verdict,
    words: str,
) -> None:
    paths.runs.mkdir(exist_ok=True)
    if name != "torch":
        # Importing it takes seconds.
        monkeypatch.setattr(doctor, "_torch", lambda: Check("torch", "ok", ""))
    harm(paths, monkeypatch)
    status = main(["doctor", "--json", "--project", str(paths.root)])
    checks = [Check(**check) for check in json.loads(capsys.readouterr().out)]
    (found,) = [check for check in checks if check.name == name]
    assert found.verdict == verdict
    assert words in found.text
    assert "\n" not in found.text
    assert status == (1 if verdict == "fail" else 0)
    assert verdict == "fail" or "fail" not in {check.verdict for check in checks}
