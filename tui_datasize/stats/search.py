"""A search of recipes: who was chosen on validation at each train size, and what the rungs before took.

The runs that trained in full are those of the last rung and of the default recipe, which competes with them,
or of several, where some of its keys are swept. Levers that stand beside a search are no part of it.
As in `tuned`, each run is taken with the recipe that did best on the validation images of all *other* runs of
its size, so that its own luck chooses nothing. Earlier rungs are other trainings, with less of the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import polars as pl

from tui_datasize.experiments.search import DEFAULT, LEVER
from tui_datasize.metric import metric_named
from tui_datasize.runlog.schema import Schema, beside_search, in_full, schema
from tui_datasize.stats.curve import COUNTED_STATES
from tui_datasize.stats.trade_offs import parts_of_variant, rest_of_variant
from tui_datasize.stats.tuned import chosen_on_validation

SEARCHED = "search"
"""The variant whose runs are, at each size, those of the recipe that was chosen."""
_BUDGETS = ("updates", "samples", "epochs")
_CELL = ("experiment", "train_size")
_NUMBER = pl.col("rung").str.extract(r"^(\d+) of ").cast(pl.Int64).alias("number")
_OF = pl.col("rung").str.extract(r" of (\d+)$").cast(pl.Int64).alias("of")
_AT_AN_END = ("succeeded", "failed")
_DRAWN = ("rung_candidate", "variant")
"""Who of several that did as well comes first: who was drawn first."""
_IS_PLACED = pl.col("rung").is_not_null()
_STANDS = pl.col("rung").is_in([DEFAULT, LEVER])
"""Of runs that train in full whatever becomes of them as candidates."""
_IS_CANDIDATE = ~_STANDS | pl.col("rung_candidates").is_not_null()
"""Of the search's own runs, as of `full_runs`."""

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


def is_alone(runs: pl.DataFrame) -> bool:
    """Whether nothing but a search sets runs of an experiment apart: no lever, nothing swept."""
    return is_searched(runs) and beside_search(runs)["variant"].n_unique() < 2


def runs_of_search(runs: pl.DataFrame) -> pl.DataFrame:
    """All runs that a search took, of every rung, and those of its default, without what all have in common.

    `runs` have schema `RUNS`, of one experiment.
    """
    taken = pl.col("run_id").is_in(_climbing(runs)["run_id"].implode())
    own = runs.filter(taken | (pl.col("rung") == DEFAULT))
    parts = [{*parts_of_variant(variant)} for variant in own["variant"].unique()]
    shared = set.intersection(*parts) if len(parts) > 1 else set()
    return own.with_columns(pl.col("variant").replace(_without_parts(own, shared.__contains__)))


def compared_runs(runs: pl.DataFrame) -> pl.DataFrame:
    """Those that questions are about which no search answers, as of `full_runs`: not the candidates.

    Of a search that stands alone they are all that there is.
    """
    return runs if is_alone(runs) else beside_search(runs)


def own_runs(runs: pl.DataFrame) -> pl.DataFrame:
    """The runs of a search and of its default, as of `full_runs`; of levers those of its last rung."""
    return runs.filter(_IS_PLACED, (pl.col("rung") != LEVER) | _IS_CANDIDATE)


def default_variants(runs: pl.DataFrame) -> set[str]:
    """What the search is compared with: several where some of its keys are swept."""
    return set(runs.filter(rung=DEFAULT)["variant"])


def full_runs(runs: pl.DataFrame) -> pl.DataFrame:
    """The runs that no rung has cut short, their variants named without the budget that all then have.

    Of a default or a lever that a search promoted `rung_candidates` is told.
    """
    kept = in_full(runs)
    if kept.height == runs.height:
        return runs
    went_on = _climbing(runs).filter(pl.col("run_id").is_in(kept["run_id"].implode()))
    named = in_full(_without_budget(runs))
    return named.update(went_on.select("run_id", "rung_candidates"), on="run_id")


