"""What a run learns: the classes of its images, or without any label what the images tell by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.augmentation import AugmentationSpec
from tui_datasize.experiments.keys import key

if TYPE_CHECKING:
    from tui_datasize.experiments.spec import RunSpec

TaskName: TypeAlias = Literal["classification", "rotation", "simclr"]
_SIMCLR: tuple[TaskName, ...] = ("simclr",)
IN_WORDS: Mapping[TaskName, str] = MappingProxyType(
    {
        "classification": "classes of images",
        "rotation": "which way up images are",
        "simclr": "which two views are of one image",
    }
)
"""What runs of a task learn to tell."""


@dataclass(frozen=True, slots=True)
class LearningTask:
    """What a run learns to tell, and how."""

    name: TaskName = key(
        "classification",
        "the class of an image; or without labels, for others to start from: rotation: by which of four "
        "quarter turns an image is turned, all four in each batch (Gidaris et al. 2018); simclr: which two "
        "views, each changed by augmentation, are of one image (Chen et al. 2020)",
        column="task",
    )
    temperature: float = key(
        0.5, "what similarities of views are divided by (NT-Xent)", above=0, at_most=100, only_for=_SIMCLR
    )
    projection: int = key(
        128,
        "outputs of the projection head, two layers in place of the classifier that nobody takes over",
        at_least=1,
        at_most=65_536,
        only_for=_SIMCLR,
    )

    @property
    def has_labels(self) -> bool:
        """Whether it learns from labels; all others look at none."""
        return self.name == "classification"


def refuse_beside_task(spec: RunSpec, where: str) -> None:
    """Raises ConfigError: a run without labels is asked for what needs labels, or cannot be judged."""
    task = spec.task
    if task.has_labels:
        return
    if wrong := next(_needing_labels(spec), ""):
        raise ConfigError(
            f"{wrong} and task = {task.name} exclude each other: no label and no test image is looked at",
            where=f"{where}.{wrong}",
            fix="leave it out",
        )
    if not spec.validation:
        raise ConfigError(
            f"{task.name} is judged by images held out, and none are",
            where=f"{where}.validation",
            fix="give validation = 0.1",
        )
    if task.name == "simclr":
        _refuse_single_views(spec, where)


def _needing_labels(spec: RunSpec) -> Iterator[str]:
    """Keys whose values make sense of labels or of test images alone."""
    named = {
        "transfer": spec.transfer,
        "unlabelled": spec.unlabelled.method != "none",
        "synthetic": spec.synthetic.is_on,
        "label_noise": spec.label_noise.fraction,
        "label_smoothing": spec.label_smoothing,
        "imbalance": spec.subset.imbalance != 1,
        "augmentation.mixup": spec.augmentation.mixup,
        "augmentation.cutmix": spec.augmentation.cutmix,
        "subset.path": spec.subset.path,
        "refit": spec.refit,
        "tests": spec.tests,
        "protocol": spec.is_as_published,
    }
    return (name for name, is_given in named.items() if is_given)


def _refuse_single_views(spec: RunSpec, where: str) -> None:
    if spec.batch_size < 2:
        raise ConfigError(
            "simclr tells the images of a batch apart, and 1 is alone", where=f"{where}.batch_size"
        )
    if spec.augmentation.repeats > 1:
        raise ConfigError("repeats and simclr exclude each other", where=f"{where}.augmentation.repeats")
    if spec.augmentation == AugmentationSpec():
        raise ConfigError(
            "simclr needs two views that differ",
            where=f"{where}.augmentation",
            fix="give augmentation = { crop_padding_px = 4, flip = 0.5, brightness = 0.4, grey = 0.2 }",
        )


def refuse_few_images(spec: RunSpec, where: str) -> None:
    """Raises ConfigError: a run of SimCLR has fewer images than a batch, or one alone to judge by."""
    if spec.task.name != "simclr":
        return
    if spec.batch_size > spec.trained_images:
        raise ConfigError(
            f"a batch of {spec.batch_size:,} different images, but size {spec.train_size:,} trains on "
            f"{spec.trained_images:,}",
            where=f"{where}.batch_size",
            fix="give a smaller batch, or more images",
        )
    if spec.held_out < 2:
        raise ConfigError(
            f"simclr tells images apart, and validation = {spec.validation:g} holds {spec.held_out} of "
            f"{spec.train_size:,} out",
            where=f"{where}.validation",
            fix="hold out 2 or more",
        )
