"""From an experiment to its runs: one frozen specification per cell of the sweep.

What cannot be planned is a `DatasizeError`, as of `plan_runs`.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from tui_datasize.errors import ConfigError, DataError, DatasizeError
from tui_datasize.experiments.architectures import model_info
from tui_datasize.experiments.budget import check_lengths
from tui_datasize.experiments.catalogue import IMAGE_FOLDER, DatasetInfo, dataset_info, image_folder
from tui_datasize.experiments.images.reading import FIRST_RULES, ImageReading
from tui_datasize.experiments.keys import rows
from tui_datasize.experiments.load import Experiment, Order, Project, read_project
from tui_datasize.experiments.named_files import named_in, wrong_files
from tui_datasize.experiments.pretext import refuse_few_images
from tui_datasize.experiments.recipe import Recipe
from tui_datasize.experiments.sources import Sources, needed
from tui_datasize.experiments.spec import CELL, ClassSplit, ModelSpec, RunSpec, SubsetSpec
from tui_datasize.experiments.unlabelled import refuse_none_left
from tui_datasize.experiments.variants import recipe_of

OrderKey: TypeAlias = Callable[[RunSpec], tuple[int, ...]]
"""Of a run its place among others, to sort by."""


def plan_runs(experiment: Experiment, project: Project) -> tuple[RunSpec, ...]:
    """All runs of an experiment, checked against its data set; see `expand`.

    Raises DataError: the data set is unknown or missing, or too small for a size.
    Raises ConfigError: two cells of the sweep are one run, or a source is missing or not the only one.
    """
    return _plan(experiment, project, ())


def listed_runs(experiment: Experiment, project: Project, run_ids: Collection[str]) -> set[str]:
    """Those of some runs that an experiment lists, without making others than have their sizes and seeds."""
    if experiment.also:
        parts = replace(experiment, also=()), *experiment.also
        return set().union(*(listed_runs(part, project, run_ids) for part in parts))
    found = [cell for run_id in run_ids if (cell := CELL.search(run_id))]
    draws, seeds = ({int(cell[key]) for cell in found} for key in ("draw", "seed"))
    part = replace(
        experiment,
        recipes=experiment.all_recipes,
        seeds=tuple(seed for seed in experiment.seeds if seed in seeds),
        subset_seeds=tuple(draw for draw in experiment.subset_seeds if draw in draws),
    )
    if not part.n_runs:
        return set()
    if _origins(experiment):
        made = plan_runs(part, project)
    else:
        seeds, draws = set(part.seeds), set(part.subset_seeds)
        cells = {(int(cell["size"]), int(cell["seed"]), int(cell["draw"])) for cell in found}
        made = tuple(
            spec_at(part, recipe, size, seed, draw)
            for recipe, sizes in _sized_recipes(part, _info(part, project))
            for size, seed, draw in cells
            if size in sizes and seed in seeds and draw in draws
        )
    return {run.run_id for run in made}.intersection(run_ids)


def further_runs(
    listed: Iterable[RunSpec], shapes: Mapping[int, RunSpec], shape_of: Mapping[str, int]
) -> list[RunSpec]:
    """Runs that differ from some that are listed in size, draw and seed alone, those listed included.

    `shapes` are specifications without seed and subset by number, `shape_of` has the number of each run.
    """
    subsets: dict[RunSpec, set[SubsetSpec]] = defaultdict(set)
    for recipe, path in {(recipe_of(spec), spec.subset.path) for spec in listed}:
        subsets[replace(recipe, subset=SubsetSpec())].add(replace(recipe.subset, path=path))
    of_shape = {n: subsets.get(replace(recipe_of(one), subset=SubsetSpec()), ()) for n, one in shapes.items()}
    found = []
    for run_id, number in shape_of.items():
        if cell := CELL.search(run_id):
            seed, draw = int(cell["seed"]), int(cell["draw"])
            for subset in of_shape[number]:
                own = replace(subset, seed=draw).up_to(shapes[number].train_size)
                run = replace(shapes[number], seed=seed, subset=own)
                if run.run_id == run_id:
                    found.append(run)
                    break
    return found


def check_runs(experiment: Experiment, project: Project) -> Collection[int]:
    """Raise what `plan_runs` does, and return the train sizes; runs are made only where they take weights."""
    if _origins(experiment):
        return {run.train_size for run in plan_runs(experiment, project)}
    info = _info(experiment, project)
    sized = _sized_recipes(experiment, info)
    # Runs of two recipes are equal or differ whatever their size, seed and draw.
    seed, draw = experiment.seeds[0], experiment.subset_seeds[0]
    firsts = [spec_at(experiment, recipe, next(iter(sizes)), seed, draw) for recipe, sizes in sized]
    _check_distinct(experiment, firsts)
    sized += [one for part in experiment.also for one in _sized_recipes(part, info)]
    return {size for sizes in {id(sizes): sizes for _, sizes in sized}.values() for size in sizes}


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What a look at all of `experiments.toml`, and at the images that are here, has found."""

    project: Project
    """With the experiments that can be read."""
    errors: Sequence[DatasizeError]
    unchecked: Mapping[str, Sequence[str]]
    """By image folders that are not on this machine, the experiments that were read and no more."""


