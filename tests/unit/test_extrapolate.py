from __future__ import annotations

import numpy as np
import pytest

from tests.unit.forecasters import plain_forecaster
from tui_datasize.metric import metric_named
from tui_datasize.stats.averaging import FittedLaws, fit_laws
from tui_datasize.stats.extrapolate import Outlook, look_ahead
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.laws import Loss
from tui_datasize.stats.noise import Noise

ACCURACY, LOSS = metric_named("test_accuracy"), metric_named("test_loss")
SIZES = np.array([50, 100, 200, 400, 800, 1600, 3200])


def half_law(n):
    return 0.05 + 2 / np.sqrt(n)


def laws_of(errors, sizes=SIZES, loss=Loss.ERROR) -> FittedLaws:
    laws = fit_laws(sizes, errors, loss=loss)
    assert isinstance(laws, FittedLaws)
    return laws


def outlook_of(laws, metric=ACCURACY, **asked) -> Outlook:
    outlook = look_ahead(laws, metric, **{"forecaster": plain_forecaster(), **asked})
    assert isinstance(outlook, Outlook)
    return outlook


def test_the_metric_at_two_four_and_eight_times_with_a_band():
    found = outlook_of(laws_of(half_law(SIZES))).extrapolations
    assert [(point.train_size, point.factor) for point in found] == [(6400, 2), (12800, 4), (25600, 8)]
    for point in found:
        assert point.value == pytest.approx(1 - half_law(point.train_size), abs=1e-3)
        assert point.low < point.value < point.high <= 1
        assert (point.nominal, point.measured) == (0.9, 0.92)
        assert (1 - point.low) / (1 - point.value) == pytest.approx(np.exp(0.1), abs=0.01)


def test_the_size_that_a_target_needs_has_odds():
    target = 1 - half_law(8000)
    needed = outlook_of(laws_of(half_law(SIZES)), target=target, forecaster=plain_forecaster(0.05)).needed
    assert needed.train_size == pytest.approx(8000, rel=0.03)
    assert 3200 < needed.at_least < needed.train_size < needed.at_most < 25_600
    # An end of the 80 % band is 0.8 times as far off as one of the 90 % band.
    assert half_law(needed.at_least) == pytest.approx(half_law(8000) * np.exp(0.04), rel=0.01)
    assert needed.odds == 0.8
    assert not needed.is_measured
    assert needed.below.train_size == 3200


def test_a_target_within_the_runs_is_said_so():
    needed = outlook_of(laws_of(half_law(SIZES)), target=1 - half_law(600)).needed
    assert needed.train_size == pytest.approx(600, rel=0.03)
    assert needed.at_least is needed.at_most is None
    assert (needed.below.train_size, needed.above.train_size) == (400, 800)
    assert needed.below.mean < 1 - half_law(600) < needed.above.mean


@pytest.mark.parametrize(
    ("target", "width", "train_size", "at_least"),
    [
        (0.999, 0.1, None, 25_600),  # below the floor: nothing gets there
        (1 - half_law(24_000), 0.2, 24_000, 7_060),  # the upper end does not
        (1 - half_law(3300), 1.5, 3300, 3200),  # the band holds it from the start, and never surely
    ],
)
def test_what_the_runs_cannot_tell_has_a_lower_end_alone(target, width, train_size, at_least):
    found = outlook_of(laws_of(half_law(SIZES)), target=target, forecaster=plain_forecaster(width))
    needed = found.needed
    assert needed.at_most is None
    assert needed.at_least == pytest.approx(at_least, rel=0.05)
    assert (needed.train_size or 0) == pytest.approx(train_size or 0, rel=0.05)
    assert not needed.is_measured


def test_trainings_need_more_than_their_mean_to_reach_a_target():
    noise = Noise(0.005, 0.0, 9)
    laws, target = laws_of(half_law(SIZES)), 1 - half_law(8000)
    needed = outlook_of(laws, target=target, noise=noise).needed
    # Four of five trainings lie above mean - 0.84 SD.
    assert half_law(needed.assured) == pytest.approx(half_law(8000) - 0.842 * 0.005, rel=0.01)
    within = outlook_of(laws, target=1 - half_law(600), noise=noise).needed
    assert 600 < within.assured < 800
    assert outlook_of(laws, target=target).needed.assured is None
    assert outlook_of(laws, target=target, noise=Noise(0.005, 0.0, 0)).needed.assured is None


