"""What a model costs: parameters and arithmetic."""

from __future__ import annotations

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from tui_datasize.training.models.blueprint import ImageShape


def describe_cost(model: nn.Module, image_shape: ImageShape) -> dict[str, int]:
    """Facts for `provenance.json`, counted without computing anything.

    Args:
        model: On any device; left as it is.
        image_shape: Channels, height and width of one image.

    Returns:
        `parameters`, `trainable_parameters` (those that are not frozen) and `flops_per_image`: of
        the forward pass over one image, convolutions and matrix products alone, a multiplication
        and its addition counted as two.
    """
    parameters = list(model.parameters())
    return {
        "parameters": sum(p.numel() for p in parameters),
        "trainable_parameters": sum(p.numel() for p in parameters if p.requires_grad),
        "flops_per_image": _forward_flops(model, image_shape),
    }


def _forward_flops(model: nn.Module, image_shape: ImageShape) -> int:
    with FlopCounterMode(display=False) as counter:
        run_without_values(model, image_shape)
    return int(counter.get_total_flops())


def run_without_values(model: nn.Module, image_shape: ImageShape) -> torch.Size:
    """Shape of the logits for one image, by a pass over shapes alone."""
    values = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    shapes = {name: torch.empty_like(value, device="meta") for name, value in values.items()}
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            image = torch.empty(1, *image_shape, device="meta")
            logits: torch.Tensor = functional_call(model, shapes, (image,))
    finally:
        model.train(was_training)
    return logits.shape
