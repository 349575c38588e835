"""Whether the device computes what float64 on the CPU does, and what else it could do, in images/s."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tui_datasize.experiments.spec import ModelSpec, Precision
from tui_datasize.training.models import build_model
from tui_datasize.training.selftest import subject as subjects
from tui_datasize.training.selftest.record import Findings
from tui_datasize.training.selftest.subject import CLASSES, Shape, Subject
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


def run(subject: Subject, findings: Findings) -> None:
    """Compares every model in each precision, then measures large ones where there is a card."""
    worst: dict[str, float] = {}
    for name, (spec, shape) in _MODELS.items():
        model = _model(spec, shape)
        images = torch.randn((_IMAGES, *shape), generator=torch.Generator().manual_seed(1))
        expected = _computed(copy.deepcopy(model).double(), images.double())
        for precision in _precisions(subject):
            subject.open(precision)
            found = _computed_on(subject, model, images, precision)
            error = max(_relative(one, other) for one, other in zip(found, expected, strict=True))
            worst[precision] = max(worst.get(precision, 0.0), error)
            tolerance = _TOLERANCES[precision]
            findings.check(
                f"{name} in {precision}",
                error <= tolerance,
                f"off by {error:.2g}, expected {tolerance:g} at most",
            )
    findings.figure("largest_relative_errors", worst)
    listed = ", ".join(f"{precision} {error:.1g}" for precision, error in worst.items())
    findings.say(f"{len(_MODELS)} models against float64, relative errors at most: {listed}")
    if subject.is_card:
        for large in _LARGE:
            findings.figure(large, _large(subject, large))


def _precisions(subject: Subject) -> list[Precision]:
    accelerator = subject.accelerator
    tf32: list[Precision] = ["tf32"] if accelerator.multiplies_tf32 else []
    return ["fp32", *tf32, "bf16"]


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


def _computed_on(
    subject: Subject, model: nn.Module, images: Tensor, precision: Precision
) -> tuple[Tensor, Tensor]:
    placed = copy.deepcopy(model).to(subject.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    with subject.accelerator.autocast(precision):
        return _computed(placed, images.to(subject.device))


def _relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


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
    for batch in (32, 512):
        rates[f"evaluation, {batch} images at once"] = batch / subject.seconds_per_step(
            _forward(subject, trainer.model, batch, shape)
        )
    return rates


def _forward(subject: Subject, model: nn.Module, batch: int, shape: Shape) -> Callable[[], object]:
    images = torch.zeros((batch, *shape), device=subject.device).to(memory_format=torch.channels_last)
    model.eval()

    def forward() -> object:
        with torch.inference_mode(), subject.accelerator.autocast("bf16"):
            return model(images)

    return forward
