"""The figures of an answer as text: whose colour and mark a thing has on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType

from rich.text import Text

from tui_datasize.answers.answer import Axis, Bars, Box, Chart, Figure, Ink, Map, Mark, Sheet
from tui_datasize.experiments.variants import on_screen, plain_words
from tui_datasize.tui.charts.bars import class_bars, ranked_bars
from tui_datasize.tui.charts.cells import Dash
from tui_datasize.tui.charts.heat_map import legible_digits, overview, side_by_side, surface_chart
from tui_datasize.tui.charts.lines import Drawing, Series, ShadedBand, line_chart, sentence
from tui_datasize.tui.charts.scale import Scale
from tui_datasize.tui.charts.window import WHOLE, ChartWindow
from tui_datasize.tui.widgets.palette import Palette

MARKS = "●◆▲■○◇△□▼★▽☆"
"""Tell like things apart where colour does not."""
_MARKS: Mapping[Mark, str] = MappingProxyType(
    {"": "", "dot": "●", "ring": "○", "small": "∙", "diamond": "◇", "bar": "━"}
)
_INKS: Mapping[str, str] = MappingProxyType(
    {"run": "foreground", "mean": "primary", "law": "muted", "target": "success", "muted": "muted"}
)
_DASHES: Mapping[str, Dash] = MappingProxyType({"forecast": "dashed", "target": "dotted", "muted": "dotted"})
_ROWS: Mapping[Mark, str] = MappingProxyType({"dot": "●◆▲■▼★", "ring": "○◇△□▽☆"})
_DASHES_IN_A_ROW: Sequence[Dash] = ("solid", "dashed", "dotted", "sparse")
"""Of several things on a chart with the same kind of mark each has another one, and another line."""
_OF_THE_NEXT: Mapping[Dash, Dash] = MappingProxyType({"solid": "dashed", "dotted": "sparse"})
"""Of a line that would look like one before it."""
_FORECAST = 1
"""Colour of the series that forecasts have."""
_BOX_HALF_WIDTH = 1.07
"""Of a box on a logarithmic axis, as a factor."""
_GAP, _COLUMNS = 2, 2


def draw_figures(
    figures: Sequence[Figure], width: int, height: int, palette: Palette, window: ChartWindow = WHOLE
) -> Drawing:
    """All figures side by side if they are maps that fit, else the first."""
    if not figures:
        return Drawing(sentence("", width, height, palette))
    maps = [figure for figure in figures if isinstance(figure, Map)]
    if len(maps) == len(figures) > 1 and _all_fit(maps, width, height):
        return Drawing(_side_by_side(maps, width, height, palette))
    return draw_figure(figures[0], width, height, palette, window)


def draw_figure(
    figure: Figure, width: int, height: int, palette: Palette, window: ChartWindow = WHOLE
) -> Drawing:
    """One figure, `height` lines of at most `width` columns; of a chart that part which is looked at."""
    match figure:
        case Chart():
            return _draw_chart(figure, width, height, palette, window)
        case Map():
            return Drawing(_draw_map(figure, width, height, palette))
        case Bars():
            return Drawing(_draw_bars(figure, width, height, palette))
        case Sheet():
            return Drawing(sentence(f"{figure.title}: in the report", width, height, palette))


def _draw_chart(chart: Chart, width: int, height: int, palette: Palette, window: ChartWindow) -> Drawing:
    series = [*_box_series(chart.boxes, palette), *_series(chart, palette)]
    bands = []
    for band in chart.bands:
        # Those of learning curves stay in the background.
        shade = palette.primary if isinstance(band.ink, int) else palette.faint
        bands.append(ShadedBand(band.x, _known(band.low), _known(band.high), shade))
    for box in chart.boxes:
        ends = [box.x / _BOX_HALF_WIDTH, box.x * _BOX_HALF_WIDTH]
        bands.append(ShadedBand(ends, [box.q1] * 2, [box.q3] * 2, palette.primary))
    return line_chart(series, _scale(chart.x), _scale(chart.y), width, height, palette, bands, window=window)


def _series(chart: Chart, palette: Palette) -> Iterator[Series]:
    points = {line.ink: _MARKS[line.mark] for line in chart.lines if line.mark and not line.name}
    seen: set[tuple[object, Dash]] = set()
    short = on_screen({line.name for line in chart.lines})
    inks = {kind: list(dict.fromkeys(one.ink for one in chart.lines if one.mark == kind)) for kind in _ROWS}
    for line in chart.lines:
        mark, dash = _MARKS[line.mark], _DASHES.get(str(line.ink), "solid")
        if line.mark in _ROWS and (place := inks[line.mark].index(line.ink)):
            mark = _ROWS[line.mark][place % len(_ROWS[line.mark])]
            dash = _DASHES_IN_A_ROW[place % len(_DASHES_IN_A_ROW)]
        elif isinstance(line.ink, int) and not line.mark:
            mark = mark_of(line.ink)
        drawn = colour(line.ink, palette)
        if line.name and not mark and (line.ink, dash) in seen:
            dash = _OF_THE_NEXT.get(dash, dash)
        seen.add((line.ink, dash))
        companion = points.get(line.ink, "") if line.name and not mark else ""
        y, is_training = _known(line.y), chart.is_of_training
        yield Series(
            short[line.name] or line.name,
            line.x,
            y,
            drawn,
            line.is_joined,
            mark,
            dash,
            is_training,
            companion,
        )


def mark_of(number: int) -> str:
    """The mark that one of a row of like things has."""
    return MARKS[number % len(MARKS)]


def colour(ink: Ink, palette: Palette) -> str:
    """The colour that an ink has."""
    if isinstance(ink, int):
        return palette.series[ink % len(palette.series)]
    if ink == "forecast":
        return palette.series[_FORECAST]
    named: str = getattr(palette, _INKS[ink])
    return named


def _scale(axis: Axis) -> Scale:
    room = 0.03 if axis.is_log else 0.05
    names = [plain_words(name) for name in axis.names]
    return Scale(axis.title, axis.is_log, axis.floor, axis.ceiling, axis.start, room=room, names=names)


def _known(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def _box_series(boxes: Sequence[Box], palette: Palette) -> Iterator[Series]:
    """Whiskers, what lies beyond them, and medians."""
    for box in boxes:
        for low, high in ((box.whisker_low, box.q1), (box.q3, box.whisker_high)):
            yield Series("", [box.x] * 2, [low, high], palette.primary)
    outliers = [(box.x, value) for box in boxes for value in box.outliers]
    if outliers:
        x, y = zip(*outliers, strict=True)
        yield Series("beyond", x, y, palette.accent, joined=False, mark="∘")
    if boxes:
        places, medians = [box.x for box in boxes], [box.median for box in boxes]
        yield Series("median", places, medians, palette.foreground, joined=False, mark="━")


def _draw_map(figure: Map, width: int, height: int, palette: Palette) -> Text:
    values = [_known(row) for row in figure.values]
    digits = legible_digits(figure.rows, values, figure.digits, width, height)
    if digits is None and figure.otherwise is not None:
        return _draw_bars(figure.otherwise, width, height, palette)
    if digits is None and figure.rows == figure.columns:
        return overview(values, width=width, height=height, palette=palette)
    digits = figure.digits if digits is None else digits
    return surface_chart(
        figure.rows, [*map(plain_words, figure.columns)], values, digits, width, height, palette
    )


def _draw_bars(figure: Bars, width: int, height: int, palette: Palette) -> Text:
    draw = partial(ranked_bars, heads=figure.heads) if any(figure.heads) else class_bars
    return draw(figure.bars, width=width, height=height, palette=palette, empty=f"{figure.title}: none.")


def _all_fit(maps: Sequence[Map], width: int, height: int) -> bool:
    each = (width - _GAP * (_COLUMNS - 1)) // _COLUMNS
    lines = height // -(-len(maps) // _COLUMNS)
    return all(
        legible_digits(one.rows, [_known(row) for row in one.values], 1, each, lines - 1) is not None
        for one in maps
    )


def _side_by_side(maps: Sequence[Map], width: int, height: int, palette: Palette) -> Text:
    """Down the first column, then down the second, each below its title."""
    each = (width - _GAP * (_COLUMNS - 1)) // _COLUMNS
    rows = -(-len(maps) // _COLUMNS)
    lines = height // rows
    style = f"bold {palette.foreground}"
    drawn = [
        Text.assemble((f"{plain_words(one.title)}\n", style), _draw_map(one, each, lines - 1, palette))
        for one in maps
    ]
    beside = [drawn[place::rows] for place in range(rows)]
    widths = [each + _GAP] * (_COLUMNS - 1) + [each]
    return Text("\n").join(side_by_side(row, widths[: len(row)]) for row in beside)
