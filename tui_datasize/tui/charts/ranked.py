"""Bars of which the longest come first, as many as fit, each with its own words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from tui_datasize.tui.charts.lines import sentence
from tui_datasize.tui.widgets.palette import Palette

_LONGEST_TRACK = 48
_SHORTEST_TRACK = 4


@dataclass(frozen=True, slots=True)
class RankedBar:
    """One entry of a ranking."""

    label: str
    value: float
    """Length of the bar, at least 0; the longest of all fills its track."""
    words: str
    """Behind the bar."""


def ranked_bars(
    bars: Sequence[RankedBar],
    heads: tuple[str, str],
    *,
    width: int,
    height: int,
    palette: Palette,
    empty: str,
) -> Text:
    """Draw one bar a line in the given order, below a line of headings.

    Args:
        bars: What to draw; those that do not fit are counted in the last line.
        heads: Above the labels and above the words.
        width: Columns of the result; long labels are cut, and bars left out, where they are few.
        height: Rows of the result.
        palette: Colours.
        empty: The sentence shown where there is nothing to draw.
    """
    if not bars:
        return sentence(empty, width, height, palette)
    fitting = bars if len(bars) < height else bars[: max(1, height - 2)]
    words_width = max(len(text) for text in (heads[1], *(bar.words for bar in fitting)))
    most = max(1, width - words_width - 2)
    label_width = min(most, max(len(text) for text in (heads[0], *(bar.label for bar in fitting))))
    track = min(_LONGEST_TRACK, width - label_width - words_width - 2)
    track = track if track >= _SHORTEST_TRACK else 0
    largest = max(bar.value for bar in fitting) or 1.0
    lines = [_line(heads[0], label_width, "".ljust(track), heads[1].rjust(words_width), palette.muted)]
    for bar in fitting:
        drawn = _drawn(bar.value / largest, track)
        line = _line(bar.label, label_width, drawn, bar.words.rjust(words_width), palette.foreground)
        line.stylize(palette.primary, label_width + 1, label_width + 1 + track)
        lines.append(line)
    if len(fitting) < len(bars):
        lines.append(Text(f"… {len(bars) - len(fitting)} more: ctrl+e", style=palette.muted))
    return Text("\n").join(lines[: max(height, 1)])


def _line(label: str, label_width: int, track: str, words: str, style: str) -> Text:
    shown = label if len(label) <= label_width else f"{label[: label_width - 1]}…"
    return Text(f"{shown.ljust(label_width)} {track} {words}", style=style)


def _drawn(share: float, track: int) -> str:
    full, half = divmod(round(share * track * 2), 2)
    return ("━" * full + "╸" * half)[:track].ljust(track)
