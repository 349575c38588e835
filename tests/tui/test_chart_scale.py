"""Ticks, limits and point reduction."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_datasize.tui.charts.scale import (
    Scale,
    decimate,
    interpolate,
    limits,
    place_points,
    short_number,
    ticks,
)

LINEAR = Scale("update")
LOG = Scale("train size", log=True)


def labels(low: float, high: float, scale: Scale, count: int) -> list[str]:
    return [tick.label for tick in ticks(low, high, scale, count)]


def test_linear_ticks_are_round():
    assert labels(0, 400, LINEAR, 5) == ["0", "100", "200", "300", "400"]
    assert labels(0.31, 0.97, LINEAR, 4) == ["0.4", "0.6", "0.8"]
    assert labels(0, 10_000, LINEAR, 5) == ["0", "2k", "4k", "6k", "8k", "10k"]


def test_log_ticks_are_round_and_stand_at_the_logarithm():
    found = ticks(math.log10(40), math.log10(2560), LOG, 8)
    assert [tick.label for tick in found] == ["50", "100", "200", "500", "1k", "2k"]
    assert found[1].position == pytest.approx(2.0)


@given(
    low=st.floats(-1e6, 1e6),
    span=st.floats(1e-3, 1e6),
    count=st.integers(2, 20),
)
def test_linear_ticks_lie_inside_and_are_few(low: float, span: float, count: int):
    found = ticks(low, low + span, LINEAR, count)
    assert len(found) <= count + 1
    assert all(low - span * 1e-6 <= tick.position <= low + span * (1 + 1e-6) for tick in found)


@given(low=st.floats(-3, 5), span=st.floats(0.01, 6), count=st.integers(2, 12))
def test_log_ticks_lie_inside_and_are_few(low: float, span: float, count: int):
    found = ticks(low, low + span, LOG, count)
    assert len(found) <= count
    assert all(low - 1e-6 <= tick.position <= low + span + 1e-6 for tick in found)


def test_points_that_cannot_be_drawn_part_those_before_and_after():
    x = [0.0, 10.0, 100.0, math.nan, 1000.0]
    y = [1.0, 2.0, math.inf, 4.0, 5.0]
    assert place_points(x, y, LOG, LINEAR) == [[(1.0, 2.0)], [(3.0, 5.0)]]


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=2000), st.integers(1, 100))
def test_decimation_keeps_extremes_and_order(values: list[float], columns: int):
    points = [(float(index), value) for index, value in enumerate(values)]
    kept = decimate(points, columns)
    assert len(kept) <= max(2 * columns, 0) or kept == points
    assert kept == sorted(kept)
    assert max(y for _, y in kept) == max(values)
    assert min(y for _, y in kept) == min(values)


def test_decimation_leaves_few_points_alone():
    points = [(0.0, 1.0), (1.0, 0.0)]
    assert decimate(points, 1) == points


def test_interpolation_is_none_outside():
    points = [(1.0, 10.0), (2.0, 20.0)]
    assert [interpolate(x, points) for x in (0.9, 1.0, 1.25, 2.0, 2.1)] == [None, 10.0, 12.5, 20.0, None]
    assert interpolate(1.0, []) is None


def test_limits_add_room_but_not_beyond_what_can_be():
    percent = Scale("accuracy", floor=0, ceiling=100)
    assert limits([90.0, 100.0], percent) == (89.5, 100.0)
    assert limits([0.0, 1.0], percent) == (0.0, 1.05)
    # A value beyond the bound is shown all the same.
    assert limits([90.0, 110.0], percent)[1] == 110.0


def test_limits_of_one_value_have_a_span():
    low, high = limits([4.0], LINEAR)
    assert low < 4.0 < high
    low, high = limits([0.0, 0.0], Scale("loss", floor=0))
    assert low <= 0.0 < high


def test_limits_include_the_start():
    assert limits([50.0, 200.0], Scale("update", start=0, room=0.0)) == (0.0, 200.0)


def test_short_numbers():
    assert [short_number(v) for v in (0, 999, 1500, 2e6, 0.125)] == ["0", "999", "1.5k", "2M", "0.125"]


@pytest.mark.parametrize("bounds", [(7.9, 9.3), (1.1, 1.9), (820, 960), (40, 1280), (0.00095, 0.00105)])
def test_a_logarithmic_axis_has_two_ticks_at_least_however_narrow_it_is(bounds: tuple[float, float]):
    low, high = map(math.log10, bounds)
    found = ticks(low, high, Scale("time", log=True), 8)
    assert 2 <= len(found) <= 9
    assert len({tick.label for tick in found}) == len(found)
    assert all(low - 1e-9 <= tick.position <= high + 1e-9 for tick in found)
