"""Models, transforms and optimisers, against the study's numbers and against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tui_datasize.errors import DataError
from tui_datasize.experiments.architectures import MODELS
from tui_datasize.experiments.spec import ModelSpec, OptimizerSpec
from tui_datasize.training.descent import build_optimizer
from tui_datasize.training.models.build import BUILDERS, build_model
from tui_datasize.training.models.parts import Dropout
from tui_datasize.training.streams import Purpose, stream
from tui_datasize.training.transforms import normalisation


def build(name="cnn3", shape=(1, 28, 28), classes=26, seed=0, **options):
    return build_model(
        ModelSpec(name, options),
        shape,
        classes,
        initialisation=stream(seed, Purpose.INITIALISATION),
        dropout=stream(seed, Purpose.DROPOUT),
    )


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_table_and_the_catalogue_name_the_same_models():
    assert BUILDERS.keys() == MODELS.keys()


@pytest.mark.parametrize("name", [name for name in MODELS if name != "alexnet"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 30, 17)], ids=str)
def test_every_model_takes_every_image_shape(name, shape):
    assert build(name, shape)(torch.zeros(5, *shape)).shape == (5, 26)


def test_cnn3_is_the_network_of_the_study():
    kinds = [type(layer).__name__ for layer in build()]
    block = ["Conv2d", "SiLU", "MaxPool2d"]
    assert kinds == [*block * 3, "Flatten", "Linear", "Dropout", "Linear"]
    convolutions = 1 * 32 * 25 + 32 + 32 * 64 * 25 + 64 + 64 * 128 * 25 + 128
    # 28 -> 14 -> 7 -> 3 pixels.
    dense = 3 * 3 * 128 * 256 + 256 + 256 * 26 + 26
    assert count(build()) == convolutions + dense


def test_cnn3_as_published_is_the_network_of_the_studys_code():
    model = build(published=True)
    kinds = [type(layer).__name__ for layer in model]
    block = ["Conv2d", "SiLU", "MaxPool2d"]
    last = ["Conv2d", "Dropout", "SiLU", "MaxPool2d"]
    assert kinds == [*block * 2, *last, "Flatten", "Linear", "SiLU", "Dropout", "Linear"]
    assert count(model) == 1_443_610
    # 7x7 -> 6x6 pixels of 128 channels.
    assert model[11].in_features == 4608
    # Kaiming-uniform: the bound is sqrt(6 / inputs), not 1 / sqrt(inputs).
    assert model[11].weight.abs().max().item() == pytest.approx((6 / 4608) ** 0.5, rel=1e-3)


def test_cnn3_as_published_drops_channels_and_whole_images():
    model = build(published=True)
    channels = model[7](torch.ones(20, 128, 7, 7)).flatten(2)
    assert set(channels.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(channels.amin(2), channels.amax(2))
    images = model[13](torch.ones(200, 256))
    assert torch.equal(images.amin(1), images.amax(1))
    assert 60 < int((images[:, 0] == 0).sum()) < 140


def test_options_shape_the_models():
    assert build(width=16)[0].out_channels == 16
    assert [type(layer).__name__ for layer in build("mlp", layers=0)] == ["Flatten", "Linear"]
    hidden = [
        layer.out_features for layer in build("mlp", hidden=9, layers=2) if isinstance(layer, nn.Linear)
    ]
    assert hidden == [9, 9, 26]


def test_images_that_vanish_in_three_poolings_are_refused():
    with pytest.raises(DataError, match="at least 8x8 pixels, got 7x12"):
        build(shape=(1, 12, 7))


def test_first_weights_follow_from_the_seed_alone():
    torch.manual_seed(1)
    one = build(seed=4)
    torch.manual_seed(2)
    two, other = build(seed=4), build(seed=5)
    weights = [torch.cat([p.flatten() for p in model.parameters()]) for model in (one, two, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_first_weights_are_spread_as_torch_spreads_them():
    torch.manual_seed(0)
    for ours, theirs in zip(build(), build(), strict=True):
        if isinstance(theirs, nn.Conv2d | nn.Linear):
            theirs.reset_parameters()
            for name in ("weight", "bias"):
                mine, library = getattr(ours, name).detach(), getattr(theirs, name).detach()
                assert mine.abs().max().item() == pytest.approx(library.abs().max().item(), rel=0.2)
            assert ours.weight.std().item() == pytest.approx(theirs.weight.std().item(), rel=0.1)


def test_dropout_keeps_the_mean_and_ends_with_training():
    layer = Dropout(0.25, stream(0, Purpose.DROPOUT))
    values = torch.ones(1000, 100)
    dropped = layer(values)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.01)
    assert torch.equal(layer.eval()(values), values)


def test_dropout_draws_from_its_own_stream():
    def masks():
        layer = Dropout(0.5, stream(11, Purpose.DROPOUT))
        return torch.stack([layer(torch.ones(64)) for _ in range(3)])

    before = torch.random.get_rng_state()
    first = masks()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(10)
    assert torch.equal(first, masks())


@pytest.mark.parametrize(
    "spec",
    [
        OptimizerSpec("adamw", lr=1e-2, weight_decay=0.4),
        OptimizerSpec("sgd", lr=0.1, weight_decay=1e-4),
        OptimizerSpec("sgd", lr=0.1, weight_decay=1e-4, momentum=0.9),
        OptimizerSpec("sgd", lr=0.1, momentum=0.9, nesterov=True),
    ],
    ids=lambda spec: f"{spec.name}-{spec.momentum}-{spec.nesterov}",
)
def test_every_setting_of_an_optimiser_reaches_torch(spec):
    optimizer = build_optimizer([torch.nn.Parameter(torch.zeros(2))], spec)
    kinds = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    assert type(optimizer) is kinds[spec.name]
    (group,) = optimizer.param_groups
    settings = {
        key: getattr(spec, key) for key in ("lr", "weight_decay", "momentum", "nesterov") if key in group
    }
    assert {key: group[key] for key in settings} == settings
    assert group["fused"]


def test_sgd_with_momentum_makes_the_steps_of_its_definition():
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = build_optimizer([weight], OptimizerSpec("sgd", lr=0.1, weight_decay=0.5, momentum=0.9))
    expected, velocity = 1.0, 0.0
    for gradient in (2.0, -1.0, 0.5):
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        velocity = 0.9 * velocity + gradient + 0.5 * expected
        expected -= 0.1 * velocity
        assert weight.item() == pytest.approx(expected, rel=1e-6)


def test_normalised_training_images_have_mean_zero_and_deviation_one(digits):
    normalise = normalisation(digits.mean, digits.std, torch.device("cpu"))
    values = normalise(torch.from_numpy(digits.train.images[:].copy()))
    assert values.mean().item() == pytest.approx(0, abs=1e-5)
    assert values.std(correction=0).item() == pytest.approx(1, abs=1e-5)
