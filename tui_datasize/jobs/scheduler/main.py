"""The scheduler of one project: a detached process with the sole right to change the queue.

Runs as `python -m tui_datasize.jobs.scheduler.main --project DIR`. It may be killed at any moment: all it
decides is committed before it is done, and its successor finds everything else in the run directories.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import selectors
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from tui_datasize.errors import EXIT_BAD_INPUT, EXIT_OK, DatasizeError, StorageError
from tui_datasize.experiments.device_settings import DeviceOptions, DeviceSettings, add_device_options
from tui_datasize.experiments.project_tables import device_settings
from tui_datasize.jobs.queue.database import PassingStorageError, protect
from tui_datasize.jobs.queue.faults import FaultKind
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.apply_commands import CommandApplier
from tui_datasize.jobs.scheduler.capacity import DeviceCapacity
from tui_datasize.jobs.scheduler.device_file import DeviceFile
from tui_datasize.jobs.scheduler.device_history import DeviceHistory
from tui_datasize.jobs.scheduler.devices import DeviceMonitor
from tui_datasize.jobs.scheduler.dispatch import Dispatcher
from tui_datasize.jobs.scheduler.gpu_probes import PROBE_CALL, GpuProbes
from tui_datasize.jobs.scheduler.held_open import HeldOpen
from tui_datasize.jobs.scheduler.launch import LONGEST_LOG_BYTES, open_log
from tui_datasize.jobs.scheduler.lock import SchedulerLock
from tui_datasize.jobs.scheduler.notify import Notifier
from tui_datasize.jobs.scheduler.pause import FIRST_PAUSE_S, StartPause
from tui_datasize.jobs.scheduler.slots import slot_directory
from tui_datasize.jobs.scheduler.superseded import put_back
from tui_datasize.jobs.scheduler.supervisor import Supervisor
from tui_datasize.jobs.workers.process import ROOT_VARIABLE, root_mark
from tui_datasize.jobs.workers.spawn import SCARCITIES, ColdSpawner, Worker
from tui_datasize.jobs.workers.warm import Spawner, WarmSpawner
from tui_datasize.programs import python_module
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.text import plural

if TYPE_CHECKING:
    from tui_datasize.jobs.scheduler.slurm.executor import SlurmExecutor

__all__ = ["Scheduler", "SchedulerLock", "SchedulerSettings", "SchedulerStop", "main", "serve"]

WORKER_COMMAND = python_module("tui_datasize.training")
WORKER_CALL = "tui_datasize.training.worker:main"
WORKER_MODULES = (
    "tui_datasize.training.packs.training",
    "tui_datasize.training.measures",
    "torch._dynamo",
)
"""What a worker imports: after its claim, and with it torch, torchvision and polars; for its first
evaluation; for an optimiser.
"""

_LOG = logging.getLogger(__name__)
_TICK_S = 0.1
"""How often acknowledged commands are looked for."""
_DISPATCH_INTERVAL_S = 1.0
"""How often waiting jobs are tried without a cause: others may have freed a slot or memory."""
_TURN_INTERVAL_S = 0.2
"""The same while other projects have slots that this one waits for: they leave it the next one."""
_LOG_INTERVAL_S = 60.0
"""How often the length of the log is looked at."""


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """How a scheduler works; every field has a command-line option."""

    project: ProjectPaths
    idle_s: float = 30.0
    """Seconds without anything to do after which it ends."""
    grace_s: float = 10.0
    """Seconds between TERM and KILL of a cancelled worker."""
    pause_s: float = FIRST_PAUSE_S
    """Seconds for which nothing is started after a fault of the machine, twice as long each time; a database
    that cannot be used is tried again after as many."""
    command: tuple[str, ...] = WORKER_COMMAND
    """Starts a worker cold; the run directory is appended, those of a pack behind `--pack`."""
    call: str = WORKER_CALL
    """`MODULE:FUNCTION` of a warm worker; empty for cold starts."""
    preload: tuple[str, ...] = WORKER_MODULES
    probe: str = PROBE_CALL
    """`MODULE:FUNCTION` that tells whether a GPU works."""
    answer_s: float = 20.0
    """Seconds after which a preloader that has not forked a worker counts as hung and is replaced."""
    squeue_s: float = 5.0
    """Least seconds between two looks at a cluster."""
    devices: DeviceSettings = field(default_factory=DeviceSettings)
    """What holds at first; a change of the project's file changes it."""
    options: DeviceOptions = field(default_factory=DeviceOptions)
    """What wins over the file."""