def check_file(file: Path) -> FileCheck:
    """Look for everything that is wrong with an `experiments.toml`."""
    project, errors = read_project(file)
    missing: dict[str, list[str]] = {}
    wrong: list[DatasizeError] = [*errors]
    skipped = {name for name in project.names if name not in project.experiments}
    for experiment in project.experiments.values():
        try:
            _own_images(experiment, project)
        except DataError as error:
            skipped.add(experiment.name)
            is_folder = experiment.dataset.startswith(IMAGE_FOLDER)
            if is_folder and not image_folder(experiment.dataset, project.data_dir).is_dir():
                missing.setdefault(experiment.dataset, []).append(experiment.name)
            else:
                wrong.append(error)
    for experiment in project.experiments.values():
        has_images = experiment.name not in skipped
        if found := [*wrong_files(experiment, project, has_images=has_images)]:
            wrong += found
            skipped.add(experiment.name)
    for experiment in project.experiments.values():
        # What takes weights of an experiment that is wrong itself has no other mistake.
        if not _all_origins(experiment, project) & skipped:
            try:
                check_runs(experiment, project)
            except DatasizeError as error:
                wrong.append(error)
                skipped.add(experiment.name)
    return FileCheck(project, wrong, missing)


def _all_origins(experiment: Experiment, project: Project) -> set[str]:
    found, new = {experiment.name}, {experiment.name}
    while new:
        known = [project.experiments[name] for name in new if name in project.experiments]
        new = {origin for one in known for origin in _origins(one)} - found
        found |= new
    return found


def _origins(experiment: Experiment) -> set[str]:
    return {source for recipe in experiment.recipes for source in recipe.spec.named_sources}


def source_runs(specs: Sequence[RunSpec], project: Project) -> tuple[RunSpec, ...]:
    """The runs that others take weights from or have their images from, directly or not, sources first.

    Those before them on a path are no runs that an experiment need list.
    """
    return needed(specs, _transferred(specs, project))


def _transferred(specs: Sequence[RunSpec], project: Project) -> dict[str, RunSpec]:
    missing = {source for spec in specs for source in spec.named_sources}
    if not missing:
        return {}
    # Others need not have their data set.
    asked = [
        experiment
        for experiment in project.experiments.values()
        if any(run_id.startswith(f"{experiment.name}-n") for run_id in missing)
    ]
    found = [run for one in asked for run in plan_runs(one, project) if run.run_id in missing]
    return _transferred(found, project) | {run.run_id: run for run in found}


