"""Architecture search: a seeded sample of recipes, and the rungs that the good ones climb.

Successive halving (Jamieson and Talwalkar 2016; Li et al. 2018): all candidates train for a part of the
budget, a share of them goes on with more, from scratch, until the last train in full.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from math import inf, prod
from random import Random
from types import MappingProxyType
from typing import Any

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.keys import rows
from tui_datasize.experiments.recipe import Recipe, near_key, read_recipe_with, read_recipes, recipe_keys
from tui_datasize.experiments.spec import Budget, RunSpec
from tui_datasize.experiments.toml import Problems, TomlTable, is_number, is_whole, refuse_more
from tui_datasize.text import plural

SEARCH = "search"
"""Key of `spec.json` with where a run stands in a search."""
MOST_CANDIDATES = 1_000
DEFAULT = "default"
"""What is told of a run of the recipe as it stands where nothing is searched."""
LEVER = "lever"
"""What is told of a run of a lever that is a candidate, too."""
_OWN = ("count", "seed", "halving", DEFAULT)
_TRIES = 100
"""Draws for each candidate before too few are found; with all of n combinations wanted it takes ln n."""
_DIGITS = 3
"""Of a number that is drawn: names of variants are read by people."""
_BY_THE_SAME = "candidates are chosen by the same images and labels"
_ALIKE: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("validation", "subset", "classes", "tests", "imbalance", "label_noise"), _BY_THE_SAME)
    | dict.fromkeys(("split", "split_seed", "on_bad_image", "most_megapixels"), _BY_THE_SAME)
    | {"task": "all learn the same", "transfer": "all begin alike"}
)
"""Keys that no search is over, and why."""
_PULLED = ("imbalance", "label_noise", "transfer")
"""Of them those that may be levers beside one."""


@dataclass(frozen=True, slots=True)
class Search:
    """What an experiment searches."""

    candidates: tuple[Recipe, ...]
    """In the order in which they were drawn, each with the whole budget."""
    defaults: tuple[Recipe, ...]
    """Where nothing is searched: one, or one for each combination of swept values."""
    levers: tuple[Recipe, ...] = ()
    """Recipes that stand beside the search; they are none of its candidates unless they equal one."""
    parts: tuple[float, ...] = (1.0,)
    """Of the budget, which the runs of each rung have; the last is 1."""
    kept: tuple[int, ...] = ()
    """How many candidates each rung has; of a search without halving all of them."""

    @property
    def halves(self) -> bool:
        return len(self.parts) > 1

    def recipe(self, candidate: int, rung: int) -> Recipe:
        """How a candidate trains on a rung: with a part of the budget, its schedule over that part."""
        whole = self.candidates[candidate]
        return replace(whole, spec=replace(whole.spec, budget=part_of(whole.spec.budget, self.parts[rung])))

    def on_rung(self, rung: int) -> tuple[Recipe, ...]:
        return tuple(self.recipe(candidate, rung) for candidate in range(len(self.candidates)))

    @property
    def later(self) -> tuple[Recipe, ...]:
        """How candidates train on all rungs but the first, to which few of them come."""
        return tuple(recipe for rung in range(1, len(self.parts)) for recipe in self.on_rung(rung))

    @property
    def n_promoted(self) -> int:
        """How many candidates go on, over all rungs, unless too few succeed."""
        return sum(self.kept[1:])


@dataclass(frozen=True, slots=True)
class Rung:
    """Where a run of a search stands, as is kept with it in the queue."""

    search: str
    """Digest of the search at the run's train size; empty for the default recipe, which takes no part."""
    number: int = 0
    candidate: int = 0
    chosen: tuple[int, ...] = ()
    """The candidates of the rung; empty on the first, which has all."""
    cells: int = 1
    """Runs of a candidate at the train size: its seeds times the subset draws."""
    kept: tuple[int, ...] = ()
    """How many candidates each rung has."""
    amounts: tuple[float, ...] = ()
    """The budget of each rung, in the unit of the run's."""
    defaults: tuple[str, ...] = ()
    """Ids of the default's runs of the same size, seed and draw."""
    shared: tuple[str, ...] = ()
    """Of those that train a candidate in full, and are the default's or a lever's."""

    @property
    def told(self) -> str:
        """Such as `1 of 3`, or `default`."""
        return f"{self.number + 1} of {len(self.amounts)}" if self.search else DEFAULT

    @property
    def climbs(self) -> bool:
        """Whether there is a rung above or below it."""
        return bool(self.search) and len(self.amounts) > 1

    @property
    def is_last(self) -> bool:
        return self.number + 1 >= len(self.amounts)

    @property
    def n_runs(self) -> int:
        """How many runs the rung has."""
        return self.cells * self.n_candidates

    @property
    def n_candidates(self) -> int:
        """How many candidates the rung has; fewer than were to go on where too few succeeded."""
        return len(self.chosen) or self.kept[self.number]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Rung:
        """Read one; raises KeyError, TypeError, ValueError: it is damaged."""
        chosen, kept, amounts = (tuple(data[name]) for name in ("chosen", "kept", "amounts"))
        number, candidate, cells = (int(data[name]) for name in ("number", "candidate", "cells"))
        # They came later.
        defaults, shared = (tuple(data.get(name, ())) for name in ("defaults", "shared"))
        return cls(str(data["search"]), number, candidate, chosen, cells, kept, amounts, defaults, shared)


