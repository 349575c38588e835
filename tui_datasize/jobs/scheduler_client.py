"""The scheduler as the app and the commands see it: ask it, look at it, start, stop and restart it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

from tui_datasize.errors import ConfigError, StorageError
from tui_datasize.experiments.device_settings import DeviceOptions, DeviceSettings, as_in_file, shown
from tui_datasize.experiments.keys import rows
from tui_datasize.experiments.project_tables import device_settings
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.database import (
    create_database,
    insert_commands,
    open_database,
    storage_errors,
    transaction,
)
from tui_datasize.jobs.queue.faults import scheduler_has_work
from tui_datasize.jobs.queue.requests import Acknowledgement
from tui_datasize.jobs.queue.settings import QueueSettings, Settings
from tui_datasize.jobs.scheduler import launch
from tui_datasize.jobs.scheduler.lock import read_notes
from tui_datasize.runlog.paths import ProjectPaths

_RESTARTS = 3
"""How often a restart is tried while other clients start schedulers of their own."""
_SIGNAL_S = 5.0
"""Seconds for which the end of a scheduler that was sent a signal is waited for."""
_NOTES_S = 10.0
"""Seconds for which the notes of a scheduler that has started are waited for."""

_FILE = "experiments.toml"
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class SettingInForce:
    """One setting of the devices."""

    name: str
    """As in `[devices]`."""
    value: str
    """As it would stand there."""
    source: str


@dataclass(frozen=True, slots=True)
class SchedulerLook:
    """A project's scheduler, or the next one where none runs."""

    alive: bool
    stopped: bool = False
    """Whether somebody asked it to end, and nobody for another since."""
    slots: int | None = None
    """Jobs that the devices take at once now; None where none runs that has told it."""
    options: DeviceOptions | None = field(default_factory=DeviceOptions)
    """What it was, or will be, started with; None where one runs that does not tell."""
    devices: DeviceSettings | None = field(default_factory=DeviceSettings)
    """What holds, the file included; None as before."""
    file: DeviceSettings = field(default_factory=DeviceSettings)
    """What the project's file says, or the defaults where it is wrong."""
    file_problem: str = ""
    """What is wrong with the file; empty where nothing is."""

    def in_force(self) -> Iterator[SettingInForce]:
        """Every setting that holds, in the order of the file's documentation; none where it is not told."""
        options, devices = self.options, self.devices
        if options is None or devices is None:
            return
        expected = options.over(self.file)
        for name in (row.name for row in rows(DeviceSettings)):
            value = getattr(devices, name)
            if name in options.said:
                source = "option of the scheduler"
            elif self.file_problem:
                source = f"{_FILE} before it was wrong, or default"
            elif value != getattr(expected, name):
                # Only `cold` stays so; the others follow within two seconds.
                source = f"start of the scheduler; a restart takes {self.otherwise(name)}"
            elif value != getattr(self.file, name):
                # Only the most jobs are raised, so that they are not fewer than the slots.
                source = "as slots_per_gpu"
            else:
                source = _FILE if name in self.file.said.said else "default"
            yield SettingInForce(name, _shown(devices, name), source)

    def otherwise(self, name: str) -> str:
        """What holds where no option says anything of a setting: the file's word, or the default.

        >>> SchedulerLook(alive=False).otherwise("packs")
        'auto by default'
        """
        if name in self.file.said.said:
            return f"{as_in_file(self.file.said.said[name])} in {_FILE}"
        return f"{_shown(self.file, name)} by default"


