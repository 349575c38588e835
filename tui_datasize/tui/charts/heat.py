"""The colour of a fraction on every map."""

from __future__ import annotations

from math import isfinite

from rich.style import Style
from textual.color import Color

from tui_datasize.tui.widgets.palette import Palette


def heat(value: float, palette: Palette) -> Color:
    """Colour of a fraction in [0, 1]: from the cursor's faint tint to the primary colour."""
    share = min(1.0, max(0.0, value if isfinite(value) else 0.0))
    return Color.parse(palette.faint).blend(Color.parse(palette.primary), share)


def heat_style(value: float, palette: Palette) -> Style:
    """Digits on that colour; plain where there is no colour or no value."""
    if palette.colourless or not isfinite(value):
        return Style.parse(palette.foreground)
    background = heat(value, palette)
    return Style(color=background.get_contrast_text(1.0).rich_color, bgcolor=background.rich_color)
