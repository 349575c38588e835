"""Names and options of the models, so that a sweep is checked in full before it is queued."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from tui_datasize.experiments.keys import Key, Row
from tui_datasize.experiments.spec import ModelSpec, OptionValue

Options: TypeAlias = Mapping[str, OptionValue]

TORCHVISION, TIMM = "torchvision:", "timm:"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model and what may be said of it."""

    name: str
    title: str
    rows: tuple[Row, ...]
    layers: Callable[[Options], int] | None = None
    """Number of weight layers, given all options; None where only the built model tells."""
    smallest_px: int = 1
    """Side of the smallest images that it takes, as far as is known without building it."""

    @property
    def options(self) -> Options:
        return {row.name: row.default for row in self.rows}


def _option(name: str, default: OptionValue, meaning: str, kind: Any = None, **details: Any) -> Row:
    return Row(name, kind or type(default), default, Key(meaning, **details))


def _width(default: int, meaning: str, at_least: int = 1) -> Row:
    return _option("width", default, meaning, at_least=at_least, at_most=1024)


def _dropout(default: float) -> Row:
    return _option("dropout", default, "share of the hidden units that is dropped", at_most=0.95)


_INPUT = (
    _option("input_px", 0, "side to which images are zero-padded evenly; 0 as they come", at_most=4096),
    _option(
        "input_channels",
        0,
        "channels to which grey images are repeated; 0 as they come",
        at_most=3,
        expected="0 (as the images come) or 3",
        holds=lambda value: value in (0, 3),
    ),
)

_FILE = _option(
    "weights",
    "",
    "file of pretrained weights, .pth or .safetensors, of which all but the classifier is taken",
    expected="a whole path, which begins with / or ~",
    holds=lambda path: path[:1] in ("", "/", "~"),
)

MODELS: Mapping[str, ModelInfo] = MappingProxyType(
    {
        info.name: info
        for info in (
            ModelInfo(
                "cnn3",
                "three 5x5 convolution blocks and 256 hidden units (Hansson, Padban, Silwer 2025)",
                (
                    _dropout(0.5),
                    _width(32, "channels of the first block; the next have twice and four times as many"),
                    _option("published", False, "as the study's code built it, not as its text says"),
                ),
                layers=lambda _options: 5,
                smallest_px=8,
            ),
            ModelInfo(
                "mlp",
                "fully connected layers with ReLU",
                (
                    _option("hidden", 64, "units of a hidden layer", at_least=1, at_most=65_536),
                    _option("layers", 1, "hidden layers", at_most=16),
                    _dropout(0.0),
                ),
                layers=lambda options: int(options["layers"]) + 1,
            ),
            ModelInfo(
                "resnet",
                "residual network of 6n + 2 layers for small images (He et al. 2016, section 4.2)",
                (
                    _option(
                        "depth",
                        20,
                        "weight layers, 6n + 2 of them",
                        at_least=8,
                        at_most=1202,
                        expected="6n + 2 layers: 8, 14, 20, 32, 44, 56, 110 or the like",
                        holds=lambda value: (int(value) - 2) % 6 == 0,
                    ),
                    _option("shortcuts", True, "false: the plain network, without residuals"),
                    _width(16, "channels of the first stage; the next have twice and four times as many"),
                    *_INPUT,
                ),
                layers=lambda options: int(options["depth"]),
            ),
            ModelInfo(
                "alexnet",
                "five convolutions, three fully connected layers (Krizhevsky et al. 2012, as in Caffe)",
                (
                    _width(96, "channels of the first convolution; all other widths follow", at_least=2),
                    _dropout(0.5),
                    _option(
                        "initialisation", "caffe", "of the weights", kind=Literal["caffe", "kaiming-normal"]
                    ),
                    *_INPUT,
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
    if re.fullmatch(rf"{TIMM}[\w.]+", name, re.ASCII):
        return ModelInfo(name, f"{name.removeprefix(TIMM)} of timm", (_FILE, *_INPUT))
    architecture = name.removeprefix(TORCHVISION)
    if name in MODELS or architecture == name or architecture not in TORCHVISION_MODELS:
        return MODELS.get(name)
    weights = _option("weights", "", "pretrained weights of torchvision, where you have them")
    return ModelInfo(name, f"{architecture} of torchvision", (weights, *_INPUT))


def all_options(model: ModelSpec) -> Options:
    """The options of a model, those that it does not set at their defaults.

    Raises KeyError: no model has this name.
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
