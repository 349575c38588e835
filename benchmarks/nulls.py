"""How often comparisons find what is not there at 5 %, and how often intervals of a scatter hold.

`python -m benchmarks.nulls [--rounds 2000] [--only variants|sizes|scatter]`; a row per design: draws and
seeds, and what moves the runs besides the noise of each. Variants: draws and seeds that suit one variant
better than the other. Sizes: what a draw does may be the same at every size, nested (correlated by the root
of the ratio of sizes) or of draws that each size has of its own; what a seed does likewise. One draw is
given: there the comparison is for this draw.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Mapping

import numpy as np
import polars as pl

from tui_datasize.stats.group_tests import GroupTest
from tui_datasize.stats.groups import SizeComparison, compare_sizes
from tui_datasize.stats.paired import Curve, compare
from tui_datasize.stats.pairwise import Difference
from tui_datasize.stats.spread import SpreadLaw
from tui_datasize.stats.variance import split_variance

SIZES = (500, 1000, 2000, 4000, 8000)
NOISE = 0.01


def null_curves(
    generator: np.random.Generator,
    n_draws: int,
    n_seeds: int,
    *,
    draw_sd: float = 0.0,
    seed_sd: float = 0.0,
    shares_seeds: bool = True,
) -> tuple[Curve, Curve]:
    """Two variants whose means over all draws and seeds are equal at every size.

    Args:
        generator: Of the values.
        n_draws: Nested subset draws, which both variants have.
        n_seeds: Training seeds on each draw.
        draw_sd: Of what a draw does to one variant alone, at every size.
        seed_sd: The same of a seed, on every draw.
        shares_seeds: Whether both variants have the same seeds.
    """
    of_both = generator.normal(0, NOISE, n_draws)
    curves = []
    for variant in range(2):
        of_draw = of_both + generator.normal(0, draw_sd, n_draws)
        of_seed = generator.normal(0, seed_sd, n_seeds)
        first = 0 if shares_seeds else variant * n_seeds
        curves.append(
            {
                size: {
                    (draw, first + seed): of_draw[draw] + of_seed[seed] + generator.normal(0, NOISE, 1)
                    for draw, seed in itertools.product(range(n_draws), range(n_seeds))
                }
                for size in SIZES
            }
        )
    return curves[0], curves[1]


def rejected(rounds: int, n_draws: int, n_seeds: int, **how: float) -> float:
    """Share of rounds in which two variants that do not differ are told apart at 5 %."""
    generator = np.random.default_rng(n_draws * 100 + n_seeds)
    found = (
        compare(*null_curves(generator, n_draws, n_seeds, **how), ("a", "b"))  # type: ignore[arg-type]
        for _ in range(rounds)
    )
    return float(np.mean([isinstance(one, Difference) and one.p < 0.05 for one in found]))


def null_sizes(
    generator: np.random.Generator,
    n_draws: int,
    n_seeds: int,
    *,
    draws: str = "nested",
    seeds: str = "nothing",
    draw_sd: float = NOISE,
    seed_sd: float = NOISE,
) -> pl.DataFrame:
    """Runs of one variant whose mean over all draws and seeds is equal at every size, schema `RUNS`.

    Args:
        generator: Of the values.
        n_draws: Of each size.
        n_seeds: On each draw.
        draws: `same` or `nested`, under one id at every size, or `own`.
        seeds: Do `nothing` of their own, the `same` at every size, at each `another`, or are `new` at each.
        draw_sd: Of what a draw does; 0 with one draw.
        seed_sd: Of what a seed does.
    """
    n, k = np.array(SIZES, float), len(SIZES)
    ratios = np.sqrt(np.minimum.outer(n, n) / np.maximum.outer(n, n))
    correlation = {"same": np.ones((k, k)), "nested": ratios, "own": np.eye(k)}[draws]
    root = np.linalg.cholesky(correlation + 1e-9 * np.eye(k))
    of_draw = generator.normal(0, draw_sd if n_draws > 1 else 0, (n_draws, k)) @ root.T
    of_seed = generator.normal(0, seed_sd, (n_seeds, k))
    if seeds == "same":
        of_seed = of_seed[:, :1] + np.zeros((1, k))
    elif seeds != "another":
        of_seed = np.zeros((n_seeds, k))
    draw, seed, size = (axis.ravel() for axis in np.meshgrid(range(n_draws), range(n_seeds), range(k)))
    values = 0.8 + of_draw[draw, size] + of_seed[seed, size] + generator.normal(0, NOISE, len(draw))
    return pl.DataFrame(
        {
            "run_id": [f"{one}" for one in range(len(draw))],
            "train_size": np.array(SIZES)[size],
            "subset_seed": draw + (100 * size if draws == "own" else 0),
            "seed": seed + (100 * size if seeds == "new" else 0),
            "test_accuracy": values,
        }
    ).with_columns(experiment=pl.lit("e"), variant=pl.lit(""), state=pl.lit("succeeded"))


def found_between(comparison: SizeComparison) -> Mapping[str, float]:
    """Whether each of the comparisons of sizes finds something, NaN where it does not test."""
    pairs = [one for one in comparison.pairs if not math.isnan(one.p)]
    trend, seed, spread = comparison.trend, comparison.seed, comparison.spread
    return {
        "trend": _is_below(trend.p) if isinstance(trend, Difference) else math.nan,
        "pair": float(np.mean([one.p < 0.05 for one in pairs])) if pairs else math.nan,
        "any pair": float(any(one.p_adjusted < 0.05 for one in pairs)) if pairs else math.nan,
        "spread": float(not spread.is_steady) if isinstance(spread, SpreadLaw) else math.nan,
        "seed": _is_below(seed.p) if isinstance(seed, GroupTest) else math.nan,
    }


def sizes_rejected(rounds: int, n_draws: int, n_seeds: int, **how: str) -> Mapping[str, float]:
    """Share of rounds in which sizes that do not differ are told apart, by comparison."""
    generator = np.random.default_rng(n_draws * 100 + n_seeds)
    found = [
        found_between(compare_sizes(null_sizes(generator, n_draws, n_seeds, **how), "test_accuracy")[0])  # type: ignore[arg-type]
        for _ in range(rounds)
    ]
    # Seeds that do the same at every size are there to be found.
    names = [name for name in found[0] if name != "seed" or how.get("seeds") != "same"]
    return {name: float(np.mean([one[name] for one in found])) for name in names}


def scatter_held(rounds: int, n_draws: int, n_seeds: int, *, draws: str, seeds: str) -> Mapping[str, float]:
    """Share of rounds in which the 95 % interval of each source of scatter holds its true value.

    Of a source that does nothing also how often it is found, with p below 5 %.
    """
    generator = np.random.default_rng(n_draws * 100 + n_seeds)
    sds = {"subset draw": _sd(draws), "training seed": _sd(seeds), "seed on draw": NOISE}
    if n_draws == 1:
        sds["training seed"] = math.hypot(_sd(seeds), NOISE)
    held: dict[str, list[float]] = {}
    for _ in range(rounds):
        runs = null_sizes(
            generator,
            n_draws,
            n_seeds,
            draws="nested" if draws == "nothing" else draws,
            seeds=seeds,
            draw_sd=_sd(draws),
        )
        for one in split_variance(runs, "test_accuracy")[0].components:
            held.setdefault(one.name, []).append(one.sd_low <= sds[one.name] <= one.sd_high)
            if one.p is not None and not sds[one.name]:
                held.setdefault(f"{one.name} found", []).append(_is_below(one.p))
    return {name: float(np.mean(each)) for name, each in held.items()}


def _sd(does: str) -> float:
    return 0.0 if does == "nothing" else NOISE


def _is_below(p: float) -> float:
    return math.nan if math.isnan(p) else float(p < 0.05)


def _print_variants(rounds: int) -> None:
    print("draws seeds same seeds  draws matter  seeds matter  rejected, %")
    for n_draws, n_seeds, shares in itertools.product((1, 3, 5), (3, 5, 10), (True, False)):
        for draw_sd, seed_sd in itertools.product((0.0, NOISE) if n_draws > 1 else (0.0,), (0.0, NOISE)):
            share = rejected(rounds, n_draws, n_seeds, draw_sd=draw_sd, seed_sd=seed_sd, shares_seeds=shares)
            told = (f"{bool(one):>13}" for one in (draw_sd, seed_sd))
            print(
                f"{n_draws:>5} {n_seeds:>5} {shares!s:>10} {' '.join(told)} {100 * share:>12.1f}", flush=True
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
    parser.add_argument("--rounds", type=int, default=2000)
    tables = {"variants": _print_variants, "sizes": _print_sizes, "scatter": _print_scatter}
    parser.add_argument("--only", choices=tables)
    asked = parser.parse_args()
    for name, write in tables.items():
        if asked.only in (None, name):
            write(asked.rounds)


if __name__ == "__main__":
    main()
