"""Bars as text: one per class with what is expected of it, or the longest first, each with its words."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, isfinite

from rich.text import Text

from tui_datasize.answers.answer import Bar
from tui_datasize.text import fit, width_of
from tui_datasize.tui.charts.lines import Series, ShadedBand, line_chart, sentence
from tui_datasize.tui.charts.scale import Scale
from tui_datasize.tui.widgets.palette import Palette

_SMALLEST_BAR = 12
_VALUE_WIDTH = 7
_ARROWS = {1: "▲", -1: "▼", 0: ""}
_LONGEST_LABEL = 24
_LONGEST_TRACK = 48
_SHORTEST_TRACK = 4


def class_bars(
    bars: Sequence[Bar], *, width: int, height: int, palette: Palette, empty: str = "No classes yet."
) -> Text:
    """Draw one bar per class in the given order, with the expected value and its interval marked in it.

    A value outside of the interval has an arrow behind it. Classes that fit are written one a line, in as
    many blocks side by side as it takes; more than that become the columns of a chart without names.
    """
    known = [bar for bar in bars if isfinite(bar.value)]
    if not known:
        return sentence(empty, width, height, palette)
    label_width = min(_LONGEST_LABEL, width // 3, max(width_of(bar.name) for bar in known)) + 1
    blocks = ceil(len(known) / max(height, 1))
    block_width = width // blocks
    track = block_width - label_width - _VALUE_WIDTH - 1
    if track < _SMALLEST_BAR:
        return _bar_columns(known, width, height, palette)
    marks = [mark for bar in known for mark in (bar.expected, bar.high) if isfinite(mark)]
    largest = max([bar.value for bar in known] + marks)
    rows = ceil(len(known) / blocks)
    lines = [Text() for _ in range(rows)]
    for index, bar in enumerate(known):
        line = _bar_line(bar, label_width, min(track, _LONGEST_TRACK), largest or 1.0, palette)
        line.pad_right(block_width - len(line))
        lines[index % rows].append_text(line)
    return Text("\n").join(lines)


def _bar_line(bar: Bar, label_width: int, track: int, largest: float, palette: Palette) -> Text:
    body = Text(_drawn(bar.value / largest, track), style=palette.primary)
    for value, mark in ((bar.low, "["), (bar.high, "]"), (bar.expected, "┃")):
        if isfinite(value):
            at = min(track - 1, round(value / largest * track))
            body = Text.assemble(body[:at], (mark, f"bold {palette.accent}"), body[at + 1 :])
    label = Text(f"{fit(bar.name, label_width - 1)} ", style=palette.foreground)
    style = f"bold {palette.accent}" if bar.outside else palette.muted
    return label.append_text(body).append(f" {bar.value:5.1f}{_ARROWS[bar.outside]}", style)


def _bar_columns(bars: Sequence[Bar], width: int, height: int, palette: Palette) -> Text:
    places = list(range(1, len(bars) + 1))
    placed = list(zip(places, bars, strict=True))
    stems = [Series("", [place, place], [0.0, bar.value], palette.primary) for place, bar in placed]
    expected = Series("expected", places, [bar.expected for bar in bars], palette.accent)
    x, y = ([p for p, bar in placed if bar.outside], [bar.value for bar in bars if bar.outside])
    marks = Series("outside", x, y, palette.accent, joined=False, mark="▲")
    interval = ShadedBand(places, [bar.low for bar in bars], [bar.high for bar in bars], palette.faint)
    series = [*stems, expected, *([marks] if x else [])]
    x_scale, y_scale = Scale(f"{len(bars)} classes, sorted", room=0.02), Scale("shared, %", floor=0)
    return line_chart(series, x_scale, y_scale, width, height, palette, [interval]).text


def ranked_bars(
    bars: Sequence[Bar], heads: tuple[str, str], *, width: int, height: int, palette: Palette, empty: str
) -> Text:
    """Draw one bar a line in the given order, below a line of headings.

    Long labels are cut, and bars left out, where columns are few; how many, the last line says.
    """
    if not bars:
        return sentence(empty, width, height, palette)
    fitting = bars if len(bars) < height else bars[: max(1, height - 2)]
    words_width = max(len(text) for text in (heads[1], *(bar.words for bar in fitting)))
    most = max(1, width - words_width - 2)
    label_width = min(most, max(width_of(text) for text in (heads[0], *(bar.name for bar in fitting))))
    track = min(_LONGEST_TRACK, width - label_width - words_width - 2)
    track = track if track >= _SHORTEST_TRACK else 0
    largest = max(bar.value for bar in fitting) or 1.0
    lines = [_line(heads[0], label_width, "".ljust(track), heads[1].rjust(words_width), palette.muted)]
    for bar in fitting:
        drawn = _drawn(bar.value / largest, track)
        line = _line(bar.name, label_width, drawn, bar.words.rjust(words_width), palette.foreground)
        begin = len(fit(bar.name, label_width)) + 1
        line.stylize(palette.primary, begin, begin + track)
        lines.append(line)
    if len(fitting) < len(bars):
        lines.append(Text(f"… {len(bars) - len(fitting)} more: ctrl+e", style=palette.muted))
    return Text("\n").join(lines[: max(height, 1)])


def _line(label: str, label_width: int, track: str, words: str, style: str) -> Text:
    return Text(f"{fit(label, label_width)} {track} {words}", style=style)


def _drawn(share: float, track: int) -> str:
    full, half = divmod(round(share * track * 2), 2)
    return ("━" * full + "╸" * half)[:track].ljust(track)
