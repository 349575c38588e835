"""The columns of the table of runs: which there are, which are shown, and how wide each is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tui_datasize.answers.answer import NAMING, Column, Kind
from tui_datasize.experiments.recipe_columns import recipe_columns
from tui_datasize.metric import METRICS_OFFERED, SCORES
from tui_datasize.render.cells import cell
from tui_datasize.text import duration, fit, percent, time_left, visible, width_of

if TYPE_CHECKING:
    import polars as pl

SPECIFIED = (
    *("dataset", "model", "subset_strategy", "subset_nested", "total_updates", *recipe_columns()),
    *("transfer", "transfer_source", "as_published", "parameters", "flops_per_image"),
    *("device", "precision", "pack_width", "hostname", "torch", "git_commit"),
)
"""What a run was to be, beside what names it, and what it ran on."""
_FIRST = ("fraction", "remaining_s", "test_loss", "train_loss", "test_accuracy", "train_accuracy")
_THEN = ("wall_s", "images_per_s", "device", "updates", "best_test_accuracy")
"""What follows where there is room."""
NOTE = "note"
"""Why a run failed or waits; it takes what the others leave."""
_TITLES: Mapping[str, str] = MappingProxyType(
    {
        "fraction": "%",
        "remaining_s": "left",
        "wall_s": "time",
        "images_per_s": "images/s",
        "device": "on",
        "updates": "update",
        "best_test_accuracy": "best",
        NOTE: "note",
    }
)
_FIRST_TO_STAY = ("fraction", "test_accuracy", "remaining_s", "test_loss", "train_accuracy", "train_loss")
_LENGTHS = MappingProxyType({"fraction": 3, "remaining_s": 7, "wall_s": 7})
_OF_NUMBER = 9
_LEAST_TEXT, _LONGEST_TEXT = 8, 32
_LEAST_NOTE = 24
_MOST_GAP = 8
"""Columns that are added to each where the window is wider than all of them."""


@dataclass(frozen=True, slots=True)
class LiveColumn:
    """A column of the frame of all jobs, as the table shows it."""

    column: Column
    over: str = ""
    """The line above its title, which columns beside each other may share."""

    @property
    def name(self) -> str:
        return self.column.name

    @property
    def title(self) -> str:
        # The rows are runs, so that the last word tells what is meant.
        return self.column.title.rpartition(" ")[2] if self.column in NAMING else self.column.title

    @property
    def is_text(self) -> bool:
        return self.column.kind == "text"

    def write(self, value: Any) -> str:
        """A value; empty where there is none."""
        if value is None:
            return ""
        if self.name in ("fraction", "remaining_s", "wall_s"):
            return {"fraction": percent, "remaining_s": time_left}.get(self.name, duration)(value)
        return visible(cell(value, self.column.kind, METRICS_OFFERED.get(self.name, _ANY)))

    def placed(self, text: str, width: int) -> str:
        """A text in so many characters: words begin at the left, numbers end at the right."""
        own = fit(text, width - 1)
        return f" {own}" if self.is_text else own.rstrip().rjust(width)


_ANY = METRICS_OFFERED["test_loss"]


@cache
def live_columns() -> Mapping[str, LiveColumn]:
    """All columns by name, in the order in which they are shown."""
    from tui_datasize.runlog.schema import RUNS

    told = (_FIRST, _THEN, ("state", *SPECIFIED), METRICS_OFFERED, ("finished_at", "peak_memory_bytes", NOTE))
    names = dict.fromkeys(name for group in told for name in group)
    schema = {**RUNS, "fraction": "Float64", "remaining_s": "Float64"}
    kinds: dict[str, Kind] = {"Int64": "count", "Float64": "number"}
    columns = {column.name: LiveColumn(column) for column in NAMING}
    for name in names:
        title = _TITLES.get(name, name.replace("_", " "))
        kind: Kind = "value" if name in METRICS_OFFERED else kinds.get(str(schema.get(name)), "text")
        over = ""
        if name in METRICS_OFFERED and name != "wall_s":
            split, _, score = name.removeprefix("best_").partition("_")
            measured = next(one for one in SCORES if one.name == score)
            over = f"{measured.title}, %" if measured.is_share else measured.title
            title = f"best {split}" if name.startswith("best_") else split
        columns[name] = LiveColumn(Column(name, title, kind), over)
    return MappingProxyType(columns)


def title_of(name: str) -> str:
    """What a column of the frame of all jobs is called in a sentence."""
    if name in METRICS_OFFERED and name != "wall_s":
        return METRICS_OFFERED[name].in_words
    return live_columns()[name].title if name in live_columns() else name.replace("_", " ")


@dataclass(frozen=True, slots=True)
class ColumnChoice:
    """What was chosen by hand of the columns, by their names."""

    shown: Mapping[str, bool] = field(default_factory=dict)
    """Those that are shown, or hidden, whatever is usual."""
    pinned: tuple[str, ...] = ()
    """Those that stand first and never go."""
    wider: Mapping[str, int] = field(default_factory=dict)
    """Characters by which a column is wider than usual."""

    def toggled(self, name: str, usual: Iterable[str]) -> ColumnChoice:
        """Show what is hidden, and the other way round."""
        return replace(self, shown={**self.shown, name: not self.shows(name, usual)})

    def shows(self, name: str, usual: Iterable[str]) -> bool:
        return self.shown.get(name, name in usual) or name in self.pinned

    def wanted(self, usual: Iterable[str]) -> list[str]:
        """All that are shown where there is room, in order."""
        return [name for name in live_columns() if self.shows(name, usual)]

    def pin_turned(self, name: str) -> ColumnChoice:
        """Pin a column, or take the pin away."""
        others = tuple(one for one in self.pinned if one != name)
        return replace(self, pinned=others if name in self.pinned else (*others, name))

    def widened(self, name: str, by: int) -> ColumnChoice:
        return replace(self, wider={**self.wider, name: self.wider.get(name, 0) + by})


def columns_of(told: object) -> ColumnChoice:
    """What was remembered of a choice; what makes no sense is left out."""
    parts = told if isinstance(told, dict) else {}
    shown, pinned, wider = (parts.get(name) for name in ("shown", "pinned", "wider"))
    return ColumnChoice(
        {name: on is True for name, on in shown.items()} if isinstance(shown, dict) else {},
        tuple(name for name in pinned if isinstance(name, str)) if isinstance(pinned, list) else (),
        {name: by for name, by in wider.items() if type(by) is int} if isinstance(wider, dict) else {},
    )


def usual_columns(naming: Sequence[str]) -> tuple[str, ...]:
    """What is shown where nobody has chosen: what tells the runs apart, then how they fare."""
    return (*naming, *_FIRST, *_THEN, NOTE)


def longest(runs: pl.DataFrame, names: Iterable[str]) -> Mapping[str, int]:
    """The length of the longest text of each column, its title included."""
    import polars as pl

    lengths = {}
    for name in names:
        column, values = live_columns()[name], runs[name]
        if values.dtype == pl.String:
            own: Any = max(map(width_of, values.drop_nulls()), default=0)
        else:
            # Of numbers with the same digits the ends are the longest.
            ends = len(column.write(values.min())), len(column.write(values.max()))
            own = _LENGTHS.get(name, _OF_NUMBER if column.column.kind == "number" else max(ends))
        over = len(column.over) // (1 if name.startswith("best_") else 2)
        lengths[name] = max(own, len(column.title) + 1, over)
    return lengths


def fitted(
    choice: ColumnChoice, naming: Sequence[str], lengths: Mapping[str, int], width: int
) -> list[tuple[LiveColumn, int]]:
    """The columns that fit into a width, in order, and how wide each is, a space included.

    Pinned ones come first, then those that tell the runs apart, whose words are cut rather than left out;
    of the others as many as there is room for. The note takes what is left.
    """
    wanted = [name for name in choice.wanted(usual_columns(naming)) if name in lengths]
    firm = [name for name in dict.fromkeys((*choice.pinned, *naming)) if name in wanted and name != NOTE]
    widths = {name: _width(name, choice, lengths) for name in firm}
    texts = [name for name in firm if live_columns()[name].is_text]
    while sum(widths.values()) > width and (cut := max(texts, key=widths.__getitem__, default="")):
        if widths[cut] <= _LEAST_TEXT:
            break
        widths[cut] -= 1
    while len(widths) > 1 and sum(widths.values()) > width:
        widths.popitem()
    has_note = NOTE in wanted and lengths[NOTE] > len(NOTE) + 1
    before_note = (*(name for name in wanted if choice.shown.get(name)), *_FIRST_TO_STAY)
    for name in dict.fromkeys((*before_note, *wanted)):
        if name in wanted and name not in (*firm, NOTE):
            own, kept = _width(name, choice, lengths), 0 if name in before_note else has_note * _LEAST_NOTE
            if sum(widths.values()) + own + kept <= width:
                widths[name] = own
    widths = {name: widths[name] for name in dict.fromkeys((*firm, *wanted)) if name in widths}
    room = width - sum(widths.values())
    if has_note and room >= _LEAST_NOTE:
        widths[NOTE] = room
    elif widths:
        gap, rest = divmod(room, len(widths))
        for place, name in enumerate(widths):
            widths[name] += min(_MOST_GAP, gap + (place < rest))
    return [(live_columns()[name], own) for name, own in widths.items()]


def _width(name: str, choice: ColumnChoice, lengths: Mapping[str, int]) -> int:
    own = min(lengths[name], _LONGEST_TEXT) + choice.wider.get(name, 0)
    return max(3, own) + 1
