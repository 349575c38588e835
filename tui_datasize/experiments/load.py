"""Reading `experiments.toml`: a project's experiments, checked key by key.

What is wrong is a `ConfigError` that names the file, the key path and what was expected.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

from tui_datasize.errors import ConfigError, DataError
from tui_datasize.experiments.catalogue import IMAGE_FOLDER, refuse_unknown
from tui_datasize.experiments.cluster_settings import ClusterSettings, Place
from tui_datasize.experiments.costs import NO_COSTS, Costs, read_costs
from tui_datasize.experiments.device_settings import DeviceSettings, read_device_settings
from tui_datasize.experiments.images.named import named_images
from tui_datasize.experiments.images.reading import FIRST_RULES, NEWEST_RULES, ImageReading
from tui_datasize.experiments.project_tables import (
    Keep,
    read_cluster,
    read_data_dir,
    read_keep,
    read_shared,
)
from tui_datasize.experiments.recipe import Recipe, recipe_keys
from tui_datasize.experiments.search import Search, read_recipes_of
from tui_datasize.experiments.spec import CHOSEN, NAME_PATTERN, UNSEEN, Strategy
from tui_datasize.experiments.toml import (
    MOST_WHOLE,
    Problems,
    TomlTable,
    is_whole,
    nearest,
    read_toml,
    refuse_more,
)
from tui_datasize.experiments.variants import variant_labels, variant_named

LONGEST_NAME = 100
MOST_EXPERIMENTS = 1_000
MOST_RECIPES = 5_000
"""Combinations of swept values, of all experiments together."""
MOST_RUNS = 50_000
"""Of one experiment."""
MOST_RUNS_OF_PROJECT = 200_000

SizeUnit: TypeAlias = Literal["sizes", "fractions", "per_class"]
Order: TypeAlias = Literal["curve-first", "by-size", "by-seed"]
ORDER_WORDS: Mapping[Order, str] = MappingProxyType(
    {
        "curve-first": "every size once, then again",
        "by-size": "all of a size, then the next",
        "by-seed": "all of a seed, then the next",
    }
)
"""What each order means, in a few words."""
PLACES: tuple[Place, ...] = get_args(Place)
SIZE_UNITS: tuple[SizeUnit, ...] = get_args(SizeUnit)
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


@dataclass(frozen=True, slots=True)
class Experiment:
    """A named table of `experiments.toml`: data set, recipes and the lists to sweep."""

    name: str
    title: str
    dataset: str
    size_unit: SizeUnit
    size_values: tuple[float, ...]
    """Images, fractions of the training set, or images per class, as `size_unit` says."""
    strategy: Strategy
    nested: bool
    subset_seeds: tuple[int, ...]
    seeds: tuple[int, ...]
    recipes: tuple[Recipe, ...]
    """One per combination of the swept recipe keys; one alone where nothing is swept."""
    order: Order
    where: str
    groups: str = ""
    """Path of a table that puts test images into groups, from the project's directory; may be empty."""
    image_rules: int = NEWEST_RULES
    """Version of the rules by which image folders are listed and decoded."""
    on: Place = "local"
    """Where its runs are made, unless whoever queues them says otherwise."""
    also: tuple[Experiment, ...] = ()
    """The same with other sizes, in images, seeds and draws, or of one recipe: runs beside the product."""
    search: Search | None = None
    """What is searched; its default's recipes and its levers are then the first of the recipes."""

    def reading(self, recipe: Recipe) -> ImageReading:
        """How image folders are read for a recipe; of runs that see none the id is as ever."""
        images = recipe.spec.images
        return replace(images, rules=self.image_rules) if self._sees_image_files(recipe) else images

    @property
    def rules(self) -> Mapping[str, int]:
        """By its name the version of the rules for image files; none where it sees none."""
        return {self.name: self.image_rules} if any(map(self._sees_image_files, self.recipes)) else {}

    def _sees_image_files(self, recipe: Recipe) -> bool:
        named = named_images(recipe.spec, self.dataset)
        return any(images.name.startswith(IMAGE_FOLDER) for images in named)

    @property
    def full_recipes(self) -> tuple[Recipe, ...]:
        """Without those of a rung, on which candidates are compared with each other alone."""
        cut = self.search.on_rung(0) if self.search and self.search.halves else ()
        return tuple(recipe for recipe in self.recipes if recipe not in cut)

    @property
    def all_recipes(self) -> tuple[Recipe, ...]:
        """With those of a search to which candidates are promoted."""
        return tuple(dict.fromkeys((*self.recipes, *(self.search.later if self.search else ()))))

    @property
    def n_runs(self) -> int:
        """How many runs there are: the product of its lists, what `also` adds, and who is promoted."""
        draws = len(self.seeds) * len(self.subset_seeds)
        promoted = self.search.n_promoted if self.search else 0
        product = (len(self.recipes) + promoted) * len(self.size_values) * draws
        if not self.also:
            return product
        sizes = self.size_values if self.size_unit == "sizes" else ()
        lists: Sequence[Collection[float]] = set(sizes), set(self.seeds), set(self.subset_seeds)
        further = {
            (id(recipe), *cell)
            for part in self.also
            for recipe in part.recipes
            for cell in itertools.product(part.size_values, part.seeds, part.subset_seeds)
            if not all(value in own for value, own in zip(cell, lists, strict=True))
        }
        return product + len(further)