def test_what_the_next_doubling_buys_and_from_where_it_is_little():
    doubling = outlook_of(laws_of(half_law(SIZES)), delta=0.006).doubling
    assert doubling.gain == pytest.approx(half_law(3200) - half_law(6400), abs=5e-4)
    assert doubling.low < doubling.gain < doubling.high
    # 2/sqrt(n) - 2/sqrt(2n) = 0.006
    assert doubling.small_from == pytest.approx((2 * (1 - 0.5**0.5) / 0.006) ** 2, rel=0.05)
    assert doubling.may_be_less
    little = outlook_of(laws_of(half_law(SIZES)), delta=0.011).doubling
    assert little.small_from < 3200
    assert little.may_be_more
    sure = outlook_of(laws_of(half_law(SIZES)), delta=0.1).doubling
    assert not sure.may_be_more


def test_a_doubling_that_stays_worth_it_has_no_size():
    doubling = outlook_of(laws_of(half_law(SIZES)), delta=1e-4).doubling
    assert doubling.small_from is None


def test_a_plateau_among_small_sizes_is_not_the_end():
    sizes = np.array([20, 40, 80, 160, 320, 640, 1280])
    outlook = outlook_of(laws_of(0.1 + 0.8 * np.exp(-sizes / 600), sizes), delta=0.05)
    assert outlook.doubling.small_from > 640


def test_cross_entropy_goes_down_and_its_band_is_wider_than_that_of_errors():
    laws = fit_laws(SIZES, 0.3 + 20 / SIZES**0.6, np.full(len(SIZES), 0.001), loss=Loss.CROSS_ENTROPY)
    outlook = outlook_of(laws, LOSS, target=0.4)
    assert outlook.doubling.gain < 0
    assert [point.measured for point in outlook.extrapolations] == [0.88] * 3
    for point in outlook.extrapolations:
        assert point.high / point.value == pytest.approx(np.exp(1.5 * 0.1), rel=1e-6)
    assert outlook.bands.held_losses == (0.88, 0.88)
    assert outlook.needed.train_size == pytest.approx((20 / 0.1) ** (1 / 0.6), rel=0.05)


def test_a_curve_of_ill_shape_gets_a_doubt_and_the_coverage_of_its_like():
    rises = half_law(SIZES) + 0.1 * (SIZES >= 800)
    laws = fit_laws(SIZES, rises, np.full(len(SIZES), 0.004))
    outlook = outlook_of(laws, target=0.99)
    assert "rise" in outlook.faults
    assert {point.measured for point in outlook.extrapolations} == {0.71}
    assert outlook.bands.held_ill_shaped == (0.71, 0.71)


def test_what_is_bought_is_counted_from_the_measured_mean():
    """A mean off the laws is no gain: it starts where it was measured."""
    lucky = half_law(SIZES) - 0.004 * (SIZES == 3200)
    outlook = outlook_of(fit_laws(SIZES, lucky, np.full(len(SIZES), 0.003)))
    twice = outlook.extrapolations[0].value
    assert outlook.doubling.gain == pytest.approx(twice - (1 - lucky[-1]))
    assert outlook.view.value_at(3200) == pytest.approx(1 - lucky[-1])


def test_the_odds_of_a_doubling_are_those_of_the_narrower_band():
    for metric, errors, loss in (
        (ACCURACY, half_law(SIZES), Loss.ERROR),
        (LOSS, 0.3 + 20 / SIZES**0.6, Loss.CROSS_ENTROPY),
    ):
        doubling = outlook_of(laws_of(errors, loss=loss), metric).doubling
        best = doubling.high if metric is ACCURACY else doubling.low
        assert abs(doubling.gain) < abs(doubling.one_in_ten) < abs(best)
        assert doubling.one_in_ten * doubling.gain > 0


