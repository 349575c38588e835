"""Batch normalisation of many lanes as one of all their channels.

What the library makes of it under `vmap` adds up the gradients of scales and shifts over all lanes'
channels at once, in an order that depends on where among them a lane stands.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm


def fold_lanes(template: nn.Module) -> None:
    """Have a module that is only called under `vmap` normalise all lanes at once."""
    for module in template.modules():
        if isinstance(module, nn.BatchNorm2d):
            # The same parameters, statistics and hooks under the same names.
            module.__class__ = _LaneNorm


class _LaneNorm(nn.BatchNorm2d):
    def forward(self, values: Tensor) -> Tensor:
        if not self.training:
            return super().forward(values)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        normalised: Tensor = _Normalise.apply(
            values, self.weight, self.bias, self.running_mean, self.running_var, self.momentum, self.eps
        )
        return normalised


class _Normalise(torch.autograd.Function):
    """Normalisation by the statistics of the batch; moves the running ones."""

    @staticmethod
    def forward(*given: Any) -> Tensor:
        return _normalise(*given)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: under `vmap` the library differentiates what is called below."""

    @staticmethod
    def vmap(
        _info: Any, in_dims: tuple[int, ...], values: Tensor, *of_channels_and_numbers: Any
    ) -> tuple[Tensor, int]:
        *of_channels, momentum, eps = of_channels_and_numbers
        # From (K, B, C, H, W) in any order to (B, K * C, H, W).
        in_order = values.movedim(in_dims[0], 1)
        # As views, so that the running statistics move where they are.
        weight, bias, mean, var = (tensor.view(-1) for tensor in of_channels)
        normalised = _normalise(in_order.flatten(1, 2), weight, bias, mean, var, momentum, eps)
        return normalised.reshape(in_order.shape), 1


def _normalise(
    values: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    eps: float,
) -> Tensor:
    return batch_norm(
        values, running_mean, running_var, weight, bias, training=True, momentum=momentum, eps=eps
    )
