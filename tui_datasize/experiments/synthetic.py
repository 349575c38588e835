"""What a run learns from generated images, beside the real ones of its subset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from tui_datasize.errors import DataError
from tui_datasize.experiments.catalogue import IMAGE_FOLDER, image_folder, refuse_classes
from tui_datasize.experiments.keys import key

Generator: TypeAlias = Literal["none", "cvae"]
Likelihood: TypeAlias = Literal["bernoulli", "gaussian"]
_OWN: tuple[Generator, ...] = ("cvae",)


@dataclass(frozen=True, slots=True)
class Synthetic:
    """Where generated images come from, and how many there are; updates are as many as without them."""

    model: Generator = key(
        "none",
        "cvae: a class-conditional variational autoencoder (Kingma and Welling 2014, Sohn et al. 2015) that "
        "is trained on the images of the run's own subset and on no other, before the run",
    )
    source: str = key(
        "",
        f"in place of a model {IMAGE_FOLDER}PATH, images that were generated elsewhere, in CLASS/ or "
        "train/CLASS/ by the names of the data set's classes",
        name="from",
        expected=f"{IMAGE_FOLDER}PATH",
        holds=lambda name: not name or name.removeprefix(IMAGE_FOLDER) not in ("", name),
    )
    ratio: float = key(
        1.0,
        "generated images for each real one that is trained on, of each class in proportion to these",
        above=0,
        at_most=1000,
    )
    latent: int = key(16, "numbers behind an image", at_least=1, at_most=4096, only_for=_OWN)
    hidden: int = key(
        256, "width of both layers of encoder and decoder", at_least=1, at_most=65_536, only_for=_OWN
    )
    epochs: int = key(200, "passes over the images trained on", at_least=1, at_most=10_000, only_for=_OWN)
    lr: float = key(1e-3, "its learning rate, of AdamW", above=0, only_for=_OWN)
    beta: float = key(
        1.0,
        "weight of the divergence in what it minimises (Higgins et al. 2017)",
        above=0,
        at_most=1e6,
        only_for=_OWN,
    )
    likelihood: Likelihood = key(
        "bernoulli",
        "of a pixel: bernoulli, of its brightness, or gaussian, of the spread that suits a batch best",
        only_for=_OWN,
    )

    @property
    def is_on(self) -> bool:
        """Whether there are generated images."""
        return self.model != "none" or bool(self.source)

    @property
    def named(self) -> str:
        """Model or folder; none without generated images."""
        return self.source or self.model

    def problem(self, *, says_ratio: bool) -> str:
        """What is wrong with its values together; empty where nothing is."""
        if self.source and self.model != "none":
            return "from and model exclude each other: images come from one of them"
        if says_ratio and not self.is_on:
            return "ratio needs model = 'cvae', or from, the folder that images come from"
        return ""

    def wanted(self, per_class: Mapping[int, int]) -> dict[int, int]:
        """How many generated images of each class go with so many real ones, 1 in all at least.

        >>> Synthetic("cvae", ratio=0.5).wanted({0: 5, 1: 4, 2: 1})
        {0: 3, 1: 2, 2: 0}
        """
        # As a largest remainder has it, ties to the lower class.
        quotas = {label: self.ratio * images for label, images in per_class.items()}
        counts = {label: int(quota) for label, quota in quotas.items()}
        left = max(1, round(self.ratio * sum(per_class.values()))) - sum(counts.values())
        by_rest = sorted(quotas, key=lambda label: (counts[label] - quotas[label], label))
        return counts | {label: counts[label] + 1 for label in by_rest[:left]}


def refuse_other_classes(
    source: str, found: Sequence[str], known: Sequence[str], needed: Sequence[str]
) -> None:
    """Refuse a folder whose classes are not those of a data set, as far as these are known.

    Raises DataError: a class that is needed has no images, or some are of none that the data set has.
    """
    if known:
        refuse_classes({*found} - {*known}, source)
    if missing := [name for name in needed if name not in found]:
        named = ", ".join(missing[:5])
        raise DataError(f"{source} has no images of class {named}", fix="put some there")


def refuse_inside(source: str, dataset: str, data_dir: Path) -> None:
    """Raises DataError: generated images and those of the data set lie in one another's folder."""
    if not dataset.startswith(IMAGE_FOLDER):
        return
    generated, real = (image_folder(name, data_dir).resolve() for name in (source, dataset))
    if generated.is_relative_to(real) or real.is_relative_to(generated):
        raise DataError(
            f"lies in the folder of {dataset}, or holds it: real images would count as generated",
            where=str(generated),
            fix="put generated images beside it",
        )
