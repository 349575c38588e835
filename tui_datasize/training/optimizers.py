"""AdamW and SGD on torch's fused kernels, through its functional interface.

The classes of `torch.optim` import torch's compiler when they are made: six more seconds before the
first update of every run, twice what a small run takes in all. The functions behind them do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from tui_datasize.experiments.spec import OptimizerName, OptimizerSpec

_ADAM_BETAS = (0.9, 0.999)
_ADAM_EPSILON = 1e-8

State: TypeAlias = dict[str, list[Tensor]]


class Optimizer(Protocol):
    """What the training loop needs of an optimiser."""

    def step(self) -> None:
        """Change the parameters by their gradients."""

    def state_dict(self) -> State:
        """The optimiser's memory, for a checkpoint."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""


class _Memory:
    """Parameters and named lists of tensors that go with them."""

    def __init__(self, parameters: Iterable[Tensor], spec: OptimizerSpec) -> None:
        self.parameters = list(parameters)
        self.spec = spec
        self.lists: State = {}

    def state_dict(self) -> State:
        return {name: list(tensors) for name, tensors in self.lists.items()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        # Copied into place: the kernels expect the memory layout of the parameters.
        for name, tensors in self.lists.items():
            for ours, saved in zip(tensors, state[name], strict=True):
                ours.copy_(saved)

    def gradients(self) -> list[Tensor]:
        return [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.parameters]


class AdamW(_Memory):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), torch's default betas and epsilon."""

    def __init__(self, parameters: Iterable[Tensor], spec: OptimizerSpec) -> None:
        super().__init__(parameters, spec)
        self.lists = {
            "means": [torch.zeros_like(p) for p in self.parameters],
            "squares": [torch.zeros_like(p) for p in self.parameters],
            "steps": [torch.zeros((), device=p.device) for p in self.parameters],
        }

    @torch.no_grad()
    def step(self) -> None:
        """Change the parameters by their gradients."""
        adamw(
            self.parameters,
            self.gradients(),
            self.lists["means"],
            self.lists["squares"],
            [],
            self.lists["steps"],
            fused=True,
            amsgrad=False,
            beta1=_ADAM_BETAS[0],
            beta2=_ADAM_BETAS[1],
            lr=self.spec.lr,
            weight_decay=self.spec.weight_decay,
            eps=_ADAM_EPSILON,
            maximize=False,
        )


class SGD(_Memory):
    """Stochastic gradient descent with momentum, as torch defines it (velocity without lr)."""

    def __init__(self, parameters: Iterable[Tensor], spec: OptimizerSpec) -> None:
        super().__init__(parameters, spec)
        if spec.momentum:
            self.lists = {"velocities": [torch.zeros_like(p) for p in self.parameters]}

    @torch.no_grad()
    def step(self) -> None:
        """Change the parameters by their gradients."""
        none: list[Tensor | None] = [None] * len(self.parameters)
        sgd(
            self.parameters,
            self.gradients(),
            [*self.lists["velocities"]] if self.spec.momentum else none,
            fused=True,
            weight_decay=self.spec.weight_decay,
            momentum=self.spec.momentum,
            lr=self.spec.lr,
            dampening=0.0,
            nesterov=self.spec.nesterov,
            maximize=False,
        )


OPTIMIZERS: Mapping[OptimizerName, Callable[[Iterable[Tensor], OptimizerSpec], Optimizer]] = MappingProxyType(
    {"adamw": AdamW, "sgd": SGD}
)
"""How each optimiser of a specification is made."""
