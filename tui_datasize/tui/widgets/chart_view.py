"""A chart on the screen: drawn only when its data, its size or the colours have changed; examined by key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from textwrap import wrap
from typing import ClassVar, TypeAlias

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message

from tui_datasize.tui.charts.lines import Drawing
from tui_datasize.tui.charts.window import (
    WHOLE,
    ChartWindow,
    Extent,
    moved,
    on_axes,
    panned,
    with_log,
    zoomed,
)
from tui_datasize.tui.exports import ChartForm
from tui_datasize.tui.widgets.line_view import LineView
from tui_datasize.tui.widgets.palette import GREY, ON_PAPER, Palette
from tui_datasize.tui.widgets.panel import Panel

Drawer: TypeAlias = Callable[[int, int, Palette, ChartWindow], Drawing | Text]
"""Draws a chart of a width and a height, as it is looked at; a text where there is nothing to examine."""

_PICTURE = Size(120, 34)
"""Columns and lines of a picture, at least."""
_CLOSER = 0.5
_STEP = 0.25
"""Part of what is shown by which it moves."""


class ChartView(LineView, can_focus=True):
    """Shows what a drawer makes, and asks it as seldom as possible: a chart costs tens of milliseconds.

    It has the focus only while it is examined: its keys are those of the cursor then.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", "cursor", tooltip="The cursor to the point before"),
        Binding("right", "step(1)", "cursor on", show=False, tooltip="The cursor to the next point"),
        Binding("<", "step(-10)", "back ten", show=False, tooltip="Ten points back"),
        Binding(">", "step(10)", "on ten", show=False, tooltip="Ten points on"),
        Binding("z", f"zoom({_CLOSER}, 1)", "zoom", tooltip="Zoom in along x, around the cursor"),
        Binding("Z", f"zoom({1 / _CLOSER}, 1)", "zoom out", show=False, tooltip="Zoom out along x"),
        Binding("u", f"zoom(1, {_CLOSER})", "zoom y", tooltip="Zoom in along y, around what is read off"),
        Binding("U", f"zoom(1, {1 / _CLOSER})", "zoom y out", show=False, tooltip="Zoom out along y"),
        Binding("H", f"pan(-{_STEP}, 0)", "pan left", show=False, tooltip="Move what is shown to the left"),
        Binding("L", f"pan({_STEP}, 0)", "pan right", show=False, tooltip="Move what is shown to the right"),
        Binding("K", f"pan(0, {_STEP})", "pan up", show=False, tooltip="Move what is shown up"),
        Binding("J", f"pan(0, -{_STEP})", "pan down", show=False, tooltip="Move what is shown down"),
        Binding("X", "log('x')", "log x", tooltip="A logarithmic or a linear x axis"),
        Binding("Y", "log('y')", "log y", tooltip="A logarithmic or a linear y axis"),
        Binding("0", "reset", "whole", tooltip="All of the chart again"),
        Binding("enter", "full", "full screen", tooltip="This chart alone on the screen"),
        Binding("escape", "leave", "back", tooltip="Leave the chart"),
    ]

    class Left(Message):
        """Nobody examines the chart any more."""

    @dataclass
    class Ranged(Message):
        """Another part of the x axis is looked at."""

        chart: ChartView

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._version: object = None
        self._drawer: Drawer | None = None
        self._drawn_for: tuple[object, Size, Palette, ChartWindow] | None = None
        self._lines: Sequence[Text] = ()
        self._extent: Extent | None = None
        self._extent_before: Extent | None = None
        """What was drawn last: of these axes the window is a part."""
        self._is_training = False
        self.window = WHOLE
        self.can_focus = False

    def show(self, version: object, drawer: Drawer) -> None:
        """Show a chart; versions are equal for equal charts: the data and all settings."""
        if version != self._version or self._drawer is None:
            self._version, self._drawer = version, drawer
            self.redraw()

    def smooth(self, weight: float) -> None:
        self._look_at(replace(self.window, smoothing=weight))

    def follow(self, other: ChartView) -> None:
        """Look at the same part of the x axis as a chart that belongs to this one."""
        if extent := other.extent:
            self._extent_before = replace(self._extent_before or extent, x_scale=extent.x_scale)
        self._look_at(replace(self.window, x=other.window.x, is_log_x=other.window.is_log_x))

    def draw(self, size: Size) -> Sequence[Text]:
        if self._drawer is None:
            return []
        wanted = (self._version, size, self.palette, self.window)
        if wanted != self._drawn_for:
            # plotext keeps one figure per process: charts are drawn on this thread alone.
            made = self._drawer(size.width, size.height, self.palette, self.window)
            drawn = Drawing(made) if isinstance(made, Text) else made
            if drawn.extent:
                fitting = on_axes(self.window, self._extent_before, drawn.extent)
                self._extent_before = drawn.extent
                if fitting != self.window:
                    self.window = fitting
                    return self.draw(size)
            uses = self._uses
            self._extent, self._is_training = drawn.extent, drawn.can_be_smoothed
            if uses != self._uses:
                self.refresh_bindings()
            self._lines = list(drawn.text.split("\n", allow_blank=True))
            self._drawn_for = wanted
        return [line.copy() for line in self._lines]

    @property
    def extent(self) -> Extent | None:
        """What is drawn; None where there is nothing to examine."""
        self.draw_again()
        return self._extent

    @property
    def _uses(self) -> tuple[bool, bool]:
        return self._extent is not None and bool(self._extent.stops), self._is_training

    @property
    def can_be_examined(self) -> bool:
        self.draw_again()
        return self._uses[0]

    @property
    def can_be_smoothed(self) -> bool:
        self.draw_again()
        return self._uses[1]

    @property
    def caption(self) -> str:
        """What the panel around it is called."""
        return self.parent.caption if isinstance(self.parent, Panel) else ""

    def lines_for(self, form: ChartForm) -> list[Text]:
        """The part that is looked at, below its caption, without cursor and average: as it was logged."""
        if self._drawer is None:
            return []
        size, window = self.view_size, replace(self.window, cursor=None, smoothing=0.0)
        is_picture = form in ("png", "svg")
        width, height = max(size.width, _PICTURE.width), max(size.height, _PICTURE.height)
        size = Size(width, height) if is_picture else size
        palette = ON_PAPER if is_picture else GREY
        drawn = self._drawer(size.width, size.height, palette, window)
        text = drawn if isinstance(drawn, Text) else drawn.text
        style, caption = f"bold {palette.foreground}", wrap(self.caption, max(size.width, 1))
        return [*(Text(line, style) for line in caption), *text.split("\n", allow_blank=True)]

    def examine(self) -> bool:
        """Put a cursor on the chart and take the keys; whether there is anything to examine."""
        if self.extent is None or not self.can_be_examined:
            return False
        self._look_at(moved(self.window, self.extent, 0))
        self.can_focus = True
        self.focus()
        return True

    def _look_at(self, window: ChartWindow) -> None:
        self.window = window
        self.redraw()

    def on_blur(self) -> None:
        """Take the cursor away; what is zoomed stays."""
        self.can_focus = False
        self._look_at(replace(self.window, cursor=None))

    def action_step(self, steps: int) -> None:
        if self.extent:
            self._look_at(moved(self.window, self.extent, steps))

    def action_zoom(self, x: float, y: float) -> None:
        if self.extent:
            self._range(zoomed(self.window, self.extent, x=x, y=y))

    def action_pan(self, x: float, y: float) -> None:
        if self.extent:
            self._range(panned(self.window, self.extent, x=x, y=y))

    def action_log(self, axis: str) -> None:
        if self.extent:
            self._range(with_log(self.window, self.extent, axis))

    def action_reset(self) -> None:
        self._range(ChartWindow(cursor=self.window.cursor, smoothing=self.window.smoothing))

    def _range(self, window: ChartWindow) -> None:
        """Look at another part of the axes, and tell it to the charts beside this one."""
        self._look_at(window)
        self.post_message(self.Ranged(self))

    def action_full(self) -> None:
        if self.screen.maximized is None:
            self.screen.maximize(self, container=True)
        else:
            self.screen.minimize()

    def action_leave(self) -> None:
        """Give the keys back; called once it does not fill the screen, out of which Textual lets `escape`."""
        self.post_message(self.Left())
