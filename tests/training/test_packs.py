"""The lanes of a pack: each learns what its run learns alone, whatever its neighbours are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.graph_recorder import RecordedGraphs
from tests.training.helpers import small_spec
from tui_datasize.experiments.augmentation import AugmentationSpec
from tui_datasize.experiments.spec import ModelSpec, OptimizerSpec, Protocol, Transfer
from tui_datasize.training import checkpoint
from tui_datasize.training.engine import Trainer
from tui_datasize.training.graph import capture_on
from tui_datasize.training.packs.fused import Fused
from tui_datasize.training.packs.implementations import SideBySide
from tui_datasize.training.transfer import SourceWeights

CPU = torch.device("cpu")
UPDATES = 6
PARTIAL = Protocol(measured="last-batch", partial_batches=True)

MLP = small_spec(model=ModelSpec("mlp", {"hidden": 16, "dropout": 0.25}))
CNN = small_spec(model=ModelSpec("cnn3", {"width": 4}))
RESNET = small_spec(
    # On a CPU a lane's place decides no bit where channels fill whole vector registers.
    model=ModelSpec("resnet", {"depth": 8, "width": 8}),
    optimizer=OptimizerSpec("sgd", lr=0.05, momentum=0.9),
    clip_grad_norm=None,
    ema_decay=0.9,
)
SPECS = {
    "mlp": MLP,
    "cnn3": CNN,
    "cnn3 as published": replace(
        CNN, model=ModelSpec("cnn3", {"width": 4, "published": True}), protocol=PARTIAL
    ),
    "resnet": RESNET,
    "resnet partial": replace(RESNET, protocol=PARTIAL),
    "cnn3 bf16": replace(CNN, precision="bf16"),
    "cnn3 mixed": replace(CNN, augmentation=AugmentationSpec(mixup=0.4, cutmix=0.4)),
}


def make(specs, dataset, source=None, capture=capture_on):
    return [Trainer(spec, dataset, np.arange(spec.train_size), CPU, source, capture) for spec in specs]


def lanes_of(spec, count=3):
    """Lanes of one pack that differ in all that they may."""
    return [
        replace(
            spec,
            seed=lane,
            train_size=50 + 9 * lane,
            optimizer=replace(spec.optimizer, lr=spec.optimizer.lr / (lane + 1)),
        )
        for lane in range(count)
    ]


def values(trainer):
    """Weights, running statistics and averages as one vector."""
    models = (trainer.model, trainer.evaluated_model)
    return torch.cat([v.detach().flatten().double() for m in models for v in m.state_dict().values()])


def train_together(implementation, specs, dataset, updates=UPDATES):
    trainers = make(specs, dataset)
    together = implementation(trainers)
    for _ in range(updates):
        together.step(range(len(specs)))
    return trainers


@pytest.mark.parametrize("name", SPECS)
def test_a_fused_lane_agrees_with_its_run_alone(name, digits):
    # Of losses in nats; weights, which Adam moves by the sign of small gradients, agree less.
    tolerance = 5e-3 if "bf16" in name else 1e-5
    specs = lanes_of(SPECS[name])
    alone, packed = make(specs, digits), train_together(Fused, specs, digits)
    for one, lane in zip(alone, packed, strict=True):
        for _ in range(UPDATES):
            one.step()
        expected, found = one.read(), lane.read()
        assert found.losses == pytest.approx(expected.losses, abs=tolerance)
        assert found.gradient_norms == pytest.approx(expected.gradient_norms, rel=10 * tolerance)
        torch.testing.assert_close(values(lane), values(one), rtol=0, atol=10 * tolerance)


@pytest.mark.parametrize("spec", [MLP, CNN, RESNET, SPECS["resnet partial"]], ids=lambda s: s.model.name)
def test_a_fused_lane_has_the_same_bits_in_any_company_and_place(spec, digits):
    first, second, third = lanes_of(spec)
    diverging = replace(third, optimizer=OptimizerSpec(spec.optimizer.name, lr=1e30), clip_grad_norm=None)
    other = replace(second, seed=77, train_size=31, clip_grad_norm=0.1)
    here = train_together(Fused, [first, second, third], digits)[0]
    there = train_together(Fused, [diverging, other, first], digits)
    assert not torch.isfinite(values(there[0])).all()
    assert torch.equal(values(there[2]), values(here))
    assert there[2].read() == here.read()


@pytest.mark.parametrize("spec", [CNN, RESNET], ids=lambda s: s.model.name)
def test_a_fused_lane_that_ended_stays_as_it_is(spec, digits):
    trainers = make(lanes_of(spec), digits)
    pack = Fused(trainers)
    pack.step([0, 1, 2])
    before = values(trainers[1])
    for _ in range(4):
        pack.step([0, 2])
    assert torch.equal(values(trainers[1]), before)
    assert [trainer.update for trainer in trainers] == [5, 1, 5]
    always = train_together(Fused, lanes_of(spec), digits, updates=5)
    for lane in (0, 2):
        assert torch.equal(values(trainers[lane]), values(always[lane]))


def test_lanes_side_by_side_have_the_bits_of_their_runs_alone(digits):
    specs = lanes_of(CNN)
    packed = train_together(SideBySide, specs, digits)
    for spec, lane in zip(specs, packed, strict=True):
        (alone,) = train_together(SideBySide, [spec], digits)
        assert torch.equal(values(lane), values(alone))


def test_frozen_layers_stay_as_they_were_taken(digits):
    (source,) = make([replace(RESNET, seed=9)], digits)
    transfer = Transfer("source", 3, freeze=True)
    weights = SourceWeights(transfer, source.model.state_dict(), "nowhere")
    specs = [replace(spec, transfer=transfer) for spec in lanes_of(RESNET)]
    alone, packed = make(specs, digits, weights), make(specs, digits, weights)
    pack = Fused(packed)
    for _ in range(5):
        pack.step([0, 1, 2])
    for one, lane in zip(alone, packed, strict=True):
        for _ in range(5):
            one.step()
        torch.testing.assert_close(values(lane), values(one), rtol=0, atol=1e-4)
        assert torch.equal(lane.model.stem[0].weight, source.model.stem[0].weight)
        assert torch.equal(lane.model.stem[1].running_mean, source.model.stem[1].running_mean)


def test_a_checkpoint_of_a_lane_is_that_of_a_run_alone(digits, tmp_path):
    specs = lanes_of(RESNET)
    packed = train_together(Fused, specs, digits)
    (resumed,) = make(specs[1:2], digits)
    saved, alone = tmp_path / "lane.pt", tmp_path / "alone.pt"
    checkpoint.save(alone, {}, make(specs[1:2], digits)[0].state_dict())
    checkpoint.save(saved, {}, packed[1].state_dict())
    # Momentum comes on top, once per parameter.
    assert saved.stat().st_size < 2 * alone.stat().st_size
    resumed.load_state_dict(checkpoint.load(saved, {}))
    assert torch.equal(values(resumed), values(packed[1]))
    resumed.step()
    assert resumed.update == UPDATES + 1


def on_recordings(_device, generators):
    return RecordedGraphs(generators)


@pytest.mark.parametrize("name", ["cnn3 as published", "cnn3 mixed", "resnet"])
def test_recorded_updates_of_a_pack_are_the_updates_themselves(name, digits):
    specs = lanes_of(SPECS[name])
    plain = make(specs, digits)
    recorded = make(specs, digits, capture=on_recordings)
    packs = Fused(plain), Fused(recorded)
    for update in range(12):
        for pack in packs:
            # One lane ends before the others.
            pack.step([0, 1, 2] if update < 6 else [0, 2])
    assert all(trainer.replayed > 0 for trainer in recorded)
    for one, other in zip(plain, recorded, strict=True):
        assert other.read() == one.read()
        assert torch.equal(values(other), values(one))
        if one.last_batch:
            assert torch.equal(other.last_batch.logits, one.last_batch.logits)
            assert torch.equal(other.last_batch.labels, one.last_batch.labels)
