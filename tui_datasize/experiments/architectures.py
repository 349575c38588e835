"""Names and options of the models, so that a sweep is checked in full before it is queued."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tui_datasize.experiments.spec import OptionValue


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model, its options with their defaults, and the range of each number."""

    name: str
    title: str
    options: Mapping[str, OptionValue]
    ranges: Mapping[str, tuple[float, float]]
    """Lowest and highest value accepted, both included."""


MODELS: Mapping[str, ModelInfo] = MappingProxyType(
    {
        info.name: info
        for info in (
            ModelInfo(
                name="cnn3",
                title="three 5x5 convolution blocks and 256 hidden units (Hansson, Padban, Silwer 2025)",
                options=MappingProxyType({"dropout": 0.5, "width": 32}),
                ranges=MappingProxyType({"dropout": (0.0, 0.95), "width": (1, 1024)}),
            ),
            ModelInfo(
                name="mlp",
                title="fully connected layers with ReLU",
                options=MappingProxyType({"hidden": 64, "layers": 1, "dropout": 0.0}),
                ranges=MappingProxyType({"hidden": (1, 65_536), "layers": (0, 16), "dropout": (0.0, 0.95)}),
            ),
        )
    }
)


def model_info(name: str) -> ModelInfo | None:
    """What is known of a model; None for a name that no model has."""
    return MODELS.get(name)
