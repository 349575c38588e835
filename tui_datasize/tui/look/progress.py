"""Progress as text."""

from __future__ import annotations

from rich.text import Text

from tui_datasize.tui.widgets.palette import Palette


def progress_bar(fraction: float, width: int, palette: Palette, colour: str) -> Text:
    """A thin bar of `width` columns; full only when everything is done."""
    fraction = min(1.0, max(0.0, fraction))
    halves = int(fraction * width * 2)
    full, half = divmod(halves, 2)
    done = "━" * full + ("╸" if half else "")
    return Text.assemble((done, colour), ("─" * (width - len(done)), palette.faint))


def percent(fraction: float) -> str:
    """A fraction in whole percent, rounded down so that 100 means done."""
    return f"{int(100 * fraction + 1e-9)}"
