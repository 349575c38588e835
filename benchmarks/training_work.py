"""The work that both sides of `benchmarks.training` do: images, model and recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from tui_datasize.experiments.augmentation import AugmentationSpec
from tui_datasize.experiments.spec import Budget, ModelSpec, OptimizerSpec, Protocol, RunSpec
from tui_datasize.training.arrays import ImageSplit, LoadedDataset
from tui_datasize.training.transforms import ImageShape

_SIGNAL = 0.5
"""Share of its class's pattern in a synthetic image; the rest is noise, so that losses stay apart from 0."""


@dataclass(frozen=True, slots=True)
class Work:
    """One model on one number of images."""

    title: str
    model: str
    train_size: int
    image_shape: ImageShape
    classes: int
    batch_size: int
    optimizer: OptimizerSpec
    clip_grad_norm: float | None
    augmentation: AugmentationSpec
    epochs: int
    """Trained in one round."""

    def spec(self, seed: int, train_size: int, *, bf16: bool) -> RunSpec:
        """The run of our engine: epochs end with a smaller batch, as those of a DataLoader do."""
        return RunSpec(
            experiment="benchmark",
            dataset="benchmark",
            model=ModelSpec(self.model),
            train_size=train_size,
            seed=seed,
            budget=Budget("epochs", 1_000_000),
            batch_size=self.batch_size,
            optimizer=self.optimizer,
            clip_grad_norm=self.clip_grad_norm,
            augmentation=self.augmentation,
            precision="bf16" if bf16 else "auto",
            protocol=Protocol(partial_batches=True),
        )


def letters(train_size: int, epochs: int) -> Work:
    """The study of letters (Hansson, Padban and Silwer 2025): 28x28 grey images of 26 classes."""
    return Work(
        title=f"cnn3, {train_size:,} images of 28x28",
        model="cnn3",
        train_size=train_size,
        image_shape=(1, 28, 28),
        classes=26,
        batch_size=72,
        optimizer=OptimizerSpec("adamw", lr=4e-4, weight_decay=0.4),
        clip_grad_norm=1.0,
        augmentation=AugmentationSpec(),
        epochs=epochs,
    )


def residual(train_size: int, epochs: int) -> Work:
    """ResNet-20 as on CIFAR-10: pad by 4, crop, flip; SGD with momentum."""
    return Work(
        title=f"ResNet-20, {train_size:,} images of 32x32",
        model="resnet",
        train_size=train_size,
        image_shape=(3, 32, 32),
        classes=10,
        batch_size=128,
        optimizer=OptimizerSpec("sgd", lr=0.1, momentum=0.9, weight_decay=1e-4),
        clip_grad_norm=None,
        augmentation=AugmentationSpec(crop_padding_px=4, flip=0.5),
        epochs=epochs,
    )


def synthetic(work: Work, test_images: int) -> LoadedDataset:
    """Images in the decoded format: a pattern per class under noise."""
    random = np.random.default_rng(0)
    patterns = random.integers(0, 256, (work.classes, prod(work.image_shape)), dtype=np.uint8)

    def split(count: int) -> ImageSplit:
        labels = random.integers(0, work.classes, count)
        noise = random.integers(0, 256, (count, prod(work.image_shape)), dtype=np.uint8)
        pixels = (_SIGNAL * patterns[labels] + (1 - _SIGNAL) * noise).astype(np.uint8)
        return ImageSplit(pixels.reshape(count, *work.image_shape), labels, np.arange(count, dtype=np.uint64))

    train, test = split(work.train_size), split(test_images)
    scaled = np.asarray(train.images).swapaxes(0, 1).reshape(work.image_shape[0], -1) / 255
    return LoadedDataset(
        name="synthetic",
        train=train,
        test=test,
        class_names=tuple(str(label) for label in range(work.classes)),
        mean=_tuple(scaled.mean(axis=1)),
        std=_tuple(scaled.std(axis=1)),
        fingerprint="0" * 16,
    )


def _tuple(values: Sequence[float] | np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
