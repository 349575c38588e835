"""Learning without labels: what is shown to a model, its head, and how it is judged by images held out.

A label is looked at nowhere here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from tui_datasize.errors import DataError
from tui_datasize.experiments.pretext import LearningTask
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.augment.mixing import Targets
from tui_datasize.training.augment.pipeline import Pipeline
from tui_datasize.training.evaluate import Pass
from tui_datasize.training.models import build_model
from tui_datasize.training.models.parts import initialise, weight_layers
from tui_datasize.training.placement import ImageBatches
from tui_datasize.training.streams import Purpose, stream
from tui_datasize.training.transforms import input_shape

TURNS = 4
"""Quarter turns of an image, none among them."""
Shown: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Targets]]
"""From stored images (B, C, H, W) and their labels (B,) to what a model sees, and what it should say."""


def shown_by(task: LearningTask, pipeline: Pipeline) -> Shown:
    """What an update of a task is made on."""
    if task.name == "rotation":
        return lambda images, labels: turned(pipeline(images, labels)[0])
    if task.name == "simclr":
        return lambda images, labels: paired(pipeline(images, labels)[0], pipeline(images, labels)[0])
    return pipeline


def turned(images: Tensor) -> tuple[Tensor, Targets]:
    """Square images (B, C, H, H) by 0, 1, 2 and 3 quarter turns to the left, a turn behind the other: 4 B."""
    turns = [torch.rot90(images, count, (2, 3)) for count in range(TURNS)]
    labels = torch.arange(TURNS, device=images.device).repeat_interleave(len(images))
    return torch.cat(turns).contiguous(memory_format=torch.channels_last), Targets(labels)


def paired(first: Tensor, second: Tensor) -> tuple[Tensor, Targets]:
    """Two views of the same images, (B, C, H, W) each, and where each of the 2 B has its other view."""
    count = len(first)
    places = torch.arange(2 * count, device=first.device)
    return torch.cat([first, second]), Targets((places + count) % (2 * count))


def similarities(views: Tensor, temperature: float) -> Tensor:
    """Cosines of all views (N, d) over the temperature, a view with itself left out: float32, shape (N, N).

    Their cross-entropy against the places of the other views is NT-Xent (Chen et al. 2020, eq. 1).
    """
    directions = normalize(views.float(), dim=1)
    return (directions @ directions.T / temperature).fill_diagonal_(-torch.inf)


class Projection(nn.Module):
    """The head of SimCLR in place of a classifier: two layers, the first as wide as what enters, and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, inputs)
        self.last = nn.Linear(inputs, outputs)

    def forward(self, features: Tensor) -> Tensor:
        projected: Tensor = self.last(self.hidden(features).relu())
        return projected


class Contrast(nn.Module):
    """A model with similarities of its outputs for logits, for evaluations: whole batches of pairs alone.

    The model alone is under `autocast`: of similarities bf16 would leave two digits.
    """

    def __init__(
        self, model: nn.Module, temperature: float, autocast: AbstractContextManager[object]
    ) -> None:
        super().__init__()
        self.model, self._temperature, self._autocast = model, temperature, autocast
        self.train(model.training)

    def forward(self, views: Tensor) -> Tensor:
        with self._autocast:
            outputs = self.model(views)
        return similarities(outputs, self._temperature)


def network(
    spec: RunSpec, dataset: LoadedDataset, dropout: torch.Generator, initialisation: torch.Generator
) -> nn.Module:
    """The model of a run on the CPU with the head of its task, freshly filled.

    Raises DataError: the images do not suit the model or the task.
    """
    task, shape = spec.task, input_shape(dataset.image_shape, spec.augmentation)
    outputs = {"rotation": TURNS, "simclr": task.projection}.get(task.name, len(dataset.class_names))
    if task.name == "rotation" and shape[1] != shape[2]:
        raise DataError(
            f"rotation turns square images, these are {shape[2]}x{shape[1]}",
            fix="give crop_px, or of image files image_px",
        )
    model = build_model(spec.model, shape, outputs, initialisation=initialisation, dropout=dropout)
    if task.name == "simclr":
        name, classifier = weight_layers(model)[-1][0]
        if not isinstance(classifier, nn.Linear):
            raise DataError(f"model {spec.model} has no fully connected layer for simclr to project from")
        head = Projection(classifier.in_features, task.projection)
        initialise(head, initialisation)
        model.set_submodule(name, head)
    return model


def head_of(model: nn.Module) -> nn.Module:
    """What nobody takes over: the last layer, or the projection head."""
    projection = next((one for one in model.modules() if isinstance(one, Projection)), None)
    return projection or weight_layers(model)[-1][0][1]


@dataclass(frozen=True, slots=True)
class Turned:
    """Images of a split, each turned in all ways: as many times as many, with turns for labels."""

    split: ImageBatches
    view: Callable[[Tensor], Tensor]
    """Makes squares of them."""
    pass_order = None

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        for images, _ in self.split.batches(max(1, size // TURNS)):
            inputs, targets = turned(self.view(images))
            yield inputs, targets.labels


@dataclass(frozen=True, slots=True)
class Pairs:
    """Two views of each image of a split, the same at each evaluation; what fills no batch is left out."""

    split: ImageBatches
    pipeline_of: Callable[[torch.Generator], Pipeline]
    seed: int
    images: int
    """Of a batch, all different; no more than there are."""
    pass_order = None

    def batches(self, _size: int) -> Iterator[tuple[Tensor, Tensor]]:
        pipeline = self.pipeline_of(stream(self.seed, Purpose.EVALUATION_VIEWS))
        for images, labels in self.split.batches(self.images):
            if len(images) == self.images:
                inputs, targets = paired(*(pipeline(images, labels)[0] for _ in range(2)))
                yield inputs, targets.labels


@dataclass(frozen=True, slots=True)
class Exam:
    """How a run without labels is judged by images that it does not learn from."""

    model: nn.Module
    """From inputs to logits."""
    images: Pass
    """Inputs, with what the model should say of them for labels."""
    outputs: int
    """What it may say."""
    autocast: AbstractContextManager[object]
    """Around the model."""

    @classmethod
    def of(
        cls,
        spec: RunSpec,
        model: nn.Module,
        held_out: ImageBatches,
        view: Callable[[Tensor], Tensor],
        pipeline_of: Callable[[torch.Generator], Pipeline],
        autocast: AbstractContextManager[object],
    ) -> Exam:
        """Of a model; `view` shows it stored images as evaluations do, `pipeline_of` as updates do."""
        if spec.task.name == "rotation":
            return cls(model, Turned(held_out, view), TURNS, autocast)
        images = min(spec.batch_size, len(held_out))
        pairs = Pairs(held_out, pipeline_of, spec.seed, images)
        return cls(Contrast(model, spec.task.temperature, autocast), pairs, 2 * images, nullcontext())


def scores_of(task: LearningTask, scores: Mapping[str, float | None]) -> dict[str, float | None]:
    """Those that mean something: of pairs no class has a score of its own."""
    kept = ("loss", "accuracy", "top5") if task.name == "simclr" else tuple(scores)
    return {name: scores[name] for name in kept}
