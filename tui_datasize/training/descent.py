"""How the weights of a model follow their gradients: optimisers, learning rate, moving average."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from math import nan
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, get_total_norm
from torch.optim import SGD, AdamW, Optimizer

from tui_datasize.experiments.spec import OptimizerSpec, RunSpec
from tui_datasize.training.accelerator.device import accelerator_of


def build_optimizer(parameters: Iterable[Tensor], spec: OptimizerSpec) -> Optimizer:
    """An optimiser on torch's fused kernels, one launch per update whatever the number of tensors.

    Adam with decoupled weight decay (Loshchilov and Hutter 2019), torch's default betas and epsilon; or
    stochastic gradient descent with momentum, as torch defines it (velocity without lr).
    """
    if spec.name == "adamw":
        return AdamW(parameters, lr=spec.lr, weight_decay=spec.weight_decay, fused=True)
    return SGD(
        parameters,
        lr=spec.lr,
        weight_decay=spec.weight_decay,
        momentum=spec.momentum,
        nesterov=spec.nesterov,
        fused=True,
    )


class LearningRate:
    """The learning rate of an optimiser's steps.

    The groups of the optimiser hold it as a plain number, so that its state can be saved and loaded
    anywhere. A step that may be recorded reads it from a tensor instead: recording copies numbers.
    `device` is where that tensor is needed; None where no step is recorded.
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


class WeightAverage:
    """Exponential moving average of all weights and of the statistics of normalisation layers.

    The average after the first update is the model then, as torch's `AveragedModel` has it. Whole
    numbers, such as the batches a normalisation layer has seen, are those of the model. `decay` is the
    share of the average that stays at each update, in [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay
        self._averages, self._counts = _split(self.model)
        self._values, self._model_counts = _split(model)

    @torch.no_grad()
    def update(self, *, is_first: bool) -> None:
        weight = 1.0 if is_first else 1 - self._decay
        torch._foreach_lerp_(self._averages, self._values, weight)
        for count, value in zip(self._counts, self._model_counts, strict=True):
            count.copy_(value)


def _split(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """What is averaged, and what is counted: the tensors themselves, since a pack moves their values."""
    tensors = [*model.parameters(), *model.buffers()]
    return [t for t in tensors if t.is_floating_point()], [t for t in tensors if not t.is_floating_point()]


class Descent:
    """Clips the gradients of a model, makes the optimiser's step and keeps the average of weights.

    `recorded_on` is where steps may be recorded; None where none is.
    """

    def __init__(self, model: nn.Module, spec: RunSpec, recorded_on: torch.device | None) -> None:
        # Frozen weights are none of the optimiser's: its decay would move them.
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._optimizer = build_optimizer(self._parameters, spec.optimizer)
        self.rate = LearningRate(self._optimizer, recorded_on)
        self._longest_norm = spec.clip_grad_norm
        self.average = None if spec.ema_decay is None else WeightAverage(model, spec.ema_decay)

    def forget_gradients(self) -> None:
        # The optimiser's own way also reports to the profiler: 6 % of the step of a tiny model.
        for parameter in self._parameters:
            parameter.grad = None

    def step(self, *, is_first: bool) -> Tensor:
        """Change weights and average; the global norm of the gradients before clipping, on the device."""
        if self._longest_norm is None:
            norm = get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        else:
            norm = clip_grad_norm_(self._parameters, self._longest_norm)
        self.rate.step()
        if self.average:
            self.average.update(is_first=is_first)
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Key `optimizer` and, where weights are averaged, `ema`."""
        state: dict[str, Any] = {"optimizer": self._optimizer.state_dict()}
        if self.average:
            state["ema"] = self.average.model.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken; the optimiser's state then stands in other tensors."""
        self._optimizer.load_state_dict(state["optimizer"])
        if self.average:
            self.average.model.load_state_dict(state["ema"])
