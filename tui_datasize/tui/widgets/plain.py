"""Text that is text on the screen: no markup is read in it, and nothing in it acts on the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len
from rich.segment import Segment
from rich.text import Text
from textual.color import Color
from textual.content import Content
from textual.filter import LineFilter
from textual.visual import VisualType
from textual.widget import Widget
from textual.widgets import Static

from tui_datasize.characters import in_ascii
from tui_datasize.text import visible


class Words(Static):
    """Something said, or drawn by Rich."""

    def __init__(self, content: VisualType = "", *, classes: str | None = None) -> None:
        super().__init__(_plain(content), classes=classes, markup=False)

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        super().update(_plain(content), layout=layout)


def _plain(content: VisualType) -> VisualType:
    return visible(content, lines=True) if isinstance(content, str) else content


def plain_text(text: str, style: str = "", *, no_wrap: bool = False) -> Text:
    """Text from outside in one style."""
    return Text(visible(text), style, no_wrap=no_wrap)


def titled(box: Widget, title: str, hint: str = "") -> Widget:
    """A box with a title, and a hint at its foot."""
    # Textual takes strings here for markup.
    box.border_title = Content(visible(title))
    box.border_subtitle = Content(visible(hint))
    return box


def visible_segments(segments: Iterable[Segment]) -> list[Segment]:
    """Segments of a line with every character made visible; the line may become longer."""
    return [Segment(visible(text), style, control) for text, style, control in segments]


class PrintableOnly(LineFilter):
    """The last door before the terminal: what nobody made visible is left out, and no column moves."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002
        """The same segments without what a terminal would act on; called by Textual."""
        if all(segment.text.isprintable() for segment in segments):
            return segments
        return [Segment(_printable(text), style, control) for text, style, control in segments]


class AsciiOnly(LineFilter):
    """Draws all in ASCII, for a terminal that takes nothing else."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002
        """The same segments in as many columns; called by Textual."""
        return [Segment(in_ascii(text), style, control) for text, style, control in segments]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == visible(c) else "�" * cell_len(c) for c in text)
