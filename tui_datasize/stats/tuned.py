"""Options of training chosen on the images held out, at each train size anew.

What a curve shows depends on how its options were chosen: one recipe for all sizes is right for some of them
(Brigato, Barz, Iocchi and Denzler, *Tune It or Don't Use It*, 2021), and the best of several on the test set
owes a part of its lead to luck. So each run is taken with the options that did best on the validation images
of all *other* runs of its size: its own luck, which its validation and its test share, chooses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from tui_datasize.experiments.keys import rows
from tui_datasize.experiments.schedule import ScheduleSpec
from tui_datasize.experiments.spec import OptimizerSpec
from tui_datasize.metric import metric_named
from tui_datasize.runlog.schema import Schema, beside_search, schema
from tui_datasize.stats.curve import COUNTED_STATES
from tui_datasize.stats.trade_offs import parts_of_variant, rest_of_variant, swept_options

TUNED = "tuned on validation"
"""What ends the name of a variant whose options were chosen."""

CHOICES: Schema = schema(
    (pl.String, "experiment", "variant"),
    (pl.Int64, "train_size"),
    (pl.String, "options", "best_on_test"),
    (pl.Int64, "n_options", "n_runs", "n_chose"),
    (pl.Float64, "validation", "mean", "mean_on_test"),
)
"""A variant at a train size a row. `options` are those with the best `validation` mean over all runs of
the size, one of `n_options`; `mean` is the test mean of `tuned_runs`, each of whose `n_runs` was chosen
for by the others: `n_chose` of them have `options`, the rest something else. `best_on_test` are the
options with the best test mean and `mean_on_test` that mean, which the test chose."""

TRAINING_OPTIONS = frozenset(
    {"optimizer", "schedule", "batch_size", "clip_grad_norm", "label_smoothing", "ema_decay"}
    | {row.name for table in (OptimizerSpec, ScheduleSpec) for row in rows(table) if row.name != "name"}
)
"""Keys of what is tuned: how weights are found, not what is learned from nor which model learns."""


def tuned_options(runs: pl.DataFrame) -> tuple[str, ...]:
    """The swept options of a frame `runs` of one experiment that can be tuned, in name order.

    What a search draws is not swept.

    >>> tuned_options(pl.DataFrame({"variant": ["mlp lr=0.1", "mlp lr=1", "cnn3 lr=1"]}))
    ('lr',)
    """
    return tuple(name for name in swept_options(beside_search(runs)) if _is_of_training(name))


def _is_of_training(option: str) -> bool:
    first, _, last = option.rpartition(".")
    return (last if first in ("", "optimizer", "schedule") else option) in TRAINING_OPTIONS


def options_of(variant: str, options: Iterable[str]) -> tuple[str, str]:
    """A variant without some options, and these with their values.

    >>> options_of("mlp lr=0.1 depth=2", ["lr"]), options_of("lr=0.1", ["lr"])
    (('mlp depth=2', 'lr=0.1'), ('', 'lr=0.1'))
    """
    rest, chosen = variant, []
    for option, value in parts_of_variant(variant):
        if option in options:
            rest = rest_of_variant(rest, option)
            chosen.append(f"{option}={value}")
    return rest, " ".join(chosen)


def tuned_runs(runs: pl.DataFrame, metric: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The runs of one experiment with the options that were best on validation, and what was chosen.

    `runs` have schema `RUNS`, `metric` is one of a test split. Variants that differ in nothing but options of
    the training become one, `TUNED`; at sizes where only one setting of them has validation values there is
    nothing to choose, and nothing of such a size is returned. Candidates of a search are none of them.

    Returns:
        Runs, schema `RUNS` with other variants, one for each draw and seed of a size; and schema `CHOICES`.
    """
    runs = beside_search(runs)
    options = tuned_options(runs)
    if not options:
        return runs.clear(), pl.DataFrame(schema=dict(CHOICES))
    names = {variant: options_of(variant, options) for variant in runs["variant"].unique()}
    chosen, choices = chosen_on_validation(runs, metric, names)
    name = pl.format("{} {}", "variant", pl.lit(TUNED)).str.strip_chars()
    return chosen.with_columns(variant=name), choices.with_columns(variant=name)


def chosen_on_validation(
    runs: pl.DataFrame, metric: str, names: Mapping[str, tuple[str, str]], *, least: int = 2
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """For each draw and seed of a group at a size, the run of the setting that the other cells chose.

    `names` have the group and the setting of each variant; sizes with fewer settings than `least` are left
    out. Returns as `tuned_runs`, variants named by groups.
    """
    split, score = metric_named(metric).split_and_score
    by, sign = f"validation_{score}", 1 if metric_named(metric).higher_is_better else -1
    counted = runs.filter(pl.col("state").is_in(COUNTED_STATES))
    if split != "test" or counted.is_empty():
        return runs.clear(), pl.DataFrame(schema=dict(CHOICES))
    measured = counted.filter(pl.all_horizontal(pl.col(by, metric).is_finite()))
    settings = measured.with_columns(
        group=pl.col("variant").replace_strict({name: rest for name, (rest, _) in names.items()}, default=""),
        setting=pl.col("variant").replace_strict({name: of for name, (_, of) in names.items()}, default=""),
    )
    kept, choices = [runs.clear()], []
    for (group, size), of_size in settings.group_by("group", "train_size", maintain_order=True):
        if of_size["setting"].n_unique() >= least:
            chosen = _chosen(of_size, by, sign)
            kept.append(chosen.with_columns(variant=pl.lit(group)).select(runs.columns))
            row = _told(of_size, by, metric, sign) | {"mean": chosen[metric].mean(), "n_runs": chosen.height}
            row["n_chose"] = chosen.filter(setting=row["options"]).height
            choices.append(row | {"variant": group, "train_size": size})
    table = pl.DataFrame(choices, schema=dict(CHOICES)).with_columns(
        experiment=pl.lit(counted["experiment"][0])
    )
    return pl.concat(kept), table.select(*CHOICES).sort("variant", "train_size")


def _chosen(runs: pl.DataFrame, by: str, sign: int) -> pl.DataFrame:
    """For each draw and seed the run of the setting that has the best mean over all others.

    A cell that not every setting has is left out: settings are compared on equal runs.
    """
    cell = ["subset_seed", "seed", "repeat"]
    n_settings = runs["setting"].n_unique()
    whole = runs.filter(pl.col("setting").n_unique().over(cell) == n_settings)
    whole = whole.unique([*cell, "setting"], keep="first", maintain_order=True)
    total, count = pl.col(by).sum().over("setting"), pl.len().over("setting")
    # With a single cell its own validation is all that there is.
    others = pl.when(count > 1).then((total - pl.col(by)) / (count - 1)).otherwise(pl.col(by))
    ranked = whole.with_columns(rank=sign * others).sort("rank", "setting", descending=[True, False])
    return ranked.unique(cell, keep="first", maintain_order=True).sort(cell, nulls_last=True)


def _told(runs: pl.DataFrame, by: str, metric: str, sign: int) -> dict[str, Any]:
    means = runs.group_by("setting").agg(pl.col(by, metric).mean()).sort("setting")
    best, on_test = (
        means.sort(sign * pl.col(name), descending=True, maintain_order=True).row(0, named=True)
        for name in (by, metric)
    )
    return {
        "options": best["setting"],
        "validation": best[by],
        "n_options": means.height,
        "best_on_test": on_test["setting"],
        "mean_on_test": on_test[metric],
    }
