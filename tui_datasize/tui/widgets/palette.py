"""Colours and glyphs: every state is told by its shape first and by its colour second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from rich.text import Text
from textual.app import App
from textual.color import Color
from textual.theme import Theme

from tui_datasize.jobs.queue.state import JobState

Incomplete: TypeAlias = Literal["incomplete"]
INCOMPLETE: Incomplete = "incomplete"
"""Of a run that succeeded, as the queue has it, and whose record lacks evaluations: it is not done."""
CellState: TypeAlias = JobState | Incomplete | None
"""State of a cell of a sweep; None where nothing was queued or run yet."""

# Okabe and Ito (2008), "Color universal design", lightened for a dark background or darkened for a light one.
# The green of `success` comes late, so that few charts have it twice.
_SERIES_ON_DARK = ("#56b4e9", "#e69f00", "#d98cb8", "#f0e442", "#f07b46", "#8fa8ff", "#2fbf94", "#b9b9b9")
_SERIES_ON_LIGHT = ("#0072b2", "#b87700", "#a8497e", "#7d7400", "#c04a00", "#4453c8", "#00805c", "#5a5a5a")

THEME = Theme(
    name="datasize",
    primary="#56b4e9",
    secondary="#8fa8ff",
    accent="#e69f00",
    success="#2fbf94",
    warning="#e69f00",
    error="#f07b46",
    foreground="#d3d9e0",
    background="#11151a",
    surface="#11151a",
    panel="#1d242c",
    dark=True,
    variables={"footer-background": "#1d242c", "input-selection-background": "#56b4e9 35%"},
)


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours as `#rrggbb`, taken from the theme in use."""

    foreground: str
    muted: str
    """Labels and axes."""
    faint: str
    """Rules, empty progress, bands."""
    cursor: str
    """Background of the row under the cursor."""
    cursor_passive: str
    """The same in a list without focus."""
    primary: str
    accent: str
    success: str
    error: str
    series: tuple[str, ...]
    """One colour per run or variant, told apart by most colour-blind people."""
    colourless: bool = False
    """Whether the terminal has no shades of a colour: maps are then told by digits and characters."""


GREY = Palette(*("#808080",) * 9, series=("#808080",) * len(_SERIES_ON_DARK), colourless=True)
"""For a terminal whose background is not known."""
ON_PAPER = Palette(
    foreground="#1c2126",
    muted="#5c6670",
    faint="#b9c1c9",
    cursor="#cfe3f1",
    cursor_passive="#edf0f3",
    primary="#0072b2",
    accent="#b87700",
    success="#00805c",
    error="#c04a00",
    series=_SERIES_ON_LIGHT,
)
"""For pictures, which are white."""
_16_ON_DARK = Palette(
    foreground="#ffffff",
    muted="#aaaaaa",
    faint="#555555",
    cursor="#555555",
    cursor_passive="#000000",
    primary="#55ffff",
    accent="#aa5500",
    success="#55ff55",
    error="#ff5555",
    series=("#55ffff", "#aa5500", "#ff55ff", "#ffff55", "#ff5555", "#5555ff", "#00aa00", "#aa00aa"),
    colourless=True,
)
"""Of the very colours that terminals with 16 have: others would become each other."""
_16_ON_LIGHT = Palette(
    foreground="#000000",
    muted="#555555",
    faint="#aaaaaa",
    cursor="#aaaaaa",
    cursor_passive="#ffffff",
    primary="#0000aa",
    accent="#aa5500",
    success="#00aa00",
    error="#aa0000",
    series=("#0000aa", "#aa5500", "#aa00aa", "#00aaaa", "#aa0000", "#5555ff", "#00aa00", "#ff55ff"),
    colourless=True,
)


@dataclass(frozen=True, slots=True)
class StateLook:
    """How a state is shown."""

    glyph: str
    word: str
    colour: str
    """Name of a field of `Palette`."""


STATE_LOOKS: Mapping[CellState, StateLook] = MappingProxyType(
    {
        None: StateLook("·", "missing", "muted"),
        JobState.QUEUED: StateLook("○", "queued", "foreground"),
        JobState.HELD: StateLook("‖", "held", "accent"),
        JobState.STARTING: StateLook("◔", "starting", "primary"),
        JobState.RUNNING: StateLook("◐", "running", "primary"),
        JobState.SUCCEEDED: StateLook("●", "done", "success"),
        JobState.FAILED: StateLook("✗", "failed", "error"),
        INCOMPLETE: StateLook("!", "incomplete", "error"),
        JobState.CANCELLED: StateLook("−", "cancelled", "muted"),
        JobState.INTERRUPTED: StateLook("↻", "interrupted", "accent"),
    }
)
"""In the order in which legends list them."""
STATES_BY_WORD: Mapping[str, CellState] = MappingProxyType(
    {look.word: state for state, look in STATE_LOOKS.items()}
)


def palette_of(app: App[Any]) -> Palette:
    """The palette of the theme that the app shows; of 16 colours where terminal or theme has no more."""
    dark, variables = app.current_theme.dark, app.theme_variables
    if app.console.color_system in ("standard", "windows") or app.current_theme.ansi:
        return _16_ON_DARK if dark else _16_ON_LIGHT
    named = ("foreground", "background", "primary", "accent", "success", "error")
    return _mixed(*(variables[name] for name in named), dark, app.no_color)


@lru_cache(maxsize=8)
def _mixed(
    front: str, back: str, primary: str, accent: str, success: str, error: str, dark: bool, no_color: bool
) -> Palette:
    """The palette of a theme's colours: every line that is drawn asks for it."""
    foreground, background = Color.parse(front), Color.parse(back)
    return Palette(
        foreground=foreground.hex6.lower(),
        muted=background.blend(foreground, 0.55).hex6.lower(),
        faint=background.blend(foreground, 0.22).hex6.lower(),
        cursor=background.blend(Color.parse(primary), 0.25).hex6.lower(),
        cursor_passive=background.blend(foreground, 0.08).hex6.lower(),
        primary=Color.parse(primary).hex6.lower(),
        accent=Color.parse(accent).hex6.lower(),
        success=Color.parse(success).hex6.lower(),
        error=Color.parse(error).hex6.lower(),
        series=_SERIES_ON_DARK if dark else _SERIES_ON_LIGHT,
        colourless=no_color,
    )


def state_style(state: CellState, palette: Palette) -> str:
    """Rich style of a state's glyph."""
    colour: str = getattr(palette, STATE_LOOKS[state].colour)
    return colour


def progress_bar(fraction: float, width: int, palette: Palette, colour: str) -> Text:
    """A thin bar of `width` columns; full only when everything is done."""
    fraction = min(1.0, max(0.0, fraction))
    full, half = divmod(int(fraction * width * 2), 2)
    done = "━" * full + ("╸" if half else "")
    return Text.assemble((done, colour), ("─" * (width - len(done)), palette.faint))
