"""Lists of runs that are narrowed by a filter, and the box that it is written into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input

from tui_datasize.tui.widgets.completing import CompletingInput
from tui_datasize.tui.widgets.line_view import MarkList
from tui_datasize.tui.widgets.palette import palette_of
from tui_datasize.tui.widgets.plain import Words

if TYPE_CHECKING:
    import polars as pl

_EXAMPLE = "size>=1000 state:running acc<90% !mlp"


class FilteredRuns(Widget):
    """Shows those runs that a filter lets through."""

    frame: pl.DataFrame | None = None
    """All runs, see `runs_of_jobs`; None before the first look."""
    filter_text = ""
    """The terms that are heeded."""

    def list_again(self) -> None:
        """Show what the filter lets through."""
        raise NotImplementedError

    def take(self, frame: pl.DataFrame) -> None:
        is_first, self.frame = self.frame is None, frame
        if is_first and self.filter_text:
            # What was written before the first look is heeded now.
            self.filter(self.filter_text)
        self.list_again()

    def filter(self, text: str, *, is_written: bool = True) -> str:
        """Show only runs that match all right terms, see `run_filter`; what is wrong with another.

        Unless it `is_written` to its end, half a term is neither wrong nor heeded.
        """
        if self.frame is None:
            self.filter_text = text
            return ""
        from tui_datasize.tui.run_filter import completions, mistake

        right = [word for word in text.split() if not mistake(word, self.frame)]
        if not is_written and text.endswith(tuple(right[-1:])) and completions(text, self.frame):
            before = " ".join(right[:-1])
            if self._through(" ".join(right)).is_empty() and not self._through(before).is_empty():
                right.pop()
        if self.filter_text != (heeded := " ".join(right)):
            self.filter_text = heeded
            self.list_again()
        return mistake(text, self.frame, is_written=is_written)

    def matching(self) -> pl.DataFrame:
        """The runs that the filter lets through; not before the first look."""
        return self._through(self.filter_text)

    def _through(self, text: str) -> pl.DataFrame:
        assert self.frame is not None
        if not text:
            return self.frame
        from tui_datasize.tui.run_filter import filter_of

        wanted = filter_of(text, self.frame.schema)
        return self.frame if wanted is None else self.frame.filter(wanted)


class RunList(MarkList, FilteredRuns):
    """Runs with marks, narrowed by a filter."""

    def take(self, frame: pl.DataFrame) -> None:
        """Replace the runs; marks of those that are gone go with them."""
        if self.marked:
            known = set(frame["run_id"])
            self.marked = {run_id: None for run_id in self.marked if run_id in known}
        super().take(frame)


class _Entry(CompletingInput):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "keep filter"),
        Binding("escape", "drop", "drop filter"),
    ]

    def action_drop(self) -> None:
        self.post_message(FilterBox.Dropped())


class FilterBox(Horizontal):
    """The filter above a list of runs, and what may be written next; hidden while empty and not in use."""

    DEFAULT_CSS = """
    FilterBox { display: none; height: 1; }
    FilterBox.-open { display: block; }
    FilterBox Words { width: 1fr; margin: 0 0 0 1; }
    FilterBox Input { width: 1fr; }
    """

    @dataclass
    class Changed(Message):
        """Other runs are shown, or what is written says nothing."""

        wrong: str

    class Dropped(Message):
        """No filter is wanted any more."""

    def __init__(self, runs: FilteredRuns, *, stays: bool = True) -> None:
        """Whether it `stays` while it is in force, or the runs say so themselves."""
        super().__init__()
        self._runs = runs
        self._stays = stays
        self._entry = _Entry(self._complete, placeholder=_EXAMPLE)
        self._hint = Words()

    def compose(self) -> ComposeResult:
        yield self._entry
        yield self._hint

    def _complete(self, text: str) -> list[str]:
        """The whole text with each of its completions."""
        from tui_datasize.tui.run_filter import completions

        frame = self._runs.frame
        before = text[: len(text) - len(text.rpartition(" ")[2])]
        return [] if frame is None else [before + word for word in completions(text, frame)]

    @property
    def value(self) -> str:
        return self._entry.value

    def open(self) -> None:
        self.add_class("-open")
        self._entry.focus()
        self._show_hint()

    @on(Dropped)
    def drop(self) -> None:
        self._entry.value = ""
        self._close()

    def _close(self) -> None:
        self.set_class(self._stays and bool(self.value), "-open")
        self._hint.update("", layout=False)
        self._runs.focus()

    @on(Input.Changed)
    def _filter(self, event: Input.Changed) -> None:
        event.stop()
        if self.has_class("-open"):
            self._show_hint()
        self.post_message(self.Changed(self._runs.filter(self.value, is_written=False)))

    @on(Input.Submitted)
    def _keep(self, event: Input.Submitted) -> None:
        event.stop()
        wrong = self._runs.filter(self.value)
        self.post_message(self.Changed(wrong))
        if not wrong:
            self._close()

    def _show_hint(self) -> None:
        words = [text.rpartition(" ")[2] for text in self._complete(self.value)]
        line = Text("  ".join(words), palette_of(self.app).muted, no_wrap=True, overflow="ellipsis")
        self._hint.update(line, layout=False)
