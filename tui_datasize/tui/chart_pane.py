"""What every tab with charts does with them."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.binding import Binding

from tui_datasize.tui.exports import CHART_FORMS
from tui_datasize.tui.keys import KeyGroup, KnowsUse, keys_of
from tui_datasize.tui.pane import Pane
from tui_datasize.tui.widgets.chart_view import ChartView
from tui_datasize.tui.widgets.dialogs import ChooseDialog

SMOOTHINGS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""Weights of the past in the average that `+` and `-` choose."""
CHART_KEYS: tuple[Binding, ...] = (
    Binding("full_stop", "examine", "examine", tooltip="Values at a cursor, zoom; again: the next chart"),
    Binding("plus,equals_sign", "smooth(1)", "smooth", tooltip="Smooth training curves more"),
    Binding("minus", "smooth(-1)", "rougher", show=False, tooltip="Smooth training curves less"),
    Binding("S", "save", "save chart", show=False, tooltip="Chart as PNG, SVG or text, or to the clipboard"),
)
"""Of a tab with charts, behind its own."""


class ChartPane(KnowsUse, Pane):
    """A tab with charts, which are examined by key: its bindings end with `CHART_KEYS`."""

    charts: Sequence[ChartView]

    def chart_keys(self) -> KeyGroup:
        return keys_of("While a chart is examined", self.charts[0])

    @property
    def _charts_seen(self) -> list[ChartView]:
        return [chart for chart in self.charts if chart.is_on_screen]

    def has_use(self, action: str) -> bool:
        if action == "examine":
            return any(chart.can_be_examined for chart in self._charts_seen)
        return not action.startswith("smooth") or any(chart.can_be_smoothed for chart in self._charts_seen)

    def action_examine(self) -> None:
        charts = self._charts_seen
        at = next((place for place, chart in enumerate(charts, 1) if chart.has_focus), 0)
        if not any(chart.examine() for chart in [*charts[at:], *charts[:at]]):
            self.remark("no chart to examine here")

    def action_save(self) -> None:
        """Ask what the chart that is examined, or else the first, becomes."""
        charts = self._charts_seen
        chart = next((one for one in charts if one.has_focus), charts[0] if charts else None)
        if chart is None:
            self.remark("no chart to save here")
            return

        def save(form: str | None) -> None:
            chosen = next((one for one, _ in CHART_FORMS if one == form), None)
            if chosen is not None:
                lines = chart.lines_for(chosen)
                self.post_message(self.ChartSaved(chart.caption, lines, chosen))

        self.app.push_screen(ChooseDialog("Save or copy the chart", CHART_FORMS, "png"), save)

    @on(ChartView.Left)
    def _chart_left(self) -> None:
        self.first_focus.focus()

    def action_smooth(self, step: int) -> None:
        if not self.has_use("smooth"):
            self.remark("only training curves are smoothed")
            return
        at = SMOOTHINGS.index(self.charts[0].window.smoothing) + step
        weight = SMOOTHINGS[max(0, min(at, len(SMOOTHINGS) - 1))]
        # Those, too, that are not on the screen now: they may be next.
        for chart in self.charts:
            chart.smooth(weight)
        self.remark(f"smoothing {weight:g}" if weight else "not smoothed")
