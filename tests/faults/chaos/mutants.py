"""Breakages of the queue, each of which a round has to notice; applied to the processes, not to the files."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

MUTANT_VARIABLE = "DATASIZE_CHAOS_MUTANT"
WITHOUT_CLAIM = "claim"
_SCHEDULER = "tui_datasize.jobs.scheduler.main"


def apply() -> None:
    """Break this process, where that is asked for and it is of the kind that is to be broken."""
    name = os.environ.get(MUTANT_VARIABLE, "")
    if name == "fsync":
        _forget_fsync()
    elif name in _OF_SCHEDULER and _SCHEDULER in sys.orig_argv:
        _OF_SCHEDULER[name]()


def _forget_fsync() -> None:
    """Nothing is synced: neither files nor directories nor the database."""
    os.fsync = lambda _: None
    if "tests.faults.chaos.client" not in sys.orig_argv and _SCHEDULER not in sys.orig_argv:
        return
    import sqlite3

    class Connection(sqlite3.Connection):
        def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
            return super().execute(statement.replace("synchronous = FULL", "synchronous = OFF"), *values)

    connect = sqlite3.connect

    def lax_connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return connect(*arguments, **({"factory": Connection} | options))

    sqlite3.connect = lax_connect  # type: ignore[assignment]


def _replace(owner: object, name: str, value: object) -> None:
    """Put something in the place of what must be there: what is nowhere breaks nothing."""
    if not hasattr(owner, name):
        raise AttributeError(f"{owner} has no {name} to break")
    setattr(owner, name, value)


def _ignore_priority() -> None:
    """A change of priority is answered and never made."""
    from tui_datasize.jobs.queue.store import Store

    change = Store.increase

    def increase(self: Store, run_id: str, column: str, by: int = 1) -> int:
        if column == "priority":
            return int(self.value(run_id, column)) + by
        return change(self, run_id, column, by)

    _replace(Store, "increase", increase)


def _ignore_move() -> None:
    """A move is answered and never made."""
    from tui_datasize.jobs.queue.store import Store

    _replace(Store, "reorder", lambda *_: None)


def _ignore_order() -> None:
    """Both."""
    _ignore_priority()
    _ignore_move()


def _share_slots() -> None:
    """Slots are opened and not locked."""
    from tui_datasize.jobs.workers import slot_file

    _replace(slot_file, "lock_file", lambda *_: True)
    _replace(slot_file, "is_held", lambda *_: False)


def _forget_cancel() -> None:
    """The cancelling of a run under way is answered and never done."""
    from tui_datasize.jobs.queue.store import Store

    write = Store.update

    def update(self: Store, run_id: str, **values: object) -> None:
        if values != {"cancel_requested": 1}:
            write(self, run_id, **values)

    _replace(Store, "update", update)


def _try_endlessly() -> None:
    """A run whose workers vanish is started again however often that was."""
    from tui_datasize.jobs.scheduler import supervisor

    decide = supervisor.decide
    endlessly = partial(replace, max_attempts=sys.maxsize)
    _replace(supervisor, "decide", lambda ending, **more: decide(endlessly(ending), **more))


_OF_SCHEDULER: Mapping[str, Callable[[], None]] = MappingProxyType(
    {
        "attempts": _try_endlessly,
        "cancel": _forget_cancel,
        "move": _ignore_move,
        "order": _ignore_order,
        "priority": _ignore_priority,
        "slots": _share_slots,
    }
)
MUTANTS = (*_OF_SCHEDULER, "fsync", WITHOUT_CLAIM)
