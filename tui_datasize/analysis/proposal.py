"""From a plan to the runs of a sweep: a plan names train sizes, a sweep lists the runs that can be queued.

Runs with seeds that the sweep lists are proposed as they are; where it lists too few, a line says which
seeds to add to experiments.toml.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from tui_datasize.analysis.planner import COMING, Plan
from tui_datasize.experiments.budget import total_updates
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.runlog.schema import were_imported


@dataclass(frozen=True)
class Proposal:
    """The runs that a plan asks for."""

    specs: tuple[RunSpec, ...]
    """That the sweep has and that are not there yet."""
    lacking: dict[int, int]
    """By train size, the runs for which the sweep lists too few seeds."""
    words: str
    """How the lacking ones can be had; empty where none are."""


def cells_alike(runs: pl.DataFrame, sweep: Sequence[RunSpec]) -> tuple[RunSpec, ...]:
    """The runs of a sweep that differ from some of those there are in size, draw and seed alone.

    Args:
        runs: Of one curve, schema `RUNS`.
        sweep: All runs of the experiment in experiments.toml.
    """
    run_ids = set(runs["run_id"])
    recipes = {_recipe(spec) for spec in sweep if spec.run_id in run_ids}
    return tuple(spec for spec in sweep if _recipe(spec) in recipes)


def samples_per_run(cells: Sequence[RunSpec]) -> dict[int, float]:
    """Training samples of a run by train size."""
    return {spec.train_size: float(total_updates(spec) * spec.batch_size) for spec in cells}


def propose(plan: Plan, cells: Sequence[RunSpec], runs: pl.DataFrame) -> Proposal:
    """The runs to queue for a plan, seeds and draws in the order of the sweep.

    Args:
        plan: The plan.
        cells: All runs of the curve in experiments.toml, see `cells_alike`.
        runs: Those of the curve there are, schema `RUNS`.
    """
    there = set(runs.filter(pl.col("state").is_in(COMING))["run_id"])
    specs: list[RunSpec] = []
    lacking: dict[int, int] = {}
    for size in plan.sizes:
        free = [spec for spec in cells if spec.train_size == size.train_size and spec.run_id not in there]
        specs += free[: size.add]
        if size.add > len(free):
            lacking[size.train_size] = size.add - len(free)
    if not lacking:
        words = ""
    elif cells:
        words = _seeds_line(cells, lacking)
    else:
        words = _no_cells(runs)
    return Proposal(tuple(specs), lacking, words)


def _recipe(spec: RunSpec) -> RunSpec:
    transfer = replace(spec.transfer, source="") if spec.transfer else None
    return replace(spec, train_size=1, seed=0, subset=replace(spec.subset, seed=0), transfer=transfer)


def _seeds_line(cells: Sequence[RunSpec], lacking: dict[int, int]) -> str:
    """What to change in experiments.toml for the runs that it has no seeds for."""
    draws = len({spec.subset.seed for spec in cells})
    more = -(-max(lacking.values()) // draws)
    seeds = list(dict.fromkeys(spec.seed for spec in cells))
    step = abs(seeds[-1] - seeds[-2]) if len(seeds) > 1 else 1
    seeds += [max(seeds) + step * k for k in range(1, more + 1)]
    is_even = seeds == list(range(seeds[0], seeds[-1] + 1, step))
    start = f", start = {seeds[0]}" if seeds[0] else ""
    written = f"{{ count = {len(seeds)}, step = {step}{start} }}" if is_even else str(seeds)
    needing = ", ".join(f"{runs} at {size:,}" for size, runs in lacking.items())
    return (
        f"Runs that need seeds beyond the listed ones: {needing}. "
        f"In [experiments.{cells[0].experiment}] write\nseeds = {written}\nand ask again."
    )


def _no_cells(runs: pl.DataFrame) -> str:
    """Why no run can be named."""
    if were_imported(runs):
        return "These runs were imported: train the further ones where they come from."
    return "experiments.toml no longer has the recipe of these runs: put it back to queue further ones."
