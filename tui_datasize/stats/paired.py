"""Two curves compared over the sizes that both have, by what their runs share: subset draws, then seeds.

They are those of two variants, or two sizes of one variant, each put at one place. What both have in common
is taken out by pairing: runs on one draw with one seed are compared with each other, and their differences
are averaged over sizes within (draw, seed). Then draws are counted: runs on one draw, and nested draws of
several sizes, are no independent evidence (Moulton 1990, *Review of Economics and Statistics* 72, 334; Donner
and Klar 2000, chapter 1). Seeds that come back on several draws and move the difference with p below
`SEEDS_COUNT` add their part by a quasi-t (Satterthwaite 1946), after Bancroft's rule for pooling (1964,
*Biometrics* 20, 427). With one draw the comparison is for this draw, and seeds count.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TypeAlias

import numpy as np
import polars as pl
from scipy.special import fdtrc

from tui_datasize.stats import pairwise
from tui_datasize.stats.clusters import Floats
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.pairwise import Difference, Unit

Cell: TypeAlias = tuple[int, int]
"""Draw and seed; what is unknown is 0."""
Curve: TypeAlias = Mapping[int, Mapping[Cell, Floats]]
"""Values by train size and cell; each repeat without a seed is a cell of its own."""

LEAST_DRAWS = 3
"""Two draws have one degree of freedom: an interval, and no power to test with."""
SEEDS_COUNT = 0.35
"""At 0.25 up to 8 % of true nulls are rejected: where seeds move the difference half as much as chance."""
_NEGLIGIBLE = 1e-12


def curve_of(values: pl.DataFrame) -> Curve:
    """The runs of one variant, rows of `curve.points`."""
    found: dict[int, dict[Cell, list[float]]] = defaultdict(lambda: defaultdict(list))
    columns = values.select("train_size", "subset_seed", "seed", "value")
    for repeat, (size, draw, seed, value) in enumerate(columns.iter_rows()):
        # Numbers of repeats are below those of seeds and meet no other's.
        found[size][(-1 if draw is None else draw, -2 - repeat if seed is None else seed)].append(value)
    return {size: {cell: np.array(own) for cell, own in cells.items()} for size, cells in found.items()}


def variant_curves(values: pl.DataFrame) -> Mapping[str, Curve]:
    """The runs of each variant of one experiment, rows of `curve.points`, in order of their names."""
    ordered = values.sort("variant", maintain_order=True).group_by("variant", maintain_order=True)
    return {str(variant): curve_of(curve) for (variant,), curve in ordered}


def compare(first: Curve, second: Curve, names: tuple[str, str]) -> Difference | FitFailure:
    """The mean difference `second` - `first` over the sizes that both have.

    Of one size with Hedges' g of the runs. With two draws, or where all values are equal, p is NaN.
    """
    sizes = sorted(first.keys() & second.keys())
    if not sizes:
        return FitFailure("needs a size at which both have two runs")
    if all(_is_same(first[size], second[size]) for size in sizes):
        unknown = (math.nan,) * 7
        return Difference(*names, 0.0, 0.0, 0.0, *unknown)
    compared = first, second, sizes, names
    found = _of_cells(*compared) or _of_draws(*compared) or _unpaired(*compared)
    a, b = _values(first, sizes[0]), _values(second, sizes[0])
    if isinstance(found, Difference) and len(sizes) == 1 and min(len(a), len(b)) > 1:
        g = pairwise.hedges_g(a, b)
        return replace(found, hedges_g=g[0], g_low=g[1], g_high=g[2])
    return found


def _is_same(first: Mapping[Cell, Floats], second: Mapping[Cell, Floats]) -> bool:
    """Whether all runs are equal, or all those of the side that has fewer to runs of the other."""
    fewer, more = sorted((first, second), key=len)
    if min(seed for _, seed in fewer) >= 0 and fewer.keys() <= more.keys():
        return all(np.array_equal(np.sort(own), np.sort(more[cell])) for cell, own in fewer.items())
    one, other = (np.sort(np.concatenate(list(cells.values()))) for cells in (first, second))
    return np.array_equal(one, other)


def _of_cells(
    first: Curve, second: Curve, sizes: Sequence[int], names: tuple[str, str]
) -> Difference | FitFailure | None:
    """By pairs of runs on one draw with one seed; None where some size has no two, or all differ alike."""
    differences = {
        size: {
            cell: fmean(second[size][cell]) - fmean(first[size][cell])
            for cell in first[size].keys() & second[size].keys()
            if cell[1] >= 0
        }
        for size in sizes
    }
    if min(map(len, differences.values())) < 2:
        return None
    if len(sizes) > 1 and all(len(of_size) == 1 for of_size in _by_cell(differences).values()):
        # No seed comes back at another size: these are independent.
        return _of_sizes(differences, names)
    return _of_table(differences, names)


def _of_draws(
    first: Curve, second: Curve, sizes: Sequence[int], names: tuple[str, str]
) -> Difference | FitFailure | None:
    differences = {}
    for size in sizes:
        of_first, of_second = draw_means(first[size]), draw_means(second[size])
        differences[size] = {
            (draw, 0): of_second[draw] - of_first[draw]
            for draw in of_first.keys() & of_second.keys()
            if draw >= 0
        }
    if min(map(len, differences.values())) < 2:
        return None
    shared = set.intersection(*(set(cells) for cells in differences.values()))
    sides = [_seeded(curve, sizes, shared) for curve in (first, second)]
    return _of_table(differences, names, combined(sides, (-1.0, 1.0)))


def _seeded(
    curve: Curve, sizes: Sequence[int], draws: Collection[Cell] | None = None
) -> Mapping[Cell, float]:
    """The mean over sizes of each cell, of some draws or all."""
    chosen = None if draws is None else {draw for draw, _ in draws}
    at = {
        size: {cell: fmean(own) for cell, own in curve[size].items() if chosen is None or cell[0] in chosen}
        for size in sizes
    }
    return {cell: fmean(of_size) for cell, of_size in _by_cell(at).items()}


def _of_table(
    differences: Mapping[int, Mapping[Cell, float]],
    names: tuple[str, str],
    seeded: Mapping[Cell, float] | None = None,
) -> Difference | None:
    overall = fmean(fmean(cells.values()) for cells in differences.values())
    means = {cell: fmean(of_size) for cell, of_size in _by_cell(differences).items()}
    return clustered(names, overall, means, seeded)


def clustered(
    names: tuple[str, str],
    value: float,
    means: Mapping[Cell, float],
    seeded: Mapping[Cell, float] | None = None,
) -> Difference | None:
    """A difference or contrast with the scatter of its clusters: of draws, with one draw of seeds.

    `value` is second minus first, `means` the same by cell, at least two; `seeded` is what seeds that come
    back are looked for in, else `means`. With two draws without p; None where nothing scatters.
    """
    draws = sorted({draw for draw, _ in means})
    unit: Unit = "seed" if len(draws) == 1 else "draw"
    if unit == "seed":
        units = np.array(list(means.values()))
        stderr, df = float(units.std(ddof=1)) / math.sqrt(len(units)), len(units) - 1.0
    else:
        stderr, df = _over_draws(means, means if seeded is None else seeded)
    if stderr <= _NEGLIGIBLE * max(1.0, abs(value)):
        return None
    n_units = len(means) if unit == "seed" else len(draws)
    found = replace(pairwise.difference(names, value, stderr, df), unit=unit, n_units=n_units, is_paired=True)
    found = replace(found, of_one_draw=unit == "seed" and draws[0] >= 0)
    return untested(found) if unit == "draw" and len(draws) < LEAST_DRAWS else found


def untested(found: Difference) -> Difference:
    """The same without p, for lack of power."""
    return replace(found, p=math.nan, p_adjusted=math.nan)


def _over_draws(means: Mapping[Cell, float], seeded: Mapping[Cell, float]) -> tuple[float, float]:
    """Standard error and degrees of freedom of the mean over draws; `seeded` is by draw and seed."""
    of_draw = list(draw_means({cell: np.array([value]) for cell, value in means.items()}).values())
    terms = [(float(np.var(of_draw, ddof=1)) / len(of_draw), float(len(of_draw) - 1))]
    if len(of_draw) >= LEAST_DRAWS and (of_seeds := seed_terms(seeded)):
        by_seed, (rest, _) = of_seeds
        # Draws that do less than nothing have no part of their own.
        terms = [by_seed] if terms[0][0] <= -rest else [*terms, *of_seeds]
    if not any(amount for amount, _ in terms):
        return 0.0, 1.0
    return pairwise.of_few_draws(*zip(*terms, strict=True))


def seed_terms(cells: Mapping[Cell, float]) -> list[tuple[float, float]]:
    """What seeds that come back on every draw add to the variance of the mean, each with its degrees."""
    draws = sorted({draw for draw, _ in cells})
    if len(draws) < 2:
        return []
    seeds = sorted(set.intersection(*({s for d, s in cells if d == draw} for draw in draws)))
    if len(seeds) < 2:
        return []
    table = np.array([[cells[draw, seed] for seed in seeds] for draw in draws])
    n_draws, n_seeds = table.shape
    centred = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    degrees = (n_draws - 1) * (n_seeds - 1)
    rest = float((centred**2).sum()) / degrees
    by_seed = n_draws * float(table.mean(axis=0).var(ddof=1))
    if not rest or by_seed <= rest or fdtrc(n_seeds - 1, degrees, by_seed / rest) >= SEEDS_COUNT:
        return []
    return [(by_seed / table.size, n_seeds - 1), (-rest / table.size, degrees)]


def _of_sizes(
    differences: Mapping[int, Mapping[Cell, float]], names: tuple[str, str]
) -> Difference | FitFailure | None:
    if len({draw for cells in differences.values() for draw, _ in cells}) > 1:
        return None
    found = [_of_table({size: cells}, names) for size, cells in differences.items()]
    known = [one for one in found if one is not None]
    of_all = pairwise.mean_difference(known) if len(known) == len(found) else None
    if of_all is None or isinstance(of_all, FitFailure):
        return of_all
    n_units = sum(map(len, differences.values()))
    return replace(of_all, unit="seed", n_units=n_units, is_paired=True, of_one_draw=known[0].of_one_draw)


def _unpaired(
    first: Curve, second: Curve, sizes: Sequence[int], names: tuple[str, str]
) -> Difference | FitFailure:
    """Of curves that share neither: by units of their own that come back at several sizes, else by runs."""
    draws = {draw for curve in (first, second) for size in sizes for draw, _ in curve[size]}
    by_draw = len(draws) > 1 and min(draws) >= 0
    of_one_draw = len(draws) == 1 and min(draws) >= 0
    sides = [_units(curve, sizes, by_draw=by_draw) for curve in (first, second)]
    of_first, of_second = sides
    if of_first is None or of_second is None:
        at_sizes = [pairwise.welch_t(_values(first, size), _values(second, size), names) for size in sizes]
        found = pairwise.mean_difference([one for one in at_sizes if isinstance(one, Difference)])
        return found if isinstance(found, FitFailure) else replace(found, of_one_draw=of_one_draw)
    fewest = min(len(of_first), len(of_second))
    if by_draw and fewest < 2:
        return FitFailure("needs two draws of each, as theirs differ")
    found = pairwise.welch_t(of_first, of_second, names)
    if isinstance(found, FitFailure):
        return found
    unit: Unit = "draw" if by_draw else "seed"
    n_units = len(of_first) + len(of_second)
    if by_draw:
        seeded = [_seeded(curve, sizes) for curve in (first, second)]
        terms = own_terms((of_first, of_second)) + seed_terms(combined(seeded, (-1.0, 1.0)))
        found = pairwise.difference(names, found.value, *pairwise.of_few_draws(*zip(*terms, strict=True)))
    found = replace(found, unit=unit, n_units=n_units, hedges_g=math.nan, of_one_draw=of_one_draw)
    return untested(found) if by_draw and fewest < LEAST_DRAWS else found


def own_terms(groups: Sequence[Floats], weights: Sequence[float] = (-1.0, 1.0)) -> list[tuple[float, float]]:
    """What each of some groups of draws adds to the variance of a weighted sum, with its degrees."""
    return [
        (float(weight**2 * group.var(ddof=1) / len(group)), len(group) - 1.0)
        for weight, group in zip(weights, groups, strict=True)
    ]


def combined(sides: Sequence[Mapping[Cell, float]], weights: Sequence[float]) -> Mapping[Cell, float]:
    """A weighted sum by draw and seed; where sides have their own, of the first of each, the second, ..."""
    ranked = []
    for cells in sides:
        draws, seeds = (sorted(set(own)) for own in zip(*cells, strict=True))
        ranked.append({(draws.index(draw), seeds.index(seed)): one for (draw, seed), one in cells.items()})
    shared = set.intersection(*(set(cells) for cells in ranked))
    return {
        cell: sum(weight * cells[cell] for cells, weight in zip(ranked, weights, strict=True))
        for cell in sorted(shared)
    }


def _units(curve: Curve, sizes: Sequence[int], *, by_draw: bool) -> Floats | None:
    """The mean over sizes of each draw, or of each seed; None where no seed comes back."""
    if not by_draw and min(seed for size in sizes for _, seed in curve[size]) < 0:
        return None
    place = 0 if by_draw else 1
    values: dict[int, list[float]] = defaultdict(list)
    overall = fmean(fmean(_values(curve, size)) for size in sizes)
    for size in sizes:
        of_unit: dict[int, list[float]] = defaultdict(list)
        for cell, own in curve[size].items():
            of_unit[cell[place]] += own.tolist()
        centre = fmean(fmean(own) for own in of_unit.values())
        for name, of_name in of_unit.items():
            values[name].append(fmean(of_name) - centre + overall)
    comes_back = max(map(len, values.values())) > 1
    if not by_draw and len(sizes) > 1 and not comes_back:
        return None
    return np.array([fmean(of_name) for of_name in values.values()])


def _values(curve: Curve, size: int) -> Floats:
    return np.concatenate(list(curve[size].values()))


def draw_means(cells: Mapping[Cell, Floats]) -> Mapping[int, float]:
    """The mean over the runs of each draw."""
    of_draw: dict[int, list[float]] = defaultdict(list)
    for (draw, _), own in cells.items():
        of_draw[draw] += own.tolist()
    return {draw: fmean(own) for draw, own in of_draw.items()}


def _by_cell(differences: Mapping[int, Mapping[Cell, float]]) -> Mapping[Cell, list[float]]:
    """The differences of each cell at the sizes that have it, all sizes put at one level."""
    overall = fmean(fmean(cells.values()) for cells in differences.values())
    found: dict[Cell, list[float]] = defaultdict(list)
    for cells in differences.values():
        centre = fmean(cells.values())
        for cell, value in cells.items():
            found[cell].append(value - centre + overall)
    return found
