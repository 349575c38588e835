"""Scores against scikit-learn and plain loops."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from importlib import import_module
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from tests.lazily import Lazily
from tui_datasize.runlog.schema import SCORES
from tui_datasize.training import evaluate, measures
from tui_datasize.training.accelerator.device import evaluation_batch_size
from tui_datasize.training.evaluate import ECE_BINS, Outputs, Tally, predict, predictions, score
from tui_datasize.training.placement import DeviceSplit
from tui_datasize.training.stop import StopRequested

sk = Lazily("sklearn.metrics")
library = Lazily("torchmetrics.functional.classification")


def outputs_of(logits, labels, *, keep_all=True, batch_size=37):
    """Outputs of a model that answers with the given logits."""
    images = torch.arange(len(labels), dtype=torch.uint8 if len(labels) < 256 else torch.int64)
    split = DeviceSplit(images, torch.from_numpy(labels))

    class Answers(torch.nn.Module):
        def forward(self, rows):
            return torch.from_numpy(logits)[rows.long()]

    return predict(
        Answers(),
        split,
        lambda batch: batch,
        Tally(logits.shape[1], keep_all=keep_all),
        batch_size=batch_size,
        autocast=nullcontext(),
        check=lambda: None,
    )


@pytest.fixture(params=[(501, 7), (240, 3), (60, 26)], ids=str)
def case(request):
    """Logits that are right about half of the time, float32, and labels that miss a class or two."""
    images, classes = request.param
    random = np.random.default_rng(images)
    labels = random.integers(0, classes - 1, images)
    logits = random.normal(size=(images, classes)).astype(np.float32)
    logits[np.arange(images), labels] += 1.5
    return logits, labels, classes


def test_scores_equal_those_of_scikit_learn(case):
    logits, labels, classes = case
    found = score(outputs_of(logits, labels))
    exact = logits.astype(np.float64)
    probabilities = np.exp(exact) / np.exp(exact).sum(axis=1, keepdims=True)
    predicted = logits.argmax(axis=1)
    every = np.arange(classes)
    assert found.scores.keys() == set(SCORES)
    assert found.scores["accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted), abs=1e-12)
    assert found.scores["loss"] == pytest.approx(sk.log_loss(labels, probabilities, labels=every), rel=1e-5)
    assert found.scores["f1_macro"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    top5 = sk.top_k_accuracy_score(labels, probabilities, k=min(5, classes - 1), labels=every)
    assert found.scores["top5"] == (pytest.approx(top5) if classes > 5 else 1.0)
    assert found.scores["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, predicted))
    recalls = sk.recall_score(labels, predicted, average=None, labels=np.unique(labels))
    assert found.scores["worst_class_accuracy"] == pytest.approx(min(recalls))
    outputs = outputs_of(logits, labels)
    areas = [sk.roc_auc_score(labels == k, outputs.probabilities[:, k]) for k in np.unique(labels)]
    assert found.scores["auroc"] == pytest.approx(np.mean(areas), abs=1e-12)
    assert score(outputs_of(logits, labels, keep_all=False)).scores["auroc"] is None
    assert np.array_equal(found.confusion, sk.confusion_matrix(labels, predicted, labels=every))


def test_calibration_error_equals_a_plain_loop(case):
    logits, labels, _ = case
    outputs = outputs_of(logits, labels)
    confidence, is_correct = outputs.confidences[:, 0], outputs.ranked[:, 0] == labels
    expected = 0.0
    for m in range(1, ECE_BINS + 1):
        inside = ((m - 1) / ECE_BINS < confidence) & (confidence <= m / ECE_BINS)
        if inside.any():
            gap = is_correct[inside].mean() - confidence[inside].astype(np.float64).mean()
            expected += inside.mean() * abs(gap)
    assert score(outputs).scores["ece"] == pytest.approx(expected, abs=1e-6)


def test_certain_predictions_belong_to_the_last_bin():
    sure, nearly = np.array([100.0, 0.0]), np.array([np.log(0.95), np.log(0.05)])
    outputs = outputs_of(np.stack([sure, nearly]).astype(np.float32), np.array([0, 1]))
    assert score(outputs).scores["ece"] == pytest.approx(abs(1 - 1.95) / 2, abs=1e-6)


def test_margins_equal_a_plain_loop(case):
    logits, labels, _ = case
    found = score(outputs_of(logits, labels)).scores
    margins = {True: [], False: []}
    for row, label in zip(logits.astype(np.float64), labels, strict=True):
        second, first = np.sort(np.exp(row) / np.exp(row).sum())[-2:]
        margins[bool(row.argmax() == label)].append((first - second) / first)
    assert found["margin_correct"] == pytest.approx(np.mean(margins[True]), rel=1e-5)
    assert found["margin_wrong"] == pytest.approx(np.mean(margins[False]), rel=1e-5)


def test_a_margin_over_no_image_is_none():
    logits = np.eye(3, dtype=np.float32)
    assert score(outputs_of(logits, np.arange(3))).scores["margin_wrong"] is None
    assert score(outputs_of(logits, (np.arange(3) + 1) % 3)).scores["margin_correct"] is None


def test_the_batch_size_changes_nothing(case):
    logits, labels, _ = case
    whole, split = (score(outputs_of(logits, labels, batch_size=b)) for b in (1000, 1))
    assert whole.scores == split.scores


def test_kept_probabilities_never_change_the_predicted_class():
    # 0.5 and the next float32 round to one float16; the later class is the larger one.
    close = np.array([[0.5, np.nextafter(np.float32(0.5), np.float32(1)), 0.0]], dtype=np.float32)
    ranked = np.array([[1, 0, 2]])
    outputs = Outputs(np.array([1]), np.zeros(1), ranked, close[:, [1, 0, 2]], close, 3)
    kept = predictions(outputs)
    assert kept.probabilities.argmax(axis=1).tolist() == [1]
    assert kept.probabilities[0, 1] == pytest.approx(0.5, abs=1e-3)


def test_of_many_classes_the_ten_most_probable_are_kept():
    random = np.random.default_rng(3)
    logits = random.normal(size=(20, 150)).astype(np.float32)
    outputs = outputs_of(logits, random.integers(0, 150, 20), keep_all=False)
    kept = predictions(outputs)
    assert np.array_equal(kept.classes, np.argsort(-logits, axis=1)[:, :10])
    assert kept.probabilities.shape == (20, 10)


def test_a_pass_restores_training_mode_and_can_be_left():
    def check():
        raise StopRequested

    model = torch.nn.Linear(2, 2)
    split = DeviceSplit(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64))
    tally = Tally(2)
    with pytest.raises(StopRequested):
        predict(model, split, lambda batch: batch, tally, batch_size=2, autocast=nullcontext(), check=check)
    assert model.training


def test_outputs_that_are_no_numbers_say_so():
    logits = np.array([[0.0, np.nan], [0.0, 1.0]], dtype=np.float32)
    assert not outputs_of(logits, np.array([0, 1])).is_finite


def test_measuring_in_blocks_changes_nothing(case, monkeypatch):
    logits, labels, classes = case
    whole = outputs_of(logits, labels)
    monkeypatch.setattr(evaluate, "_BLOCK_VALUES", 50 * classes)
    parts = outputs_of(logits, labels)
    assert np.array_equal(parts.probabilities, whole.probabilities)
    assert score(parts).scores == score(whole).scores


@pytest.mark.parametrize("scale", [1, 20], ids=["unsure", "certain"])
def test_top_5_and_calibration_error_are_those_of_torchmetrics(case, scale):
    """Which measured them in older records, in float32."""
    logits, labels, classes = case
    found = score(outputs_of(scale * logits, labels)).scores
    probabilities, targets = torch.from_numpy(scale * logits).softmax(dim=1), torch.from_numpy(labels)
    top5 = library.multiclass_accuracy(
        probabilities, targets, classes, top_k=min(5, classes), average="micro"
    )
    ece = library.multiclass_calibration_error(probabilities, targets, classes, ECE_BINS, norm="l1")
    assert found["top5"] == pytest.approx(float(top5), abs=1e-7)
    assert found["ece"] == pytest.approx(float(ece), abs=1e-6)


@pytest.mark.parametrize("classes", [3, 10, 11, 400])
def test_of_equally_probable_classes_the_first_is_predicted(classes):
    levels = np.random.default_rng(classes).integers(0, 3, (200, classes))
    levels[0] = 1
    found = outputs_of(levels.astype(np.float32), np.zeros(200, dtype=np.int64), keep_all=False)
    assert np.array_equal(found.ranked[:, 0], levels.argmax(axis=1))
    ranked = np.take_along_axis(levels, found.ranked, axis=1)
    assert (np.diff(ranked, axis=1) <= 0).all()
    assert (np.diff(found.ranked, axis=1)[np.diff(ranked, axis=1) == 0] > 0).all()
    assert all(len(set(row)) == len(row) for row in found.ranked.tolist())


class Elsewhere(torch.Tensor):
    """A tensor of another device: it can be put together with others and brought to the host."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.Tensor.cpu:
            return args[0].as_subclass(torch.Tensor)
        if func in (torch.cat, torch.Tensor.__len__):
            return super().__torch_function__(func, types, args, kwargs or {})
        raise AssertionError(f"{func} is computed where the logits are")


