"""Charts as text: pure functions from plain sequences to Rich text. Call them on one thread only.

plotext keeps one figure per process and remembers limits, ticks and logarithms of earlier drawings;
every chart here therefore clears it, draws everything anew and never asks it for a logarithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from tui_datasize.tui.charts.scale import (
    Point,
    Scale,
    Tick,
    decimate,
    interpolate,
    limits,
    name_ticks,
    place_points,
    ticks,
)
from tui_datasize.tui.widgets.palette import Palette, rgb

SMALLEST_WIDTH = 16
SMALLEST_HEIGHT = 5
_BAND_SHADE = "░"
_LINE = "braille"
_GAP = "  "
_COLUMNS_PER_TICK = 10
_ROWS_PER_TICK = 3
_ROWS_PER_LEGEND_LINE = 8
_MOST_LEGEND_LINES = 3
"""Besides the line that the legend shares with the y label."""


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one colour; `x` and `y` are equally long and may hold NaN."""

    label: str
    """Name in the legend; empty for none."""
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    """`#rrggbb`."""
    joined: bool = True
    """Whether a line runs through the points."""
    mark: str = ""
    """Character drawn at every point; empty for none."""
    tag: str = ""
    """Character drawn at the last point, which names the series without colour."""


@dataclass(frozen=True, slots=True)
class ShadedBand:
    """A shaded stretch between two curves over ascending `x`."""

    x: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    colour: str


@dataclass(frozen=True, slots=True)
class _Frame:
    """Limits and ticks of a drawing, in drawn units."""

    x_limits: Point
    y_limits: Point
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    columns: int
    """Columns of the canvas, without labels and axis."""


def line_chart(
    series: Sequence[Series],
    x_scale: Scale,
    y_scale: Scale,
    *,
    width: int,
    height: int,
    palette: Palette,
    bands: Sequence[ShadedBand] = (),
    empty: str = "No points yet.",
    more: str = "",
) -> Text:
    """Draw curves with the y label and the legend above and the x label below the canvas.

    A legend that is too long for one line goes on in as many as the height allows; what even these do not
    name is counted.

    Args:
        series: What to draw, later ones on top. Points that are not finite are left out.
        x_scale: The horizontal axis.
        y_scale: The vertical axis.
        width: Columns of the result.
        height: Rows of the result.
        palette: Colours of axes and labels.
        bands: Drawn below all series, later ones on top.
        empty: The sentence shown where there is nothing to draw.
        more: Said behind the number of series that the legend leaves out, e.g. which key shows them.

    Returns:
        `height` lines of at most `width` columns.
    """
    placed = [place_points(s.x, s.y, x_scale, y_scale) for s in series]
    edges = [_band_edges(band, x_scale, y_scale) for band in bands]
    every = [point for points in (*placed, *(edge for pair in edges for edge in pair)) for point in points]
    if not every:
        return sentence(empty, width, height, palette)
    if width < SMALLEST_WIDTH or height < SMALLEST_HEIGHT:
        return sentence("Too small for a chart.", width, height, palette)
    legend = _headings(y_scale.label, series, width, height, more, palette)
    frame = _frame(every, x_scale, y_scale, width, height)
    _start(width, height - len(legend), frame, x_scale.label, palette)
    for band, pair in zip(bands, edges, strict=True):
        _draw_band(pair, band.colour, frame)
    for one, points in zip(series, placed, strict=True):
        _draw_series(one, points, frame.columns)
    for one, points in zip(series, placed, strict=True):
        if one.tag and points:
            _scatter(points[-1:], one.tag, one.colour)
    return Text("\n").join([*legend, *_build(width)])


