"""The Queue tab: experiments, the map of cells, the jobs and the log of one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message

from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.text import duration, plural
from tui_datasize.tui.exports import TableInView
from tui_datasize.tui.keys import KeyGroup, is_refused, keys_of
from tui_datasize.tui.pane import Pane
from tui_datasize.tui.polling.snapshot import EMPTY, Cell, ExperimentPlan, Interest, JobRow, Snapshot
from tui_datasize.tui.queue.actions import cancel_facts, command_on, detail_facts, refusal, to_queue
from tui_datasize.tui.queue.cell_map import CellMap
from tui_datasize.tui.queue.experiment_list import ExperimentList
from tui_datasize.tui.queue.job_table import JobTable
from tui_datasize.tui.queue.lines import LegendLine, LogView, TitleLine
from tui_datasize.tui.widgets.dialogs import ConfirmDialog, FollowingDialog, facts_table
from tui_datasize.tui.widgets.filter_box import FilterBox
from tui_datasize.tui.widgets.line_view import LineView
from tui_datasize.tui.widgets.palette import STATE_LOOKS, CellState, palette_of, state_style
from tui_datasize.tui.widgets.panel import Panel

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tui_datasize.experiments.spec import RunSpec
    from tui_datasize.jobs.queue.requests import ChangeJobs, QueueTerms
    from tui_datasize.tui.queue_dialog import Chosen

_QUEUE_ALL = "Queue what is missing; asks for terms: what to wait for (after), how many attempts, the order"

BINDINGS: tuple[Binding, ...] = (
    Binding("a", "queue_all", "queue all", tooltip=_QUEUE_ALL),
    Binding("b", "build", "build", tooltip="Build a sweep by a form: data set, model, sizes, seeds"),
    Binding(
        "B", "build(True)", "build from", show=False, tooltip="The same from the experiment that is chosen"
    ),
    Binding("h,H", "change('hold')", "hold", tooltip="Hold waiting jobs"),
    Binding("u", "change('release')", "release", tooltip="Release held jobs"),
    Binding("c", "cancel", "cancel", tooltip="Cancel jobs, running ones too, after a question"),
    Binding("r", "change('retry')", "retry", tooltip="Queue failed, cancelled or interrupted jobs again"),
    Binding("D", "drain", "drain", tooltip="Finish running jobs and start no others, or start again"),
    Binding("z", "undo", "undo", tooltip="Take the last command back, then the one before"),
    Binding("l,L", "log", "log", tooltip="The log of the job on the whole screen"),
    Binding("slash", "filter", "filter", tooltip="Filter, such as size>=1000 state:failed lr=1e-3 !mlp"),
    Binding("plus,equals_sign", "change('priority', 1)", "raise", tooltip="Raise the priority"),
    Binding("minus", "change('priority', -1)", "lower", tooltip="Lower the priority"),
    Binding("left_square_bracket,K", "change('move', -1)", "up", tooltip="Move up in the queue"),
    Binding("right_square_bracket,J", "change('move', 1)", "down", tooltip="Move down in the queue"),
    Binding("enter,i", "details", "details", tooltip="Everything about the run or experiment"),
    Binding(
        "s", "app.scheduler", "scheduler", tooltip="The scheduler: restart with other options, or stop it"
    ),
    Binding("d", "doctor", "doctor", tooltip="Check everything that a run needs; takes some seconds"),
    Binding("escape", "back", "back", show=False, tooltip="Drop the filter, then the marks"),
)


_REPEATED = (CommandKind.HOLD, CommandKind.RELEASE, CommandKind.PRIORITY, CommandKind.MOVE)
"""What one does several times in a row to the same jobs, or takes back: their marks stay."""


class QueuePane(Pane):
    """Shows what is queued and asks for changes by messages; it changes nothing itself."""

    BINDINGS: ClassVar[list[BindingType]] = [*BINDINGS]

    @dataclass
    class RunChosen(Message):
        """The cursor came to another job."""

        run_id: str

    @dataclass
    class ExperimentChosen(Message):
        """The cursor came to another experiment."""

        name: str

    @dataclass
    class ExperimentAsked(Message):
        """Someone wants to know everything about an experiment."""

        plan: ExperimentPlan

    def __init__(self, project: ProjectPaths, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._project = project
        self._snapshot: Snapshot = EMPTY
        self._to_ask = ""
        """Name of an experiment that is to be queued once it is listed."""
        self._experiments = ExperimentList(id="experiment-list")
        self._title_line = TitleLine()
        self._map = CellMap(id="cell-map")
        self._legend = LegendLine()
        self._jobs = JobTable(id="job-table")
        self._filter = FilterBox(self._jobs)
        self._log = LogView()
        self._panels = (
            Panel("Experiments", self._experiments, self._title_line, id="experiments"),
            Panel("Cells", self._legend, self._map, id="map"),
            Panel("Jobs", self._filter, self._jobs, id="jobs"),
            Panel("Log", self._log, id="log"),
        )

    def compose(self) -> ComposeResult:
        yield from self._panels

    @property
    def first_focus(self) -> LineView:
        return self._experiments

    @property
    def parts(self) -> Sequence[Panel]:
        return self._panels

    def interest(self) -> Interest:
        return Interest(log=self._jobs.highlighted or "", experiment=self.experiment)

    def table_in_view(self) -> TableInView | None:
        runs, shown = self._snapshot.runs, list(self._jobs.keys)
        if runs is None or runs.is_empty():
            return None
        return TableInView("runs", lambda: runs.filter(runs["run_id"].is_in(shown)))

    def key_groups(self) -> Sequence[KeyGroup]:
        return (
            keys_of("Queue", self),
            keys_of("On the map of cells", self._map),
            keys_of("In the table of jobs", self._jobs),
        )

    @property
    def experiment(self) -> str:
        return self._experiments.highlighted or ""

    def select_experiment(self, name: str) -> None:
        self._experiments.select(name)

    def show(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._experiments.show(snapshot)
        if snapshot is not EMPTY:
            self._jobs.show(snapshot)
        self._show_map()
        self._show_notes()
        self._show_log()
        if self._to_ask:
            self._ask_when_listed()

    def _show_log(self) -> None:
        row, tail = self._jobs.current, self._snapshot.log
        is_current = row is not None and tail is not None and tail.run_id == row.run_id
        self._log.show(tail if is_current else None, row.reason or row.interrupted_by if row else "")

    def _show_map(self) -> None:
        plan = self._experiments.current
        self._map.show(self._snapshot, plan)
        self._legend.show(self._snapshot.cell_counts(plan) if plan else {})
        told = plan.problem or plan.told or _listing(plan) if plan else ""
        self._title_line.show(told or (self._snapshot.searches.get(plan.name) or plan.title if plan else ""))

    def _show_notes(self) -> None:
        palette = palette_of(self.app)
        experiments, cells, jobs, log = self._panels
        cell = self._map.current
        notes = []
        if cell is not None:
            state = self._snapshot.state_of(cell.run_id)
            n, draw, seed = cell.spec.train_size, cell.spec.subset.seed, cell.spec.seed
            look = (f" {STATE_LOOKS[state].glyph} {STATE_LOOKS[state].word}", state_style(state, palette))
            for place in (f"n {n:,} · draw {draw} · seed {seed}", f"n{n} d{draw} s{seed}"):
                notes.append(Text.assemble((place, palette.foreground), look))
        cells.show_note(*notes)
        ends_in_s = self._snapshot.time_left.experiment_ends_in_s.get(self.experiment)
        is_listed = ends_in_s is None or self._experiments.lists_times
        left = "" if is_listed else f"{duration(ends_in_s)} left"
        experiments.show_note(Text(left, palette.foreground))
        total, shown, marked = len(self._snapshot.jobs), self._jobs.shown, len(self._jobs.marked)
        count = f"{shown:,} of {total:,}" if shown != total else f"{total:,}" if total else ""
        if marked:
            count = f"{count} · {marked:,} marked"
        jobs.show_note(Text(count, palette.muted))
        log.show_note(Text(self._jobs.highlighted or "", palette.muted))

    @on(ExperimentList.Highlighted, "#experiment-list")
    def _experiment_highlighted(self, event: ExperimentList.Highlighted) -> None:
        self._show_map()
        self._show_notes()
        self.post_message(self.InterestChanged())
        self.post_message(self.ExperimentChosen(event.key))

    @on(JobTable.Highlighted, "#job-table")
    def _job_highlighted(self, event: JobTable.Highlighted) -> None:
        self._show_notes()
        self._show_log()
        self.post_message(self.InterestChanged())
        self.post_message(self.RunChosen(event.key))

    @on(ExperimentList.Opened)
    def _experiment_opened(self) -> None:
        if not self.offer_beginning():
            self._map.focus()

    @on(CellMap.CursorMoved)
    @on(JobTable.MarksChanged)
    @on(FilterBox.Changed)
    def _show_place(self) -> None:
        self._show_notes()

    @on(CellMap.Activated)
    def _cells_activated(self, event: CellMap.Activated) -> None:
        plan = self._experiments.current
        if plan is None:
            return
        if refused := refusal(self._snapshot):
            self.remark(refused)
        elif event.marked:
            from tui_datasize.jobs.queue.requests import QueueTerms

            cells = to_queue(self._snapshot, event.marked)
            self._queue_cells(cells, event.marked, QueueTerms(on=plan.on))
        else:
            self._ask_to_queue(plan)

    def action_build(self, from_this: bool = False) -> None:
        if not self.offer_beginning():
            source = self.experiment if from_this else ""
            self.post_message(self.Begun("building a sweep", self._build(source)))

    async def _build(self, source: str) -> str:
        from tui_datasize.tui.queue.builder import build_sweep

        name, change = await build_sweep(self.app, self._project, source, self._time_of)
        told = self._written(name)
        if name and not change:
            # There is nothing new to be read.
            self._ask_when_listed()
        return told

    def offer_beginning(self) -> bool:
        """Ask what to begin with, where there is nothing yet; whether that is so."""
        is_nothing = self._is_nothing()
        if is_nothing and is_refused(self, "build"):
            self.remark("the project is empty, and read-only: nothing is written from here")
        elif is_nothing:
            self.post_message(self.Begun("beginning", self._offer_beginning()))
        return is_nothing

    def _is_nothing(self) -> bool:
        """Whether there is nothing yet, which the list then says, too."""
        there = self._snapshot.experiments or self._snapshot.jobs or self._project.experiments.exists()
        self._experiments.say_how_to_begin(not there)
        return not there

    async def _offer_beginning(self) -> str:
        from tui_datasize.tui.beginning import begin

        name, told = await begin(self.app, self._project, self._time_of)
        self._is_nothing()
        return told or self._written(name)

    def _time_of(self, specs: Sequence[RunSpec]) -> str:
        from tui_datasize.tui.queue_dialog import time_words

        return time_words(self._snapshot, specs)

    def _written(self, name: str) -> str:
        """Ask whether to queue an experiment once it is read; of none if it has no name."""
        self._to_ask = name
        return f"{name} is in {self._project.experiments.name}" if name else ""

    def _ask_when_listed(self) -> None:
        plan = self._snapshot.experiment(self._to_ask)
        if plan is None or not (plan.is_listed or plan.problem):
            return
        self._to_ask = ""
        self.select_experiment(plan.name)
        if plan.is_listed and not plan.problem:
            self._ask_to_queue(plan)

    def action_queue_all(self) -> None:
        plan = self._experiments.current
        if refused := refusal(self._snapshot):
            self.remark(refused)
        elif plan is None:
            self.remark("no experiment to queue: b builds one")
        elif told := plan.problem or _listing(plan):
            self.remark(told)
        else:
            self._ask_to_queue(plan)

    def _ask_to_queue(self, plan: ExperimentPlan) -> None:
        from tui_datasize.tui.queue_dialog import QueueDialog, is_known

        cells = to_queue(self._snapshot, plan.cells)
        if not cells:
            self.remark(f"all {plural(len(plan.cells), 'run')} of {plan.name} are queued or done already")
            return

        def is_job(word: str) -> bool:
            # As the queue is when it is answered.
            return is_known(self._snapshot, word)

        dialog = QueueDialog(f"Queue {plan.name}?", self._snapshot, plan, cells, is_job, plan.order)
        self.app.push_screen(dialog, self._queue_chosen)

    def _queue_chosen(self, chosen: Chosen | None) -> None:
        if chosen:
            self._queue_cells(chosen.cells, chosen.cells, chosen.terms)

    def _queue_cells(self, cells: Sequence[Cell], asked: Sequence[Cell], terms: QueueTerms) -> None:
        from tui_datasize.tui.queue_dialog import enqueue_command

        if not cells:
            there = f"{plural(len(asked), 'run')} queued or done already"
            self.remark(f"nothing to queue: {there}; `retry` runs failed ones again")
            return
        self._map.clear_marks()
        if not self._jobs.has_focus:
            # New jobs come above those that are done.
            self._jobs.move_to(0)
        self.post_message(self.Requested(enqueue_command(self._snapshot, cells, terms)))

    def _targets(self) -> list[tuple[str, CellState]]:
        """Run ids and states that an action is for: of the list, the map or the table in use."""
        if self._map.has_focus:
            return [(cell.run_id, self._snapshot.state_of(cell.run_id)) for cell in self._map.chosen()]
        if self._experiments.has_focus:
            name = self._experiments.highlighted
            return [(row.run_id, row.shown_state) for row in self._snapshot.jobs if row.experiment == name]
        return [(row.run_id, row.shown_state) for row in self._jobs.chosen()]

    def _change(self, command: ChangeJobs | str) -> None:
        if isinstance(command, str):
            self.remark(command)
            return
        if command.kind not in _REPEATED:
            self._map.clear_marks()
            self._jobs.mark(())
        self.post_message(self.Requested(command))

    def action_change(self, kind: str, amount: int = 0) -> None:
        self._change(command_on(CommandKind(kind), self._targets(), amount))

    def action_cancel(self) -> None:
        command = command_on(CommandKind.CANCEL, self._targets())
        if isinstance(command, str):
            self.remark(command)
            return
        what = plural(len(command.run_ids), "run")
        question = ConfirmDialog(f"Cancel {what}?", cancel_facts(command, self._snapshot), f"cancel {what}")
        self.app.push_screen(question, lambda yes: self._change(command) if yes else None)

    def action_drain(self) -> None:
        if self._snapshot.is_ready:
            from tui_datasize.jobs.queue.requests import Drain

            self.post_message(self.Requested(Drain(not self._snapshot.draining)))

    def action_undo(self) -> None:
        from tui_datasize.jobs.queue.requests import Undo

        self.post_message(self.Requested(Undo()))

    def action_doctor(self) -> None:
        from tui_datasize.tui.doctor_dialog import DoctorDialog

        self.app.push_screen(DoctorDialog(self._project))

    def action_details(self) -> None:
        plan = self._experiments.current
        if self._experiments.has_focus and plan is not None:
            self.post_message(self.ExperimentAsked(plan))
            return
        run_id = self._current_run_id()
        if not run_id:
            self.remark("no run under the cursor")
            return
        cells = (cell for plan in self._snapshot.experiments for cell in plan.cells)
        cell = next((cell for cell in cells if cell.run_id == run_id), None)
        muted = palette_of(self.app).muted

        def details(snapshot: Snapshot) -> RenderableType:
            return facts_table(detail_facts(snapshot, run_id, cell), muted)

        row = self._row(run_id)
        experiment = row.experiment if row else cell.spec.experiment if cell else ""
        path = self._project.run(experiment, run_id).directory.absolute()
        self.app.push_screen(FollowingDialog("Run", details, self._snapshot, str(path)))

    def _row(self, run_id: str) -> JobRow | None:
        return next((row for row in self._snapshot.jobs if row.run_id == run_id), None)

    def _current_run_id(self) -> str:
        if self._map.has_focus:
            return self._map.current.run_id if self._map.current else ""
        return self._jobs.highlighted or ""

    def action_log(self) -> None:
        from tui_datasize.tui.widgets.log_screen import LogScreen

        run_id = self._current_run_id()
        row = self._row(run_id)
        if row is None:
            self.remark("no log yet: the run was never queued" if run_id else "no run under the cursor")
            return
        failed = row.state in (JobState.FAILED, JobState.INTERRUPTED)
        paths, about = self._project.run(row.experiment, run_id), row.reason or row.interrupted_by
        self.app.push_screen(LogScreen(paths, prefer_errors=failed, about=about))

    def action_back(self) -> None:
        if self._filter.value:
            self._filter.drop()
        else:
            self._map.clear_marks()
            self._jobs.mark(())
            self._show_notes()


def _listing(plan: ExperimentPlan) -> str:
    """What is said while the cells of an experiment are listed; empty once they are."""
    return "" if plan.is_listed else f"listing {plural(plan.n_runs, 'run')} …"
