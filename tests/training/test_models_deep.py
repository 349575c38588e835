"""Residual networks, AlexNet and torchvision's models: sizes, shapes, streams and layers."""

from __future__ import annotations

import copy
import sys

import pytest
import torch
from torch import nn
from torchvision import models as library
from torchvision import ops

from tui_datasize.errors import DataError
from tui_datasize.experiments.architectures import MODELS, TORCHVISION_MODELS, layer_count
from tui_datasize.experiments.spec import ModelSpec
from tui_datasize.training.models import build_model
from tui_datasize.training.models.build import describe_cost
from tui_datasize.training.models.networks import LocalResponseNorm
from tui_datasize.training.models.parts import Dropout, starts_layer, weight_layers
from tui_datasize.training.streams import Purpose, stream


def build(name, shape=(3, 32, 32), classes=10, seed=0, **options):
    return build_model(
        ModelSpec(name, options),
        shape,
        classes,
        initialisation=stream(seed, Purpose.INITIALISATION),
        dropout=stream(seed, Purpose.DROPOUT),
    )


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("depth", "millions", "exact"), [(20, 0.27, 269_722), (32, 0.46, 464_154), (44, 0.66, 658_586)]
)
def test_residual_networks_have_the_published_sizes(depth, millions, exact):
    model = build("resnet", depth=depth)
    assert round(count(model) / 1e6, 2) == millions
    assert count(model) == exact
    # Option-A shortcuts have no parameters.
    assert count(build("resnet", depth=depth, shortcuts=False)) == exact
    assert len(weight_layers(model)) == depth == layer_count(ModelSpec("resnet", {"depth": depth}))


def test_a_shortcut_takes_every_second_pixel_and_fills_up_with_zeros():
    block = build("resnet").blocks[3]
    values = torch.randn(2, 16, 8, 8)
    nn.init.zeros_(block.second_norm.weight)
    shortened = block(values)
    assert shortened.shape == (2, 32, 4, 4)
    assert torch.equal(shortened[:, 8:24], values[:, :, ::2, ::2].relu())
    assert not shortened[:, :8].any()
    assert not shortened[:, 24:].any()


def test_a_plain_network_adds_nothing():
    block = build("resnet", shortcuts=False).blocks[0]
    nn.init.zeros_(block.second_norm.weight)
    assert not block(torch.randn(2, 16, 8, 8)).any()


def test_residual_weights_have_the_deviation_of_their_rule():
    model = build("resnet", depth=20)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 4000:
            assert module.weight.std().item() == pytest.approx(
                (2 / module.weight[0].numel()) ** 0.5, rel=0.05
            )
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()


def test_images_are_padded_and_repeated_where_the_model_asks_for_it():
    model = build("resnet", (1, 28, 28), input_px=32, input_channels=3)
    assert count(model) == 269_722
    image = torch.randn(2, 1, 28, 28)
    fitted = model[0](image)
    assert fitted.shape == (2, 3, 32, 32)
    assert torch.equal(fitted[:, 2, 2:30, 2:30], image[:, 0])
    assert fitted.sum().item() == pytest.approx(3 * image.sum().item(), rel=1e-4)
    with pytest.raises(DataError, match=r"28x28 pixels do not fit input_px 20"):
        build("resnet", (1, 28, 28), input_px=20)


def test_alexnet_is_caffes_reference_model():
    full = build("alexnet", (3, 227, 227), classes=1000)
    assert count(full) == 60_965_224
    caffe = [module for module in full if isinstance(module, nn.Conv2d | nn.Linear)]
    assert [round(layer.weight.std().item(), 3) for layer in caffe] == [0.01] * 5 + [0.005] * 2 + [0.01]
    assert [round(layer.bias.mean().item(), 3) for layer in caffe] == [0, 0.1, 0, 0.1, 0.1, 0.1, 0.1, 0]


def test_alexnet_takes_the_crops_of_the_transfer_study():
    model = build("alexnet", (3, 57, 57), classes=100, width=12, initialisation="kaiming-normal")
    sides = []
    for layer in model:
        if isinstance(layer, nn.MaxPool2d):
            layer.register_forward_hook(lambda _module, _inputs, output: sides.append(output.shape[-1]))
    assert model(torch.randn(4, 3, 57, 57)).shape == (4, 100)
    assert sides == [6, 3, 1]
    assert len(weight_layers(model)) == 8
    assert build("alexnet", (3, 39, 39), width=12)(torch.zeros(2, 3, 39, 39)).shape == (2, 10)
    with pytest.raises(DataError, match="at least 39x39 pixels, got 32x38"):
        build("alexnet", (3, 38, 32))


