"""What a run learns from images without labels, beside those of its subset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.catalogue import IMAGE_FOLDER
from tui_datasize.experiments.keys import key

Method: TypeAlias = Literal["none", "fixmatch", "pseudo-label", "mean-teacher"]
_ALL: tuple[Method, ...] = ("fixmatch", "pseudo-label", "mean-teacher")
_CHOSEN: tuple[Method, ...] = ("fixmatch", "pseudo-label")
_GROWING: tuple[Method, ...] = ("pseudo-label", "mean-teacher")
TEACHER_NEEDS = "mean-teacher needs ema_decay, the average of weights that is the teacher"


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """How images without labels are learned from; each update has those of the baseline with labels, too."""

    method: Method = key(
        "none",
        "fixmatch: the class of a weakly changed image, where it is sure, is the target of that image "
        "strongly changed (Sohn et al. 2020); pseudo-label: of itself (Lee 2013); mean-teacher: what the "
        "average of the weights says of another weak change (Tarvainen and Valpola 2017)",
    )
    ratio: int = key(
        7,
        "images without labels for each one with a label in a batch",
        at_least=1,
        at_most=1000,
        only_for=_ALL,
    )
    threshold: float = key(
        0.95,
        "least probability of a class that makes it a target",
        above=0,
        at_most=1,
        only_for=_CHOSEN,
    )
    weight: float = key(1.0, "of their loss beside that of the labels", above=0, at_most=1e6, only_for=_ALL)
    ramp: float = key(
        0.4,
        "share of the updates over which the weight grows in a line from 0",
        at_most=1,
        only_for=_GROWING,
    )
    source: str = key(
        "",
        f"{IMAGE_FOLDER}PATH, whose images at any depth are taken; by default those of the training set that "
        "the subset leaves out",
        name="from",
        only_for=_ALL,
        expected=f"{IMAGE_FOLDER}PATH",
        holds=lambda name: not name or name.removeprefix(IMAGE_FOLDER) not in ("", name),
    )

    @property
    def is_rest(self) -> bool:
        """Whether they are what the subset leaves out of the training set."""
        return self.method != "none" and not self.source


def refuse_none_left(unlabelled: Unlabelled, size: int, train_images: int, where: str) -> None:
    """Raises ConfigError: a subset of this size leaves no image of the training set without a label."""
    if unlabelled.is_rest and size >= train_images:
        raise ConfigError(
            f"0 of {train_images:,} images are left without a label at size {size}",
            where=f"{where}.unlabelled",
            fix="leave the size out, or name others with from",
        )
