"""Part of `benchmarks.training`: one run and many in one process, updates recorded and not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import median

import numpy as np
import torch

from benchmarks.training_processes import team
from benchmarks.training_sides import Done, EngineSide, Side, flops_per_image, per_wall_s, spread
from benchmarks.training_work import Work
from tui_datasize.experiments.spec import SubsetSpec
from tui_datasize.experiments.subsets import draw
from tui_datasize.training.accelerator.interface import Capture
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.engine import Trainer
from tui_datasize.training.graph import CaptureOn, capture_on
from tui_datasize.training.packs.implementations import IMPLEMENTATIONS, PutTogether


class PackSide:
    """Several runs of our engine that one process computes together.

    Args:
        lanes: The runs.
        put_together: How they are computed.
    """

    def __init__(self, lanes: Sequence[EngineSide], put_together: PutTogether) -> None:
        self._lanes = tuple(lanes)
        self._trainers = [lane.trainer for lane in lanes]
        self._together = put_together(self._trainers)
        self._replayed = 0

    def set_up(self) -> None:
        """As a worker sets itself up."""
        self._lanes[0].set_up()

    def train(self, epochs: int) -> Done:
        """Train all so many further epochs."""
        for _ in range(self._lanes[0].updates(epochs)):
            self._together.step(range(len(self._lanes)))
        before, self._replayed = self._replayed, replays(self._trainers)
        done = _sum([lane.trained(epochs) for lane in self._lanes])
        return replace(done, replayed=self._replayed - before)

    def evaluate(self) -> Done:
        """Measure the test split with one after the other."""
        return _sum([lane.evaluate() for lane in self._lanes])


def compare_packs(work: Work, data: LoadedDataset, device: torch.device, rounds: int, *, width: int) -> None:
    """Measure one run, and `width` runs in one process, and print the table."""
    subset = draw(np.asarray(data.train.labels), work.train_size, SubsetSpec())

    def lane(seed: int, capture: CaptureOn) -> EngineSide:
        return EngineSide(work, data, subset, device, seed, bf16=False, capture=capture)

    def build() -> Mapping[str, Side]:
        return _sides(lane, width, device)

    names = _names(width, device)
    with team([build], device) as ours:
        # Kernels are loaded and updates recorded in it.
        for name in names:
            ours.train(name, work.epochs)
        done: list[dict[str, list[Done]]] = []
        for number in range(rounds):
            first = number % len(names)
            done.append({name: ours.train(name, work.epochs) for name in names[first:] + names[:first]})
        ceiling = ours.matrix_flops(names[0], bf16=False)
    _print_table(names, done, flops_per_image(work)[0], ceiling)


def replays(trainers: Sequence[Trainer]) -> int:
    """How many updates, those of all runs counted, were replays of recorded ones."""
    return sum(trainer.replayed for trainer in trainers)


def no_capture(_device: torch.device, _generators: Sequence[torch.Generator]) -> Capture | None:
    """Record nothing."""
    return None


def _names(width: int, device: torch.device) -> list[str]:
    alone = ["one run, eager", "one run, graphs"] if device.type == "cuda" else ["one run"]
    return alone + [f"{width} {name}" for name in IMPLEMENTATIONS]


def _sides(lane: Callable[[int, CaptureOn], EngineSide], width: int, device: torch.device) -> dict[str, Side]:
    """By the names of the table, in its order."""
    alone: list[Side] = [lane(0, capture_on)]
    if device.type == "cuda":
        alone.insert(0, lane(0, no_capture))
    together: list[Side] = [
        PackSide([lane(seed, capture_on) for seed in range(width)], put_together)
        for put_together in IMPLEMENTATIONS.values()
    ]
    return dict(zip(_names(width, device), alone + together, strict=True))


def _sum(parts: Sequence[Done]) -> Done:
    """All runs together, each alike."""
    return replace(
        parts[0],
        images=sum(part.images for part in parts),
        updates=sum(part.updates for part in parts),
        loss=sum(part.loss for part in parts) / len(parts),
        accuracy=sum(part.accuracy for part in parts) / len(parts),
    )


def _print_table(
    names: Sequence[str], rounds: Sequence[Mapping[str, Sequence[Done]]], flops: float, ceiling: float
) -> None:
    """Rates of training, and ratios to the first name round by round: medians, ratios with quartiles."""
    print(
        f"  {'one process':22}{'images/s':>10}   {'x ' + names[0] + ' [quartiles]':30}{'GFLOP/s':>9}"
        f"  of {ceiling / 1e9:,.0f}   replayed updates; mean loss"
    )
    for name in names:
        rates = [per_wall_s(one[name]) for one in rounds]
        ratio = spread([rate / per_wall_s(one[names[0]]) for rate, one in zip(rates, rounds, strict=True)])
        last = rounds[-1][name][0]
        print(
            f"  {name:22}{median(rates):10,.0f}   {ratio:30}{median(rates) * flops / 1e9:9,.0f}"
            f"  {median(rates) * flops / ceiling:.0%}   {last.replayed} of {last.updates}; {last.loss:.3f}",
            flush=True,
        )