def part_of(budget: Budget, part: float) -> Budget:
    """A share of a budget, at least one update or sample; epochs to six digits.

    >>> part_of(Budget("updates", 1000), 0.25), part_of(Budget("epochs", 3), 1 / 3)
    (Budget(unit='updates', amount=250), Budget(unit='epochs', amount=1.0))
    """
    if part == 1:
        return budget
    amount = budget.amount * part
    return replace(
        budget, amount=float(f"{amount:.6g}") if budget.unit == "epochs" else max(1, round(amount))
    )


def rungs(count: int, keep: float, start: float) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Parts of the budget and numbers of candidates; whoever is left alone trains in full.

    >>> rungs(20, 0.5, 0.25), rungs(2, 0.5, 0.1)
    (((0.25, 0.5, 1.0), (20, 10, 5)), ((0.1, 1.0), (2, 1)))
    """
    if count == 1:
        return (1.0,), (1,)
    parts, kept = [start], [count]
    # Rounded first: 0.1 / 0.5 / 0.5 may be a little less than what it is.
    while kept[-1] > 1 and (part := round(parts[-1] / keep, 9)) < 1:
        kept.append(max(1, int(round(kept[-1] * keep, 9))))
        parts.append(part if kept[-1] > 1 else 1.0)
    if parts[-1] < 1:
        kept.append(max(1, int(round(kept[-1] * keep, 9))))
        parts.append(1.0)
    return tuple(parts), tuple(kept)


def read_search(table: TomlTable, search: TomlTable) -> tuple[tuple[Recipe, ...], Search]:
    """The recipes where nothing is searched, those of levers among them, and what is.

    Raises ConfigError: a table that does not go with it, a key or a range that is wrong.
    """
    base = {key: table.take(key) for key in ("subset", *sorted(recipe_keys())) if table.has(key)}
    sweep, levers = table.table("sweep"), table.table("levers")
    _refuse_beside(search, base)
    problems = Problems()
    count = problems.of(lambda: search.integer("count", least=1, most=MOST_CANDIDATES), 1)
    seed = problems.of(lambda: search.integer("seed", 0), 0)
    ranges = problems.of(lambda: _read_ranges(search, base), {})
    default = problems.of(lambda: _read_default(search, ranges, sweep), {})
    halving = problems.of(lambda: _read_halving(search, [*ranges, *levers.take_all()]), None)
    problems.raise_all()
    _refuse_swept_alone(sweep, ranges)
    _refuse_no_default({*base, *sweep.take_all(), *default}, ranges, search)
    defaults = read_recipes(table, sweep, default=default)
    beside = read_recipes(table, sweep, levers, default)
    for key, one in ranges.items():
        for end in one.ends:
            with problems.part():
                _read_end(table, base, default | {key: end}, search, key)
    problems.raise_all()
    candidates = _sample(ranges, count, seed, search, partial(read_recipe_with, table, base))
    parts, kept = rungs(count, *halving) if halving else ((1.0,), (count,))
    if len(parts) > 1:
        _check_schedule(defaults[0], search.where("halving"))
        _refuse_equal_rungs(defaults[0].spec.budget, parts, search.where("halving"))
    pulled = tuple(recipe for recipe in beside if recipe not in defaults)
    return beside, Search(candidates, defaults, pulled, parts, kept)


def _read_ranges(search: TomlTable, base: Mapping[str, Any]) -> dict[str, _Range]:
    problems, ranges = Problems(), {}
    for key in sorted(search.take_all().keys() - {*_OWN}):
        with problems.part():
            _check_key(search, key, base)
            ranges[key] = _Range.read(search, key)
    problems.raise_all()
    if not ranges:
        fix = 'give "model.width" = { low = 8, high = 64, integer = true }'
        raise ConfigError("nothing is searched", where=search.where(), fix=fix)
    return ranges


def _read_default(search: TomlTable, searched: Collection[str], sweep: TomlTable) -> dict[str, Any]:
    default = search.table(DEFAULT).take_all()
    if searched and (unknown := sorted(default.keys() - {*searched})):
        meant = next((key for key in sorted(searched) if key.endswith(f".{unknown[0]}")), "")
        fix = f"did you mean {meant!r}?" if meant else "give it in the experiment"
        what = f"{unknown[0]} is not searched"
        raise ConfigError(what, where=search.where(DEFAULT), fix=fix)
    if twice := sorted(default.keys() & sweep.take_all().keys()):
        what, fix = f"{twice[0]} is swept: the default has these values", "leave it out here or there"
        raise ConfigError(what, where=search.where(DEFAULT), fix=fix)
    return default


def _refuse_swept_alone(sweep: TomlTable, searched: Collection[str]) -> None:
    """No candidate would have one of the swept values rather than another."""
    for key in sorted(sweep.take_all().keys() - {*searched}):
        is_alike = key.partition(".")[0] in _ALIKE
        raise ConfigError(
            f"{key} is swept beside a search that is not over it",
            where=sweep.where(key),
            fix="make it a lever" if is_alike else "search it, too, or make it a lever",
        )


def _refuse_no_default(given: Collection[str], searched: Collection[str], search: TomlTable) -> None:
    """What every recipe must say, and the one that the search is compared with does not."""
    needed = {row.name for row in rows(RunSpec) if row.default is MISSING}
    there, asked = ({key.partition(".")[0] for key in keys} for keys in (given, searched))
    for key in sorted((needed & asked) - there):
        raise ConfigError(
            f"{key} is searched, and nothing says which one the search is compared with",
            where=search.where(DEFAULT),
            fix=f"give it there: {DEFAULT} = {{ {key} = ... }}",
        )


def _refuse_beside(search: TomlTable, base: Mapping[str, Any]) -> None:
    if isinstance(base.get("subset"), Mapping) and "path" in base["subset"]:
        raise ConfigError(
            "a path and a search exclude each other", where=search.where(), fix="leave subset.path out"
        )
    if not base.get("validation"):
        raise ConfigError(
            "a search chooses by images held out", where=search.where(), fix="give validation = 0.2"
        )


def _check_key(search: TomlTable, key: str, base: Mapping[str, Any]) -> None:
    first, *rest = key.split(".")
    if first not in recipe_keys() and first != "subset":
        fix = near_key(key, recipe_keys() - _ALIKE.keys())
        raise ConfigError(f"cannot search {key!r}", where=search.where(), fix=fix)
    if first in _ALIKE:
        raise ConfigError(
            f"cannot search {key!r}: {_ALIKE[first]}",
            where=search.where(),
            fix="give it in the experiment" + (" or as a lever" if first in _PULLED else ""),
        )
    given: Any = base
    for part in (first, *rest):
        if not isinstance(given, Mapping) or part not in given:
            return
        given = given[part]
    raise ConfigError(
        f"{key} is given in the experiment too",
        where=search.where(key),
        fix=f"leave it out there; {DEFAULT} of the search names what the search is compared with",
    )


@dataclass(frozen=True, slots=True)
class _Range:
    """Where the values of a key are drawn from."""

    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    is_log: bool = False
    is_whole: bool = False

    @classmethod
    def read(cls, search: TomlTable, key: str) -> _Range:
        """Read one; raises ConfigError: it is wrong."""
        _check_form(search, key)
        table = search.table(key)
        if table.has("choices"):
            given = table.take("choices")
            table.finish()
            if not isinstance(given, list) or not given:
                raise table.error("choices", "a list of values")
            if len({_shown(value) for value in given}) < len(given):
                raise ConfigError("a value is listed twice", where=table.where("choices"))
            return cls(tuple(given))
        is_log, whole = table.boolean("log", default=False), table.boolean("integer", default=False)
        for end in ("low", "high"):
            if not is_number(table.take(end)):
                raise table.error(end, "a number")
        low, high = table.take("low"), table.take("high")
        table.finish()
        if not low < high:
            raise ConfigError(f"low is {low:g}, which is not below {high:g}", where=table.where("high"))
        if is_log and low <= 0:
            raise ConfigError(f"log = true needs a low above 0, got {low:g}", where=table.where("low"))
        if whole and not (is_whole(low) and is_whole(high)):
            end = "high" if is_whole(low) else "low"
            raise table.error(end, "a whole number, since integer = true")
        return cls((), low, high, is_log, whole)

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that must be right for all to be."""
        low, high = (int(end) if self.is_whole else float(end) for end in (self.low, self.high))
        return self.choices or (low, high)

    @property
    def n_values(self) -> float:
        return len(self.choices) or (self.high - self.low + 1 if self.is_whole else inf)

    def draw(self, share: float) -> Any:
        """The value at a share in [0, 1) of the range."""
        if self.choices:
            return self.choices[int(share * len(self.choices))]
        top = self.high + 1 if self.is_whole else self.high
        at = self.low * (top / self.low) ** share if self.is_log else self.low + (top - self.low) * share
        if self.is_whole:
            return min(int(at), int(self.high))
        return min(max(float(f"{at:.{_DIGITS}g}"), float(self.low)), float(self.high))


