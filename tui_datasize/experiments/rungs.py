"""Where runs stand in the search that they are of, and what runs of its later rungs look like."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tui_datasize.experiments.budget import samples_at, total_updates
from tui_datasize.experiments.load import Experiment
from tui_datasize.experiments.recipe import Recipe
from tui_datasize.experiments.search import DEFAULT, SEARCH, Rung, Search
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.experiments.sweep import spec_at
from tui_datasize.experiments.variants import recipe_of
from tui_datasize.text import plural


def rungs_of(experiment: Experiment, specs: Sequence[RunSpec]) -> Mapping[str, Rung]:
    """By run id, where those of some runs stand that a search begins with: its defaults and its first rung.

    None of an experiment without a search, nor of a lever beside it, which no search is told to have: those
    that are a candidate, too, the other runs of their size, seed and draw tell.
    """
    search = experiment.search
    if search is None:
        return {}
    shape = partial(_shape, experiment)
    places = {shape(recipe): candidate for candidate, recipe in enumerate(search.on_rung(0))}
    defaults, whole = ({*map(shape, own)} for own in (search.defaults, search.candidates))
    levers = {shape(recipe) for recipe in search.levers if recipe in search.candidates}
    names = {size: _digest(experiment, search, size) for size in {spec.train_size for spec in specs}}
    amounts = tuple(search.recipe(0, rung).spec.budget.amount for rung in range(len(search.parts)))
    n_cells = len(experiment.seeds) * len(experiment.subset_seeds)
    known = Rung("", cells=n_cells, kept=search.kept, amounts=amounts)
    found = {}
    for cell in _cells(specs).values():
        ids = {recipe: spec.run_id for recipe, spec in cell.items() if recipe in defaults | levers}
        beside = replace(
            known,
            defaults=tuple(ids[one] for one in ids if one in defaults),
            shared=tuple(ids[one] for one in ids if one in whole),
        )
        for recipe, spec in cell.items():
            if recipe in defaults:
                found[ids[recipe]] = beside
            elif recipe in places and recipe not in levers:
                name = names[spec.train_size]
                found[spec.run_id] = replace(beside, search=name, candidate=places[recipe])
    return found


def _shape(experiment: Experiment, recipe: Recipe) -> RunSpec:
    return recipe_of(spec_at(experiment, recipe, 1, 0, 0))


def _cells(specs: Iterable[RunSpec]) -> Mapping[tuple[int, int, int], Mapping[RunSpec, RunSpec]]:
    """By size, seed and draw the runs of each recipe."""
    cells: dict[tuple[int, int, int], dict[RunSpec, RunSpec]] = {}
    for spec in specs:
        cells.setdefault((spec.train_size, spec.seed, spec.subset.seed), {})[recipe_of(spec)] = spec
    return cells


def climbed(experiment: Experiment, runs: Iterable[RunSpec]) -> tuple[RunSpec, ...]:
    """Those of some runs to which the search of an experiment may promote a candidate."""
    later = {recipe_of(run) for run in later_runs(experiment)}
    return tuple(run for run in runs if recipe_of(run) in later)


def later_runs(experiment: Experiment) -> tuple[RunSpec, ...]:
    """One run of each recipe to which candidates may be promoted, of any size, draw and seed."""
    later = experiment.search.later if experiment.search else ()
    return tuple(spec_at(experiment, recipe, 1, 0, 0) for recipe in later)


@dataclass(frozen=True, slots=True)
class Stretch:
    """What one rung of a search takes, or its default, or the levers beside it."""

    told: str
    """As of `Rung.told`, or `levers`."""
    candidates: int
    """None of the default and of levers beside the search."""
    n_runs: int
    updates: int
    """Of all its runs together; the mean of all candidates stands for those that nobody knows yet."""
    images: int
    """Trained on, each counted as often as it is seen."""

    @property
    def line(self) -> str:
        """Such as `rung 1 of 3: 20 candidates, 40 runs, 10,000 updates, 320,000 images`."""
        each = f"{plural(self.candidates, 'candidate')}, " if self.candidates else ""
        name = f"rung {self.told}" if self.candidates else self.told
        counted = f"{plural(self.n_runs, 'run')}, {plural(self.updates, 'update')}"
        return f"{name}: {each}{counted}, {plural(self.images, 'image')}"


def outlook(experiment: Experiment, specs: Sequence[RunSpec]) -> tuple[Stretch, ...]:
    """What some runs take with which a search begins, and its later rungs, unless runs fail.

    Nothing without a search.
    """
    search = experiment.search
    if search is None:
        return ()
    places = rungs_of(experiment, specs)
    shared = {run_id for place in places.values() for run_id in place.shared}
    promoted = {spec.run_id for spec in climbed(experiment, specs)} - shared
    found: dict[str, list[RunSpec]] = {"levers": [], DEFAULT: [], SEARCH: []}
    for spec in specs:
        place = places.get(spec.run_id)
        if place or spec.run_id not in promoted:
            found["levers" if place is None else SEARCH if place.search else DEFAULT].append(spec)
    first = found.pop(SEARCH)
    stretches = [Stretch(told, 0, len(own), *_taken(own)) for told, own in found.items() if own]
    for number, kept in enumerate(search.kept if first else ()):
        on_it = [_on_rung(spec, places[spec.run_id], number) for spec in first]
        share = kept / len(search.candidates)
        updates, images = (round(taken * share) for taken in _taken(on_it))
        told = f"{number + 1} of {len(search.parts)}"
        stretches.append(Stretch(told, kept, round(len(on_it) * share), updates, images))
    return tuple(stretches)


def with_promoted(experiment: Experiment, specs: Sequence[RunSpec]) -> tuple[RunSpec, ...]:
    """Some runs, and others for those that a search begun with them goes on with, unless runs fail.

    The candidates drawn first stand for those that nobody knows yet.
    """
    places, kept = rungs_of(experiment, specs), experiment.search.kept if experiment.search else ()
    begun = [(spec, place) for spec in specs if (place := places.get(spec.run_id)) and place.search]
    return *specs, *(
        _on_rung(spec, place, number)
        for number in range(1, len(kept))
        for spec, place in begun
        if place.candidate < kept[number]
    )


def _on_rung(spec: RunSpec, place: Rung, number: int) -> RunSpec:
    if not place.climbs:
        return spec
    return replace(spec, budget=replace(spec.budget, amount=place.amounts[number]))


def outlook_in_words(stretches: Sequence[Stretch]) -> list[str]:
    """A line each, and one for all."""
    if len(stretches) < 2:
        return [one.line for one in stretches]
    runs, updates, images = (
        sum(getattr(one, name) for one in stretches) for name in ("n_runs", "updates", "images")
    )
    whole = f"in all: {plural(runs, 'run')}, {plural(updates, 'update')}, {plural(images, 'image')}"
    return [*(one.line for one in stretches), whole]


def _taken(specs: Iterable[RunSpec]) -> tuple[int, int]:
    """Updates of some runs, and images that they train on."""
    updates = {spec: total_updates(spec) for spec in specs}
    return sum(updates.values()), sum(samples_at(spec, count) for spec, count in updates.items())


def _digest(experiment: Experiment, search: Search, size: int) -> str:
    """What changes whenever other runs of a size are compared with each other."""
    seeds, draws = experiment.seeds, experiment.subset_seeds
    candidates = [spec_at(experiment, one, size, seeds[0], draws[0]).run_id for one in search.on_rung(0)]
    told = json.dumps([candidates, seeds, draws, search.parts, search.kept])
    return hashlib.sha256(told.encode()).hexdigest()[:12]
