"""The optimisers of a specification, as torch makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import nan
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer

from tui_datasize.experiments.spec import OptimizerName, OptimizerSpec
from tui_datasize.training.accelerator.choice import accelerator_of

MakeOptimizer: TypeAlias = Callable[[Iterable[Tensor], OptimizerSpec], Optimizer]


def build_optimizer(parameters: Iterable[Tensor], spec: OptimizerSpec) -> Optimizer:
    """An optimiser on torch's fused kernels, one launch per update whatever the number of tensors."""
    return _OPTIMIZERS[spec.name](parameters, spec)


class LearningRate:
    """The learning rate of an optimiser's steps.

    The groups of the optimiser hold it as a plain number, so that its state can be saved and loaded
    anywhere. A step that may be recorded reads it from a tensor instead: recording copies numbers.

    Args:
        optimizer: Takes the steps.
        device: Where the tensor is needed; None where no step is recorded.
    """

    def __init__(self, optimizer: Optimizer, device: torch.device | None) -> None:
        self._optimizer = optimizer
        self._tensor: Tensor | None = None
        if device:
            self._tensor = torch.empty((), dtype=accelerator_of(device).rate_dtype, device=device)
        self._filled = nan

    def set(self, value: float) -> None:
        """Use this value from the next step on; not to be recorded."""
        for group in self._optimizer.param_groups:
            group["lr"] = value
        if self._tensor is not None and value != self._filled:
            self._tensor.fill_(value)
            self._filled = value

    def step(self) -> None:
        """Have the optimiser make one step; may be recorded, once it has made one before."""
        if self._tensor is None:
            self._optimizer.step()
            return
        groups = self._optimizer.param_groups
        kept = [dict(group) for group in groups]
        # Torch asks that a step be declared fit for recording, and warns of that outside one.
        is_recorded = accelerator_of(self._tensor.device).is_recording
        try:
            for group in groups:
                group.update(lr=self._tensor, capturable=is_recorded)
            self._optimizer.step()
        finally:
            for group, before in zip(groups, kept, strict=True):
                group.clear()
                group.update(before)


def _adamw(parameters: Iterable[Tensor], spec: OptimizerSpec) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), torch's default betas and epsilon."""
    return AdamW(parameters, lr=spec.lr, weight_decay=spec.weight_decay, fused=True)


def _sgd(parameters: Iterable[Tensor], spec: OptimizerSpec) -> Optimizer:
    """Stochastic gradient descent with momentum, as torch defines it (velocity without lr)."""
    return SGD(
        parameters,
        lr=spec.lr,
        weight_decay=spec.weight_decay,
        momentum=spec.momentum,
        nesterov=spec.nesterov,
        fused=True,
    )


_OPTIMIZERS: Mapping[OptimizerName, MakeOptimizer] = MappingProxyType({"adamw": _adamw, "sgd": _sgd})