def _check_form(search: TomlTable, key: str) -> None:
    given, ends = search.take(key), "{ low = ..., high = ... }"
    if not isinstance(given, Mapping):
        raise search.error(key, f"{ends} or {{ choices = [...] }}")
    if inner := next((name for name, value in given.items() if isinstance(value, Mapping)), ""):
        fix = f'write a key with a dot in quotes: "{key}.{inner}" = {ends}'
        raise ConfigError(f"expected {ends}, got a table of tables", where=search.where(key), fix=fix)


def _read_halving(search: TomlTable, keys: Sequence[str]) -> tuple[float, float] | None:
    if not search.has("halving"):
        return None
    if not isinstance(search.take("halving"), Mapping):
        raise search.error("halving", "{ keep = 0.5, from = 0.25 }, or other shares")
    halving = search.table("halving")
    keep = halving.number("keep", 0.5, above=0, below=1)
    start = halving.number("from", 0.25, above=0, below=1)
    halving.finish()
    if any(key.partition(".")[0] == "budget" for key in keys):
        what, fix = "halving has budgets of its own", "neither search the budget nor make it a lever"
        raise ConfigError(what, where=halving.where(), fix=fix)
    return keep, start


def _check_schedule(default: Recipe, where: str) -> None:
    schedule = default.spec.schedule
    if schedule.unit == "updates" and (schedule.warmup or schedule.name in ("step", "multistep")):
        raise ConfigError(
            "halving trains for parts of the budget, and the schedule counts updates",
            where=where,
            fix="give its lengths as shares of the budget",
        )


