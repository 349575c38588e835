"""Plans and answers of every curve among some runs, for `export`."""

from __future__ import annotations

import argparse

import polars as pl

from tui_datasize.answers.first_answer import answer_table
from tui_datasize.metric import metric_named
from tui_datasize.runlog.reader import RunLog
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.plan_table import plans_table
from tui_datasize.stats.planner import Plan, plan_next_runs
from tui_datasize.stats.question import PlanQuestion, Question
from tui_datasize.stats.summary import analyse_curves


def question_of(arguments: argparse.Namespace) -> PlanQuestion:
    """What `--at`, `--target`, `--runs` and `--samples` ask.

    Raises:
        ConfigError: The target is no value of the metric.
    """
    target = arguments.target and metric_named(arguments.metric).read(arguments.target)
    return PlanQuestion(arguments.at, target, arguments.runs, arguments.samples, arguments.fit_from)


def plans_of(_log: RunLog, runs: pl.DataFrame, arguments: argparse.Namespace) -> pl.DataFrame:
    """A plan for each curve, on the sizes that it has, schema `PLAN`.

    Raises:
        ConfigError: The question makes no sense.
    """
    plans: dict[tuple[str, str], Plan | FitFailure] = {
        (str(experiment), str(variant)): plan_next_runs(curve, arguments.metric, question_of(arguments))
        for (experiment, variant), curve in runs.group_by("experiment", "variant", maintain_order=True)
    }
    return plans_table(plans, arguments.metric)


def answers_of(runs: pl.DataFrame, arguments: argparse.Namespace) -> pl.DataFrame:
    """The answer of each curve, schema `ANSWER`.

    Raises:
        ConfigError: The target is no value of the metric.
    """
    metric = metric_named(arguments.metric)
    target = arguments.target and metric.read(arguments.target)
    curves = analyse_curves(runs, metric.name, Question(arguments.fit_from, target))
    return answer_table(tuple(curve for curve in curves if curve.curve.height))
