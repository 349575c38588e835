"""GPUs that are shared: jobs of others, several of ours, memory that fills late, GPUs that go."""

from __future__ import annotations

import selectors
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.unit.fake_nvml import FakeGpu, FakeNvml
from tests.unit.test_store import active_job, new_job
from tui_datasize.experiments.device_settings import DeviceSettings
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.capacity import DeviceCapacity
from tui_datasize.jobs.scheduler.devices import DeviceMonitor
from tui_datasize.jobs.scheduler.placement import MARGIN_BYTES, WaitingJob, place_jobs
from tui_datasize.jobs.scheduler.supervisor import Supervisor
from tui_datasize.jobs.workers.spawn import Worker
from tui_datasize.runlog.identity import ProcessIdentity
from tui_datasize.runlog.paths import ProjectPaths

GIB = 2**30
ME = ProcessIdentity.current()
STRANGER = 1


class Machine:
    """A ledger over fake GPUs, with jobs that run on them."""

    def __init__(
        self, store: Store, root: Path, *gpus: FakeGpu, warm_up_s: float = 0, **settings: int
    ) -> None:
        self.nvml = FakeNvml(*gpus)
        self._store = store
        self._supervisor = Supervisor(store, ProjectPaths(root), selectors.DefaultSelector(), grace_s=1)
        self._monitor = DeviceMonitor(self.nvml, {})
        self._settings = DeviceSettings(**settings)  # type: ignore[arg-type]
        self._warm_up_s = warm_up_s
        self.look()

    def look(self) -> None:
        """A ledger that has looked just now."""
        self.ledger = DeviceCapacity(
            self._monitor, self._settings, self._supervisor, self._store, self._warm_up_s
        )
        self.ledger.update()

    def run(self, run_id: str, device: str, reserved: int = 4) -> None:
        self._store.add(new_job(run_id))
        self._store.begin_attempt(run_id, 1, device, reserved * GIB, "")
        self._store.change(run_id, JobState.RUNNING)
        self._supervisor.add(active_job(self._store, run_id), Worker(ME))

    def placed(self, *peaks: float, alone: bool = False) -> list[str]:
        """Where waiting jobs of these peaks in GiB start."""
        waiting = [WaitingJob(str(n), 0, n, alone, int(peak * GIB)) for n, peak in enumerate(peaks)]
        devices = self.ledger.devices(self.ledger.unclaimed())
        return [p.device for p in place_jobs(waiting, devices, self.ledger.reservations())]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(ProjectPaths(tmp_path).queue)) as store:
        yield store


def test_a_job_of_someone_else_takes_the_only_slot(store: Store, tmp_path: Path) -> None:
    busy, free = FakeGpu("GPU-a", 24 * GIB, processes={STRANGER: GIB}), FakeGpu("GPU-b", 24 * GIB)
    machine = Machine(store, tmp_path, busy, free)
    assert machine.ledger.unclaimed() == {"GPU-a": 0, "GPU-b": 1}
    assert machine.placed(1, 1) == ["GPU-b"]
    busy.processes.clear()
    machine.look()
    assert sorted(machine.placed(1, 1)) == ["GPU-a", "GPU-b"]


def test_slots_are_shared_with_others_up_to_the_most_jobs(store: Store, tmp_path: Path) -> None:
    gpu = FakeGpu("GPU-a", 24 * GIB, processes={STRANGER: GIB, ME.pid: GIB})
    machine = Machine(store, tmp_path, gpu, slots_per_gpu=3)
    machine.run("mine", "GPU-a")
    assert machine.ledger.unclaimed() == {"GPU-a": 1}
    roomy = Machine(store, tmp_path, gpu, slots_per_gpu=3, max_jobs_per_gpu=5)
    roomy.run("mine too", "GPU-a")
    assert roomy.ledger.unclaimed() == {"GPU-a": 2}
    roomy.look()
    assert store.settings.read().slots == 3


