"""Charts of lines as text: axes, what stands at the ends of lines, and what is read off at a cursor."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import isfinite
from operator import itemgetter

from rich.text import Text

from tui_datasize.text import fit, width_of
from tui_datasize.tui.charts.cells import Cells, Dash
from tui_datasize.tui.charts.scale import (
    Point,
    Scale,
    Tick,
    decimate,
    interpolate,
    limits,
    name_ticks,
    place_points,
    smoothed,
    ticks,
)
from tui_datasize.tui.charts.window import WHOLE, ChartWindow, Extent
from tui_datasize.tui.widgets.palette import Palette

_SMALLEST_WIDTH, _SMALLEST_HEIGHT = 16, 5
_GAP = "  "
_COLUMNS_PER_TICK = 10
_ROWS_PER_TICK = 3
_ROWS_PER_LEGEND_LINE = 8
_MOST_LEGEND_LINES = 3
"""Besides the line that the legend shares with the y label."""
_LEAST_CURVE_BESIDE_NAMES = 22
_LONGEST_NAME = 20
_COLUMNS_PER_MARK = 4
"""Points that stand closer have no mark each, only the last one has."""
_STROKES: dict[Dash, str] = {"solid": "─", "dashed": "╌", "dotted": "┈", "sparse": "·"}
_MOST_READ_LINES = 2
_WHOLE_FROM = 1000
_MANY, _PLACES_PER_ROW = 1000, 16


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one colour; `x` and `y` are equally long, and NaN interrupts the line."""

    label: str
    """What it is called on the chart; empty for nothing."""
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    """`#rrggbb`."""
    joined: bool = True
    """Whether a line runs through the points."""
    mark: str = ""
    """Character drawn at points that stand apart, and at the last one; empty for none."""
    dash: Dash = "solid"
    is_training: bool = False
    """Whether it is a training curve, which may be smoothed."""
    companion: str = ""
    """Mark of points without a name that belong to it."""

    @property
    def sign(self) -> str:
        """What stands before its name, so that it is told apart without colour."""
        return (self.mark or (_STROKES[self.dash] if self.joined else "●")) + self.companion


