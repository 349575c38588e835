"""Rows of the frame `runs`: what the small files of a run directory and its metric rows add up to."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import polars as pl

from tui_datasize.experiments.budget import total_updates
from tui_datasize.experiments.recipe_columns import recipe_columns, recipe_values
from tui_datasize.experiments.search import DEFAULT, LEVER, SEARCH, Rung
from tui_datasize.experiments.spec import SCHEMA_VERSION, Budget, RunSpec
from tui_datasize.experiments.variants import variant_labels
from tui_datasize.runlog.claim import Observation, observe, read_claim, read_exit
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.runlog.rows import SOURCE
from tui_datasize.runlog.scan import Problem, object_or_problem
from tui_datasize.runlog.schema import RUNS, SCORES, SPLITS, Schema

RECIPE = "recipe"
"""Column with a run's specification as JSON, its size and seeds set to fixed values."""

PLANNED_EVALUATIONS = "planned_evaluations"
"""Column with the number of evaluations that a specification asks for; null for imported runs."""
EVALUATED = "evaluated"
"""Column with the updates after which both splits were evaluated, as a list."""

VALIDATED = "validated"
"""The same of the images held out, by which alone runs without labels are judged."""

_RUNG = ("rung", "rung_candidates", "rung_candidate", "rung_search")
_BESIDE: Schema = MappingProxyType(
    {
        "search_defaults": pl.List(pl.String),
        "search_shared": pl.List(pl.String),
        "search_candidates": pl.Int64,
    }
)
"""Columns of what a run of a search tells of others: as of `Rung`, and how many candidates there are where
all train in full."""

TELLS = "tells"
"""Key in the provenance of an imported run: which of seed and draw its files tell."""
MEANS_OF = "means_of"
"""Key and column: over how many runs an imported row is a mean; none for a single run."""
MOST_BEHIND_A_MEAN = 10_000
SPREADS = "spreads"
"""Key and column: of such a mean, by metric the standard deviation over those runs."""

_MEASURED = frozenset(
    {f"{split}_{score}" for split in SPLITS for score in SCORES}
    | {"best_test_accuracy", "best_test_loss", "best_update"}
    | {"updates", "samples_seen", "wall_s", "images_per_s", "broken_lines", "missing_evaluations"}
)
_DERIVED = frozenset({"variant", "path"})
_PROVENANCE = (
    *("device", "threads", "precision", "hostname", "torch", "started_at"),
    *(
        "ended_update",
        "refit_update",
        *("generated_images", "generated_missing", "generated_left_out"),
        *("generator_s", "generated_fingerprint", "tests_in_training"),
        "parameters",
        "flops_per_image",
        "peak_memory_bytes",
        "pack_width",
        "pack_implementation",
    ),
)

DESCRIBED: Schema = MappingProxyType(
    {name: kind for name, kind in RUNS.items() if name not in _MEASURED | _DERIVED}
    | {RECIPE: pl.String, PLANNED_EVALUATIONS: pl.Int64, **_BESIDE}
)
"""Columns of `RUNS` that come from the small files, the recipe, the evaluations it asks for, and what is told
of others."""

SUMMARISED: Schema = MappingProxyType(
    {name: kind for name, kind in RUNS.items() if name not in _DERIVED} | {RECIPE: pl.String, **_BESIDE}
)
"""Columns of `RUNS` that one run directory decides alone, the recipe, and what is told of others."""


def describe_run(paths: RunPaths) -> dict[str, Any] | Problem:
    """One row of schema `DESCRIBED`, or why the directory is no run."""
    document = object_or_problem(paths.spec)
    if isinstance(document, Problem):
        return document
    version = document.get("schema_version")
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        return Problem(str(paths.spec), "written by a newer datasize-tui; upgrade to read it")
    try:
        spec = RunSpec.from_dict(document["spec"])
        row = specified(spec)
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        return Problem(str(paths.spec), f"is not the specification of a run: {error!r}")
    if (document.get("run_id"), spec.experiment) != (paths.run_id, paths.experiment):
        return Problem(str(paths.directory), f"holds run {document.get('run_id')} of {spec.experiment}")
    queued = {key: document.get(key) for key in ("queued_at", "git_commit", "git_dirty")}
    queued |= _rung(document)
    try:
        execution = _execution(paths)
    except OSError as error:
        return Problem(str(error.filename or paths.directory), f"cannot be read: {error.strerror}")
    found = object_or_problem(paths.provenance)
    provenance = {} if isinstance(found, Problem) else found
    told = {key: provenance.get(key) for key in _PROVENANCE}
    if spec.imported:
        told |= _untold(spec, provenance.get("imported"))
    return row | queued | told | execution | {"run_id": paths.run_id}


