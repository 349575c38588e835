"""Levers beside more images: variants, tuned ones and ensembles too, against a baseline."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace

import polars as pl

from tui_datasize.experiments.recipe_columns import recipe_defaults
from tui_datasize.experiments.search import DEFAULT
from tui_datasize.runlog.schema import beside_search
from tui_datasize.stats.effective import EffectiveData, Saved
from tui_datasize.stats.ensembles import ReadPredictions, disjoint_ensembles
from tui_datasize.stats.search import SEARCHED, search_runs
from tui_datasize.stats.trade_offs import STAND_ALONE, parts_of_variant
from tui_datasize.stats.tuned import TUNED, options_of, tuned_options, tuned_runs

MEMBERS = 3
"""Of the ensembles that are compared; five seeds have one, ten have three."""
BASELINE = "baseline"
_FROM_WORST = ("label_noise", "imbalance")
"""Whose baseline is not the default but what there is: the most of it."""


def baseline_of(runs: pl.DataFrame) -> str:
    """The variant that the others are levers against: none of them pulled, then the smallest model.

    `runs` have schema `RUNS`, of one experiment, at least one.
    """
    defaults = recipe_defaults()
    worst = {name: runs[name].max() for name in _FROM_WORST}
    usual = {**defaults, **worst, "transfer": "base", "subset_strategy": "random"}
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
    """The runs that levers are compared by, and the variant that is the baseline.

    Variants are named by what sets them apart from the baseline, which is `BASELINE`. Those that differ in
    options of the training alone stand for one that was tuned on validation, where it could be, those of a
    search for `SEARCHED`, with its default as the baseline; ensembles of
    `MEMBERS` of the baseline's runs are a variant of their own, for test accuracy. `runs` have schema `RUNS`,
    of one experiment; `read` takes run ids to predictions.
    """
    pulled = beside_search(runs)
    default = baseline_of(own) if (own := pulled.filter(rung=DEFAULT)).height else ""
    searched = search_runs(runs, metric)[0].filter(variant=SEARCHED)
    tuned, _ = tuned_runs(pulled, metric)
    wanted = [baseline or default, default]
    if tuned.height:
        # What was not tuned at some size has no curve over all of them.
        options = tuned_options(pulled)
        wanted = [f"{options_of(one, options)[0]} {TUNED}".strip() for one in wanted]
        pulled = tuned
    chosen = next((one for one in wanted if one in pulled["variant"]), None) or baseline_of(pulled)
    runs = pl.concat([pulled, searched])
    variants = runs["variant"].unique().to_list()
    names = {name: BASELINE if name == chosen else _apart(name, chosen) for name in variants}
    names = _without_details(names, dict(runs.select("variant", "augmentation").unique().iter_rows()))
    renamed = runs.with_columns(pl.col("variant").replace_strict(names))
    if metric == "test_accuracy":
        together = disjoint_ensembles(renamed.filter(variant=BASELINE), read, MEMBERS)
        renamed = pl.concat([renamed, together.with_columns(variant=pl.lit(f"ensemble of {MEMBERS}"))])
    return renamed, chosen


def worth(saved: EffectiveData, sizes: Collection[int]) -> Saved:
    """What a lever is worth at the largest of its sizes that the baseline's curve should tell of, and tells.

    That is by what it is worth on average: the largest size that happens to lie within the curve is often one
    that luck chose. A bound against the average is passed over: that a lever which doubles images is worth
    its smallest size at most. How often intervals hold says `benchmarks.nulls --only levers`. `saved` is what
    the baseline, which has these sizes, needs for what the lever does.
    """
    every = [told_by(one, sizes) for one in saved.at_sizes]
    average = saved.overall
    if average is None or average.is_bound:
        # Beyond all that the baseline reaches the smallest size bounds it best.
        return every[0 if all(one.is_more_than for one in every) else -1]
    speaking = [one for one in every if not (one.is_at_most if average.ratio < 1 else one.is_more_than)]
    telling = [one for one in speaking if min(sizes) <= one.other_images / average.ratio <= max(sizes)]
    return (telling or speaking or every)[-1]


def told_by(saved: Saved, sizes: Collection[int]) -> Saved:
    """With a bound for what a baseline of these sizes never reaches."""
    is_beyond = math.isinf(saved.images)
    return replace(saved, images=float(max(sizes)), is_more_than=True) if is_beyond else saved


def _without_details(names: Mapping[str, str], augmentations: Mapping[str, str | None]) -> dict[str, str]:
    """Variants with the one augmentation that there is told by that word, where it has several options.

    >>> told = {"of none": "baseline", "of one": "flip=0.5 rotation_deg=9 width=8"}
    >>> _without_details(told, {"of none": "none", "of one": "flip=0.5 rotation_deg=9"})
    {'of none': 'baseline', 'of one': 'augmentation width=8'}
    """
    pulled = set(augmentations.values()) - {"none", None}
    options = [part for one in pulled for part in str(one).split()]
    if len(pulled) != 1 or len(options) < 2:
        return dict(names)
    own = {option.partition("=")[0] for option in options}
    found = {}
    for variant, name in names.items():
        parts = name.split(" ")
        rest = [part for part in parts if part.partition("=")[0] not in own]
        word = "no augmentation" if augmentations[variant] == "none" else "augmentation"
        found[variant] = " ".join([word, *rest]) if len(rest) < len(parts) else name
    return found


def _apart(variant: str, baseline: str) -> str:
    """Options and values of a variant that another has not.

    >>> _apart("base flip=0.5 depth=8 tuned on validation", "base flip=0.0 depth=8 tuned on validation")
    'flip=0.5'
    """
    own, others = (parts_of_variant(name.removesuffix(TUNED).strip()) for name in (variant, baseline))
    apart = [
        value if option in STAND_ALONE else f"{option}={value}"
        for option, value in own
        if (option, value) not in others
    ]
    return " ".join(apart) or variant
