"""Which jobs an action of the Queue tab is for, and what there is to know of a run or experiment. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tui_datasize.jobs.queue.commands import JOB_COMMANDS, CommandKind, nothing_to
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.text import duration, plural
from tui_datasize.tui.polling.snapshot import Cell, ExperimentPlan, Snapshot, legend_counts
from tui_datasize.tui.widgets.palette import INCOMPLETE, STATE_LOOKS, CellState

if TYPE_CHECKING:
    from tui_datasize.experiments.spec import Budget
    from tui_datasize.jobs.queue.paces import TimeEstimate
    from tui_datasize.jobs.queue.reading import Usage
    from tui_datasize.jobs.queue.requests import ChangeJobs


def budget_words(budget: Budget, updates: int) -> str:
    """How long a run trains: in updates, and in what the experiment says if that is another unit.

    >>> from tui_datasize.experiments.spec import Budget
    >>> budget_words(Budget("updates", 150), 150), budget_words(Budget("epochs", 2), 150)
    ('150 updates', '2 epochs = 150 updates')
    """
    told = f"{updates:,} updates"
    return told if budget.unit == "updates" else f"{budget.amount:,g} {budget.unit} = {told}"


def refusal(snapshot: Snapshot) -> str:
    """Why nothing can be queued now; empty where it can."""
    if not snapshot.is_ready:
        return "still reading the project"
    return f"Fix before queueing: {snapshot.file_problem}" if snapshot.file_problem else ""


def to_queue(snapshot: Snapshot, cells: Sequence[Cell]) -> list[Cell]:
    """The cells that queueing would add: the missing, the cancelled, the incomplete and the stranded ones."""
    from tui_datasize.jobs.queue.dependencies import end_of_source

    stranded = {row.run_id for row in snapshot.jobs if end_of_source(row.reason)}
    return [
        cell
        for cell in cells
        if snapshot.state_of(cell.run_id) in (None, JobState.CANCELLED, INCOMPLETE) or cell.run_id in stranded
    ]


def command_on(
    kind: CommandKind, targets: Sequence[tuple[str, CellState]], amount: int = 0
) -> ChangeJobs | str:
    """The command for those run ids, in display order, whose states it is for, or why there is none."""
    from tui_datasize.jobs.queue.requests import ChangeJobs

    applies_to = JOB_COMMANDS[kind].applies_to
    chosen = tuple(run_id for run_id, state in targets if state in applies_to)
    others = Counter(STATE_LOOKS[state].word for _, state in targets if state not in applies_to)
    return ChangeJobs(kind, chosen, amount, others) if chosen else nothing_to(kind, others)


def cancel_facts(command: ChangeJobs, snapshot: Snapshot) -> list[tuple[str, str]]:
    """What a cancellation would end."""
    states = Counter(snapshot.state_of(run_id) for run_id in command.run_ids)
    rows = [(STATE_LOOKS[state].word, f"{count:,}") for state, count in legend_counts(states)]
    if len(command.run_ids) == 1:
        rows = [("run", command.run_ids[0]), *((word, "") for word, _ in rows)]
    running = sum(count for state, count in states.items() if isinstance(state, JobState) and state.is_active)
    if running:
        rows += [("", ""), ("", "What a running job has not saved in its checkpoint is lost.")]
    return rows


def detail_facts(snapshot: Snapshot, run_id: str, cell: Cell | None) -> list[tuple[str, str]]:
    """Everything the screen knows of a run."""
    row = next((job for job in snapshot.jobs if job.run_id == run_id), None)
    fact = snapshot.facts.get(run_id)
    rows = [("run", run_id), ("state", STATE_LOOKS[snapshot.state_of(run_id)].word)]
    if row is not None:
        lost = f"{plural(row.lost_evaluations, 'evaluation')}; queueing the experiment runs it again"
        rows += [
            ("reason", row.reason),
            ("lost", lost if row.lost_evaluations else ""),
            ("waits for", ", ".join(row.waits_for)),
            ("attempts", f"{row.attempts} of {row.max_attempts}"),
            ("interrupted by", row.interrupted_by),
            ("priority", str(row.priority)),
            ("device", row.device),
            ("shares its worker with", ", ".join(other for other in row.pack if other != run_id)),
        ]
    rows += _time_facts(snapshot.time_left.estimates.get(run_id), snapshot.time_left.held_up)
    if fact is not None:
        rows += [
            ("updates", f"{fact.updates:,} of {fact.total_updates:,}"),
            ("test accuracy", "" if fact.test_accuracy is None else f"{100 * fact.test_accuracy:.2f} %"),
            ("test loss", "" if fact.test_loss is None else f"{fact.test_loss:.4f}"),
            ("time", duration(fact.wall_s) if fact.wall_s else ""),
        ]
    if cell is not None:
        rows += _spec_facts(cell)
    if fact is not None:
        rows.append(("directory", fact.directory))
    return [(label, value) for label, value in rows if value]


def _time_facts(estimate: TimeEstimate | None, held_up: str = "") -> list[tuple[str, str]]:
    if estimate is None:
        return []
    if estimate.remaining_s is None:
        why = f": {held_up}" if held_up else " before a run has finished"
        return [("time left", f"not known{why}")]
    rows = [("time left", f"about {duration(estimate.remaining_s)}, from {estimate.basis}")]
    if estimate.ends_in_s is not None:
        rows.append(("done in", f"about {duration(estimate.ends_in_s)}, its turn in the queue included"))
    elif estimate.awaits_cluster:
        rows.append(("done in", "not known: Slurm decides when it begins"))
    return rows


_MOST_BASES = 2
"""What estimates are learned from, told of an experiment."""


def experiment_facts(snapshot: Snapshot, plan: ExperimentPlan, usage: Usage | None) -> list[tuple[str, str]]:
    """Everything the screen knows of an experiment; no usage where none of its runs has had any time."""
    counts = ", ".join(
        f"{count:,} {STATE_LOOKS[state].word}" for state, count in legend_counts(snapshot.cell_counts(plan))
    )
    estimates = [e for e in snapshot.time_left.estimates.values() if e.experiment == plan.name]
    ends_in_s = snapshot.time_left.experiment_ends_in_s.get(plan.name)
    slots = snapshot.time_left.slots
    on = f" on {plural(slots, 'slot')}" if slots and plan.on == "local" else ""
    unknown = f"not known: {why}" if (why := snapshot.time_left.held_up) else "not known yet"
    if away := sum(estimate.awaits_cluster for estimate in estimates):
        unknown = f"not known: Slurm decides when {plural(away, 'run')} {'begins' if away == 1 else 'begin'}"
    left = unknown if ends_in_s is None else f"about {duration(ends_in_s)}{on}"
    bases = Counter(estimate.basis for estimate in estimates if estimate.basis)
    most = bases.most_common(_MOST_BASES)
    learned = ", ".join(f"{basis} ({plural(count, 'run')})" for basis, count in most)
    if others := bases.total() - sum(count for _, count in most):
        learned += f", and others ({plural(others, 'run')})"
    rows = [
        ("experiment", plan.name),
        ("title", plan.title),
        ("problem", plan.problem or plan.told),
        ("data set", plan.dataset),
        ("runs", f"{plan.n_runs:,} in all{counts and ': '}{counts}"),
        ("search", snapshot.searches.get(plan.name, "")),
        ("time left", left if estimates else ""),
        ("learned from", learned),
        ("CPU-hours", _hours(usage.cpu_s) if usage else "0"),
        ("GPU-hours", _hours(usage.gpu_s) if usage else "0"),
    ]
    return [(label, value) for label, value in rows if value]


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.1f}" if seconds >= 36_000 else f"{seconds / 3600:.2g}"


def _spec_facts(cell: Cell) -> list[tuple[str, str]]:
    from tui_datasize.experiments.recipe_columns import recipe_changes

    spec = cell.spec
    nested = "nested" if spec.subset.nested else "independent"
    optimizer = spec.optimizer
    rates = f"{optimizer.name}, learning rate {optimizer.lr:g}, weight decay {optimizer.weight_decay:g}"
    clip = "" if spec.clip_grad_norm is None else f", gradient norm at most {spec.clip_grad_norm:g}"
    return [
        ("variant", cell.variant),
        ("data set", spec.dataset),
        ("model", str(spec.model)),
        ("train size", f"{spec.train_size:,} images"),
        ("subset", f"{spec.subset.strategy}, {nested}, draw {spec.subset.seed}"),
        *([("path", ", ".join(f"{step:,}" for step in spec.subset.path))] if spec.subset.path else []),
        ("seed", str(spec.seed)),
        ("budget", budget_words(spec.budget, cell.updates)),
        ("batch size", str(spec.batch_size)),
        ("optimizer", rates + clip),
        *(
            (name.replace("_", " "), words)
            for name, words in recipe_changes(spec).items()
            if name not in ("batch_size", "optimizer", "clip_grad_norm")
        ),
    ]
