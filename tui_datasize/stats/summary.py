"""One experiment's answer: its learning curves, what is fitted to them, and the overlap of its draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import polars as pl

from tui_datasize.metric import Metric, metric_named
from tui_datasize.stats.averaging import FittedLaws, fit_laws
from tui_datasize.stats.clusters import find_clusters
from tui_datasize.stats.curve import learning_curve, moderated_stderrs, points, size_runs
from tui_datasize.stats.diagnostics import Diagnostics, diagnose
from tui_datasize.stats.extrapolate import Extrapolation, Outlook, look_ahead
from tui_datasize.stats.fits import FitFailure, LackOfFit, LogLinearFit, fit_log_linear, lack_of_fit
from tui_datasize.stats.fitting import floored
from tui_datasize.stats.laws import WHAT_LAWS_DESCRIBE, flipped, loss_of
from tui_datasize.stats.noise import noise_of
from tui_datasize.stats.question import NOTHING_ASKED, Question
from tui_datasize.stats.shape import CurveShape, describe_shape
from tui_datasize.stats.size_needed import SizeNeeded, reached

SIGNIFICANT = 0.05
"""A lack of fit less probable than this is spoken of."""
_LINE_POINTS = 80


FittedTo: TypeAlias = Literal["means", "means, weighted", "runs"]


@dataclass(frozen=True, slots=True)
class PublishedFit:
    """One of the ways to fit the log-linear law, and what its residuals say."""

    fitted_to: FittedTo
    """The means over runs of each size; the same weighted by 1/SE^2, see `moderated_stderrs`; or all runs."""
    fit: LogLinearFit | FitFailure
    diagnostics: Diagnostics | FitFailure


@dataclass(frozen=True)
class CurveAnalysis:
    """One learning curve, the log-linear law through it, and all other laws."""

    experiment: str
    variant: str
    metric: Metric
    points: pl.DataFrame
    """One row per run, or several for a mean over runs, see `curve.points`."""
    curve: pl.DataFrame
    """One row per train size, schema `CURVE`."""
    fit: LogLinearFit | FitFailure
    """Through the means over runs of each size, as published."""
    fit_on_runs: LogLinearFit | FitFailure
    lack_of_fit: LackOfFit | FitFailure
    fit_weighted: LogLinearFit | FitFailure
    """Through the means, weighted by 1/SE^2, see `moderated_stderrs`."""
    diagnostics: Diagnostics | FitFailure
    diagnostics_on_runs: Diagnostics | FitFailure
    """Of `fit_on_runs`, in the order of `points`: by size, then as recorded."""
    diagnostics_weighted: Diagnostics | FitFailure
    laws: FittedLaws | FitFailure
    """On the error that belongs to the metric."""
    outlook: Outlook | FitFailure
    shape: CurveShape | FitFailure
    needed: SizeNeeded | None
    """The size of the target, by the means or beyond them by the laws; None where none is asked, or no run
    counts."""
    question: Question

    @property
    def published(self) -> tuple[PublishedFit, ...]:
        """The log-linear law in each of its ways, the published one first."""
        return (
            PublishedFit("means", self.fit, self.diagnostics),
            PublishedFit("means, weighted", self.fit_weighted, self.diagnostics_weighted),
            PublishedFit("runs", self.fit_on_runs, self.diagnostics_on_runs),
        )

    @property
    def fitted_sizes(self) -> list[int]:
        sizes = self.curve["train_size"]
        return sizes.filter(sizes >= self.question.fit_from).to_list()

    @property
    def is_law_rejected(self) -> bool:
        return isinstance(self.lack_of_fit, LackOfFit) and self.lack_of_fit.p < SIGNIFICANT


def analyse_curves(
    runs: pl.DataFrame, metric: str, question: Question = NOTHING_ASKED
) -> tuple[CurveAnalysis, ...]:
    """The learning curve of each experiment and variant among some runs, in the order of their names.

    Raises ConfigError: there is no such metric, or the question makes no sense for it.
    """
    offered = metric_named(metric)
    question.check(offered)
    ordered = runs.sort("experiment", "variant", maintain_order=True)
    groups = ordered.group_by("experiment", "variant", maintain_order=True)
    return tuple(_analyse_curve(str(e), str(v), offered, group, question) for (e, v), group in groups)


def _analyse_curve(
    experiment: str, variant: str, metric: Metric, runs: pl.DataFrame, question: Question
) -> CurveAnalysis:
    counted, curve = points(runs, metric.name), learning_curve(runs, metric.name)
    is_fitted = pl.col("train_size") >= question.fit_from
    means, values = curve.filter(is_fitted), counted.filter(is_fitted)
    sizes, mean = means["train_size"], means["mean"]
    weights, clusters = 1 / floored(moderated_stderrs(means)) ** 2, find_clusters(size_runs(values))
    laws = laws_of(metric, means)
    noise = noise_of(sizes.to_list(), [size.values for size in size_runs(values)], clusters=clusters)
    outlook: Outlook | FitFailure
    if isinstance(laws, FitFailure):
        outlook = laws
    else:
        outlook = look_ahead(laws, metric, target=question.target, delta=question.delta, noise=noise)
    return CurveAnalysis(
        experiment,
        variant,
        metric,
        counted,
        curve,
        fit=fit_log_linear(sizes, mean),
        fit_on_runs=fit_log_linear(values["train_size"], values["value"]),
        lack_of_fit=lack_of_fit(values["train_size"], values["value"], clusters.means if clusters else None),
        fit_weighted=fit_log_linear(sizes, mean, weights),
        diagnostics=diagnose(sizes, mean),
        diagnostics_on_runs=_diagnose_runs(values),
        diagnostics_weighted=diagnose(sizes, mean, weights),
        laws=laws,
        outlook=outlook,
        shape=laws if isinstance(laws, FitFailure) else describe_shape(laws),
        needed=_needed(means, metric, outlook, question.target),
        question=question,
    )


def _diagnose_runs(values: pl.DataFrame) -> Diagnostics | FitFailure:
    if values["of_mean"].any():
        return FitFailure("needs single runs, and some are means over runs")
    return diagnose(values["train_size"], values["value"])


def _needed(
    means: pl.DataFrame, metric: Metric, outlook: Outlook | FitFailure, target: float | None
) -> SizeNeeded | None:
    if target is None or means.is_empty():
        return None
    if isinstance(outlook, Outlook):
        return outlook.needed
    return reached(means["train_size"].to_list(), means["mean"].to_list(), metric, target)


def laws_of(metric: Metric, curve: pl.DataFrame) -> FittedLaws | FitFailure:
    """All laws on the means of one learning curve."""
    loss = loss_of(metric)
    if loss is None:
        return FitFailure(f"is a metric that no law here is fitted to: {WHAT_LAWS_DESCRIBE}")
    return fit_laws(curve["train_size"], flipped(loss, curve["mean"]), moderated_stderrs(curve), loss=loss)


def average_curve(curve: CurveAnalysis, farthest: float) -> pl.DataFrame | None:
    """The average of the laws as a line, from the smallest size fitted.

    Columns `train_size` (fractional), up to `farthest`, and `value` in units of the metric; None without an
    average.
    """
    if isinstance(curve.laws, FitFailure) or isinstance(curve.laws.average, FitFailure):
        return None
    sizes = np.geomspace(curve.fitted_sizes[0], farthest, _LINE_POINTS)
    values = flipped(curve.laws.loss, curve.laws.average.errors_at(sizes))
    return pl.DataFrame({"train_size": sizes, "value": values})


def backtest(curve: CurveAnalysis) -> Extrapolation | None:
    """What would have been foreseen of the mean at the largest size without the runs there.

    None where too few sizes are left, or nothing would have been foreseen so far.
    """
    is_fitted = pl.col("train_size") >= curve.question.fit_from
    *seen, largest = curve.curve.filter(is_fitted)["train_size"].to_list()
    rest = curve.curve.filter(is_fitted, pl.col("train_size") < largest)
    laws = laws_of(curve.metric, rest) if seen else None
    outlook = look_ahead(laws, curve.metric) if isinstance(laws, FittedLaws) else None
    if not isinstance(outlook, Outlook) or largest > outlook.view.foreseen.farthest:
        return None
    return outlook.at(largest)
