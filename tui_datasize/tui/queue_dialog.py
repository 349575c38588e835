"""The question before an experiment is queued: what it adds and costs, on what terms, and the command."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import DescendantFocus
from textual.screen import ModalScreen
from textual.widgets import Input

from tui_datasize.errors import DatasizeError
from tui_datasize.experiments.budget import total_updates
from tui_datasize.experiments.cluster_settings import Place
from tui_datasize.experiments.load import ORDER_WORDS
from tui_datasize.experiments.load import Order as SweepOrder
from tui_datasize.experiments.sources import needed
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.experiments.sweep import order_key
from tui_datasize.experiments.variants import recipe_of
from tui_datasize.jobs.queue.image_files import check_images, rules_of, told_of_images
from tui_datasize.jobs.queue.requests import Enqueue, QueueTerms
from tui_datasize.jobs.queue.state import MAX_ATTEMPTS, MOST_ATTEMPTS, JobState
from tui_datasize.text import cancelled_left_out, duration, lost_evaluations, plural
from tui_datasize.tui.polling.snapshot import Cell, ExperimentPlan, Snapshot, legend_counts
from tui_datasize.tui.widgets.dialogs import CycleField, answers_text, facts_table, field
from tui_datasize.tui.widgets.palette import INCOMPLETE, STATE_LOOKS, palette_of
from tui_datasize.tui.widgets.plain import Words, titled

_HINTS = {"order": "space ← → change the order", "on": "space ← → change the place"}
_PLACE_WORDS: Mapping[Place, str] = {"local": "on this machine", "slurm": "on the cluster"}


def places_of(plan: ExperimentPlan) -> Sequence[Place]:
    """Where the runs of an experiment may be made, the usual place first."""
    return sorted(_PLACE_WORDS, key=lambda place: place != plan.on) if plan.has_cluster else (plan.on,)


class Chosen(NamedTuple):
    """What is to be queued."""

    cells: Sequence[Cell]
    terms: QueueTerms


class QueueDialog(ModalScreen[Chosen | None]):
    """Yes on enter, with the terms as they stand; None on escape. Cancelled runs come along by `x` alone.

    A word behind `after` must mean some job; an order is asked for where the runs may be queued in another,
    and a place where there are several, of which the first is the usual one.
    """

    AUTO_FOCUS: ClassVar[str | None] = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "accept", "queue", priority=True),
        Binding("x", "include", "cancelled too"),
        Binding("escape", "dismiss(None)", "back"),
    ]

    def __init__(
        self,
        title: str,
        snapshot: Snapshot,
        plan: ExperimentPlan,
        cells: Sequence[Cell],
        is_known: Callable[[str], bool],
        order: SweepOrder | None = None,
    ) -> None:
        """Of `cells` that queueing would add."""
        super().__init__()
        self._places = places_of(plan)
        self._is_known = is_known
        self._order = order
        self._title = title
        self._snapshot, self._plan, self._cells = snapshot, plan, cells
        self._new = [cell for cell in cells if snapshot.state_of(cell.run_id) is not JobState.CANCELLED]
        self._includes = False
        self._facts, self._answers = Words(), Words(classes="answers")

    def compose(self) -> ComposeResult:
        digits = len(str(MOST_ATTEMPTS))
        attempts = Input(str(MAX_ATTEMPTS), type="integer", max_length=digits, id="attempts", compact=True)
        terms = [
            field("after", Input(placeholder="runs or experiments to wait for", id="after", compact=True)),
            field("attempts", attempts),
        ]
        if self._order:
            orders = CycleField(tuple(ORDER_WORDS.items()), self._order, id="order")
            terms.append(field("order", orders))
        if len(self._places) > 1:
            places = CycleField(tuple(_PLACE_WORDS.items()), self._places[0], id="on")
            terms.append(field("on", places))
        box = Vertical(self._facts, *terms, Words("", classes="problem"), self._answers, classes="dialog")
        yield titled(box, self._title)
        self._show()

    def on_mount(self) -> None:
        self.run_worker(self._look(), exit_on_error=False)

    async def _look(self) -> None:
        """Tell of the image files once all are looked at, which may take long."""
        specs, where = [cell.spec for cell in self._cells], self._snapshot.data_dir
        if where is None or not rules_of(specs):
            return
        try:
            told = told_of_images(await asyncio.to_thread(check_images, specs, where))
        except DatasizeError as error:
            told = [error.line]
        await self.query_one(".dialog").mount(Words("\n".join(told)), before=".problem")

    @property
    def chosen(self) -> Sequence[Cell]:
        return self._cells if self._includes else self._new

    def _show(self) -> None:
        palette, cancelled = palette_of(self.app), len(self._cells) - len(self._new)
        out = f"{cancelled:,} cancelled: x leaves them out"
        left = out if self._includes else cancelled_left_out(cancelled, "x")
        facts = queue_facts(self._snapshot, self._plan, self.chosen, left, self._place())
        self._facts.update(facts_table(facts, palette.muted))
        keys = [("enter", f"queue {plural(len(self.chosen), 'run')}"), ("tab", "terms"), ("esc", "back")]
        self._answers.update(answers_text(keys, palette))

    def _place(self) -> Place:
        """Where the runs are to be made."""
        return next((place for place in self._places if place in self._chosen("#on")), self._places[0])

    def on_cycle_field_cycled(self) -> None:
        self._show()

    def action_include(self) -> None:
        self._includes = not self._includes and len(self._cells) > len(self._new)
        self._show()

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        hint = _HINTS.get(event.widget.id or "", "")
        titled(self.query_one(".dialog"), self._title, hint)

    def action_accept(self) -> None:
        after, attempts = (self.query_one(name, Input) for name in ("#after", "#attempts"))
        words = after.value.replace(",", " ").split()
        unknown = next((word for word in words if not self._is_known(word)), None)
        if not self.chosen:
            self._ask_again(None, "0 new runs: x includes those that were cancelled")
        elif not attempts.value.isdecimal() or not 1 <= int(attempts.value) <= MOST_ATTEMPTS:
            self._ask_again(attempts, f"attempts: a whole number from 1 to {MOST_ATTEMPTS:,}")
        elif unknown is not None:
            self._ask_again(after, f"after: no run in the queue begins with {unknown!r}")
        else:
            asked = int(attempts.value)
            others = asked if asked != MAX_ATTEMPTS else None
            terms = QueueTerms(tuple(words), others, self._other_order(), self._place())
            self.dismiss(Chosen(self.chosen, terms))

    def _other_order(self) -> SweepOrder | None:
        """The order that was chosen; None where that is the one in which the runs stand."""
        chosen = self._chosen("#order") - {self._order}
        return next((order for order in ORDER_WORDS if order in chosen), None)

    def _chosen(self, name: str) -> set[str | None]:
        """The value of a field, if there is such a field."""
        return {entry.value for entry in self.query(name).results(CycleField)}

    def _ask_again(self, entry: Input | None, problem: str) -> None:
        self.query_one(".problem", Words).update(problem)
        if entry:
            entry.focus()


def enqueue_command(snapshot: Snapshot, cells: Sequence[Cell], terms: QueueTerms) -> Enqueue:
    """The command to queue cells of one experiment, and before them the runs that they take weights from.

    The `order` of the terms is that of the whole sweep, of which the cells may be a part.
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
    rungs = {run_id: place for plan in plans for run_id, place in plan.rungs.items()}
    return Enqueue(tuple(specs), snapshot.data_dir, sources, terms, tuple(lost), rungs=rungs)


