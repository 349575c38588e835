"""Jobs as a frame: what the record has of each run, and what the queue says of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from tui_datasize.experiments.spec import CELL
from tui_datasize.experiments.variants import on_screen
from tui_datasize.tui.polling.snapshot import JobRow
from tui_datasize.tui.widgets.palette import STATE_LOOKS

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.experiments.spec import RunSpec


def runs_of_jobs(
    jobs: Sequence[JobRow], runs: pl.DataFrame | None, shapes: Mapping[int, RunSpec] = MappingProxyType({})
) -> pl.DataFrame:
    """One row per job in their order: what the frame `runs` has of it, and what the queue says.

    Of what has no directory yet the id and its one of the `shapes` tell what it will do.

    Schema `RUNS`, then `name`, `note`, `fraction`, `remaining_s`, `priority` and what variants name beside;
    `state` is the word shown.
    """
    import polars as pl

    from tui_datasize.runlog.schema import RUNS

    of_queue = _frame_of(jobs)
    of_record = pl.DataFrame(schema=dict(RUNS)) if runs is None else runs
    known = set(of_record["run_id"])
    ahead = _ahead([row for row in jobs if row.run_id not in known], shapes)
    of_record = pl.concat([of_record, ahead], how="diagonal")
    joined = of_queue.join(
        of_record.drop(set(of_queue.columns) & RUNS.keys() - {"run_id"}),
        on="run_id",
        how="left",
        maintain_order="left",
    )
    base = pl.col("run_id").str.replace(r"-[^-]*$", "")
    short = pl.format("{} {}", base, "short").str.strip_chars_end()
    named = joined.with_columns(
        variant=pl.coalesce("told", "variant"),
        name=pl.when(pl.col("told").is_null()).then("run_id").otherwise(short),
    )
    swept = _swept(named["variant"], named.columns)
    return named.with_columns(*swept, variant=_shown(named)).drop("told", "short")


def _ahead(jobs: Sequence[JobRow], shapes: Mapping[int, RunSpec]) -> pl.DataFrame:
    """What is known of runs that have no directory yet, in columns of `RUNS`."""
    import polars as pl

    from tui_datasize.experiments.recipe_columns import recipe_columns
    from tui_datasize.runlog.describe import specified
    from tui_datasize.runlog.schema import RUNS

    # What shapes leave out, so that it stands there at its default.
    untold = {"experiment", "train_size", "seed", "subset_seed", "subset_strategy", "subset_nested"}
    untold |= {name for name, row in recipe_columns().items() if row.attribute.startswith("subset.")}
    numbers = sorted({row.shape for row in jobs} & shapes.keys())
    rows = [specified(shapes[number]) for number in numbers]
    kinds = {name: kind for name, kind in RUNS.items() if rows and name in rows[0].keys() - untold}
    told = [pl.Series(name, [row[name] for row in rows], kind, strict=False) for name, kind in kinds.items()]
    of_shapes = pl.DataFrame([pl.Series("shape", numbers, pl.Int64), *told])
    of_ids = pl.DataFrame(
        {"run_id": [row.run_id for row in jobs], "shape": [row.shape for row in jobs]},
        schema={"run_id": pl.String, "shape": pl.Int64},
    )
    cell = pl.col("run_id").str.extract_groups(CELL.pattern).struct
    names = {"size": "train_size", "draw": "subset_seed", "seed": "seed"}
    parts = {name: cell[part].cast(pl.Int64, strict=False) for part, name in names.items()}
    return of_ids.with_columns(**parts).join(of_shapes, on="shape", how="left").drop("shape")


def _shown(runs: pl.DataFrame) -> pl.Series:
    """Their variants, long ones in few words, but for the usual one of an experiment."""
    known = runs.select("experiment", "variant").unique().drop_nulls()
    short = {
        one: words
        for _, own in known.group_by("experiment")
        for one, words in on_screen(own["variant"].to_list()).items()
        if words
    }
    return runs["variant"].replace(short)


def _frame_of(jobs: Sequence[JobRow]) -> pl.DataFrame:
    """One row per job: what the queue says of it, and its variant as `told`, in few words as `short`."""
    import polars as pl

    from tui_datasize.runlog.schema import schema

    told = schema(
        (pl.String, "run_id", "experiment", "told", "short", "state", "reason", "device", "note"),
        (pl.Float64, "fraction", "remaining_s"),
        (pl.Int64, "priority"),
    )
    columns = {
        "run_id": [row.run_id for row in jobs],
        "experiment": [row.experiment for row in jobs],
        "told": [row.variant or None for row in jobs],
        "short": [row.short_variant for row in jobs],
        "state": [STATE_LOOKS[row.shown_state].word for row in jobs],
        "reason": [row.reason for row in jobs],
        "device": [row.device for row in jobs],
        "note": [row.remark or None for row in jobs],
        "fraction": [row.fraction for row in jobs],
        "remaining_s": [row.remaining_s if row.state.is_active else None for row in jobs],
        "priority": [row.priority for row in jobs],
    }
    return pl.DataFrame(columns, schema=dict(told))


def _swept(variants: pl.Series, columns: Collection[str]) -> list[pl.Series]:
    """The keys that variants name as `layers=2`, where no column has them: numbers where all are."""
    import polars as pl

    words = variants.drop_nulls().unique().str.extract_all(r"\b\w+=").explode().drop_nulls().unique()
    found = []
    for key in sorted(set(words.str.strip_chars_end("=")) - set(columns)):
        told = variants.str.extract(rf"\b{key}=(\S+)").alias(key)
        numbers = told.cast(pl.Float64, strict=False)
        found.append(numbers if numbers.null_count() == told.null_count() else told)
    return found
