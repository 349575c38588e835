"""The Analysis tab: the learning curve with its fit, and what the subset draws have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widget import Widget

from tui_datasize.answers.answer import Asked
from tui_datasize.answers.catalogue import QUESTIONS, Entry
from tui_datasize.errors import DatasizeError
from tui_datasize.metric import metric_named
from tui_datasize.tui.analysis.analyst import (
    FITS,
    PAGES,
    Analysed,
    AnalysisChoice,
    Analyst,
    Wish,
    chosen_variant,
    experiment_names,
)
from tui_datasize.tui.analysis.dialogs import (
    AskDialog,
    whether_to_queue,
    which_experiment,
    which_metric,
    which_page,
)
from tui_datasize.tui.analysis.panels import AnalysisPanels, subject
from tui_datasize.tui.analysis.question_list import LEAST_WIDTH, QuestionList
from tui_datasize.tui.chart_pane import CHART_KEYS, ChartPane
from tui_datasize.tui.exports import TableInView
from tui_datasize.tui.keys import KeyGroup, hint_of, keys_of
from tui_datasize.tui.polling.snapshot import EMPTY, ExperimentPlan, Interest, Kept, Snapshot
from tui_datasize.tui.queue.actions import refusal, to_queue
from tui_datasize.tui.queue.lines import TitleLine
from tui_datasize.tui.queue_dialog import Chosen, cells_for, enqueue_command
from tui_datasize.tui.widgets.dialogs import TextDialog
from tui_datasize.tui.widgets.filter_box import FilterBox, FilteredRuns
from tui_datasize.tui.widgets.panel import Panel

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.answers.answer import Answer

BINDINGS: tuple[Binding, ...] = (
    Binding("e", "experiment", "experiment", tooltip="Choose the experiment"),
    Binding("m", "metric", "metric", tooltip="Choose the metric"),
    Binding("t", "ask", "ask", tooltip="Ask: a target, sizes to fit, what the next runs are for"),
    Binding("a", "queue_proposed", "queue", tooltip="Queue the runs that are proposed, after a question"),
    Binding("v", "variant", "variant", tooltip="The next variant of a sweep to the foreground"),
    Binding("p", "page(1)", "page", tooltip="The next page: plan, audit, spread, training curves, ..."),
    Binding("w", "choose_page", "what", show=False, tooltip="Choose a page from the list"),
    Binding("P", "page(-1)", "page before", show=False, tooltip="The page before"),
    Binding("o", "overlap", "overlap", tooltip="Learning curve or overlap, on a low screen"),
    Binding("s", "switch", "switch", tooltip="Another view: single runs, next metric or option, Jaccard"),
    Binding("n", "size(1)", "size", tooltip="Another train size: of the overlap, of single runs"),
    Binding("N", "size(-1)", "size before", show=False, tooltip="The train size before"),
    Binding("i", "words", "words", show=False, tooltip="All of the text beside the chart, to scroll"),
    Binding("f", "fit", "fit", tooltip="Beside the curve: the answer, the forecast, the laws"),
    Binding("slash", "filter", "filter", tooltip="Which runs count, such as size>=1000 draw:0 !lr=0.1"),
    Binding("escape", "back", "back", show=False, tooltip="Drop the filter"),
)
"""In the order in which the line at the bottom shows as many as fit."""


_FIRST_METRIC = "test_accuracy"
_LEAST_WORDS, _MOST_WORDS = 2, 9
"""Rows of the words below a page's chart on a narrow screen, their heading included."""
_LEAST_CHART = 13
"""Rows that words leave to the chart above them, its heading included."""


