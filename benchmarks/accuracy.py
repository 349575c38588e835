"""Whether a faster engine learns as much: a study's own code against ours, seed by seed on real images.

`python -m benchmarks.accuracy --data imagefolder:mnist10k [--model cnn3|resnet] [--size N] [--epochs E]
[--seeds 5] [--workers 4]` (below `DATASIZE_DATA`) trains each seed with both, from the same first weights
and with as many updates, and measures the whole test split. The sides take turns; on a CPU the engine
trains as many seeds at once as there are cores, as the queue does. Their orders of the images and
dropout masks differ, so that accuracies agree within the spread of the seeds, not bit for bit.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
from scipy.stats import ttest_ind

from benchmarks.training_processes import Build, team
from benchmarks.training_sides import Done, EngineSide, cores
from benchmarks.training_study import StudyLoop
from benchmarks.training_work import Work, letters, residual
from tui_datasize.experiments.project_tables import DATA_VARIABLE
from tui_datasize.experiments.spec import SubsetSpec
from tui_datasize.experiments.subsets import draw
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.datasets import load_dataset
from tui_datasize.training.evaluate import Integers

STUDY, ENGINE = "study's loop", "engine"


@dataclass(frozen=True, slots=True)
class Trained:
    """One seed of one side."""

    seed: int
    training: Done
    test: Done


def main() -> None:
    """Train, and print the table."""
    arguments = _parser().parse_args()
    # Asked in a way that leaves the processes forked later free to use it.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    data = load_dataset(arguments.data, Path(os.environ[DATA_VARIABLE]).expanduser())
    recipe = letters if arguments.model == "cnn3" else residual
    work = recipe(arguments.size, arguments.epochs)
    work = replace(work, image_shape=data.image_shape, classes=len(data.class_names))
    print(f"{arguments.model} on {arguments.size:,} images of {data.name}, {arguments.epochs} epochs")
    print(f"{len(data.test.labels):,} test images, load {os.getloadavg()[0]:.1f} before", flush=True)
    trained: dict[str, list[Trained]] = {STUDY: [], ENGINE: []}
    for side, one in _in_turn(work, data, device, range(arguments.seeds), arguments.workers):
        trained[side].append(one)
        print(f"  seed {one.seed} {side:13} {_line(one)}", flush=True)
    _print_comparison(trained)
    print(f"load {os.getloadavg()[0]:.1f} after")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy")
    parser.add_argument("--data", required=True, help="a data set of the catalogue, or imagefolder:PATH")
    parser.add_argument("--model", choices=("cnn3", "resnet"), default="cnn3")
    parser.add_argument("--size", type=int, default=750, help="training images")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=4, help="of each DataLoader of the study's loop")
    return parser


def _in_turn(
    work: Work, data: LoadedDataset, device: torch.device, seeds: Sequence[int], workers: int
) -> Iterator[tuple[str, Trained]]:
    """Both sides of every seed, a group of seeds at a time and in another order every time."""
    subset = draw(np.asarray(data.train.labels), work.train_size, SubsetSpec())
    together_at_most = 1 if device.type == "cuda" else cores()
    groups = [seeds[start : start + together_at_most] for start in range(0, len(seeds), together_at_most)]
    for number, group in enumerate(groups):
        sides = [(STUDY, [seed]) for seed in group]
        sides.insert(0 if number % 2 else len(sides), (ENGINE, list(group)))
        for side, together in sides:
            builds = [_build(side, work, data, subset, device, seed, workers) for seed in together]
            for one in _train(side, builds, together, work.epochs, device):
                yield side, one


def _build(
    side: str,
    work: Work,
    data: LoadedDataset,
    subset: Integers,
    device: torch.device,
    seed: int,
    workers: int,
) -> Build:
    if side == STUDY:
        return lambda: {STUDY: StudyLoop(work, data, subset, device, workers, seed)}
    return lambda: {ENGINE: EngineSide(work, data, subset, device, seed, bf16=False)}


def _train(
    side: str, builds: Sequence[Build], seeds: Sequence[int], epochs: int, device: torch.device
) -> list[Trained]:
    with team(builds, device) as processes:
        training, test = processes.train(side, epochs), processes.evaluate(side)
    return [Trained(*one) for one in zip(seeds, training, test, strict=True)]


def _line(one: Trained) -> str:
    return (
        f"{one.training.updates} updates, {one.training.images:,} images in {one.training.wall_s:6.1f} s "
        f"({one.training.cpu_s:6.1f} s of CPU); test loss {one.test.loss:.4f}, "
        f"accuracy {100 * one.test.accuracy:.2f} % in {one.test.wall_s:.1f} s ({one.test.cpu_s:.1f} s)"
    )


def _print_comparison(trained: Mapping[str, Sequence[Trained]]) -> None:
    accuracy = {side: [100 * one.test.accuracy for one in runs] for side, runs in trained.items()}
    for side, values in accuracy.items():
        print(f"{side:13} {mean(values):.2f} % mean, {stdev(values):.2f} SD over {len(values)} seeds")
    difference = ttest_ind(accuracy[ENGINE], accuracy[STUDY], equal_var=False)
    low, high = difference.confidence_interval()
    print(
        f"engine - study's loop: {mean(accuracy[ENGINE]) - mean(accuracy[STUDY]):+.2f} points, "
        f"95 % interval {low:+.2f} to {high:+.2f} (Welch, p = {difference.pvalue:.2f})"
    )
    for phase in ("training", "test"):
        cpu_s = {side: sum(getattr(one, phase).cpu_s for one in runs) for side, runs in trained.items()}
        print(f"CPU seconds of {phase}: {cpu_s[STUDY] / cpu_s[ENGINE]:.1f} times less")


if __name__ == "__main__":
    main()
