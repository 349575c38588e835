"""First weights, from the run's own stream."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import TypeAlias

import torch
from torch import Tensor, nn

Rule: TypeAlias = Callable[[Tensor, torch.Generator], object]
"""Fills the weights of a convolution or a fully connected layer, shape (outputs, inputs, ...)."""

NORMALISATIONS = (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)


def initialise(model: nn.Module, generator: torch.Generator, rule: Rule | None = None) -> None:
    """Fill all parameters: weights by the rule, biases as torch does; normalisations start at 1 and 0.

    Args:
        model: On the CPU.
        generator: CPU stream.
        rule: How weights are drawn; by default as torch does.

    Raises:
        TypeError: There is no rule for the parameters of a module.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            (rule or uniform)(module.weight, generator)
            if module.bias is not None:
                _uniform_within(module.bias, _bound(module.weight), generator)
        elif isinstance(module, NORMALISATIONS):
            module.reset_parameters()
        elif any(True for _ in module.parameters(recurse=False)):
            raise TypeError(f"no rule to initialise {type(module).__name__}")


def uniform(weight: Tensor, generator: torch.Generator) -> None:
    """Uniform within 1/sqrt(inputs), as torch's own layers are first filled."""
    _uniform_within(weight, _bound(weight), generator)


def kaiming_uniform(weight: Tensor, generator: torch.Generator) -> None:
    """Uniform of variance 2/inputs (He et al. 2015, equation 10)."""
    nn.init.kaiming_uniform_(weight, nonlinearity="relu", generator=generator)


def kaiming_normal(weight: Tensor, generator: torch.Generator) -> None:
    """Normal of variance 2/inputs (He et al. 2015, equation 10)."""
    nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)


def _bound(weight: Tensor) -> float:
    return 1 / sqrt(weight[0].numel())


def _uniform_within(values: Tensor, bound: float, generator: torch.Generator) -> None:
    nn.init.uniform_(values, -bound, bound, generator=generator)
