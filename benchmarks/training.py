"""Training and evaluating as a study's own code does, against our engine, side by side.

`python -m benchmarks.training [--quick] [--rounds N] [--workers 4] [--only WORDS] [--data NAME] [--packs K]`
runs on the GPU where torch sees one, else on the CPU. The sides do the same work in turn, in processes
forked from one: as many images, updates and batches of the same sizes, from the same first weights. On a
CPU the study's loop is one process with a thread per core beside its loader workers; the engine is one
process of one thread per core, as the queue runs it, each with a run of its own. Ratios are taken round
by round: of images per second of wall time, and of images per CPU second, which other load on the
machine changes least. FLOP/s are those of convolutions and matrix products, against products of large
matrices in the same processes. `--data imagefolder:PATH` takes real images (below `DATASIZE_DATA`).
Where there is a GPU, or `--packs K` asks for it, our engine follows with one run and with K in one process.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.training_packs import compare_packs
from benchmarks.training_processes import Build, Team, described, team
from benchmarks.training_sides import Done, EngineSide, cores, flops_per_image, per_wall_s, spread
from benchmarks.training_study import StudyLoop
from benchmarks.training_work import Work, letters, residual, synthetic
from tui_datasize.experiments.project_tables import DATA_VARIABLE
from tui_datasize.experiments.spec import SubsetSpec
from tui_datasize.experiments.subsets import draw
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.datasets import load_dataset

STUDY = "study's loop"
BF16 = "engine bf16"
_PACK_WIDTH = 10


@dataclass(frozen=True, slots=True)
class Round:
    """What all sides did in one round, one entry per process."""

    trained: Mapping[str, Sequence[Done]]
    evaluated: Mapping[str, Sequence[Done]]
    ceilings: Mapping[str, float]
    """FLOP/s of matrix products, by engine side."""


def main() -> None:
    """Measure and print the tables."""
    arguments = _parser().parse_args()
    # Asked in a way that leaves the processes forked later free to use it.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Threads do not survive a fork: this process has none but its own.
    torch.set_num_threads(1)
    _print_setting(arguments, device)
    for work in _works(device, quick=arguments.quick):
        if arguments.only in work.title:
            _compare(work, arguments, device)
    print(f"\nload {os.getloadavg()[0]:.1f} after")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training")
    parser.add_argument("--quick", action="store_true", help="two rounds of little work")
    parser.add_argument("--rounds", type=int, default=0, help="default: 5, with --quick 2")
    parser.add_argument("--workers", type=int, default=4, help="of each DataLoader of the study's loop")
    parser.add_argument("--only", default="", help="models whose title contains this")
    parser.add_argument("--data", default="", help="a data set of the catalogue, or imagefolder:PATH")
    parser.add_argument("--test-images", type=int, default=0, help="synthetic images of an evaluation")
    parser.add_argument(
        "--packs", type=int, default=0, help="runs trained together; default: 10 on a GPU, none on a CPU"
    )
    parser.add_argument("--no-bf16", action="store_true", help="leave bf16 out")
    return parser


def _works(device: torch.device, *, quick: bool) -> tuple[Work, ...]:
    """About ten seconds of the study's loop each on two CPU cores; a GPU gets whole sizes."""
    if quick:
        return letters(750, 1), residual(640, 1)
    if device.type == "cuda":
        return letters(750, 16), letters(12_000, 1), residual(12_500, 1)
    return letters(750, 4), letters(12_000, 1), residual(2_560, 1)


def _print_setting(arguments: argparse.Namespace, device: torch.device) -> None:
    facts = described(device)
    print(
        f"{facts['device_name']}, {cores()} CPU cores, torch {facts['torch']}, "
        f"load {os.getloadavg()[0]:.1f} before\n"
        f"study's loop: {arguments.workers} loader workers, {cores()} threads, fp32"
        f"\nengine: {_processes(device)} process(es), {facts['precision']}"
        f"{'' if arguments.no_bf16 else ' and bf16; ' + facts['bf16']}",
        flush=True,
    )


def _processes(device: torch.device) -> int:
    """Engine processes at once."""
    return 1 if device.type == "cuda" else cores()


def _compare(work: Work, arguments: argparse.Namespace, device: torch.device) -> None:
    """Measure one model and print its tables."""
    test_images = arguments.test_images or _test_images(device, quick=arguments.quick)
    data = _real(arguments.data) if arguments.data else synthetic(work, test_images)
    size = min(work.train_size, len(data.train.labels))
    work = replace(work, train_size=size, image_shape=data.image_shape, classes=len(data.class_names))
    rounds = arguments.rounds or (2 if arguments.quick else 5)
    done = list(_rounds(work, data, arguments, device, rounds))
    print(f"\n{work.title} of {data.name}, batch {work.batch_size}, {len(done)} rounds")
    training, forward = flops_per_image(work)
    _print_table("training", done, [one.trained for one in done], training)
    _print_table("evaluation", done, [one.evaluated for one in done], forward)
    _print_equality(done)
    if arguments.packs or device.type == "cuda":
        compare_packs(work, data, device, rounds, width=arguments.packs or _PACK_WIDTH)