def test_local_response_normalisation_is_the_librarys():
    values = torch.randn(2, 7, 5, 4)
    expected = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)(values)
    torch.testing.assert_close(LocalResponseNorm()(values), expected)


def test_torchvision_has_the_models_of_the_table():
    assert tuple(library.list_models(module=library)) == TORCHVISION_MODELS


# Masks of values and of images, and a classifier by convolution; the others have no kind that these lack.
NAMES = ("efficientnet_b0", "squeezenet1_1")
ALIKE = ("mobilenet_v2", "shufflenet_v2_x0_5")


@pytest.mark.parametrize(
    "name", [*NAMES, *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ALIKE)]
)
def test_library_models_follow_the_runs_streams_alone(name):
    states = []
    for other in (1, 2):
        torch.manual_seed(other)
        model = build(f"torchvision:{name}", (1, 64, 64), seed=4)
        before = torch.random.get_rng_state()
        logits = model(torch.ones(3, 1, 64, 64))
        assert torch.equal(torch.random.get_rng_state(), before)
        assert not any(isinstance(m, nn.Dropout | ops.StochasticDepth) for m in model.modules())
        states.append((logits, torch.cat([p.detach().flatten() for p in model.parameters()])))
    assert states[0][0].shape == (3, 10)
    assert torch.equal(states[0][0], states[1][0])
    assert torch.equal(states[0][1], states[1][1])


