"""The map of cells: one glyph per run of an experiment, with a cursor and marks."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar, NamedTuple

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message

from tui_datasize.experiments.variants import on_screen
from tui_datasize.text import fit
from tui_datasize.tui.polling.snapshot import EMPTY, Cell, ExperimentPlan, Snapshot
from tui_datasize.tui.widgets.line_view import LineView, wrapped
from tui_datasize.tui.widgets.palette import STATE_LOOKS, state_style


class MapPlace(NamedTuple):
    """A position on the map."""

    block: int
    row: int
    column: int


class MapColumn(NamedTuple):
    """What a column of the map stands for."""

    subset_seed: int
    seed: int


@dataclass(frozen=True, slots=True)
class MapBlock:
    """The cells of one variant."""

    variant: str
    """What sets it apart; empty where nothing is swept."""
    sizes: tuple[int, ...]
    """Train sizes, ascending."""
    columns: tuple[MapColumn, ...]
    """By subset seed, then by seed."""
    cells: tuple[tuple[Cell | None, ...], ...]
    """One row per size; None where the sweep has no such cell."""


@dataclass(frozen=True, slots=True)
class MapLayout:
    """All blocks, one below the other."""

    blocks: tuple[MapBlock, ...]

    def cell(self, place: MapPlace) -> Cell | None:
        if place.block >= len(self.blocks):
            return None
        return self.blocks[place.block].cells[place.row][place.column]

    def find(self, run_id: str) -> MapPlace | None:
        for b, block in enumerate(self.blocks):
            for r, row in enumerate(block.cells):
                for c, cell in enumerate(row):
                    if cell is not None and cell.run_id == run_id:
                        return MapPlace(b, r, c)
        return None

    def clamp(self, place: MapPlace) -> MapPlace:
        if not self.blocks:
            return MapPlace(0, 0, 0)
        b = max(0, min(place.block, len(self.blocks) - 1))
        block = self.blocks[b]
        return MapPlace(
            b, max(0, min(place.row, len(block.sizes) - 1)), max(0, min(place.column, len(block.columns) - 1))
        )

    def step(self, place: MapPlace, rows: int, columns: int) -> MapPlace:
        """One step on the map; up and down go on into the neighbouring block."""
        block = self.blocks[place.block]
        row = place.row + rows
        if row < 0 and place.block > 0:
            above = place.block - 1
            return self.clamp(MapPlace(above, len(self.blocks[above].sizes) - 1, place.column))
        if row >= len(block.sizes) and place.block + 1 < len(self.blocks):
            return self.clamp(MapPlace(place.block + 1, 0, place.column))
        return self.clamp(MapPlace(place.block, row, place.column + columns))


def lay_out(cells: Sequence[Cell]) -> MapLayout:
    """Arrange the cells of one experiment; variants keep the order in which they first occur."""
    variants = list(dict.fromkeys(cell.variant for cell in cells))
    short = on_screen(variants)
    return MapLayout(
        tuple(_block(short[name] or name, [c for c in cells if c.variant == name]) for name in variants)
    )


def _block(variant: str, cells: Sequence[Cell]) -> MapBlock:
    sizes = tuple(sorted({cell.spec.train_size for cell in cells}))
    columns = tuple(sorted({MapColumn(cell.spec.subset.seed, cell.spec.seed) for cell in cells}))
    by_place = {(c.spec.train_size, MapColumn(c.spec.subset.seed, c.spec.seed)): c for c in cells}
    rows = tuple(tuple(by_place.get((size, column)) for column in columns) for size in sizes)
    return MapBlock(variant, sizes, columns, rows)


_NARROW = 2
_DRAW_GAP = 2
_LABEL_MARGIN = 1


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the map: a heading of a block, or one of its sizes."""

    block: int
    kind: str
    """"variant", "draws", "seeds", "cells" or "blank"."""
    row: int = 0


@dataclass(frozen=True, slots=True)
class _Grid:
    """Where the columns of a block are drawn."""

    label_width: int
    column_width: int
    starts: tuple[int, ...]
    """First screen column of each column; negative where it is scrolled out to the left."""
    shown: range
    """The columns that are to be seen."""


