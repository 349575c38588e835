from __future__ import annotations

import errno
import json
import selectors
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from unittest.mock import Mock

import pytest

from tests.unit.fake_nvml import FakeGpu, FakeNvml
from tests.unit.test_store import active_job, new_job
from tui_datasize.experiments.device_settings import DeviceSettings, Packs
from tui_datasize.jobs.queue.gpu_memory import CONTEXT_BYTES, Learned, noted_context
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.capacity import DeviceCapacity
from tui_datasize.jobs.scheduler.devices import DeviceMonitor
from tui_datasize.jobs.scheduler.placement import Device, Reservation
from tui_datasize.jobs.scheduler.supervisor import Supervisor
from tui_datasize.jobs.workers.spawn import Worker
from tui_datasize.runlog.atomic import write_json
from tui_datasize.runlog.claim import ExitRecord, RunOutcome, utc_now
from tui_datasize.runlog.identity import ProcessIdentity
from tui_datasize.runlog.paths import ProjectPaths, RunPaths

GIB = 2**30
ME = ProcessIdentity.current()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(ProjectPaths(tmp_path).queue)) as store:
        yield store


@pytest.fixture
def supervisor(store: Store, tmp_path: Path) -> Supervisor:
    return Supervisor(store, ProjectPaths(tmp_path), selectors.DefaultSelector(), grace_s=1)


def start(
    store: Store,
    supervisor: Supervisor,
    run_id: str,
    device: str,
    *,
    running: bool = True,
    tag: str = "",
    worker: Worker | None = None,
    train_bytes: int | None = None,
) -> None:
    store.add(new_job(run_id, workload=f"workload of {run_id}"))
    store.begin_attempt(run_id, 1, device, 6 * GIB, tag)
    if running:
        store.change(run_id, JobState.RUNNING)
    supervisor.add(active_job(store, run_id), worker or Worker(ME))
    if train_bytes is not None:
        paths = ProjectPaths(store.path.parents[1]).run("letters", run_id)
        paths.directory.mkdir(parents=True)
        noted = {"image_bytes": 784, "train_images_device_bytes": train_bytes}
        paths.provenance.write_text(json.dumps({**noted, "test_images_device_bytes": GIB, "attempt": 1}))


def ledger_of(
    store: Store, supervisor: Supervisor, nvml: FakeNvml, warm_up_s: float = 20, **limits: int | Packs
) -> DeviceCapacity:
    settings = DeviceSettings(**limits)  # type: ignore[arg-type]
    ledger = DeviceCapacity(DeviceMonitor(nvml, {}), settings, supervisor, store, warm_up_s)
    ledger.update()
    return ledger


def test_gpus_have_the_slots_they_are_given_and_faulty_ones_none(
    store: Store, supervisor: Supervisor
) -> None:
    nvml = FakeNvml(FakeGpu("GPU-a", 24 * GIB), FakeGpu("GPU-b", 24 * GIB, ecc_errors=1))
    ledger = ledger_of(store, supervisor, nvml, slots_per_gpu=3)
    assert ledger.capacities() == {"GPU-a": 3}
    start(store, supervisor, "one", "GPU-a")
    assert ledger.unclaimed() == {"GPU-a": 2}
    assert ledger.devices({"GPU-a": 2}) == [Device("GPU-a", 3, 2, 24 * GIB, 24 * GIB, pack_width=8)]


