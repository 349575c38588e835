"""The table of jobs: one line each, marks, and a filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

from rich.text import Text
from textual.binding import Binding, BindingType

from tui_datasize.experiments.spec import CELL
from tui_datasize.experiments.variants import plain_words
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.text import fit, number, percent, time_left, width_of
from tui_datasize.tui.keys import hint_of
from tui_datasize.tui.polling.snapshot import JobRow, Snapshot
from tui_datasize.tui.widgets.filter_box import RunList
from tui_datasize.tui.widgets.palette import STATE_LOOKS, Palette, progress_bar, state_style

_WIDE = 104
_STATE_WIDTH = 15
_CELL_WIDTHS = (7, 5, 7)
_NAMED = 4 + _STATE_WIDTH + sum(_CELL_WIDTHS)
_LONGEST_HEADER = 5
"""Of a swept key whose values are shorter."""
_Kind: TypeAlias = tuple[str, str]
"""Experiment and variant."""


def _in_six(value: float | None) -> str:
    """A number in at most six characters: the larger it is, the fewer its decimals.

    >>> [_in_six(value) for value in (None, 41.7, 99.9999, 51234.127, 3.2e9)]
    ['', '41.700', '100.0', '51234', '3e+09']
    """
    texts = (number(value, spec) for spec in (".3f", ".1f", ".0f", ".0e"))
    return next(text for text in texts if len(text) <= 6)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Widths at the width in hand; 0 leaves a column out."""

    swept: tuple[int, ...]
    bar: int
    attempt: int
    device: int = 6
    percent: int = 5
    eta: int = 8
    loss: int = 7
    accuracy: int = 7

    @property
    def rest(self) -> int:
        """Columns behind what names the run, which a reason may take."""
        return self.bar + self.percent + self.eta + self.loss + self.accuracy + self.device + self.attempt

    def without(self, name: str) -> _Columns:
        narrow: dict[str, Any] = {name: 0}
        return replace(self, **narrow)


_ROOM_FOR_SWEPT = (
    (("device", "bar", "attempt", "loss", "eta"), 12),
    (("accuracy", "percent"), 4),
)
"""Columns that make room for what sets runs apart, in this order, and how narrow its own then become."""


def _columns(width: int, swept: Sequence[int]) -> _Columns:
    """Those beside swept ones of such widths, which stay in any case."""
    is_wide = width >= _WIDE
    left = width - _NAMED
    columns = _Columns(tuple(swept), bar=14 if is_wide else 0, attempt=6 if is_wide else 0)
    widths = list(swept)
    for names, least in _ROOM_FOR_SWEPT:
        for name in names:
            if sum(widths) + columns.rest > left:
                columns = columns.without(name)
        while sum(widths) + columns.rest > left and max(widths, default=0) > least:
            widths[widths.index(max(widths))] -= 1
    return replace(columns, swept=tuple(widths))


def _swept(kinds: Sequence[_Kind]) -> tuple[Mapping[str, int], Mapping[_Kind, Mapping[str, str]]]:
    """What sets jobs apart beside size, draw and seed: the columns with their widths, and each kind's values.

    >>> _swept([("a", "cnn3 lr=0.1 batch_size=8"), ("a", "cnn3 lr=0.01 batch_size=8")])[0]
    {'swept': 7, 'lr': 6, 'batch_size': 7}
    """
    has_several = len({experiment for experiment, _ in kinds}) > 1
    values: dict[_Kind, dict[str, str]] = {}
    for kind in kinds:
        experiment, variant = kind
        values[kind] = {"experiment": experiment} if has_several else {}
        words = [word for word in variant.split(" ") if "=" not in word]
        if any(words):
            values[kind]["swept"] = plain_words(" ".join(words))
        values[kind] |= dict(word.split("=", 1) for word in variant.split(" ") if "=" in word)
    widths: dict[str, int] = {}
    for own in values.values():
        for name, value in own.items():
            least = max(width_of(value), min(len(name), _LONGEST_HEADER))
            widths[name] = max(widths.get(name, 0), 2 + least)
    return widths, values


