"""The weight layers of a model, counted as the papers count them."""

from __future__ import annotations

from typing import TypeAlias

from torch import nn

Layers: TypeAlias = list[list[tuple[str, nn.Module]]]


def weight_layers(model: nn.Module) -> Layers:
    """Modules with parameters of their own, by layer and in order, each with its name in the model.

    A convolution or a fully connected layer begins a layer. What else has parameters or running
    statistics belongs to the layer before it: a normalisation to the convolution it follows. The
    last layer is the classifier.
    """
    layers: Layers = [[]]
    for name, module in model.named_modules():
        if starts_layer(module) and any(starts_layer(earlier) for _, earlier in layers[-1]):
            layers.append([])
        if has_own_values(module):
            layers[-1].append((name, module))
    return layers


def starts_layer(module: nn.Module) -> bool:
    """Whether a module is a convolution or a fully connected layer."""
    return isinstance(module, nn.Conv2d | nn.Linear)


def has_own_values(module: nn.Module) -> bool:
    """Whether a module itself, not one inside it, has parameters or buffers."""
    own = (module.parameters(recurse=False), module.buffers(recurse=False))
    return any(True for values in own for _ in values)