def _plan(experiment: Experiment, project: Project, above: tuple[str, ...]) -> tuple[RunSpec, ...]:
    """Plan an experiment whose runs those of `above`, the outermost first, take weights from."""
    if experiment.name in above:
        circle = " from ".join([*above, experiment.name])
        raise ConfigError(f"a circle of transfers: {circle}", where=f"{experiment.where}.transfer")
    info = _info(experiment, project)
    sources = {
        name: _plan(_candidates(project.experiments[name], experiment), project, (*above, experiment.name))
        for name in _origins(experiment) & project.experiments.keys()
    }
    return expand(experiment, info, sources)


def _info(experiment: Experiment, project: Project) -> DatasetInfo:
    info = _own_images(experiment, project)
    for error in wrong_files(experiment, project):
        raise error
    return info


def _own_images(experiment: Experiment, project: Project) -> DatasetInfo:
    with named_in(f"{experiment.where}.dataset"):
        reading = experiment.reading(experiment.recipes[0])
        return dataset_info(experiment.dataset, project.data_dir, reading)


def _candidates(source: Experiment, experiment: Experiment) -> Experiment:
    """A source with no more seeds and draws than decide which run each of an experiment takes weights from.

    That is the one with the same seed and draw as far as there is one.
    """
    if any(recipe.spec.subset.features == source.name for recipe in experiment.recipes):
        # All see the images with one network, whatever part of an experiment is planned.
        return source
    seeds, draws = set(experiment.seeds), set(experiment.subset_seeds)
    return replace(
        source,
        seeds=experiment.seeds if seeds <= set(source.seeds) else source.seeds,
        subset_seeds=experiment.subset_seeds if draws <= set(source.subset_seeds) else source.subset_seeds,
    )


def expand(
    experiment: Experiment, info: DatasetInfo, sources: Mapping[str, Sequence[RunSpec]] = MappingProxyType({})
) -> tuple[RunSpec, ...]:
    """Every cell of a sweep as a run, in the order in which the queue takes them.

    By the name of an experiment, `sources` are the runs that weights may be taken from.

    Raises DataError: a size is larger than the data set, or than its smallest class allows.
    Raises ConfigError: two cells of the sweep are one run, a source is missing or not the only one, or a key
        does not suit the kind of data set.
    """
    lookup = Sources(sources, where=experiment.where)
    cells, *others = (
        [
            lookup.resolve(spec_at(part, recipe, size, seed, subset_seed))
            for recipe, sizes in _sized_recipes(part, info)
            for size in sizes
            for seed in part.seeds
            for subset_seed in part.subset_seeds
        ]
        for part in (experiment, *experiment.also)
    )
    _check_distinct(experiment, cells)
    if others:
        cells = list({spec.run_id: spec for spec in itertools.chain(cells, *others)}.values())
    return tuple(sorted(cells, key=order_key(cells, experiment.order)))


def _sized_recipes(experiment: Experiment, info: DatasetInfo) -> list[tuple[Recipe, Collection[int]]]:
    """Each recipe with its train sizes, which are those that it is defined for, and at which it fits."""
    _check_kind(experiment, info)
    known: dict[Hashable, dict[int, None]] = {}
    sized: list[tuple[Recipe, Collection[int]]] = []
    for recipe in experiment.recipes:
        classes, imbalance = kind = (recipe.spec.classes, recipe.spec.subset.imbalance)
        if kind not in known:
            sizes = train_sizes(experiment, _seen(info, classes), imbalance)
            known[kind] = dict.fromkeys(sizes)
        if recipe.spec.unlabelled.is_rest:
            images = _seen(info, classes).train_images
            refuse_none_left(recipe.spec.unlabelled, max(known[kind]), images, experiment.where)
        # The smallest makes the fewest updates; a path may begin below it.
        least = min([*known[kind], *recipe.spec.subset.path[:1]])
        smallest = spec_at(experiment, recipe, least, experiment.seeds[0], experiment.subset_seeds[0])
        check_lengths(smallest, experiment.where, says_evaluations=recipe.says_evaluations)
        refuse_few_images(smallest, experiment.where)
        sized.append((recipe, known[kind]))
    return sized