def test_scores_are_computed_on_the_host_wherever_the_logits_are(case, monkeypatch):
    logits, labels, classes = case
    monkeypatch.setattr(evaluate, "_BLOCK_VALUES", 50 * classes)
    here, there = Tally(classes, keep_all=True), Tally(classes, keep_all=True)
    for start in range(0, len(labels), 20):
        batch = [torch.from_numpy(part[start : start + 20]) for part in (logits, labels)]
        here.add(*batch)
        there.add(*(part.as_subclass(Elsewhere) for part in batch))
    assert score(there.outputs()).scores == score(here.outputs()).scores


@pytest.mark.parametrize(
    ("total_gib", "images"), [(5.8, 32), (23.6, 42), (47.4, 85), (79.1, 170), (139.7, 341), (1000, 341)]
)
def test_evaluation_batches_grow_with_the_memory_of_a_card(monkeypatch, total_gib, images):
    card = SimpleNamespace(total_memory=int(total_gib * 2**30))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: card)
    assert evaluation_batch_size(torch.device("cuda", 0), 3 * 256**2) == images
    # Small images fill no batch of more than this, which is enough.
    assert evaluation_batch_size(torch.device("cuda", 0), 28**2) <= 8192


def test_evaluation_batches_of_a_cpu_fit_its_cache():
    sizes = [evaluation_batch_size(torch.device("cpu"), values) for values in (64, 784, 3 * 256**2)]
    assert sizes == [1024, 83, 32]


def test_what_measures_classifications_loads_nothing_for_sounds(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "scipy.signal"
    monkeypatch.delitem(sys.modules, name, raising=False)
    with measures._without_signal():
        assert not hasattr(import_module(name), "windows")
    assert name not in sys.modules
    monkeypatch.setitem(sys.modules, name, real := ModuleType(name))
    with measures._without_signal():
        assert import_module(name) is real
    assert sys.modules[name] is real