def test_a_library_model_for_grey_images_computes_what_it_would_on_equal_colours():
    grey, colour = (build("torchvision:squeezenet1_1", (channels, 64, 64)).eval() for channels in (1, 3))
    image = torch.randn(2, 1, 64, 64)
    torch.testing.assert_close(grey(image), colour(image.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-4)


def test_library_models_refuse_what_they_cannot_take():
    with pytest.raises(DataError, match=r"images of 8x8 pixels do not suit model torchvision:squeezenet1_1"):
        build("torchvision:squeezenet1_1", (3, 8, 8))
    with pytest.raises(DataError, match=r"has no weights 'MINE'; known are DEFAULT, IMAGENET1K_V1"):
        build("torchvision:resnet18", weights="MINE")


def test_weights_of_the_library_are_taken_and_get_a_new_classifier(tmp_path, monkeypatch):
    trained = library.resnet18(weights=None)
    monkeypatch.setattr(
        library.ResNet18_Weights.DEFAULT.__class__,
        "get_state_dict",
        lambda *_args, **_kwargs: trained.state_dict(),
    )
    model = build("torchvision:resnet18", classes=7, weights="DEFAULT")
    assert torch.equal(model.conv1.weight, trained.conv1.weight)
    assert model.fc.out_features == 7


def test_missing_weights_are_told_in_one_line(monkeypatch):
    def offline(*_args, **_kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(library.ResNet18_Weights.DEFAULT.__class__, "get_state_dict", offline)
    with pytest.raises(DataError, match=r"weights DEFAULT of torchvision:resnet18 cannot be had \(no route"):
        build("torchvision:resnet18", weights="DEFAULT")


def test_models_of_timm_need_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(DataError, match=r"timm:resnet18 needs the package timm .*datasize-tui\[timm\]"):
        build("timm:resnet18")


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_models_of_timm_follow_the_runs_streams_and_take_weights_of_a_file(name, tmp_path):
    timm = pytest.importorskip("timm")
    states = []
    for other in (1, 2):
        torch.manual_seed(other)
        model = build(f"timm:{name}", (1, 64, 64), seed=4)
        before = torch.random.get_rng_state()
        states.append(model(torch.ones(3, 1, 64, 64)))
        assert torch.equal(torch.random.get_rng_state(), before)
    assert states[0].shape == (3, 10)
    assert torch.equal(*states)
    trained, file = (
        timm.create_model(name, img_size=64) if "vit" in name else timm.create_model(name),
        tmp_path / "w.pth",
    )
    torch.save(trained.state_dict(), file)
    taken = build(f"timm:{name}", (3, 64, 64), weights=str(file)).state_dict()
    same = [key for key, value in trained.state_dict().items() if torch.equal(value, taken[key])]
    assert {key.rpartition(".")[0] for key in taken.keys() - set(same)} == {"head" if "vit" in name else "fc"}
    with pytest.raises(DataError, match=r"weights do not suit timm:resnet10t: \S+ is missing"):
        build("timm:resnet10t", (3, 64, 64), weights=str(file))


class _Acts:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


def test_a_file_of_weights_runs_no_code(tmp_path):
    pytest.importorskip("timm")
    torch.save({"act": _Acts(tmp_path / "made")}, tmp_path / "w.pth")
    with pytest.raises(DataError, match=r"w.pth: weights of timm:resnet18 cannot be read"):
        build("timm:resnet18", (3, 64, 64), weights=str(tmp_path / "w.pth"))
    assert not (tmp_path / "made").exists()


def test_what_timm_does_not_have_is_told_in_one_line(tmp_path):
    pytest.importorskip("timm")
    with pytest.raises(DataError, match=r"timm:nonet cannot be built \(Unknown model"):
        build("timm:nonet", (3, 64, 64))
    with pytest.raises(DataError, match=r"none.pth: weights of timm:resnet18 cannot be read"):
        build("timm:resnet18", (3, 64, 64), weights=str(tmp_path / "none.pth"))


@pytest.mark.parametrize(("unit", "dimensions"), [("value", 4), ("channel", 2), ("image", 1), ("batch", 0)])
def test_masks_are_drawn_per_unit(unit, dimensions):
    layer = Dropout(0.5, stream(0, Purpose.DROPOUT), unit)
    masks = torch.stack([layer(torch.ones(4, 6, 3, 3)) for _ in range(20)])
    assert set(masks.unique().tolist()) == {0.0, 2.0}
    within = masks.flatten(1 + dimensions) if dimensions < 4 else masks[..., None]
    assert torch.equal(within.amin(-1), within.amax(-1))
    assert masks.mean().item() == pytest.approx(1, abs=0.5 if unit == "batch" else 0.25)


def test_normalisations_belong_to_the_layer_before():
    layers = weight_layers(build("resnet", depth=8))
    assert [[name for name, _ in layer] for layer in layers][:3] == [
        ["stem.0", "stem.1"],
        ["blocks.0.first", "blocks.0.first_norm"],
        ["blocks.0.second", "blocks.0.second_norm"],
    ]
    assert [name for name, _ in layers[-1]] == ["classifier"]
    assert all(sum(starts_layer(module) for _, module in layer) == 1 for layer in layers)


@pytest.mark.parametrize("name", ["cnn3", "mlp"])
def test_the_table_knows_how_many_layers_a_model_has(name):
    assert len(weight_layers(build(name))) == layer_count(ModelSpec(name))


def test_cost_is_counted_without_computing():
    model = build("mlp", (1, 8, 8), hidden=9)
    next(model.parameters()).requires_grad_(False)
    assert describe_cost(model, (1, 8, 8)) == {
        "parameters": 64 * 9 + 9 + 9 * 10 + 10,
        "trainable_parameters": 9 + 9 * 10 + 10,
        "flops_per_image": 2 * (64 * 9 + 9 * 10),
    }
    # He et al. (2016) count 41 million multiplications and additions for 20 layers.
    assert describe_cost(build("resnet"), (3, 32, 32))["flops_per_image"] / 2e6 == pytest.approx(41, abs=1)
    assert model.training


def test_models_can_be_copied():
    copied = copy.deepcopy(build("cnn3", (1, 28, 28), published=True)).eval()
    assert copied(torch.zeros(1, 1, 28, 28)).shape == (1, 10)


@pytest.mark.parametrize("name", [name for name, info in MODELS.items() if info.smallest_px > 1])
def test_what_a_sweep_refuses_as_too_small_is_what_the_model_refuses(name):
    smallest = MODELS[name].smallest_px
    build(name, (3, smallest, smallest), width=2)
    with pytest.raises(DataError, match=f"at least {smallest}x{smallest} pixels"):
        build(name, (3, smallest - 1, smallest - 1), width=2)