def test_screens_are_no_jobs(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(store, tmp_path, FakeGpu("GPU-a", 24 * GIB, processes={STRANGER: GIB}))
    compute = machine.nvml.nvmlDeviceGetComputeRunningProcesses
    monkeypatch.setattr(machine.nvml, "nvmlDeviceGetGraphicsRunningProcesses", compute)
    monkeypatch.setattr(machine.nvml, "nvmlDeviceGetComputeRunningProcesses", lambda _gpu: [])
    machine.look()
    assert machine.ledger.unclaimed() == {"GPU-a": 1}


def test_in_a_container_our_own_jobs_are_not_taken_for_those_of_others(store: Store, tmp_path: Path) -> None:
    host_pid = ME.pid + 1
    gpu = FakeGpu("GPU-a", 24 * GIB, processes={host_pid: GIB})
    machine = Machine(store, tmp_path, gpu, slots_per_gpu=2)
    machine.run("mine", "GPU-a")
    assert machine.ledger.unclaimed() == {"GPU-a": 1}
    gpu.processes[host_pid + 1] = GIB
    machine.look()
    assert machine.ledger.unclaimed() == {"GPU-a": 0}


def test_two_gpus_of_different_size_take_what_fits(store: Store, tmp_path: Path) -> None:
    machine = Machine(store, tmp_path, FakeGpu("GPU-a", 8 * GIB), FakeGpu("GPU-b", 80 * GIB), slots_per_gpu=4)
    assert machine.placed(40, 40, 4) == ["GPU-b", "GPU-a"]


def test_memory_that_fills_late_is_kept_for_whom_it_was_reserved(store: Store, tmp_path: Path) -> None:
    gpu = FakeGpu("GPU-a", 24 * GIB, used_bytes=GIB, processes={ME.pid: GIB})
    machine = Machine(store, tmp_path, gpu, slots_per_gpu=2)
    machine.run("mine", "GPU-a", reserved=16)
    assert machine.placed(12) == []
    assert machine.placed(7) == ["GPU-a"]
    gpu.used_bytes, gpu.processes[ME.pid] = 16 * GIB, 16 * GIB
    machine.look()
    assert machine.placed(7) == ["GPU-a"]
    gpu.used_bytes = 24 * GIB - 7 * GIB - MARGIN_BYTES + 1
    machine.look()
    assert machine.placed(7) == []


def test_a_gpu_that_is_lost_or_damaged_takes_no_more_jobs(store: Store, tmp_path: Path) -> None:
    lost, damaged, sound = (FakeGpu(f"GPU-{name}", 24 * GIB) for name in "abc")
    machine = Machine(store, tmp_path, lost, damaged, sound, slots_per_gpu=2)
    machine.run("mine", "GPU-a")
    assert machine.ledger.unclaimed() == {"GPU-a": 1, "GPU-b": 2, "GPU-c": 2}
    lost.is_lost, damaged.ecc_errors = True, 1
    machine.look()
    assert machine.ledger.unclaimed() == {"GPU-c": 2}
    assert machine.placed(1, 1, 1) == ["GPU-c"]


def test_a_call_that_raises_starts_nothing_and_is_got_over(store: Store, tmp_path: Path) -> None:
    machine = Machine(store, tmp_path, FakeGpu("GPU-a", 24 * GIB))
    machine.nvml.fail_in("nvmlDeviceGetMemoryInfo")
    machine.nvml.reason = "Unknown Error"
    machine.look()
    assert machine.placed(1) == []
    machine.nvml.failing.clear()
    machine.look()
    assert machine.placed(1) == ["GPU-a"]


def test_a_driver_that_tells_no_processes_counts_none(store: Store, tmp_path: Path) -> None:
    machine = Machine(store, tmp_path, FakeGpu("GPU-a", 24 * GIB, processes={STRANGER: GIB}))
    machine.nvml.fail_in("nvmlDeviceGetComputeRunningProcesses")
    machine.look()
    assert machine.ledger.unclaimed() == {"GPU-a": 1}


def test_a_job_that_wants_a_gpu_alone_gets_what_others_leave(store: Store, tmp_path: Path) -> None:
    gpu = FakeGpu("GPU-a", 24 * GIB, processes={STRANGER: GIB})
    machine = Machine(store, tmp_path, gpu, slots_per_gpu=3)
    assert machine.placed(4, alone=True) == ["GPU-a"]
    machine.run("mine", "GPU-a")
    assert machine.placed(4, alone=True) == []
