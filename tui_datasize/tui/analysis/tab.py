"""The Analysis tab: the learning curve with its fit, and what the subset draws have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widget import Widget

from tui_datasize.errors import DatasizeError
from tui_datasize.tui.analysis.analyst import Analyst, Wish
from tui_datasize.tui.analysis.bindings import BINDINGS, InView
from tui_datasize.tui.analysis.choice import FITS, AnalysisChoice, chosen_curve, experiment_names
from tui_datasize.tui.analysis.curve_chart import draw_curve
from tui_datasize.tui.analysis.exports import curve_in_view, overlap_in_view
from tui_datasize.tui.analysis.fit_text import fit_lines
from tui_datasize.tui.analysis.headings import classes_notes, curve_note, fit_note, matrix_note, subject
from tui_datasize.tui.analysis.overlap_views import OverlapView, chosen_overlap, draw_classes, draw_matrix
from tui_datasize.tui.analysis.pages.catalogue import LEARNING_CURVE, PAGES
from tui_datasize.tui.analysis.words_view import WordsView
from tui_datasize.tui.charts.lines import sentence
from tui_datasize.tui.exporting import TableInView
from tui_datasize.tui.keys import KeyGroup, keys_of
from tui_datasize.tui.look.snapshot import EMPTY, Snapshot
from tui_datasize.tui.pane import Pane
from tui_datasize.tui.widgets.chart_view import ChartView, Drawer
from tui_datasize.tui.widgets.dialogs import ChooseDialog
from tui_datasize.tui.widgets.palette import palette_of
from tui_datasize.tui.widgets.panel import Panel

if TYPE_CHECKING:
    from tui_datasize.analysis.summary import Analysis
    from tui_datasize.tui.analysis.pages.page import Content, Page

_FIRST_METRIC = "test_accuracy"
_LEAST_WORDS, _MOST_WORDS = 2, 9
"""Rows of the words below a page's chart on a narrow screen, their heading included."""


