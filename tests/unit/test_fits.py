from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.lazily import Lazily
from tui_datasize.stats.fits import FitFailure, LogLinearFit, fit_log_linear, lack_of_fit

sm = Lazily("statsmodels.api")
anova = Lazily("statsmodels.stats.anova")

STUDY_SIZES = np.array([750, 800, 1000, 1200, 1500, 2000, 2400, 3000, 4000, 6000, 12000])
TOLERANCE = 1e-10


def study_means(intercept: float, slope: float, r2: float) -> np.ndarray:
    """Means over seeds that satisfy published coefficients and r2 of the main study."""
    x = np.log10(STUDY_SIZES)
    design = np.column_stack([np.ones_like(x), x])
    bend = x**2
    residual = bend - design @ np.linalg.lstsq(design, bend, rcond=None)[0]
    explained = slope**2 * np.sum((x - x.mean()) ** 2)
    residual *= math.sqrt(explained * (1 - r2) / r2 / (residual @ residual))
    return intercept + slope * x - residual


def random_runs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = np.repeat([40, 80, 160, 320, 640, 1280], 5)
    return sizes, 0.4 + 0.12 * np.log10(sizes) + rng.normal(0, 0.02, len(sizes))


def statsmodels_fit(sizes, values):
    return sm.OLS(values, sm.add_constant(np.log10(sizes))).fit()


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_the_table_equals_that_of_statsmodels(seed, offset):
    sizes, values = random_runs(seed)
    values = values + offset
    fit, reference = fit_log_linear(sizes, values), statsmodels_fit(sizes, values)
    assert isinstance(fit, LogLinearFit)
    for estimate, i in ((fit.intercept, 0), (fit.slope, 1)):
        assert_close(estimate.value, reference.params[i])
        assert_close(estimate.stderr, reference.bse[i])
        assert_close(estimate.t, reference.tvalues[i])
        assert_close(estimate.p, reference.pvalues[i])
        assert_close([estimate.low, estimate.high], reference.conf_int()[i])
    assert_close(fit.r2, reference.rsquared)
    assert_close(fit.r2_adjusted, reference.rsquared_adj)
    assert_close([fit.f, fit.f_p], [reference.fvalue, reference.f_pvalue])
    assert_close(fit.residual_sd, math.sqrt(reference.mse_resid))
    assert fit.n_points == reference.nobs


@pytest.mark.parametrize("train_size", [10, 200, 1280, 100_000])
def test_bands_equal_those_of_statsmodels(train_size):
    sizes, values = random_runs(1)
    fit = fit_log_linear(sizes, values)
    assert isinstance(fit, LogLinearFit)
    frame = statsmodels_fit(sizes, values).get_prediction([[1, math.log10(train_size)]]).summary_frame()
    mean, one = fit.predict(train_size), fit.predict(train_size, "observation")
    assert_close([mean.value, mean.low, mean.high], frame.iloc[0][["mean", "mean_ci_lower", "mean_ci_upper"]])
    assert_close([one.value, one.low, one.high], frame.iloc[0][["mean", "obs_ci_lower", "obs_ci_upper"]])


@pytest.mark.parametrize(
    ("intercept", "slope", "r2", "f", "p", "formula"),
    [
        (0.4344, 0.1188, 0.848, 50.39, 5.68e-05, "0.4344 + 0.1188*log10(n)"),
        (2.0592, -0.4422, 0.801, 36.21, 1.98e-04, "2.0592 - 0.4422*log10(n)"),
    ],
)
def test_the_published_figures_come_out_again(intercept, slope, r2, f, p, formula):
    fit = fit_log_linear(STUDY_SIZES, study_means(intercept, slope, r2))
    assert isinstance(fit, LogLinearFit)
    assert fit.formula == formula
    assert round(fit.r2, 3) == r2
    # r2 is published to three digits, which leaves F about half a percent of play.
    assert fit.f == pytest.approx(f, rel=0.006)
    assert fit.f_p == pytest.approx(p, rel=0.03)
    assert fit.slope.p == pytest.approx(fit.f_p, rel=1e-9)


