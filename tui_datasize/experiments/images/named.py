"""All images that a run names: its data set's, and those beside them to be measured on or learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from tui_datasize.experiments.images.reading import ImageReading
from tui_datasize.experiments.images.walk import Role
from tui_datasize.experiments.spec import RunSpec


class NamedImages(NamedTuple):
    """A data set or a folder in its role, and how its image files are read."""

    name: str
    role: Role
    image_px: int
    """Side to which they are resized; 0: none of its own."""
    reading: ImageReading

    def to_words(self) -> tuple[object, ...]:
        """As JSON holds it."""
        return *self[:3], asdict(self.reading)

    @classmethod
    def from_words(cls, words: Sequence[Any]) -> NamedImages:
        """What `to_words` has made of them."""
        name, role, image_px, reading = words
        return cls(name, role, image_px, ImageReading(**reading))


def named_images(spec: RunSpec, dataset: str = "", reading: ImageReading | None = None) -> list[NamedImages]:
    """Those of a run, its data set first; of a recipe, whose data set and reading its experiment says."""
    reading = reading or spec.images
    named = [NamedImages(dataset or spec.dataset, "own", spec.image_px, reading)]
    named += [NamedImages(tests, "tests", 0, reading) for _, tests in spec.tests]
    learned: tuple[tuple[str, Role], ...] = (
        (spec.unlabelled.source, "unlabelled"),
        (spec.synthetic.source, "synthetic"),
    )
    named += [NamedImages(one, role, spec.image_px, reading.of_learned) for one, role in learned if one]
    return named
