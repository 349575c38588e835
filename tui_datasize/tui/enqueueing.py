"""From cells of a sweep to the command that queues them, and the facts that decide it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tui_datasize.experiments.budget import total_updates
from tui_datasize.experiments.sources import needed
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.experiments.sweep import order_key
from tui_datasize.jobs.queue.commands import Enqueue, QueueTerms
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.text import duration, lost_evaluations, plural
from tui_datasize.tui.polling.snapshot import Cell, ExperimentPlan, Snapshot, legend_counts
from tui_datasize.tui.widgets.palette import INCOMPLETE, STATE_LOOKS


def enqueue_command(snapshot: Snapshot, cells: Sequence[Cell], terms: QueueTerms) -> Enqueue:
    """The command to queue cells of one experiment, and before them the runs that they take weights from.

    Args:
        snapshot: The experiments as they are now.
        cells: What is queued.
        terms: Their `order` is that of the whole sweep, of which the cells may be a part.
    """
    specs = [cell.spec for cell in cells]
    plans = [plan for plan in snapshot.experiments if plan.name == specs[0].experiment]
    if terms.order:
        # The cells as well: the file may list fewer than when they were asked for.
        sweep = [cell.spec for plan in plans for cell in plan.cells]
        specs.sort(key=order_key([*sweep, *specs], terms.order))
    known = {run.run_id: run for plan in plans for run in plan.sources}
    sources = needed(specs, known)
    lost = (run.run_id for run in (*sources, *specs) if snapshot.state_of(run.run_id) == INCOMPLETE)
    return Enqueue(tuple(specs), snapshot.data_dir, sources, terms, tuple(lost))


def queue_facts(snapshot: Snapshot, plan: ExperimentPlan, cells: Sequence[Cell]) -> list[tuple[str, str]]:
    """What queueing some cells of an experiment would add and cost."""
    present = snapshot.cell_counts(plan)
    present.subtract(snapshot.state_of(cell.run_id) for cell in cells)
    there = ", ".join(
        f"{count:,} {STATE_LOOKS[state].word}" for state, count in legend_counts(present) if state is not None
    )
    lost = sum(snapshot.state_of(cell.run_id) == INCOMPLETE for cell in cells)
    updates = sum(cell.updates for cell in cells)
    seconds = snapshot.time_left.estimate_s(cell.spec for cell in cells)
    slots = snapshot.time_left.slots
    unknown = "time not known yet" if slots else "time not known: there are 0 slots"
    estimate = unknown if seconds is None else f"about {duration(seconds)} on {plural(slots, 'slot')}"
    return [
        ("", plan.title),
        ("", ""),
        ("in all", plural(len(plan.cells), "run")),
        ("there already", there or "none"),
        ("to queue", plural(len(cells), "run") + lost_evaluations(lost)),
        ("cost", f"{updates:,} updates, {estimate}"),
    ]


def refusal(snapshot: Snapshot) -> str:
    """Why nothing can be queued now; empty where it can."""
    if not snapshot.is_ready:
        return "still reading the project"
    return f"Fix before queueing: {snapshot.file_problem}" if snapshot.file_problem else ""


def is_known(snapshot: Snapshot, word: str) -> bool:
    """Whether some job could be meant by a run id, what several begin with, or an experiment."""
    return any(row.run_id.startswith(word) or row.experiment == word for row in snapshot.jobs)


def cells_for(plan: ExperimentPlan, specs: Sequence[RunSpec]) -> list[Cell]:
    """Cells for runs of an experiment, those that its sweep does not list included."""
    known = {cell.run_id: cell for cell in plan.cells}
    return [known.get(spec.run_id) or Cell(spec.run_id, spec, "", total_updates(spec)) for spec in specs]


def to_queue(snapshot: Snapshot, cells: Sequence[Cell]) -> list[Cell]:
    """The cells that queueing would add: the missing, the cancelled and the incomplete ones."""
    return [
        cell for cell in cells if snapshot.state_of(cell.run_id) in (None, JobState.CANCELLED, INCOMPLETE)
    ]
