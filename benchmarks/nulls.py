"""How often variants without a true difference are told apart at 5 %, by what their runs share.

`python -m benchmarks.nulls [--rounds 2000]`; a row per number of draws and seeds, and what moves the runs
besides the noise of each: draws and seeds that suit one variant better than the other.
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np

from tui_datasize.stats.paired import Curve, compare
from tui_datasize.stats.pairwise import Difference

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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000)
    rounds = parser.parse_args().rounds
    print("draws seeds same seeds  draws matter  seeds matter  rejected, %")
    for n_draws, n_seeds, shares in itertools.product((1, 3, 5), (3, 5, 10), (True, False)):
        for draw_sd, seed_sd in itertools.product((0.0, NOISE) if n_draws > 1 else (0.0,), (0.0, NOISE)):
            share = rejected(rounds, n_draws, n_seeds, draw_sd=draw_sd, seed_sd=seed_sd, shares_seeds=shares)
            told = (f"{bool(one):>13}" for one in (draw_sd, seed_sd))
            print(
                f"{n_draws:>5} {n_seeds:>5} {shares!s:>10} {' '.join(told)} {100 * share:>12.1f}", flush=True
            )


if __name__ == "__main__":
    main()
