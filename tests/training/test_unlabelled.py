"""Images without labels: the loss they add, what they leave alone, and that such runs go on bit for bit."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.training.conftest import QueueRun
from tests.training.graph_trainers import equal, make, on_recordings
from tests.training.helpers import evaluations, read_rows, small_spec, train, train_until, weights
from tests.training.pack_runs import Died, die
from tui_datasize.errors import DataError
from tui_datasize.experiments.augmentation import AugmentationSpec
from tui_datasize.experiments.spec import Budget, LabelNoise, ModelSpec, Protocol, RunSpec, SubsetSpec
from tui_datasize.experiments.unlabelled import Unlabelled
from tui_datasize.files import read_object
from tui_datasize.training import prepare as prepare_module
from tui_datasize.training import session as session_module
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.datasets import load_unlabelled
from tui_datasize.training.engine import Beside, Trainer
from tui_datasize.training.stop import StopRequest
from tui_datasize.training.task import make_task
from tui_datasize.training.unlabelled import (
    accepted_loss,
    consistency_loss,
    pseudo_labels,
    strong_changes,
    weak_changes,
)

CPU = torch.device("cpu")
RESNET = ModelSpec("resnet", {"depth": 8, "width": 4})
FIXMATCH = Unlabelled("fixmatch", ratio=3, threshold=0.13)
RULES = {
    "fixmatch": FIXMATCH,
    "pseudo-label": Unlabelled("pseudo-label", ratio=2, threshold=0.13),
    "mean-teacher": Unlabelled("mean-teacher", ratio=2),
}
SHIFTED = AugmentationSpec(crop_padding_px=1, rotation_deg=10, brightness=0.2, mixup=0.4)


def spec_of(name: str = "fixmatch", **changes: object) -> RunSpec:
    values = {"ema_decay": 0.8, "budget": Budget("updates", 12), "evaluations": 3, "augmentation": SHIFTED}
    return small_spec(**{**values, "unlabelled": RULES[name], **changes})


def trainer_of(spec: RunSpec, digits: LoadedDataset, **options: object) -> Trainer:
    task = make_task(spec, digits)
    trained = task.subset[~task.is_held_out]
    rest = task.rest if spec.unlabelled.is_rest else None
    return Trainer(spec, task.dataset, trained, CPU, beside=Beside(rest), **options)


def test_fixmatch_takes_what_is_sure_as_the_target() -> None:
    """Against Sohn et al. 2020, eq. 4, term by term."""
    numbers = np.random.default_rng(0)
    weak, strong = (numbers.normal(0, 3, (40, 5)).astype(np.float32) for _ in range(2))
    labels, accepted = pseudo_labels(torch.from_numpy(weak), 0.8)
    terms = []
    for asked, learned in zip(weak.astype(float), strong.astype(float), strict=True):
        q = np.exp(asked) / np.exp(asked).sum()
        entropy = math.log(np.exp(learned).sum()) - learned[q.argmax()]
        terms.append(entropy if q.max() >= 0.8 else 0.0)
    assert 0 < (np.asarray(terms) > 0).sum() == accepted.sum() < 40
    found = accepted_loss(torch.from_numpy(strong), labels, accepted)
    assert float(found) == pytest.approx(sum(terms) / 40, rel=1e-5)


def test_at_the_threshold_itself_a_class_is_sure_and_nothing_sure_adds_nothing() -> None:
    even = torch.zeros((3, 4))
    assert pseudo_labels(even, 0.25)[1].all()
    labels, accepted = pseudo_labels(even, 0.2500001)
    assert not accepted.any()
    assert accepted_loss(torch.randn((3, 4)), labels, accepted) == 0


def test_the_teacher_is_followed_in_squared_probabilities() -> None:
    # Softmax of (ln 3, 0) is (3/4, 1/4).
    one, other = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]]), torch.zeros((2, 2))
    assert float(consistency_loss(one, other)) == pytest.approx((2 * 0.25**2 + 0) / 2)


def test_weak_and_strong_changes_are_those_that_there_are() -> None:
    weak = weak_changes(replace(SHIFTED, trivial_augment=True, random_erasing=0.2, cutmix=1, repeats=2))
    assert weak == AugmentationSpec(crop_padding_px=1, rotation_deg=10)
    assert strong_changes(weak) == replace(weak, trivial_augment=True, random_erasing=1.0)


@pytest.mark.parametrize("name", RULES)
def test_an_update_is_that_of_a_plain_model_written_out(name: str, digits: LoadedDataset) -> None:
    """Loss, gradients and weights of two updates, by hand, from the views that were drawn."""
    spec = spec_of(name, clip_grad_norm=None, augmentation=AugmentationSpec(crop_padding_px=1))
    rule, updates = spec.unlabelled, 12
    trainer = trainer_of(spec, digits)
    views = trainer_of(spec, digits)
    teacher = copy.deepcopy(trainer.model).eval()
    for update in (1, 2):
        trainer.model.train()
        by_hand, dropout = copy.deepcopy(trainer.model), trainer._dropout.get_state()
        batch = views.next_batch()
        assert batch.rest is not None
        learned, asked = batch.rest.learned, batch.rest.asked
        with torch.no_grad():
            source = {"fixmatch": by_hand.eval(), "mean-teacher": teacher}.get(name)
            answers = source(asked) if source and asked is not None else None
        by_hand.train()
        logits = trainer.model(torch.cat([batch.inputs, learned]))
        trainer._dropout.set_state(dropout)
        own, others = logits[:16], logits[16:]
        loss = torch.nn.functional.cross_entropy(own, batch.targets.labels)
        q = (others.detach() if answers is None else answers).softmax(1)
        if name == "mean-teacher":
            added = torch.nn.functional.mse_loss(others.softmax(1), q, reduction="none").sum(1).mean()
        else:
            sure = q.max(1).values >= rule.threshold
            added = (torch.nn.functional.nll_loss(others.log_softmax(1), q.argmax(1), reduction="none"))[sure]
            added = added.sum() / len(others)
        grown = 1.0 if name == "fixmatch" else update / (0.4 * updates)
        expected = loss + grown * added
        gradients = torch.autograd.grad(expected, list(trainer.model.parameters()))
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        trainer.step()
        found = trainer.read()
        assert found.losses == pytest.approx((expected.item(),), rel=1e-5)
        assert found.gradient_norms == pytest.approx((norm.item(),), rel=1e-4)
        average = trainer.evaluated_model
        # The teacher of the next update: the average, which begins as the weights after the first.
        with torch.no_grad():
            for old, new in zip(teacher.parameters(), trainer.model.parameters(), strict=True):
                old.lerp_(new, 1.0 if update == 1 else 1 - 0.8)
        for old, new in zip(teacher.parameters(), average.parameters(), strict=True):
            assert torch.allclose(old, new, atol=1e-6)


@pytest.mark.parametrize(
    "changes", [{}, {"protocol": Protocol(partial_batches=True)}], ids=["full", "partial"]
)
def test_batches_with_labels_are_those_of_the_baseline(changes: dict, digits: LoadedDataset) -> None:
    spec = spec_of(**changes)
    plain, other = (trainer_of(one, digits) for one in (replace(spec, unlabelled=Unlabelled()), spec))
    sizes = []
    for _ in range(9):
        one, two = plain.next_batch(), other.next_batch()
        assert torch.equal(one.inputs, two.inputs)
        assert equal(list(one.targets.parts), list(two.targets.parts))
        assert one.rest is None
        assert two.rest is not None
        assert len(two.rest.learned) == len(two.rest.hidden) == 3 * len(one.inputs)
        sizes.append(len(one.inputs))
        for trainer in (plain, other):
            trainer.advance()
    assert len(set(sizes)) == (1 if not changes else 2)


def test_the_rest_is_what_the_subset_leaves_out_images_held_out_are_none_of_it(digits: LoadedDataset) -> None:
    spec = spec_of(train_size=60, validation=0.2, label_noise=LabelNoise(0.5))
    task = make_task(spec, digits)
    assert len(task.rest.labels) == len(digits.train.labels) - 60
    everything = np.concatenate([task.rest.hashes, digits.train.hashes[task.subset]])
    assert sorted(everything.tolist()) == sorted(digits.train.hashes.tolist())
    # The log counts against the labels as they are, whatever noise the given ones have.
    outside = np.setdiff1d(np.arange(len(digits.train.labels)), task.subset)
    assert np.array_equal(task.rest.labels, digits.train.labels[outside])


@pytest.mark.parametrize("name", RULES)
def test_labels_outside_the_subset_decide_nothing(
    name: str, queue_run: QueueRun, digits: LoadedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A stratified draw looks at all classes, as ever; one that is random does not.
    spec = spec_of(name, subset=SubsetSpec("random"), train_size=60, validation=0.2, model=RESNET)
    whole, noisy = queue_run(spec), queue_run(spec)
    undisturbed = train(whole)
    labels = np.random.default_rng(0).integers(0, 10, len(digits.train.labels))
    inside = make_task(spec, digits).subset
    labels[inside] = digits.train.labels[inside]
    assert (labels != digits.train.labels).sum() > 1000
    lied = replace(digits, train=replace(digits.train, labels=labels))
    monkeypatch.setattr(prepare_module, "load_dataset", lambda *_: lied)
    disturbed = train(noisy)
    assert torch.equal(weights(disturbed), weights(undisturbed))
    assert evaluations(noisy) == evaluations(whole)
    shares, right = ([of_updates(paths, name) for paths in (whole, noisy)] for name in COLUMNS)
    assert shares[0] == shares[1]
    assert right[0] != right[1]


COLUMNS = ("pseudo_accepted", "pseudo_accuracy")


def of_updates(paths, column: str) -> list[float | None]:
    return [row[column] for row in read_rows(paths) if row["event"] == "train"]


def test_share_and_accuracy_of_targets_are_in_the_rows(queue_run: QueueRun, digits: LoadedDataset) -> None:
    spec = spec_of(clip_grad_norm=None)
    paths, plain = queue_run(spec), queue_run(replace(spec, unlabelled=Unlabelled()))
    train(paths)
    train(plain)
    by_hand = trainer_of(spec, digits)
    make(by_hand, 12)
    readings = by_hand.read()
    # Rows are of four updates each, of 16 images with labels and three times as many without.
    for place, name in enumerate(COLUMNS):
        for row, value in enumerate(of_updates(paths, name)):
            accepted, right = (
                sum(counts[4 * row : 4 * row + 4]) for counts in (readings.accepted, readings.right)
            )
            assert value == (accepted / (4 * 48), right / accepted)[place]
        assert of_updates(plain, name) == [None] * 3
    assert any(0 < share < 1 for share in of_updates(paths, "pseudo_accepted"))
    assert read_object(paths.provenance)["unlabelled_images"] == len(digits.train.labels) - 50
    shares = of_updates(queue_and_train(queue_run, spec_of("mean-teacher")), "pseudo_accepted")
    assert shares == [1.0] * 3


def queue_and_train(queue_run: QueueRun, spec: RunSpec):
    paths = queue_run(spec)
    train(paths)
    return paths


@pytest.mark.parametrize("name", [*RULES, "refit"])
def test_a_run_that_goes_on_is_the_undisturbed_one_bit_for_bit(name: str, queue_run: QueueRun) -> None:
    changes = {"model": RESNET}
    if name == "refit":
        changes = {"refit": True, "validation": 0.2, "train_size": 60}
    spec = spec_of("fixmatch" if name == "refit" else name, **changes)
    whole, broken = queue_run(spec), queue_run(spec)
    undisturbed = train(whole)
    train_until(broken, 5)
    resumed = train(broken)
    assert evaluations(broken) == evaluations(whole)
    assert equal(undisturbed.trainer.state_dict(), resumed.trainer.state_dict())


def test_a_run_whose_process_died_in_an_update_makes_that_update_again(
    queue_run: QueueRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = queue_run(spec_of(model=RESNET)), queue_run(spec_of(model=RESNET))
    undisturbed = train(whole)
    monkeypatch.setattr(session_module, "_READING_INTERVAL_S", 0.0)
    monkeypatch.setattr(session_module, "save_interval_s", lambda _: 0.0)
    session = prepare_module.prepare(broken, 1, prepare_module.Shared(), print)
    draw = session.trainer.rest.next

    def draw_and_die():
        drawn = draw()
        if session.trainer.update == 7:
            die()
        return drawn

    monkeypatch.setattr(session.trainer.rest, "next", draw_and_die)
    with pytest.raises(Died):
        session.run(StopRequest())
    resumed = train(broken)
    assert resumed.has_resumed
    assert evaluations(broken) == evaluations(whole)
    assert equal(undisturbed.trainer.state_dict(), resumed.trainer.state_dict())


@pytest.mark.parametrize("name", RULES)
def test_recorded_updates_are_those_made_one_by_one(name: str, digits: LoadedDataset) -> None:
    spec = spec_of(name, model=RESNET, augmentation=AugmentationSpec())
    plain, recorded = trainer_of(spec, digits), trainer_of(spec, digits, capture=on_recordings)
    for one in (plain, recorded):
        make(one, 12)
    assert recorded.replayed == 9
    assert plain.read() == recorded.read()
    assert equal(plain.state_dict(), recorded.state_dict())


def test_in_bf16_all_weights_have_the_gradients_of_what_is_learned(digits: LoadedDataset) -> None:
    """What autocast keeps of the weights for targets, which have no gradient, is not learned with."""
    whole, half = (trainer_of(spec_of(precision=one), digits) for one in ("fp32", "bf16"))
    for one in (whole, half):
        make(one, 1)
    for (name, one), (_, other) in zip(
        whole.model.named_parameters(), half.model.named_parameters(), strict=True
    ):
        assert one.grad is not None, name
        assert other.grad is not None, name
        assert torch.allclose(one.grad, other.grad, atol=0.02), name


def test_images_that_stay_in_their_file_are_learned_alike(digits: LoadedDataset) -> None:
    here, there = trainer_of(spec_of(), digits), trainer_of(spec_of(), digits, room=lambda *_: False)
    for one in (here, there):
        make(one, 6)
    assert equal(here.state_dict(), there.state_dict())
    assert (here.rest.images.device_bytes > 0, there.rest.images.device_bytes) == (True, 0)


@pytest.fixture
def folder(tmp_path: Path, digits: LoadedDataset) -> Path:
    """The first twenty training images, some deeper than others."""
    root = tmp_path / "wild"
    for place, pixels in enumerate(np.asarray(digits.train.images)[:20, 0]):
        at = root / ("" if place % 2 else "a/b")
        at.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(at / f"{place:02}.png")
    return root


def test_images_of_a_folder_are_learned_from_and_nobody_knows_their_labels(
    folder: Path, queue_run: QueueRun, digits: LoadedDataset, tmp_path: Path
) -> None:
    name = f"imagefolder:{folder}"
    found = load_unlabelled(name, tmp_path / "data", digits)
    assert {image.tobytes() for image in np.asarray(found.images)} == {
        image.tobytes() for image in np.asarray(digits.train.images)[:20]
    }
    spec = spec_of(unlabelled=replace(FIXMATCH, source=name))
    whole, broken = queue_run(spec), queue_run(spec)
    undisturbed = train(whole)
    assert max(of_updates(whole, "pseudo_accepted")) > 0
    assert of_updates(whole, "pseudo_accuracy") == [None] * 3
    train_until(broken, 5)
    assert torch.equal(weights(train(broken)), weights(undisturbed))
    # Other images begin another run.
    train_until(other := queue_run(spec), 5)
    Image.fromarray(np.full((8, 8), 9, np.uint8)).save(folder / "more.png")
    assert not prepare_module.prepare(other, 2, prepare_module.Shared(), print).has_resumed


def test_test_images_in_a_folder_are_not_learned_from(
    folder: Path, queue_run: QueueRun, digits: LoadedDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    for place, pixels in enumerate(np.asarray(digits.test.images)[:5, 0]):
        Image.fromarray(pixels).save(folder / f"test{place}.png")
    run = queue_run(spec_of(unlabelled=replace(FIXMATCH, source=f"imagefolder:{folder}")))
    session = prepare_module.prepare(run, 1, prepare_module.Shared(), print)
    assert len(session.trainer.rest.images) == 20
    assert "5 of 25 images without labels are test images" in capsys.readouterr().out
    for file in [*folder.rglob("0*.png"), *folder.rglob("1*.png")]:
        file.unlink()
    with pytest.raises(DataError, match="all are test images or held out"):
        prepare_module.prepare(run, 1, prepare_module.Shared(), print)


def test_images_held_out_that_a_folder_has_too_are_not_learned_from(
    folder: Path, queue_run: QueueRun, digits: LoadedDataset
) -> None:
    spec = spec_of(unlabelled=replace(FIXMATCH, source=f"imagefolder:{folder}"), validation=0.2)
    task = make_task(spec, digits)
    for place in task.subset[task.is_held_out]:
        Image.fromarray(np.asarray(digits.train.images)[place, 0]).save(folder / f"held{place}.png")
    session = prepare_module.prepare(queue_run(spec), 1, prepare_module.Shared(), print)
    held_out = set(digits.train.hashes[task.subset[task.is_held_out]])
    assert len(session.trainer.rest.images) == len(set(digits.train.hashes[:20]) - held_out)


def test_images_of_another_size_are_refused_unless_they_are_resized(
    folder: Path, digits: LoadedDataset, tmp_path: Path
) -> None:
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(folder / "large.png")
    with pytest.raises(DataError) as caught:
        load_unlabelled(f"imagefolder:{folder}", tmp_path / "data", digits)
    assert "8x9 pixels, but" in caught.value.line
    assert len(load_unlabelled(f"imagefolder:{folder}", tmp_path / "data", digits, image_px=8).labels) == 21