def _check_reading(experiment: Experiment) -> None:
    if len({recipe.spec.images.listing for recipe in experiment.recipes}) > 1:
        raise ConfigError(
            "split, split_seed, on_bad_image and most_megapixels decide which images there are",
            where=experiment.where,
            fix="give each one value, or make other values experiments of their own",
        )
    for recipe in experiment.recipes:
        if recipe.spec.images != ImageReading() and experiment.reading(recipe).rules == FIRST_RULES:
            raise ConfigError(
                f"{', '.join(row.name for row in rows(ImageReading))} are for image folders by the newest "
                "rules",
                where=experiment.where,
                fix="leave them out",
            )


def _check_kind(experiment: Experiment, info: DatasetInfo) -> None:
    _check_reading(experiment)
    if not info.is_files and any(recipe.spec.image_px for recipe in experiment.recipes):
        raise ConfigError(
            f"{info.name} is no folder of image files to be resized",
            where=f"{experiment.where}.image_px",
            fix="leave it out",
        )
    if experiment.strategy == "balanced" and any(
        recipe.spec.subset.imbalance != 1 for recipe in experiment.recipes
    ):
        raise ConfigError(
            "an imbalance and equal images per class exclude each other",
            where=f"{experiment.where}.imbalance",
            fix="give sizes or fractions, and strategy stratified or random",
        )
    for recipe in experiment.recipes:
        side = recipe.spec.image_px or info.size_px
        crop_px = recipe.spec.augmentation.crop_px
        if 0 < side < crop_px:
            raise ConfigError(
                f"a crop of {crop_px} px, but the images have {side}",
                where=f"{experiment.where}.augmentation.crop_px",
                fix=f"give at most {side}",
            )
        _check_size(experiment, recipe.spec.model, crop_px or side)
    if info.is_files and experiment.strategy == "first":
        raise ConfigError(
            "the files of a folder are sorted by class: the first n belong to few classes",
            where=f"{experiment.where}.subset.strategy",
            fix="take random, or stratified",
        )


def _check_size(experiment: Experiment, trained: ModelSpec, side: int) -> None:
    """Refuse images that are too small for the model; a side of 0 is one that only an image would tell."""
    model = model_info(trained.name)
    padded = max(side, int(trained.options.get("input_px", 0)))
    if side and model and padded < model.smallest_px:
        raise ConfigError(
            f"{model.name} takes images of at least {model.smallest_px} px, these have {padded}",
            where=f"{experiment.where}.model",
            fix="take another model, or pad the images where it has input_px",
        )


def train_sizes(experiment: Experiment, info: DatasetInfo, imbalance: float = 1.0) -> tuple[int, ...]:
    """The train sizes of an experiment in images, as the file lists them, of a data set or a half of it.

    Raises DataError: one is larger than the data set, rounds to nothing, or two round to one.
    """
    where = f"{experiment.where}.{experiment.size_unit}"
    largest = _largest(experiment, info, imbalance)
    # Not a list: there may be tens of thousands, each of which is looked up.
    sizes: dict[int, None] = {}
    for value in experiment.size_values:
        if experiment.size_unit == "per_class" and value > info.smallest_class:
            raise DataError(
                f"{value:g} images per class, but the smallest of {info.name} has {info.smallest_class}",
                where=where,
            )
        size = _images(experiment, value, info)
        if size > largest:
            lack = f" at imbalance {imbalance:g}" if imbalance != 1 else ""
            if experiment.strategy == "balanced":
                lack = f" in equal parts, {info.smallest_class} of each class"
            raise DataError(f"{size} images, but {info.name} has {largest} to train on{lack}", where=where)
        if size < 1 or size in sizes:
            raise DataError(
                f"{value:g} of {info.train_images} images rounds to {size}, "
                + ("which is nothing" if size < 1 else "which is listed already"),
                where=where,
            )
        if experiment.strategy == "balanced" and size % info.classes:
            raise DataError(f"{size} is not a multiple of the {info.classes} classes", where=where)
        sizes[size] = None
    return tuple(sizes)


