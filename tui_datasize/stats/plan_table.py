"""Plans of several curves as one table, for export."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from tui_datasize.runlog.schema import Schema, schema
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.planner import Plan

PLAN: Schema = schema(
    (pl.String, "experiment", "variant", "metric"),
    (pl.Float64, "at"),
    (pl.Int64, "train_size", "runs", "add", "add_to_check"),
    (pl.Float64, "samples", "half_width_now", "half_width_then"),
    (pl.String, "failure"),
)
"""A train size a row: runs there are (or are queued), runs to add, how many of these only check the law, and
the training samples that the added ones see. `half_width_...` of the 95 % interval of the metric at `at`
images, by the law, with the runs there are and after the plan; the same in every row of a curve."""


def plans_table(plans: Mapping[tuple[str, str], Plan | FitFailure], metric: str) -> pl.DataFrame:
    """Plans by experiment and variant as a frame, schema `PLAN`; a curve without a plan is one row."""
    rows: list[dict[str, object]] = []
    for (experiment, variant), plan in plans.items():
        key = {"experiment": experiment, "variant": variant, "metric": metric}
        if isinstance(plan, FitFailure):
            rows.append({**key, "failure": plan.reason})
            continue
        widths = {"half_width_now": plan.half_width_now, "half_width_then": plan.half_width_then}
        for size in plan.sizes:
            cells = {"train_size": size.train_size, "runs": size.runs, "add": size.add}
            rows.append(
                {**key, **cells, **widths, "at": plan.at, "add_to_check": size.check, "samples": size.samples}
            )
    return pl.DataFrame(rows, schema=dict(PLAN))
