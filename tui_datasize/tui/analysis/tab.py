"""The Analysis tab: the learning curve with its fit, and what the subset draws have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widget import Widget

from tui_datasize.errors import DatasizeError
from tui_datasize.tui.analysis.analyst import Analyst
from tui_datasize.tui.analysis.choice import FITS, AnalysisChoice, chosen_curve
from tui_datasize.tui.analysis.curve_chart import chosen_fit, draw_curve
from tui_datasize.tui.analysis.fit_text import fit_lines
from tui_datasize.tui.analysis.overlap_views import chosen_overlap, draw_classes, draw_matrix
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
from tui_datasize.tui.widgets.text import plural

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.analysis.overlap import DrawOverlap
    from tui_datasize.analysis.summary import Analysis, CurveAnalysis
    from tui_datasize.tui.analysis.pages.page import Content, Page

_FIRST_METRIC = "test_accuracy"


class AnalysisPane(Pane, can_focus=True):
    """Shows one experiment and one metric; both are chosen by key."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "experiment", "experiment", tooltip="Choose the experiment"),
        Binding("m", "metric", "metric", tooltip="Choose the metric"),
        Binding("p", "page(1)", "page", tooltip="The next page: spread, courses, ... (P the one before)"),
        Binding("w", "choose_page", "what", tooltip="Choose what is shown from the list of pages"),
        Binding("P", "page(-1)", "page before", show=False, tooltip="The page before"),
        Binding("o", "overlap", "overlap", tooltip="Learning curve or overlap, on a low screen"),
        Binding("f", "fit", "fit", tooltip="Log-linear law through the means or all runs; all laws"),
        Binding("n,right", "size(1)", "size", tooltip="Overlap of the next train size"),
        Binding("v", "variant", "variant", tooltip="The next variant of a sweep to the foreground"),
        Binding("N,left", "size(-1)", "size before", show=False, tooltip="Overlap of the train size before"),
    ]

    def __init__(self, analyst: Analyst, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._analyst = analyst
        self._snapshot: Snapshot = EMPTY
        self._experiment = ""
        self._metric = _FIRST_METRIC
        self._choice = AnalysisChoice()
        self._analysis: Analysis | None = None
        self._version = 0
        self._asked: object = None
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
            self._analysis = None
            self._choice = AnalysisChoice(fit_to=self._choice.fit_to)
            self._refresh()

    def show(self, snapshot: Snapshot) -> None:
        """Show another moment; computed anew only when the experiment's runs have changed."""
        self._snapshot = snapshot
        names = self._names()
        if self._experiment not in names and names:
            self._experiment = snapshot.liveliest_experiment() or names[0]
        self._refresh()

    def table_in_view(self) -> TableInView | None:
        """The learning curve, or where the overlap is in view the pairs of draws."""
        analysis = self._analysis
        if analysis is None or not analysis.curves:
            return None
        if page := self._shown_page:
            table = self._content.table if self._content else None
            return TableInView(f"{analysis.experiment}-{page.name}", table) if table else None
        if self.has_class("-overlap"):
            from tui_datasize.analysis.overlap import pairs_table

            return TableInView(f"{analysis.experiment}-overlap", lambda: pairs_table(analysis.overlaps))
        import polars as pl

        name = f"{analysis.experiment}-curve-{analysis.metric.name}"
        return TableInView(name, lambda: pl.concat([curve.curve for curve in analysis.curves]))

    def key_groups(self) -> Sequence[KeyGroup]:
        """Keys of the tab."""
        return (keys_of("Analysis", self),)

    def _names(self) -> list[str]:
        """Experiments of the file, then those of which only runs are left."""
        planned = [plan.name for plan in self._snapshot.experiments]
        recorded = {fact.experiment for fact in self._snapshot.facts.values()}
        return planned + sorted(recorded - set(planned))

    def _refresh(self) -> None:
        own = [fact for fact in self._snapshot.facts.values() if fact.experiment == self._experiment]
        page = (self._page, self._choice.variant if self._page else 0)
        wanted = (self._experiment, self._metric, page, frozenset((f.run_id, f.state) for f in own))
        if self._experiment and self._snapshot.runs is not None and wanted != self._asked:
            self._asked = wanted
            self.run_worker(self._analyse(wanted), exit_on_error=False)
        self._draw()

    async def _analyse(self, wanted: object) -> None:
        runs, experiment, metric = self._snapshot.runs, self._experiment, self._metric
        if runs is None:
            return
        try:
            analysis, failure = await self._analyst.analyse(runs, experiment, metric), ""
            content = await self._build_page(runs, experiment, metric)
        except DatasizeError as error:
            analysis, content, failure = None, None, error.line
        except Exception as error:
            # A run directory in a state that nobody foresaw must not end the app.
            analysis, content, failure = None, None, f"The analysis failed: {type(error).__name__}: {error}"
        if wanted == self._asked:
            self._analysis, self._content, self._failure = analysis, content, failure
            self._version += 1
            self.refresh_bindings()
            self._draw()

    def _draw(self) -> None:
        analysis, choice = self._analysis, self._choice
        if analysis is None:
            self._show_sentence()
            return
        if self._shown_page is not None:
            self._draw_page()
            return
        overlap = chosen_overlap(analysis, choice)
        version = (self._version, choice)
        self._curve_chart.show(version, partial(draw_curve, analysis, choice))
        self._fit_view.show(fit_lines(analysis, choice, palette_of(self.app)))
        self._heat_map.show(version, partial(draw_matrix, overlap))
        self._class_bars.show(version, partial(draw_classes, overlap))
        self._show_headings(analysis, overlap)

    @property
    def _shown_page(self) -> Page | None:
        """The page in view; None for the learning curve."""
        return PAGES[self._page - 1] if self._page else None

    async def _build_page(self, runs: pl.DataFrame, experiment: str, metric: str) -> Content | None:
        page = self._shown_page
        if page is None:
            return None
        return await self._analyst.build(page, runs, experiment, metric, self._choice.variant)

    def _draw_page(self) -> None:
        page, content = self._shown_page, self._content
        if page is None or content is None:
            return
        muted = palette_of(self.app).muted
        self._curve_chart.show((self._version, page.name), content.draw)
        self._fit_view.show([Text(line) for line in content.lines])
        curve = self._analysis and chosen_curve(self._analysis, self._choice)
        variant = f" · {curve.variant}" if curve and curve.variant else ""
        self.query_one("#curve", Panel).show_note(
            Text(f"{self._experiment}{variant} · {content.note}".rstrip(" ·"), muted),
            Text(f"{self._experiment}{variant}", muted),
        )

    def _turn_to(self, page: int) -> None:
        """Show another page; the learning curve is page 0."""
        self._page, self._content = page % (len(PAGES) + 1), None
        shown = self._shown_page
        self.set_class(shown is not None, "-page")
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

    def _show_headings(self, analysis: Analysis, overlap: DrawOverlap | None) -> None:
        muted = palette_of(self.app).muted
        curve = chosen_curve(analysis, self._choice)
        variant = f" · {curve.variant}" if curve and curve.variant else ""
        shown = curve.points.height if curve else analysis.n_runs
        runs = f" · {plural(shown, 'run')}" + (
            f", {analysis.n_left_out:,} not counted" if analysis.n_left_out else ""
        )
        note = f"{self._experiment}{variant}{runs}"
        self.query_one("#curve", Panel).show_note(Text(note, muted))
        self.query_one("#fit", Panel).show_note(Text(self._fit_note(curve), muted))
        size = f"n {overlap.train_size:,}" if overlap else ""
        self.query_one("#matrix", Panel).show_note(Text(size, muted))
        legend = f"{size} · ┃ expected" if size else ""
        self.query_one("#classes", Panel).show_note(Text(legend, muted))

    def _fit_note(self, curve: CurveAnalysis | None) -> str:
        if self._choice.fit_to == "laws":
            return "all laws, the best first"
        fit = chosen_fit(curve, self._choice) if curve else None
        return f"log-linear through the {self._choice.fit_to} · {getattr(fit, 'formula', '')}".rstrip(" ·")

    def action_experiment(self) -> None:
        """Ask for the experiment."""
        names = self._names()
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

    def action_size(self, step: int) -> None:
        """Overlap of another train size."""
        count = len(self._analysis.overlaps) if self._analysis else 0
        if count:
            self._choice = replace(self._choice, size=(self._choice.size + step) % count)
            self._draw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Hide keys that have nothing to act on."""
        if action == "overlap":
            return self.screen.has_class("-short") and not self._page
        if action in ("fit", "size"):
            return not self._page
        if action == "variant":
            return self._analysis is not None and len(self._analysis.curves) > 1
        return True

    def on_resize(self) -> None:
        """A screen that is high enough shows curve and overlap."""
        self.refresh_bindings()

    def action_overlap(self) -> None:
        """Learning curve or overlap, where the screen is too low for both."""
        self.toggle_class("-overlap")
