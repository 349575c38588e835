"""What Slurm is told of the tasks that it has: to cancel, hold and release them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tui_datasize.jobs.queue.cluster import HandedRun
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.scheduler.slurm.calls import ClusterTask

_NAMES_A_COMMAND = 200
_CHANGES = ("uhold", "release")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Order:
    """One command of Slurm's."""

    words: Sequence[str]
    run_ids: Sequence[str] = ()
    """The runs that it holds or releases."""
    is_hold: bool = False


def orders(
    found: Sequence[HandedRun],
    tasks: Sequence[ClusterTask],
    arrays: Collection[str],
    others: Mapping[str, str],
    *,
    is_draining: bool = False,
) -> Iterator[Order]:
    """What a person did, and an end to what was handed over twice.

    `others` has by the names of their tasks the runs that another submission makes: Slurm may have jobs of
    any name, and those are known by their claims. What is drained begins nothing, and is held.
    """
    by_id = {run.run_id: run for run in found}
    adopted = {name: by_id[run_id] for name, run_id in others.items() if run_id in by_id}
    runs = {(run.array, run.task): run for run in found if run.array}
    cancel, changed = list[ClusterTask](), {word: list[tuple[ClusterTask, str]]() for word in _CHANGES}
    for task in tasks:
        run = adopted.get(task.name) or runs.get((task.array, task.number))
        if task.is_over or (task.array not in arrays and task.name not in adopted):
            continue
        if run is None or (task.name not in adopted and run.job_id not in ("", task.job_id)):
            # Handed over twice. One that runs is in nobody's way: it has the run, or leaves it alone.
            cancel += [task] if task.is_pending else []
        elif _is_unwanted(run, task):
            cancel.append(task)
        elif task.is_pending and (word := _wish(run, task, is_draining=is_draining)):
            changed[word].append((task, run.run_id))
    for part in _parts(cancel):
        yield Order(["scancel", *(task.name for task in part)])
    for word, chosen in changed.items():
        for pairs in _parts(chosen):
            names = ",".join(task.name for task, _ in pairs)
            yield Order(["scontrol", word, names], [run_id for _, run_id in pairs], is_hold=word == "uhold")


def _parts(tasks: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(tasks), _NAMES_A_COMMAND):
        yield tasks[start : start + _NAMES_A_COMMAND]


def _wish(run: HandedRun, task: ClusterTask, *, is_draining: bool) -> str:
    """The word that makes a task that waits what its run is: held, or to begin; empty where it is that."""
    if is_draining or run.state is JobState.HELD:
        # Of one that another queue has handed over it could not be noted, to be undone.
        return "uhold" if run.array and not run.is_held else ""
    return "release" if run.state.is_waiting and (run.is_held or task.is_held_by_slurm) else ""


def _is_unwanted(run: HandedRun, task: ClusterTask) -> bool:
    """Whether Slurm is to end a task, or not to start it."""
    if run.is_outdated:
        return task.is_pending or run.state is not JobState.SUCCEEDED
    return run.cancel_requested