def _refuse_equal_rungs(budget: Budget, parts: Sequence[float], where: str) -> None:
    """Two rungs with one budget would be the same runs."""
    amounts = [part_of(budget, part).amount for part in parts]
    for number, (amount, above) in enumerate(pairwise(amounts), start=1):
        if amount == above:
            both = plural(int(amount), budget.unit.removesuffix("s"))
            what = f"rungs {number} and {number + 1} both have {both}"
            fix = "give a larger from or a smaller keep"
            raise ConfigError(what, where=where, fix=fix)


def _read_end(
    table: TomlTable, base: Mapping[str, Any], values: Mapping[str, Any], search: TomlTable, key: str
) -> None:
    """See that the end of a range is a value that its key may have."""
    try:
        read_recipe_with(table, base, values)
    except ConfigError as error:
        what, fix, end = error.what, error.fix, values[key]
        if isinstance(end, float) and end.is_integer() and not search.table(key).has("choices"):
            with suppress(ConfigError):
                read_recipe_with(table, base, {**values, key: int(end)})
                # The same of both ends is told once.
                what, fix = "expected whole numbers", "give integer = true"
        raise ConfigError(what, where=search.where(key), fix=fix) from None


def _sample(
    ranges: Mapping[str, _Range],
    count: int,
    seed: int,
    search: TomlTable,
    read: Callable[[Mapping[str, Any]], Recipe],
) -> tuple[Recipe, ...]:
    """Distinct recipes, of which more begin with the same; values may be written in several ways."""
    most = prod(one.n_values for one in ranges.values())
    problems, found, seen = Problems(), dict[Recipe, None](), set[str]()
    for values in _draws(ranges, seed, _TRIES * count if most >= count else 0):
        if (shown := _shown(values)) not in seen:
            seen.add(shown)
            with problems.part():
                found[read(values)] = None
        if len(found) + len(problems.errors) >= count:
            problems.raise_all()
            return tuple(found)
    problems.raise_all()
    there = int(most) if most < count else len(found)
    raise ConfigError(
        f"{count:,} candidates, and there {'is' if there == 1 else 'are'} {plural(there, 'combination')}",
        where=search.where("count"),
        fix="ask for fewer, or give wider ranges",
    )


