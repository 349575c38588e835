"""Plans of several curves as one table, for export."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from tui_datasize.runlog.schema import Schema, schema
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.planner import Plan
from tui_datasize.stats.run_costs import S_PER_HOUR

PLAN: Schema = schema(
    (pl.String, "experiment", "variant", "metric"),
    (pl.Float64, "at"),
    (pl.Int64, "train_size", "runs", "add"),
    (pl.Boolean, "is_new"),
    (pl.Float64, "samples", "hours", "value", "low_now", "high_now", "low_then", "high_then", "level"),
    (pl.String, "failure"),
)
"""A train size a row: runs there are (or are queued), runs to add, whether it is new to runs and sweep,
and the training samples and hours that the added runs take; null where unknown. `value` is the metric at `at`
images, `low_...` and `high_...` its interval of confidence `level` with the runs there are, and as expected
after the plan; the same in every row of a curve."""


def plans_table(plans: Mapping[tuple[str, str], Plan | FitFailure], metric: str) -> pl.DataFrame:
    """Plans by experiment and variant as a frame, schema `PLAN`; a curve without a plan is one row."""
    rows: list[dict[str, object]] = []
    for (experiment, variant), plan in plans.items():
        key = {"experiment": experiment, "variant": variant, "metric": metric}
        if isinstance(plan, FitFailure):
            rows.append({**key, "failure": plan.reason})
            continue
        ends = {
            f"{end}_{when}": interval and interval[place]
            for when, interval in (("now", plan.now), ("then", plan.then))
            for place, end in enumerate(("low", "high"))
        }
        answer = {"at": plan.at, "value": plan.value, "level": plan.level, **ends}
        for size in plan.sizes:
            cells = {name: getattr(size, name) for name in ("train_size", "runs", "add", "is_new")}
            spent = {"samples": size.samples or None, "hours": size.seconds / S_PER_HOUR or None}
            rows.append({**key, **cells, **spent, **answer})
    return pl.DataFrame(rows, schema=dict(PLAN))
