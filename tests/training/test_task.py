"""What a run learns: halves of the classes, wrong labels, and what is recorded of both."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
import torch

from tests.training.helpers import evaluations, small_spec, train
from tui_datasize.errors import DataError
from tui_datasize.experiments.spec import ClassSplit, LabelNoise, SubsetSpec
from tui_datasize.experiments.subsets import chosen_classes
from tui_datasize.training.placement import place_images
from tui_datasize.training.task import make_task, restrict_dataset

HALVES = (ClassSplit("source", 3), ClassSplit("target", 3))


@pytest.mark.parametrize("half", HALVES, ids=lambda half: half.half)
def test_a_half_shows_its_images_under_labels_from_zero(digits, half):
    restricted, rows = restrict_dataset(digits, half)
    kept = chosen_classes(10, half)
    assert restricted.class_names == tuple(str(label) for label in kept)
    assert np.array_equal(np.asarray(kept)[restricted.train.labels], digits.train.labels[rows])
    assert np.array_equal(restricted.train.hashes, digits.train.hashes[rows])
    assert len(restricted.train.images) == len(rows)
    for split, whole in ((restricted.train, digits.train), (restricted.test, digits.test)):
        wanted = np.asarray(whole.images)[np.isin(whole.labels, kept)]
        assert np.array_equal(split.images[:], wanted)
        assert np.array_equal(split.images[np.array([5, 0, 5])], wanted[[5, 0, 5]])
        placed = place_images(split, np.array([7, 2]), torch.device("cpu"))
        assert np.array_equal(placed.batch(slice(None))[0].numpy(), wanted[[7, 2]])


def test_halves_share_no_image_and_differ_in_fingerprint(digits):
    (source, rows), (target, others) = (restrict_dataset(digits, half) for half in HALVES)
    assert sorted([*rows, *others]) == list(range(len(digits.train.labels)))
    assert len({source.fingerprint, target.fingerprint, digits.fingerprint}) == 3
    assert (source.mean, source.std) == (target.mean, target.std) == (digits.mean, digits.std)


def test_wrong_labels_are_those_of_the_draw_whatever_the_size(digits):
    small, large = (
        make_task(small_spec(train_size=size, label_noise=LabelNoise(0.3)), digits) for size in (50, 400)
    )
    clean = make_task(small_spec(train_size=400), digits)
    assert np.array_equal(small.index, clean.index[:50])
    assert np.array_equal(small.dataset.train.labels, large.dataset.train.labels)
    assert (large.dataset.train.labels != large.true_labels).sum() == round(0.3 * len(large.true_labels))
    assert np.array_equal(large.true_labels, digits.train.labels)
    assert np.array_equal(large.dataset.test.labels, digits.test.labels)


def test_a_confusion_is_read_within_the_half(digits):
    names = chosen_classes(10, HALVES[0])
    here, there = str(names[0]), str(chosen_classes(10, HALVES[1])[0])
    noise = LabelNoise(0.1, ((here, there, 1.0),))
    with pytest.raises(DataError, match=f"names class '{there}'"):
        make_task(small_spec(classes=HALVES[0], label_noise=noise), digits)


def test_a_run_on_a_half_with_noise_and_a_long_tail_records_what_it_was_given(digits, queue_run):
    spec = small_spec(
        train_size=60,
        classes=HALVES[1],
        label_noise=LabelNoise(0.25),
        subset=SubsetSpec("stratified", seed=2, imbalance=5.0),
    )
    paths = queue_run(spec)
    train(paths)
    subset = pl.read_parquet(paths.subset)
    kept = np.asarray(chosen_classes(10, HALVES[1]))
    index = subset["index"].to_numpy()
    assert np.array_equal(kept[subset["true_label"]], digits.train.labels[index])
    assert np.array_equal(subset["hash"], digits.train.hashes[index])
    assert 5 <= (subset["label"] != subset["true_label"]).sum() <= 25
    drawn = np.bincount(subset["true_label"], minlength=5)
    assert drawn.max() / drawn.min() == pytest.approx(5, rel=0.25)

    described = json.loads(paths.dataset.read_text())
    assert described["class_names"] == [str(label) for label in kept]
    whole = np.bincount(digits.train.labels)
    assert described["train_images_per_class"] == whole[kept].tolist()

    tested = pl.read_parquet(paths.predictions).filter(pl.col("evaluation") == "last")
    assert tested.height == np.isin(digits.test.labels, kept).sum()
    assert tested["probabilities"].list.len().unique().to_list() == [5]
    per_class = pl.read_parquet(paths.per_class).filter(evaluation="last", split="train")
    # The pass over the training images is measured against the labels given.
    assert per_class["images"].to_list() == np.bincount(subset["label"], minlength=5).tolist()
    assert evaluations(paths)[-1]["accuracy"] > 0.3