@dataclass(frozen=True, slots=True)
class ShadedBand:
    """A shaded stretch between two curves over ascending `x`."""

    x: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    colour: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart, and what can be examined on it."""

    text: Text
    """As many lines as asked for, of at most as many columns."""
    extent: Extent | None = None
    """None where there is nothing to examine."""
    can_be_smoothed: bool = False


@dataclass(frozen=True, slots=True)
class _Placed:
    """A series in drawn units."""

    series: Series
    stretches: Sequence[Sequence[Point]]

    @property
    def points(self) -> list[Point]:
        return [point for stretch in self.stretches for point in stretch]


@dataclass(frozen=True, slots=True)
class _Plan:
    """A chart before it has a size."""

    placed: Sequence[_Placed]
    bands: Sequence[tuple[ShadedBand, tuple[list[Point], list[Point]]]]
    """Each with its lower and its upper edge in drawn units."""
    extent: Extent
    window: ChartWindow
    palette: Palette


@dataclass(frozen=True, slots=True)
class _Name:
    """What stands at the end of a line."""

    row: int
    text: str
    colour: str


def line_chart(
    series: Sequence[Series],
    x_scale: Scale,
    y_scale: Scale,
    width: int,
    height: int,
    palette: Palette,
    bands: Sequence[ShadedBand] = (),
    empty: str = "No points yet.",
    window: ChartWindow = WHOLE,
) -> Drawing:
    """Draw curves with the y label above, the x label below, and the names of lines at their ends.

    Points have their names in a legend beside the y label; lines, too, where there is no room at their ends.
    A legend that is too long for one line goes on in as many as the height allows; what these do not name is
    counted. Later series and bands are on top, bands below series; points that are not finite are left out.
    """
    can_be_smoothed, logged = any(one.is_training for one in series), series
    series = [drawn for one in series for drawn in _smoothed(one, window.smoothing, palette)]
    series = [_told_apart(one, y_scale, window, height) for one in series]
    x_scale, y_scale = _as_wanted(x_scale, window.is_log_x), _as_wanted(y_scale, window.is_log_y)
    placed = [_Placed(one, place_points(one.x, one.y, x_scale, y_scale)) for one in series]
    edges = [_band_edges(band, x_scale, y_scale) for band in bands]
    every = [point for one in placed for point in one.points]
    every += [point for pair in edges for edge in pair for point in edge]
    if not every:
        return Drawing(sentence(empty, width, height, palette))
    if width < _SMALLEST_WIDTH or height < _SMALLEST_HEIGHT:
        return Drawing(sentence("Too small for a chart.", width, height, palette))
    extent = Extent(
        window.x or limits([x for x, _ in every], x_scale),
        window.y or limits([y for _, y in every], y_scale),
        x_scale,
        y_scale,
        _stops(series, x_scale, window),
        _height_at(window.cursor, logged, y_scale),
    )
    plan = _Plan(placed, list(zip(bands, edges, strict=True)), extent, window, palette)
    text = _laid_out(plan, logged, can_be_smoothed, width, height)
    return Drawing(text, extent, can_be_smoothed)


def _laid_out(plan: _Plan, logged: Sequence[Series], can_be_smoothed: bool, width: int, height: int) -> Text:
    extent, window, palette, y_scale = plan.extent, plan.window, plan.palette, plan.extent.y_scale
    series = [one.series for one in plan.placed]
    read = _read_out(logged, extent, window, width, palette)
    names = _width_of_names(plan.placed, width, height - 3 - len(read))
    smoothing = f", smoothed {window.smoothing:g}" if can_be_smoothed and window.smoothing else ""
    legend = _headings(y_scale.label + smoothing, series, bool(names), width, height, palette)
    rows = height - len(legend) - 3 - len(read)
    y_ticks = ticks(*extent.y, y_scale, max(2, (height - 4) // _ROWS_PER_TICK))
    gutter = max((len(tick.label) for tick in y_ticks), default=0)
    cells = Cells(width - gutter - 1 - names, rows, extent.x, extent.y)
    _fill(cells, plan)
    body = _body(cells, y_ticks, gutter, _names(plan.placed, cells, names), palette)
    return Text("\n").join([*legend, *body, *_feet(cells, extent, gutter, width, palette), *read])


def _smoothed(one: Series, weight: float, palette: Palette) -> Sequence[Series]:
    """A training curve as it was logged, faintly, below its average; others as they are."""
    if not one.is_training or not weight:
        return [one]
    logged = replace(one, label="", colour=palette.faint, mark="")
    return logged, replace(one, y=smoothed(one.x, one.y, weight))


def _told_apart(one: Series, y_scale: Scale, window: ChartWindow, rows: int) -> Series:
    """Of many points at the same x, as of 10,000 runs, those that so many rows show in different places."""
    known = [(a, b) for a, b in zip(one.x, one.y, strict=True) if isfinite(b)]
    if one.joined or len(known) < _MANY or y_scale.log:
        return one
    low, high = window.y or (min(b for _, b in known), max(b for _, b in known))
    step = (high - low) / (_PLACES_PER_ROW * max(rows, 1)) or 1.0
    kept = {(a, b // step): (a, b) for a, b in known}
    return replace(one, x=[a for a, _ in kept.values()], y=[b for _, b in kept.values()])


def _as_wanted(scale: Scale, is_log: bool | None) -> Scale:
    if is_log is None or scale.names or is_log == scale.log:
        return scale
    label = f"{scale.label} (log)" if is_log and "(log)" not in scale.label else scale.label
    return replace(scale, log=is_log, label=label if is_log else label.replace(" (log)", ""))


def sentence(text: str, width: int, height: int, palette: Palette) -> Text:
    """A sentence in the middle of an empty chart, wrapped to its width."""
    lines = textwrap.wrap(text, max(10, width - 4))[: max(height, 1)]
    above = max(0, (height - len(lines)) // 2)
    body = [line.center(width).rstrip() for line in lines]
    return Text("\n".join([""] * above + body), style=palette.muted)


def _band_edges(band: ShadedBand, x_scale: Scale, y_scale: Scale) -> tuple[list[Point], list[Point]]:
    low, high = (place_points(band.x, edge, x_scale, y_scale) for edge in (band.low, band.high))
    return list(chain.from_iterable(low)), list(chain.from_iterable(high))


def _fill(cells: Cells, plan: _Plan) -> None:
    extent, window = plan.extent, plan.window
    cells.draw(
        [
            (decimate(stretch, cells.columns), one.series.colour, one.series.dash)
            for one in plan.placed
            if one.series.joined
            for stretch in one.stretches
            if len(stretch) > 1
        ]
    )
    for band, pair in reversed(plan.bands):
        cells.shade(*pair, band.colour)
    cursor = None if window.cursor is None else extent.x_scale.place(window.cursor)
    if cursor is not None and extent.x[0] <= cursor <= extent.x[1]:
        cells.raise_line(cursor, plan.palette.foreground)
    for one in plan.placed:
        mark = one.series.sign if one.series.mark or not one.series.joined else "∙"
        for point in _marked(one, cells.columns):
            cells.put(*point, mark, one.series.colour)


def _marked(one: _Placed, columns: int) -> Sequence[Point]:
    """The points that have a mark: those of a line that stand apart, and what no line would show."""
    points = one.points
    if not one.series.joined:
        return points
    alone = [stretch[0] for stretch in one.stretches if len(stretch) == 1]
    if not one.series.mark:
        return alone
    return points if len(points) <= columns // _COLUMNS_PER_MARK else [*alone, points[-1]]


def _width_of_names(placed: Sequence[_Placed], width: int, rows: int) -> int:
    """Columns for names at the ends of lines, with a gap before them; 0 where there is no room."""
    named = [one.series for one in placed if one.series.joined and one.series.label and one.points]
    if not named or len(named) > rows:
        return 0
    wanted = max(min(width_of(one.label), _LONGEST_NAME) + len(one.sign) for one in named) + 2
    return wanted if width - wanted >= _LEAST_CURVE_BESIDE_NAMES else 0


def _names(placed: Sequence[_Placed], cells: Cells, width: int) -> dict[int, _Name]:
    """By row: names as near to the ends of their lines as they can stand below each other."""
    wanted = []
    for one in placed if width else ():
        series, points = one.series, [point for point in one.points if point[0] <= cells.right]
        if series.joined and series.label and points:
            label = fit(series.label, width - 2 - len(series.sign)).rstrip()
            row = max(0, min(cells.row(points[-1][1]), cells.rows - 1))
            wanted.append((-points[-1][1], _Name(row, f" {series.sign} {label}", series.colour)))
    ordered = [name for _, name in sorted(wanted, key=itemgetter(0))]
    rows: list[int] = []
    for name in ordered:
        rows.append(max(name.row, rows[-1] + 1 if rows else 0))
    for place in range(len(rows) - 1, -1, -1):
        rows[place] = min(rows[place], cells.rows - len(rows) + place)
    return dict(zip(rows, ordered, strict=True))


def _body(
    cells: Cells, y_ticks: Sequence[Tick], gutter: int, names: dict[int, _Name], palette: Palette
) -> list[Text]:
    labels = {cells.row(tick.position): tick.label for tick in y_ticks}
    lines = []
    for row in range(cells.rows):
        label = labels.get(row)
        line = Text(f"{label or '':>{gutter}}{'│' if label is None else '┤'}", palette.muted)
        line.append_text(cells.line(row))
        if name := names.get(row):
            line.append(name.text, name.colour)
        lines.append(line)
    return lines


def _feet(cells: Cells, extent: Extent, gutter: int, width: int, palette: Palette) -> list[Text]:
    scale = extent.x_scale
    count = max(2, cells.columns // _COLUMNS_PER_TICK)
    x_ticks = name_ticks(scale.names, cells.columns) if scale.names else ticks(*extent.x, scale, count)
    axis, labels = ["─"] * cells.columns, [" "] * (width - gutter - 1)
    free = 0
    for tick in x_ticks:
        column = cells.column(tick.position)
        if not 0 <= column < cells.columns:
            continue
        axis[column] = "┬"
        begin = max(0, min(column - len(tick.label) // 2, len(labels) - len(tick.label)))
        if begin >= free:
            labels[begin : begin + len(tick.label)] = tick.label
            free = begin + len(tick.label) + 1
    start = " " * gutter
    title = f"{start} {scale.label.center(cells.columns).rstrip()}"
    texts = (f"{start}└{''.join(axis)}", f"{start} {''.join(labels).rstrip()}", title)
    return [Text(text[:width], palette.muted) for text in texts]


def _stops(series: Sequence[Series], x_scale: Scale, window: ChartWindow) -> Sequence[float]:
    """The x values that have a mark, of what is looked at; of lines without marks all they run through."""
    marked = [one for one in series if one.mark or not one.joined] or series
    every = sorted({x for one in marked for x in one.x if x_scale.place(x) is not None})
    if window.x is None:
        return every
    return [x for x in every if window.x[0] <= (x_scale.place(x) or 0.0) <= window.x[1]]


def _read_out(
    series: Sequence[Series], extent: Extent, window: ChartWindow, width: int, palette: Palette
) -> list[Text]:
    if window.cursor is None:
        return []
    names = extent.x_scale.names
    number = f"{window.cursor:,.0f}" if abs(window.cursor) >= _WHOLE_FROM else f"{window.cursor:.4g}"
    place = names[round(window.cursor)] if names else number
    entries = [Text(f"{extent.x_scale.label.replace(' (log)', '')} {place}", f"bold {palette.foreground}")]
    for one in reversed(series):
        if one.label and (value := value_at(one, window.cursor)):
            entries.append(Text.assemble((one.sign, one.colour), f" {one.label} ", (value, "bold")))
    lines = _legend_lines(entries, [width] * _MOST_READ_LINES, palette)
    return [line for line in lines if line]


def value_at(series: Series, x: float) -> str:
    """What a series has at an x: its value, that of its line between two points, or how far many reach.

    >>> value_at(Series("a", [1, 2], [10, 20], "#ffffff"), 1.5)
    '15'
    >>> value_at(Series("runs", [1, 1, 2], [94.5, 96, 97], "#ffffff", joined=False), 1)
    '94.5 to 96 (2)'
    >>> value_at(Series("a", [1, 2], [10, 20], "#ffffff"), 3)
    ''
    """
    values = _values_at(series, x)
    if len(values) > 1:
        return f"{min(values):.4g} to {max(values):.4g} ({len(values)})"
    return f"{values[0]:.4g}" if values else ""


def _values_at(series: Series, x: float) -> Sequence[float]:
    exact = [b for a, b in zip(series.x, series.y, strict=True) if a == x and b == b]
    if exact or not series.joined:
        return exact[-1:] if series.joined else exact
    plain = Scale("")
    found = (interpolate(x, stretch) for stretch in place_points(series.x, series.y, plain, plain))
    return [value for value in found if value is not None][:1]


def _height_at(cursor: float | None, series: Sequence[Series], y_scale: Scale) -> float | None:
    """The middle of what is read at the cursor, in drawn units."""
    if cursor is None:
        return None
    read = [y_scale.place(value) for one in series if one.label for value in _values_at(one, cursor)]
    places = [place for place in read if place is not None]
    return (min(places) + max(places)) / 2 if places else None


def _headings(
    label: str, series: Sequence[Series], has_names: bool, width: int, height: int, palette: Palette
) -> list[Text]:
    """The y label at the left, the legend at the right and on further lines, topmost series first."""
    entries = [
        Text.assemble((_legend_mark(one), one.colour), (f" {one.label}", palette.muted))
        for one in reversed(series)
        if one.label and not (has_names and one.joined)
    ]
    further = min(_MOST_LEGEND_LINES, (height - 2) // _ROWS_PER_LEGEND_LINE)
    rooms = [width - len(label) - 2, *[width] * further]
    first, *others = _legend_lines(entries, rooms, palette)
    heading = Text(label, style=palette.foreground, no_wrap=True)
    heading.append(" " * max(1, width - len(heading) - len(first))).append_text(first)
    return [heading, *(Text(" " * (width - len(line))).append_text(line) for line in others if line)]


def _legend_lines(entries: Sequence[Text], rooms: Sequence[int], palette: Palette) -> list[Text]:
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
        _count_left_out(lines[-1], left_out, rooms[-1], palette)
    return [Text(_GAP).join(line) for line in lines]


def _count_left_out(line: list[Text], left_out: int, room: int, palette: Palette) -> None:
    words = Text(f"+{left_out} more", palette.muted)
    while line and not _fits([*line, words], room):
        line.pop()
        left_out += 1
        words = Text(f"+{left_out} more", palette.muted)
    if _fits([*line, words], room):
        line.append(words)


def _fits(entries: Sequence[Text], room: int) -> bool:
    return sum(map(len, entries)) + len(_GAP) * (len(entries) - 1) <= room


def _legend_mark(series: Series) -> str:
    if not series.joined:
        return series.sign
    stroke = _STROKES[series.dash]
    mark = series.mark or series.companion
    return f"{stroke}{mark}{stroke}" if mark else stroke * 2