def _end_of(text: str, width: int) -> str:
    """A cell of a swept column: of a long name the end, which sets it apart from others of its kind."""
    text = text if len(text) < width else f"…{text[len(text) + 2 - width :]}"
    return text.rjust(width)


def _headers(names: Sequence[str], widths: Sequence[int]) -> list[str]:
    """The beginnings of names that fit; of those that are alike so what stands behind the dot.

    >>> _headers(["synthetic", "synthetic.epochs", "synthetic.ratio", "batch_size"], [7, 7, 7, 7])
    ['synth', 'epoch', 'ratio', 'batch']
    """
    fitting = [name[: width - 2] for name, width in zip(names, widths, strict=True)]
    return [
        header if fitting.count(header) == 1 else name.rpartition(".")[2][: width - 2]
        for header, name, width in zip(fitting, names, widths, strict=True)
    ]


_HEADERS = {
    "percent": "%",
    "eta": "left",
    "loss": "loss",
    "accuracy": "acc %",
    "attempt": "try",
    "device": "on",
}


class JobTable(RunList):
    """Jobs in display order; `show` replaces them, the cursor and the marks stay with their runs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "mark", tooltip="Mark the job; keys then act on all marked ones"),
        Binding("asterisk", "mark_all", "all", tooltip="Mark all jobs shown, or none: h holds them all"),
    ]

    _all: Sequence[JobRow] = ()
    _rows: Sequence[JobRow] = ()
    _device_names: Mapping[str, str] = MappingProxyType({})
    _widths: Mapping[str, int] = MappingProxyType({})
    """Of the columns of what sets jobs apart beside size, draw and seed, by their names."""
    _values: Mapping[_Kind, Mapping[str, str]] = MappingProxyType({})

    @property
    def header_lines(self) -> int:
        return 1

    @property
    def shown(self) -> int:
        return len(self._rows)

    @property
    def current(self) -> JobRow | None:
        return self._rows[self.cursor] if self._rows else None

    def chosen(self) -> list[JobRow]:
        """What an action is for: the marked jobs, or the one under the cursor where none is marked."""
        marked = [row for row in self._all if row.run_id in self.marked]
        return marked or ([self.current] if self.current else [])

    def show(self, snapshot: Snapshot) -> None:
        names = snapshot.device_names()
        if names != self._device_names:
            self._device_names = names
            self.redraw()
        if snapshot.jobs is self._all and snapshot.table is self.frame:
            return
        self._all = snapshot.jobs
        if snapshot.table is None:
            self.list_again()
        else:
            self.take(snapshot.table)

    def list_again(self) -> None:
        if self.frame is None:
            # Before the record is read, which takes a library as well.
            run_ids = [row.run_id for row in self._all]
        else:
            run_ids = self.matching()["run_id"].to_list()
        rows = {row.run_id: row for row in self._all} if len(run_ids) < len(self._all) else {}
        self._rows = [rows[run_id] for run_id in run_ids] if rows else self._all
        kinds = dict.fromkeys((row.experiment, row.variant) for row in self._rows)
        self._widths, self._values = _swept(list(kinds))
        self.set_keys(run_ids)

    def action_mark_all(self) -> None:
        shown = set(self.keys)
        others = [run_id for run_id in self.marked if run_id not in shown]
        self.mark(others if shown <= self.marked.keys() else [*others, *self.keys])

    def draw_header(self) -> Sequence[Text]:
        columns = _columns(self.view_size.width, [*self._widths.values()])
        text = "    " + "state".ljust(_STATE_WIDTH)
        text += "".join(map(str.rjust, ("size", "draw", "seed"), _CELL_WIDTHS))
        for header, width in zip(_headers([*self._widths], columns.swept), columns.swept, strict=True):
            text += header.rjust(width)
        text += " progress".ljust(columns.bar) if columns.bar else ""
        for name in ("percent", "eta", "loss", "accuracy", "attempt", "device"):
            width = getattr(columns, name)
            text += _HEADERS[name].rjust(width) if width else ""
        return [Text(text, style=self.palette.muted)]

    def draw_empty(self) -> Sequence[Text]:
        if self.frame is None:
            return []
        how = hint_of(self, "queue_all", " Choose an experiment and press a to queue it.")
        reason = f"  The queue is empty.{how}"
        if self._all:
            reason = "  No job matches the filter; esc clears it."
        return [Text(reason, style=self.palette.muted)]

    def draw_row(self, index: int, width: int) -> Text:
        row, palette = self._rows[index], self.palette
        columns = _columns(width, [*self._widths.values()])
        values = self._values.get((row.experiment, row.variant), {})
        swept = (values.get(name, "") for name in self._widths)
        style = state_style(row.shown_state, palette)
        mark = "◆" if row.run_id in self.marked else " "
        line = Text.assemble(
            (self.pointer(index), palette.primary),
            (mark, palette.accent),
            (f"{STATE_LOOKS[row.shown_state].glyph} ", style),
            (_state_word(row).ljust(_STATE_WIDTH), style),
            ("".join(map(str.rjust, _cell(row.run_id), _CELL_WIDTHS)), palette.foreground),
            ("".join(map(_end_of, swept, columns.swept)), palette.foreground),
        )
        words = row.remark
        if not words and row.state.is_active and row.interrupted_by:
            taken = line.cell_len + columns.rest - columns.attempt - columns.device
            if words := _shortened(row.interrupted_by, width - taken - 2):
                columns = columns.without("attempt").without("device")
        if not row.remark:
            line.append_text(self._numbers(row, columns, palette))
        if words:
            line.append("  " + fit(words, width - line.cell_len - 2).rstrip(), palette.muted)
        return line

    def _numbers(self, row: JobRow, columns: _Columns, palette: Palette) -> Text:
        line = Text()
        begun = row.fraction > 0
        if columns.bar:
            line.append(" ").append_text(
                progress_bar(row.fraction, columns.bar - 2, palette, state_style(row.shown_state, palette))
                if begun
                else Text("─" * (columns.bar - 2), palette.faint)
            ).append(" ")
        remaining = row.remaining_s if row.state is JobState.RUNNING else None
        tries = fit(f"{row.attempts}/{row.max_attempts}", 5).strip() if row.attempts else ""
        device = fit(self._device_names.get(row.device, row.device), 5).strip()
        words = {
            "percent": percent(row.fraction) if begun else "",
            "eta": time_left(remaining) if remaining is not None else "",
            "loss": _in_six(row.loss),
            "accuracy": number(row.accuracy, ".1f", 100),
            "attempt": tries,
            "device": device,
        }
        for name, text in words.items():
            style = palette.muted if name in ("attempt", "device") else palette.foreground
            if width := getattr(columns, name):
                line.append(text.rjust(width), style)
        return line


def _cell(run_id: str) -> tuple[str, str, str]:
    """Size, draw and seed of a run.

    >>> _cell("letters-n12000-d0-s101-3f9a2c1b")
    ('12,000', '0', '101')
    """
    found = CELL.search(run_id)
    return (f"{int(found['size']):,}", found["draw"], found["seed"]) if found else ("", "", "")


def _shortened(why: str, width: int) -> str:
    """Why a run was interrupted, in as many words as fit; the log and the details have them all.

    >>> why = "worker killed by signal 9, resumed at update 1,332"
    >>> [_shortened(why, width) for width in (60, 30, 12, 5)]
    ['killed by signal 9, resumed at update 1,332', 'signal 9, from 1,332', 'signal 9', '']
    """
    words = why.removeprefix("worker ")
    short = words.removeprefix("killed by ").replace("resumed at update", "from")
    return next((one for one in (words, short, short.split(",")[0]) if width_of(one) <= width), "")


def _state_word(row: JobRow) -> str:
    word = STATE_LOOKS[row.shown_state].word
    if row.pack:
        # How many runs its worker trains at the same time.
        return f"{word} ×{len(row.pack)}"
    # A second attempt is worth a look even where there is no column for it.
    if row.attempts <= 1 or row.state.is_final:
        return word
    told = f"{word}, try {row.attempts}"
    return told if len(told) <= _STATE_WIDTH else word