@dataclass(frozen=True, slots=True)
class Project:
    """All experiments of a project, in file order, and where its images lie."""

    file: Path
    experiments: Mapping[str, Experiment]
    data_dir: Path
    devices: DeviceSettings = field(default_factory=DeviceSettings)
    notify: str = ""
    """Shell command that the scheduler runs when an experiment ends or a job fails; may be empty."""
    names: Sequence[str] = ()
    """Of all experiments of the file, those that cannot be read included."""
    keep: Keep = "none"
    """`[checkpoints] keep`: what freeing the disk leaves of runs that succeeded."""
    costs: Costs = NO_COSTS
    cluster: ClusterSettings | None = None

    def experiment(self, name: str) -> Experiment:
        """Look an experiment up by its name; raises ConfigError: there is none of that name."""
        if name not in self.experiments:
            hint = nearest(name, set(self.experiments)) if self.experiments else "the file holds none"
            raise ConfigError(f"no experiment {name!r}", where=str(self.file), fix=hint)
        return self.experiments[name]


def load_project(file: Path, environment: Mapping[str, str] = os.environ) -> Project:
    """Read and check `experiments.toml`; `DATASIZE_DATA` of the environment wins over `[paths] data`."""
    project, errors = read_project(file, environment)
    if errors:
        raise errors[0]
    return project


def read_project(
    file: Path, environment: Mapping[str, str] = os.environ
) -> tuple[Project, Sequence[ConfigError]]:
    """Read what is right of `experiments.toml`, and tell everything that is wrong."""
    document = TomlTable(read_toml(file, fix="name the project directory with --project DIR"), str(file))
    problems = Problems()
    project = Project(
        file=file,
        data_dir=problems.of(
            lambda: read_data_dir(document.table("paths"), file.parent, environment), file.parent
        ),
        devices=problems.of(lambda: read_device_settings(document.table("devices")), DeviceSettings()),
        notify=problems.of(lambda: document.text("notify", ""), ""),
        keep=problems.of(lambda: read_keep(document.table("checkpoints")), "none"),
        costs=problems.of(lambda: read_costs(document.table("costs")), NO_COSTS),
        cluster=problems.of(lambda: read_cluster(document), None),
        experiments=MappingProxyType(_read_experiments(document, problems)),
        names=tuple(named) if isinstance(named := document.take("experiments"), Mapping) else (),
    )
    with problems.part():
        read_shared(document.table("project"))
    with problems.part():
        document.finish()
    return project, problems.errors


def _read_experiments(document: TomlTable, problems: Problems) -> dict[str, Experiment]:
    """Those that are right; what is wrong with the others is added to the problems."""
    experiments: dict[str, Experiment] = {}
    tables = problems.of(lambda: document.table("experiments").tables(), [])
    recipes = runs = 0
    with problems.part():
        refuse_more(len(tables), MOST_EXPERIMENTS, "experiment", document.where("experiments"))
        for name, table in tables:
            with problems.part():
                _check_name(name, experiments, table)
                experiment = _read_experiment(name, table, MOST_RECIPES - recipes)
                recipes += len(experiment.recipes)
                runs += experiment.n_runs
                refuse_more(
                    runs, MOST_RUNS_OF_PROJECT, "run", table.where(), "in the experiments up to this one"
                )
                experiments[name] = experiment
    return experiments


def _check_name(name: str, known: Mapping[str, Experiment], table: TomlTable) -> None:
    if not NAME_PATTERN.fullmatch(name) or len(name) > LONGEST_NAME:
        raise ConfigError(
            f"{name!r} is not a name",
            where=table.where(),
            fix=f"use up to {LONGEST_NAME} letters, digits, dots, dashes and underscores, "
            "beginning with a letter or digit",
        )
    # Names become directories, and some file systems know one case only.
    twin = next((other for other in known if other.lower() == name.lower()), None)
    if twin:
        raise ConfigError(f"{name!r} and {twin!r} are one name", where=table.where(), fix="rename one")


