"""From a plan to runs that can be queued: a plan names train sizes, a sweep lists seeds and subset draws.

Where the sweep lists too few, its sizes, its seeds or its draws are continued, and lines say what to write
into experiments.toml, so that the sweep and the runs agree again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, islice

import polars as pl

from tui_datasize.experiments.budget import total_updates
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.runlog.schema import were_imported
from tui_datasize.stats.curve import COMING
from tui_datasize.stats.planner import MUCH_OF_DRAWS, Plan
from tui_datasize.text import listed as listed_in_words
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

    @property
    def specs(self) -> tuple[RunSpec, ...]:
        return self.listed + self.further


def cells_alike(runs: pl.DataFrame, sweep: Sequence[RunSpec]) -> tuple[RunSpec, ...]:
    """The runs of a sweep that differ from some of those there are in size, draw and seed alone."""
    run_ids = set(runs["run_id"])
    recipes = {_recipe(spec) for spec in sweep if spec.run_id in run_ids}
    return tuple(spec for spec in sweep if _recipe(spec) in recipes)


def samples_per_run(cells: Sequence[RunSpec]) -> dict[int, float]:
    """Training samples of a run by train size."""
    return {spec.train_size: float(total_updates(spec) * spec.batch_size) for spec in cells}


def propose(plan: Plan, cells: Sequence[RunSpec], runs: pl.DataFrame) -> Proposal:
    """The runs to queue for a plan, seeds and draws in the order of the sweep and then beyond it.

    Beyond it come further draws where draws make much of the scatter, further seeds elsewhere. Runs that take
    weights from others have none: each belongs to a source that the sweep names. `cells` are all runs of the
    curve in experiments.toml, see `cells_alike`; `runs` (schema `RUNS`) those there are.
    """
    there = set(runs.filter(pl.col("state").is_in(COMING))["run_id"])
    by_draws = plan.draw_share > MUCH_OF_DRAWS and all(spec.subset.strategy != "first" for spec in cells)
    listed: list[RunSpec] = []
    further: list[RunSpec] = []
    lacking: dict[int, int] = {}
    for size in plan.sizes:
        of_size = [spec for spec in cells if spec.train_size == size.train_size]
        free = [spec for spec in of_size if spec.run_id not in there][: size.add]
        listed += free
        of_size = of_size or _of_new_size(cells, size.train_size)
        if lacks := size.add - len(free):
            lacking[size.train_size] = lacks
            new = chain(of_size if size.is_new else (), _beyond(of_size, by_draws=by_draws))
            beyond = (spec for spec in new if spec.run_id not in there)
            further += islice(beyond, lacks)
    words = _words(cells, further, runs, by_draws=by_draws) if lacking else ""
    return Proposal(tuple(listed), tuple(further), lacking, words)


def _recipe(spec: RunSpec) -> RunSpec:
    transfer = replace(spec.transfer, source="") if spec.transfer else None
    return replace(spec, train_size=1, seed=0, subset=replace(spec.subset, seed=0), transfer=transfer)


def _of_new_size(cells: Sequence[RunSpec], train_size: int) -> list[RunSpec]:
    largest = max((spec.train_size for spec in cells), default=0)
    return [replace(spec, train_size=train_size) for spec in cells if spec.train_size == largest]


def _beyond(cells: Sequence[RunSpec], *, by_draws: bool) -> Iterator[RunSpec]:
    """Runs of one size beyond its cells: each further seed on all draws, or each draw with all seeds."""
    if not cells or cells[0].transfer is not None:
        return
    seeds, draws = (list(dict.fromkeys(values)) for values in _seeds_and_draws(cells))
    for new in _continued(draws if by_draws else seeds):
        for other in seeds if by_draws else draws:
            seed, draw = (other, new) if by_draws else (new, other)
            yield replace(cells[0], seed=seed, subset=replace(cells[0].subset, seed=draw))


def _seeds_and_draws(specs: Sequence[RunSpec]) -> tuple[list[int], list[int]]:
    return [spec.seed for spec in specs], [spec.subset.seed for spec in specs]


def _continued(values: Sequence[int]) -> Iterator[int]:
    """The numbers after some, a step like their last one apart."""
    step = abs(values[-1] - values[-2]) if len(values) > 1 else 1
    return count(max(values) + step, step)


def _words(
    cells: Sequence[RunSpec], further: Sequence[RunSpec], runs: pl.DataFrame, *, by_draws: bool
) -> str:
    """What to write into experiments.toml for runs beyond the sweep, or why none can be named."""
    if were_imported(runs):
        return "These runs were imported: train the further ones where they come from."
    if not cells:
        return "experiments.toml no longer has the recipe of these runs: put it back to queue further ones."
    if not further:
        return "These runs take weights from others: list more seeds in experiments.toml, for both."
    lines = [*_new_sizes(cells, further), *_new_seeds(cells, further, runs, by_draws=by_draws)]
    what = listed_in_words([name for name, _ in lines])
    are = f"{plural(len(further), 'run')} of these {'has' if len(further) == 1 else 'have'}"
    unlisted = f"{are} {what} that experiments.toml does not list"
    where = f"The map of cells shows them with this in [experiments.{cells[0].experiment}]:"
    return "\n".join([f"{unlisted}. {where}", *(line for _, line in lines)])


def _new_sizes(cells: Sequence[RunSpec], further: Sequence[RunSpec]) -> Iterator[tuple[str, str]]:
    """The line of all sizes where some are new; it stands in place of `fractions` or `per_class` too."""
    known = {spec.train_size for spec in cells}
    every = known | {spec.train_size for spec in further}
    if every != known:
        yield "sizes", f"sizes = {sorted(every)}"


def _new_seeds(
    cells: Sequence[RunSpec], further: Sequence[RunSpec], runs: pl.DataFrame, *, by_draws: bool
) -> Iterator[tuple[str, str]]:
    column, key = ("subset_seed", "subset.seeds") if by_draws else ("seed", "seeds")
    known, every = (_seeds_and_draws(specs)[by_draws] for specs in (cells, [*cells, *further]))
    values = list(dict.fromkeys([*every, *runs[column].drop_nulls().to_list()]))
    if set(every) != set(known):
        yield "subset draws" if by_draws else "seeds", f"{key} = {_written(values)}"


def _written(values: list[int]) -> str:
    """Numbers as experiments.toml takes them."""
    ordered = sorted(values)
    step = ordered[1] - ordered[0] if len(ordered) > 1 else 1
    if len(ordered) < 4 or ordered != list(range(ordered[0], ordered[-1] + 1, step)):
        return str(ordered)
    start = f", start = {ordered[0]}" if ordered[0] else ""
    return f"{{ count = {len(ordered)}, step = {step}{start} }}"
