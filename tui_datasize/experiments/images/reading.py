"""How the files of an image folder are found and decoded: a part of what decides the numbers of a run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from tui_datasize.experiments.keys import key

FIRST_RULES, NEWEST_RULES = 1, 2
"""Rules 1 saw the pixels as they are stored, and the files that lie directly in `train/CLASS/` and so on."""
_FIRST_OF_LEARNED = 2
OnBadImage: TypeAlias = Literal["fail", "skip"]


def colour_of(name: str) -> tuple[int, int, int]:
    """Red, green and blue of a colour by its name, or as #rrggbb; raises ValueError: it is none."""
    from PIL.ImageColor import getrgb

    red, green, blue, *alpha = getrgb(name)
    if alpha:
        raise ValueError("is not opaque")
    return red, green, blue


def _is_colour(name: str) -> bool:
    try:
        # The default costs no import.
        return name == "white" or bool(colour_of(name))
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class ImageReading:
    """What is taken for an image of a folder, and how it is shown; the defaults are those of older runs."""

    rules: int = FIRST_RULES
    """Version of the rules by which files are listed and decoded."""
    background: str = key(
        "white",
        "what shows through transparent pixels of image files: the name of a colour, or '#rrggbb'",
        expected="the name of a colour, or '#rrggbb'",
        holds=_is_colour,
        column=None,
    )
    split: float = key(
        0.0,
        "share of the images of each class that is for testing, of a folder without a test set, which holds "
        "CLASS/, or train/CLASS/ alone; drawn by split_seed and the names of the files",
        below=1,
        column=None,
    )
    split_seed: int = key(0, "the draw of that share", column=None)
    on_bad_image: OnBadImage = key(
        "fail",
        "an image file that cannot be read or decoded stops the queueing, or is skipped and listed in "
        "dataset.json; to know which, skip decodes all images once when they are first queued",
        column=None,
    )
    most_megapixels: float = key(
        100.0,
        "size of the largest image file that is decoded; a larger one counts as bad",
        above=0,
        at_most=100_000,
        column=None,
    )

    @property
    def skips(self) -> bool:
        return self.on_bad_image == "skip"

    @property
    def listing(self) -> tuple[object, ...]:
        """What decides which images there are."""
        return self.rules, self.split, self.split_seed, self.on_bad_image, self.most_megapixels

    @property
    def of_learned(self) -> ImageReading:
        """How a folder is read that is learned from beside the subset: rules no older than such folders."""
        return replace(self, rules=max(self.rules, _FIRST_OF_LEARNED))
