"""The models of torchvision with one block where the library has many: the same layers, in less time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
from torch import nn
from torchvision import models
from torchvision.models import convnext, efficientnet, mobilenetv3, regnet, resnet, swin_transformer

from tui_datasize.experiments.architectures import TORCHVISION_MODELS


def _convnext(**given: Any) -> nn.Module:
    blocks = [convnext.CNBlockConfig(8, 16, 1), convnext.CNBlockConfig(16, None, 1)]
    return models.ConvNeXt(blocks, stochastic_depth_prob=0.1, **given)


def _efficientnet(**given: Any) -> nn.Module:
    blocks = [
        efficientnet.MBConvConfig(1, 3, 1, 8, 8, 1),
        efficientnet.MBConvConfig(4, 5, 2, 8, 16, 1),
        efficientnet.FusedMBConvConfig(4, 3, 1, 16, 16, 1),
    ]
    return models.EfficientNet(blocks, dropout=0.2, last_channel=32, **given)


def _maxvit(**given: Any) -> nn.Module:
    return models.MaxVit(
        stem_channels=8,
        partition_size=4,
        block_channels=[16],
        block_layers=[1],
        head_dim=8,
        stochastic_depth_prob=0.1,
        **given,
    )


def _mobilenet_v3(**given: Any) -> nn.Module:
    block = partial(mobilenetv3.InvertedResidualConfig, dilation=1, width_mult=1.0)
    blocks = [block(16, 3, 16, 16, True, "RE", stride=2), block(16, 5, 32, 24, True, "HS", stride=1)]
    return models.MobileNetV3(blocks, last_channel=32, **given)


def _regnet(**given: Any) -> nn.Module:
    shape = regnet.BlockParams([1, 1], [8, 16], [8, 8], [1.0, 1.0], [2, 2], se_ratio=0.25)
    return models.RegNet(shape, stem_width=8, **given)


def _swin(**given: Any) -> nn.Module:
    return models.SwinTransformer(
        patch_size=[2, 2],
        embed_dim=8,
        depths=[2, 1],
        num_heads=[1, 2],
        window_size=[4, 4],
        stochastic_depth_prob=0.1,
        block=swin_transformer.SwinTransformerBlockV2,
        downsample_layer=swin_transformer.PatchMergingV2,
        **given,
    )


def _vision_transformer(**given: Any) -> nn.Module:
    return models.VisionTransformer(
        patch_size=8, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=32, dropout=0.1, **given
    )


SMALL: Mapping[str, Callable[..., nn.Module]] = {
    "convnext_tiny": _convnext,
    "densenet121": partial(models.DenseNet, 4, (1, 1), 8, drop_rate=0.1),
    "efficientnet_b0": _efficientnet,
    "maxvit_t": _maxvit,
    "mobilenet_v2": partial(models.MobileNetV2, inverted_residual_setting=[[1, 16, 1, 1], [6, 16, 1, 1]]),
    "mobilenet_v3_small": _mobilenet_v3,
    "regnet_y_400mf": _regnet,
    "resnet50": partial(models.ResNet, resnet.Bottleneck, [1, 1, 1, 1]),
    "shufflenet_v2_x0_5": partial(models.ShuffleNetV2, [1, 1, 1], [8, 16, 32, 64, 64]),
    "swin_v2_t": _swin,
    "vit_b_16": _vision_transformer,
}
"""By the name of one of those whose class they are."""
WHOLE = ("alexnet", "squeezenet1_1", "vgg11_bn")
"""Small as they are."""
DEEP = ("googlenet", "inception_v3", "mnasnet0_5")
"""Layers as the others have, which no option leaves out: tried by `benchmarks.models_on_shapes`."""
_INPUT_PX = {"alexnet": 64, "squeezenet": 48, "inception": 80, "maxvit": 16, "swin_transformer": 16}
_PLAIN_PX = 32


def input_px(name: str) -> int:
    """Pixels that suffice for a model, as small as there are."""
    return _INPUT_PX.get(kind_of(name), _PLAIN_PX)


def kind_of(name: str) -> str:
    """The file of the library that a model is from."""
    return models.get_model_builder(name).__module__.rpartition(".")[2]


def kinds() -> set[str]:
    """All of them."""
    return {kind_of(name) for name in TORCHVISION_MODELS}


def make_small(patch: pytest.MonkeyPatch) -> None:
    """Have the library build the small ones under their names."""
    build = models.get_model

    def get_model(name: str, *, weights: None, **given: Any) -> nn.Module:
        return SMALL[name](**given) if name in SMALL else build(name, weights=weights, **given)

    patch.setattr(models, "get_model", get_model)
