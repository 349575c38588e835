"""Where the cells of an experiment lie on the map: sizes as rows, (draw, seed) as columns. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tui_datasize.tui.look.snapshot import Cell


class Place(NamedTuple):
    """A position on the map."""

    block: int
    row: int
    column: int


class Column(NamedTuple):
    """What a column of the map stands for."""

    subset_seed: int
    seed: int


@dataclass(frozen=True, slots=True)
class Block:
    """The cells of one variant."""

    variant: str
    """What sets it apart; empty where nothing is swept."""
    sizes: tuple[int, ...]
    """Train sizes, ascending."""
    columns: tuple[Column, ...]
    """By subset seed, then by seed."""
    cells: tuple[tuple[Cell | None, ...], ...]
    """One row per size; None where the sweep has no such cell."""


@dataclass(frozen=True, slots=True)
class MapLayout:
    """All blocks, one below the other."""

    blocks: tuple[Block, ...]

    def cell(self, place: Place) -> Cell | None:
        """The cell at a place."""
        if place.block >= len(self.blocks):
            return None
        return self.blocks[place.block].cells[place.row][place.column]

    def find(self, run_id: str) -> Place | None:
        """Where a run lies."""
        for b, block in enumerate(self.blocks):
            for r, row in enumerate(block.cells):
                for c, cell in enumerate(row):
                    if cell is not None and cell.run_id == run_id:
                        return Place(b, r, c)
        return None

    def clamp(self, place: Place) -> Place:
        """The nearest place that exists."""
        if not self.blocks:
            return Place(0, 0, 0)
        b = max(0, min(place.block, len(self.blocks) - 1))
        block = self.blocks[b]
        return Place(
            b,
            max(0, min(place.row, len(block.sizes) - 1)),
            max(0, min(place.column, len(block.columns) - 1)),
        )

    def step(self, place: Place, rows: int, columns: int) -> Place:
        """One step on the map; up and down go on into the neighbouring block."""
        block = self.blocks[place.block]
        row = place.row + rows
        if row < 0 and place.block > 0:
            above = place.block - 1
            return self.clamp(Place(above, len(self.blocks[above].sizes) - 1, place.column))
        if row >= len(block.sizes) and place.block + 1 < len(self.blocks):
            return self.clamp(Place(place.block + 1, 0, place.column))
        return self.clamp(Place(place.block, row, place.column + columns))


def lay_out(cells: Sequence[Cell]) -> MapLayout:
    """Arrange the cells of one experiment; variants keep the order in which they first occur."""
    variants = list(dict.fromkeys(cell.variant for cell in cells))
    return MapLayout(
        tuple(_block(name, [cell for cell in cells if cell.variant == name]) for name in variants)
    )


def _block(variant: str, cells: Sequence[Cell]) -> Block:
    sizes = tuple(sorted({cell.spec.train_size for cell in cells}))
    columns = tuple(sorted({Column(cell.spec.subset.seed, cell.spec.seed) for cell in cells}))
    by_place = {(c.spec.train_size, Column(c.spec.subset.seed, c.spec.seed)): c for c in cells}
    rows = tuple(tuple(by_place.get((size, column)) for column in columns) for size in sizes)
    return Block(variant, sizes, columns, rows)