def sentence(text: str, width: int, height: int, palette: Palette) -> Text:
    """A sentence in the middle of an empty chart, wrapped to its width."""
    import textwrap

    lines = textwrap.wrap(text, max(10, width - 4))[: max(height, 1)]
    above = max(0, (height - len(lines)) // 2)
    body = [line.center(width).rstrip() for line in lines]
    return Text("\n".join([""] * above + body), style=palette.muted)


def _band_edges(band: ShadedBand, x_scale: Scale, y_scale: Scale) -> tuple[list[Point], list[Point]]:
    return (
        place_points(band.x, band.low, x_scale, y_scale),
        place_points(band.x, band.high, x_scale, y_scale),
    )


def _frame(points: Sequence[Point], x_scale: Scale, y_scale: Scale, width: int, height: int) -> _Frame:
    x_limits = limits([x for x, _ in points], x_scale)
    y_limits = limits([y for _, y in points], y_scale)
    y_ticks = ticks(*y_limits, y_scale, max(2, (height - 4) // _ROWS_PER_TICK))
    columns = width - max((len(tick.label) for tick in y_ticks), default=0) - 1
    numbers = ticks(*x_limits, x_scale, max(2, columns // _COLUMNS_PER_TICK))
    x_ticks = name_ticks(x_scale.names, columns) if x_scale.names else numbers
    return _Frame(x_limits, y_limits, x_ticks, y_ticks, columns)


def _start(width: int, height: int, frame: _Frame, x_label: str, palette: Palette) -> None:
    import plotext

    plotext.clear_figure()
    plotext.limit_size(False, False)
    plotext.plot_size(width, height)
    plotext.theme("clear")
    plotext.ticks_color(rgb(palette.muted))
    plotext.xaxes(True, False)
    plotext.yaxes(True, False)
    plotext.xlim(*frame.x_limits)
    plotext.ylim(*frame.y_limits)
    plotext.xticks([tick.position for tick in frame.x_ticks], [tick.label for tick in frame.x_ticks])
    plotext.yticks([tick.position for tick in frame.y_ticks], [tick.label for tick in frame.y_ticks])
    plotext.xlabel(x_label)


def _draw_band(edges: tuple[list[Point], list[Point]], colour: str, frame: _Frame) -> None:
    import plotext

    low_edge, high_edge = edges
    left, right = frame.x_limits
    for column in range(frame.columns):
        x = left + (right - left) * column / max(frame.columns - 1, 1)
        low, high = interpolate(x, low_edge), interpolate(x, high_edge)
        if low is not None and high is not None:
            plotext.plot([x, x], [low, high], marker=_BAND_SHADE, color=rgb(colour))


def _draw_series(series: Series, points: Sequence[Point], columns: int) -> None:
    import plotext

    if series.joined and len(points) > 1:
        kept = decimate(points, columns)
        plotext.plot([x for x, _ in kept], [y for _, y in kept], marker=_LINE, color=rgb(series.colour))
    mark = series.mark or ("●" if len(points) == 1 else "")
    if mark and points:
        _scatter(points, mark, series.colour)


def _scatter(points: Sequence[Point], mark: str, colour: str) -> None:
    import plotext

    plotext.scatter([x for x, _ in points], [y for _, y in points], marker=mark, color=rgb(colour))


def _build(width: int) -> list[Text]:
    import plotext

    lines = list(Text.from_ansi(plotext.build()).split("\n", allow_blank=True))
    while lines and not lines[-1].plain.strip():
        lines.pop()
    for line in lines:
        line.truncate(width)
    return lines


def _headings(
    label: str, series: Sequence[Series], width: int, height: int, more: str, palette: Palette
) -> list[Text]:
    """The y label at the left, the legend at the right and on further lines, topmost series first."""
    entries = [
        Text.assemble((_legend_mark(one), one.colour), (f" {one.label}", palette.muted))
        for one in reversed(series)
        if one.label
    ]
    further = min(_MOST_LEGEND_LINES, (height - 2) // _ROWS_PER_LEGEND_LINE)
    rooms = [width - len(label) - 2, *[width] * further]
    first, *others = _legend_lines(entries, rooms, more, palette)
    heading = Text(label, style=palette.foreground, no_wrap=True)
    heading.append(" " * max(1, width - len(heading) - len(first))).append_text(first)
    return [heading, *(Text(" " * (width - len(line))).append_text(line) for line in others if line)]


def _legend_lines(entries: Sequence[Text], rooms: Sequence[int], more: str, palette: Palette) -> list[Text]:
    """Entries in lines of given widths; of those that fit into none, the number stands at the end."""
    lines: list[list[Text]] = [[] for _ in rooms]
    row, left_out = 0, 0
    for index, entry in enumerate(entries):
        while row < len(rooms) and not _fits([*lines[row], entry], rooms[row]):
            row += 1
        if row == len(rooms):
            left_out = len(entries) - index
            break
        lines[row].append(entry)
    if left_out:
        _count_left_out(lines[-1], left_out, rooms[-1], more, palette)
    return [Text(_GAP).join(line) for line in lines]


def _count_left_out(line: list[Text], left_out: int, room: int, more: str, palette: Palette) -> None:
    """Say at the end of a line how many entries there are beyond it, dropping some for the room."""
    words = Text(f"+{left_out} more{more}", palette.muted)
    while line and not _fits([*line, words], room):
        line.pop()
        left_out += 1
        words = Text(f"+{left_out} more{more}", palette.muted)
    if _fits([*line, words], room):
        line.append(words)


def _fits(entries: Sequence[Text], room: int) -> bool:
    return sum(map(len, entries)) + len(_GAP) * (len(entries) - 1) <= room


def _legend_mark(series: Series) -> str:
    mark = series.tag or series.mark
    if not series.joined:
        return mark or "●"
    return f"━{mark}━" if mark else "━━"