EXPERIMENT_KEYS = frozenset(
    {"title", "dataset", *SIZE_UNITS, "subset", "seeds", "sweep", "levers", "search", "order", "also"}
    | {"groups"}
    | {"image_rules", "on"}
)
"""Of an experiment's table what is no key of the recipe."""


def read_experiment(name: str, values: Mapping[str, Any]) -> Experiment:
    """Read an experiment from its table; raises ConfigError: it is wrong, `where` being a key of that."""
    table = TomlTable(values, "")
    _check_name(name, {}, table.nested("name", {}))
    return _read_experiment(name, table, MOST_RECIPES)


def _read_experiment(name: str, table: TomlTable, most_recipes: int) -> Experiment:
    problems = Problems()
    with problems.part():
        # A misspelt key first: "sises" is the mistake, not that there are no sizes.
        table.refuse_unknown(EXPERIMENT_KEYS | recipe_keys())
    size_unit, size_values = problems.of(lambda: _read_sizes(table), ("sizes", ()))
    strategy, nested, subset_seeds = problems.of(
        lambda: _read_subset(table.table("subset"), size_unit), ("stratified", True, ())
    )
    seeds, recipes = problems.of(lambda: _read_seeds(table), ()), tuple[Recipe, ...]()
    search: Search | None = None
    with problems.part():
        recipes, search = read_recipes_of(table, most_recipes)
        n_recipes = len(recipes) + (search.n_promoted if search else 0)
        runs = n_recipes * len(size_values) * len(seeds) * len(subset_seeds)
        refuse_more(runs, MOST_RUNS, "run", table.where())
        _check_on_path(table, recipes[0].spec.subset.path, size_unit, size_values)
        strategy = _drawn_by_labels_or_not(table, recipes, strategy, size_unit)
    experiment = Experiment(
        *(name, problems.of(lambda: table.text("title", name), name)),
        dataset=problems.of(lambda: table.text("dataset"), ""),
        size_unit=size_unit,
        size_values=size_values,
        strategy=strategy,
        nested=nested,
        subset_seeds=subset_seeds,
        seeds=seeds,
        recipes=recipes,
        order=problems.of(lambda: table.choice("order", tuple(ORDER_WORDS), "curve-first"), "curve-first"),
        where=table.where(),
        groups=problems.of(lambda: table.text("groups", ""), ""),
        image_rules=problems.of(lambda: _read_image_rules(table), NEWEST_RULES),
        on=problems.of(lambda: table.choice("on", PLACES, "local"), "local"),
        search=search,
    )
    also = problems.of(lambda: _read_also(table, experiment), ())
    with problems.part():
        _refuse_unknown_dataset(table, experiment.dataset, is_only_mistake=not problems.errors)
    problems.raise_all()
    return replace(experiment, also=also)


def _read_image_rules(table: TomlTable) -> int:
    return table.integer("image_rules", NEWEST_RULES, least=FIRST_RULES, most=NEWEST_RULES)


def _refuse_unknown_dataset(table: TomlTable, name: str, *, is_only_mistake: bool) -> None:
    # Where all else is right it is told when the runs are planned, and one that is not text was told already.
    if name and not is_only_mistake:
        try:
            refuse_unknown(name)
        except DataError as error:
            raise ConfigError(error.what, where=table.where("dataset"), fix=error.fix) from None


def _read_also(table: TomlTable, experiment: Experiment) -> tuple[Experiment, ...]:
    """`[[experiments.NAME.also]]`: runs beside the product of the lists."""
    given = table.take("also", [])
    if not isinstance(given, list):
        raise table.error("also", "tables, [[experiments.NAME.also]], with sizes, seeds and draws")
    found = []
    for place, values in enumerate(given, 1):
        part = table.nested(f"also {place}", values)
        sizes, recipes = tuple(part.numbers("sizes", whole=True)), experiment.full_recipes
        seeds = _read_seeds(part) if part.has("seeds") else experiment.seeds
        draws = _read_seeds(part, "draws") if part.has("draws") else experiment.subset_seeds
        if experiment.strategy == "first" and part.has("draws"):
            raise ConfigError("every draw of strategy first is the same", where=part.where("draws"))
        if part.has("variant"):
            labels = variant_labels([recipe.spec for recipe in experiment.recipes])
            named = {labels[recipe.spec.run_id]: recipe for recipe in recipes}
            if (meant := variant_named(asked := str(values["variant"]), named)) in named:
                named[asked] = named[meant]
            recipes = (named[part.choice("variant", list(named))],)
        if any(recipe.spec.subset.strategy in CHOSEN for recipe in recipes):
            _check_on_path(part, recipes[0].spec.subset.path, "sizes", sizes)
        refuse_more(len(sizes) * len(seeds) * len(draws) * len(recipes), MOST_RUNS, "run", part.where())
        part.finish()
        own = replace(experiment, size_unit="sizes", size_values=sizes, where=part.where())
        found.append(replace(own, seeds=seeds, subset_seeds=draws, recipes=recipes))
    return tuple(found)