class SchedulerClient:
    """A client of one project's scheduler; cheap to make, used from any thread, may come and go.

    What it starts has `scheduler_options`, those of a command line. Whatever looks at the queue, or asks
    something of it, raises `StorageError` where that cannot be read or written.
    """

    def __init__(self, project: ProjectPaths, *, scheduler_options: Sequence[str] = ()) -> None:
        self.project = project
        self._scheduler_options = tuple(scheduler_options)
        self._device_options = DeviceOptions()

    def send(
        self, kind: CommandKind, run_ids: Sequence[str], amount: int = 0, batch: str = ""
    ) -> Acknowledgement:
        """Ask for a change of jobs, of any kind but ENQUEUE; it is applied as soon as a scheduler runs.

        `amount` is a relative change of the priority, or places to move, negative for up; `batch` names it
        where it takes another back.
        """
        create_database(self.project.queue)
        rows = [(run_id, amount, False, "") for run_id in run_ids]
        with self._database() as connection, transaction(connection):
            return Acknowledgement(insert_commands(connection, kind, rows, batch))

    def settings(self) -> QueueSettings:
        """What holds for the whole queue, acknowledged but not yet applied changes included."""
        return self._read(lambda connection: Settings(connection).read(), QueueSettings())

    def ensure_scheduler(self) -> int | None:
        """Start a detached scheduler unless one runs; the process that was started, as `launch` has it.

        Raises StorageError: it could not start; the message carries the last line of its log.
        """
        options = (*self._scheduler_options, *self._device_options.arguments())
        return launch.ensure_scheduler(self.project, options)

    def keep_scheduler(self) -> bool:
        """Start a scheduler where none runs and it has work; whether it was started.

        None is where somebody stopped it, and asked for no other since.
        """
        # In this order: one that ends in between is then known to have been stopped.
        is_there = self.scheduler_alive() or self.settings().stopped
        if is_there or not self._read(scheduler_has_work, without=False):
            return False
        self.ensure_scheduler()
        return True

    def scheduler_alive(self) -> bool:
        return launch.scheduler_alive(self.project)

    def stop_scheduler(self, timeout_s: float = 10.0, *, for_another: bool = False) -> bool:
        """Ask the scheduler to end; workers go on and are found again by the next one.

        None is started by itself from then on, see `keep_scheduler`, before something is asked of the queue;
        not so where it makes room `for_another`, which anybody may start. Whether none runs any more.
        """
        if self.project.queue.exists():
            try:
                self.send(CommandKind.STOP, [""], int(for_another))
            except StorageError:
                launch.terminate_scheduler(self.project)
        if launch.wait_until(lambda: not self.scheduler_alive(), timeout_s):
            return True
        if not self._is_read():
            launch.terminate_scheduler(self.project)
        return launch.wait_until(lambda: not self.scheduler_alive(), _SIGNAL_S)

    def _is_read(self) -> bool:
        """Whether the scheduler takes in what it is asked: no request to stop waits."""
        with suppress(StorageError), self._database() as connection:
            return not Settings(connection).is_asked_to_stop()
        return False

    def restart_scheduler(self, options: DeviceOptions) -> None:
        """End the scheduler, where one runs, and start another with these options; workers go on.

        Whatever this client starts from then on has these options, too.

        Raises ConfigError: the options contradict the project's file, or that is wrong; nothing was ended.
        Raises StorageError: the scheduler did not end, or the other did not start.
        """
        options.check(device_settings(self.project.root))
        self._device_options = options
        lock = self.project.scheduler_lock
        for _ in range(_RESTARTS):
            # Another client may start one in between, with options of its own.
            pid = self.ensure_scheduler() if self.stop_scheduler(for_another=True) else None
            if pid is None:
                continue
            # What it says of itself, once it does; nothing where it ends before.
            launch.wait_until(lambda: read_notes(lock) is not None or not self.scheduler_alive(), _NOTES_S)
            if (notes := read_notes(lock)) and notes.pid == pid:
                return
        what = "the scheduler did not end, or others started theirs; ask again"
        raise StorageError(what, where=str(self.project.scheduler_log))

    def look_at_scheduler(self) -> SchedulerLook:
        """Whether a scheduler runs, and what holds for the devices."""
        try:
            file, problem = device_settings(self.project.root), ""
        except ConfigError as error:
            file, problem = DeviceSettings(), error.line
        notes, alive = read_notes(self.project.scheduler_lock), self.scheduler_alive()
        options = notes.options if notes else None if alive else self._device_options
        devices = notes.devices if notes else None if alive else self._device_options.over(file)
        told = self.settings()
        slots = told.slots if alive else None
        return SchedulerLook(alive, told.stopped, slots, options, devices, file, problem)

    def scheduler_options(self) -> DeviceOptions:
        """What the scheduler that runs was started with; nothing where none runs or it does not say."""
        notes = read_notes(self.project.scheduler_lock)
        return notes.options if notes else DeviceOptions()

    def _read(self, read: Callable[[sqlite3.Connection], _Value], without: _Value) -> _Value:
        """What is read from the queue, or what holds `without` one."""
        if not self.project.queue.exists():
            return without
        with self._database() as connection:
            # One snapshot for all looks: a command that is applied in between would be in none.
            connection.execute("BEGIN")
            return read(connection)

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        with closing(open_database(self.project.queue)) as connection, storage_errors(self.project.queue):
            yield connection


def _shown(devices: DeviceSettings, name: str) -> str:
    row = next(row for row in rows(DeviceSettings) if row.name == name)
    return shown(row, getattr(devices, name))
