"""Starting waiting jobs on free devices: snapshot, placement, commit, spawn."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tui_datasize.experiments.catalogue import takes_preparing
from tui_datasize.experiments.images.named import NamedImages, named_images
from tui_datasize.experiments.packing import pack_key
from tui_datasize.experiments.project_tables import DATA_VARIABLE
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.files import parse_object
from tui_datasize.jobs.queue import gpu_memory
from tui_datasize.jobs.queue.cluster import local_problem
from tui_datasize.jobs.queue.faults import RUNS, FaultKind, faults_of_disk
from tui_datasize.jobs.queue.records import QueuedJob
from tui_datasize.jobs.queue.state import CPU, JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.capacity import DeviceCapacity
from tui_datasize.jobs.scheduler.devices import VISIBLE_VARIABLE, Gpu
from tui_datasize.jobs.scheduler.gpu_probes import GpuProbes
from tui_datasize.jobs.scheduler.pause import StartPause
from tui_datasize.jobs.scheduler.placement import Placement, WaitingJob, place_jobs
from tui_datasize.jobs.scheduler.prepare_data import Images, Preparing
from tui_datasize.jobs.scheduler.prepare_run import prepare_directory
from tui_datasize.jobs.scheduler.slots import Slot, earlier_directories, take_slots, unusable
from tui_datasize.jobs.scheduler.supervisor import Supervisor
from tui_datasize.jobs.scheduler.waiting_projects import WaitingProjects
from tui_datasize.jobs.workers.spawn import ONE_THREAD, SpawnRequest, Worker, cannot_start
from tui_datasize.jobs.workers.warm import Spawner
from tui_datasize.runlog.claim import ATTEMPT_VARIABLE, TAG_VARIABLE
from tui_datasize.runlog.paths import ProjectPaths, RunPaths

_LOG = logging.getLogger(__name__)
_LOOKAHEAD = 32
"""Waiting jobs considered beyond those that free slots take, so that small ones may pass one that does not
fit."""


@dataclass(frozen=True, slots=True)
class _Lane:
    """One job of a worker that is to be started."""

    job: QueuedJob
    paths: RunPaths
    attempt: int
    reserved_bytes: int


@dataclass(frozen=True, slots=True)
class _Start:
    """One committed decision on its way to a worker."""

    lanes: tuple[_Lane, ...]
    placement: Placement
    tag: str


class Dispatcher:
    """Fills free devices with waiting jobs."""

    def __init__(
        self,
        store: Store,
        project: ProjectPaths,
        supervisor: Supervisor,
        spawner: Spawner,
        capacity: DeviceCapacity,
        probes: GpuProbes,
        slots: Path,
        pause: StartPause,
    ) -> None:
        self._store = store
        self._project = project
        self._supervisor = supervisor
        self._spawner = spawner
        self._capacity = capacity
        self._probes = probes
        self._slots = slots
        self._earlier = earlier_directories()
        self.waiting_projects = WaitingProjects(slots, project.root.absolute())
        self._pause = pause
        self._preparing = Preparing(spawner, project)
        self._of_shape = cache(self._read_shape)
        self._loading: bool | None = None
        """As clients know it."""

    def close(self) -> None:
        self.waiting_projects.leave()

    def dispatch(self) -> int:
        """Start what can be started now and return how many jobs that were.

        Raises StorageError: nothing could be written; nothing has been started.
        """
        self._capacity.tell_preparing(self._preparing.under_way())
        has_waiting = self._store.has_waiting()
        if not has_waiting and not len(self._supervisor):
            self._pause.end()
        if not has_waiting:
            # Nobody needs them; a disk that is still full is seen by whoever looks.
            self._store.faults.clear(FaultKind.SLOTS)
            self._store.faults.clear(FaultKind.DISK, RUNS)
        if not has_waiting or not self._look_at_disk() or not self._make_ready():
            self.waiting_projects.leave()
            return 0
        free = self._take_free_slots()
        try:
            self._probe(free)
            try:
                starts = self._prepare(free)
            except OSError as error:
                self._pause.begin(FaultKind.DISK, f"{error.filename}: {error.strerror}")
                return 0
            self._commit(starts)
            active = {job.run_id: job for job in self._store.active()} if starts else {}
            for start in starts:
                worker = self._start(start, free[start.placement.device])
                for lane in start.lanes:
                    self._supervisor.add(active[lane.job.run_id], worker)
            return sum(len(start.lanes) for start in starts)
        finally:
            # The workers have their own copies; what was not needed is free again.
            _close(free)

    def _look_at_disk(self) -> bool:
        """Note a disk that has no room for what runs write; whether it has."""
        fault = next(faults_of_disk(self._project.runs), None)
        if fault:
            self._store.faults.report(fault.kind, fault.subject, fault.sentence)
            return False
        self._store.faults.clear(FaultKind.DISK, RUNS)
        return True

    def _make_ready(self) -> bool:
        """Prepare for starts; whether they are possible now."""
        self._pause.poll()
        if self._pause.lasts():
            return False
        try:
            is_ready = self._spawner.make_ready()
        except OSError as error:
            self._pause.begin(FaultKind.PROCESSES, cannot_start(error))
            return False
        if self._loading is not (not is_ready):
            self._loading = not is_ready
            with self._store.transaction():
                self._store.settings.write(loading=self._loading)
        return is_ready

    def _take_free_slots(self) -> dict[str, list[Slot]]:
        """Lock the free slots of every device, by device; none beyond what our own jobs leave.

        None either while it is the turn of another project that waits for them.
        """
        capacities, unclaimed = self._capacity.capacities(), self._capacity.unclaimed()
        held, project = len(self._supervisor.workers()), self._project.root.absolute()
        free: dict[str, list[Slot]] = {}
        try:
            for device, wanted in unclaimed.items():
                slots = take_slots(self._slots, device, capacities[device], wanted, project, self._earlier)
                free[device] = slots
            taken = sum(map(len, free.values()))
            if self.waiting_projects.give_way(held, taken):
                _close(free)
                free, taken = {device: [] for device in free}, 0
            if taken:
                self.waiting_projects.note_served()
            if taken < sum(unclaimed.values()):
                self.waiting_projects.wait(held + taken)
            else:
                self.waiting_projects.leave()
        except OSError as error:
            _close(free)
            why = f"{unusable(self._slots, error)}; nothing starts until that is fixed"
            self._store.faults.report(FaultKind.SLOTS, "", why)
            return {}
        self._store.faults.clear(FaultKind.SLOTS)
        return free

    def _probe(self, free: dict[str, list[Slot]]) -> None:
        """Have GPUs tried that have yet to show that they work, and keep the slots of those that have."""
        idle = self._capacity.idle_gpus()
        for gpu in self._capacity.report.gpus:
            if self._probes.is_proven(gpu.uuid):
                continue
            is_in_use = self._capacity.has_run(gpu.uuid)
            # One at fault has no slots here. Of others, some must be free, and this project's turn.
            is_possible = gpu in idle and (gpu.uuid not in free or bool(free[gpu.uuid]))
            if is_possible and self._probes.is_due(gpu.uuid):
                is_in_use = not self._start_probe(gpu, free.get(gpu.uuid, []))
            if gpu.uuid in free and not self._probes.may_begin(gpu.uuid, is_in_use=is_in_use):
                _close({gpu.uuid: free.pop(gpu.uuid)})

    def _start_probe(self, gpu: Gpu, slots: list[Slot]) -> bool:
        """Try a GPU where all of its slots can be had, beyond `slots`; False where any run is on it."""
        capacity, project = self._capacity.slots_per_gpu, self._project.root.absolute()
        more: list[Slot] = []
        try:
            more = take_slots(self._slots, gpu.uuid, capacity, capacity - len(slots), project, self._earlier)
            if len(slots) + len(more) < capacity:
                return False
            held = [descriptor for slot in (*slots, *more) for descriptor in slot.descriptors]
            self._pause.watch(self._probes.start(gpu, held))
        except OSError as error:
            self._pause.begin(FaultKind.PROCESSES, cannot_start(error))
        finally:
            _close({gpu.uuid: more})
        return True

    def _prepare(self, free: Mapping[str, Sequence[Slot]]) -> list[_Start]:
        """Decide what starts, and make the run directories for it."""
        devices = self._capacity.devices({device: len(slots) for device, slots in free.items()})
        most = sum(device.free_slots * device.pack_width for device in devices)
        if not most:
            return []
        if self._pause.is_probing:
            jobs = self._pause.first_to_try(self._store.waiting(-1))[: most + _LOOKAHEAD]
        else:
            jobs = self._store.waiting(most + _LOOKAHEAD)
        if any(device.name != CPU for device in devices):
            jobs = self._with_images(jobs, most + _LOOKAHEAD)
        waiting = {job.run_id: job for job in jobs}
        can_share = any(device.pack_width > 1 for device in devices)
        gpu_bytes = max(device.memory_total_bytes or 0 for device in devices)
        candidates = [self._candidate(job, gpu_bytes, can_share=can_share) for job in waiting.values()]
        starts = []
        for placement in place_jobs(candidates, devices, self._capacity.reservations()):
            reserved = zip(placement.run_ids, placement.reserved_bytes, strict=True)
            lanes = [self._prepare_lane(waiting[run_id], need_bytes) for run_id, need_bytes in reserved]
            if ready := tuple(lane for lane in lanes if lane):
                starts.append(_Start(ready, placement, uuid.uuid4().hex))
        return starts[:1] if self._pause.is_probing else starts

    def _with_images(self, jobs: Sequence[QueuedJob], most: int) -> list[QueuedJob]:
        """Those whose images are there; jobs behind them in the queue take the place of others."""
        try:
            ready = [job for job in jobs if self._prepare_images(job)]
            if len(ready) < len(jobs) == most:
                ready = [job for job in self._store.waiting(-1) if self._prepare_images(job)][:most]
        except OSError as error:
            self._pause.begin(FaultKind.PROCESSES, cannot_start(error))
            ready = []
        self._capacity.tell_preparing(self._preparing.under_way())
        return ready

    def _prepare_images(self, job: QueuedJob) -> bool:
        """Have the images of a job prepared; whether they are there."""
        _, images = self._of_shape(job.shape)
        return not images or self._preparing.prepare(Images(images, job.data_dir))

    def _read_shape(self, number: int) -> tuple[str, tuple[NamedImages, ...]]:
        """The key of packs of such jobs; all their images, where some are not there at once."""
        try:
            spec = RunSpec.from_dict(parse_object(self._store.shape(number)))
            key = pack_key(spec)
        except (KeyError, TypeError, ValueError):
            # Of another version: its worker will say what is wrong with it.
            return "", ()
        images = tuple(named_images(spec))
        return key, images if any(takes_preparing(one.name) for one in images) else ()

    def _candidate(self, job: QueuedJob, gpu_bytes: int, *, can_share: bool) -> WaitingJob:
        """A job as placement sees it; without a GPU nothing is asked about its memory."""
        need = None
        if gpu_bytes:
            learned, context_bytes = self._store.learned(job.workload), self._capacity.context_bytes
            need = gpu_memory.need(learned, job.train_size, gpu_bytes, context_bytes)
        # Whatever brought its worker down must not bring down the worker of others.
        key = self._of_shape(job.shape)[0] if can_share and not job.has_vanished else ""
        return WaitingJob(
            *(job.run_id, job.priority, job.position, job.alone),
            peak_bytes=sum(need) if need else None,
            shared_bytes=need[0] if need else 0,
            pack_key=key and f"{key} {job.data_dir}",
        )

    def _prepare_lane(self, job: QueuedJob, reserved_bytes: int) -> _Lane | None:
        """Write the run directory, before anything is committed; a job that cannot have one is held."""
        attempt = local_problem(self._project, job.experiment) or prepare_directory(
            self._project, job, self._project.runs
        )
        if isinstance(attempt, str):
            with self._store.transaction():
                self._store.change(job.run_id, JobState.HELD, attempt)
            return None
        return _Lane(job, self._project.run(job.experiment, job.run_id), attempt, reserved_bytes)

    def _commit(self, starts: Sequence[_Start]) -> None:
        if not starts:
            return
        with self._store.transaction():
            for start in starts:
                device, tag = start.placement.device, start.tag
                for lane in start.lanes:
                    run_id, need_bytes = lane.job.run_id, lane.reserved_bytes
                    self._store.begin_attempt(run_id, lane.attempt, device, need_bytes, tag)

    def _start(self, start: _Start, slots: list[Slot]) -> Worker:
        names = ", ".join(f"{lane.job.run_id} attempt {lane.attempt}" for lane in start.lanes)
        taken = tuple(slots[: start.placement.slots])
        request = SpawnRequest(
            runs=tuple(lane.paths for lane in start.lanes),
            environment=_environment(start),
            tag=start.tag,
            slots=tuple(descriptor for slot in taken for descriptor in slot.descriptors),
            directory=self._project.root.absolute(),
        )
        try:
            worker = self._spawner.start(request)
            _LOG.info("%s: started on %s", names, start.placement.device)
        except OSError as error:
            _LOG.error("%s: %s", names, cannot_start(error))
            worker = Worker.unstarted(error)
        for slot in taken:
            slots.remove(slot)
            slot.close()
        worker.run_ids = tuple(lane.job.run_id for lane in start.lanes)
        self._pause.watch(worker)
        return worker


def _close(free: Mapping[str, Sequence[Slot]]) -> None:
    for slots in free.values():
        for slot in slots:
            slot.close()


def _environment(start: _Start) -> dict[str, str]:
    """What a worker's environment has beyond the scheduler's."""
    data_dir = start.lanes[0].job.data_dir
    environment = {
        **ONE_THREAD,
        TAG_VARIABLE: start.tag,
        ATTEMPT_VARIABLE: ",".join(str(lane.attempt) for lane in start.lanes),
        VISIBLE_VARIABLE: "" if start.placement.device == CPU else start.placement.device,
        "PYTHONUNBUFFERED": "1",
    }
    return environment | ({DATA_VARIABLE: data_dir} if data_dir else {})
