"""A search of recipes: who was chosen on validation at each train size, and what the rungs before took.

The runs that trained in full are those of the last rung and of the default recipe, which competes with them.
As in `tuned`, each run is taken with the recipe that did best on the validation images of all *other* runs of
its size, so that its own luck chooses nothing. Earlier rungs are other trainings, with less of the budget.
"""

from __future__ import annotations

import polars as pl

from tui_datasize.experiments.search import DEFAULT
from tui_datasize.metric import metric_named
from tui_datasize.runlog.schema import Schema, in_full, schema
from tui_datasize.stats.curve import COUNTED_STATES
from tui_datasize.stats.trade_offs import parts_of_variant, rest_of_variant
from tui_datasize.stats.tuned import chosen_on_validation

SEARCHED = "search"
"""The variant whose runs are, at each size, those of the recipe that was chosen."""
_BUDGETS = ("updates", "samples", "epochs")

RUNGS: Schema = schema(
    (pl.Int64, "train_size"),
    (pl.String, "rung"),
    (pl.Int64, "candidates", "went_on", "n_runs"),
    (pl.String, "best"),
    (pl.Float64, "validation", "lowest", "wall_s"),
)
"""A rung at a train size a row: the `best` candidate by its mean on the images held out, `validation`, and
the `lowest` mean of one that went on, null of the last rung; `wall_s` are the seconds of all its runs."""


def is_searched(runs: pl.DataFrame) -> bool:
    """Whether some of the runs, schema `RUNS`, are of a search."""
    return "rung" in runs.columns and runs["rung"].null_count() < runs.height


def full_runs(runs: pl.DataFrame) -> pl.DataFrame:
    """The runs that no rung has cut short, their variants named without the budget that all then have."""
    kept = in_full(runs)
    return runs if kept.height == runs.height else _without_budget(kept)


def _without_budget(runs: pl.DataFrame) -> pl.DataFrame:
    """With variants of searches named without their budget; others may have swept it."""
    names = {}
    for variant in runs.drop_nulls("rung")["variant"].unique():
        names[variant] = variant
        for option, _ in parts_of_variant(variant):
            if option in _BUDGETS:
                names[variant] = rest_of_variant(names[variant], option)
    named = pl.when(pl.col("rung").is_not_null()).then(pl.col("variant").replace(names)).otherwise("variant")
    return runs.with_columns(variant=named)


def search_runs(runs: pl.DataFrame, metric: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The runs of the default and, as `SEARCHED`, of what was chosen at each size; and the choices.

    `runs` have schema `RUNS`, of one experiment, all trained in full. Sizes at which there is nothing to
    choose, or no validation value, are left out.

    Returns:
        Runs, schema `RUNS` with other variants; and schema `CHOICES` of `tuned`.
    """
    own = runs.filter(pl.col("rung").is_not_null())
    chosen, choices = chosen_on_validation(
        own, metric, {name: ("", name) for name in own["variant"].unique()}
    )
    sizes = choices["train_size"].implode()
    default = own.filter(pl.col("rung") == DEFAULT, pl.col("train_size").is_in(sizes))
    searched = chosen.with_columns(variant=pl.lit(SEARCHED))
    return pl.concat([default, searched]), choices.with_columns(variant=pl.lit(SEARCHED))


def rung_table(runs: pl.DataFrame, metric: str) -> pl.DataFrame:
    """What each rung has seen, schema `RUNGS`, of all runs of a search, short ones included."""
    by = metric.replace("test_", "validation_", 1)
    climbing = _climbing(runs)
    counted = climbing.filter(pl.col("state").is_in(COUNTED_STATES))
    ties = ("validation_loss",) if by != "validation_loss" else ()
    is_better = metric_named(metric).higher_is_better
    means = counted.group_by("train_size", "rung", "number", "variant").agg(pl.col(by, *ties).mean())
    above = climbing.select("train_size", "variant", number=pl.col("number") - 1, goes_on=True).unique()
    ranked = (
        means.drop_nulls(by)
        .join(above, on=["train_size", "variant", "number"], how="left")
        .sort(by, *ties, "variant", descending=[is_better, *(False for _ in ties), False])
    )
    table = ranked.group_by("train_size", "rung", maintain_order=True).agg(
        pl.when(pl.col("goes_on").any())
        .then(pl.col("goes_on").sum())
        .first()
        .cast(pl.Int64)
        .alias("went_on"),
        pl.col("variant").first().alias("best"),
        pl.col(by).first().alias("validation"),
        pl.col(by).filter("goes_on").last().alias("lowest"),
    )
    made = climbing.group_by("train_size", "rung").agg(
        pl.col("variant").n_unique().cast(pl.Int64).alias("candidates"),
        pl.len().cast(pl.Int64).alias("n_runs"),
        pl.col("wall_s").sum(),
    )
    return made.join(table, on=["train_size", "rung"], how="left").select(*RUNGS).sort("train_size", "rung")


def rung_reached(runs: pl.DataFrame, variant: str, train_size: int) -> str:
    """The last rung, such as `1 of 3`, on which a recipe was run at a size; empty where it was on none."""
    own = _climbing(runs).filter(variant=variant, train_size=train_size).sort("number")
    return str(own["rung"][-1]) if own.height else ""


def _climbing(runs: pl.DataFrame) -> pl.DataFrame:
    """The candidates' runs, with the number of their rung."""
    number = pl.col("rung").str.extract(r"^(\d+) of ").cast(pl.Int64)
    return _without_budget(runs.with_columns(number=number).drop_nulls("number"))