def _test_images(device: torch.device, *, quick: bool) -> int:
    if device.type == "cuda":
        return 20_800
    return 520 if quick else 5_200


def _real(name: str) -> LoadedDataset:
    return load_dataset(name, Path(os.environ[DATA_VARIABLE]).expanduser())


def _rounds(
    work: Work, data: LoadedDataset, arguments: argparse.Namespace, device: torch.device, rounds: int
) -> Iterator[Round]:
    """Let the sides work in turn, in another order every round."""
    subset = draw(np.asarray(data.train.labels), work.train_size, SubsetSpec())
    plain = f"engine {described(device)['precision']}"
    names = [STUDY, plain] + ([] if arguments.no_bf16 else [BF16])

    def study() -> Mapping[str, StudyLoop]:
        return {STUDY: StudyLoop(work, data, subset, device, arguments.workers, seed=0)}

    def engine(seed: int) -> Build:
        return lambda: {
            name: EngineSide(work, data, subset, device, seed, bf16=name == BF16) for name in names[1:]
        }

    engines = [engine(seed) for seed in range(_processes(device))]
    with team([study], device) as studies, team(engines, device) as ours:
        if device.type == "cuda":
            # The first pass over a GPU's kernels loads them.
            _round(work, names, studies, ours)
        for number in range(rounds):
            first = number % len(names)
            yield _round(work, names[first:] + names[:first], studies, ours)


def _round(work: Work, names: Sequence[str], studies: Team, ours: Team) -> Round:
    teams = {name: studies if name == STUDY else ours for name in names}
    return Round(
        {name: teams[name].train(name, work.epochs) for name in names},
        {name: teams[name].evaluate(name) for name in names},
        {name: ours.matrix_flops(name, bf16=name == BF16) for name in names if name != STUDY},
    )


def _print_table(
    phase: str, rounds: Sequence[Round], done: Sequence[Mapping[str, Sequence[Done]]], flops: float
) -> None:
    """Rates and ratios of one phase: medians over the rounds, ratios with quartiles."""
    print(
        f"  {phase:14}{'images/s':>10}   {'x study [quartiles]':22}{'images/CPU-s':>13}   "
        f"{'x study [quartiles]':22}{'GFLOP/s':>9}  of matrix products"
    )
    for name in sorted(done[0], reverse=True):
        wall = [per_wall_s(one[name]) for one in done]
        cpu = [_per_cpu_s(one[name]) for one in done]
        wall_ratio, cpu_ratio = (
            spread([own / rate(one[STUDY]) for own, one in zip(values, done, strict=True)])
            for values, rate in ((wall, per_wall_s), (cpu, _per_cpu_s))
        )
        reached = [rate * flops for rate in wall]
        share = (
            "-"
            if name == STUDY
            else f"{median(r / one.ceilings[name] for r, one in zip(reached, rounds, strict=True)):.0%} of "
            f"{median(one.ceilings[name] for one in rounds) / 1e9:,.0f}"
        )
        print(
            f"  {name:14}{median(wall):10,.0f}   {wall_ratio:22}{median(cpu):13,.0f}   {cpu_ratio:22}"
            f"{median(reached) / 1e9:9,.0f}  {share}",
            flush=True,
        )


def _per_cpu_s(done: Sequence[Done]) -> float:
    return sum(one.images for one in done) / sum(one.cpu_s for one in done)


def _print_equality(rounds: Sequence[Round]) -> None:
    """Show that the sides did the same: updates, images and losses, one per process."""
    last = rounds[-1]
    print("  each round and process: updates, images; last round: training loss, test loss, test accuracy")
    for name in sorted(last.trained, reverse=True):
        trained, tested = last.trained[name], last.evaluated[name]
        work = {(one.updates, one.images, test.images) for one, test in zip(trained, tested, strict=True)}
        updates, images, test_images = " / ".join(map(str, sorted(work))).strip("()").split(", ")
        values = (
            f"{one.loss:.3f} {test.loss:.3f} {test.accuracy:.3f}"
            for one, test in zip(trained, tested, strict=True)
        )
        print(f"  {name:14}{updates} updates, {images} + {test_images} images; {'; '.join(values)}")


if __name__ == "__main__":
    main()