class AnalysisPane(ChartPane, FilteredRuns, can_focus=True):
    """Shows one experiment and one metric; both are chosen by key."""

    BINDINGS: ClassVar[list[BindingType]] = [*BINDINGS, *CHART_KEYS]

    def __init__(self, analyst: Analyst, *, id: str | None = None) -> None:
        super().__init__(id=id, classes="-one-draw")
        self._analyst = analyst
        self._snapshot: Snapshot = EMPTY
        self.experiment = ""
        self._metric = _FIRST_METRIC
        self._choice = AnalysisChoice()
        self._curves: Analysed | None = None
        self._version = 0
        self._overlap: Answer | None = None
        self._wanted: tuple[object, object] | None = None
        self._settled: object = None
        self._analysed: object = None
        self._failure = ""
        self._page = 0
        self.targets: dict[str, float] = {}
        """By experiment and metric, with a space between: what was asked for last."""
        self._content: Answer | None = None
        self._panels = AnalysisPanels()
        self.charts = self._panels.charts
        self._questions = QuestionList(id="question-list")
        self._asks = TitleLine()
        self._list = Panel("Questions", self._questions, self._asks, id="questions")
        self._offered_of: object = None
        self._missing_of: object = None
        self._turns: list[int] = []
        self._states: Kept[object] = Kept()
        self._filter = FilterBox(self, stays=False)
        self._grid_rows: str | None = None

    def on_unmount(self) -> None:
        self._analyst.close()

    def watch_has_focus(self, _has_focus: bool) -> None:
        """Nothing in it looks otherwise then; called by Textual, which would compute all styles again."""

    def compose(self) -> ComposeResult:
        yield self._filter
        yield self._list
        yield from self._panels.panels

    @property
    def first_focus(self) -> Widget:
        return self

    @property
    def parts(self) -> Sequence[Panel]:
        curve, words, *overlap = self._panels.panels
        return words, curve, *overlap

    def choose_experiment(self, name: str) -> None:
        if name != self.experiment:
            self.experiment = name
            self._curves = self._analysed = self._content = self._overlap = None
            self._choice = AnalysisChoice(fit_to=self._choice.fit_to)
            self._missing_of = None
            self._panels.show_whole()
            self._recall()
            self.post_message(self.InterestChanged())
            self._show_questions()
            self._refresh()

    @property
    def _subject(self) -> str:
        return f"{self.experiment} {self._metric}"

    def _recall(self) -> None:
        target = self.targets.get(self._subject)
        self._choice = replace(self._choice, asked=replace(self._choice.asked, target=target))

    def show(self, snapshot: Snapshot) -> None:
        """Show another moment; computed anew only when the experiment's runs have changed."""
        self._snapshot = snapshot
        names = experiment_names(self._snapshot)
        if self.experiment not in names and names:
            self.experiment = snapshot.liveliest_experiment() or names[0]
            self._recall()
        if snapshot.table is not None and snapshot.table is not self.frame:
            self.take(snapshot.table)
        else:
            self.list_again()

    def list_again(self) -> None:
        self._show_questions()
        self._refresh()

    @property
    def _let_through(self) -> frozenset[str] | None:
        """Run ids that the filter lets through; None without one."""
        has_filter = self.filter_text and self.frame is not None
        return frozenset(self.matching()["run_id"]) if has_filter else None

    def _own(self, runs: pl.DataFrame) -> pl.DataFrame:
        """Those of all runs that are analysed."""
        own, let_through = runs.filter(runs["experiment"] == self.experiment), self._let_through
        return own if let_through is None else own.filter(own["run_id"].is_in(list(let_through)))

    def _show_questions(self) -> None:
        runs, of = self._snapshot.runs, (self.experiment, self._snapshot.runs_version, self.filter_text)
        if runs is not None and of != self._offered_of:
            self._offered_of = of
            self._find_missing(self._own(runs), of)
        self._questions.show(self._page)
        self._asks.show(self._questions.about(self._page))

    @work(exclusive=True, group="missing", exit_on_error=False)
    async def _find_missing(self, runs: pl.DataFrame, of: object) -> None:
        self._questions.missing, self._missing_of = await self._analyst.missing(runs), of
        self._questions.redraw()
        self._asks.show(self._questions.about(self._page))
        turns, self._turns = self._turns, []
        for step in turns:
            self.action_page(step)

    @property
    def is_settled(self) -> bool:
        is_known = self._missing_of == self._offered_of
        return is_known and self._wanted is not None and self._settled == self._wanted

    def table_in_view(self) -> TableInView | None:
        """The learning curve, or where the overlap is in view the pairs of draws."""
        curves = self._curves
        if curves is None or not curves.variants:
            return None
        if page := self._shown_page:
            name, answer = page.name, self._content
        elif self.has_class("-overlap"):
            name, answer = "overlap", self._overlap
        else:
            name, answer = f"curve-{curves.metric}", curves.answers["curve"]
        return TableInView(f"{curves.experiment}-{name}", answer.rows) if answer and answer.rows else None

    def key_groups(self) -> Sequence[KeyGroup]:
        return (keys_of("Analysis", self), self.chart_keys())

    def _refresh(self) -> None:
        choice, runs = self._choice, self._snapshot.runs
        states = self._states.of(
            self._find_states, runs, self.experiment, self.filter_text, self.frame if self.filter_text else ""
        )
        of = (self.experiment, self._metric, states, choice.asked.question(), choice.variant)
        shown = (choice.variant, choice.asked, self._plan) if self._page else ()
        page = (self._page, choice.view, choice.size, *shown)
        if self.experiment and runs is not None and (of, page) != self._wanted:
            self._wanted = (of, page)
            self._analyse()
        self._draw()

    def _find_states(self, runs: pl.DataFrame | None, *_: object) -> object:
        """What an analysis follows from: the runs and how they stand."""
        return None if runs is None else frozenset(self._own(runs).select("run_id", "state").iter_rows())

    # What nobody wants any more is not begun: only the newest wish is worked on.
    @work(exclusive=True, exit_on_error=False)
    async def _analyse(self) -> None:
        every, wanted = self._snapshot.runs, self._wanted
        if every is None or wanted is None:
            return
        runs, (of, _) = self._own(every), wanted
        try:
            if of != self._analysed:
                self._take(await self._analyst.analyse(runs, self._wish))
                self._analysed = of
            if page := self._shown_page:
                self._content = await self._analyst.ask(page, runs, self._wish)
                self._version += 1
            elif self._curves is not None:
                self._overlap = await self._analyst.ask(QUESTIONS["overlap"], runs, self._wish)
                self.set_class(not self._has_overlap, "-one-draw")
                if not self._has_overlap:
                    self.remove_class("-overlap")
        except DatasizeError as error:
            self._fail(error.line)
        except Exception as error:
            # A run directory in a state that nobody foresaw must not end the app.
            self._fail(f"The analysis failed: {type(error).__name__}: {error}")
        self._settled = wanted
        self.refresh_bindings()
        self._draw()

    @property
    def _wish(self) -> Wish:
        choice, plan = self._choice, self._plan
        variants = self._curves.variants if self._curves else ()
        variant = chosen_variant(variants, choice)
        page = self._shown_page
        if variant is None and page and not page.compares_all and variants:
            variant = variants[0]
        let_through, state_of = self._let_through, self._snapshot.state_of
        sweep = tuple(
            cell.spec
            for cell in (plan.cells if plan else ())
            if let_through is None or cell.run_id in let_through or state_of(cell.run_id) is None
        )
        asked = replace(choice.asked, variant=variant, view=choice.view, size=choice.size)
        return Wish(self.experiment, self._metric, asked, sweep, plan.problem if plan else "")

    @property
    def _plan(self) -> ExperimentPlan | None:
        """The experiment in experiments.toml; None where only its runs are left."""
        return self._snapshot.experiment(self.experiment)

    def _take(self, curves: Analysed) -> None:
        """Show an analysis; the overlap of the one before stands until it is known again."""
        self._curves = curves
        self._version += 1
        self._failure = ""
        self.refresh_bindings()
        self._draw()

    @property
    def _has_overlap(self) -> bool:
        """Whether there are draws to compare, or that is not known yet."""
        return self._overlap is None or self._overlap.applies

    def _fail(self, words: str) -> None:
        self._curves = self._analysed = self._content = None
        self._failure = words

    def _draw(self) -> None:
        curves, page, content = self._curves, self._shown_page, self._content
        if curves is None:
            self._panels.show_sentence(self._failure or self._nothing_yet())
        elif self.filter_text and not curves.variants:
            self._panels.show_sentence(f"No run of {self.experiment} matches the filter; esc drops it.")
        elif page is None:
            self._panels.show_curve(self._version, curves, self._choice, self._overlap, self.filter_text)
            self._divide()
        elif content is not None:
            variant = chosen_variant(curves.variants, self._choice)
            whose = subject(self.experiment, variant, self.filter_text)
            curve = curves.answers[self._choice.fit_to]
            is_part = bool(self.filter_text)
            self._panels.show_page(self._version, page, content, whose, curve, is_part=is_part)
            self._divide()

    def _nothing_yet(self) -> str:
        if self.experiment:
            return "Computing …"
        if not self._snapshot.is_ready:
            return "Reading the project …"
        return f"No experiments yet.{hint_of(self, 'build', ' Build one on the Queue tab: b.')}"

    @property
    def _shown_page(self) -> Entry | None:
        return PAGES[self._page - 1] if self._page else None

    def _divide(self) -> None:
        """Leave to a page's chart the rows that its words do not need, and to a curve those a page leaves."""
        brief = self._rows_of_brief_page
        self.set_class(brief is not None, "-brief")
        rows = f"{brief} 1fr" if brief is not None else self._rows_beside_words
        if rows != self._grid_rows:
            self._grid_rows = rows
            self.styles.grid_rows = rows

    @property
    def _rows_beside_words(self) -> str | None:
        is_alone = self._shown_page is not None or self.screen.has_class("-short")
        if self.screen.has_class("-wide") or self.has_class("-overlap") or not is_alone:
            return None
        words = self._panels.rows_of_words(self.outer_size.width)
        most = min(_MOST_WORDS, max(_LEAST_WORDS, self.outer_size.height - _LEAST_CHART))
        return f"1fr {min(most, max(_LEAST_WORDS, words))}"

    @property
    def _rows_of_brief_page(self) -> int | None:
        """Of a page that leaves room for a chart in a large window."""
        if not (self.screen.has_class("-wide") and self.screen.has_class("-tall")):
            return None
        beside = self._list.outer_size.width if self.has_class("-list") else 0
        rows = self._panels.rows_of_page((self.outer_size.width - beside) // 2 - 1)
        return rows if rows is not None and rows <= self.outer_size.height - _LEAST_CHART else None

    def interest(self) -> Interest:
        return Interest(experiment=self.experiment)

    def _turn_to(self, page: int) -> None:
        """Show another page; the learning curve is page 0."""
        self._page, self._content = page % (len(PAGES) + 1), None
        self._choice = replace(self._choice, view=0, size=0)
        self.set_class(bool(self._page), "-page")
        self.remove_class("-overlap")
        self.show_part(0)
        self._panels.show_titles(self._shown_page)
        self._show_questions()
        self.refresh_bindings()
        self._refresh()

    @on(QuestionList.Highlighted, "#question-list")
    def _question_chosen(self, event: QuestionList.Highlighted) -> None:
        page = int(event.key)
        # The list follows pages that are turned by key, and says so late.
        if page == self._page or event.key != self._questions.highlighted:
            return
        if self._is_offered(page):
            self._turn_to(page)
        else:
            self.remark(self._questions.about(page))
            self._asks.show(self._questions.about(page))

    def action_back(self) -> None:
        self._filter.drop()

    def action_experiment(self) -> None:
        if not experiment_names(self._snapshot):
            self.remark("no experiment yet: describe one in experiments.toml")
            return
        dialog = which_experiment(self._snapshot, self.experiment)
        self.app.push_screen(dialog, lambda name: self.choose_experiment(name) if name else None)

    def action_page(self, step: int) -> None:
        if self._missing_of is None:
            self._turns.append(step)  # Which pages these runs have is not known yet.
            return
        following = (self._page + step * further for further in range(1, len(PAGES) + 2))
        self._turn_to(next(page for page in following if self._is_offered(page)))

    def _is_offered(self, page: int) -> bool:
        return not self._questions.missing[page % (len(PAGES) + 1)]

    def action_choose_page(self) -> None:
        dialog = which_page(self._page, self._is_offered)
        self.app.push_screen(dialog, lambda index: self._turn_to(int(index)) if index else None)

    def action_metric(self) -> None:
        self.app.push_screen(which_metric(self._metric), self._choose_metric)

    def _choose_metric(self, name: str | None) -> None:
        if name and name != self._metric:
            self._metric = name
            self._choice = replace(self._choice, asked=self._choice.asked.of_other_metric())
            self._recall()
            self._refresh()

    def action_words(self) -> None:
        entry = self._shown_page or QUESTIONS[self._choice.fit_to]
        self.app.push_screen(TextDialog(entry.title, self._panels.words))

    def action_ask(self) -> None:
        self.app.push_screen(AskDialog(metric_named(self._metric), self._choice.asked), self._take_question)

    def _take_question(self, asked: Asked | None) -> None:
        if asked is not None:
            if self.has_class("-overlap"):
                # What is asked is answered on the curve.
                self.action_overlap()
            self._choice = replace(self._choice, asked=asked)
            self.targets.pop(self._subject, None)
            if asked.target is not None:
                self.targets[self._subject] = asked.target
            self._refresh()

    def action_queue_proposed(self) -> None:
        plan, proposed = self._plan, self._content.proposed if self._content else ()
        refused = refusal(self._snapshot)
        if refused or plan is None or not proposed:
            self.remark(refused or "nothing to queue: the plan says what is missing")
            return
        cells = to_queue(self._snapshot, cells_for(plan, proposed))
        if not cells:
            self.remark("these runs are in the queue already")
            return
        self.app.push_screen(whether_to_queue(self._snapshot, plan, cells), self._queue)

    def _queue(self, chosen: Chosen | None) -> None:
        if chosen is not None:
            self.post_message(self.Requested(enqueue_command(self._snapshot, chosen.cells, chosen.terms)))

    def action_fit(self) -> None:
        following = FITS[(FITS.index(self._choice.fit_to) + 1) % len(FITS)]
        self._choice = replace(self._choice, fit_to=following)
        self._draw()

    def action_variant(self) -> None:
        if self._curves is not None and len(self._curves.variants) > 1:
            variant = (self._choice.variant + 1) % (len(self._curves.variants) + 1)
            self._choice = replace(self._choice, variant=variant)
            self._refresh()

    def action_switch(self) -> None:
        self._choice = replace(self._choice, view=self._choice.view + 1)
        self._refresh()

    def action_size(self, step: int) -> None:
        self._choice = replace(self._choice, size=self._choice.size + step)
        self._refresh()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether the action has a use for what is on the screen."""
        content, curves, is_page = self._content, self._curves, bool(self._page)
        is_low, is_overlap_chosen = self.screen.has_class("-short"), self.has_class("-overlap")
        # A low screen has no room for the curve and the overlap at once.
        is_overlap_alone = not is_page and is_low and is_overlap_chosen
        is_overlap_seen = self._has_overlap and not is_page and (not is_low or is_overlap_chosen)
        uses = {
            "overlap": self._has_overlap and is_low and not is_page,
            "fit": not is_page and not is_overlap_alone,
            "switch": content is not None and content.views > 1 if is_page else is_overlap_seen,
            "size": content is not None and content.sizes > 1 if is_page else is_overlap_seen,
            "queue_proposed": is_page and content is not None and content.proposed is not None,
            "variant": curves is not None and len(curves.variants) > 1 and not is_overlap_alone,
        }
        return uses.get(action, True) and super().check_action(action, parameters)

    def on_resize(self) -> None:
        self.set_class(self.outer_size.width >= LEAST_WIDTH, "-list")
        self._divide()
        self.refresh_bindings()

    def action_overlap(self) -> None:
        self.toggle_class("-overlap")
        self.show_part(0)
        self._divide()
        self.refresh_bindings()