def _without_budget(runs: pl.DataFrame) -> pl.DataFrame:
    """With variants of searches that halve named without their budget, and those that share the whole one.

    Others may have swept it.
    """
    placed, others = (runs.filter(is_placed) for is_placed in (_IS_PLACED, ~_IS_PLACED))
    names = _without_parts(placed, lambda part: part[0] in _BUDGETS)
    parts = (part for variant in in_full(placed)["variant"].unique() for part in parts_of_variant(variant))
    whole = {part for part in parts if part[0] in _BUDGETS}
    shared = _without_parts(others, whole.__contains__)
    variant = pl.col("variant")
    named = pl.when(_IS_PLACED).then(variant.replace(names)).otherwise(variant.replace(shared))
    halves = (_OF > 1).any().over("experiment")
    return runs.with_columns(variant=pl.when(halves).then(named).otherwise(variant))


def _without_parts(runs: pl.DataFrame, leaves_out: Callable[[tuple[str, str]], bool]) -> dict[str, str]:
    """By variant its name without some options."""
    names = {variant: variant for variant in runs["variant"].unique()}
    for variant in names:
        for part in filter(leaves_out, parts_of_variant(variant)):
            names[variant] = rest_of_variant(names[variant], part[0])
    return names


def search_runs(runs: pl.DataFrame, metric: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The runs of the default and, as `SEARCHED`, of what was chosen at each size; and the choices.

    `runs` have schema `RUNS`, of one experiment, all trained in full. Of several recipes that are the default
    each run has the one that the others chose, likewise, and their variant is `DEFAULT`. Sizes without
    validation values, with no candidate's, or with nothing to choose are left out, unless the default alone
    was promoted to the end.

    Returns:
        Runs, schema `RUNS` with other variants; and schema `CHOICES` of `tuned`.
    """
    own = own_runs(runs)
    default, several = own.filter(rung=DEFAULT), sorted(default_variants(own))
    every = {name: ("", name) for name in own["variant"].unique()}
    chosen, choices = chosen_on_validation(own, metric, every, least=1)
    if choices.is_empty():
        return chosen, choices
    if len(several) > 1:
        alike = {name: (DEFAULT, name) for name in several}
        default, _ = chosen_on_validation(default, metric, alike, least=1)
    by = pl.col(metric.replace("test_", "validation_", 1))
    measured = own.filter(_IS_CANDIDATE, pl.col("state").is_in(COUNTED_STATES), by.is_finite())
    alone = own.filter(rung=DEFAULT, rung_candidates=1)["train_size"]
    choices = choices.filter(
        (pl.col("n_options") > 1) | pl.col("train_size").is_in(alone.implode()),
        pl.col("train_size").is_in(measured["train_size"].implode()),
    )
    is_decided = pl.col("train_size").is_in(choices["train_size"].implode())
    searched = chosen.filter(is_decided).with_columns(variant=pl.lit(SEARCHED))
    return pl.concat([default.filter(is_decided), searched]), choices.with_columns(variant=pl.lit(SEARCHED))


def rung_table(runs: pl.DataFrame, metric: str) -> pl.DataFrame:
    """What each rung has seen, schema `RUNGS`, of all runs of the newest search, short ones included."""
    by = metric.replace("test_", "validation_", 1)
    climbing = _climbing(runs, of_newest=True)
    counted = climbing.filter(pl.col("state").is_in(COUNTED_STATES))
    ties = ("validation_loss",) if by != "validation_loss" else ()
    is_better = metric_named(metric).higher_is_better
    means = counted.group_by("train_size", "rung", "number", "variant").agg(
        pl.col(by, *ties).mean(), pl.col("rung_candidate").min()
    )
    above = climbing.select("train_size", "variant", number=pl.col("number") - 1, goes_on=True).unique()
    order, descending = (by, *ties, *_DRAWN), [is_better, *(False for _ in (*ties, *_DRAWN))]
    ranked = (
        means.drop_nulls(by)
        .join(above, on=["train_size", "variant", "number"], how="left")
        .sort(*order, descending=descending, nulls_last=True)
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


def candidates_at(runs: pl.DataFrame, train_size: int) -> set[str]:
    """The recipes that any rung has run at a size."""
    return set(_climbing(runs).filter(train_size=train_size)["variant"])


def _climbing(runs: pl.DataFrame, *, of_newest: bool = False) -> pl.DataFrame:
    """The candidates' runs, with the number of their rung; of several searches all, or those of the newest.

    A candidate that is the default or a lever has trained in full as such, whatever becomes of it: its runs
    are of the last rung where it came to there, or of the only one.
    """
    named = _without_budget(runs.with_columns(_NUMBER, _OF))
    climbing, beside = named.drop_nulls("number"), named.filter(_STANDS)
    newest = _of_newest(climbing)
    told = ("number", "of", "rung", "rung_candidates", "rung_candidate")
    went_on = beside.drop(told).join(_promoted_to_last(newest), on=[*_CELL, "variant"])
    at_once = beside.drop_nulls("rung_candidates").with_columns(
        number=pl.lit(1, pl.Int64), of=pl.lit(1, pl.Int64), rung=pl.lit("1 of 1")
    )
    return pl.concat([newest if of_newest else climbing, went_on.select(named.columns), at_once])


def _of_newest(climbing: pl.DataFrame) -> pl.DataFrame:
    """Of each size the runs of the search that was queued last, those that it has taken over included.

    These have the name of an earlier one. On a first rung they are whom a longer search begins with, on later
    ones the best of the rung before, as many as are missing.
    """
    newest = pl.col("rung_search").sort_by("queued_at").last().over(_CELL)
    named = climbing.with_columns(is_new=pl.col("rung_search").eq_missing(newest))
    if named["is_new"].all():
        return climbing
    cells = named.partition_by(_CELL, maintain_order=True)
    return pl.concat([rung for cell in cells for rung in _rungs_of_newest(cell)]).drop("is_new")


def _rungs_of_newest(cell: pl.DataFrame) -> Iterator[pl.DataFrame]:
    before = pl.DataFrame()
    for rung in cell.sort("number", maintain_order=True).partition_by("number", maintain_order=True):
        own, others = rung.filter("is_new"), rung.filter(~pl.col("is_new"))
        wanted = int(str((own if own.height else others)["rung_candidates"].max()))
        if before.is_empty():
            drawn = ~pl.col("rung_candidate").is_in(own["rung_candidate"].implode())
            there = others.filter(drawn).sort(_DRAWN)["variant"].unique(maintain_order=True)
        else:
            known = pl.col("variant").is_in(others["variant"].implode())
            there = _ranked(before).filter(known)["variant"]
        mine = own["variant"].unique()
        more = there.filter(~there.is_in(mine.implode()))[: max(0, wanted - len(mine))]
        before = rung.filter(pl.col("variant").is_in(pl.concat([mine, more]).implode())).with_columns(
            rung_candidates=pl.lit(wanted, pl.Int64)
        )
        yield before


def _ranked(runs: pl.DataFrame) -> pl.DataFrame:
    """The candidates on rungs of sizes of which no run has failed, as `promoted` ranks them."""
    means = runs.group_by(*_CELL, "variant", "of").agg(
        (pl.col("state") == "succeeded").all(),
        pl.col("validation_accuracy", "validation_loss").mean(),
        pl.col("rung_candidate").min(),
    )
    order = ("validation_accuracy", "validation_loss", *_DRAWN)
    return means.filter("state").sort(order, descending=[True, False, False, False], nulls_last=True)


def _promoted_to_last(climbing: pl.DataFrame) -> pl.DataFrame:
    """Who went on to the last rung at each size, and what is told of that rung.

    How many they are its runs tell. Where it has none yet somebody has gone on, the first, once all runs
    before are done.
    """
    is_last = pl.col("number") == pl.col("of").max().over(_CELL)
    candidates = climbing.filter(is_last).group_by(_CELL).agg(most=pl.col("rung_candidates").max())
    below = climbing.filter(pl.col("number") == pl.col("of").max().over(_CELL) - 1)
    each = pl.len().over(*_CELL, "variant").max().over(_CELL)
    is_done = pl.col("state").is_in(_AT_AN_END).sum() == pl.col("rung_candidates") * each
    done = below.select(*_CELL, done=is_done.over(_CELL)).group_by(_CELL).agg(pl.col("done").all())
    most = pl.coalesce("most", pl.col("done").cast(pl.Int64))
    return (
        _ranked(below)
        .join(candidates, on=_CELL, how="left", maintain_order="left")
        .join(done, on=_CELL, how="left", maintain_order="left")
        .with_columns(rung_candidates=most, number="of", rung=pl.format("{} of {}", "of", "of"))
        .filter(pl.int_range(pl.len()).over(_CELL) < pl.col("rung_candidates"))
        .select(*_CELL, "variant", "number", "of", "rung", "rung_candidates", "rung_candidate")
    )
