"""GPUs are tried before they take runs; one that fails is at fault, and no run is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import pytest

from tests.fakes import fake_spec
from tests.stand_ins import FakeClock, FakeSpawner
from tests.unit.fake_nvml import FakeGpu, FakeNvml
from tests.unit.test_store import new_job
from tui_datasize.cli import doctor
from tui_datasize.cli.dispatch import main as run_command
from tui_datasize.experiments.device_settings import DeviceSettings
from tui_datasize.experiments.images.named import NamedImages, named_images
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue import known_gpus
from tui_datasize.jobs.queue.faults import Fault, FaultKind
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler import gpu_probes
from tui_datasize.jobs.scheduler.devices import DeviceMonitor
from tui_datasize.jobs.scheduler.gpu_probes import verdict
from tui_datasize.jobs.scheduler.lock import SchedulerLock
from tui_datasize.jobs.scheduler.main import Scheduler, SchedulerSettings
from tui_datasize.jobs.scheduler.slots import all_slots
from tui_datasize.jobs.workers.spawn import SpawnRequest, Worker
from tui_datasize.runlog.atomic import write_json
from tui_datasize.runlog.claim import ATTEMPT_VARIABLE, ExitRecord, RunOutcome, utc_now
from tui_datasize.runlog.identity import ProcessIdentity
from tui_datasize.runlog.paths import ProjectPaths, RunPaths

GIB = 2**30
OLD_DRIVER = {"usable": False, "what": "driver 470 is too old for CUDA 13.0", "fix": "update the driver"}
MANY = 10


class Spawner(FakeSpawner):
    """Probes that end as told, and workers that live until they are ended."""

    def __init__(self) -> None:
        super().__init__()
        self.refusal: dict[str, object] | None = None
        self.asked: list[SpawnRequest] = []
        self.decoders: list[tuple[SpawnRequest, Worker]] = []
        self.is_slow = False
        self.slots_seen: list[bool] = []
        """Whether all slots were held by each of the probes."""

    def call(self, request: SpawnRequest) -> Worker:
        if request.module == "tui_datasize.training.datasets":
            self.decoders.append((request, Worker(ProcessIdentity.current())))
            return self.decoders[-1][1]
        self.asked.append(request)
        device = request.environment["CUDA_VISIBLE_DEVICES"]
        with all_slots(device, 1, Path("/other")) as slots:
            self.slots_seen.append(not slots)
        if self.is_slow:
            return Worker(ProcessIdentity.current())
        if self.refusal:
            request.logs[0].write_text(f"{json.dumps(self.refusal)}\n")
        return Worker(status=int(self.refusal is not None), is_gone=True)

    def worker_of(self, _request: SpawnRequest) -> Worker:
        return Worker()


class Machine:
    """A scheduler with fake GPUs, probes and time, and ten jobs that wait."""

    def __init__(
        self, root: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, stack: ExitStack
    ) -> None:
        self.gpu = FakeGpu("GPU-a", 24 * GIB)
        self.nvml = FakeNvml(self.gpu)
        self.environment: dict[str, str] = {}
        self.project = ProjectPaths(root)
        self.client = QueueClient(self.project)
        self.clock = clock
        self.spawner = Spawner()
        self.limits = DeviceSettings()
        self._stack = stack
        monkeypatch.setattr(
            "tui_datasize.jobs.scheduler.main.DeviceMonitor",
            lambda **asked: DeviceMonitor(self.nvml, self.environment, **asked),
        )
        store = stack.enter_context(_closing(Store(self.project.queue)))
        with store.transaction():
            for number in range(MANY):
                store.add(new_job(f"r{number}"))
        self.begin()

    def begin(self) -> None:
        """Another scheduler takes over, which knows what the database knows."""
        settings = SchedulerSettings(self.project, devices=self.limits)
        scheduler = Scheduler(settings, SchedulerLock(self.project.scheduler_lock), self.spawner)
        self.scheduler = self._stack.enter_context(_closing(scheduler))

    def pass_time(self, seconds: int = 3, step_s: int = 1) -> None:
        for _ in range(0, seconds, step_s):
            self.clock.now_s += step_s
            self.scheduler._step()

    def states(self) -> set[JobState]:
        return {job.state for job in self.client.jobs()}

    def faults(self) -> list[Fault]:
        """What is wrong, but for the scheduler, which is no process here."""
        return [one for one in self.client.faults() if one.kind is not FaultKind.SCHEDULER]

    def fault(self) -> str:
        (fault,) = self.faults()
        assert fault.kind is FaultKind.GPU
        return fault.sentence

    def end_run(self, outcome: RunOutcome, device_fault: str = "") -> RunPaths:
        """End the run that was started last, as its worker does."""
        (run,) = self.spawner.started[-1].runs
        attempt = int(self.spawner.started[-1].environment[ATTEMPT_VARIABLE])
        write_json(run.exit, asdict(ExitRecord(attempt, outcome, device_fault, utc_now(), device_fault)))
        self.spawner.workers[-1].status = 0
        self.spawner.workers[-1].is_gone = True
        return run


class _closing:  # noqa: N801 - as the one of contextlib, for what is closed already, too
    def __init__(self, thing: Store | Scheduler) -> None:
        self._thing = thing

    def __enter__(self):
        return self._thing

    def __exit__(self, *_: object) -> None:
        self._thing.close()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setenv("DATASIZE_SLOTS_DIR", str(tmp_path / "slots"))
    clock = FakeClock()
    for module in ("gpu_probes", "capacity", "main", "supervisor", "active_run"):
        monkeypatch.setattr(f"tui_datasize.jobs.scheduler.{module}.time", clock)
    with ExitStack() as stack:
        yield Machine(tmp_path, clock, monkeypatch, stack)


def test_a_gpu_takes_runs_once_a_probe_has_found_that_it_works(machine: Machine) -> None:
    machine.spawner.is_slow = True
    machine.pass_time()
    assert machine.spawner.started == []
    (asked,) = machine.spawner.asked
    assert asked.environment["CUDA_VISIBLE_DEVICES"] == "GPU-a"
    assert machine.spawner.slots_seen == [True]
    machine.scheduler._probes._running["GPU-a"].worker.is_gone = True
    machine.scheduler._probes._running["GPU-a"].worker.status = 0
    machine.pass_time()
    assert len(machine.spawner.started) == 1
    assert machine.faults() == []


def test_what_workers_need_is_told_while_it_is_loaded(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as loading:
        loading.setattr(machine.spawner, "make_ready", lambda: False)
        machine.pass_time()
    assert machine.client.waits_for_slots() == ""
    monkeypatch.setattr(QueueClient, "scheduler_alive", lambda _: True)
    assert machine.client.waits_for_slots() == "starting: loading PyTorch"
    machine.pass_time()
    assert machine.client.waits_for_slots() == ""
    assert machine.spawner.started


def test_what_a_probe_found_is_kept_for_this_driver_torch_and_boot(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.pass_time()
    machine.end_run(RunOutcome.SUCCEEDED)
    machine.pass_time()
    machine.begin()
    machine.pass_time()
    assert len(machine.spawner.asked) == 1
    for module, what in ((gpu_probes, "boot_id"), (known_gpus, "installed_version")):
        machine.end_run(RunOutcome.SUCCEEDED)
        monkeypatch.setattr(module, what, lambda *_: "another")
        asked = len(machine.spawner.asked)
        machine.begin()
        machine.pass_time()
        assert len(machine.spawner.asked) == asked + 1
    assert machine.states() == {JobState.SUCCEEDED, JobState.STARTING, JobState.QUEUED}


def test_jobs_on_a_gpu_that_fails_its_probe_stay_queued_and_everybody_is_told(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.spawner.refusal = OLD_DRIVER
    machine.pass_time(100)
    assert machine.states() == {JobState.QUEUED}
    assert {job.attempts for job in machine.client.jobs()} == {0}
    # After 10, 20 and 40 seconds.
    assert len(machine.spawner.asked) == 4
    why = "driver 470 is too old for CUDA 13.0; update the driver"
    assert machine.fault() == f"GPU 0 (Fake GPU) takes no jobs: {why}; it is tried again automatically"
    assert machine.client.settings().slots == 0
    monkeypatch.chdir(machine.project.root)
    assert run_command(["status"]) == 1
    assert "driver 470 is too old" in capsys.readouterr().err
    (said,) = doctor._faults(machine.project)
    assert (said.verdict, "driver 470 is too old" in said.text) == ("fail", True)
    # It is mended: no later than after the longest pause everything goes on.
    machine.spawner.refusal = None
    machine.pass_time(300, step_s=10)
    assert machine.faults() == []
    assert len(machine.spawner.started) == 1


def test_the_pauses_grow_up_to_five_minutes_and_another_scheduler_tries_at_once(machine: Machine) -> None:
    machine.spawner.refusal = OLD_DRIVER
    machine.pass_time(10 + 20 + 40 + 80 + 160 + 300 + 300 + 100, step_s=10)
    assert len(machine.spawner.asked) == 8
    machine.begin()
    machine.pass_time()
    assert len(machine.spawner.asked) == 9


def test_a_run_that_loses_its_gpu_starts_again_at_no_cost_once_a_probe_passes(machine: Machine) -> None:
    machine.pass_time()
    machine.spawner.refusal = OLD_DRIVER
    run = machine.end_run(RunOutcome.INTERRUPTED, "the GPU fell off the bus (Xid 79)")
    machine.pass_time()
    assert "GPU 0 (Fake GPU) takes no jobs: the GPU fell off the bus (Xid 79)" in machine.fault()
    job = next(job for job in machine.client.jobs() if job.run_id == run.run_id)
    assert (job.state, job.attempts, job.max_attempts) == (JobState.INTERRUPTED, 1, 4)
    assert "starts again by itself" in job.reason
    machine.pass_time(20)
    assert len(machine.spawner.started) == 1
    assert "driver 470" in machine.fault()
    machine.spawner.refusal = None
    machine.pass_time(40)
    assert len(machine.spawner.started) == 2
    assert machine.faults() == []


def test_a_gpu_that_passes_and_fails_its_runs_again_and_again_is_left_alone_for_longer(
    machine: Machine,
) -> None:
    began_s = []
    for _ in range(6):
        while len(machine.spawner.started) == len(began_s):
            machine.pass_time(1)
        began_s.append(machine.clock.now_s)
        machine.end_run(RunOutcome.INTERRUPTED, "no kernels")
        machine.pass_time(1)
    pauses_s = [later - earlier for earlier, later in pairwise(began_s)]
    assert [round(pause_s, -1) for pause_s in pauses_s] == [10, 20, 40, 80, 160]
    assert JobState.FAILED not in machine.states()


def test_a_probe_waits_while_a_run_of_another_project_is_on_the_gpu(machine: Machine) -> None:
    machine.spawner.refusal = OLD_DRIVER
    with all_slots("GPU-a", 1, Path("/other")):
        machine.pass_time()
        assert machine.spawner.asked == []
    machine.pass_time()
    assert len(machine.spawner.asked) == 1


def test_the_cpu_takes_the_jobs_of_a_gpu_that_fails_only_if_it_is_asked_for(machine: Machine) -> None:
    machine.spawner.refusal = OLD_DRIVER
    machine.pass_time(10)
    assert machine.spawner.started == []
    machine.scheduler._capacity.set_devices(DeviceSettings(cpu=True, cpu_slots=2))
    machine.pass_time()
    assert {request.environment["CUDA_VISIBLE_DEVICES"] for request in machine.spawner.started} == {""}


def lose(machine: Machine) -> None:
    machine.gpu.is_lost = True


def name_another(machine: Machine) -> None:
    machine.environment["CUDA_VISIBLE_DEVICES"] = "MIG-x"


def update_driver(machine: Machine) -> None:
    machine.nvml.fail_in("nvmlInit")
    machine.nvml.reason = "Driver/library version mismatch"
    machine.scheduler._monitor.close()


@pytest.mark.parametrize(
    ("happen", "reason"),
    [
        (lose, "GPU 0 takes no jobs: NVML: GPU is lost"),
        (name_another, "CUDA_VISIBLE_DEVICES=MIG-x names none of 1 on this machine"),
        (update_driver, "Driver/library version mismatch (the driver was updated: restart the machine)"),
    ],
)
def test_without_a_gpu_that_was_meant_nothing_runs_and_status_tells_why(
    machine: Machine, happen, reason: str
) -> None:
    happen(machine)
    machine.pass_time(100)
    assert machine.spawner.started == []
    assert machine.states() == {JobState.QUEUED}
    assert reason in machine.fault()


def test_a_gpu_that_comes_back_is_tried_again(machine: Machine) -> None:
    machine.pass_time()
    machine.gpu.is_lost = True
    machine.pass_time()
    machine.end_run(RunOutcome.SUCCEEDED)
    machine.pass_time()
    machine.gpu.is_lost = False
    machine.pass_time()
    assert len(machine.spawner.asked) == 2
    assert machine.faults() == []


def test_a_probe_that_nothing_ends_is_given_up_and_keeps_its_gpu(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = []
    monkeypatch.setattr(gpu_probes.os, "kill", lambda pid, _number: killed.append(pid))
    machine.spawner.is_slow = True
    machine.pass_time(200, step_s=10)
    assert killed == [os.getpid()]
    assert "its driver does not answer" in machine.fault()
    assert len(machine.spawner.asked) == 1


@pytest.mark.parametrize(
    ("dataset", "image_px", "tests"),
    [
        ("imagefolder:photos", 64, ()),
        ("cifar10", 0, ()),
        ("digits", 0, (("sketch", "imagefolder:sketches"),)),
    ],
)
def test_images_are_fetched_and_decoded_before_a_run_takes_a_gpu_for_them(
    machine: Machine, dataset: str, image_px: int, tests: tuple[tuple[str, str], ...]
) -> None:
    photos = fake_spec(dataset=dataset, image_px=image_px, tests=tests)
    with _closing(Store(machine.project.queue)) as store, store.transaction():
        document = {"spec": photos.to_dict(), "data_dir": "/data"}
        store.add(new_job("photos", priority=9, document=json.dumps(document)))
    machine.pass_time()
    ((request, decoder),) = machine.spawner.decoders
    root, *words = request.arguments
    assert root == str(machine.project.root)
    assert [NamedImages.from_words(json.loads(one)) for one in words] == named_images(photos)
    assert request.environment["DATASIZE_DATA"] == "/data"
    assert request.environment["CUDA_VISIBLE_DEVICES"] == ""
    assert request.slots == ()
    # A job behind it has the GPU meanwhile.
    assert [start.runs[0].run_id for start in machine.spawner.started] == ["r0"]
    told = f"waiting: the images of {dataset} are fetched and decoded before a run takes a GPU"
    assert machine.client.waits_for_slots() == told
    decoder.is_gone = True
    machine.end_run(RunOutcome.SUCCEEDED)
    machine.pass_time()
    assert [start.runs[0].run_id for start in machine.spawner.started] == ["r0", "photos"]
    assert machine.client.waits_for_slots() == ""
    assert len(machine.spawner.decoders) == 1


def test_a_probe_ends_by_itself_though_it_hangs() -> None:
    hanging = "['tests.faults.fake_worker:hang']"
    code = f"from tui_datasize.jobs.scheduler import gpu_probes as g; g.LIMIT_S = 1; g.main({hanging})"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert verdict(done.returncode, done.stdout) == "a convolution did not end within 15 s"


def test_forgotten_gpus_have_no_fault(machine: Machine) -> None:
    machine.spawner.refusal = OLD_DRIVER
    machine.pass_time()
    assert machine.fault()
    QueueClient(machine.project).forget_gpus()
    assert machine.faults() == []


def test_a_scheduler_forgets_gpus_as_soon_as_the_queue_does(machine: Machine) -> None:
    machine.pass_time()
    machine.end_run(RunOutcome.SUCCEEDED)
    machine.client.forget_gpus()
    machine.pass_time()
    # One that is still there is tried again.
    assert len(machine.spawner.asked) == 2
    machine.nvml.gpus.clear()
    machine.pass_time()
    assert "GPU-a) is gone" in machine.scheduler._capacity.report.problem
    machine.client.forget_gpus()
    machine.pass_time()
    assert "is gone" not in machine.scheduler._capacity.report.problem


@pytest.mark.parametrize(
    ("what", "expected"),
    [("", "ok"), (json.dumps(OLD_DRIVER), "fail")],
)
def test_doctor_tries_gpus_that_no_run_is_on(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, what: str, expected: str
) -> None:
    monkeypatch.setattr(doctor, "read_devices", lambda: DeviceMonitor(machine.nvml, {}).read())
    monkeypatch.setattr(doctor, "PROBE_CALL", "tests.faults.fake_worker:probe")
    refusal = machine.project.root / "slots" / "refusal"
    if what:
        refusal.parent.mkdir(mode=0o700, exist_ok=True)
        refusal.write_text(what)
    (check,) = doctor._gpus(machine.project)
    assert (check.name, check.verdict) == ("GPU 0", expected)
    assert ("driver 470 is too old for CUDA 13.0; update the driver" in check.text) == bool(what)
    with all_slots("GPU-a", 1, Path("/other")):
        (check,) = doctor._gpus(machine.project)
    assert (check.verdict, check.text) == ("ok", "a run is on it")


def test_a_gpu_that_doctor_finds_to_work_has_no_fault_without_a_scheduler(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "read_devices", lambda: DeviceMonitor(machine.nvml, {}).read())
    monkeypatch.setattr(doctor, "probe_now", lambda *_: "")
    machine.spawner.refusal = OLD_DRIVER
    machine.pass_time()
    authority = SchedulerLock(machine.project.scheduler_lock)
    assert authority.take()
    list(doctor._gpus(machine.project))
    assert machine.fault()
    authority.release()
    list(doctor._gpus(machine.project))
    assert machine.faults() == []