def test_the_next_doubling_is_the_slope_times_log_2():
    sizes, values = random_runs(2)
    fit = fit_log_linear(sizes, values)
    assert isinstance(fit, LogLinearFit)
    gain = fit.predict(2000).value - fit.predict(1000).value
    assert fit.doubling.value == pytest.approx(gain, rel=1e-9)
    assert fit.doubling.stderr / fit.doubling.value == pytest.approx(fit.slope.stderr / fit.slope.value)
    assert (fit.doubling.t, fit.doubling.p) == (fit.slope.t, fit.slope.p)


def test_a_law_that_holds_exactly():
    sizes = np.array([100, 1000, 10000])
    fit = fit_log_linear(sizes, [0.25, 0.5, 0.75])
    assert isinstance(fit, LogLinearFit)
    assert fit.slope.value == pytest.approx(0.25, abs=1e-12)
    assert fit.r2 == pytest.approx(1)
    assert fit.slope.p < 1e-6
    assert not math.isnan(fit.f)


@pytest.mark.parametrize(
    ("sizes", "values", "reason"),
    [
        ([], [], "needs three sizes, has none"),
        ([40], [0.5], "needs three sizes, has one"),
        ([40, 40, 80, 80], [0.5, 0.4, 0.6, 0.7], "needs three sizes, has two"),
        ([40, 80, 160], [0.1, 0.1, 0.1], "has equal values everywhere"),
        ([40, 80, 160], [0.0, 0.0, 0.0], "has equal values everywhere"),
    ],
)
def test_what_cannot_be_fitted_is_a_reason(sizes, values, reason):
    assert fit_log_linear(sizes, values) == FitFailure(reason)
    assert lack_of_fit(sizes, values) == FitFailure(reason)


@given(
    st.floats(-1, 1),
    st.floats(-1, 1).filter(lambda slope: abs(slope) > 1e-3),
    st.lists(st.floats(-0.1, 0.1), min_size=4, max_size=4),
)
def test_adding_a_line_shifts_the_coefficients_and_nothing_else(intercept, slope, noise):
    sizes = np.array([40, 160, 640, 2560])
    scatter = np.array([0.01, -0.02, 0.03, -0.01]) + noise
    before = fit_log_linear(sizes, scatter)
    after = fit_log_linear(sizes, scatter + intercept + slope * np.log10(sizes))
    assume(isinstance(before, LogLinearFit))
    assert after.slope.value == pytest.approx(before.slope.value + slope, abs=1e-9)
    assert after.intercept.value == pytest.approx(before.intercept.value + intercept, abs=1e-9)
    assert after.residual_sd == pytest.approx(before.residual_sd, abs=1e-9)
    assert after.slope.low <= after.slope.value <= after.slope.high


@pytest.mark.parametrize("bend", [0.0, 0.03])
def test_lack_of_fit_equals_the_anova_of_statsmodels(bend):
    sizes, values = random_runs(3)
    values = values + bend * (np.log10(sizes) - 2) ** 2
    test = lack_of_fit(sizes, values)
    groups = (sizes[:, None] == np.unique(sizes)).astype(float)
    table = anova.anova_lm(statsmodels_fit(sizes, values), sm.OLS(values, groups).fit())
    np.testing.assert_allclose(
        [test.f, test.p, test.sizes_df, test.runs_df],
        [table["F"][1], table["Pr(>F)"][1], table["df_diff"][1], table["df_resid"][1]],
        rtol=1e-8,
    )


def test_lack_of_fit_sees_a_law_that_bends():
    rng = np.random.default_rng(0)
    sizes = np.repeat(STUDY_SIZES, 10)
    noise = rng.normal(0, 0.005, len(sizes))
    straight = lack_of_fit(sizes, 0.43 + 0.12 * np.log10(sizes) + noise)
    bent = lack_of_fit(sizes, 0.95 - 20 / sizes**0.8 + noise)
    assert straight.p > 0.05
    assert bent.p < 1e-6


def test_lack_of_fit_needs_repeated_runs():
    assert isinstance(lack_of_fit([10, 100, 1000], [0.1, 0.3, 0.4]), FitFailure)
