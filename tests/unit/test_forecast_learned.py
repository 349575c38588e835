"""The learned forecast: what is foreseen of curves of each kind; the shipped trees are scikit-learn's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import fit_forecast
from benchmarks.fit_forecast import PARTS, conformal, exported, fitted, stretch
from tests.unit.forecasters import plain_forecaster
from tui_datasize.stats import forecast
from tui_datasize.stats.averaging import fit_averaged
from tui_datasize.stats.fitting import curve_points
from tui_datasize.stats.forecast import Foreseen, forecaster_from, shipped_forecaster
from tui_datasize.stats.forecast_features import (
    FEATURES,
    KNOTS,
    RISEN,
    SINGLE_RUNS,
    THREE_SIZES,
    WELL_KNOWN,
    doubt_of,
    features_of,
    noise_class,
    windows_of,
)
from tui_datasize.stats.laws import Loss

SIZES = 100.0 * 2 ** np.arange(6)


def foreseen(errors, stderrs=None, sizes=SIZES, loss=Loss.ERROR) -> Foreseen:
    points = curve_points(sizes, errors, stderrs)
    windows = windows_of(fit_averaged(points, loss))
    return shipped_forecaster().foresee(points, *windows, loss)


def power_law(n):
    return 0.04 + 1.5 / np.sqrt(n)


@pytest.mark.parametrize("n_sizes", [3, 4, 5, 6, 12])
def test_an_exact_power_law_is_foreseen(n_sizes):
    sizes = 100.0 * 2 ** (np.arange(n_sizes) / (2 if n_sizes > 6 else 1))
    ahead = foreseen(power_law(sizes), np.full(n_sizes, 3e-4), sizes)
    for factor in KNOTS:
        at = factor * sizes[-1:]
        (low,), (high,) = ahead.band(at, 0.9)
        assert low < power_law(at[0]) < high
        assert ahead.errors_at(at)[0] == pytest.approx(power_law(at[0]), rel=0.06)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0.0, 1.0), min_size=3, max_size=9),
    st.sampled_from([None, 0.001, 0.02, 0.1]),
    st.sampled_from([1.41, 2.0, 3.0]),
)
def test_more_data_are_never_foreseen_to_do_worse(errors, stderr, step):
    sizes = 64 * step ** np.arange(len(errors))
    stderrs = None if stderr is None else np.full(len(errors), stderr)
    ahead = foreseen(np.array(errors), stderrs, sizes)
    at = sizes[-1] * np.array([2, 2.5, 3, 4, 6, 8])
    middle = ahead.errors_at(at)
    low, high = ahead.band(at, 0.9)
    inner_low, inner_high = ahead.band(at, 0.8)
    for ends in (low, middle, high, inner_low, inner_high):
        assert (np.diff(ends) <= 1e-12).all()
        assert ((ends >= 0) & (ends <= 1)).all()
    assert (low <= inner_low).all() or stderr is not None
    assert (low <= middle).all()
    assert (middle <= high).all()
    (start,) = ahead.errors_at(sizes[-1:])
    assert start == pytest.approx(max(errors[-1], 1e-3))


def test_few_noisy_runs_are_not_few_clean_ones():
    noisy = power_law(SIZES) + 0.02 * np.array([1, -1, 1, -1, 1, -1])
    at = 2 * SIZES[-1:]

    def width(ahead: Foreseen) -> float:
        low, high = ahead.band(at, 0.9)
        return float(high[0] - low[0])

    clean = width(foreseen(power_law(SIZES), np.full(6, 3e-4)))
    assert width(foreseen(noisy, np.full(6, 0.02))) > 4 * clean
    assert width(foreseen(noisy)) > 3 * clean


def test_a_flat_curve_stays_flat():
    ahead = foreseen(np.full(6, 0.2), np.full(6, 0.001))
    assert ahead.errors_at(8 * SIZES[-1:])[0] == pytest.approx(0.2, abs=0.03)


def test_a_cross_entropy_may_be_above_one():
    ahead = foreseen(0.5 + 40 / np.sqrt(SIZES), loss=Loss.CROSS_ENTROPY)
    low, high = ahead.band(2 * SIZES[-1:], 0.9)
    assert low[0] < 0.5 + 40 / np.sqrt(2 * SIZES[-1]) < high[0]
    assert np.isnan(ahead.errors_at(8.1 * SIZES[-1:])[0])


def test_the_shipped_trees_say_what_scikit_learn_said():
    check = json.loads(Path(fit_forecast.CHECK_FILE).read_text(encoding="utf-8"))
    rows = np.array(check["features"])
    assert rows.shape == (fit_forecast.CHECKED, len(FEATURES))
    shipped = json.loads(
        Path(forecast.__file__).with_name(forecast.FORECAST_FILE).read_text(encoding="utf-8")
    )
    # Another law in the average is another feature, and takes other trees.
    assert shipped["features"] == list(FEATURES)
    for name, each in zip(("0.05", "0.5", "0.95"), shipped_forecaster().quantiles, strict=True):
        for trees, told in zip(each, check[name], strict=True):
            np.testing.assert_allclose(trees.predict(rows), told, atol=2e-5)


def test_exported_trees_are_those_that_were_fitted(monkeypatch):
    monkeypatch.setattr(fit_forecast, "TREES", 5)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 4))
    values = rows[:, 0] * (rows[:, 1] > 0) + rng.normal(0, 0.1, 400)
    model = fitted(rows, values, np.ones(400), 0.9)
    document = {name: [exported(model)] for name in ("0.05", "0.5", "0.95")}
    empty = {"provenance": {}, "stretch": {}, "unlearned": {}, "loss_stretch": {}, "held": []}
    grown = forecaster_from({"quantiles": document, **empty})
    np.testing.assert_allclose(grown.quantiles[0][0].predict(rows), model.predict(rows), atol=1e-5)


def test_bands_are_stretched_until_they_hold():
    rng = np.random.default_rng(1)
    scores, knot = rng.normal(0, [[1], [2], [3]], (3, 2000)), np.repeat(np.arange(3), 2000)
    kind, part = np.tile([0, 1], 3000), np.arange(6000) % PARTS
    scores = scores.ravel() * np.where(kind, 2, 1)
    ends = stretch(-scores, scores, (kind, knot), part)
    expected = np.array([[1, 2, 3], [2, 4, 6], *[[1, 1, 1]] * 3])
    # Of what has never been seen, the band stays as it was learned.
    z, of_80 = ([[by]] * 2 + [[1]] * 3 for by in (1.645, 1.282))
    np.testing.assert_allclose(ends["0.9"]["upper"], z * expected, rtol=0.1)
    np.testing.assert_allclose(ends["0.8"]["lower"], of_80 * expected, rtol=0.1)


def test_bands_of_cross_entropy_are_not_narrower_than_the_noise_of_the_last_mean():
    losses = 4 * power_law(SIZES)
    quiet, noisy = (foreseen(losses, share * losses, loss=Loss.CROSS_ENTROPY) for share in (0.005, 0.2))
    assert (noisy.centre - noisy.ends[0.9][0] > 1.6 * 0.2).all()
    assert quiet.centre[1] - quiet.ends[0.9][0][1] < 0.2


@pytest.mark.parametrize(
    ("n_sizes", "has_runs", "kind"),
    [(3, True, THREE_SIZES), (3, False, THREE_SIZES), (4, True, WELL_KNOWN), (5, False, SINGLE_RUNS)],
)
def test_three_sizes_have_bands_of_their_own(n_sizes, has_runs, kind):
    sizes = SIZES[-n_sizes:]
    assert kind_of(sizes, power_law(sizes), has_runs) == kind


def test_a_curve_that_has_risen_has_bands_of_its_own():
    falling = power_law(SIZES)
    assert kind_of(SIZES, np.append(falling[:-1], falling[-2] * 1.02), True) == RISEN


def kind_of(sizes, errors, has_runs):
    points = curve_points(sizes, errors, np.full(len(sizes), 3e-4) if has_runs else None)
    (kind,) = set(noise_class(features_of(points, *windows_of(fit_averaged(points, Loss.ERROR))))[1].tolist())
    return kind


def test_bands_hold_on_data_sets_that_differ():
    """The plain quantile of few data sets, some of them harder, holds less often on the next one."""
    rng = np.random.default_rng(2)
    held = {"plain": 0.0, "ours": 0.0}
    for _ in range(60):
        scores = rng.normal(0, np.exp(rng.normal(0, 1, (25, 1))), (25, 60))
        known, part = scores[:20].ravel(), np.repeat(np.arange(20) // 2, 60)
        for name, end in (("plain", np.quantile(known, 0.9)), ("ours", conformal(known, part, 0.9))):
            held[name] += float((scores[20:] <= end).mean()) / 60
    assert held["plain"] < held["ours"]
    assert held["ours"] == pytest.approx(0.9, abs=0.015)


@pytest.mark.parametrize(("level", "is_bounded"), [(0.9, True), (0.5, True), (0.2, False)])
def test_a_curve_that_has_not_left_chance_is_bounded_by_what_such_curves_did(level, is_bounded):
    free, bounded = (band_of_flat_curve(level, 2.0, seen) for seen in (None, SEEN))
    if not is_bounded:
        np.testing.assert_array_equal(bounded, free)
        return
    noise = 1.645 * 0.002 / 0.9
    np.testing.assert_allclose(bounded[0], [-0.1 - noise, -0.2 - noise, -0.3 - noise], atol=1e-3)
    # Hardly below chance: by what such curves did, and the scatter of the runs.
    np.testing.assert_allclose(bounded[1], 0.01 + noise, atol=5e-3)


def test_when_many_classes_are_learned_no_tree_has_to_tell():
    """A band that says of five classes that they stay a guess stands; of ten it does not."""
    few, many = (band_of_flat_curve(level, 0.02, SEEN) for level in (0.5, 0.9))
    assert (few[0] > -0.05).all()
    np.testing.assert_allclose(many[0], [-0.1, -0.2, -0.3], atol=5e-3)


SEEN = dict.fromkeys((0.8, 0.9), (np.array([[-0.1, -0.2, -0.3]] * 2), np.full((2, 3), 0.01)))


def band_of_flat_curve(level, width, seen):
    """Of a curve that stays at an error: both ends at the knots, in its logarithm, by no trees."""
    flat = np.array([0.9, 0.902, 0.899, 0.9, 0.901, 0.9]) / 0.9
    points = curve_points(SIZES, level * flat, np.full(6, 0.002 / 0.9 * level))
    plain = plain_forecaster(width)
    forecaster = replace(plain, unlearned=seen) if seen else plain
    found = forecaster.foresee(points, *windows_of(fit_averaged(points)), Loss.ERROR)
    return [end[1:] - np.log(level) for end in found.ends[0.9]]


def test_the_shipped_forecast_of_many_classes_at_chance_allows_for_their_being_learned():
    """One in three such public curves fell by more than a half within eight times the size."""
    flat = np.array([0.958, 0.962, 0.96, 0.961, 0.959, 0.96])
    ahead = foreseen(flat, np.full(6, 0.002))
    low, high = ahead.band(SIZES[-1] * np.array(KNOTS), 0.9)
    assert (low < 0.48).all()
    assert high[0] < 0.98
    np.testing.assert_allclose(ahead.errors_at(2 * SIZES[-1:]), 0.96, atol=0.02)


def test_laws_that_agree_are_hardly_to_be_corrected():
    """The middle is learned in units of the laws' doubt."""
    points = curve_points(SIZES, power_law(SIZES), np.full(6, 3e-4))
    windows = windows_of(fit_averaged(points))
    rows = features_of(points, *windows)
    doubt = doubt_of(rows)
    assert (np.diff(doubt) > 0).all()
    plain = plain_forecaster()
    shifted = (replace(plain.quantiles[1][0], baseline=1.0),)
    moved = replace(plain, quantiles=(plain.quantiles[0], shifted, plain.quantiles[2]))
    np.testing.assert_allclose(moved.halves(rows)[1], doubt)


def test_the_shipped_forecast_names_its_source_and_its_coverage():
    shipped = shipped_forecaster()
    assert set(shipped.provenance) >= {"data", "licence", "date", "protocol", "curves", "data_sets"}
    assert [held.factor for held in shipped.held] == list(KNOTS)
    for held in shipped.held:
        assert 0.87 <= held.coverage <= 0.94
        assert 0.87 <= held.coverage_few_runs <= 0.94