class Scheduler:
    """Applies commands, watches what runs, and starts what can run."""

    def __init__(
        self,
        settings: SchedulerSettings,
        lock: SchedulerLock,
        spawner: Spawner,
        workers: Mapping[str, Worker] | None = None,
    ) -> None:
        """Open the queue, again where there are `workers` that this spawner has started already, by tag."""
        project = settings.project
        self._settings = settings
        self._lock = lock
        self._spawner = spawner
        self._selector = selectors.DefaultSelector()
        self._store = Store(project.queue, make=workers is None)
        self._pause = StartPause(self._store, settings.pause_s)
        self._supervisor = Supervisor(
            *(self._store, project, self._selector, settings.grace_s, self._pause, workers or {})
        )
        self._applier = CommandApplier(self._store, project)
        self._monitor = DeviceMonitor(
            used=self._store.known_gpus.used, forgettings=self._store.known_gpus.forgettings
        )
        self._device_file = DeviceFile(project, settings.options)
        self._capacity = DeviceCapacity(self._monitor, settings.devices, self._supervisor, self._store)
        self._history = DeviceHistory(project.device_history)
        self._probes = GpuProbes(self._store, spawner, settings.probe)
        self._dispatcher = Dispatcher(
            *(self._store, project, self._supervisor, spawner),
            *(self._capacity, self._probes, slot_directory(), self._pause),
        )
        self._notifier = Notifier(self._store, project)
        self._cluster: SlurmExecutor | None = None
        """None before a run is of one."""
        self._data_version = -1
        self._dispatch_at_s = 0.0
        self._idle_since_s: float | None = None
        self._log_at_s = 0.0
        self._hold(settings.devices)

    @property
    def workers(self) -> Mapping[str, Worker]:
        """Those that this spawner has started, by tag, once it is closed."""
        return self._supervisor.workers_by_tag

    @property
    def stop_requested(self) -> bool:
        return self._applier.stop_requested

    def run(self, stop: SchedulerStop, trouble: DatabaseTrouble) -> None:
        """Work until there is nothing to do, or someone asks to stop, by a signal or a command.

        Raises StorageError: the database or the runs directory cannot be used any more.
        """
        self._store.forget_old_commands()
        self._supervisor.refresh()
        while not (stop.requested or self._try_to_end()):
            self._step()
            trouble.ends()
            self._wait()

    def dismiss_old_stops(self, newest: int) -> None:
        self._applier.dismiss_old_stops(newest)

    def close(self) -> None:
        """Give everything back; workers go on."""
        if self._cluster:
            self._cluster.close()
        self._applier.close()
        self._dispatcher.close()
        self._probes.close()
        self._supervisor.close()
        self._selector.close()
        self._monitor.close()
        self._store.close()

    def _step(self) -> None:
        applied = self._apply_commands()
        if self.stop_requested:
            # Before all that may fail.
            return
        if devices := self._device_file.poll():
            self._hold(devices)
            self._capacity.set_devices(self._devices)
        self._capacity.update()
        self._history.note(self._capacity.report)
        self._spawner.poll()
        has_probed = self._probes.look(self._capacity.report)
        has_ended = self._supervisor.look()
        for device, why in self._supervisor.take_lost_gpus().items():
            self._probes.set_aside(device, why)
        if applied or has_probed or has_ended or time.monotonic() >= self._dispatch_at_s:
            self._dispatcher.dispatch()
            pause_s = (
                _TURN_INTERVAL_S if self._dispatcher.waiting_projects.is_waiting else _DISPATCH_INTERVAL_S
            )
            self._dispatch_at_s = time.monotonic() + min(pause_s, self._pause.left_s() or pause_s)
        self._notifier.poll()
        self._look_at_cluster()
        put_back(self._store, self._settings.project, self._applier.at)
        if time.monotonic() >= self._log_at_s:
            self._log_at_s = time.monotonic() + _LOG_INTERVAL_S
            _shorten_log(self._settings.project.scheduler_log)

    def _look_at_cluster(self) -> None:
        if self._cluster is None:
            if not self._store.cluster.has_work():
                # Nobody needs it.
                self._store.faults.clear(FaultKind.CLUSTER)
                return
            # Only here: most queues have no such run.
            from tui_datasize.jobs.scheduler.slurm.calls import SlurmCommands
            from tui_datasize.jobs.scheduler.slurm.executor import SlurmExecutor

            settings = self._settings
            self._cluster = SlurmExecutor(
                *(self._store, settings.project, settings.command, SlurmCommands(), settings.squeue_s)
            )
        self._cluster.step()

    def _hold(self, devices: DeviceSettings) -> None:
        """Let clients know what holds from now on; how workers start does not change."""
        self._devices = replace(devices, cold=not self._settings.call)
        self._lock.note(self._settings.options, self._devices)

    def _apply_commands(self) -> int:
        version = self._store.data_version()
        if version == self._data_version:
            return 0
        applied = self._applier.apply_pending()
        if applied:
            self._supervisor.refresh()
        else:
            # Only once all are applied: a change between the two looks is seen at the next step.
            self._data_version = version
        return applied

    def _wait(self) -> None:
        """Sleep until a worker ends, the spawner has news, or it is time to look again."""
        news = list(self._spawner.descriptors())
        for descriptor in news:
            self._selector.register(descriptor, selectors.EVENT_READ)
        try:
            for key, _ in self._selector.select(min(_TICK_S, self._supervisor.next_look_s())):
                if key.fd in news:
                    self._dispatch_at_s = 0.0
                else:
                    self._supervisor.wake(key.fd)
        finally:
            for descriptor in news:
                self._selector.unregister(descriptor)

    def _try_to_end(self) -> bool:
        """Give the lock back once there has been nothing to do for long enough; whether that was done."""
        # In this order: what lies on a disk that goes in between has not been deleted.
        has_lock, has_queue = self._lock.is_in_place(), self._store.is_in_place()
        if not (has_lock and has_queue):
            project = self._settings.project
            what = project.scheduler_lock if has_queue else project.queue
            _LOG.error("%s was moved or deleted; the next scheduler makes a new one", what)
            return True
        if not self._applier.stop_requested:
            if self._has_work():
                self._idle_since_s = None
                return False
            if self._idle_since_s is None:
                self._idle_since_s = time.monotonic()
            if time.monotonic() < self._idle_since_s + self._settings.idle_s:
                return False
        return self._give_lock_back()

    def _give_lock_back(self) -> bool:
        """Give the lock back, unless that leaves somebody waiting who has seen it held; whether it was."""
        self._lock.release()
        try:
            # Who has seen it held has committed before this look.
            is_called = bool(self._store.pending_commands(1)) and not self._applier.stops_unanswered
        except StorageError as error:
            # Without the right to schedule nothing is tried again.
            _LOG.error("%s", error.line)
            return True
        if is_called and self._lock.take():
            self._hold(self._devices)
            return False
        return True

    def _has_work(self) -> bool:
        return bool(
            len(self._supervisor)
            or self._store.has_waiting()
            or self._store.cluster.has_work()
            or self._store.pending_commands(1)
            or self._notifier.is_busy()
        )


