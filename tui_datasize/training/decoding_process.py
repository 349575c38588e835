"""A process without torch that decodes images into the arrays of a data set, one chunk per line of input.

It ends when its input does, so that none outlives the worker it serves, however that one ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tui_datasize.errors import DataError
from tui_datasize.experiments.images.pixels import as_seen, opened
from tui_datasize.experiments.images.reading import FIRST_RULES, colour_of
from tui_datasize.training.build import Chunk, Filled, Images, SplitArrays, SplitName

if TYPE_CHECKING:
    from PIL.Image import Image

_GREY_MODES = frozenset({"1", "L", "LA"})
_PILLOWS_MOST = 178.95697
"""Megapixels that Pillow decodes by itself."""
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
    rules: int = FIRST_RULES
    background: str = "white"
    most_megapixels: float = _PILLOWS_MOST
    whites: Mapping[str, float] = field(default_factory=dict)
    """What is white in floating-point and in 32-bit images, by Pillow's mode."""


def common_form(files: Sequence[str], image_px: int) -> Form:
    """The form of a data set, from the headers of files, opened one after the other until one has colour.

    `image_px` is the side of the square that all become; 0 for the size of the first file.

    Raises DataError: a header cannot be read, or a file has more than 8 bits a channel.
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

    Raises AnotherSizeError: it has another size, and the form does not resize.
    Raises DataError: the file is damaged or has more than 8 bits a channel; `where` names it.
    """
    with opened(file, form.most_megapixels) as image:
        colours = _shown(file, image, form)
        if not form.resize and colours.size != (form.width_px, form.height_px):
            width, height = colours.size
            raise AnotherSizeError(
                f"{width}x{height} pixels, but {form.example} has {form.width_px}x{form.height_px}",
                where=os.fspath(file),
                fix="set image_px, the side to which all images are resized and cropped",
            )
        return _pixels(_resize_and_crop(colours, form.height_px) if form.resize else colours)


def as_squares(images: Images, channels: int, side_px: int) -> Images:
    """Decoded images, shape (N, C, H, W), as the files of these pixels would be decoded as squares."""
    from PIL import Image

    made = np.empty((len(images), channels, side_px, side_px), dtype=np.uint8)
    for place, pixels in zip(made, images, strict=True):
        image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
        place[...] = _pixels(_resize_and_crop(image.convert("L" if channels == 1 else "RGB"), side_px))
    return made


def _pixels(image: Image) -> Images:
    pixels: Images = np.asarray(image, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _shown(file: str, image: Image, form: Form) -> Image:
    if form.rules == FIRST_RULES:
        _refuse_wide(file, image.mode)
        return image.convert("L" if form.channels == 1 else "RGB")
    return as_seen(image, colour_of(form.background), form.whites, grey=form.channels == 1)


def _resize_and_crop(image: Image, side_px: int) -> Image:
    from PIL.Image import Resampling

    shorter = min(image.size)
    if shorter != side_px:
        size = tuple(max(side_px, round(length * side_px / shorter)) for length in image.size)
        image = image.resize((size[0], size[1]), Resampling.BILINEAR)
    left, top = ((length - side_px) // 2 for length in image.size)
    return image.crop((left, top, left + side_px, top + side_px))


def _read_header(file: str) -> tuple[tuple[int, int], str]:
    with opened(file, _PILLOWS_MOST) as image:
        _refuse_wide(file, image.mode)
        return image.size, image.mode


def _refuse_wide(file: str, mode: str) -> None:
    if mode in _WIDE_MODES:
        raise DataError(f"more than 8 bits a channel (mode {mode})", where=file, fix="convert it to 8 bits")


class BadImages(Exception):  # noqa: N818 - collected, and told at the end of a pass
    """Images of a chunk that cannot be decoded: its arguments are the `DataError` of each."""


def read_files(files: Sequence[str], form: Form) -> Images:
    """Decode files, shape (N, C, H, W).

    Raises BadImages: some cannot be decoded; all of the others were tried.
    Raises AnotherSizeError: they have different sizes, and the form does not resize.
    """
    images = np.empty((len(files), form.channels, form.height_px, form.width_px), dtype=np.uint8)
    errors = []
    for image, file in zip(images, files, strict=True):
        try:
            image[...] = decode_file(file, form)
        except AnotherSizeError:
            raise
        except DataError as error:
            errors.append(error)
    if errors:
        raise BadImages(*errors)
    return images


def question(chunk: Chunk, files: Sequence[str]) -> str:
    """The line that asks for a chunk."""
    return json.dumps({"chunk": asdict(chunk), "files": list(files)}) + "\n"


def understand(answer: str) -> Filled:
    """What a line that a process answered says.

    Raises BadImages: it could not decode some images.
    Raises DataError: the images cannot be taken together.
    Raises OSError: it met this error.
    """
    said = json.loads(answer)
    if "bad" in said:
        raise BadImages(*(DataError(what, where=where, fix=fix) for what, where, fix in said["bad"]))
    if "refused" in said:
        what, where, fix = said["refused"]
        raise DataError(what, where=where, fix=fix)
    if "errno" in said:
        raise OSError(said["errno"], os.strerror(said["errno"]), said["file"])
    return Filled(Chunk(**said["chunk"]), tuple(map(tuple, said["counts"])))


def main(folder: Path, form: Form) -> None:
    """Answer the questions on standard input until it ends."""
    # Decoding takes what trainings leave of the processor.
    os.nice(10)
    # Control-C reaches the whole group: the worker decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    arrays = cache(lambda split: SplitArrays.open(folder, split))
    for line in sys.stdin:
        asked = json.loads(line)
        answer = _answer(Chunk(**asked["chunk"]), asked["files"], form, arrays)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _answer(
    chunk: Chunk, files: Sequence[str], form: Form, arrays: Callable[[SplitName], SplitArrays]
) -> Mapping[str, Any]:
    try:
        return asdict(arrays(chunk.split).fill(chunk, lambda *_: read_files(files, form)))
    except BadImages as bad:
        return {"bad": [(error.what, error.where, error.fix) for error in bad.args]}
    except DataError as error:
        return {"refused": (error.what, error.where, error.fix)}
    except OSError as error:
        return {"errno": error.errno or 0, "file": str(error.filename or chunk.split)}


if __name__ == "__main__":
    # The worker was killed: what this process has filled since is checked by the next one.
    with contextlib.suppress(BrokenPipeError):
        main(Path(sys.argv[1]), Form(**json.loads(sys.argv[2])))
        sys.exit()
    # Nobody is left to flush for.
    os._exit(1)
