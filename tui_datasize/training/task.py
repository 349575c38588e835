"""What a run learns: its classes of a data set, its training images among them, and their labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tui_datasize.errors import DataError
from tui_datasize.experiments.label_noise import noisy_labels
from tui_datasize.experiments.spec import ClassSplit, RunSpec, Strategy, SubsetSpec
from tui_datasize.experiments.subsets import chosen_classes, draw
from tui_datasize.training.arrays import ChosenRows, ImageSplit, Indices, LoadedDataset


@dataclass(frozen=True, slots=True)
class Task:
    """A data set as one run sees it.

    The evaluation of the training images is measured against the labels given, wrong ones included;
    the test labels are always the true ones.
    """

    dataset: LoadedDataset
    """Of the run's classes alone, labels counted from 0; `train.labels` are those given. Without a test image
    where no label is learned."""
    subset: Indices
    """Positions of all images with labels in `dataset.train`, shape (n,), in draw order."""
    is_held_out: NDArray[np.bool_]
    """Which of them are not trained on but chosen by, shape (n,)."""
    index: Indices
    """The same images by their place in the whole data set, shape (n,)."""
    true_labels: Indices
    """Labels of all images of `dataset.train` without noise, shape (N,)."""

    @property
    def rest(self) -> ImageSplit:
        """The images of the run's classes that are not in the subset, with their true labels.

        Those held out are in the subset: whoever chooses by them must not have learned from them.
        """
        train = self.dataset.train
        rows = np.setdiff1d(np.arange(len(self.true_labels)), self.subset)
        return ImageSplit(ChosenRows(train.images, rows), self.true_labels[rows], train.hashes[rows])


def make_task(spec: RunSpec, whole: LoadedDataset, chosen: Indices | None = None) -> Task:
    """Restrict a data set to what a run sees, draw its images where none are chosen, and replace labels.

    The subset is drawn by the true labels: a run with wrong labels trains on the same images as one without.

    Raises DataError: there are too few images, or a class of the confusion is unknown.
    """
    dataset, rows = restrict_dataset(whole, spec.classes)
    true_labels = np.asarray(dataset.train.labels)
    subset = draw(true_labels, spec.train_size, spec.subset) if chosen is None else chosen
    if not spec.task.has_labels:
        subset, dataset = _untested(subset, rows, whole), replace(dataset, test=_none_of(dataset.test))
    given = noisy_labels(true_labels, dataset.class_names, spec.label_noise, spec.subset.seed)
    return Task(
        dataset=replace(dataset, train=replace(dataset.train, labels=given)),
        subset=subset,
        is_held_out=_held_out(true_labels[subset], spec),
        index=rows[subset],
        true_labels=true_labels,
    )


def _held_out(labels: Indices, spec: RunSpec) -> NDArray[np.bool_]:
    """A part of the subset that its draw alone decides; stratified by the true labels, if they are seen."""
    is_held_out = np.zeros(len(labels), dtype=np.bool_)
    if spec.held_out:
        strategy: Strategy = "stratified" if spec.task.has_labels else "random"
        part = SubsetSpec(strategy, nested=False, seed=spec.subset.seed)
        is_held_out[draw(labels, spec.held_out, part)] = True
    return is_held_out


def _untested(subset: Indices, rows: Indices, whole: LoadedDataset) -> Indices:
    """Those of a subset that are no test image, pixel for pixel, which others are tested by.

    What looks like one stays, and the audit tells of it: test images would else decide what is learned.

    Raises DataError: none is left.
    """
    is_tested = np.isin(whole.train.hashes[rows[subset]], whole.test.hashes)
    if left_out := int(is_tested.sum()):
        print(f"{left_out:,} of {len(subset):,} images without labels are test images", flush=True)
    if left_out == len(subset):
        raise DataError("all images are test images, too", where=whole.name, fix="give other images")
    return subset[~is_tested]


def _none_of(split: ImageSplit) -> ImageSplit:
    nobody = np.empty(0, dtype=np.int64)
    return ImageSplit(ChosenRows(split.images, nobody), split.labels[nobody], split.hashes[nobody])


def restrict_dataset(whole: LoadedDataset, classes: ClassSplit) -> tuple[LoadedDataset, Indices]:
    """The images of some classes, labels counted anew from 0, and their rows; no image is copied.

    Normalisation stays that of the whole data set, so that weights of one half see the other alike.
    The rows are where the training images lie in the whole data set, shape (N,).
    """
    if classes.half == "all":
        return whole, np.arange(len(whole.train.labels), dtype=np.int64)
    kept = np.asarray(chosen_classes(len(whole.class_names), classes), dtype=np.int64)
    train, rows = _restrict(whole.train, kept)
    test, _ = _restrict(whole.test, kept)
    digest = hashlib.blake2b(whole.fingerprint.encode() + kept.tobytes(), digest_size=8)
    restricted = replace(
        whole,
        train=train,
        test=test,
        class_names=tuple(whole.class_names[label] for label in kept),
        fingerprint=digest.hexdigest(),
    )
    return restricted, rows


def _restrict(split: ImageSplit, kept: Indices) -> tuple[ImageSplit, Indices]:
    """The images of the kept classes, ascending, in file order; and their rows."""
    rows = np.flatnonzero(np.isin(split.labels, kept)).astype(np.int64)
    labels = np.searchsorted(kept, split.labels[rows]).astype(np.int64)
    return ImageSplit(ChosenRows(split.images, rows), labels, split.hashes[rows]), rows
