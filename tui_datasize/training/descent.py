"""How the weights of a model follow their gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, get_total_norm

from tui_datasize.experiments.spec import RunSpec
from tui_datasize.training.averaging import WeightAverage
from tui_datasize.training.optimizers import LearningRate, build_optimizer


class Descent:
    """Clips the gradients of a model, makes the optimiser's step and keeps the average of weights.

    Args:
        model: On its device.
        spec: Tells the optimiser, the norm to clip to and the decay of the average.
        recorded_on: Where steps may be recorded; None where none is.
    """

    def __init__(self, model: nn.Module, spec: RunSpec, recorded_on: torch.device | None) -> None:
        # Frozen weights are none of the optimiser's: its decay would move them.
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._optimizer = build_optimizer(self._parameters, spec.optimizer)
        self._rate = LearningRate(self._optimizer, recorded_on)
        self._longest_norm = spec.clip_grad_norm
        self.average = None if spec.ema_decay is None else WeightAverage(model, spec.ema_decay)
        """Of the weights, where the specification asks for it."""

    def set_rate(self, value: float) -> None:
        """Use this learning rate from the next step on; not to be recorded."""
        self._rate.set(value)

    def forget_gradients(self) -> None:
        """Have the next backward pass begin anew."""
        # The optimiser's own way also reports to the profiler: 6 % of the step of a tiny model.
        for parameter in self._parameters:
            parameter.grad = None

    def step(self, *, is_first: bool) -> Tensor:
        """Change weights and average by the gradients that the parameters have.

        Returns:
            Global norm of the gradients before they are clipped, shape (); stays on the device.
        """
        norm = self._clip()
        self._rate.step()
        if self.average:
            self.average.update(is_first=is_first)
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Key `optimizer` and, where weights are averaged, `ema`."""
        state: dict[str, Any] = {"optimizer": self._optimizer.state_dict()}
        if self.average:
            state["ema"] = self.average.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken; the optimiser's state then stands in other tensors."""
        self._optimizer.load_state_dict(state["optimizer"])
        if self.average:
            self.average.load_state_dict(state["ema"])

    def _clip(self) -> Tensor:
        if self._longest_norm is None:
            return get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        return clip_grad_norm_(self._parameters, self._longest_norm)
