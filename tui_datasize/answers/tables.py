"""The tables of the record that `export` writes, of one experiment or of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import polars as pl

from tui_datasize.answers.checks.finding import findings_table
from tui_datasize.answers.first_answer import answer_table
from tui_datasize.answers.record import Record
from tui_datasize.stats.curve import learning_curve
from tui_datasize.stats.ensembles import ensembles_table
from tui_datasize.stats.fits_table import fits_table
from tui_datasize.stats.overlap_tables import overlap_table
from tui_datasize.stats.plan_table import plans_table
from tui_datasize.stats.planner import plan_next_runs
from tui_datasize.stats.variance import variance_table


def _plans(record: Record) -> pl.DataFrame:
    """A plan for each curve, on the sizes that it has, schema `PLAN`."""
    curves = record.all_runs.group_by("experiment", "variant", maintain_order=True)
    question, metric = record.asked, record.metric.name
    plans = {
        (str(experiment), str(variant)): plan_next_runs(runs, metric, question)
        for (experiment, variant), runs in curves
    }
    return plans_table(plans, metric)


TABLES: Mapping[str, Callable[[Record], pl.DataFrame]] = MappingProxyType(
    {
        "runs": lambda record: record.reading.every,
        "metrics": lambda record: record.log.metrics(record.reading.every["run_id"]),
        "curve": lambda record: learning_curve(record.all_runs, record.metric.name),
        "fits": lambda record: fits_table(record.all_curves),
        "overlap": lambda record: overlap_table(record.reading.overlaps),
        "ensembles": lambda record: ensembles_table(
            record.all_runs, partial(record.log.table, "predictions")
        ),
        "audit": lambda record: findings_table(record.reading.findings),
        "groups": lambda record: record.comparisons.table,
        "variance": lambda record: variance_table(record.scatter),
        "plan": _plans,
        "answer": lambda record: answer_table(record.curves),
    }
)
"""By the names of `--table`. Each raises a ConfigError for what makes no sense of the metric."""
