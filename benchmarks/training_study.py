"""The study's side of `benchmarks.training`: DataLoaders of PIL images, and metrics for every batch."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, AdamW, Optimizer
from torch.utils.data import DataLoader, Dataset
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score
from torchvision import transforms

from benchmarks.training_sides import Done, cores
from benchmarks.training_work import Work
from tui_datasize.training.arrays import ImageSplit, LoadedDataset
from tui_datasize.training.evaluate import Integers
from tui_datasize.training.models import build_model
from tui_datasize.training.streams import Purpose, stream

Samples: TypeAlias = Dataset[tuple[Tensor, int]]


class PilSamples(Samples):
    """Images that go through PIL and torchvision's transforms one by one, as torchvision's data sets do."""

    def __init__(self, split: ImageSplit, rows: Integers, steps: Sequence[Any]) -> None:
        # Rows and columns first, channels last and none for grey, as PIL has them.
        self._pixels = np.ascontiguousarray(np.asarray(split.images[rows]).transpose(0, 2, 3, 1))
        if self._pixels.shape[-1] == 1:
            self._pixels = self._pixels[..., 0]
        self._labels = split.labels[rows]
        self._transform = transforms.Compose(list(steps))

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(Image.fromarray(self._pixels[index])), int(self._labels[index])


class StudyLoop:
    """A study's data path: one PIL image at a time in loader workers, metrics anew for every batch.

    As in the code of Hansson, Padban and Silwer (2025) and in torchvision's reference training: workers
    start with every epoch, images are channels first, the optimiser is torch's default, and every
    batch's loss, accuracy and F1 are fetched by `.item()`. First weights are those of the engine.

    Args:
        work: What is trained.
        data: The images.
        subset: Indices of the training images, shape (n,).
        device: Where to train.
        workers: Of each DataLoader.
        seed: Of the first weights and of the order.
    """

    def __init__(
        self,
        work: Work,
        data: LoadedDataset,
        subset: Integers,
        device: torch.device,
        workers: int,
        seed: int,
    ) -> None:
        # Torch's advice to take fewer workers where there are fewer cores: the study took four.
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        self._work = work
        self._device = device
        self._workers = workers
        self._classes = len(data.class_names)
        torch.manual_seed(seed)
        self._model = build_model(
            work.spec(seed, len(subset), bf16=False).model,
            data.image_shape,
            self._classes,
            initialisation=stream(seed, Purpose.INITIALISATION),
            dropout=stream(seed, Purpose.DROPOUT, device),
        ).to(device)
        self._optimizer = _optimizer(self._model, work)
        normalise = [transforms.ToTensor(), transforms.Normalize(data.mean, data.std)]
        self._train = self._loader(
            PilSamples(data.train, subset, _augmentations(work) + normalise), shuffle=True
        )
        everything = np.arange(len(data.test.labels))
        self._test = self._loader(PilSamples(data.test, everything, normalise), shuffle=False)

    def set_up(self) -> None:
        """Torch's own number of threads, and no fixed algorithms."""
        torch.set_num_threads(cores())

    def train(self, epochs: int) -> Done:
        """Train so many further epochs."""
        self._model.train()
        return _mean_of([self._step(*batch) for _ in range(epochs) for batch in self._train])

    @torch.no_grad()
    def evaluate(self) -> Done:
        """Measure the test split batch by batch."""
        self._model.eval()
        return _mean_of([self._measure(*self._forward(*batch)) for batch in self._test])

    def _loader(self, samples: Samples, *, shuffle: bool) -> DataLoader[tuple[Tensor, int]]:
        return DataLoader(
            samples,
            batch_size=self._work.batch_size,
            shuffle=shuffle,
            num_workers=self._workers,
            pin_memory=self._device.type == "cuda",
        )

    def _step(self, images: Tensor, labels: Tensor) -> Done:
        self._optimizer.zero_grad()
        logits, labels = self._forward(images, labels)
        cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
        if self._work.clip_grad_norm is not None:
            clip_grad_norm_(self._model.parameters(), self._work.clip_grad_norm)
        self._optimizer.step()
        return self._measure(logits.detach(), labels)

    def _forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        images, labels = images.to(self._device), labels.to(self._device)
        return self._model(images), labels

    def _measure(self, logits: Tensor, labels: Tensor) -> Done:
        """Of one batch, in objects made for it."""
        accuracy = MulticlassAccuracy(self._classes, average="micro").to(self._device)
        f1 = MulticlassF1Score(self._classes, average="micro").to(self._device)
        for metric in (accuracy, f1):
            metric.update(logits, labels)
        f1.compute().item()
        loss = cross_entropy(logits, labels).item()
        return Done(len(labels), 1, loss, accuracy.compute().item())


def _augmentations(work: Work) -> list[Any]:
    """The work's augmentation in torchvision's transforms."""
    wanted, side_px = work.augmentation, work.image_shape[1]
    crop = [transforms.RandomCrop(side_px, padding=wanted.crop_padding_px)] if wanted.crop_padding_px else []
    return crop + ([transforms.RandomHorizontalFlip(wanted.flip)] if wanted.flip else [])


def _optimizer(model: torch.nn.Module, work: Work) -> Optimizer:
    """As a script makes it, by torch's default implementation."""
    wanted = work.optimizer
    if wanted.name == "adamw":
        return AdamW(model.parameters(), lr=wanted.lr, weight_decay=wanted.weight_decay)
    return SGD(model.parameters(), lr=wanted.lr, momentum=wanted.momentum, weight_decay=wanted.weight_decay)


def _mean_of(batches: Sequence[Done]) -> Done:
    """All batches together, each image alike."""
    images = sum(batch.images for batch in batches)
    return Done(
        images,
        len(batches),
        sum(batch.loss * batch.images for batch in batches) / images,
        sum(batch.accuracy * batch.images for batch in batches) / images,
    )