def test_a_queue_begun_on_gpus_waits_for_them_and_not_for_the_cpu(
    store: Store, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_datasize.jobs.scheduler.capacity._READ_INTERVAL_S", 0.0)
    nvml = FakeNvml(FakeGpu("GPU-a", 24 * GIB))
    ledger = ledger_of(store, supervisor, nvml, cpu_slots=2)
    gone, nvml.gpus = nvml.gpus, []
    ledger.update()
    assert (ledger.capacities(), store.settings.read().slots) == ({}, 0)
    nvml.gpus = gone
    ledger.update()
    assert (ledger.capacities(), store.settings.read().slots) == ({"GPU-a": 1}, 1)


def test_devices_that_cannot_be_looked_at_stay_as_they_were(
    store: Store, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: DeviceMonitor) -> None:
        raise OSError(24, "Too many open files")

    ledger = ledger_of(store, supervisor, FakeNvml(FakeGpu("GPU-a", 24 * GIB)))
    before = ledger.capacities()
    monkeypatch.setattr(DeviceMonitor, "read", fail)
    monkeypatch.setattr(ledger, "_read_at_s", float("-inf"))
    ledger.update()
    assert ledger.capacities() == before
    assert before


def test_without_gpus_there_are_cpu_slots(store: Store, supervisor: Supervisor) -> None:
    ledger = ledger_of(store, supervisor, FakeNvml(missing=True), cpu_slots=5)
    assert ledger.capacities() == {"cpu": 5}
    assert ledger.devices({"cpu": 4}) == [Device("cpu", 5, 4)]


@pytest.mark.parametrize(("packs", "gpu", "cpu"), [("off", 1, 1), ("auto", 5, 1), ("always", 5, 5)])
def test_devices_take_packs_where_they_are_wanted(
    store: Store, supervisor: Supervisor, packs: Packs, gpu: int, cpu: int
) -> None:
    for nvml, width in ((FakeNvml(FakeGpu("GPU-a", 24 * GIB)), gpu), (FakeNvml(missing=True), cpu)):
        ledger = ledger_of(store, supervisor, nvml, packs=packs, pack_width=5)
        assert [device.pack_width for device in ledger.devices(ledger.unclaimed())] == [width]


def test_a_pack_takes_one_slot_and_its_memory_is_shared(store: Store, supervisor: Supervisor) -> None:
    worker = Worker(ME, run_ids=("ended", "one", "two", "three"))
    for run_id in ("one", "two", "three"):
        start(store, supervisor, run_id, "GPU-a", tag="t", worker=worker)
    store.add(new_job("waiting"))
    nvml = FakeNvml(FakeGpu("GPU-a", 24 * GIB, used_bytes=9 * GIB, processes={ME.pid: 8 * GIB, 1: GIB}))
    ledger = ledger_of(store, supervisor, nvml, warm_up_s=0, slots_per_gpu=3, max_jobs_per_gpu=4)
    assert ledger.unclaimed() == {"GPU-a": 2}
    assert list(ledger.reservations()) == [Reservation("GPU-a", 18 * GIB, 8 * GIB)]


def test_the_memory_of_a_workload_is_learned_from_its_process_without_images_and_context(
    store: Store, supervisor: Supervisor
) -> None:
    start(store, supervisor, "one", "GPU-a", train_bytes=2 * GIB)
    nvml = FakeNvml(FakeGpu("GPU-a", 24 * GIB, used_bytes=6 * GIB, processes={ME.pid: 5 * GIB, 1: GIB}))
    ledger = ledger_of(store, supervisor, nvml, warm_up_s=0)
    assert store.learned("workload of one") == [Learned(False, 2 * GIB - CONTEXT_BYTES, 784, GIB)]
    assert list(ledger.reservations()) == [Reservation("GPU-a", 6 * GIB, 5 * GIB)]


def test_what_a_process_takes_beyond_its_tensors_is_measured_on_each_card(
    store: Store, supervisor: Supervisor
) -> None:
    worker = Worker(ME)
    start(store, supervisor, "one", "GPU-a", train_bytes=2 * GIB, worker=worker)
    nvml = FakeNvml(FakeGpu("GPU-a", 24 * GIB, used_bytes=5 * GIB, processes={ME.pid: 5 * GIB}))
    assert ledger_of(store, supervisor, nvml).context_bytes == CONTEXT_BYTES
    paths = ProjectPaths(store.path.parents[1]).run("letters", "one")
    noted = json.loads(paths.provenance.read_text())
    paths.provenance.write_text(json.dumps(noted | {"peak_device_memory_bytes": 4 * GIB}))
    write_json(paths.exit, asdict(ExitRecord(1, RunOutcome.SUCCEEDED, "", utc_now())))
    worker.is_gone = True
    assert supervisor.look()
    assert ledger_of(store, supervisor, nvml).context_bytes == GIB
    # Known for this card, driver and torch alone.
    start(store, supervisor, "two", "GPU-a", train_bytes=2 * GIB)
    ledger_of(store, supervisor, nvml)
    assert store.learned("workload of two") == [Learned(False, GIB, 784, GIB)]
    assert store.known_gpus.contexts("another driver") == {}


def test_an_end_is_durable_before_the_queue_relies_on_it(
    store: Store, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, synced = Worker(ME), []
    start(store, supervisor, "one", "GPU-a", train_bytes=2 * GIB, worker=worker)
    paths = ProjectPaths(store.path.parents[1]).run("letters", "one")
    write_json(paths.exit, asdict(ExitRecord(1, RunOutcome.SUCCEEDED, "", utc_now())))
    worker.is_gone = True
    monkeypatch.setattr(
        "tui_datasize.runlog.claim.sync_directory",
        lambda directory: synced.append((directory, store.state("one"))),
    )
    assert supervisor.look()
    assert synced == [(paths.directory, JobState.RUNNING)]
    assert store.state("one") is JobState.SUCCEEDED


def test_no_end_is_believed_that_the_disk_does_not_take(
    store: Store, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(store, supervisor, "one", "GPU-a", train_bytes=2 * GIB, worker=(worker := Worker(ME)))
    paths = ProjectPaths(store.path.parents[1]).run("letters", "one")
    write_json(paths.exit, asdict(ExitRecord(1, RunOutcome.SUCCEEDED, "", utc_now())))
    worker.is_gone = True
    refused = OSError(errno.EIO, "Input/output error", str(paths.directory))
    monkeypatch.setattr("tui_datasize.runlog.claim.sync_directory", Mock(side_effect=refused))
    assert supervisor.look()
    assert store.state("one") is JobState.FAILED


@pytest.mark.parametrize(
    "noted",
    [{}, {"peak_device_memory_bytes": 5 * GIB}, {"peak_device_memory_bytes": GIB, "pack_widths": [2]}],
)
def test_a_run_that_does_not_tell_its_peak_or_had_company_measures_no_context(
    tmp_path: Path, noted: dict[str, object]
) -> None:
    paths = RunPaths(tmp_path)
    paths.provenance.write_text(json.dumps(noted))
    assert noted_context(paths, 5 * GIB) == 0


def test_each_lane_of_a_pack_has_its_part_once_it_is_told_where_all_images_lie(
    store: Store, supervisor: Supervisor
) -> None:
    worker = Worker(ME, run_ids=("one", "two"))
    start(store, supervisor, "one", "GPU-a", tag="t", worker=worker, train_bytes=GIB)
    nvml = FakeNvml(FakeGpu("GPU-a", 24 * GIB, used_bytes=9 * GIB, processes={ME.pid: 9 * GIB}))
    # The second run is not seen, as one that has ended: its memory stays with the process.
    ledger_of(store, supervisor, nvml)
    assert store.learned("workload of one") == []
    start(store, supervisor, "two", "GPU-a", tag="t", worker=worker, train_bytes=3 * GIB)
    ledger_of(store, supervisor, nvml)
    each_bytes = (9 * GIB - CONTEXT_BYTES - GIB - 4 * GIB) // 2
    for run_id in ("one", "two"):
        assert store.learned(f"workload of {run_id}") == [Learned(False, each_bytes, 784, GIB)]


def test_a_job_that_just_started_is_warming_up(store: Store, supervisor: Supervisor) -> None:
    start(store, supervisor, "one", "GPU-a", running=False)
    ledger = ledger_of(store, supervisor, FakeNvml(FakeGpu("GPU-a", 24 * GIB)), warm_up_s=0)
    assert list(ledger.reservations()) == [Reservation("GPU-a", 6 * GIB, 0, warming=True)]


def test_where_processes_cannot_be_told_apart_a_warm_job_has_what_it_reserved(
    store: Store, supervisor: Supervisor
) -> None:
    start(store, supervisor, "one", "GPU-a")
    ledger = ledger_of(
        store, supervisor, FakeNvml(FakeGpu("GPU-a", 24 * GIB, used_bytes=5 * GIB)), warm_up_s=0
    )
    assert list(ledger.reservations()) == [Reservation("GPU-a", 6 * GIB, 6 * GIB)]


def test_who_keeps_a_gpu_taken_is_named_and_a_screen_takes_no_slot(
    store: Store, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_datasize.jobs.scheduler.capacity._READ_INTERVAL_S", 0.0)
    gpu = FakeGpu("GPU-a", 24 * GIB, processes={ME.pid: GIB}, drawing={ME.pid: GIB})
    ledger = ledger_of(store, supervisor, FakeNvml(gpu))
    ledger.update()
    assert (ledger.unclaimed(), store.known_gpus.taken()) == ({"GPU-a": 1}, [])
    gpu.drawing.clear()
    ledger.update()
    ledger.update()
    assert ledger.unclaimed() == {"GPU-a": 0}
    (sentence,) = store.known_gpus.taken()
    assert sentence.startswith("GPU 0 (Fake GPU) is taken by ")
    assert f"(process {ME.pid} of " in sentence
    gpu.processes.clear()
    ledger.update()
    assert store.known_gpus.taken() == []
