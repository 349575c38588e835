"""Tables that pages of the Analysis tab are drawn from."""

from __future__ import annotations

import pytest

from tests.unit.test_inside_runs import transfer_runs
from tui_datasize.stats import reliability
from tui_datasize.stats.transfer_conditions import BOTH, layer_order, transfer_table


def test_conditions_in_order_of_layers():
    gains = {"FTall": 0.05, "FT3": 0.03, "S10T": 0.0, "S2T": 0.04}
    table = layer_order(transfer_table(transfer_runs({40: gains, 80: gains}), "test_accuracy"))
    names = table["condition"].unique(maintain_order=True).to_list()
    assert names == ["S2T", "S10T", "base", "FT3", "FTall"]
    assert table.filter(classes=BOTH, condition="S2T")["train_size"].to_list() == [40, 80]


def test_reliability_is_a_table_of_bins():
    found = reliability.reliability([0.9, 0.8, 0.6, 0.55], [True, True, True, False], bins=4).table
    assert found.rows() == [
        (0.0, 0.25, 0, None, None),
        (0.25, 0.5, 0, None, None),
        (0.5, 0.75, 2, pytest.approx(0.575), 0.5),
        (0.75, 1.0, 2, pytest.approx(0.85), 1.0),
    ]
