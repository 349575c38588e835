"""From a plan to runs that can be queued: a plan names train sizes, a sweep lists seeds and subset draws.

Where the sweep lists too few, its sizes, its seeds or its draws are continued, and lines say what to write
into experiments.toml, so that it lists the same runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, islice

import polars as pl

from tui_datasize.experiments.budget import total_updates
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.experiments.variants import recipe_of, variant_labels
from tui_datasize.runlog.schema import were_imported
from tui_datasize.stats.curve import COMING
from tui_datasize.stats.planner import MUCH_OF_DRAWS, Plan
from tui_datasize.text import plural


@dataclass(frozen=True)
class Proposal:
    """The runs that a plan asks for."""

    listed: tuple[RunSpec, ...]
    """That the sweep has and that are not there yet."""
    further: tuple[RunSpec, ...]
    """With sizes, seeds or subset draws beyond those that it lists."""
    lacking: dict[int, int]
    """By train size, the runs that the sweep does not list, in `further` or not to be had."""
    words: str
    """What is to be known of the lacking ones; empty where none are."""
    lines: str = ""
    """What lists those of `further` at the end of experiments.toml; empty where nothing can."""

    @property
    def specs(self) -> tuple[RunSpec, ...]:
        return self.listed + self.further


def cells_alike(runs: pl.DataFrame, sweep: Sequence[RunSpec]) -> tuple[RunSpec, ...]:
    """The runs of a sweep that differ from some of those there are in size, draw and seed alone."""
    run_ids = set(runs["run_id"])
    recipes = {recipe_of(spec) for spec in sweep if spec.run_id in run_ids}
    return tuple(spec for spec in sweep if recipe_of(spec) in recipes)


def samples_per_run(cells: Sequence[RunSpec]) -> dict[int, float]:
    """Training samples of a run by train size."""
    return {spec.train_size: float(total_updates(spec) * spec.batch_size) for spec in cells}


def propose(
    plan: Plan,
    cells: Sequence[RunSpec],
    runs: pl.DataFrame,
    sweep: Sequence[RunSpec] = (),
    unlisted: str = "",
) -> Proposal:
    """The runs to queue for a plan, seeds and draws in the order of the sweep and then beyond it.

    Beyond it come further draws where draws make much of the scatter, further seeds elsewhere. Runs that take
    weights from others have none: each belongs to a source that the sweep names. `cells` are all runs of the
    curve in experiments.toml, see `cells_alike`, `sweep` those of all variants, or `unlisted` why there are
    none, `runs` (schema `RUNS`) those there are.
    """
    there = set(runs.filter(pl.col("state").is_in(COMING))["run_id"])
    by_draws = plan.draw_share > MUCH_OF_DRAWS and all(spec.subset.strategy != "first" for spec in cells)
    largest = max((spec.train_size for spec in cells), default=0)
    listed: list[RunSpec] = []
    further: list[RunSpec] = []
    lacking: dict[int, int] = {}
    for size in plan.sizes:
        of_size = [spec for spec in cells if spec.train_size == size.train_size]
        free = [spec for spec in of_size if spec.run_id not in there][: size.add]
        listed += free
        of_size = of_size or [
            replace(spec, train_size=size.train_size) for spec in cells if spec.train_size == largest
        ]
        if lacks := size.add - len(free):
            lacking[size.train_size] = lacks
            new = chain(of_size if size.is_new else (), _beyond(of_size, by_draws=by_draws))
            beyond = (spec for spec in new if spec.run_id not in there)
            further += islice(beyond, lacks)
    words, lines = _told(cells, further, runs, sweep or cells, unlisted) if lacking else ("", "")
    return Proposal(tuple(listed), tuple(further), lacking, words, lines)


def _beyond(cells: Sequence[RunSpec], *, by_draws: bool) -> Iterator[RunSpec]:
    """Runs of one size beyond its cells: each further seed on all draws, or each draw with all seeds."""
    if not cells or cells[0].transfer is not None:
        return
    seeds = list(dict.fromkeys(spec.seed for spec in cells))
    draws = list(dict.fromkeys(spec.subset.seed for spec in cells))
    values = draws if by_draws else seeds
    # The numbers after these, a step like their last one apart.
    step = abs(values[-1] - values[-2]) if len(values) > 1 else 1
    for new in count(max(values) + step, step):
        for other in seeds if by_draws else draws:
            seed, draw = (other, new) if by_draws else (new, other)
            yield replace(cells[0], seed=seed, subset=replace(cells[0].subset, seed=draw))


def _told(
    cells: Sequence[RunSpec],
    further: Sequence[RunSpec],
    runs: pl.DataFrame,
    sweep: Sequence[RunSpec],
    unlisted: str,
) -> tuple[str, str]:
    """What to know of runs that experiments.toml does not list, and the lines that list them there."""
    if were_imported(runs):
        return "These runs were imported: train the further ones where they come from.", ""
    if unlisted:
        return f"Further runs cannot be listed: {unlisted}.", ""
    if not cells:
        why = "experiments.toml no longer has the recipe of these runs: put it back to queue further ones."
        return why, ""
    if not further:
        return "These runs take weights from others: list more seeds in experiments.toml, for both.", ""
    labels = variant_labels(sweep)
    name, variant = cells[0].experiment, labels.get(cells[0].run_id, "")
    are = f"{plural(len(further), 'run')} of these {'is' if len(further) == 1 else 'are'}"
    where = "A sweep of its own at the end of experiments.toml lists exactly these:"
    blocks = "".join(_block(name, variant, *cell) for cell in _products(further))
    told = (
        f"{are} not in experiments.toml; the map of cells shows them once they are queued. {where}\n{blocks}"
    )
    return told, blocks


def _products(specs: Sequence[RunSpec]) -> Iterator[tuple[list[int], list[int], list[int]]]:
    """Sizes, seeds and draws whose products are some runs, each run once."""
    seeds: dict[tuple[int, int], list[int]] = {}
    for spec in specs:
        seeds.setdefault((spec.train_size, spec.subset.seed), []).append(spec.seed)
    draws: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for (size, draw), of_draw in seeds.items():
        draws.setdefault((size, tuple(sorted(of_draw))), []).append(draw)
    sizes: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = {}
    for (size, of_size), own in draws.items():
        sizes.setdefault((of_size, tuple(sorted(own))), []).append(size)
    for (own_seeds, own_draws), of_both in sizes.items():
        yield sorted(of_both), list(own_seeds), list(own_draws)


def _block(name: str, variant: str, sizes: list[int], seeds: list[int], draws: list[int]) -> str:
    whose = f"variant = {json.dumps(variant, ensure_ascii=False)}\n" if variant else ""
    lists = f"sizes = {sizes}\nseeds = {_written(seeds)}\ndraws = {_written(draws)}\n"
    return f"\n[[experiments.{name}.also]]\n{whose}{lists}"


def _written(values: list[int]) -> str:
    """Numbers, ascending, as experiments.toml takes them."""
    step = values[1] - values[0] if len(values) > 1 else 1
    if len(values) < 4 or values != list(range(values[0], values[-1] + 1, step)):
        return str(values)
    start = f", start = {values[0]}" if values[0] else ""
    return f"{{ count = {len(values)}, step = {step}{start} }}"
