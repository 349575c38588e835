"""Levers beside more images: variants, tuned ones and ensembles too, against a baseline."""

from __future__ import annotations

import polars as pl

from tui_datasize.experiments.spec import recipe_defaults
from tui_datasize.stats.ensembles import ReadPredictions, disjoint_ensembles
from tui_datasize.stats.tuned import tuned_options, tuned_runs

MEMBERS = 3
"""Of the ensembles that are compared; five seeds have one, ten have three."""
_FROM_WORST = ("label_noise", "imbalance")
"""Whose baseline is not the default but what there is: the most of it."""


def baseline_of(runs: pl.DataFrame) -> str:
    """The variant that the others are levers against: none of them pulled, then the smallest model.

    `runs` have schema `RUNS`, of one experiment, at least one.
    """
    defaults = recipe_defaults()
    worst = {name: runs[name].max() for name in _FROM_WORST}
    usual = {**defaults, **worst, "transfer": "base"}
    kept = {
        name: value for name, value in usual.items() if name in runs.columns and runs[name].n_unique() > 1
    }
    pulled = pl.sum_horizontal(
        [pl.col(name).ne_missing(pl.lit(value)).cast(pl.Int64) for name, value in kept.items()] or [pl.lit(0)]
    )
    ranked = runs.select("variant", "parameters", pulled=pulled).sort(
        "pulled", "parameters", "variant", nulls_last=True
    )
    return str(ranked["variant"][0])


def lever_runs(
    runs: pl.DataFrame, metric: str, read: ReadPredictions, baseline: str | None = None
) -> tuple[pl.DataFrame, str]:
    """The runs that levers are compared by, and the name of the baseline among them.

    Variants that differ in options of the training alone stand for one that was tuned on validation, where it
    could be; ensembles of `MEMBERS` of the baseline's runs are a variant of their own, for test accuracy.
    `runs` have schema `RUNS`, of one experiment; `read` takes run ids to predictions.
    """
    tuned, _ = tuned_runs(runs, metric)
    options = tuned_options(runs) if tuned.height else ()
    if options:
        # What was not tuned at some size has no curve over all of them.
        runs = tuned
    chosen = baseline if baseline in runs["variant"].unique() else baseline_of(runs)
    if metric == "test_accuracy" and not options:
        together = disjoint_ensembles(runs.filter(variant=chosen), read, MEMBERS)
        name = f"{chosen} ensemble of {MEMBERS}".strip()
        runs = pl.concat([runs, together.with_columns(variant=pl.lit(name))])
    return runs, str(chosen)