class CellMap(LineView, can_focus=True):
    """Sizes as rows, (draw, seed) as columns; several variants one below the other."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "activate", "queue gap", tooltip="Queue the marked cells, or all missing ones"),
        Binding("space", "mark", "mark", tooltip="Mark the cell; keys then act on all marked ones"),
        Binding("up,k", "step(-1, 0)", "Up", show=False),
        Binding("down,j", "step(1, 0)", "Down", show=False),
        Binding("left,h", "step(0, -1)", "Left", show=False),
        Binding("right,l", "step(0, 1)", "Right", show=False),
        Binding("home,g", "edge(-1)", "First column", show=False),
        Binding("end,G", "edge(1)", "Last column", show=False),
    ]

    class CursorMoved(Message):
        """The cursor came to another cell."""

    @dataclass
    class Activated(Message):
        """Someone asks to queue: the marked cells, or the gap where none is marked."""

        marked: Sequence[Cell]

    _snapshot: Snapshot = EMPTY
    _plan: ExperimentPlan | None = None
    _layout = MapLayout(())
    _lines: Sequence[_Line] = ()
    _place = MapPlace(0, 0, 0)
    _marked: frozenset[str] = frozenset()

    @property
    def current(self) -> Cell | None:
        return self._layout.cell(self._place)

    @property
    def marked(self) -> list[Cell]:
        """The marked cells, in queue order."""
        return [cell for cell in self._plan.cells if cell.run_id in self._marked] if self._plan else []

    def chosen(self) -> list[Cell]:
        """What an action is for: the marked cells, or the one under the cursor where none is marked."""
        return self.marked or ([self.current] if self.current else [])

    def show(self, snapshot: Snapshot, plan: ExperimentPlan | None) -> None:
        """Show an experiment; the cursor stays in its place where the map stays the same."""
        before, self._snapshot = self._snapshot, snapshot
        if plan is self._plan and (before.states is snapshot.states and before.facts is snapshot.facts):
            return
        if plan is not self._plan:
            same = plan is not None and self._plan is not None and plan.name == self._plan.name
            self._plan = plan
            self._layout = lay_out(plan.cells if plan else ())
            self._lines = _lines(self._layout)
            self._place = self._layout.clamp(self._place if same else MapPlace(0, 0, 0))
            self._marked &= {cell.run_id for cell in plan.cells} if plan else frozenset()
            if not same:
                self.scroll_to(y=0, animate=False)
            self._resize()
        self.redraw()

    def clear_marks(self) -> None:
        self._marked = frozenset()
        self.redraw()

    def on_resize(self) -> None:
        self._resize()
        self._scroll_to_cursor()

    def action_step(self, rows: int, columns: int) -> None:
        if self._layout.blocks:
            self._go(self._layout.step(self._place, rows, columns))

    def action_edge(self, direction: int) -> None:
        columns = 0 if direction < 0 else 1_000_000
        self._go(self._layout.clamp(self._place._replace(column=columns)))

    def action_mark(self) -> None:
        if self.current:
            self._marked ^= {self.current.run_id}
            self.redraw()

    def action_activate(self) -> None:
        self.post_message(self.Activated(self.marked))

    def _go(self, place: MapPlace) -> None:
        if place != self._place:
            self._place = place
            self._scroll_to_cursor()
            self.redraw()
            self.post_message(self.CursorMoved())

    def _resize(self) -> None:
        self.virtual_size = Size(self.view_size.width, len(self._lines))

    def _scroll_to_cursor(self) -> None:
        under_cursor = _Line(self._place.block, "cells", self._place.row)
        line = self._lines.index(under_cursor) if under_cursor in self._lines else 0
        # The headings above the first size come into view with it.
        top = line if self._place.row else max(0, line - 3)
        height = max(1, self.view_size.height)
        if top < self.scroll_offset.y:
            self.scroll_to(y=top, animate=False)
        elif line >= self.scroll_offset.y + height:
            self.scroll_to(y=line - height + 1, animate=False)

    def draw(self, size: Size) -> Sequence[Text]:
        if not self._lines:
            problem = self._plan.problem if self._plan else ""
            return wrapped(problem, size.width, self.palette.error)
        first = self.scroll_offset.y
        lines = self._lines[first : first + size.height]
        blocks = self._layout.blocks
        # Of a block with 1,000 seeds it takes longer than its line.
        grids = {place: self._grid(blocks[place], size.width) for place in {line.block for line in lines}}
        return [self._draw_line(line, blocks[line.block], grids[line.block], size.width) for line in lines]

    def _draw_line(self, line: _Line, block: MapBlock, grid: _Grid, width: int) -> Text:
        palette = self.palette
        if line.kind == "variant":
            return Text(fit(f" {block.variant}", width).rstrip(), style=f"bold {palette.foreground}")
        if line.kind == "draws":
            return Text(_draw_headings(block, grid, width), style=palette.muted)
        if line.kind == "seeds":
            return Text(_seed_headings(block, grid, width), style=palette.muted)
        if line.kind == "cells":
            return self._draw_cells(line, block, grid)
        return Text()

    def _draw_cells(self, line: _Line, block: MapBlock, grid: _Grid) -> Text:
        label = str(block.sizes[line.row]).rjust(grid.label_width)
        on_row = (self._place.block, self._place.row) == (line.block, line.row)
        palette = self.palette
        text = Text(label, style=palette.foreground if on_row else palette.muted)
        for column in grid.shown:
            text.append(" " * (grid.starts[column] - text.cell_len))
            text.append_text(self._draw_cell(MapPlace(line.block, line.row, column), grid.column_width))
        return text

    def _draw_cell(self, place: MapPlace, width: int) -> Text:
        cell, palette = self._layout.cell(place), self.palette
        if cell is None:
            glyph, style = " ", palette.muted
        else:
            state = self._snapshot.state_of(cell.run_id)
            glyph, style = STATE_LOOKS[state].glyph, state_style(state, palette)
        if place == self._place:
            # Attributes, not colours: they survive NO_COLOR.
            style += " bold reverse" if self.has_focus else " underline"
        marked = cell is not None and cell.run_id in self._marked
        return Text.assemble(" " * (width - 2), ("◆" if marked else " ", palette.accent), (glyph, style))

    def _grid(self, block: MapBlock, width: int) -> _Grid:
        label_width = max(len(str(size)) for size in block.sizes) + _LABEL_MARGIN
        wide = max(3, max(len(str(column.seed)) for column in block.columns) + 1)
        offsets, total = _offsets(block, wide)
        column_width = wide
        if label_width + total > width:
            column_width = _NARROW
            offsets, total = _offsets(block, _NARROW)
        shift = 0
        if label_width + total > width and self._place.block < len(self._layout.blocks):
            at = offsets[min(self._place.column, len(offsets) - 1)]
            shift = max(0, at + column_width - (width - label_width))
        starts = tuple(label_width + x - shift for x in offsets)
        shown = range(bisect_left(starts, label_width), bisect_right(starts, width - column_width))
        return _Grid(label_width, column_width, starts, shown)


def _offsets(block: MapBlock, column_width: int) -> tuple[tuple[int, ...], int]:
    """Offset of each column behind the labels, with a gap between draws, and their whole width."""
    offsets, at = [], 0
    for index, column in enumerate(block.columns):
        if index and column.subset_seed != block.columns[index - 1].subset_seed:
            at += _DRAW_GAP
        offsets.append(at)
        at += column_width
    return tuple(offsets), at


def _lines(layout: MapLayout) -> list[_Line]:
    lines: list[_Line] = []
    for index, block in enumerate(layout.blocks):
        if lines:
            lines.append(_Line(index, "blank"))
        if block.variant:
            lines.append(_Line(index, "variant"))
        if len({column.subset_seed for column in block.columns}) > 1:
            lines.append(_Line(index, "draws"))
        lines.append(_Line(index, "seeds"))
        lines += [_Line(index, "cells", row) for row in range(len(block.sizes))]
    return lines


def _draw_headings(block: MapBlock, grid: _Grid, width: int) -> str:
    text = ""
    for draw, columns in groupby(range(len(block.columns)), key=lambda c: block.columns[c].subset_seed):
        members = list(columns)
        room = grid.starts[members[-1]] + grid.column_width - grid.starts[members[0]]
        name = f"draw {draw}" if room >= len(f"draw {draw}") else f"d{draw}"
        # Over the glyphs, which stand at the right end of their columns.
        start = grid.starts[members[0]] + min(grid.column_width - 1, max(0, room - len(name)))
        if start >= grid.label_width and len(text) <= start and start + len(name) <= width:
            text = text.ljust(start) + name
    return text


def _seed_headings(block: MapBlock, grid: _Grid, width: int) -> str:
    text = "n".rjust(grid.label_width)
    if grid.column_width == _NARROW:
        return f"{text}  seeds {block.columns[0].seed} … {block.columns[-1].seed}"[:width]
    for column in grid.shown:
        text = text.ljust(grid.starts[column]) + str(block.columns[column].seed).rjust(grid.column_width)
    return text
