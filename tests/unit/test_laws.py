from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq, least_squares, nnls

from tests.lazily import Lazily
from tui_datasize.metric import METRICS_OFFERED, metric_named
from tui_datasize.stats.averaging import Average, FittedLaws, fit_averaged, fit_laws
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.fitting import CurvePoints, LawFit, curve_points, fit_law
from tui_datasize.stats.laws import LAWS, Loss, flipped, loss_of

eval_measures = Lazily("statsmodels.tools.eval_measures")

SIZES = np.array([50, 71, 100, 141, 200, 283, 400, 566, 800, 1131, 1600, 2263])
LAW_NAMED = {law.name: law for law in LAWS}

# Written out anew, as an independent reading of each formula.
TRUTHS = {
    "loglin": lambda n: 0.9 - 0.2 * np.log10(n),
    "half": lambda n: 0.05 + 3 / np.sqrt(n),
    "pow2": lambda n: 2 * n**-0.4,
    "pow3": lambda n: 0.08 + 4 / n**0.7,
    "pow4": lambda n: 0.04 + 30 * (n + 300.0) ** -0.8,
    "exp3": lambda n: 0.1 + 0.6 * np.exp(-n / 420),
    "wbl4": lambda n: 0.07 + 0.8 * np.exp(-((n / 300) ** 0.6)),
    "mmf4": lambda n: 0.06 + 0.85 / (1 + (n / 260) ** 1.3),
    "BNSL1": lambda n: 0.02 + 1.4 * n**-0.2 * (1 + (n / 400) ** (1 / 0.3)) ** (-0.7 * 0.3),
}


def m4_truth(n, a=0.05, b=9.0, c=0.7, alpha=0.8, top=0.9):
    def off(e, size):
        return e - a - b * size**-c * (top - e) ** alpha

    return np.array([brentq(off, a, top, args=(size,)) for size in n])


def points_of(errors, stderrs=None, sizes=SIZES) -> CurvePoints:
    points = curve_points(sizes, errors, stderrs)
    assert isinstance(points, CurvePoints)
    return points


def fit_named(name, points) -> LawFit:
    fit = fit_law(LAW_NAMED[name], points)
    assert isinstance(fit, LawFit)
    return fit


@pytest.mark.parametrize("name", TRUTHS)
def test_a_law_is_found_again(name):
    fit = fit_named(name, points_of(TRUTHS[name](SIZES)))
    # Four shapes are searched coarsely: close to the curve, and less so beyond it.
    coarse = len(LAW_NAMED[name].shapes) == 4
    assert fit.rmse < (2e-3 if coarse else 5e-4)
    ahead = np.array([4000, 8000])
    np.testing.assert_allclose(fit.errors_at(ahead), TRUTHS[name](ahead), atol=0.04 if coarse else 5e-3)


def test_m4_is_found_again_and_solves_its_equation():
    errors = m4_truth(SIZES)
    fit = fit_named("M4", points_of(errors))
    assert fit.rmse < 2e-3
    p, e = fit.parameters, fit.errors_at(SIZES)
    np.testing.assert_allclose(
        (e - p["a"]) / (p["e0"] - e) ** p["alpha"], p["b"] * SIZES ** -p["c"], rtol=1e-6
    )


PARAMETRIC = {
    "pow3": (lambda n, t: n ** -t[0], [(0.02, 3)]),
    "exp3": (lambda n, t: np.exp(-n / t[0]), [(25, 11315)]),
    "pow4": (lambda n, t: (n + t[1]) ** -t[0], [(0.02, 3), (1, 1500)]),
    "wbl4": (lambda n, t: np.exp(-((n / t[0]) ** t[1])), [(5, 11315), (0.1, 2)]),
    "mmf4": (lambda n, t: 1 / (1 + (n / t[0]) ** t[1]), [(5, 11315), (0.1, 3)]),
}


@pytest.mark.parametrize("name", PARAMETRIC)
def test_no_start_of_a_nonlinear_optimiser_finds_a_better_fit(name):
    term, bounds = PARAMETRIC[name]
    rng = np.random.default_rng(3)
    stderrs = rng.uniform(0.004, 0.012, len(SIZES))
    errors = 0.07 + 0.8 * np.exp(-((SIZES / 300) ** 0.6)) + rng.normal(0, stderrs)
    points = points_of(errors, stderrs)
    root = np.sqrt(points.weights)

    def residuals(t):
        basis = np.column_stack([np.ones(len(SIZES)), term(SIZES.astype(float), t)])
        basis[:, 1] /= basis[:, 1].max()
        linear, _ = nnls(root[:, None] * basis, root * errors)
        return root * (basis @ linear - errors)

    low, high = np.array(bounds).T
    starts = np.exp(rng.uniform(np.log(low), np.log(high), (12, len(low))))
    best = min(2 * least_squares(residuals, start, bounds=(low, high)).cost for start in starts)
    assert fit_named(name, points).rmse ** 2 <= best * 1.005


@given(st.lists(st.floats(0, 1), min_size=12, max_size=12))
def test_floor_and_scale_are_the_bounded_least_squares(errors):
    rng = np.random.default_rng(5)
    points = points_of(errors, rng.uniform(0.5, 2, 12))
    fit = fit_named("half", points)
    root = np.sqrt(points.weights)
    basis = np.column_stack([np.ones(12), SIZES**-0.5])
    solution, distance = nnls(root[:, None] * basis, root * np.array(errors))
    assert fit.rmse == pytest.approx(distance, abs=1e-7)
    np.testing.assert_allclose([fit.floor, fit.scale], solution, atol=1e-6)


