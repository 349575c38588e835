"""How often comparisons find what is not there at 5 %, and how often intervals of a scatter hold.

`python -m benchmarks.nulls [--rounds 20000] [--only variants|sizes|scatter|levers]`; a row per design: draws
and seeds, and what moves the runs besides the noise of each. All rounds of a design are computed at once, of
which the first `CHECKED` are compared with what the package says of the same runs; the intervals of scatter
and of levers are the package's own, and take `ROUNDS_OF_SCATTER` and `ROUNDS_OF_LEVERS` at most. Variants:
draws and seeds that suit one variant better than the other. Sizes: what a draw does may be the same at every
size, nested (correlated by the root of the ratio of sizes) or of draws that each size has of its own; what a
seed does likewise. One draw is given: there the comparison is for this draw. Levers: the ratio that one is
worth is known.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from scipy.special import fdtrc, ndtri, stdtr

from tui_datasize.stats.clusters import SizeRuns
from tui_datasize.stats.effective import images_saved
from tui_datasize.stats.exponent import fit_exponent
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.groups import SizeComparison, compare_sizes
from tui_datasize.stats.levers import worth
from tui_datasize.stats.paired import SEEDS_COUNT, Curve, compare
from tui_datasize.stats.pairwise import Difference
from tui_datasize.stats.spread import SpreadLaw, seeds_in_common
from tui_datasize.stats.variance import split_variance

SIZES = (500, 1000, 2000, 4000, 8000)
NOISE = 0.01
CHECKED = 3
ROUNDS_OF_SCATTER = 1000
ROUNDS_OF_LEVERS = 4000
Floats = np.ndarray


def variant_values(
    generator: np.random.Generator, rounds: int, n_draws: int, n_seeds: int, draw_sd: float, seed_sd: float
) -> Floats:
    """Two variants whose means over all draws and seeds are equal: (rounds, 2, sizes, draws, seeds).

    `draw_sd` is what a draw does to one variant alone, at every size, `seed_sd` the same of a seed.
    """
    shape = rounds, 2, len(SIZES), n_draws, n_seeds
    of_both = generator.normal(0, NOISE, (rounds, 1, 1, n_draws, 1))
    of_draw = generator.normal(0, draw_sd, (rounds, 2, 1, n_draws, 1))
    of_seed = generator.normal(0, seed_sd, (rounds, 2, 1, 1, n_seeds))
    return of_both + of_draw + of_seed + generator.normal(0, NOISE, shape)


def null_curves(
    generator: np.random.Generator,
    n_draws: int,
    n_seeds: int,
    *,
    draw_sd: float = 0.0,
    seed_sd: float = 0.0,
    shares_seeds: bool = True,
) -> tuple[Curve, Curve]:
    """Two variants, once, with nested draws that both have, and the same seeds or their own."""
    values = variant_values(generator, 1, n_draws, n_seeds, draw_sd, seed_sd)[0]
    first, second = (
        _curve(of_one, own * n_seeds) for own, of_one in zip((0, not shares_seeds), values, strict=True)
    )
    return first, second


def _curve(values: Floats, first_seed: int) -> Curve:
    cells = list(np.ndindex(values.shape[1:]))
    return {
        size: {(draw, first_seed + seed): at[draw, seed, None] for draw, seed in cells}
        for size, at in zip(SIZES, values, strict=True)
    }


def p_values(values: Floats, weights: Sequence[float], *, is_paired: bool = True) -> Floats:
    """Of a weighted sum of groups, shape (rounds,), as `paired.compare` and `trend.trend` test it.

    `values` have shape (rounds, groups, draws, seeds). Groups that are paired share their draws, with one
    draw their seeds.
    """
    n_draws, n_seeds = values.shape[2:]
    table = np.tensordot(values, np.array(weights), ((1,), (0,)))
    groups, squares = (table[:, None], np.ones(1)) if is_paired else (values, np.array(weights) ** 2)
    units = groups[:, :, 0] if n_draws == 1 else groups.mean(axis=3)
    n_units = units.shape[2]
    parts = list((units.var(axis=2, ddof=1) / n_units * squares).T)
    degrees = [n_units - 1] * len(parts)
    if n_draws > 1:
        by_seed, rest = _seed_terms(table)
        if is_paired:
            parts[0] = np.where(parts[0] <= -rest, 0, parts[0])
            rest = np.where(parts[0] > 0, rest, 0)
        parts, degrees = [*parts, by_seed, rest], [*degrees, n_seeds - 1, (n_draws - 1) * (n_seeds - 1)]
    variance = sum(parts)
    # One draw: Satterthwaite's degrees, of several those of `pairwise.of_few_draws`.
    counted = parts if n_draws == 1 else [part / one for part, one in zip(parts, degrees, strict=True)]
    more = int(n_draws > 1)
    df = sum(counted) ** 2 / sum(part**2 / (one + more) for part, one in zip(counted, degrees, strict=True))
    p: Floats = 2 * stdtr(np.maximum(df - more, 1), -np.abs(table.mean(axis=(1, 2))) / np.sqrt(variance))
    return p


def _seed_terms(table: Floats) -> tuple[Floats, Floats]:
    """What seeds add to the variance of the mean, shape (rounds,) each, as of `paired.seed_terms`."""
    n_draws, n_seeds = table.shape[1:]
    rest, degrees = _rest(table)
    by_seed = n_draws * table.mean(axis=1).var(axis=1, ddof=1)
    counts = (by_seed > rest) & (fdtrc(n_seeds - 1, degrees, by_seed / rest) < SEEDS_COUNT)
    return np.where(counts, by_seed, 0) / (n_draws * n_seeds), np.where(counts, -rest, 0) / (
        n_draws * n_seeds
    )


def _rest(table: Floats) -> tuple[Floats, int]:
    """The mean square that rows and columns leave of tables in the last two axes, and its degrees."""
    rows, columns = (table.mean(axis=axis, keepdims=True) for axis in (-1, -2))
    degrees = (table.shape[-2] - 1) * (table.shape[-1] - 1)
    return ((table - rows - columns + rows.mean(axis=-2, keepdims=True)) ** 2).sum(
        axis=(-2, -1)
    ) / degrees, degrees


def rejected(
    rounds: int,
    n_draws: int,
    n_seeds: int,
    *,
    draw_sd: float = 0.0,
    seed_sd: float = 0.0,
    shares_seeds: bool = True,
) -> float:
    """Share of rounds in which two variants that do not differ are told apart at 5 %."""
    generator = np.random.default_rng(n_draws * 100 + n_seeds)
    values = variant_values(generator, rounds, n_draws, n_seeds, draw_sd, seed_sd)
    p = p_values(values.mean(axis=2), (-1, 1), is_paired=n_draws > 1 or shares_seeds)
    for own, found in zip(values[:CHECKED], p, strict=False):
        curves = _curve(own[0], 0), _curve(own[1], 0 if shares_seeds else n_seeds)
        _check(compare(*curves, ("a", "b")), found)
    return float((p < 0.05).mean())


def _check(said: Difference | FitFailure, p: float) -> None:
    if not isinstance(said, Difference) or not math.isclose(said.p, p, rel_tol=1e-6):
        raise AssertionError(f"the package says {said}, here p is {p}")


def size_values(
    generator: np.random.Generator,
    rounds: int,
    n_draws: int,
    n_seeds: int,
    *,
    draws: str = "nested",
    seeds: str = "nothing",
    draw_sd: float = NOISE,
) -> Floats:
    """One variant whose mean over all draws and seeds is equal at every size: (rounds, sizes, draws, seeds).

    Draws are the `same` or `nested`, under one id at every size, or each size has its `own`; one draw does
    nothing. Seeds do `nothing`, the `same` at every size, at each `another`, or are `new` at each and do
    nothing.
    """
    n, k = np.array(SIZES, float), len(SIZES)
    ratios = np.sqrt(np.minimum.outer(n, n) / np.maximum.outer(n, n))
    correlation = {"same": np.ones((k, k)), "nested": ratios, "own": np.eye(k)}[draws]
    root = np.linalg.cholesky(correlation + 1e-9 * np.eye(k))
    of_draw = root @ generator.normal(0, draw_sd if n_draws > 1 else 0, (rounds, k, n_draws))
    of_seed = generator.normal(0, NOISE, (rounds, 1 if seeds == "same" else k, 1, n_seeds))
    of_seed = of_seed if seeds in ("same", "another") else 0 * of_seed
    return 0.8 + of_draw[..., None] + of_seed + generator.normal(0, NOISE, (rounds, k, n_draws, n_seeds))


def _in_common(values: Floats, seeds: str) -> Sequence[float]:
    """What `spread.seeds_in_common` says of each round of one draw."""
    n_seeds = values.shape[3]
    if values.shape[2] > 1 or seeds == "new":
        return [0.0] * len(values)
    draw, seed = np.zeros(n_seeds, int), np.arange(n_seeds)
    return [
        seeds_in_common([SizeRuns(n, own, draw, seed) for n, own in zip(SIZES, one[:, 0], strict=True)])
        for one in values
    ]


def runs_of(values: Floats, draws: str, seeds: str) -> pl.DataFrame:
    """The runs of one round, schema `RUNS`."""
    size, draw, seed = (axis.ravel() for axis in np.indices(values.shape))
    return pl.DataFrame(
        {
            "run_id": [f"{one}" for one in range(values.size)],
            "train_size": np.array(SIZES)[size],
            "subset_seed": draw + (100 * size if draws == "own" else 0),
            "seed": seed + (100 * size if seeds == "new" else 0),
            "test_accuracy": values.ravel(),
        }
    ).with_columns(experiment=pl.lit("e"), variant=pl.lit(""), state=pl.lit("succeeded"))


def sizes_rejected(
    rounds: int, n_draws: int, n_seeds: int, *, draws: str = "nested", seeds: str = "nothing"
) -> Mapping[str, float]:
    """Share of rounds in which sizes that do not differ are told apart, by comparison; NaN untested."""
    generator = np.random.default_rng(n_draws * 100 + n_seeds)
    values = size_values(generator, rounds, n_draws, n_seeds, draws=draws, seeds=seeds)
    is_paired = draws != "own" and (n_draws > 1 or seeds != "new")
    x = np.log2(SIZES) - np.log2(SIZES).mean()
    trend = p_values(values, x / (x @ x), is_paired=is_paired)
    pairs = np.array(
        [
            p_values(values[:, [i, j]], (-1, 1), is_paired=is_paired)
            for i, j in itertools.combinations(range(len(SIZES)), 2)
        ]
    )
    rest, degrees = _rest(values) if n_draws > 1 else (values[:, :, 0].var(axis=2, ddof=1), n_seeds - 1)
    spread = [fit_exponent(SIZES, one, [degrees] * len(SIZES)) for one in rest]
    steady = [
        one is None or abs(one.value) <= ndtri(0.975) * one.stderr * math.sqrt(1 - shared)
        for one, shared in zip(spread, _in_common(values, seeds), strict=True)
    ]
    if n_draws == 2:
        # They test nothing of level.
        trend, pairs = np.full(rounds, np.nan), np.full_like(pairs, np.nan)
    for own, p, of_pairs, is_steady in zip(values[:CHECKED], trend, pairs.T, steady, strict=False):
        _check_sizes(compare_sizes(runs_of(own, draws, seeds), "test_accuracy")[0], p, of_pairs, is_steady)
    found = {"trend": trend, "pair": pairs, "any pair": pairs.min(axis=0) * len(pairs)}
    shares = {name: float((p < 0.05).mean()) if n_draws != 2 else math.nan for name, p in found.items()}
    shares["spread"] = 1 - float(np.mean(steady))
    if seeds != "same":
        # Seeds that do the same at every size are there to be found.
        shares["seed"] = math.nan if seeds == "new" else float((_seed_p(values.mean(axis=2)) < 0.05).mean())
    return shares


def _seed_p(table: Floats) -> Floats:
    """Of the seeds of tables, shape (rounds, sizes, seeds), as of `group_tests.seed_effect`."""
    rest, degrees = _rest(table)
    by_seed = table.shape[1] * table.mean(axis=1).var(axis=1, ddof=1)
    found: Floats = fdtrc(table.shape[2] - 1, degrees, by_seed / rest)
    return found


def _check_sizes(said: SizeComparison, trend: float, pairs: Floats, is_steady: bool) -> None:
    for one, p in zip((said.trend, *said.pairs), (trend, *pairs), strict=True):
        if not math.isnan(p):
            _check(one, p)
    if not isinstance(said.spread, SpreadLaw) or said.spread.is_steady != is_steady:
        raise AssertionError(f"the package says {said.spread}, here it is {is_steady} that it is steady")


def scatter_held(rounds: int, n_draws: int, n_seeds: int, *, draws: str, seeds: str) -> Mapping[str, float]:
    """Share of rounds in which the 95 % interval of each source of scatter holds its true value.

    Of a source that does nothing also how often it is found, with p below 5 %.
    """
    generator = np.random.default_rng(n_draws * 100 + n_seeds)
    sds = {"subset draw": _sd(draws), "training seed": _sd(seeds), "seed on draw": NOISE}
    if n_draws == 1:
        sds["training seed"] = math.hypot(_sd(seeds), NOISE)
    held: dict[str, list[float]] = {}
    kind = "nested" if draws == "nothing" else draws
    how = {"draws": kind, "seeds": seeds, "draw_sd": _sd(draws)}
    for values in size_values(generator, min(rounds, ROUNDS_OF_SCATTER), n_draws, n_seeds, **how):  # type: ignore[arg-type]
        for one in split_variance(runs_of(values, kind, seeds), "test_accuracy")[0].components:
            held.setdefault(one.name, []).append(one.sd_low <= sds[one.name] <= one.sd_high)
            if one.p is not None and not sds[one.name]:
                held.setdefault(f"{one.name} found", []).append(_is_below(one.p))
    return {name: float(np.mean(each)) for name, each in held.items()}


def _sd(does: str) -> float:
    return 0.0 if does == "nothing" else NOISE


def _is_below(p: float) -> float:
    return math.nan if math.isnan(p) else float(p < 0.05)


def ratios_held(
    rounds: int, n_draws: int, n_seeds: int, ratio: float, *, draw_sd: float = 0.0, seed_sd: float = 0.0
) -> Mapping[str, float]:
    """Share of rounds in which the 95 % interval of what a lever is worth holds its true ratio.

    The baseline errs by 3 / sqrt(n), the lever as the baseline does with `ratio` times its images. Also the
    share in which there is no interval, as the lever is beyond the baseline's curve there, and the standard
    error of the first.
    """
    generator = np.random.default_rng(n_draws * 100 + n_seeds)
    curves = 1 - 3 / np.sqrt(np.outer((1, ratio), SIZES))
    held = []
    for values in variant_values(generator, rounds, n_draws, n_seeds, draw_sd, seed_sd):
        base, lever = (_curve(own + mean[:, None, None], 0) for own, mean in zip(values, curves, strict=True))
        found = worth(images_saved(base, lever, higher_is_better=True), SIZES)
        low, high = sorted((1 / found.ratio / found.spread, found.spread / found.ratio))
        held.append(math.nan if math.isnan(low) else float(low <= ratio <= high))
    share, bounds = float(np.nanmean(held)), float(np.isnan(held).mean())
    error = math.sqrt(share * (1 - share) / np.isfinite(held).sum())
    return {"held": share, "standard error": error, "a bound": bounds}


def _print_levers(rounds: int) -> None:
    print("draws seeds  SD of a draw, of a seed (1: of the noise)  ratio: its interval holds, a bound, %")
    for n_draws, n_seeds in ((1, 5), (1, 10), (3, 3), (3, 5), (10, 1)):
        for draw, seed in ((0, 0), (1, 0)) if n_draws > 1 else ((0, 0),):
            for ratio in (1.0, 1.5, 3.0):
                how = {"draw_sd": draw * NOISE, "seed_sd": seed * NOISE}
                found = ratios_held(min(rounds, ROUNDS_OF_LEVERS), n_draws, n_seeds, ratio, **how)
                _print_row(n_draws, n_seeds, f"{draw} {seed}", f"ratio {ratio}", found)


def _print_variants(rounds: int) -> None:
    print("draws seeds same seeds  SD of a draw, of a seed (1: of the noise)  rejected, %")
    for n_draws, n_seeds in itertools.product((1, 3, 5), (3, 5, 10)):
        # On several draws seeds of its own are paired with those of the other all the same.
        for draw, seed in itertools.product((0, 0.5, 1) if n_draws > 1 else (0,), (0, 0.5, 1)):
            for shares in (True, False)[: 1 + (n_draws == 1)]:
                how = {"draw_sd": draw * NOISE, "seed_sd": seed * NOISE}
                found = 100 * rejected(rounds, n_draws, n_seeds, shares_seeds=shares, **how)
                print(
                    f"{n_draws:>5} {n_seeds:>5} {shares!s:>10} {draw:>14} {seed:>9} {found:>12.1f}",
                    flush=True,
                )


def _print_sizes(rounds: int) -> None:
    print("draws seeds  a draw does  a seed does  rejected, %: trend, a pair, any pair (Holm), spread, seed")
    for n_draws, n_seeds in itertools.product((1, 2, 3), (3, 5, 10)):
        # Two draws test nothing of level.
        for draws in ("nested",) if n_draws < 3 else ("same", "nested", "own"):
            for seeds in ("nothing", "same", "another", "new"):
                found = sizes_rejected(rounds, n_draws, n_seeds, draws=draws, seeds=seeds)
                _print_row(n_draws, n_seeds, draws, seeds, found)


def _print_scatter(rounds: int) -> None:
    print("draws seeds  a draw does  a seed does  95 % intervals of SD that hold, %")
    for n_draws, n_seeds in itertools.product((1, 2, 3), (3, 5, 10)):
        for draws in ("nothing",) if n_draws == 1 else ("nothing", "same", "nested", "own"):
            for seeds in ("nothing", "same", "another"):
                found = scatter_held(rounds, n_draws, n_seeds, draws=draws, seeds=seeds)
                _print_row(n_draws, n_seeds, draws, seeds, found)


def _print_row(n_draws: int, n_seeds: int, draws: str, seeds: str, found: Mapping[str, float]) -> None:
    numbers = ", ".join(
        f"{name} {'-' if math.isnan(share) else f'{100 * share:.1f}'}" for name, share in found.items()
    )
    print(f"{n_draws:>5} {n_seeds:>5} {draws:>12} {seeds:>12}  {numbers}", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20_000)
    tables = {
        "variants": _print_variants,
        "sizes": _print_sizes,
        "scatter": _print_scatter,
        "levers": _print_levers,
    }
    parser.add_argument("--only", choices=tables)
    asked = parser.parse_args()
    for name, write in tables.items():
        if asked.only in (None, name):
            write(asked.rounds)


if __name__ == "__main__":
    main()
