"""Learning without labels: turns and pairs, their loss, what is never looked at, and what a kill changes."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from tests.training.conftest import QueueRun
from tests.training.graph_trainers import equal, make, on_recordings
from tests.training.helpers import (
    evaluations,
    read_rows,
    small_spec,
    train,
    train_until,
    weights,
    write_queued,
)
from tests.training.pack_runs import Died, die
from tui_datasize.errors import DataError
from tui_datasize.experiments.augmentation import AugmentationSpec
from tui_datasize.experiments.packing import pack_key
from tui_datasize.experiments.pretext import LearningTask
from tui_datasize.experiments.spec import Budget, ModelSpec, RunSpec, SubsetSpec, Transfer
from tui_datasize.experiments.subsets import uniform
from tui_datasize.files import read_object
from tui_datasize.runlog.paths import ProjectPaths, RunPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.training import prepare as prepare_module
from tui_datasize.training import session as session_module
from tui_datasize.training.arrays import ImageSplit, LoadedDataset
from tui_datasize.training.augment.colour import lose_colour
from tui_datasize.training.augment.draws import Draws
from tui_datasize.training.engine import Trainer
from tui_datasize.training.labelling.typical import typical
from tui_datasize.training.models.parts import weight_layers
from tui_datasize.training.pretext import Contrast, Projection, head_of, paired, similarities, turned
from tui_datasize.training.stop import StopRequest
from tui_datasize.training.task import make_task
from tui_datasize.training.transforms import normalisation

CPU = torch.device("cpu")
RESNET = ModelSpec("resnet", {"depth": 8, "width": 4})
VIEWS = AugmentationSpec(crop_padding_px=1, brightness=0.4, contrast=0.4)
TASKS = {
    "rotation": LearningTask("rotation"),
    "simclr": LearningTask("simclr", temperature=0.2, projection=8),
}


def spec_of(name: str = "rotation", **changes: object) -> RunSpec:
    values = {
        "budget": Budget("updates", 12),
        "evaluations": 3,
        "augmentation": VIEWS,
        "train_size": 60,
        "validation": 0.3,
        "subset": SubsetSpec("random", seed=2),
        "model": RESNET,
        "task": TASKS[name],
    }
    return small_spec(**{**values, **changes})


def trainer_of(spec: RunSpec, digits: LoadedDataset, **options: object) -> Trainer:
    task = make_task(spec, digits)
    return Trainer(spec, task.dataset, task.subset[~task.is_held_out], CPU, **options)


def nt_xent(views: np.ndarray, temperature: float) -> float:
    """Chen et al. 2020, eq. 1 and algorithm 1, term by term; views 2k and 2k + 1 are a pair."""
    unit = views / np.linalg.norm(views, axis=1, keepdims=True)
    terms = []
    for i in range(len(unit)):
        j = i ^ 1
        others = sum(math.exp(unit[i] @ unit[k] / temperature) for k in range(len(unit)) if k != i)
        terms.append(-math.log(math.exp(unit[i] @ unit[j] / temperature) / others))
    return float(np.mean(terms))


@pytest.mark.parametrize("temperature", [0.1, 0.5, 3.0])
def test_nt_xent_is_that_of_the_paper(temperature: float) -> None:
    views = np.random.default_rng(0).normal(size=(12, 5))
    # In a batch the second views stand behind the first.
    ordered = torch.from_numpy(np.concatenate([views[::2], views[1::2]])).float()
    _, targets = paired(ordered[:6], ordered[6:])
    found = targets.loss(similarities(ordered, temperature), 0.0)
    assert float(found) == pytest.approx(nt_xent(views, temperature), rel=1e-5)


def test_nt_xent_has_its_closed_forms() -> None:
    """All views alike: ln (2N - 1). Pairs alike and at right angles to others: -ln (e / (e + 2N - 2))."""
    alike, apart = torch.ones((6, 4)) * torch.arange(1.0, 7)[:, None], torch.eye(3).repeat(2, 1)
    for views, expected in (
        (alike, math.log(5)),
        (apart, -math.log(math.exp(2) / (math.exp(2) + 4))),
    ):
        _, targets = paired(views[:3], views[3:])
        assert float(targets.loss(similarities(views, 0.5), 0.0)) == pytest.approx(expected, rel=1e-6)


def test_the_gradient_of_nt_xent_is_its_slope() -> None:
    views = torch.from_numpy(np.random.default_rng(1).normal(size=(8, 3)).astype(np.float32)).requires_grad_()
    _, targets = paired(views[:4], views[4:])
    targets.loss(similarities(views, 0.5), 0.0).backward()
    assert views.grad is not None

    def at(place: int, axis: int, step: float) -> float:
        moved = views.detach().double().numpy().copy()
        moved[place, axis] += step
        order = [place for pair in zip(range(4), range(4, 8), strict=True) for place in pair]
        return nt_xent(moved[order], 0.5)

    for place, axis in ((0, 0), (3, 2), (6, 1)):
        slope = (at(place, axis, 1e-5) - at(place, axis, -1e-5)) / 2e-5
        assert float(views.grad[place, axis]) == pytest.approx(slope, abs=1e-5)


def test_each_image_is_turned_in_all_four_ways() -> None:
    images = torch.arange(2 * 3 * 4 * 4.0).reshape(2, 3, 4, 4)
    inputs, targets = turned(images)
    assert targets.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    for place, turns in enumerate(targets.labels.tolist()):
        for channel in range(3):
            expected = np.rot90(images[place % 2, channel].numpy(), turns)
            assert np.array_equal(inputs[place, channel].numpy(), expected)


@pytest.mark.parametrize("name", TASKS)
def test_an_update_is_that_of_a_plain_model_written_out(name: str, digits: LoadedDataset) -> None:
    spec = spec_of(name, clip_grad_norm=None)
    trainer, views = trainer_of(spec, digits), trainer_of(spec, digits)
    batch = views.next_batch()
    assert len(batch.inputs) == {"rotation": 4, "simclr": 2}[name] * spec.batch_size
    outputs = trainer.model(batch.inputs)
    if name == "rotation":
        expected = nn.functional.cross_entropy(outputs, torch.arange(4).repeat_interleave(16))
    else:
        first, second = batch.inputs[:16], batch.inputs[16:]
        # Two draws of the same changes of the same images.
        assert not torch.equal(first, second)
        assert (first - second).abs().mean() < (first - second.roll(1, 0)).abs().mean()
        pairs = torch.stack([outputs[:16], outputs[16:]], dim=1).flatten(0, 1)
        expected = nt_xent(pairs.detach().double().numpy(), 0.2)
    fresh = trainer_of(spec, digits)
    fresh.step()
    assert fresh.read().losses == pytest.approx((float(torch.as_tensor(expected).detach()),), rel=1e-4)


def test_a_head_is_in_the_place_of_the_classifier_and_nothing_else_is_named_otherwise(
    digits: LoadedDataset,
) -> None:
    models = {name: trainer_of(spec_of(name), digits).model for name in TASKS}
    plain = trainer_of(spec_of("rotation", task=LearningTask()), digits).model
    for model in models.values():
        taken = [name for layer in weight_layers(plain)[:-1] for name, _ in layer]
        modules, others = dict(model.named_modules()), dict(plain.named_modules())
        assert all(repr(modules[name]) == repr(others[name]) for name in taken)
    assert head_of(models["rotation"]).out_features == 4
    head = head_of(models["simclr"])
    assert isinstance(head, Projection)
    assert (head.hidden.in_features, head.hidden.out_features, head.last.out_features) == (16, 16, 8)


@pytest.mark.parametrize("name", TASKS)
def test_no_label_and_no_test_image_decides_anything(
    name: str, queue_run: QueueRun, digits: LoadedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does what starts from it know of test images."""
    noise = np.random.default_rng(0)
    pixels = noise.integers(0, 255, digits.test.images.shape, dtype=np.uint8)
    hashes = noise.integers(0, 2**63, len(digits.test.hashes), dtype=np.uint64)
    labels = noise.integers(0, 10, len(digits.train.labels))
    noisy = replace(
        digits,
        train=replace(digits.train, labels=labels),
        test=ImageSplit(pixels, noise.integers(0, 10, len(hashes)), hashes),
        fingerprint="0" * 16,
    )
    assert (labels != digits.train.labels).sum() > 1000
    whole, disturbed = queue_run(spec_of(name)), queue_run(spec_of(name))
    # As files they may look like test images, which noise does not.
    alike = {int(row): ("a.png", "b.png", 7) for row in make_task(spec_of(name), digits).subset[:9]}
    monkeypatch.setattr(prepare_module, "load_dataset", lambda *_: replace(digits, twins=alike))
    one = train(whole)
    started = started_from(whole, name)
    monkeypatch.setattr(prepare_module, "load_dataset", lambda *_: noisy)
    other = train(disturbed)
    assert torch.equal(weights(one), weights(other))
    assert evaluations(whole) == evaluations(disturbed)
    monkeypatch.setattr(prepare_module, "load_dataset", lambda *_: replace(noisy, train=digits.train))
    again = started_from(disturbed, name)
    assert torch.equal(weights(train(started)), weights(train(again)))
    for run in (whole, disturbed):
        assert not any(file.exists() for file in (run.predictions, run.per_class, run.confusion))