def test_a_curve_that_the_laws_miss_gets_no_forecast():
    falls = fit_laws(SIZES, 0.05 + 0.02 * np.log2(SIZES / 50), np.full(len(SIZES), 0.002))
    found = look_ahead(falls, ACCURACY, target=0.97)
    assert isinstance(found, FitFailure)
    assert "misses the largest size, 3,200 images, by 6.20 points (31 standard errors)" in found.reason
    # The same miss is no news where the means are not known better than that.
    unsure = fit_laws(SIZES, 0.05 + 0.02 * np.log2(SIZES / 50), np.full(len(SIZES), 0.03))
    assert isinstance(look_ahead(unsure, ACCURACY), Outlook)


@pytest.mark.parametrize(
    ("accuracies", "reason"),
    [
        # A published table with one run a size that falls from 70 %; its kin fall gently, or from the start.
        ([0.60, 0.66, 0.70, 0.55, 0.50], "1,600 images do worse than 400 by 20.00 points"),
        ([0.60, 0.66, 0.70, 0.69, 0.68], "1,600 images do worse than 400 by 2.00 points"),
        ([0.70, 0.55, 0.50], "400 images do worse than 100 by 20.00 points"),
        ([0.80, 0.75, 0.70, 0.65], "800 images do worse than 100 by 15.00 points"),
        # It rises late.
        ([0.10, 0.10, 0.10, 0.60], "their average misses the largest size, 800 images, by 20"),
        ([0.50, 0.50, 0.51, 0.58, 0.70], "their average misses the largest size, 1,600 images, by 6"),
        ([0.38, 0.57, 0.54, 0.44, 0.64], "their average misses the largest size, 1,600 images, by 5"),
    ],
)
def test_single_runs_that_contradict_the_laws_get_no_forecast(accuracies, reason):
    sizes = 100 * 2 ** np.arange(len(accuracies))
    answer = look_ahead(laws_of(1 - np.array(accuracies), sizes), ACCURACY)
    assert isinstance(answer, FitFailure)
    assert reason in answer.reason
    assert "run more seeds first" in answer.reason


def test_the_band_of_single_runs_is_wider_the_more_they_scatter():
    sizes = 100 * 2 ** np.arange(5)
    law = 0.03 + 3 / np.sqrt(sizes)
    scattered = law * np.exp(0.06 * np.array([1, -1, 1, -1, 0]))
    exact, off = (look_ahead(laws_of(errors, sizes), ACCURACY) for errors in (law, scattered))
    assert exact.scatter == 0
    assert off.scatter > 0.03
    (narrow, wide) = (of.extrapolations[0].high - of.extrapolations[0].low for of in (exact, off))
    assert wide > 1.5 * narrow


def test_a_target_that_the_smallest_size_meets_is_not_placed_there():
    needed = outlook_of(laws_of(half_law(SIZES)), target=0.5).needed
    assert (needed.below, needed.above.train_size) == (None, 50)


def test_a_curve_like_the_laws_is_not_doubted():
    laws = fit_laws(SIZES, half_law(SIZES), np.full(len(SIZES), 0.001))
    outlook = outlook_of(laws)
    assert (outlook.faults, outlook.scatter) == ((), 0)
    assert outlook.doubling.gain == pytest.approx(0.0104, abs=2e-4)


def test_any_size_is_foreseen_as_far_as_the_farthest():
    outlook = look_ahead(laws_of(half_law(SIZES)), ACCURACY)
    four = next(point for point in outlook.extrapolations if point.factor == 4)
    assert outlook.at(12_800) == four
    sizes, values, low, high = outlook.line()
    assert (sizes[0], sizes[-1]) == pytest.approx((3200, 25_600))
    assert values[0] == pytest.approx(1 - half_law(3200))
    assert (low <= values).all()
    assert (values <= high).all()
    assert np.isnan(outlook.view.value_at(25_700))


def test_too_few_sizes_are_a_reason():
    laws = laws_of(half_law(SIZES[:2]), SIZES[:2])
    assert look_ahead(laws, ACCURACY) == FitFailure("needs 3 sizes, has 2")


def test_no_zero_has_a_sign():
    assert ACCURACY.text(-1e-9) == "0.00 %"
    for change in (-1e-9, 0.0, 1e-9):
        assert ACCURACY.change(change) == "0.00 points"
    assert metric_named("wall_s").change(-1.25) == "-1.25 s"


def test_differences_are_in_points():
    assert ACCURACY.difference(0.005) == "0.50 points"
    assert LOSS.difference(0.02) == "0.0200"