def summarise(rows: pl.DataFrame) -> pl.DataFrame:
    """One row per source: the last and the best evaluation, all that were made, progress and speed.

    `rows` have the columns `source` and `METRICS`, those of one run in file order, none of them void.
    """
    progress = rows.group_by(SOURCE).agg(
        pl.max("update").alias("updates"),
        pl.max("samples_seen"),
        pl.max("wall_s"),
        pl.col("images_per_s").filter(pl.col("event") == "train").median(),
    )
    evaluations = rows.filter(pl.col("event") == "evaluation")
    for split in SPLITS:
        last = evaluations.filter(pl.col("split") == split).group_by(SOURCE).agg(pl.col(SCORES).last())
        progress = progress.join(last.rename({s: f"{split}_{s}" for s in SCORES}), on=SOURCE, how="left")
    both = evaluations.filter(pl.col("split").is_in(["train", "test"])).group_by(SOURCE, "update")
    whole = both.agg(pl.col("split").n_unique() == 2).filter("split")
    made = whole.group_by(SOURCE).agg(pl.col("update").alias(EVALUATED))
    progress = progress.join(made, on=SOURCE, how="left")
    validated = evaluations.filter(pl.col("split") == "validation").group_by(SOURCE)
    progress = progress.join(validated.agg(pl.col("update").alias(VALIDATED)), on=SOURCE, how="left")
    return progress.join(_best(evaluations), on=SOURCE, how="left")


def _best(evaluations: pl.DataFrame) -> pl.DataFrame:
    """The test scores of each source's best evaluation, by the images held out where there are any.

    What was trained anew on all images, none held out, is the best, whatever was before it.
    """
    scored = evaluations.filter(pl.col("accuracy").is_not_null())
    chosen_by = scored.filter(pl.col("split") == "validation").select(
        SOURCE, "update", rank="accuracy", less_loss="loss"
    )
    tested = scored.filter(pl.col("split") == "test").join(chosen_by, on=[SOURCE, "update"], how="left")
    is_anew = pl.col("update") > pl.col("update").filter(pl.col("rank").is_not_null()).max().over(SOURCE)
    is_chosen_by = pl.col("rank").is_not_null().any().over(SOURCE)
    ranked = tested.filter(pl.col("rank").is_not_null() | is_anew | ~is_chosen_by).with_columns(
        rank=pl.when(is_anew).then(math.inf).otherwise(pl.coalesce("rank", "accuracy"))
    )
    order = ranked.sort("rank", "less_loss", "update", descending=[True, False, False], nulls_last=True)
    return order.group_by(SOURCE).agg(
        pl.col("accuracy").first().alias("best_test_accuracy"),
        pl.col("loss").first().alias("best_test_loss"),
        pl.col("update").first().alias("best_update"),
    )


def with_variants(runs: pl.DataFrame) -> pl.DataFrame:
    """Replace the recipe by `variant`: what sets runs of one experiment apart beside size, draw, seed."""
    recipes = runs.select("experiment", RECIPE).unique()
    labels: dict[tuple[str, str], str] = {}
    for (experiment,), group in recipes.group_by("experiment"):
        specs = {text: RunSpec.from_dict(json.loads(text)) for text in group[RECIPE]}
        by_id = variant_labels(specs.values())
        labels |= {(str(experiment), text): by_id[spec.run_id] for text, spec in specs.items()}
    table = pl.DataFrame(
        [(*key, label) for key, label in labels.items()],
        schema={"experiment": pl.String, RECIPE: pl.String, "variant": pl.String},
        orient="row",
    )
    return runs.join(table, on=["experiment", RECIPE], how="left", maintain_order="left").drop(RECIPE)


def with_places(runs: pl.DataFrame) -> pl.DataFrame:
    """Tell of runs that stand beside a search what others of it do: they may be older than the search.

    Those of the default, and of a lever that is a candidate, too; where all candidates train in full, of how
    many they are one.
    """
    defaults, shared, count = _BESIDE
    if runs[shared].null_count() == runs.height:
        return runs
    of_default, of_shared = (runs[told].explode().drop_nulls().unique() for told in (defaults, shared))
    is_default, is_shared = (pl.col("run_id").is_in(ids.implode()) for ids in (of_default, of_shared))
    stands = pl.when(is_default).then(pl.lit(DEFAULT)).when(is_shared).then(pl.lit(LEVER))
    whole = runs.drop_nulls(count).select(count, run_id=shared).explode("run_id").unique("run_id")
    return (
        runs.drop(count)
        .join(whole, on="run_id", how="left", maintain_order="left")
        .with_columns(
            rung=pl.coalesce(stands, "rung"),
            rung_candidates=pl.when(stands.is_null()).then("rung_candidates").otherwise(count),
        )
    )


