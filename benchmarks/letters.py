"""The study of letters as a whole: 110 runs of cnn3, in every way that one process can compute them.

`python -m benchmarks.letters [--ways eager graphs streams packs] [--width 10] [--bf16] [--scale S]
[--sizes N ...] [--seeds 10] [--workers 4] [--no-study]` runs on the GPU where torch sees one, else on the
CPU. Synthetic images of 28x28 of 26 classes; each run sees 144,000 of them in batches of 72 and evaluates
its subset and 20,800 test images twelve times, with all scores of the record, but without the queue, the
imports and the files of a run. `eager` and `graphs` train one run after the other, `streams` and `packs`
`--width` seeds of one size at once. The study's own data path is measured at two sizes on the same device
and projected to the same runs, without its evaluations of the subset, which it did not make. `--scale`
shortens runs and test split alike.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from types import MappingProxyType

import numpy as np
import torch

from benchmarks.training_packs import no_capture, replays
from benchmarks.training_processes import team
from benchmarks.training_sides import Done, cores, flops_per_image, matrix_flops, timed
from benchmarks.training_study import StudyLoop
from benchmarks.training_work import Work, letters, synthetic
from tui_datasize.experiments.budget import evaluation_updates, total_updates
from tui_datasize.experiments.spec import Budget, Protocol, RunSpec, SubsetSpec
from tui_datasize.experiments.subsets import draw
from tui_datasize.training.accelerator import device as devices
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.engine import Trainer
from tui_datasize.training.evaluate import Tally, predict, score
from tui_datasize.training.graph import CaptureOn, capture_on
from tui_datasize.training.packs.fused import Fused
from tui_datasize.training.packs.implementations import PutTogether, SideBySide, Together
from tui_datasize.training.placement import ImageBatches, place_images

_SIZES = (750, 800, 1000, 1200, 1500, 2000, 2400, 3000, 4000, 6000, 12_000)
_SAMPLES = 144_000
_EVALUATIONS = 12
_TEST_IMAGES = 20_800
_STUDY_SIZES = (750, 3000)


class _Alone(SideBySide):
    """One run, as a worker trains it: on the stream that there is."""

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        (self._trainer,) = trainers

    def step(self, lanes: Sequence[int]) -> None:
        """Make one update of the only lane."""
        assert list(lanes) == [0]
        self._trainer.step()


@dataclass(frozen=True, slots=True)
class _Way:
    """How runs are computed."""

    put_together: PutTogether
    capture: CaptureOn = capture_on
    is_wide: bool = True


_WAYS: Mapping[str, _Way] = MappingProxyType(
    {
        "eager": _Way(_Alone, no_capture, is_wide=False),
        "graphs": _Way(_Alone, is_wide=False),
        "streams": _Way(SideBySide),
        "packs": _Way(Fused),
    }
)


@dataclass(frozen=True, slots=True)
class _Sweep:
    """The runs, and what they are made on."""

    specs: Sequence[RunSpec]
    """Those of one size one after the other."""
    data: LoadedDataset
    device: torch.device

    def groups(self, width: int) -> Iterator[Sequence[RunSpec]]:
        """So many runs of one size at a time."""
        for size in dict.fromkeys(spec.train_size for spec in self.specs):
            alike = [spec for spec in self.specs if spec.train_size == size]
            yield from (alike[start : start + width] for start in range(0, len(alike), width))

    def images(self) -> tuple[int, int]:
        """Trained on, and evaluated, in all runs."""
        trained = sum(total_updates(spec) * spec.batch_size for spec in self.specs)
        test = len(self.data.test.labels)
        return trained, sum(_evaluations(spec) * (spec.train_size + test) for spec in self.specs)


def main() -> None:
    """Compute the sweep in the ways asked for and print a line for each."""
    arguments = _parser().parse_args()
    # Asked in a way that leaves the study's process, forked later, free to use it.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1)
    work = letters(max(*arguments.sizes, *_STUDY_SIZES), epochs=1)
    data = synthetic(work, max(work.classes, round(_TEST_IMAGES * arguments.scale)))
    sweep = _Sweep(_specs(work, arguments), data, device)
    study_s = 0.0 if arguments.no_study else _study_s(work, sweep, arguments.workers)
    _print_setting(sweep, arguments, study_s)
    for name in arguments.ways:
        _print_way(name, work, sweep, arguments, study_s)
    print(f"load {os.getloadavg()[0]:.1f} after")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.letters")
    parser.add_argument("--ways", nargs="+", choices=list(_WAYS), default=list(_WAYS))
    parser.add_argument("--width", type=int, default=10, help="runs trained at once")
    parser.add_argument("--bf16", action="store_true", help="instead of fp32 on a CPU and tf32 on a GPU")
    parser.add_argument("--scale", type=float, default=1.0, help="length of the runs and of the test split")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(_SIZES))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--workers", type=int, default=4, help="of each DataLoader of the study's loop")
    parser.add_argument("--no-study", action="store_true", help="leave the study's own data path out")
    return parser


def _specs(work: Work, arguments: argparse.Namespace) -> list[RunSpec]:
    return [
        replace(
            work.spec(seed, size, bf16=arguments.bf16),
            budget=Budget("samples", max(work.batch_size, round(_SAMPLES * arguments.scale))),
            evaluations=_EVALUATIONS,
            protocol=Protocol(),
        )
        for size in arguments.sizes
        for seed in range(arguments.seeds)
    ]


def _evaluations(spec: RunSpec) -> int:
    return len(evaluation_updates(total_updates(spec), spec.evaluations))


def _study_s(work: Work, sweep: _Sweep, workers: int) -> float:
    """Seconds that the study's data path would take for all runs, from a few of its epochs.

    An epoch costs its images and, whatever their number, the start of the loader's workers.
    """

    def build() -> Mapping[str, StudyLoop]:
        return {
            str(size): StudyLoop(work, sweep.data, np.arange(size), sweep.device, workers, seed=0)
            for size in _STUDY_SIZES
        }

    with team([build], sweep.device) as study:
        # The first pass over a device's kernels loads them.
        study.train(str(_STUDY_SIZES[0]), 1)
        small_s, large_s = (study.train(str(size), 1)[0].wall_s for size in _STUDY_SIZES)
        test_s = study.evaluate(str(_STUDY_SIZES[0]))[0].wall_s
    image_s = (large_s - small_s) / (_STUDY_SIZES[1] - _STUDY_SIZES[0])
    start_s = max(0.0, small_s - image_s * _STUDY_SIZES[0])
    training_s = (
        total_updates(spec) * spec.batch_size * (image_s + start_s / spec.train_size) for spec in sweep.specs
    )
    return sum(training_s) + test_s * sum(map(_evaluations, sweep.specs))


def _print_setting(sweep: _Sweep, arguments: argparse.Namespace, study_s: float) -> None:
    facts = devices.describe(sweep.device, "bf16" if arguments.bf16 else "auto")
    trained, evaluated = sweep.images()
    print(
        f"{facts['device_name']}, {cores()} CPU cores, torch {facts['torch']}, {facts['precision']}, "
        f"load {os.getloadavg()[0]:.1f} before\n"
        f"{len(sweep.specs)} runs, {trained:,} images trained on, {evaluated:,} evaluated"
    )
    if study_s:
        print(f"the study's data path would take {study_s:,.0f} s ({study_s / 60:,.1f} min), projected")
    print(
        f"{'way':9}{'wall s':>9}{'images/s':>11}{'x study':>9}  {'of matrix products':26}"
        f"{'replayed updates':>20}{'peak GB':>9}  test accuracy",
        flush=True,
    )


def _print_way(name: str, work: Work, sweep: _Sweep, arguments: argparse.Namespace, study_s: float) -> None:
    way = _WAYS[name]
    devices.set_up(sweep.device, sweep.specs[0].precision)
    ceiling = matrix_flops(sweep.device, bf16=arguments.bf16)
    done = timed(lambda: _compute(way, sweep, arguments.width if way.is_wide else 1), sweep.device)
    trained, evaluated = sweep.images()
    training, forward = flops_per_image(work)
    reached = (trained * training + evaluated * forward) / done.wall_s
    peak = torch.cuda.max_memory_allocated(sweep.device) / 1e9 if sweep.device.type == "cuda" else 0.0
    gain = f"{study_s / done.wall_s:.1f}" if study_s else "-"
    print(
        f"{name:9}{done.wall_s:9.1f}{done.images / done.wall_s:11,.0f}{gain:>9}  "
        f"{f'{reached / ceiling:.1%} of {ceiling / 1e9:,.0f} GFLOP/s':26}"
        f"{f'{done.replayed:,} of {done.updates:,}':>20}{peak:9.2f}  {done.accuracy:.3f}",
        flush=True,
    )


def _compute(way: _Way, sweep: _Sweep, width: int) -> Done:
    """Train all runs, some at a time."""
    measured = _Measured(place_images(sweep.data.test, slice(None), sweep.device), sweep.data)
    accuracies: list[float] = []
    replayed = 0
    for specs in sweep.groups(width):
        trainers = [_trainer(spec, sweep, way.capture) for spec in specs]
        together = way.put_together(trainers)
        accuracies += _train(together, trainers, specs[0], measured)
        replayed += replays(trainers)
    updates = sum(map(total_updates, sweep.specs))
    return Done(sum(sweep.images()), updates, float("nan"), float(np.mean(accuracies)), replayed)


def _trainer(spec: RunSpec, sweep: _Sweep, capture: CaptureOn) -> Trainer:
    subset = draw(np.asarray(sweep.data.train.labels), spec.train_size, SubsetSpec())
    return Trainer(spec, sweep.data, subset, sweep.device, capture=capture)


def _train(
    together: Together, trainers: Sequence[Trainer], spec: RunSpec, measured: _Measured
) -> list[float]:
    """Train runs of one length together; their test accuracies at the end."""
    updates = total_updates(spec)
    due = frozenset(evaluation_updates(updates, spec.evaluations))
    accuracies: list[float] = []
    for update in range(1, updates + 1):
        together.step(range(len(trainers)))
        if update in due:
            accuracies = [measured.accuracy(trainer) for trainer in trainers]
    return accuracies


@dataclass(frozen=True, slots=True)
class _Measured:
    """What an evaluation is made on, beside the run's subset."""

    test: ImageBatches
    data: LoadedDataset

    def accuracy(self, trainer: Trainer) -> float:
        """Measure both splits with all scores, as a session does; returns the test accuracy."""
        trainer.read()
        self._scores(trainer, trainer.subset, keep_all=False)
        return self._scores(trainer, self.test, keep_all=True)["accuracy"] or 0.0

    def _scores(self, trainer: Trainer, split: ImageBatches, *, keep_all: bool) -> Mapping[str, float | None]:
        outputs = predict(
            trainer.evaluated_model,
            split,
            trainer.view,
            Tally(len(self.data.class_names), keep_all=keep_all),
            batch_size=devices.evaluation_batch_size(trainer.device, prod(self.data.image_shape)),
            autocast=trainer.autocast,
            check=lambda: None,
        )
        return score(outputs).scores


if __name__ == "__main__":
    main()