def _read_sizes(table: TomlTable) -> tuple[SizeUnit, tuple[float, ...]]:
    given = [unit for unit in SIZE_UNITS if table.has(unit)]
    if len(given) != 1:
        raise ConfigError(
            f"expected exactly one of sizes, fractions, per_class, got {', '.join(given) or 'none'}",
            where=table.where(),
        )
    (unit,) = given
    if unit == "fractions":
        return unit, tuple(table.numbers(unit, whole=False, at_most=1))
    return unit, tuple(table.numbers(unit, whole=True))


def _check_on_path(
    table: TomlTable, path: Sequence[int], size_unit: SizeUnit, sizes: Sequence[float]
) -> None:
    if path and size_unit != "sizes":
        raise ConfigError(
            f"{size_unit} and a path exclude each other", where=table.where(size_unit), fix="give sizes"
        )
    if off := next((size for size in sizes if path and size not in path), None):
        steps = ", ".join(map(str, path))
        raise ConfigError(f"{off} images are no point of the path", where=table.where("sizes"), fix=steps)


def _read_subset(table: TomlTable, size_unit: SizeUnit) -> tuple[Strategy, bool, tuple[int, ...]]:
    has_path = table.has("path")
    default: Strategy = "random" if has_path else "balanced" if size_unit == "per_class" else "stratified"
    # Along a path each recipe reads it.
    strategy = table.take("strategy", default) if has_path else table.choice("strategy", STRATEGIES, default)
    if size_unit == "per_class" and strategy not in ("balanced", *CHOSEN) and not has_path:
        raise table.error("strategy", "balanced, since the sizes are given per class")
    nested = table.boolean("nested", True)
    # Each recipe reads it.
    table.take("features")
    seeds = _read_seeds(table)
    if strategy == "first" and len(seeds) > 1:
        raise ConfigError("every draw of strategy first is the same", where=table.where("seeds"))
    table.finish()
    return strategy, nested, seeds


def _drawn_by_labels_or_not(
    table: TomlTable, recipes: Sequence[Recipe], strategy: Strategy, size_unit: SizeUnit
) -> Strategy:
    """The strategy, which of runs without labels is random unless the file says otherwise.

    Raises ConfigError: it draws by labels that are not looked at, or runs of two tasks would be one curve.
    """
    tasks = list(dict.fromkeys(recipe.spec.task.name for recipe in recipes))
    if len(tasks) > 1:
        raise ConfigError(
            f"runs of {' and '.join(tasks)} have no curve in common",
            where=table.where("sweep.task"),
            fix="make each task an experiment of its own",
        )
    if recipes[0].spec.task.has_labels:
        return strategy
    if size_unit == "per_class":
        raise ConfigError(
            f"images per class and task = {tasks[0]} exclude each other: no label is looked at",
            where=table.where("per_class"),
            fix="give sizes or fractions",
        )
    if not table.table("subset").has("strategy"):
        return "random"
    if strategy not in UNSEEN:
        raise ConfigError(
            f"strategy {strategy} and task = {tasks[0]} exclude each other: it draws by labels",
            where=table.where("subset.strategy"),
            fix="leave it out: images are drawn at random",
        )
    return strategy


def _read_seeds(table: TomlTable, key: str = "seeds") -> tuple[int, ...]:
    """A list of distinct whole numbers, or `{ count, step, start }`."""
    value = table.take(key, [0])
    if not isinstance(value, Mapping):
        is_list = isinstance(value, list) and value
        if not is_list or not all(is_whole(seed) and 0 <= seed <= MOST_WHOLE for seed in value):
            raise table.error(key, "a list of whole numbers of at least 0, or { count = 10, step = 101 }")
        if len(set(value)) < len(value):
            raise table.error(key, "each seed once")
        return tuple(value)
    spread = table.table(key)
    count = spread.integer("count", least=1, most=MOST_RUNS)
    step, start = spread.integer("step", 1, least=1), spread.integer("start", 0)
    spread.finish()
    if start + step * (count - 1) > MOST_WHOLE:
        raise ConfigError("the last seed is 2^63 or more", where=spread.where(), fix="take a smaller step")
    return tuple(start + step * i for i in range(count))