def queue_facts(
    snapshot: Snapshot, plan: ExperimentPlan, cells: Sequence[Cell], left: str, on: Place
) -> list[tuple[str, str]]:
    """What queueing some cells of an experiment would add and cost; `left` says what else could be added."""
    present = snapshot.cell_counts(plan)
    present.subtract(snapshot.state_of(cell.run_id) for cell in cells)
    there = ", ".join(
        f"{count:,} {STATE_LOOKS[state].word}" for state, count in legend_counts(present) if state is not None
    )
    states = Counter(snapshot.state_of(cell.run_id) for cell in cells)
    new = len(cells) - states[JobState.CANCELLED]
    told = (f"{new:,} new" if left else plural(new, "run")) + lost_evaluations(states[INCOMPLETE])
    failed = f"{present[JobState.FAILED]:,} failed: r runs them again" if present[JobState.FAILED] else ""
    updates, later = sum(cell.updates for cell in cells), plan.n_runs - len(plan.cells)
    estimate = time_words(snapshot, [cell.spec for cell in cells], on)
    return [
        ("", plan.title),
        ("", ""),
        ("in all", plural(plan.n_runs, "run") + (f", {later:,} of them on later rungs" if later > 0 else "")),
        ("there already", there or "none"),
        ("to queue", "; ".join(filter(None, (told, left, failed)))),
        ("cost", f"{updates:,} updates, {estimate}"),
        *([("problem", plan.told)] if plan.told else []),
    ]


def time_words(snapshot: Snapshot, specs: Sequence[RunSpec], on: Place = "local") -> str:
    """How long some runs would take with all slots to themselves, by what others took."""
    if on != "local":
        seconds = snapshot.time_left.estimate_s(specs, on)
        return f"about {duration(seconds)} of nodes" if seconds is not None else "time not known yet"
    slots = snapshot.time_left.slots
    seconds = snapshot.time_left.estimate_s(specs)
    if seconds is None:
        return "time not known yet" if slots else "time not known: there are 0 slots"
    return f"about {duration(seconds)} on {plural(slots, 'slot')}"


def is_known(snapshot: Snapshot, word: str) -> bool:
    """Whether some job could be meant by a run id, what several begin with, or an experiment."""
    return any(row.run_id.startswith(word) or row.experiment == word for row in snapshot.jobs)


def cells_for(plan: ExperimentPlan, specs: Sequence[RunSpec]) -> list[Cell]:
    """Cells for runs of an experiment, those that its sweep does not list included."""
    known = {cell.run_id: cell for cell in plan.cells}
    variants = {recipe_of(spec): label for label, spec in {c.variant: c.spec for c in plan.cells}.items()}
    return [
        known.get(spec.run_id)
        or Cell(spec.run_id, spec, variants.get(recipe_of(spec), ""), total_updates(spec))
        for spec in specs
    ]