def specified(spec: RunSpec) -> dict[str, Any]:
    """What a specification alone tells, of schema `DESCRIBED`."""
    # Two runs of one recipe differ in size, draw and seed alone.
    recipe = replace(
        spec,
        train_size=1,
        seed=0,
        subset=spec.subset.of_recipe,
        transfer=replace(spec.transfer, source="") if spec.transfer else None,
    )
    if spec.imported:
        # Both follow from the rows of each run.
        recipe = replace(recipe, imported="yes", budget=Budget("updates", 1))
    known = {
        "experiment": spec.experiment,
        "dataset": spec.dataset,
        "model": str(spec.model),
        "train_size": spec.train_size,
        "subset_strategy": spec.subset.strategy,
        "subset_nested": spec.subset.nested,
        "subset_seed": spec.subset.seed,
        "seed": spec.seed,
        "repeat": None,
        MEANS_OF: None,
        SPREADS: None,
        "total_updates": total_updates(spec),
        PLANNED_EVALUATIONS: spec.evaluations,
        **recipe_values(spec),
        "transfer": spec.condition,
        "transfer_source": spec.transfer.source if spec.transfer else None,
        "as_published": spec.is_as_published,
        RECIPE: json.dumps(recipe.to_dict(), sort_keys=True),
    }
    return {**known, **_NOT_TOLD} if spec.imported else known


_NOT_TOLD: Mapping[str, None] = MappingProxyType(
    dict.fromkeys(("subset_strategy", "subset_nested", PLANNED_EVALUATIONS))
    | dict.fromkeys(name for name in recipe_columns() if name not in ("imbalance", "classes"))
)
"""What nobody knows of a run that was trained elsewhere: its specification holds the defaults alone."""


def _untold(spec: RunSpec, facts: Any) -> dict[str, Any]:
    tells = facts.get(TELLS) if isinstance(facts, dict) else None
    if not isinstance(tells, list):
        # Imported before it was kept: draw 0 was also that of runs which told none.
        tells = ["seed", "draw"] if spec.subset.seed else ["seed"]
    seed = {} if "seed" in tells else {"seed": None, "repeat": spec.seed + 1}
    draw = {} if "draw" in tells else {"subset_seed": None}
    return seed | draw | _of_means(facts)


def _of_means(facts: Any) -> dict[str, Any]:
    """What a mean over runs tells of them, schema `RUNS`."""
    n_runs, spreads = (facts.get(key) if isinstance(facts, dict) else None for key in (MEANS_OF, SPREADS))
    if not isinstance(n_runs, int) or not 0 < n_runs <= MOST_BEHIND_A_MEAN:
        return {}
    known = spreads if isinstance(spreads, dict) else {}
    return {MEANS_OF: n_runs, SPREADS: json.dumps(known, sort_keys=True)}


def _rung(document: Mapping[str, Any]) -> dict[str, Any]:
    """Where a run stands in a search, schema `RUNS`; nothing where it is of none, or that cannot be read."""
    with suppress(KeyError, TypeError, ValueError, ArithmeticError, IndexError):
        rung = Rung.from_dict(document[SEARCH])
        told = [*rung.defaults], [*rung.shared], rung.kept[0] if len(rung.amounts) == 1 else None
        own = (rung.n_candidates, rung.candidate, rung.search) if rung.search else (None, None, None)
        return dict(zip((*_RUNG, *_BESIDE), (rung.told, *own, *told), strict=True))
    return dict.fromkeys((*_RUNG, *_BESIDE))


def _execution(paths: RunPaths) -> dict[str, Any]:
    seen = Observation(read_exit(paths), read_claim(paths), lock_held=False, claimant_alive=False)
    if seen.final_exit is None and seen.claim is not None:
        seen = observe(paths)
    end = seen.final_exit
    on_its_way = "running" if seen.is_running else "interrupted" if seen.claim else "queued"
    return {
        "state": str(end.outcome) if end else on_its_way,
        "attempt": seen.newest_attempt,
        "reason": end.reason if end else "",
        "finished_at": end.finished_at if end else None,
    }
