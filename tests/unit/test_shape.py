from __future__ import annotations

import numpy as np
import pytest

from tui_datasize.stats.averaging import FittedLaws, fit_laws
from tui_datasize.stats.shape import CurveShape, describe_shape

SIZES = np.array([50, 71, 100, 141, 200, 283, 400, 566, 800, 1131, 1600, 2263])
STDERR = 0.004


def shape_of(errors, stderrs=STDERR) -> CurveShape:
    laws = fit_laws(SIZES, errors, None if stderrs is None else np.full(len(SIZES), stderrs))
    assert isinstance(laws, FittedLaws)
    return describe_shape(laws)


def noise(seed):
    return np.random.default_rng(seed).normal(0, STDERR, len(SIZES))


def test_ordinary_curves_have_no_faults():
    flagged = [shape_of(0.08 + 4 / SIZES**0.7 + noise(seed)).faults for seed in range(40)]
    assert sum(bool(faults) for faults in flagged) <= 3


def test_a_curve_that_rises_is_not_monotone():
    errors = 0.08 + 4 / SIZES**0.7
    errors[SIZES > 400] += 0.08
    shape = shape_of(errors + noise(1))
    assert shape.rise.from_size <= 566 <= shape.rise.to_size
    assert shape.rise.by > 0.03
    assert "rise" in shape.faults


def test_a_curve_that_begins_with_a_plateau_is_not_convex():
    shape = shape_of(0.1 + 0.7 / (1 + (SIZES / 700) ** 3) + noise(2))
    assert shape.rise is None
    assert shape.hump.from_size < shape.hump.at_size < shape.hump.to_size
    assert shape.faults == ("hump",)


def test_a_change_of_exponent_is_a_break():
    errors = 0.9 * SIZES**-0.1 * (1 + (SIZES / 400) ** 10) ** -0.09
    shape = shape_of(errors + 0.1 * noise(3), 0.1 * STDERR)
    assert shape.break_at == pytest.approx(400, rel=0.25)
    assert "break" in shape.faults


def test_without_repeated_runs_nobody_can_tell():
    shape = shape_of(0.08 + 4 / SIZES**0.7 + noise(4), None)
    assert shape.rise is shape.hump is None
    assert not shape.is_checked
