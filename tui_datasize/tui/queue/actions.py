"""Which jobs an action of the Queue tab is for, and the facts its dialogs show. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tui_datasize.jobs.commands import CommandKind
from tui_datasize.jobs.state import TRANSITIONS, JobState
from tui_datasize.tui.look.eta import duration
from tui_datasize.tui.look.snapshot import Cell, ExperimentPlan, Snapshot, legend_counts
from tui_datasize.tui.orders import Change
from tui_datasize.tui.widgets.palette import STATE_LOOKS, CellState
from tui_datasize.tui.widgets.text import plural

_WAITING = frozenset({JobState.QUEUED, JobState.HELD, JobState.INTERRUPTED})


@dataclass(frozen=True, slots=True)
class Rule:
    """What an action needs."""

    verb: str
    states: frozenset[JobState]
    """States in which the action means something."""


def _may_become(state: JobState) -> frozenset[JobState]:
    return frozenset(before for before, after in TRANSITIONS.items() if state in after)


RULES: Mapping[CommandKind, Rule] = MappingProxyType(
    {
        CommandKind.HOLD: Rule("hold", _may_become(JobState.HELD)),
        CommandKind.RELEASE: Rule("release", frozenset({JobState.HELD})),
        CommandKind.CANCEL: Rule("cancel", _may_become(JobState.CANCELLED)),
        CommandKind.RETRY: Rule("retry", frozenset({JobState.FAILED, JobState.CANCELLED})),
        CommandKind.PRIORITY: Rule("raise or lower", _WAITING),
        CommandKind.MOVE: Rule("move", _WAITING),
    }
)


def change(kind: CommandKind, targets: Sequence[tuple[str, CellState]], amount: int = 0) -> Change | str:
    """The order for those targets that the action is for, or a sentence why there is none.

    Args:
        kind: What to do.
        targets: Run ids and states, in display order.
        amount: As `CommandKind` says.
    """
    rule = RULES[kind]
    chosen = [run_id for run_id, state in targets if state in rule.states]
    if chosen:
        return Change(kind, tuple(chosen), amount)
    if not targets:
        return f"nothing to {rule.verb}: choose a job first"
    words = sorted({STATE_LOOKS[state].word for _, state in targets})
    subject = "the run is" if len(targets) == 1 else "the runs are"
    return f"nothing to {rule.verb}: {subject} {' or '.join(words)}"


def cancel_facts(order: Change, snapshot: Snapshot) -> list[tuple[str, str]]:
    """What a cancellation would end."""
    states = Counter(snapshot.state_of(run_id) for run_id in order.run_ids)
    rows = [(STATE_LOOKS[state].word, f"{count:,}") for state, count in legend_counts(states)]
    if len(order.run_ids) == 1:
        rows = [("run", order.run_ids[0]), *((word, "") for word, _ in rows)]
    running = sum(count for state, count in states.items() if state is not None and state.is_active)
    if running:
        rows += [("", ""), ("", "What a running job has not saved in its checkpoint is lost.")]
    return rows


def queue_facts(snapshot: Snapshot, plan: ExperimentPlan, cells: Sequence[Cell]) -> list[tuple[str, str]]:
    """What queueing some cells of an experiment would add and cost."""
    present = snapshot.cell_counts(plan)
    present.subtract(snapshot.state_of(cell.run_id) for cell in cells)
    there = ", ".join(f"{count:,} {STATE_LOOKS[state].word}" for state, count in legend_counts(present))
    updates = sum(cell.updates for cell in cells)
    seconds = snapshot.estimate_s(cells)
    slots = plural(snapshot.slots, "slot")
    estimate = f"about {duration(seconds)} on {slots}" if seconds is not None else "time not known yet"
    return [
        ("", plan.title),
        ("", ""),
        ("in all", plural(len(plan.cells), "run")),
        ("there already", there or "none"),
        ("to queue", plural(len(cells), "run")),
        ("cost", f"{updates:,} updates, {estimate}"),
    ]


def to_queue(snapshot: Snapshot, cells: Sequence[Cell]) -> list[Cell]:
    """The cells that queueing would add: the missing and the cancelled ones."""
    return [cell for cell in cells if snapshot.state_of(cell.run_id) in (None, JobState.CANCELLED)]


def detail_facts(snapshot: Snapshot, run_id: str, cell: Cell | None) -> list[tuple[str, str]]:
    """Everything the screen knows of a run."""
    row = next((job for job in snapshot.jobs if job.run_id == run_id), None)
    fact = snapshot.facts.get(run_id)
    rows = [("run", run_id), ("state", STATE_LOOKS[snapshot.state_of(run_id)].word)]
    if row is not None:
        rows += [
            ("reason", row.reason),
            ("attempts", f"{row.attempts} of {row.max_attempts}"),
            ("priority", str(row.priority)),
            ("device", row.device),
        ]
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


def _spec_facts(cell: Cell) -> list[tuple[str, str]]:
    spec = cell.spec
    nested = "nested" if spec.subset.nested else "independent"
    optimizer = spec.optimizer
    clip = "" if spec.clip_grad_norm is None else f", gradient norm at most {spec.clip_grad_norm:g}"
    return [
        ("variant", cell.variant),
        ("data set", spec.dataset),
        ("model", str(spec.model)),
        ("train size", f"{spec.train_size:,} images"),
        ("subset", f"{spec.subset.strategy}, {nested}, draw {spec.subset.seed}"),
        ("seed", str(spec.seed)),
        ("budget", f"{spec.budget.amount:,g} {spec.budget.unit} = {cell.updates:,} updates"),
        ("batch size", str(spec.batch_size)),
        (
            "optimizer",
            f"{optimizer.name}, learning rate {optimizer.lr:g}, weight decay {optimizer.weight_decay:g}"
            + clip,
        ),
    ]
