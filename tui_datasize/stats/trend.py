"""Whether a metric rises or falls with the train size: a linear contrast of the means over log2 of the size.

The contrast is made within each subset draw, with one draw within each seed, and tested by how far these are
apart (Student's t over clusters; Maxwell, Delaney and Kelley, *Designing Experiments and Analyzing Data*,
3rd ed., chapter 11, on contrasts with error terms of their own). So it holds whatever the runs of a draw or
seed have in common at several sizes, and however unequally sizes scatter. Ranks over two or three draws, and
a joint test of all sizes at once, would have no power or too few degrees of freedom: there are none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean

import numpy as np

from tui_datasize.stats import paired
from tui_datasize.stats.clusters import Floats
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.paired import LEAST_DRAWS, Cell, Curve
from tui_datasize.stats.pairwise import Difference, Unit, difference, of_few_draws, satterthwaite

_NAMES = ("", "")
_NEEDED = FitFailure("needs two sizes with two runs each that differ")


def trend(curve: Curve) -> Difference | FitFailure:
    """The mean change with each doubling of the train size, all sizes counted alike.

    Sizes with a single run are left out; where some have several draws, those with a single draw.
    """
    several = any(len(_known_draws(cells)) > 1 for cells in curve.values())
    sizes = sorted(
        size
        for size, cells in curve.items()
        if (len(_known_draws(cells)) if several else sum(map(len, cells.values()))) > 1
    )
    if len(sizes) < 2:
        return _NEEDED
    x = np.log2(sizes) - np.log2(sizes).mean()
    weights = dict(zip(sizes, (x / (x @ x)).tolist(), strict=True))
    found = _of_cells(curve, weights) or _of_draws(curve, weights, several=several)
    return found or _of_groups(curve, weights, several=several) or _NEEDED


def _known_draws(cells: Mapping[Cell, Floats]) -> set[int]:
    return {draw for draw, _ in cells if draw >= 0}


def _of_cells(curve: Curve, weights: Mapping[int, float]) -> Difference | None:
    """Within each seed on each draw, where most of them ran at every size."""
    cells = set.intersection(*({cell for cell in curve[size] if cell[1] >= 0} for size in weights))
    if len(cells) < 2 or 2 * len(cells) < max(len(curve[size]) for size in weights):
        return None
    draws = set.intersection(*(_known_draws(curve[size]) for size in weights))
    if draws and draws != {draw for draw, _ in cells}:
        return None
    of_cell = {cell: sum(w * fmean(curve[size][cell]) for size, w in weights.items()) for cell in cells}
    return _clustered(of_cell)


def _of_draws(curve: Curve, weights: Mapping[int, float], *, several: bool) -> Difference | None:
    """Within each draw, where seeds differ between sizes."""
    draws = set.intersection(*(_known_draws(curve[size]) for size in weights))
    if not several or len(draws) < 2:
        return None
    at = {size: paired.draw_means(curve[size]) for size in weights}
    contrasts: Mapping[Cell, float] = {
        (draw, 0): sum(weight * at[size][draw] for size, weight in weights.items()) for draw in draws
    }
    seeded = [{cell: fmean(own) for cell, own in curve[size].items() if cell[0] in draws} for size in weights]
    return _clustered(contrasts, paired.combined(seeded, list(weights.values())))


def _clustered(
    contrasts: Mapping[Cell, float], seeded: Mapping[Cell, float] | None = None
) -> Difference | None:
    draws = sorted({draw for draw, _ in contrasts})
    of_draw = [fmean(value for (own, _), value in contrasts.items() if own == draw) for draw in draws]
    return paired.clustered(_NAMES, fmean(of_draw), contrasts, seeded)


def _of_groups(curve: Curve, weights: Mapping[int, float], *, several: bool) -> Difference | None:
    """Of sizes that share nothing: each has draws, or with one draw runs, of its own."""
    groups = [
        np.array(list(paired.draw_means(curve[size]).values()))
        if several
        else np.concatenate(list(curve[size].values()))
        for size in weights
    ]
    own = np.array(list(weights.values()))
    draws = set.union(*({draw for draw, _ in curve[size]} for size in weights))
    if not several and len(draws) > 1:
        return None
    parts = paired.own_terms(groups, own.tolist())
    if not any(part for part, _ in parts):
        return None
    if several:
        cells = [{cell: fmean(runs) for cell, runs in curve[size].items()} for size in weights]
        parts += paired.seed_terms(paired.combined(cells, list(weights.values())))
    stderr, df = (of_few_draws if several else satterthwaite)(*zip(*parts, strict=True))
    unit: Unit = "draw" if several else "run"
    found = replace(
        difference(_NAMES, float(own @ [group.mean() for group in groups]), stderr, df),
        unit=unit,
        n_units=sum(map(len, groups)),
        of_one_draw=not several and min(draws) >= 0,
    )
    return paired.untested(found) if several and min(map(len, groups)) < LEAST_DRAWS else found
