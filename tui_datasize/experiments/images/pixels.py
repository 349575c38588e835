"""From an image file to 8-bit grey or RGB as a person sees it.

- EXIF orientation is applied; of several frames the first is taken.
- 16 bits: 65,535 is white, or the largest number of as many bits as the file has. Floating-point and 32-bit
  numbers: white is the smallest of 1 (floating-point alone), 255 and 65,535 that no image of the folder
  exceeds. Where a file says that 0 is white, it is.
- CMYK and RGB become sRGB by the colour profile in the file where it has one, by perceptual intent; CMYK
  without one by the plain complement.
- What is transparent is laid on a background.

Pillow is imported where it is needed: a worker that finds decoded images does without.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tui_datasize.errors import DataError
from tui_datasize.files import open_regular

if TYPE_CHECKING:
    from PIL.Image import Image

Note: TypeAlias = Literal[
    "turned", "transparent", "palette", "frames", "wide", "numbers", "cmyk", "cmyk-profile", "profile"
]
NOTES: Mapping[Note, str] = MappingProxyType(
    {
        "turned": "turned upright by EXIF",
        "transparent": "with transparency, laid on {background}",
        "palette": "with a palette",
        "frames": "of several frames, the first taken",
        "wide": "of 16 bits scaled to 8",
        "numbers": "of floating-point or 32-bit numbers (white is {white:g})",
        "cmyk": "in CMYK without a colour profile",
        "cmyk-profile": "in CMYK by their colour profile",
        "profile": "made sRGB by their colour profile",
    }
)
"""What is done to images beside decoding them, behind how many they are."""
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F"})
_WIDE_RANGES = (255.0, 65_535.0)
_UNDECODED = {"MPEG", "BUFR", "GRIB", "HDF5", "WMF"}
"""Formats that Pillow tells and does not decode by itself."""
_MEGA = 10**6
_FROM_ZERO = ("PNG", "PPM")
"""Formats whose 16 bits some versions of Pillow open as 32, with 65,535 for white."""
_ORIENTATION, _PHOTOMETRIC, _BITS = 274, 262, 258
"""Tags of EXIF and TIFF."""


@contextmanager
def opened(file: str, most_megapixels: float) -> Iterator[Image]:
    """An open image; what Pillow raises for it becomes one line.

    Raises DataError: it cannot be decoded, or has more pixels than that; `where` names it.
    """
    from PIL import Image, UnidentifiedImageError

    # It raises an error for twice as many, and else a warning.
    Image.MAX_IMAGE_PIXELS = int(most_megapixels * _MEGA / 2)
    fix = "replace or remove it, or set on_bad_image = 'skip'"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open_regular(Path(file)) as stream, Image.open(stream) as image:
                if image.format in _UNDECODED or (image.format == "EPS" and not _has_ghostscript()):
                    raise DataError(f"{image.format} cannot be decoded here", where=file, fix=fix)
                yield image
    except DataError:
        raise
    except UnidentifiedImageError as error:
        what = "image cannot be decoded (of no format that is known here, or damaged at its beginning)"
        what = what if Path(file).stat().st_size else "image cannot be decoded (the file is empty)"
        raise DataError(what, where=file, fix=fix) from error
    except Image.DecompressionBombError as error:
        size = str(error).split(" exceeds")[0]
        what = f"{size}, above most_megapixels = {most_megapixels:g}"
        raise DataError(
            what, where=file, fix="raise it, make the image smaller, or set on_bad_image = 'skip'"
        ) from error
    # Pillow's plug-ins let through whatever the parser of a format raises.
    except Exception as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"image cannot be decoded ({why})", where=file, fix=fix) from error


def _has_ghostscript() -> bool:
    from PIL import EpsImagePlugin

    return bool(EpsImagePlugin.has_ghostscript())


def notes_of(image: Image) -> Iterator[Note]:
    """What showing an image will do to it, told by its header."""
    if _orientation(image) != 1:
        yield "turned"
    if image.has_transparency_data:
        yield "transparent"
    if image.mode in ("P", "PA"):
        yield "palette"
    # Layers of a PSD are merged.
    if getattr(image, "is_animated", False) and image.format not in ("PSD", "MPO"):
        yield "frames"
    if is_wide(image):
        yield "wide"
    elif image.mode in ("I", "F"):
        yield "numbers"
    has_profile = _to_srgb(image.info.get("icc_profile"), image.mode) is not None
    if image.mode == "CMYK":
        yield "cmyk-profile" if has_profile else "cmyk"
    elif has_profile:
        yield "profile"


def upright_size(image: Image) -> tuple[int, int]:
    """Width and height as it will be shown, told by its header."""
    width, height = image.size
    # Pillow turns TIFF by itself.
    is_turned = image.format != "TIFF" and _orientation(image) >= 5
    return (height, width) if is_turned else (width, height)


def is_wide(image: Image) -> bool:
    """Whether it has 16 bits a channel, one of which is left."""
    return image.mode.startswith("I;") or (image.mode == "I" and image.format in _FROM_ZERO)


def _orientation(image: Image) -> int:
    """1 for one that needs not be turned."""
    from PIL.Image import Image

    if not image.info.keys() & {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"} and not hasattr(
        image, "tag_v2"
    ):
        return 1
    # A viewer shows an image whatever is wrong with what it says of the camera. PNG's own decodes it all.
    with suppress(Exception):
        found = Image.getexif(image).get(_ORIENTATION, 1)
        return found if found in range(2, 9) else 1
    return 1


def numbers_of(image: Image) -> tuple[float, float]:
    """The smallest and the largest number of a floating-point or 32-bit image.

    Raises ValueError: some are not finite, or below 0.
    """
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)) or low < 0:
        raise ValueError(f"numbers from {low:g} to {high:g}, and black is 0")
    return low, high


def white_of(highest: float, mode: str) -> float | None:
    """What is white in numbers up to this one; None where nothing says it."""
    ranges = (1.0, *_WIDE_RANGES) if mode == "F" else _WIDE_RANGES
    return next((white for white in ranges if highest <= white), None)


def as_seen(
    image: Image, background: tuple[int, int, int], whites: Mapping[str, float], *, grey: bool
) -> Image:
    """An open image as a person sees it, of mode L or RGB.

    `whites` are what is white in modes F and I. Raises ValueError: an image has numbers beyond that.
    """
    from PIL import Image, ImageCms, ImageOps

    image.load()
    mode, is_wide_image = image.mode, is_wide(image)
    white = _white_in(image, whites)
    is_inverted = _tag(image, _PHOTOMETRIC) == 0
    with suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    if is_wide_image or mode in ("I", "F"):
        image = _eight_bits(image, white, is_inverted=is_inverted)
    elif transform := _to_srgb(image.info.get("icc_profile"), mode):
        image = ImageCms.applyTransform(image, transform) or image
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
    target = "L" if grey else "RGB"
    return image if image.mode == target else image.convert(target)


def _white_in(image: Image, whites: Mapping[str, float]) -> float:
    if is_wide(image):
        bits = _tag(image, _BITS)
        return float(2 ** (bits[0] if isinstance(bits, tuple) and bits else 16) - 1)
    return whites.get(image.mode, 255.0)


def _tag(image: Image, tag: int) -> Any:
    return getattr(image, "tag_v2", {}).get(tag)


def _eight_bits(image: Image, white: float, *, is_inverted: bool) -> Image:
    from PIL import Image

    values: NDArray[Any] = np.asarray(image)
    if values.size and image.mode in ("I", "F"):
        numbers_of(image)
        if float(values.max()) > white:
            raise ValueError(f"numbers up to {values.max():g}, and white is {white:g}")
    scaled = np.rint(values * (255 / white)).astype(np.uint8)
    eight = Image.fromarray(255 - scaled if is_inverted else scaled)
    if image.has_transparency_data:
        eight.putalpha(image.convert("RGBA").getchannel("A"))
    return eight


@lru_cache(maxsize=16)
def _to_srgb(profile: bytes | None, mode: str) -> Any:
    """The transform from a colour profile to sRGB; None where it is sRGB, unreadable or of other channels."""
    if not profile or mode not in ("CMYK", "RGB", "RGBA"):
        return None
    from PIL import ImageCms

    # A viewer takes a profile that it cannot read for none.
    with suppress(Exception):
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        is_of_mode = source.profile.xcolor_space.strip() == mode.removesuffix("A")
        if is_of_mode and "srgb" not in ImageCms.getProfileDescription(source).lower():
            target = mode if mode != "CMYK" else "RGB"
            return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, target)
    return None
