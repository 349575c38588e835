"""Where the cells lie on the map."""

from __future__ import annotations

from types import MappingProxyType

from tests.fakes import fake_sweep
from tui_datasize.experiments.spec import ModelSpec
from tui_datasize.tui.polling.snapshot import Cell
from tui_datasize.tui.queue.cell_map import MapColumn, MapPlace, lay_out


def cells(variant: str = "", **changes: object) -> list[Cell]:
    return [Cell(spec.run_id, spec, variant, updates=10) for spec in fake_sweep(**changes)]


def test_sizes_are_rows_and_draws_before_seeds_are_columns():
    layout = lay_out(cells(sizes=(160, 40), seeds=(101, 0), subset_seeds=(1, 0)))
    (block,) = layout.blocks
    assert block.sizes == (40, 160)
    assert block.columns == (MapColumn(0, 0), MapColumn(0, 101), MapColumn(1, 0), MapColumn(1, 101))
    cell = layout.cell(MapPlace(0, 1, 2))
    assert cell is not None
    assert (cell.spec.train_size, cell.spec.subset.seed, cell.spec.seed) == (160, 1, 0)
    assert layout.find(cell.run_id) == MapPlace(0, 1, 2)


def test_a_cell_that_the_sweep_lacks_is_empty():
    some = [
        cell
        for cell in cells(sizes=(40, 80), seeds=(0,))
        if cell.spec.train_size != 80 or cell.spec.subset.seed
    ]
    layout = lay_out(some)
    assert layout.cell(MapPlace(0, 1, 0)) is None
    assert layout.cell(MapPlace(0, 1, 1)) is not None


def test_variants_are_blocks_and_steps_lead_from_one_to_the_next():
    model = ModelSpec("mlp", MappingProxyType({"layers": 2}))
    layout = lay_out([*cells("layers=1", sizes=(40, 80)), *cells("layers=2", sizes=(40,), model=model)])
    assert [block.variant for block in layout.blocks] == ["layers=1", "layers=2"]
    assert layout.step(MapPlace(0, 1, 3), 1, 0) == MapPlace(1, 0, 3)
    assert layout.step(MapPlace(1, 0, 3), -1, 0) == MapPlace(0, 1, 3)
    assert layout.step(MapPlace(1, 0, 5), 1, 1) == MapPlace(1, 0, 5)
    assert layout.step(MapPlace(0, 0, 0), -1, -1) == MapPlace(0, 0, 0)


def test_nothing_has_no_cells():
    layout = lay_out([])
    assert layout.cell(MapPlace(0, 0, 0)) is None
    assert layout.clamp(MapPlace(3, 3, 3)) == MapPlace(0, 0, 0)
    assert layout.find("x") is None