def _draws(ranges: Mapping[str, _Range], seed: int, most: int) -> Iterator[Mapping[str, Any]]:
    # Of all that a generator does, Python promises the same numbers in every version of `random()` alone.
    generator = Random(seed)
    for _ in range(most):
        yield {key: one.draw(generator.random()) for key, one in ranges.items()}


def _shown(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def read_recipes_of(table: TomlTable, most: int) -> tuple[tuple[Recipe, ...], Search | None]:
    """The recipes of an experiment whose runs are queued at first, and the search that is among them.

    Raises ConfigError: as of `read_recipes` and `read_search`, or there are more than so many.
    """
    sweep, levers = table.table("sweep"), table.table("levers")
    combinations = prod(_lengths(sweep)) * (1 + sum(_lengths(levers)))
    refuse_more(combinations, most, "combination", sweep.where(), "of swept values")
    if not table.has("search"):
        return read_recipes(table, sweep, levers), None
    searched = table.table("search")
    beside, search = read_search(table, searched)
    if search.halves and len(beside) == 1 and table.has("also"):
        raise ConfigError(
            "also and halving exclude each other",
            where=table.where("also"),
            fix="give all sizes and seeds in the experiment",
        )
    recipes = beside + tuple(dict.fromkeys(one for one in search.on_rung(0) if one not in beside))
    refuse_more(len(recipes), most, "combination", searched.where())
    return recipes, search


def _lengths(lists: TomlTable) -> Iterator[int]:
    """What is no list counts once."""
    return (len(one) if isinstance(one, list) else 1 for one in lists.take_all().values())
