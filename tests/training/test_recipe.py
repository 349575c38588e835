"""Recipes in training: that they resume bit for bit, and what each of them changes."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tests.training.helpers import evaluations, read_rows, small_spec, train, train_until, weights
from tui_datasize.errors import DataError, RunFailedError
from tui_datasize.experiments.augmentation import AugmentationSpec
from tui_datasize.experiments.budget import total_updates
from tui_datasize.experiments.schedule import ScheduleSpec, learning_rate_factor
from tui_datasize.experiments.spec import Budget, ModelSpec, OptimizerSpec, Protocol
from tui_datasize.experiments.subsets import draw
from tui_datasize.training import checkpoint
from tui_datasize.training.accelerator import device
from tui_datasize.training.engine import Trainer

CPU = torch.device("cpu")
CNN = ModelSpec("cnn3", {"width": 4})
RESNET = ModelSpec("resnet", {"depth": 8, "width": 4})
SGD = OptimizerSpec("sgd", lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-4)
PIXELS = AugmentationSpec(
    crop_padding_px=1, flip=0.5, rotation_deg=20, brightness=0.3, contrast=0.3, saturation=0.3, sharpness=0.3
)
STRONG = AugmentationSpec(
    resized_crop=0.3, crop_px=8, trivial_augment=True, random_erasing=0.3, mixup=0.4, cutmix=1.0, repeats=3
)
RECIPES = {
    "step": {"schedule": ScheduleSpec("step", step=0.2, gamma=0.5)},
    "multistep": {"optimizer": SGD, "schedule": ScheduleSpec("multistep", milestones=(0.3, 0.6))},
    "cosine": {"optimizer": SGD, "schedule": ScheduleSpec("cosine", warmup=0.2)},
    "pixels": {"model": CNN, "augmentation": PIXELS},
    "strong": {"model": CNN, "augmentation": STRONG, "label_smoothing": 0.1},
    "ema": {"model": RESNET, "ema_decay": 0.9, "train_size": 40},
    "batch-norm": {"model": RESNET, "optimizer": SGD, "augmentation": PIXELS, "clip_grad_norm": None},
    "bf16": {"model": CNN, "precision": "bf16", "ema_decay": 0.5},
    "published": {
        "model": CNN,
        "protocol": Protocol("last-batch", "micro", partial_batches=True),
        "budget": Budget("epochs", 3),
    },
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_resumed_run_of_each_recipe_is_the_undisturbed_one_bit_for_bit(name, queue_run):
    spec = small_spec(**{"evaluations": 3, "budget": Budget("updates", 12), **RECIPES[name]})
    whole, broken = queue_run(spec), queue_run(spec)
    undisturbed = train(whole)
    for update in (4, total_updates(spec)):
        train_until(broken, update)
    resumed = train(broken)
    assert evaluations(broken) == evaluations(whole)
    for key in ("evaluated_model", "model"):
        expected = getattr(undisturbed.trainer, key).state_dict()
        found = getattr(resumed.trainer, key).state_dict()
        assert all(torch.equal(found[part], expected[part]) for part in expected)


def trainer_of(digits, **changes):
    spec = small_spec(**changes)
    return Trainer(spec, digits, draw(np.asarray(digits.train.labels), spec.train_size, spec.subset), CPU)


@pytest.mark.parametrize("optimizer", [SGD, OptimizerSpec("adamw", lr=1e-3)], ids=lambda o: o.name)
def test_each_update_has_the_learning_rate_of_the_schedule(optimizer, digits):
    schedule = ScheduleSpec("cosine", warmup=0.25, warmup_start=0.1)
    trainer = trainer_of(digits, optimizer=optimizer, schedule=schedule, budget=Budget("updates", 12))
    for update in range(12):
        trainer.step()
        expected = optimizer.lr * learning_rate_factor(schedule, update, 12)
        assert trainer.learning_rate == expected
        assert [group["lr"] for group in trainer.state_dict()["optimizer"]["param_groups"]] == [expected]


def test_a_learning_rate_of_zero_moves_nothing_and_stands_in_the_record(digits, queue_run):
    spec = small_spec(schedule=ScheduleSpec("step", step=0.5, gamma=0.1), evaluations=4)
    paths = queue_run(spec)
    train(paths)
    rates = [row["lr"] for row in read_rows(paths) if row["event"] == "train"]
    assert rates == pytest.approx([3e-3, 3e-3, 3e-4, 3e-4])
    trainer = trainer_of(digits, schedule=ScheduleSpec(warmup=0.5))
    before = copy.deepcopy(trainer.model.state_dict())
    trainer.step()
    after = trainer.model.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_the_average_of_weights_is_torchs_and_is_what_is_evaluated(digits):
    trainer = trainer_of(digits, model=RESNET, ema_decay=0.8)
    oracle = AveragedModel(trainer.model, multi_avg_fn=get_ema_multi_avg_fn(0.8), use_buffers=True)
    for _ in range(6):
        trainer.step()
        oracle.update_parameters(trainer.model)
    expected, found = oracle.module.state_dict(), trainer.evaluated_model.state_dict()
    assert trainer.evaluated_model is not trainer.model
    for key, value in found.items():
        if value.is_floating_point():
            assert torch.allclose(value, expected[key], atol=1e-6), key
        else:
            assert torch.equal(value, trainer.model.state_dict()[key])
    assert trainer.state_dict()["ema"].keys() == trainer.state_dict()["model"].keys()


def test_label_smoothing_and_mixing_are_in_the_loss_of_training_alone(queue_run):
    spec = small_spec(label_smoothing=0.5, augmentation=AugmentationSpec(mixup=1.0))
    paths = queue_run(spec)
    train(paths)
    rows = read_rows(paths)
    last = {row["event"]: row["loss"] for row in rows if row["split"] == "train"}
    assert last["evaluation"] < last["train"]


def test_repeats_show_each_image_of_a_batch_several_times(digits):
    augmentation = AugmentationSpec(repeats=3, flip=0.5)
    trainer = trainer_of(digits, augmentation=augmentation, batch_size=16, train_size=50)
    seen = torch.zeros(50, dtype=torch.int64)
    for _ in range(10):
        rows = trainer._next_rows()
        assert len(rows) == 16
        assert torch.equal(rows[:6], rows[6:12])
        assert torch.equal(rows[:4], rows[12:])
        assert len(torch.unique(rows[:6])) == 6 or trainer.update > 6
        seen += torch.bincount(rows, minlength=50)
    assert seen.max() - seen.min() <= 6


def test_frozen_weights_are_left_alone_by_optimiser_and_clipping(digits, monkeypatch):
    from tui_datasize.training import pretext

    build = pretext.build_model

    def build_frozen(*args, **kwargs):
        model = build(*args, **kwargs)
        first = next(module for module in model.modules() if isinstance(module, torch.nn.Linear))
        first.requires_grad_(False)
        return model

    monkeypatch.setattr(pretext, "build_model", build_frozen)
    trainer = trainer_of(digits, optimizer=OptimizerSpec(lr=1e-2, weight_decay=0.5))
    before = copy.deepcopy(trainer.model.state_dict())
    trainer.step()
    after = trainer.model.state_dict()
    frozen = {name for name, p in trainer.model.named_parameters() if not p.requires_grad}
    assert frozen
    assert {name for name in before if torch.equal(before[name], after[name])} == frozen


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16"])
def test_the_record_says_in_what_precision_a_run_computed(precision, queue_run):
    paths = queue_run(small_spec(precision=precision, budget=Budget("updates", 2), evaluations=1))
    session = train(paths)
    used = {"auto": "fp32"}.get(precision, precision)
    facts = json.loads(paths.provenance.read_text())
    assert facts["precision"] == used
    assert facts["peak_memory_bytes"] > 1e6
    with session.trainer.autocast:
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if used == "bf16" else torch.float32)
    assert all(p.dtype == torch.float32 for p in session.trainer.model.parameters())


def test_tf32_on_a_cpu_is_refused_in_one_line():
    with pytest.raises(RunFailedError, match="precision tf32 needs a GPU of"):
        device.set_up(CPU, "tf32")


def test_a_crop_larger_than_the_images_is_refused(digits):
    with pytest.raises(DataError, match="crop_px = 9 needs images of at least 9x9 pixels, got 8x8"):
        trainer_of(digits, augmentation=AugmentationSpec(crop_px=9))


def test_evaluations_see_the_centre_of_images_that_training_crops(digits):
    trainer = trainer_of(digits, augmentation=AugmentationSpec(crop_px=6))
    assert trainer.view(trainer.subset.batch(slice(None))[0]).shape == (50, 1, 6, 6)
    trainer.step()


def test_a_checkpoint_from_before_there_were_recipes_still_continues(queue_run):
    spec = small_spec()
    whole, broken = queue_run(spec), queue_run(spec)
    undisturbed = train(whole)
    train_until(broken, 17)
    document = torch.load(broken.checkpoint, weights_only=True)
    del document["state"]["trainer"]["augmentation"]
    del document["state"]["best"]["tested"]
    checkpoint.save(broken.checkpoint, document["identity"], document["state"])
    assert torch.equal(weights(train(broken)), weights(undisturbed))
    assert evaluations(broken) == evaluations(whole)


def test_augmentation_changes_the_numbers_and_repeats_them(queue_run):
    plain, flipped = small_spec(), small_spec(augmentation=replace(AugmentationSpec(), rotation_deg=30.0))
    runs = [queue_run(spec) for spec in (plain, flipped, flipped)]
    first, second, third = (weights(train(paths)) for paths in runs)
    assert not torch.equal(first, second)
    assert torch.equal(second, third)
