"""Digits that a font has drawn, turned, sheared and thickened at random: generated without any real image.

`python -m benchmarks.drawn_digits FOLDER [--each 600] [--seed 0]` writes FOLDER/CLASS/NNNN.png, 28x28 and
grey, for `synthetic = { from = "imagefolder:FOLDER" }`; the same seed writes the same images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

_SIDE, _LARGE = 28, 112
"""Pixels of an image, and of what it is shrunk from."""


def main() -> None:
    """Write all images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", type=int, default=600, help="images of each digit")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    numbers = np.random.default_rng(arguments.seed)
    for digit in "0123456789":
        (arguments.folder / digit).mkdir(parents=True, exist_ok=True)
        for place in range(arguments.each):
            drawn(digit, numbers).save(arguments.folder / digit / f"{place:04}.png")


def drawn(digit: str, numbers: np.random.Generator) -> Image.Image:
    """One image of a digit, light on dark."""
    size = numbers.uniform(0.8, 1.05) * _LARGE
    image = Image.new("L", (_LARGE, _LARGE))
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(size)
    thickness = int(numbers.integers(0, 5))
    middle = (_LARGE / 2, _LARGE / 2)
    pen.text(middle, digit, fill=255, font=font, anchor="mm", stroke_width=thickness)
    angle, shear, wide, tall = numbers.normal(0, [0.18, 0.2, 0.1, 0.1])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    change = turn @ np.array([[1 + wide, shear], [0, 1 + tall]])
    shift = np.array(middle) - change @ np.array(middle) + numbers.normal(0, 3, 2)
    moved = image.transform(
        image.size,
        Image.Transform.AFFINE,
        (*change[0], shift[0], *change[1], shift[1]),
        Image.Resampling.BILINEAR,
    )
    blurred = moved.filter(ImageFilter.GaussianBlur(numbers.uniform(1, 3)))
    return blurred.resize((_SIDE, _SIDE), Image.Resampling.BOX)


if __name__ == "__main__":
    main()