@pytest.mark.parametrize("stderr", [None, 0.01])
def test_aicc_is_that_of_statsmodels_up_to_a_constant(stderr):
    rng = np.random.default_rng(0)
    errors = TRUTHS["pow3"](SIZES) + rng.normal(0, 0.01, 12)
    points = points_of(errors, None if stderr is None else np.full(12, stderr))
    offsets = []
    for name in ("half", "pow2", "pow3", "mmf4"):
        fit = fit_named(name, points)
        # The variance is a parameter where it is not known.
        k = LAW_NAMED[name].n_parameters + (stderr is None)
        offsets.append(fit.aicc - 12 * eval_measures.aicc_sigma(math.log(fit.rmse**2), 12, k, islog=True))
    assert np.ptp(offsets) == pytest.approx(0, abs=1e-9)


def test_a_size_that_is_hardly_known_hardly_counts():
    errors = TRUTHS["pow3"](SIZES)
    errors[-1] += 0.2
    stderrs = np.full(12, 0.001)
    blind, weighted = points_of(errors), points_of(errors, np.where(SIZES == 2263, 1.0, stderrs))
    wanted = TRUTHS["pow3"](np.array([8000]))
    assert abs(fit_named("pow3", weighted).errors_at([8000]) - wanted) < 0.001
    assert abs(fit_named("pow3", blind).errors_at([8000]) - wanted) > 0.05


def test_the_lower_end_of_the_fit_moves():
    errors = np.where(SIZES < 400, 0.7, TRUTHS["pow3"](SIZES))
    laws = fit_laws(SIZES, errors, fit_from=400)
    assert isinstance(laws, FittedLaws)
    assert laws.points.train_sizes[0] == 400
    assert laws.average.errors_at([8000])[0] == pytest.approx(TRUTHS["pow3"](8000), abs=2e-3)


def test_order_and_missing_values_do_not_matter():
    errors = TRUTHS["mmf4"](SIZES)
    shuffled = np.random.default_rng(1).permutation(12)
    sizes, values = np.append(SIZES[shuffled], 9999), np.append(errors[shuffled], np.nan)
    one, other = fit_laws(SIZES, errors), fit_laws(sizes, values)
    np.testing.assert_allclose(one.average.errors_at([5000]), other.average.errors_at([5000]), rtol=1e-9)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_too_few_sizes_are_a_reason(law):
    n = law.least_sizes - 1
    if n == 0:
        assert curve_points([], []) == FitFailure("has no train size to fit to")
        return
    fit = fit_law(law, points_of(TRUTHS["pow3"](SIZES[:n]), sizes=SIZES[:n]))
    assert fit == FitFailure(f"needs {law.least_sizes} sizes, has {n}")


@pytest.mark.parametrize("n", range(1, 13))
def test_every_number_of_sizes_has_an_answer_or_a_reason(n):
    answer = fit_averaged(curve_points(SIZES[:n], TRUTHS["pow3"](SIZES[:n]))).average
    if n < 3:
        assert answer == FitFailure(f"needs 3 sizes, has {n}")
    else:
        assert isinstance(answer, Average)
        assert sum(member.weight for member in answer.members) == pytest.approx(1)
        assert np.isfinite(answer.errors_at([10_000])).all()
        assert np.isfinite(answer.with_spread_at([10_000])[1]).all()


@given(st.lists(st.floats(0, 1), min_size=3, max_size=12))
def test_any_error_rates_give_an_answer_between_0_and_1(errors):
    answer = fit_averaged(curve_points(SIZES[: len(errors)], errors)).average
    assert isinstance(answer, Average)
    ahead = answer.errors_at([10, 3000, 100_000])
    assert ((ahead >= 0) & (ahead <= 1)).all()


def test_the_average_alone_is_that_of_all_laws():
    errors = TRUTHS["wbl4"](SIZES) + np.random.default_rng(2).normal(0, 0.01, 12)
    laws = fit_laws(SIZES, errors)
    alone = fit_averaged(curve_points(SIZES, errors)).average
    np.testing.assert_array_equal(alone.errors_at([5000]), laws.average.errors_at([5000]))
    weights = [weight for _, fit, weight in laws.ranked if isinstance(fit, LawFit)]
    assert weights == sorted(weights, reverse=True)
    members = [fit.aicc for _, fit, weight in laws.ranked if weight]
    assert members == sorted(members)
    assert sum(weight for _, _, weight in laws.ranked) == pytest.approx(1)


def test_cross_entropy_has_laws_of_its_own_and_no_upper_end():
    loss = 0.4 + 30 / SIZES**0.7
    laws = fit_laws(SIZES, loss, loss=Loss.CROSS_ENTROPY)
    fits = {law.name: fit for law, fit in laws.fits}
    assert fits["exp3"] == FitFailure("is no law of cross-entropy")
    assert laws.average.errors_at([20])[0] > 1
    assert laws.average.errors_at([10_000])[0] == pytest.approx(0.4 + 30 / 10_000**0.7, abs=1e-3)


def test_which_metrics_have_laws():
    assert loss_of(metric_named("test_accuracy")) is Loss.ERROR
    assert loss_of(metric_named("best_test_loss")) is Loss.CROSS_ENTROPY
    for name in ("train_accuracy", "train_loss", "wall_s", "test_ece", "test_margin_wrong"):
        assert loss_of(METRICS_OFFERED[name]) is None
    assert flipped(Loss.ERROR, flipped(Loss.ERROR, 0.3)) == pytest.approx(0.3)
    assert flipped(Loss.CROSS_ENTROPY, 0.3) == 0.3


def test_the_table_of_laws_is_complete():
    assert LAWS[0].name == "loglin"
    assert len({law.name for law in LAWS}) == len(LAWS) == 11
    for law in LAWS:
        assert law.source
        assert all(shape.name in law.formula for shape in law.shapes)
        assert set(law.averaged_for) <= set(law.suits)
