from __future__ import annotations

import warnings

import numpy as np
import pytest

from tests.lazily import Lazily
from tests.unit.test_fits import STUDY_SIZES, random_runs
from tui_datasize.stats.diagnostics import Diagnostics, diagnose
from tui_datasize.stats.fits import FitFailure, LogLinearFit, fit_log_linear

sm = Lazily("statsmodels.api")
stattools = Lazily("statsmodels.stats.stattools")

# A fixed sweep of eleven sizes: means over seeds and their standard errors.
MEANS = np.array([0.770, 0.781, 0.790, 0.801, 0.818, 0.833, 0.829, 0.851, 0.861, 0.893, 0.884])
STDERRS = np.array([0.016, 0.012, 0.011, 0.015, 0.017, 0.013, 0.010, 0.014, 0.012, 0.009, 0.011])


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=0)


def cases():
    sizes, values = random_runs(4)
    rng = np.random.default_rng(7)
    return [
        pytest.param(STUDY_SIZES, MEANS, None, id="means"),
        pytest.param(STUDY_SIZES, MEANS, 1 / STDERRS**2, id="means, weighted"),
        pytest.param(sizes, values, None, id="runs"),
        pytest.param(sizes, values, rng.uniform(0.2, 5, len(sizes)), id="runs, weighted"),
    ]


def statsmodels_fit(sizes, values, weights):
    design = sm.add_constant(np.log10(sizes))
    return sm.OLS(values, design).fit() if weights is None else sm.WLS(values, design, weights).fit()


@pytest.mark.parametrize(("sizes", "values", "weights"), cases())
def test_the_table_equals_that_of_statsmodels(sizes, values, weights):
    found, reference = diagnose(sizes, values, weights), statsmodels_fit(sizes, values, weights)
    assert isinstance(found, Diagnostics)
    assert_close([found.log_likelihood, found.aic, found.bic], [reference.llf, reference.aic, reference.bic])
    assert_close(found.durbin_watson, stattools.durbin_watson(reference.wresid))
    assert_close([found.omnibus, found.omnibus_p], stattools.omni_normtest(reference.wresid))
    assert_close(
        [found.jarque_bera, found.jarque_bera_p, found.skew, found.kurtosis],
        stattools.jarque_bera(reference.wresid),
    )
    # Weights of mean 1 scale the design as a whole, and not its condition number.
    assert_close(found.condition_number, reference.condition_number)


@pytest.mark.parametrize(("sizes", "values", "weights"), cases())
def test_influences_equal_those_of_statsmodels(sizes, values, weights):
    found = diagnose(sizes, values, weights)
    # The influence of a weighted fit is that of the rows scaled by the root of the weights.
    root = np.sqrt(np.ones(len(sizes)) if weights is None else weights)
    design = sm.add_constant(np.log10(sizes)) * root[:, None]
    reference = sm.OLS(root * values, design).fit().get_influence()
    assert_close([point.leverage for point in found.points], reference.hat_matrix_diag)
    assert_close([point.cooks_distance for point in found.points], reference.cooks_distance[0])
    assert_close([point.studentised for point in found.points], reference.resid_studentized_internal)
    assert_close([point.studentised_deleted for point in found.points], reference.resid_studentized_external)
    if weights is None:
        outliers = statsmodels_fit(sizes, values, None).outlier_test()
        np.testing.assert_allclose([point.outlier_p for point in found.points], outliers[:, 2], rtol=1e-8)


@pytest.mark.parametrize(("sizes", "values", "weights"), cases())
def test_the_weighted_line_equals_that_of_statsmodels(sizes, values, weights):
    fit, reference = fit_log_linear(sizes, values, weights), statsmodels_fit(sizes, values, weights)
    assert isinstance(fit, LogLinearFit)
    for estimate, i in ((fit.intercept, 0), (fit.slope, 1)):
        assert_close(
            [estimate.value, estimate.stderr, estimate.t, estimate.p, estimate.low, estimate.high],
            [
                reference.params[i],
                reference.bse[i],
                reference.tvalues[i],
                reference.pvalues[i],
                *reference.conf_int()[i],
            ],
        )
    assert_close([fit.r2, fit.r2_adjusted], [reference.rsquared, reference.rsquared_adj])
    assert_close([fit.f, fit.f_p], [reference.fvalue, reference.f_pvalue])
    frame = reference.get_prediction([[1, 5.0]]).summary_frame().iloc[0]
    band = fit.predict(1e5)
    assert_close([band.value, band.low, band.high], frame[["mean", "mean_ci_lower", "mean_ci_upper"]])


def test_few_points_have_no_omnibus():
    found = diagnose([10, 100, 1000, 10_000], [0.2, 0.45, 0.6, 0.71])
    assert isinstance(found, Diagnostics)
    assert found.omnibus is found.omnibus_p is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        diagnose([10, 100, 1000, 10_000], [0.2, 0.45, 0.6, 0.7])


def test_of_three_points_there_is_nothing_to_say_but_that():
    # One residual pattern is left: Jarque-Bera, Durbin-Watson and the studentised residuals are constants.
    found = diagnose([10, 100, 1000], [0.2, 0.45, 0.6])
    assert isinstance(found, FitFailure)
    assert "too few sizes" in found.reason


def test_the_point_that_pulls_is_flagged():
    noise = 0.004 * np.array([1, -1, 1, 1, -1, -1, 1, -1, 1, -1, 0])
    values = 0.4344 + 0.1188 * np.log10(STUDY_SIZES) + noise
    assert diagnose(STUDY_SIZES, values).flagged == ()
    values[-1] -= 0.067
    (flagged,) = diagnose(STUDY_SIZES, values).flagged
    assert flagged.train_size == 12_000
    assert flagged.cooks_distance > 1
    assert flagged.studentised_deleted < -3


def test_what_cannot_be_diagnosed_is_a_reason():
    assert diagnose([40, 40, 80], [0.1, 0.2, 0.3]) == FitFailure("needs three sizes, has two")
    assert isinstance(diagnose([10, 100, 1000], [0.25, 0.5, 0.75]), FitFailure)
