"""One image file to pixels, with Pillow. No torch: decoding processes start in a moment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tui_datasize.errors import DataError
from tui_datasize.files import open_regular
from tui_datasize.training.chunks import Images

if TYPE_CHECKING:
    from PIL.Image import Image

_GREY_MODES = frozenset({"1", "L", "LA"})
_WIDE_MODES = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})


class AnotherSizeError(DataError):
    """Images have different sizes and nothing says what to resize them to: all of them are concerned."""


@dataclass(frozen=True, slots=True)
class Form:
    """What every image of a data set becomes."""

    channels: int
    """1 for grey, 3 for RGB."""
    height_px: int
    width_px: int
    resize: bool
    """Whether an image of another size is resized and cropped; refused otherwise."""
    example: str
    """A file that has this size, to name where another has not."""


def common_form(files: Sequence[str], image_px: int) -> Form:
    """The form of a data set, from the headers of as few files as will do.

    Args:
        files: The images, at least one; opened one after the other until one has colour.
        image_px: Side of the square that all become; 0 for the size of the first file.

    Raises:
        DataError: A header cannot be read, or a file has more than 8 bits a channel.
    """
    headers = (_read_header(file) for file in files)
    (width, height), mode = next(headers)
    has_colour = mode not in _GREY_MODES or any(mode not in _GREY_MODES for _, mode in headers)
    return Form(
        channels=3 if has_colour else 1,
        height_px=image_px or height,
        width_px=image_px or width,
        resize=image_px > 0,
        example=files[0],
    )


def decode_file(file: str, form: Form) -> Images:
    """One image in the given form, shape (C, H, W).

    Resizing makes the shorter side as long as asked for (bilinear, antialiased), then cuts the centre out.

    Raises:
        AnotherSizeError: It has another size, and the form does not resize.
        DataError: The file is damaged or has more than 8 bits a channel; `where` names it.
    """
    with _opened(file) as image:
        _refuse_wide(file, image.mode)
        if not form.resize and image.size != (form.width_px, form.height_px):
            raise _another_size(file, image.size, form)
        colours = image.convert("L" if form.channels == 1 else "RGB")
        fitted = _resize_and_crop(colours, form.height_px) if form.resize else colours
        pixels = np.asarray(fitted, dtype=np.uint8)
    return pixels[None] if form.channels == 1 else pixels.transpose(2, 0, 1)


def _resize_and_crop(image: Image, side_px: int) -> Image:
    from PIL.Image import Resampling

    shorter = min(image.size)
    if shorter != side_px:
        size = tuple(max(side_px, round(length * side_px / shorter)) for length in image.size)
        image = image.resize((size[0], size[1]), Resampling.BILINEAR)
    left, top = ((length - side_px) // 2 for length in image.size)
    return image.crop((left, top, left + side_px, top + side_px))


def _read_header(file: str) -> tuple[tuple[int, int], str]:
    with _opened(file) as image:
        _refuse_wide(file, image.mode)
        return image.size, image.mode


@contextmanager
def _opened(file: str) -> Iterator[Image]:
    """An open image; what Pillow raises for it becomes one line."""
    from PIL import Image

    try:
        with open_regular(Path(file)) as stream, Image.open(stream) as image:
            yield image
    except DataError:
        raise
    # Pillow's plug-ins let through whatever the parser of a format raises.
    except Exception as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"image cannot be decoded ({why})", where=file, fix="replace or remove this file and retry"
        ) from error


def _refuse_wide(file: str, mode: str) -> None:
    if mode in _WIDE_MODES:
        raise DataError(f"more than 8 bits a channel (mode {mode})", where=file, fix="convert it to 8 bits")


def _another_size(file: str, size: tuple[int, int], form: Form) -> AnotherSizeError:
    return AnotherSizeError(
        f"{size[0]}x{size[1]} pixels, but {form.example} has {form.width_px}x{form.height_px}",
        where=os.fspath(file),
        fix="set image_px, the side to which all images are resized and cropped",
    )
