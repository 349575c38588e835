"""Fused lanes against their runs alone, one of them with a loss that is no number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from tui_datasize.experiments.spec import OptimizerSpec, RunSpec
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.engine import Trainer
from tui_datasize.training.packs.fused import Fused
from tui_datasize.training.selftest.record import Findings
from tui_datasize.training.selftest.subject import Subject, SubjectResult, images, kinds, make, outcome

_UPDATES = 5
_TOLERANCES = {"cnn3 in bf16": 5e-2}
_TOLERANCE = 1e-2
"""Of losses in nats after so few updates: a card computes in tf32; tests hold fp32 to a thousandth of it."""


def run(subject: Subject, findings: Findings) -> None:
    """Trains packs of two widths."""
    data = images(is_card=subject.is_card)
    widths = (8, 32) if subject.is_card else (2, 3)
    worst: dict[str, float] = {}
    for name, spec in kinds(is_card=subject.is_card).items():
        for width in widths[: 1 if name in _TOLERANCES else 2]:
            fused = _fused(subject, _lanes(spec, width), data)
            alone = make(subject.trainer(_lanes(spec, width)[1], data), _UPDATES)
            off = _largest_gap(fused[1].read().losses, alone.read().losses)
            worst[f"{name}, {width} lanes"] = off
            most = _TOLERANCES.get(name, _TOLERANCE)
            findings.check(f"{name}, {width} lanes", off <= most, f"losses are off by {off:.2g} nats")
        if name not in _TOLERANCES:
            _check_neighbours(subject, findings, name, spec, data, widths[0])
    findings.figure("largest_gaps_of_losses", worst)
    gap = max(worst.values())
    findings.say(f"lanes agree with their runs alone within {gap:.1g} nats; one that is NaN touches no other")


def _check_neighbours(
    subject: Subject, findings: Findings, name: str, spec: RunSpec, data: LoadedDataset, width: int
) -> None:
    sound = _lanes(spec, width)
    bad = replace(sound[0], optimizer=OptimizerSpec(spec.optimizer.name, lr=1e30), clip_grad_norm=None)
    here = [outcome(lane, data) for lane in _fused(subject, sound, data)[1:]]
    beside = _fused(subject, [bad, *sound[1:]], data)
    findings.check(f"{name}: a lane that is to be NaN", not _is_finite(beside[0]), "it is not")
    touched = [
        str(lane)
        for lane, (one, other) in enumerate(zip(beside[1:], here, strict=True), 1)
        if SubjectResult.differences(outcome(one, data), other)
    ]
    findings.check(f"{name}: lanes beside a NaN", not touched, f"not equal: lanes {', '.join(touched)}")


def _lanes(spec: RunSpec, width: int) -> list[RunSpec]:
    return [replace(spec, seed=lane) for lane in range(width)]


def _fused(subject: Subject, specs: Sequence[RunSpec], data: LoadedDataset) -> list[Trainer]:
    lanes = [subject.trainer(spec, data) for spec in specs]
    pack = Fused(lanes)
    for _ in range(_UPDATES):
        pack.step(range(len(lanes)))
    return lanes


def _is_finite(trainer: Trainer) -> bool:
    return all(bool(torch.isfinite(value).all()) for value in trainer.model.state_dict().values())


def _largest_gap(some: Sequence[float], others: Sequence[float]) -> float:
    gaps = [abs(one - other) for one, other in zip(some, others, strict=True)]
    return max((math.inf if math.isnan(gap) else gap for gap in gaps), default=math.inf)
