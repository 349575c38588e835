"""Labelling strategies: what each is worth on scikit-learn's digits, and what choosing costs.

`python -m benchmarks.labelling [--draws 20]` labels a pool of 1,000 digits in batches of 20 and trains a
logistic regression (C = 1) each time; it compares the accuracy on the other 797 with a reference that other
code made, and ends with status 1 where a mean is further off than the errors of both allow.

`python -m benchmarks.labelling --speed [--images 50000 --features 512 --picks 1000]` tells CPU seconds and
memory of one choice.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from tui_datasize.experiments.spec import CHOSEN, Strategy
from tui_datasize.experiments.subsets import uniform
from tui_datasize.training.labelling.acquisition import Seen, pick_images

SIZES = (10, 20, 40, 80, 160, 320)
REFERENCE: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "random": (43.0, 56.4, 73.3, 85.3, 91.4, 94.0),
        "margin": (43.0, 64.2, 79.4, 89.7, 94.5, 96.2),
        "entropy": (43.0, 50.2, 60.6, 77.3, 90.9, 96.0),
        "k-center": (43.0, 63.8, 80.0, 89.5, 93.1, 94.9),
        "badge": (43.0, 60.6, 78.9, 89.0, 93.0, 95.5),
        "typiclust": (68.3, 78.0, 87.0, 91.5, 93.5, 94.8),
    }
)
"""Accuracy in %, means over 20 draws."""
_POOL = 1000
_BATCH = 20
_STRICT = 3.0
"""Standard errors of the difference."""

Floats = NDArray[np.float64]


def main() -> int:
    """Print the table; exit status 1 where it is not that of the reference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--picks", type=int, default=1000)
    arguments = parser.parse_args()
    if arguments.speed:
        _tell_speed(arguments.images, arguments.features, arguments.picks)
        return 0
    # Threads that wait for each other cost more than they save on images of 64 pixels.
    torch.set_num_threads(1)
    with threadpool_limits(1):
        return _compare(arguments.draws)


def _compare(draws: int) -> int:
    off = 0
    for strategy, reference in REFERENCE.items():
        found = accuracies(strategy, draws)
        means, spread = found.mean(axis=0), found.std(axis=0, ddof=1)
        # The reference has as much scatter, and 20 draws.
        errors = spread * (1 / draws + 1 / 20) ** 0.5
        far = np.abs(means - reference) > np.maximum(_STRICT * errors, 0.05)
        off += int(far.sum())
        cells = (
            f"{m:5.1f}{'*' if bad else ' '}±{e:3.1f}" for m, e, bad in zip(means, errors, far, strict=True)
        )
        print(f"{strategy:10}", *cells, flush=True)
    print("labels    ", *(f"{size:10}" for size in SIZES))
    print(
        f"{off} of {len(REFERENCE) * len(SIZES)} means are further than {_STRICT:g} errors from the reference"
    )
    return int(off > 0)


def accuracies(strategy: str, draws: int, sizes: int = len(SIZES)) -> Floats:
    """In % on the test images at each of the first `sizes` of `SIZES`, shape (draws, sizes)."""
    return np.array([[*islice(_path(strategy, draw), sizes)] for draw in range(draws)])


def _path(strategy: str, draw: int) -> Iterator[float]:
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    images, labels = load_digits(return_X_y=True)
    images = images / 16
    order = np.random.default_rng(draw).permutation(len(images))
    pool, test = order[:_POOL], order[_POOL:]
    features = torch.from_numpy(images[pool])
    labelled = np.empty(0, dtype=np.int64) if strategy == "typiclust" else np.arange(SIZES[0])
    while True:
        if len(labelled) >= SIZES[0]:
            model = LogisticRegression(C=1, max_iter=2000).fit(images[pool[labelled]], labels[pool[labelled]])
            if len(labelled) in SIZES:
                yield 100 * model.score(images[test], labels[test])
        if len(labelled) == SIZES[-1]:
            return
        count = min(SIZES[0] if len(labelled) < _BATCH else _BATCH, _POOL - len(labelled))
        if strategy == "random":
            labelled = np.arange(len(labelled) + count)
            continue
        logits = features[:, :1]
        if len(labelled):
            logits = torch.from_numpy(model.predict_log_proba(images[pool]))
        numbers = uniform(_POOL, draw, len(labelled), 1)
        kind: Strategy = next(one for one in CHOSEN if one == strategy)
        picked, _ = pick_images(kind, Seen(logits, features), labelled, count, numbers)
        labelled = np.concatenate([labelled, picked])


def _tell_speed(images: int, features: int, picks: int) -> None:
    numbers = np.random.default_rng(0)
    seen = Seen(
        torch.from_numpy(numbers.standard_normal((images, 10), dtype=np.float32)),
        torch.from_numpy(numbers.standard_normal((images, features), dtype=np.float32)),
    )
    labelled = np.arange(picks)
    for strategy in CHOSEN:
        # Forgets the largest so far.
        Path("/proc/self/clear_refs").write_text("5")
        before = _megabytes()
        started, cpu = time.perf_counter(), time.process_time()
        pick_images(strategy, seen, labelled, picks, uniform(images, 1))
        seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu
        print(
            f"{strategy:10} {picks:,} of {images:,} images, {features} features: {seconds:6.1f} s,"
            f" {cpu_s:6.1f} CPU s, {_megabytes() - before:5.0f} MB more at its peak",
            flush=True,
        )


def _megabytes() -> float:
    """What this process has had in memory at most."""
    status = Path("/proc/self/status").read_text()
    return float(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    sys.exit(main())