class SchedulerStop:
    """Notes that a signal asked to end; a hang-up of the terminal is ignored."""

    def __init__(self) -> None:
        self.requested = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True

    def wait(self, timeout_s: float) -> bool:
        """Wait for as long, or until it is asked; whether it was."""
        deadline_s = time.monotonic() + timeout_s
        while not self.requested and time.monotonic() < deadline_s:
            # A handler that only notes cuts no sleep short.
            time.sleep(_TICK_S)
        return self.requested


@dataclass(eq=False)
class DatabaseTrouble:
    """What keeps a scheduler from its database: said once, for however long it lasts.

    The database cannot tell clients of it; the notes of the scheduler do.
    """

    _lock: SchedulerLock
    _line: str = field(default="", init=False)
    _times: int = field(default=0, init=False)

    def meet(self, error: StorageError) -> None:
        self._times += 1
        if error.line != self._line:
            self._line = error.line
            _LOG.error("%s", error.line)
            self._lock.tell_fault(f"{error.line}; nothing starts or changes until that is fixed")

    def ends(self) -> None:
        if self._line:
            _LOG.info("over, met %s: %s", plural(self._times, "time"), self._line)
            self._line, self._times = "", 0
            self._lock.tell_fault("")


def serve(settings: SchedulerSettings) -> None:
    """Schedule until there is nothing to do; faults of storage that may pass are waited for.

    Raises StorageError: the queue cannot be used, and waiting would not help.
    """
    stop = SchedulerStop()
    # Before the lock tells others that the queue is served: a stop from then on is meant for this one.
    with closing(Store(settings.project.queue)) as store:
        newest = store.newest_command()
    protect(settings.project.queue)
    os.environ[ROOT_VARIABLE] = root_mark(settings.project.root)
    lock = SchedulerLock(settings.project.scheduler_lock)
    if not lock.take():
        _LOG.info("another scheduler has the queue")
        return
    cold = ColdSpawner(settings.command)
    spawner = WarmSpawner(settings.preload, settings.call, cold, settings.answer_s) if settings.call else cold
    _LOG.info("scheduler of %s begins", settings.project.root)
    trouble, held = DatabaseTrouble(lock), HeldOpen(settings.project, lock, spawner)
    try:
        first = Scheduler(settings, lock, spawner)
        first.dismiss_old_stops(newest)
        scheduler: Scheduler | None = first
        while scheduler and not _runs_to_its_end(scheduler, stop, trouble):
            scheduler = _open_again(settings, held, stop, trouble, scheduler.workers)
    finally:
        spawner.close()
        lock.release()
    _LOG.info("scheduler ends")


