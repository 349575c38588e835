"""The optimisers of a specification, as torch makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer

from tui_datasize.experiments.spec import OptimizerName, OptimizerSpec

MakeOptimizer: TypeAlias = Callable[[Iterable[Tensor], OptimizerSpec], Optimizer]


def build_optimizer(parameters: Iterable[Tensor], spec: OptimizerSpec) -> Optimizer:
    """An optimiser on torch's fused kernels, one launch per update whatever the number of tensors."""
    return _OPTIMIZERS[spec.name](parameters, spec)


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
