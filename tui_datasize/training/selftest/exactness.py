"""Whether numbers are right and repeat: against float64, bit for bit, as recorded updates, in packs."""

from __future__ import annotations

import copy
import math
import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from tui_datasize.errors import EXIT_OK
from tui_datasize.experiments.spec import ModelSpec, OptimizerSpec, Precision, RunSpec
from tui_datasize.training import checkpoint
from tui_datasize.training.accelerator.interface import Capture
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.engine import Readings, Trainer
from tui_datasize.training.graph import capture_on
from tui_datasize.training.models import build_model
from tui_datasize.training.packs.fused import Fused
from tui_datasize.training.packs.implementations import SideBySide
from tui_datasize.training.selftest import subject as subjects
from tui_datasize.training.selftest.child import in_fork
from tui_datasize.training.selftest.record import Findings
from tui_datasize.training.selftest.subject import (
    CLASSES,
    Shape,
    Subject,
    SubjectResult,
    check_equal,
    images,
    kinds,
    make,
    outcome,
    recording_by,
)
from tui_datasize.training.streams import Purpose, stream

_MODELS: dict[str, tuple[ModelSpec, Shape]] = {
    "mlp": (ModelSpec("mlp"), (1, 28, 28)),
    "cnn3": (ModelSpec("cnn3", {"width": 16}), (1, 28, 28)),
    "ResNet-20": (ModelSpec("resnet", {"depth": 20}), (3, 32, 32)),
    "AlexNet": (ModelSpec("alexnet", {"width": 16, "input_px": 67}), (3, 67, 67)),
    "MobileNetV2": (ModelSpec("torchvision:mobilenet_v2", {"input_px": 64}), (3, 64, 64)),
}
_IMAGES = 16
_TOLERANCES: dict[Precision, float] = {"fp32": 1e-3, "tf32": 2e-2, "bf16": 2e-1}
"""Of logits and of the norm of gradients, relative to the largest logit and to the norm."""
_LARGE = ("torchvision:mobilenet_v2", "torchvision:resnet50")
_LARGE_PX = 224
_BATCH = 128


