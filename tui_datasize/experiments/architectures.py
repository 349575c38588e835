"""Names and options of the models, so that a sweep is checked in full before it is queued."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from tui_datasize.experiments.spec import ModelSpec, OptionValue

Options: TypeAlias = Mapping[str, OptionValue]

TORCHVISION = "torchvision:"


@dataclass(frozen=True, slots=True)
class Expected:
    """What an option's value must be beside its type and range."""

    words: str
    """Behind "expected", in an error."""
    holds: Callable[[OptionValue], bool]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model, its options with their defaults, and the range of each number."""

    name: str
    title: str
    options: Options
    ranges: Mapping[str, tuple[float, float]]
    """Lowest and highest value accepted, both included."""
    expected: Mapping[str, Expected] = field(default_factory=lambda: MappingProxyType({}))
    """For the options whose type and range do not tell all."""
    layers: Callable[[Options], int] | None = None
    """Number of weight layers, given all options; None where only the built model tells."""
    smallest_px: int = 1
    """Side of the smallest images that it takes, as far as is known without building it."""


_INPUT_OPTIONS: Options = MappingProxyType({"input_px": 0, "input_channels": 0})
"""How images are fitted to a model: zero-padded evenly to a side, grey repeated; 0 as they come."""
_INPUT_RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"input_px": (0, 4096), "input_channels": (0, 3)}
)
_INPUT_EXPECTED = MappingProxyType(
    {"input_channels": Expected("0 (as the images come) or 3", lambda value: value in (0, 3))}
)

ALEXNET_INITIALISATIONS = ("caffe", "kaiming-normal")

MODELS: Mapping[str, ModelInfo] = MappingProxyType(
    {
        info.name: info
        for info in (
            ModelInfo(
                name="cnn3",
                title="three 5x5 convolution blocks and 256 hidden units (Hansson, Padban, Silwer 2025)",
                options=MappingProxyType({"dropout": 0.5, "width": 32, "published": False}),
                ranges=MappingProxyType({"dropout": (0.0, 0.95), "width": (1, 1024)}),
                layers=lambda _options: 5,
                smallest_px=8,
            ),
            ModelInfo(
                name="mlp",
                title="fully connected layers with ReLU",
                options=MappingProxyType({"hidden": 64, "layers": 1, "dropout": 0.0}),
                ranges=MappingProxyType({"hidden": (1, 65_536), "layers": (0, 16), "dropout": (0.0, 0.95)}),
                layers=lambda options: int(options["layers"]) + 1,
            ),
            ModelInfo(
                name="resnet",
                title="residual network of 6n + 2 layers for small images (He et al. 2016, section 4.2)",
                options=MappingProxyType({"depth": 20, "shortcuts": True, "width": 16, **_INPUT_OPTIONS}),
                ranges=MappingProxyType({"depth": (8, 1202), "width": (1, 1024), **_INPUT_RANGES}),
                expected=MappingProxyType(
                    {
                        "depth": Expected(
                            "6n + 2 layers: 20, 32, 44, 56, 110 or the like",
                            lambda value: (int(value) - 2) % 6 == 0,
                        ),
                        **_INPUT_EXPECTED,
                    }
                ),
                layers=lambda options: int(options["depth"]),
            ),
            ModelInfo(
                name="alexnet",
                title="five convolutions, three fully connected layers (Krizhevsky et al. 2012, as in Caffe)",
                options=MappingProxyType(
                    {"width": 96, "dropout": 0.5, "initialisation": "caffe", **_INPUT_OPTIONS}
                ),
                ranges=MappingProxyType({"width": (2, 1024), "dropout": (0.0, 0.95), **_INPUT_RANGES}),
                expected=MappingProxyType(
                    {
                        "initialisation": Expected(
                            f"one of {', '.join(ALEXNET_INITIALISATIONS)}",
                            lambda value: value in ALEXNET_INITIALISATIONS,
                        ),
                        **_INPUT_EXPECTED,
                    }
                ),
                layers=lambda _options: 8,
                smallest_px=39,
            ),
        )
    }
)

_TORCHVISION_NAMES = """
alexnet convnext_base convnext_large convnext_small convnext_tiny densenet121 densenet161 densenet169
densenet201 efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5
efficientnet_b6 efficientnet_b7 efficientnet_v2_l efficientnet_v2_m efficientnet_v2_s googlenet inception_v3
maxvit_t mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_large mobilenet_v3_small
regnet_x_16gf regnet_x_1_6gf regnet_x_32gf regnet_x_3_2gf regnet_x_400mf regnet_x_800mf regnet_x_8gf
regnet_y_128gf regnet_y_16gf regnet_y_1_6gf regnet_y_32gf regnet_y_3_2gf regnet_y_400mf regnet_y_800mf
regnet_y_8gf resnet101 resnet152 resnet18 resnet34 resnet50 resnext101_32x8d resnext101_64x4d resnext50_32x4d
shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1
swin_b swin_s swin_t swin_v2_b swin_v2_s swin_v2_t vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19
vgg19_bn vit_b_16 vit_b_32 vit_h_14 vit_l_16 vit_l_32 wide_resnet101_2 wide_resnet50_2
"""
TORCHVISION_MODELS = tuple(_TORCHVISION_NAMES.split())
"""Classification models of torchvision, by its own names; a test compares the two."""


def model_info(name: str) -> ModelInfo | None:
    """What is known of a model; None for a name that no model has."""
    architecture = name.removeprefix(TORCHVISION)
    if name in MODELS or architecture == name or architecture not in TORCHVISION_MODELS:
        return MODELS.get(name)
    return ModelInfo(
        name=name,
        title=f"{architecture} of torchvision",
        options=MappingProxyType({"weights": "", **_INPUT_OPTIONS}),
        ranges=_INPUT_RANGES,
        expected=_INPUT_EXPECTED,
    )


def all_options(model: ModelSpec) -> Options:
    """The options of a model, those that it does not set at their defaults.

    Raises:
        KeyError: No model has this name.
    """
    info = model_info(model.name)
    if info is None:
        raise KeyError(model.name)
    return MappingProxyType({**info.options, **model.options})


def layer_count(model: ModelSpec) -> int | None:
    """Number of weight layers, convolutions and fully connected ones; None where only the built model tells.

    >>> layer_count(ModelSpec("resnet", {"depth": 32}))
    32
    >>> layer_count(ModelSpec("torchvision:resnet50")) is None
    True
    """
    info = model_info(model.name)
    return info.layers(all_options(model)) if info and info.layers else None