def started_from(source: RunPaths, name: str, *, freeze: bool = False) -> RunPaths:
    transfer = Transfer(source.run_id, None, freeze, TASKS[name].name)
    spec = small_spec(experiment="later", model=RESNET, transfer=transfer, budget=Budget("updates", 6))
    return write_queued(source.directory.parents[2], spec)


def test_images_that_equal_a_test_image_are_left_out(
    queue_run: QueueRun, digits: LoadedDataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    spec = spec_of()
    subset = make_task(spec, digits).subset
    hashes = digits.test.hashes.copy()
    hashes[:2] = digits.train.hashes[subset[[3, 5]]]
    leaky = replace(
        digits, test=replace(digits.test, hashes=hashes), twins={int(subset[9]): ("a.png", "b.png", 7)}
    )
    kept = make_task(spec, leaky).subset
    # What looks like one stays: by noise in test images nothing else would be learned from.
    assert kept.tolist() == np.delete(subset, [3, 5]).tolist()
    # Those who learn from labels have them, as ever, and the audit says so.
    assert len(make_task(replace(spec, task=LearningTask()), leaky).subset) == 60
    monkeypatch.setattr(prepare_module, "load_dataset", lambda *_: leaky)
    paths = queue_run(spec)
    train(paths)
    assert "2 of 60 images without labels are test images" in capsys.readouterr().out
    assert pl.read_parquet(paths.subset)["index"].to_list() == kept.tolist()
    none = replace(digits, test=digits.train)
    with pytest.raises(DataError, match="all images are test images, too"):
        make_task(spec, none)


def test_a_source_that_learned_from_test_images_of_a_run_is_refused(
    queue_run: QueueRun, digits: LoadedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one of another split of the same images."""
    source = queue_run(spec_of())
    train(source)
    seen = digits.train.hashes[make_task(spec_of(), digits).subset]
    hashes = digits.test.hashes.copy()
    hashes[:4] = seen[:4]
    monkeypatch.setattr(
        prepare_module, "load_dataset", lambda *_: replace(digits, test=replace(digits.test, hashes=hashes))
    )
    with pytest.raises(DataError) as caught:
        train(started_from(source, "rotation"))
    assert "4 of 60 images that the source learned from are test images of this run" in caught.value.line


@pytest.mark.parametrize("name", TASKS)
def test_what_is_learned_is_taken_over_frozen_or_not(name: str, queue_run: QueueRun) -> None:
    source = queue_run(spec_of(name))
    taught = train(source).trainer.model.state_dict()
    frozen = train(started_from(source, name, freeze=True)).trainer.model
    classifier = {name for name, _ in weight_layers(frozen)[-1]}
    for key, value in frozen.state_dict().items():
        if key.rpartition(".")[0] not in classifier:
            # Running statistics among them: a linear probe changes nothing but the classifier.
            assert torch.equal(value, taught[key]), key
    assert [p.requires_grad for p in frozen.parameters()].count(True) == 2
    tuned = train(started_from(source, name)).trainer.model.state_dict()
    assert not torch.equal(tuned["stem.0.weight"], taught["stem.0.weight"])


def test_a_source_by_its_id_that_learned_otherwise_is_refused(queue_run: QueueRun) -> None:
    source = queue_run(spec_of())
    train(source)
    spec = small_spec(experiment="later", model=RESNET, transfer=Transfer(source.run_id, None, freeze=False))
    with pytest.raises(DataError) as caught:
        train(write_queued(source.directory.parents[2], spec))
    assert "has learned which way up images are; name its experiment with from" in caught.value.line


@pytest.mark.parametrize("name", TASKS)
def test_a_run_that_goes_on_is_the_undisturbed_one_bit_for_bit(name: str, queue_run: QueueRun) -> None:
    spec = spec_of(name, ema_decay=0.8)
    whole, broken = queue_run(spec), queue_run(spec)
    undisturbed = train(whole)
    train_until(broken, 5)
    resumed = train(broken)
    assert resumed.has_resumed
    assert evaluations(broken) == evaluations(whole)
    assert equal(undisturbed.trainer.state_dict(), resumed.trainer.state_dict())


@pytest.mark.parametrize("name", TASKS)
def test_a_run_whose_process_died_in_an_update_makes_that_update_again(
    name: str, queue_run: QueueRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = queue_run(spec_of(name)), queue_run(spec_of(name))
    undisturbed = train(whole)
    monkeypatch.setattr(session_module, "_READING_INTERVAL_S", 0.0)
    monkeypatch.setattr(session_module, "save_interval_s", lambda _: 0.0)
    session = prepare_module.prepare(broken, 1, prepare_module.Shared(), print)
    shown = session.trainer._shown

    def show_and_die(*stored):
        inputs = shown(*stored)
        if session.trainer.update == 7:
            die()
        return inputs

    monkeypatch.setattr(session.trainer, "_shown", show_and_die)
    with pytest.raises(Died):
        session.run(StopRequest())
    resumed = train(broken)
    assert resumed.has_resumed
    assert evaluations(broken) == evaluations(whole)
    assert equal(undisturbed.trainer.state_dict(), resumed.trainer.state_dict())


KILLED = """
import os, signal, sys
from pathlib import Path
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.training import prepare, session
from tui_datasize.training.stop import StopRequest

session._READING_INTERVAL_S, session.save_interval_s = 0.0, lambda _: 0.0
run = prepare.prepare(RunPaths(Path(sys.argv[1])), 1, prepare.Shared(), print)
step = run.trainer.step

def step_and_die():
    step()
    if run.trainer.update == 7:
        os.kill(os.getpid(), signal.SIGKILL)

run.trainer.step = step_and_die
run.run(StopRequest())
"""


@pytest.mark.parametrize("name", TASKS)
def test_a_process_that_is_killed_leaves_a_run_that_goes_on_bit_for_bit(
    name: str, queue_run: QueueRun
) -> None:
    whole, broken = queue_run(spec_of(name)), queue_run(spec_of(name))
    undisturbed = train(whole)
    died = subprocess.run([sys.executable, "-c", KILLED, str(broken.directory)], check=False)
    assert died.returncode == -signal.SIGKILL
    resumed = train(broken)
    assert resumed.has_resumed
    assert evaluations(broken) == evaluations(whole)
    assert equal(undisturbed.trainer.state_dict(), resumed.trainer.state_dict())


@pytest.mark.parametrize("strategy", ["k-center", "typiclust"])
def test_images_are_chosen_in_the_features_of_what_was_learned_without_labels(
    strategy: str, queue_run: QueueRun, digits: LoadedDataset
) -> None:
    source = queue_run(spec_of("simclr", train_size=300))
    model = train(source).trainer.evaluated_model.eval()
    features = features_of(model, digits)
    project = source.directory.parents[2]
    subset = SubsetSpec(strategy, seed=3, path=(20, 40), features=source.run_id)
    last = small_spec(experiment="later", train_size=40, subset=subset, budget=Budget("updates", 4))
    assert last.before is not None
    runs = [write_queued(project, spec) for spec in (last.before, last)]
    for run in runs:
        train(run)
    first, both = (pl.read_parquet(run.subset) for run in runs)
    assert both.head(20).equals(first)
    scores = both["score"].to_list()
    picked = both["index"].to_list()
    if strategy == "k-center":
        # The first is drawn, and each other the farthest from all before it.
        assert first["score"].is_nan().sum() + first["score"].null_count() == 1
        for place in range(1, 40):
            distances = np.linalg.norm(features[:, None] - features[picked[:place]], axis=2).min(axis=1)
            assert distances[picked[place]] == pytest.approx(distances.max(), abs=1e-5)
            assert scores[place] == pytest.approx(distances.max(), abs=1e-5)
        other = replace(last.before, subset=replace(last.before.subset, seed=4))
        train(again := write_queued(project, other))
        assert pl.read_parquet(again.subset)["index"][0] != picked[0]
    else:
        numbers = uniform(len(features), 3, last.seed, 20, 0x63686F696365)
        expected, _ = typical(torch.from_numpy(features), np.empty(0, np.int64), 20, numbers)
        assert picked[:20] == expected.tolist()


def features_of(model: nn.Module, digits: LoadedDataset) -> np.ndarray:
    """By hand: what enters the projection head, at length 1."""
    view = normalisation(digits.mean, digits.std, CPU)
    with torch.inference_mode():
        found = model.blocks(model.stem(view(torch.from_numpy(np.asarray(digits.train.images).copy()))))
    means = found.mean(dim=(2, 3)).numpy()
    unit: np.ndarray = means / np.linalg.norm(means, axis=1, keepdims=True)
    return unit


@pytest.mark.parametrize("name", TASKS)
def test_recorded_updates_are_those_made_one_by_one(name: str, digits: LoadedDataset) -> None:
    for augmentation in (VIEWS, AugmentationSpec()):
        spec = spec_of(name, augmentation=augmentation)
        plain, recorded = trainer_of(spec, digits), trainer_of(spec, digits, capture=on_recordings)
        for one in (plain, recorded):
            make(one, 12)
        assert recorded.replayed == 9
        assert plain.read() == recorded.read()
        assert equal(plain.state_dict(), recorded.state_dict())


@pytest.mark.parametrize("name", TASKS)
def test_images_that_stay_in_their_file_are_learned_alike(name: str, digits: LoadedDataset) -> None:
    here, there = (trainer_of(spec_of(name), digits, room=lambda *_, has=has: has) for has in (True, False))
    for one in (here, there):
        make(one, 6)
    assert equal(here.state_dict(), there.state_dict())


def test_images_held_out_alone_judge(queue_run: QueueRun, digits: LoadedDataset) -> None:
    spec = spec_of()
    paths = queue_run(spec)
    session = train(paths)
    task = make_task(spec, digits)
    held_out = task.subset[task.is_held_out]
    model, view = session.trainer.evaluated_model.eval(), session.trainer.view
    stored = torch.from_numpy(np.asarray(digits.train.images[held_out]).copy())
    right = 0
    with torch.inference_mode():
        for turns in range(4):
            inputs = torch.from_numpy(np.rot90(view(stored).numpy(), turns, (2, 3)).copy())
            right += int((model(inputs).argmax(1) == turns).sum())
    rows = [row for row in read_rows(paths) if row["event"] == "evaluation"]
    assert {row["split"] for row in rows} == {"validation"}
    assert len(rows) == 3
    assert rows[-1]["accuracy"] == right / (4 * len(held_out))
    assert read_object(paths.provenance)["test_images_device_bytes"] == 0
    runs = RunLog(ProjectPaths(paths.directory.parents[2])).runs()
    told = runs.select("task", "state", "missing_evaluations", "test_accuracy", "validation_accuracy").row(0)
    # A run that lacks evaluations would be told so.
    assert told == ("rotation", "queued", 0, None, rows[-1]["accuracy"])


def test_pairs_are_judged_in_whole_batches_by_the_same_views_each_time(queue_run: QueueRun) -> None:
    paths = queue_run(
        spec_of("simclr", optimizer=replace(spec_of().optimizer, lr=1e-30), model=ModelSpec("mlp"))
    )
    train(paths)
    rows = [row for row in read_rows(paths) if row["event"] == "evaluation"]
    assert len({row["loss"] for row in rows}) == 1
    assert 1 / 31 < rows[0]["accuracy"] <= rows[0]["top5"] <= 1
    assert {row.get("f1_macro") for row in rows} == {None}


def test_in_bf16_similarities_are_not_rounded() -> None:
    """Of 64 cosines in bf16 several would be equal."""
    views = torch.randn((64, 300), generator=torch.Generator().manual_seed(0))
    found = Contrast(nn.Identity(), 0.5, torch.autocast("cpu", torch.bfloat16))(views)
    assert torch.equal(found, similarities(views, 0.5))
    assert len(found[0].unique()) == 64


def test_images_that_are_no_squares_are_not_turned(digits: LoadedDataset) -> None:
    wide = replace(
        digits, train=replace(digits.train, images=np.zeros((len(digits.train.labels), 1, 8, 10), np.uint8))
    )
    with pytest.raises(DataError) as caught:
        trainer_of(spec_of(model=ModelSpec("mlp"), augmentation=AugmentationSpec()), wide)
    assert caught.value.line.startswith("rotation turns square images, these are 10x8")
    cropped = spec_of(model=ModelSpec("mlp"), augmentation=AugmentationSpec(crop_px=8))
    make(trainer_of(cropped, wide), 1)


def test_runs_without_labels_are_in_no_pack() -> None:
    assert pack_key(spec_of("rotation")) == pack_key(spec_of("simclr")) == ""
    assert pack_key(spec_of(task=LearningTask())) != ""


def test_a_share_of_images_loses_its_colour() -> None:
    images = torch.arange(4 * 3 * 2 * 2.0).reshape(4, 3, 2, 2)
    numbers = torch.tensor([[0.1, 0.9, 0.3, 0.5]])
    changed = lose_colour(images, Draws(numbers, numbers), 0.4)
    grey = (0.2989 * images[:, 0] + 0.587 * images[:, 1] + 0.114 * images[:, 2]).floor()
    for place, is_grey in enumerate((True, False, True, False)):
        expected = grey[place].expand(3, 2, 2) if is_grey else images[place]
        assert torch.equal(changed[place], expected)
    assert torch.equal(lose_colour(images[:, :1], Draws(numbers, numbers), 1.0), images[:, :1])