def _images(experiment: Experiment, value: float, info: DatasetInfo) -> int:
    if experiment.size_unit == "fractions":
        return round(value * info.train_images)
    if experiment.size_unit == "per_class":
        return int(value) * info.classes
    return int(value)


def _seen(info: DatasetInfo, classes: ClassSplit) -> DatasetInfo:
    if classes.half == "all":
        return info
    # Few sweeps need it, and NumPy would delay the first screen of every app.
    from tui_datasize.experiments.subsets import restrict

    return restrict(info, classes)


def _largest(experiment: Experiment, info: DatasetInfo, imbalance: float) -> int:
    if imbalance != 1:
        from tui_datasize.experiments.subsets import largest_imbalanced

        draws = (SubsetSpec(seed=seed, imbalance=imbalance) for seed in experiment.subset_seeds)
        return min(largest_imbalanced(info.train_per_class, draw) for draw in draws)
    return info.smallest_class * info.classes if experiment.strategy == "balanced" else info.train_images


def spec_at(experiment: Experiment, recipe: Recipe, size: int, seed: int, subset_seed: int) -> RunSpec:
    """The run of a recipe in one cell, its transfer as the file names it."""
    subset = replace(recipe.spec.subset, seed=subset_seed).up_to(size)
    if not recipe.spec.subset.path:
        subset = replace(subset, strategy=experiment.strategy, nested=experiment.nested)
    return replace(
        recipe.spec,
        experiment=experiment.name,
        dataset=experiment.dataset,
        train_size=size,
        seed=seed,
        subset=subset,
        images=experiment.reading(recipe),
    )


def _check_distinct(experiment: Experiment, cells: Sequence[RunSpec]) -> None:
    if len({spec.run_id for spec in cells}) < len(cells):
        raise ConfigError(
            "two combinations of swept values are the same run",
            where=experiment.where,
            fix="list each value of sweep once, and in levers none that is run without them",
        )


def order_key(specs: Sequence[RunSpec], order: Order) -> OrderKey:
    """The key that sorts runs of one sweep into an order.

    Sizes ascend; training seeds, and draws likewise, stay in the order in which they stand first in `specs`,
    which is that of the file both for a sweep as it is multiplied out and for one in any order. `specs` have
    every seed and draw of the runs that are sorted.
    """
    seeds = _places(spec.seed for spec in specs)
    draws = _places(spec.subset.seed for spec in specs)
    keys: Mapping[Order, OrderKey] = {
        # Every size once over the first seed: a usable curve stands early.
        "curve-first": lambda spec: (seeds[spec.seed], draws[spec.subset.seed], spec.train_size),
        "by-size": lambda spec: (spec.train_size, seeds[spec.seed], draws[spec.subset.seed]),
        "by-seed": lambda spec: (seeds[spec.seed], spec.train_size, draws[spec.subset.seed]),
    }
    return keys[order]


def _places(values: Iterable[int]) -> Mapping[int, int]:
    return {value: place for place, value in enumerate(dict.fromkeys(values))}


def select(
    specs: Sequence[RunSpec], *, sizes: Collection[int] = (), seeds: Collection[int] = ()
) -> tuple[RunSpec, ...]:
    """Keep the runs of the given sizes and seeds; an empty filter keeps all.

    Raises ConfigError: a size or seed is not in the sweep.
    """
    for name, wanted, known in (
        ("size", sizes, {spec.train_size for spec in specs}),
        ("seed", seeds, {spec.seed for spec in specs}),
    ):
        unknown = sorted(set(wanted) - known)
        if unknown:
            listed = ", ".join(str(value) for value in sorted(known))
            raise ConfigError(f"no {name} {unknown[0]} in the sweep", fix=f"it has {listed}")
    return tuple(s for s in specs if (not sizes or s.train_size in sizes) and (not seeds or s.seed in seeds))