def _runs_to_its_end(scheduler: Scheduler, stop: SchedulerStop, trouble: DatabaseTrouble) -> bool:
    try:
        with _scarcity_passes():
            scheduler.run(stop, trouble)
    except PassingStorageError as error:
        trouble.meet(error)
        return scheduler.stop_requested
    finally:
        scheduler.close()
    return True


def _open_again(
    settings: SchedulerSettings,
    held: HeldOpen,
    stop: SchedulerStop,
    trouble: DatabaseTrouble,
    workers: Mapping[str, Worker],
) -> Scheduler | None:
    """Wait until the database can be used again; None where someone asks to stop, or schedules, before."""
    # Who comes first once a disk is back knows best how the workers ended if it has started them.
    while not stop.wait(settings.pause_s if held.lock.is_taken else _TICK_S):
        try:
            with _scarcity_passes():
                return Scheduler(settings, held.lock, held.spawner, workers) if held.renew() else None
        except PassingStorageError as error:
            trouble.meet(error)
    return None


@contextmanager
def _scarcity_passes() -> Iterator[None]:
    """Have this process wait for descriptors, processes or memory, as for a database that cannot be used."""
    try:
        yield
    except (OSError, ImportError) as error:
        # What an extension module could not be loaded for is told in words alone.
        number = error.errno if isinstance(error, OSError) else None
        if number not in SCARCITIES and os.strerror(errno.EMFILE) not in str(error):
            raise
        what = os.strerror(number or errno.EMFILE)
        where = getattr(error, "filename", None) or getattr(error, "path", None) or "the scheduler"
        fix = "end other programs or raise its limits"
        raise PassingStorageError(what, where=str(where), fix=fix) from error


def _shorten_log(path: Path) -> None:
    """Begin the log anew where it has grown long; output that goes elsewhere is left alone."""
    # Whoever cannot write it goes on with the one that is open.
    with suppress(OSError):
        if os.path.samestat(os.fstat(2), path.stat()) and path.stat().st_size > LONGEST_LOG_BYTES:
            with open_log(path) as log:
                for output in (1, 2):
                    os.dup2(log.fileno(), output)


def main(argv: Sequence[str] | None = None) -> int:
    """Read the options and serve; what goes wrong is one line on stderr."""
    arguments = _parser().parse_args(argv)
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    try:
        with _scarcity_passes():
            serve(_settings(arguments))
    except DatasizeError as error:
        print(error.line, file=sys.stderr)
        return EXIT_BAD_INPUT
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tui_datasize.jobs.scheduler.main", description=__doc__)
    default = SchedulerSettings(ProjectPaths(Path()))
    parser.add_argument("--project", type=Path, required=True, help="project directory")
    parser.add_argument("--idle-s", type=float, default=default.idle_s, help="end after this long idle")
    parser.add_argument("--grace-s", type=float, default=default.grace_s, help="time between TERM and KILL")
    parser.add_argument("--pause-s", type=float, default=default.pause_s, help="first wait after a fault")
    parser.add_argument("--worker", default=shlex.join(default.command), help="command of a cold worker")
    parser.add_argument("--call", default=default.call, help="MODULE:FUNCTION of a warm worker")
    parser.add_argument("--preload", default=",".join(default.preload), help="modules, commas between")
    parser.add_argument("--probe", default=default.probe, help="MODULE:FUNCTION that tries a GPU")
    parser.add_argument(
        "--answer-s", type=float, default=default.answer_s, help="a hung preloader is replaced"
    )
    parser.add_argument("--squeue-s", type=float, default=default.squeue_s, help="time between squeues")
    add_device_options(parser)
    return parser


def _settings(arguments: argparse.Namespace) -> SchedulerSettings:
    """The options over `[devices]` of the project's `experiments.toml`."""
    options = DeviceOptions.of(arguments)
    devices = options.over(device_settings(arguments.project))
    return SchedulerSettings(
        project=ProjectPaths(arguments.project.absolute()),
        idle_s=arguments.idle_s,
        grace_s=arguments.grace_s,
        pause_s=arguments.pause_s,
        command=tuple(shlex.split(arguments.worker)),
        call="" if devices.cold else arguments.call,
        probe=arguments.probe,
        preload=tuple(filter(None, arguments.preload.split(","))),
        answer_s=arguments.answer_s,
        squeue_s=arguments.squeue_s,
        devices=devices,
        options=options,
    )


if __name__ == "__main__":
    sys.exit(main())