class AnalysisPane(Pane, can_focus=True):
    """Shows one experiment and one metric; both are chosen by key."""

    BINDINGS: ClassVar[list[BindingType]] = [*BINDINGS]

    def __init__(self, analyst: Analyst, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._analyst = analyst
        self._snapshot: Snapshot = EMPTY
        self._experiment = ""
        self._metric = _FIRST_METRIC
        self._choice = AnalysisChoice()
        self._analysis: Analysis | None = None
        self._version = 0
        self._overlap = OverlapView()
        self._asked: tuple[object, object] | None = None
        self._settled: object = None
        self._analysed: object = None
        self._failure = ""
        self._page = 0
        self._content: Content | None = None
        self._curve_chart = ChartView()
        self._fit_view = WordsView()
        self._heat_map = ChartView()
        self._class_bars = ChartView()

    def compose(self) -> ComposeResult:
        """Curve and fit above, overlap below."""
        yield Panel("Learning curve", self._curve_chart, id="curve")
        yield Panel("Fit", self._fit_view, id="fit")
        yield Panel("Overlap", self._heat_map, id="matrix")
        yield Panel("Per class", self._class_bars, id="classes")

    @property
    def first_focus(self) -> Widget:
        """The tab itself: everything is done by keys."""
        return self

    @property
    def experiment(self) -> str:
        """Name of the experiment shown."""
        return self._experiment

    def choose_experiment(self, name: str) -> None:
        """Show an experiment."""
        if name != self._experiment:
            self._experiment = name
            self._analysis = self._analysed = self._content = None
            self._overlap = OverlapView()
            self._choice = AnalysisChoice(fit_to=self._choice.fit_to)
            self._refresh()

    def show(self, snapshot: Snapshot) -> None:
        """Show another moment; computed anew only when the experiment's runs have changed."""
        self._snapshot = snapshot
        names = experiment_names(self._snapshot)
        if self._experiment not in names and names:
            self._experiment = snapshot.liveliest_experiment() or names[0]
        self._refresh()

    @property
    def is_settled(self) -> bool:
        """Whether everything that is asked for has been computed."""
        return self._asked is not None and self._settled == self._asked

    def table_in_view(self) -> TableInView | None:
        """The learning curve, or where the overlap is in view the pairs of draws."""
        analysis = self._analysis
        if analysis is None or not analysis.curves:
            return None
        if page := self._shown_page:
            table = self._content.table if self._content else None
            return TableInView(f"{analysis.experiment}-{page.name}", table) if table else None
        return overlap_in_view(analysis) if self.has_class("-overlap") else curve_in_view(analysis)

    def key_groups(self) -> Sequence[KeyGroup]:
        """Keys of the tab."""
        return (keys_of("Analysis", self),)

    def _refresh(self) -> None:
        own = [fact for fact in self._snapshot.facts.values() if fact.experiment == self._experiment]
        of = (self._experiment, self._metric, frozenset((fact.run_id, fact.state) for fact in own))
        choice = self._choice
        shown = (choice.variant, choice.view) if self._page else (choice.measure,)
        page = (self._page, choice.size, *shown)
        if self._experiment and self._snapshot.runs is not None and (of, page) != self._asked:
            self._asked = (of, page)
            self._analyse()
        self._draw()

    # What nobody wants any more is not begun: only the newest wish is worked on.
    @work(exclusive=True, exit_on_error=False)
    async def _analyse(self) -> None:
        """Bring the analysis up to date and show it, then what takes longer: the page, or the overlap."""
        runs, asked = self._snapshot.runs, self._asked
        if runs is None or asked is None:
            return
        of, _ = asked
        try:
            if of != self._analysed:
                analysis = await self._analyst.analyse(runs, self._experiment, self._metric)
                self._take(analysis)
                self._analysed = of
            if page := self._shown_page:
                self._content = await self._analyst.build(page, runs, self._wish)
                self._version += 1
            elif self._analysis is not None:
                overlaps = await self._analyst.overlaps(runs, self._experiment)
                self._analysis = replace(self._analysis, overlaps=tuple(overlaps))
                chosen = chosen_overlap(self._analysis, self._choice)
                self._overlap = await self._analyst.view_overlap(chosen, self._choice.measure)
        except DatasizeError as error:
            self._fail(error.line)
        except Exception as error:
            # A run directory in a state that nobody foresaw must not end the app.
            self._fail(f"The analysis failed: {type(error).__name__}: {error}")
        self._settled = asked
        self.refresh_bindings()
        self._draw()

    @property
    def _wish(self) -> Wish:
        choice = self._choice
        return Wish(self._experiment, self._metric, choice.variant, choice.view, choice.size)

    def _take(self, analysis: Analysis) -> None:
        """Show an analysis; the overlaps of the one before stand until they are known again."""
        before = self._analysis
        self._analysis = replace(analysis, overlaps=before.overlaps) if before else analysis
        self._version += 1
        self._failure = ""
        self.refresh_bindings()
        self._draw()

    def _fail(self, words: str) -> None:
        self._analysis = self._analysed = self._content = None
        self._failure = words

    def _draw(self) -> None:
        analysis, choice = self._analysis, self._choice
        if analysis is None:
            self._show_sentence()
            return
        if self._shown_page is not None:
            self._draw_page()
            return
        overlap = self._overlap
        self._curve_chart.show((self._version, choice), partial(draw_curve, analysis, choice))
        self._fit_view.show(fit_lines(analysis, choice, palette_of(self.app)))
        self._heat_map.show(overlap, partial(draw_matrix, overlap))
        self._class_bars.show(overlap, partial(draw_classes, overlap))
        self._show_headings(analysis)

    @property
    def _shown_page(self) -> Page | None:
        """The page in view; None for the learning curve."""
        return PAGES[self._page - 1] if self._page else None

    def _draw_page(self) -> None:
        page, content = self._shown_page, self._content
        if page is None or content is None:
            return
        muted = palette_of(self.app).muted
        self._curve_chart.show((self._version, page.name), content.draw)
        self._fit_view.show([Text(line) for line in content.lines])
        analysis = self._analysis
        whose = subject(self._experiment, chosen_curve(analysis, self._choice) if analysis else None)
        note = f"{whose} · {content.note}".rstrip(" ·")
        notes = [Text(text, muted) for text in (note, content.note, whose) if text]
        self.query_one("#curve", Panel).show_note(*notes)
        self._divide()

    def _divide(self) -> None:
        """Leave to a page's chart the rows that its words below it do not need."""
        if self._shown_page is None or self.screen.has_class("-wide"):
            self.styles.grid_rows = None
            return
        words = 1 + self._fit_view.rows_at(self.size.width)
        self.styles.grid_rows = f"1fr {min(_MOST_WORDS, max(_LEAST_WORDS, words))}"

    def _turn_to(self, page: int) -> None:
        """Show another page; the learning curve is page 0."""
        self._page, self._content = page % (len(PAGES) + 1), None
        self._choice = replace(self._choice, view=0, size=0)
        shown = self._shown_page
        self.set_class(shown is not None, "-page")
        self.styles.grid_rows = None
        self.query_one("#curve", Panel).show_title(shown.title if shown else "Learning curve")
        self.query_one("#fit", Panel).show_title("In words" if shown else "Fit")
        if shown is not None:
            self._curve_chart.show(("computing", page), partial(sentence, "Computing …"))
            self._fit_view.show(())
        self.refresh_bindings()
        self._refresh()

    def _show_sentence(self) -> None:
        text = self._failure or ("Computing …" if self._experiment else self._empty())
        drawer: Drawer = lambda width, height, palette: sentence(text, width, height, palette)  # noqa: E731
        self._curve_chart.show(text, drawer)
        self._fit_view.show(())
        for chart in (self._heat_map, self._class_bars):
            chart.show("", lambda *_: Text())

    def _empty(self) -> str:
        if not self._snapshot.is_ready:
            return "Reading the project …"
        return "No experiments yet. Describe one in experiments.toml."

    def _show_headings(self, analysis: Analysis) -> None:
        muted = palette_of(self.app).muted
        notes = {
            "#curve": [curve_note(analysis, self._choice)],
            "#fit": [fit_note(analysis, self._choice)],
            "#matrix": [matrix_note(self._overlap)],
            "#classes": classes_notes(self._overlap),
        }
        for panel, texts in notes.items():
            self.query_one(panel, Panel).show_note(*(Text(text, muted) for text in texts))

    def action_experiment(self) -> None:
        """Ask for the experiment."""
        names = experiment_names(self._snapshot)
        if not names:
            self.remark("no experiment yet: describe one in experiments.toml")
            return
        titles = {plan.name: plan.title for plan in self._snapshot.experiments}
        width = max(len(name) for name in names)
        choices = [(name, f"{name:<{width}}  {titles.get(name, '')}") for name in names]
        self.app.push_screen(
            ChooseDialog("Experiment", choices, self._experiment),
            lambda name: self.choose_experiment(name) if name else None,
        )

    def action_page(self, step: int) -> None:
        """The next page."""
        self._turn_to(self._page + step)

    def action_choose_page(self) -> None:
        """Ask for the page."""
        titles = [LEARNING_CURVE, *(page.title for page in PAGES)]
        choices = [(str(index), title) for index, title in enumerate(titles)]
        self.app.push_screen(
            ChooseDialog("Show", choices, str(self._page)),
            lambda index: self._turn_to(int(index)) if index is not None else None,
        )

    def action_metric(self) -> None:
        """Ask for the metric."""
        from tui_datasize.analysis.curve import METRICS_OFFERED

        choices = [(metric.name, metric.title) for metric in METRICS_OFFERED.values()]
        self.app.push_screen(ChooseDialog("Metric", choices, self._metric), self._choose_metric)

    def _choose_metric(self, name: str | None) -> None:
        if name and name != self._metric:
            self._metric = name
            self._refresh()

    def action_fit(self) -> None:
        """The published law through the means, through all runs, or all laws side by side."""
        following = FITS[(FITS.index(self._choice.fit_to) + 1) % len(FITS)]
        self._choice = replace(self._choice, fit_to=following)
        self._draw()

    def action_variant(self) -> None:
        """The next variant to the foreground."""
        if self._analysis is not None and self._analysis.curves:
            variant = (self._choice.variant + 1) % len(self._analysis.curves)
            self._choice = replace(self._choice, variant=variant)
            self._refresh()

    def action_switch(self) -> None:
        """Another view of the page, or another measure of overlap."""
        choice = self._choice
        self._choice = replace(choice, view=choice.view + 1) if self._page else choice.with_other_measure()
        self._refresh()

    def action_size(self, step: int) -> None:
        """Another train size: of the overlap, or of a page that shows one."""
        self._choice = replace(self._choice, size=self._choice.size + step)
        self._refresh()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Hide keys that have nothing to act on."""
        content, analysis = self._content, self._analysis
        return InView(
            is_page=bool(self._page),
            is_low=self.screen.has_class("-short"),
            is_overlap_chosen=self.has_class("-overlap"),
            views=content.views if content else 1,
            sizes=content.sizes if content else 1,
            variants=len(analysis.curves) if analysis else 0,
        ).has_use(action)

    def on_resize(self) -> None:
        """A screen that is high enough shows curve and overlap."""
        self._divide()
        self.refresh_bindings()

    def action_overlap(self) -> None:
        """Learning curve or overlap, where the screen is too low for both."""
        self.toggle_class("-overlap")
        self.refresh_bindings()
