"""The table of jobs: one line each, marks, and a filter."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from tui_datasize.jobs.queue.state import JobState
from tui_datasize.text import fit, number, percent, time_left, width_of
from tui_datasize.tui.polling.snapshot import JobRow, Snapshot
from tui_datasize.tui.widgets.filter_box import RunList
from tui_datasize.tui.widgets.palette import STATE_LOOKS, Palette, progress_bar, state_style

_WIDE = 104
_NARROW_LAYOUTS = ((0, 0, 6), (0, 0, 0))
"""Widths of the bar, the tries and the device, the most there is first."""
_WIDE_LAYOUTS = ((14, 6, 6), (14, 6, 0), (0, 6, 0), (0, 0, 0))
_STATE_WIDTH = 15
_CELL = re.compile(r"-n(\d+)-d(\d+)-s(\d+)-[0-9a-f]+$")
"""What the id of a run tells in clear: size, draw and seed."""
_CELL_WIDTHS = (7, 5, 7)
_MOST_WHAT = 60


@dataclass(frozen=True, slots=True)
class _Columns:
    """Widths at the width in hand; 0 leaves a column out."""

    what: int
    """Experiment and what was swept, as far as they set jobs apart."""
    bar: int
    attempt: int
    device: int
    percent: int = 5
    eta: int = 8
    loss: int = 7
    accuracy: int = 7

    @property
    def rest(self) -> int:
        """Columns behind what names the run, which a reason may take."""
        return self.bar + self.percent + self.eta + self.loss + self.accuracy + self.device + self.attempt


def _columns(width: int, longest: int) -> _Columns:
    """For names of so many characters; where they need it, device, bar and tries make room, in turn."""
    named = 4 + _STATE_WIDTH + sum(_CELL_WIDTHS)
    wanted = min(_MOST_WHAT, longest + 2) if longest else 0
    for bar, attempt, device in _WIDE_LAYOUTS if width >= _WIDE else _NARROW_LAYOUTS:
        left = width - named - _Columns(what=0, bar=bar, attempt=attempt, device=device).rest
        if left >= wanted:
            break
    return _Columns(what=max(0, min(wanted, left)), bar=bar, attempt=attempt, device=device)


class JobTable(RunList):
    """Jobs in display order; `show` replaces them, the cursor and the marks stay with their runs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "mark", tooltip="Mark the job; keys then act on all marked ones"),
        Binding("asterisk", "mark_all", "all", tooltip="Mark all jobs shown, or none: h holds them all"),
    ]

    _all: Sequence[JobRow] = ()
    _rows: Sequence[JobRow] = ()
    _device_names: Mapping[str, str] = MappingProxyType({})
    _longest = 0
    _has_several = False
    """Whether the jobs shown are of more than one experiment."""

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
        kinds = {(row.experiment, row.variant): row for row in self._rows}
        self._has_several = len({experiment for experiment, _ in kinds}) > 1
        self._longest = max((width_of(self._what(row)) for row in kinds.values()), default=0)
        self.set_keys(run_ids)

    def action_mark_all(self) -> None:
        shown = set(self.keys)
        others = [run_id for run_id in self.marked if run_id not in shown]
        self.mark(others if shown <= self.marked.keys() else [*others, *self.keys])

    def draw_header(self) -> Sequence[Text]:
        columns = _columns(self.view_size.width, self._longest)
        text = "    " + "state".ljust(_STATE_WIDTH)
        text += "".join(map(str.rjust, ("size", "draw", "seed"), _CELL_WIDTHS))
        kind = "experiment" if self._has_several else "swept"
        text += fit(f"  {kind}", columns.what)
        text += " progress".ljust(columns.bar) if columns.bar else ""
        text += "%".rjust(columns.percent) + "left".rjust(columns.eta) + "loss".rjust(columns.loss)
        text += "acc %".rjust(columns.accuracy)
        text += "try".rjust(columns.attempt) if columns.attempt else ""
        text += "on".rjust(columns.device) if columns.device else ""
        return [Text(text, style=self.palette.muted)]

    def draw_empty(self) -> Sequence[Text]:
        if self.frame is None:
            return []
        reason = "  The queue is empty. Choose an experiment and press a to queue it."
        if self._all:
            reason = "  No job matches the filter; esc clears it."
        return [Text(reason, style=self.palette.muted)]

    def draw_row(self, index: int, width: int) -> Text:
        row, palette, columns = self._rows[index], self.palette, _columns(width, self._longest)
        style = state_style(row.shown_state, palette)
        mark = "◆" if row.run_id in self.marked else " "
        line = Text.assemble(
            (self.pointer(index), palette.primary),
            (mark, palette.accent),
            (f"{STATE_LOOKS[row.shown_state].glyph} ", style),
            (_state_word(row).ljust(_STATE_WIDTH), style),
            ("".join(map(str.rjust, _cell(row.run_id), _CELL_WIDTHS)), palette.foreground),
            (fit(f"  {self._what(row)}", columns.what), palette.foreground),
        )
        words = row.remark
        if not words:
            line.append_text(self._numbers(row, columns, palette))
        if row.state.is_active and row.interrupted_by:
            words = row.interrupted_by.removeprefix("worker ")
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
        cells = [
            ((percent(row.fraction) if begun else "").rjust(columns.percent), palette.foreground),
            ((time_left(remaining) if remaining is not None else "").rjust(columns.eta), palette.foreground),
        ]
        if row.state.is_active and row.interrupted_by:
            return line.append_text(Text.assemble(*cells))
        cells += [
            (number(row.loss, ".3f").rjust(columns.loss), palette.foreground),
            (number(row.accuracy, ".1f", 100).rjust(columns.accuracy), palette.foreground),
        ]
        if columns.attempt:
            tries = f"{row.attempts}/{row.max_attempts}" if row.attempts else ""
            cells.append((tries.rjust(columns.attempt), palette.muted))
        if columns.device:
            device = self._device_names.get(row.device, row.device)
            cells.append((fit(device, columns.device - 1).strip().rjust(columns.device), palette.muted))
        return line.append_text(Text.assemble(*cells))

    def _what(self, row: JobRow) -> str:
        """What sets a job apart beside size, draw and seed."""
        return " ".join(filter(None, (row.experiment if self._has_several else "", row.variant)))


def _cell(run_id: str) -> tuple[str, str, str]:
    """Size, draw and seed of a run.

    >>> _cell("letters-n12000-d0-s101-3f9a2c1b")
    ('12,000', '0', '101')
    """
    found = _CELL.search(run_id)
    return (f"{int(found[1]):,}", found[2], found[3]) if found else ("", "", "")


def _state_word(row: JobRow) -> str:
    word = STATE_LOOKS[row.shown_state].word
    if row.pack:
        # How many runs its worker trains at the same time.
        return f"{word} ×{len(row.pack)}"
    # A second attempt is worth a look even where there is no column for it.
    if row.attempts <= 1 or row.state.is_final:
        return word
    return f"{word}, try {row.attempts}"