def check_kernels(subject: Subject, findings: Findings) -> None:
    """Compares every model in each precision, then measures large ones where there is a GPU."""
    has_tf32 = subject.accelerator.multiplies_tf32
    tolerances = {name: most for name, most in _TOLERANCES.items() if name != "tf32" or has_tf32}
    worst: dict[str, float] = {}
    for name, (spec, shape) in _MODELS.items():
        model = _model(spec, shape)
        images = torch.randn((_IMAGES, *shape), generator=torch.Generator().manual_seed(1))
        expected = _computed(copy.deepcopy(model).double(), images.double())
        for precision, tolerance in tolerances.items():
            subject.open(precision)
            placed = copy.deepcopy(model).to(subject.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            with subject.accelerator.autocast(precision):
                found = _computed(placed, images.to(subject.device))
            error = max(
                float((one - other).abs().max() / other.abs().max())
                for one, other in zip(found, expected, strict=True)
            )
            worst[precision] = max(worst.get(precision, 0.0), error)
            findings.check(
                f"{name} in {precision}",
                error <= tolerance,
                f"off by {error:.2g}, expected {tolerance:g} at most",
            )
    findings.figure("largest_relative_errors", worst)
    listed = ", ".join(f"{precision} {error:.1g}" for precision, error in worst.items())
    findings.say(f"{len(_MODELS)} models against float64, relative errors at most: {listed}")
    if subject.is_gpu:
        for large in _LARGE:
            findings.figure(large, _large(subject, large))


def _model(spec: ModelSpec, shape: Shape) -> nn.Module:
    # Without dropout, whose masks differ from device to device.
    model = build_model(
        spec,
        shape,
        CLASSES,
        initialisation=stream(0, Purpose.INITIALISATION),
        dropout=stream(0, Purpose.DROPOUT),
    )
    return model.eval()


def _computed(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and the norm of the gradients of their mean square, on the CPU in float64."""
    logits = model(images)
    exact = logits if logits.dtype == torch.float64 else logits.float()
    exact.square().mean().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    norm = torch.stack([gradient.double().norm() for gradient in gradients]).norm()
    return logits.detach().double().cpu(), norm.cpu()


def _large(subject: Subject, name: str) -> dict[str, float]:
    """Images/s of a large model in bf16: trained with fixed and with measured algorithms, and evaluated."""
    shape = (3, _LARGE_PX, _LARGE_PX)
    spec = subjects.spec(ModelSpec(name), precision="bf16", train_size=2 * _BATCH, batch_size=_BATCH)
    data = subjects.dataset(2 * _BATCH, shape)
    rates: dict[str, float] = {}
    for way, measures in (("fixed algorithms", False), ("measured algorithms", True)):
        trainer = subject.trainer(spec, data)
        subject.accelerator.measure_algorithms(measures)
        rates[f"training, {way}"] = _BATCH / subject.seconds_per_step(trainer.step)
    subject.open("bf16")
    model = trainer.model.eval()
    with torch.inference_mode(), subject.accelerator.autocast("bf16"):
        for batch in (32, 512):
            images = torch.zeros((batch, *shape), device=subject.device)
            forward = partial(model, images.to(memory_format=torch.channels_last))
            rates[f"evaluation, {batch} images at once"] = batch / subject.seconds_per_step(forward)
    return rates


_LANES = 3
_IDENTITY = {"run": "selftest"}


def check_bits(subject: Subject, findings: Findings) -> None:
    """Compares weights, losses, gradient norms and every column of evaluations."""
    updates, data, specs = _work(subject)
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own; this one has opened no device.
        status = in_fork(partial(_train_and_die, subject, Path(folder)))
        if status != -signal.SIGKILL:
            raise RuntimeError(f"the process that was to be killed ended with {status}")
        for name, spec in specs.items():
            expected = _alone(subject, spec, data, updates)
            check_equal(findings, f"{name}: again", _alone(subject, spec, data, updates), expected)
            resumed = _resumed(subject, spec, data, updates, Path(folder, f"{name}.pt"))
            check_equal(findings, f"{name}: after kill -9", resumed, expected)
            beside = _side_by_side(subject, spec, data, updates)
            check_equal(findings, f"{name}: side by side", beside, expected)
    columns = sum(key.startswith("test ") for key in expected.scores)
    findings.figure("updates", updates)
    findings.say(
        f"{len(specs)} kinds of run again, after kill -9 and side by side: "
        f"weights and {columns} columns of evaluations are equal"
    )


def _work(subject: Subject) -> tuple[int, LoadedDataset, Mapping[str, RunSpec]]:
    updates = 60 if subject.is_gpu else 6
    return updates, images(is_gpu=subject.is_gpu), kinds(is_gpu=subject.is_gpu)


def _alone(subject: Subject, spec: RunSpec, data: LoadedDataset, updates: int) -> SubjectResult:
    return outcome(make(subject.trainer(spec, data), updates), data)


def _side_by_side(subject: Subject, spec: RunSpec, data: LoadedDataset, updates: int) -> SubjectResult:
    """Of one of several lanes, neither the first nor the last."""
    lanes = [
        subject.trainer(replace(spec, seed=spec.seed + shift), data) for shift in (1, 0, *range(2, _LANES))
    ]
    together = SideBySide(lanes)
    for _ in range(updates):
        together.step(range(_LANES))
    return outcome(lanes[1], data)


def _resumed(
    subject: Subject, spec: RunSpec, data: LoadedDataset, updates: int, saved: Path
) -> SubjectResult:
    state = checkpoint.load(saved, _IDENTITY)
    if state is None:
        raise RuntimeError("the process that was killed left no checkpoint")
    trainer = subject.trainer(spec, data)
    trainer.load_state_dict(state["trainer"])
    later = make(trainer, updates - trainer.update).read()
    losses = (*state["losses"], *later.losses)
    return outcome(trainer, data, Readings(losses, (*state["gradient_norms"], *later.gradient_norms)))


def _train_and_die(subject: Subject, folder: Path) -> int:
    """Train each kind of run for a part, and die."""
    updates, data, specs = _work(subject)
    for name, spec in specs.items():
        trainer = make(subject.trainer(spec, data), updates // 2)
        measured = trainer.read()
        state = {
            "trainer": trainer.state_dict(),
            "losses": list(measured.losses),
            "gradient_norms": list(measured.gradient_norms),
        }
        checkpoint.save(folder / f"{name}.pt", _IDENTITY, state)
        make(trainer, 1)
    os.kill(os.getpid(), signal.SIGKILL)
    return EXIT_OK


_RECORDED_UPDATES = 40


class _Waits(nn.Module):
    """Has the host wait for the device, which no recording can hold."""

    def forward(self, values: Tensor) -> Tensor:
        return values * (2 if values.sum().item() > 0 else 3)


def never_recorded(device: torch.device, generators: Sequence[torch.Generator]) -> Capture | None:
    """In the place of `capture_on`: refuses to record."""

    def refuse(_work: object) -> None:
        raise RuntimeError("not recorded, for comparison")

    own = capture_on(device, generators)
    return recording_by(own, refuse) if own else None


def check_recording(subject: Subject, findings: Findings) -> None:
    """Compares recorded with single updates, without and with a recording that is refused between."""
    data = images(is_gpu=True)
    for name, spec in kinds(is_gpu=subject.is_gpu).items():
        single = make(subject.trainer(spec, data, never_recorded), _RECORDED_UPDATES)
        recorded = make(subject.trainer(spec, data), _RECORDED_UPDATES)
        findings.check(f"{name}: is recorded", recorded.replayed > 0, "no update was a replay")
        check_equal(findings, f"{name}: recorded", outcome(recorded, data), outcome(single, data))
    spec = kinds(is_gpu=subject.is_gpu)["cnn3 with dropout and clipping"]
    single, refused = (subject.trainer(spec, data, way) for way in (never_recorded, capture_on))
    for one in (single, refused):
        one.model = nn.Sequential(_Waits(), one.model)
        make(one, _RECORDED_UPDATES)
    findings.check("an update that waits is not recorded", refused.replayed == 0, "it was")
    check_equal(findings, "a run whose recording is refused", outcome(refused, data), outcome(single, data))
    after = make(subject.trainer(spec, data), _RECORDED_UPDATES)
    findings.check("runs after it are recorded", after.replayed > 0, "no update was a replay")
    findings.figure("replayed", after.replayed)
    findings.say(
        f"{after.replayed} of {_RECORDED_UPDATES} updates are replays, equal to single ones; "
        "a refused one goes on"
    )


_PACK_UPDATES = 5
_LOSS_TOLERANCES = {"cnn3 in bf16": 5e-2}
_LOSS_TOLERANCE = 1e-2
"""Of losses in nats after so few updates: a GPU computes in tf32; tests hold fp32 to a thousandth of it."""


def check_packs(subject: Subject, findings: Findings) -> None:
    """Trains packs of two widths."""
    data = images(is_gpu=subject.is_gpu)
    widths = (8, 32) if subject.is_gpu else (2, 3)
    worst: dict[str, float] = {}
    for name, spec in kinds(is_gpu=subject.is_gpu).items():
        for width in widths[: 1 if name in _LOSS_TOLERANCES else 2]:
            fused = _fused(subject, _lanes(spec, width), data)
            alone = make(subject.trainer(_lanes(spec, width)[1], data), _PACK_UPDATES)
            losses = zip(fused[1].read().losses, alone.read().losses, strict=True)
            gaps = [abs(one - other) for one, other in losses]
            off = max((math.inf if math.isnan(gap) else gap for gap in gaps), default=math.inf)
            worst[f"{name}, {width} lanes"] = off
            most = _LOSS_TOLERANCES.get(name, _LOSS_TOLERANCE)
            findings.check(f"{name}, {width} lanes", off <= most, f"losses are off by {off:.2g} nats")
        if name not in _LOSS_TOLERANCES:
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
    values = beside[0].model.state_dict().values()
    is_finite = all(bool(torch.isfinite(value).all()) for value in values)
    findings.check(f"{name}: a lane that is to be NaN", not is_finite, "it is not")
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
    for _ in range(_PACK_UPDATES):
        pack.step(range(len(lanes)))
    return lanes
