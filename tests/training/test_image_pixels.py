"""Kind: pixels other than a person sees. What is stored in a file in an odd way comes in as it is shown.

The case: phone pictures lie sideways, with an orientation in EXIF. Of the same kind: orientations in other
formats and mirrored ones, transparency in each of its forms, more than 8 bits, CMYK and other colour
profiles, white that is stored as 0, palettes, animations.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from tui_datasize.errors import DataError
from tui_datasize.experiments.images.reading import ImageReading
from tui_datasize.training.datasets import load_dataset

PX = 12
RED, WHITE, BLUE = (255, 0, 0), (255, 255, 255), (0, 0, 255)
NEWEST = ImageReading(rules=2)
HALF = np.zeros((PX, PX, 3), np.uint8)
HALF[:, : PX // 2] = (200, 90, 40)
"""Bright to the left, dark to the right."""


def plain(brightness: int = 200) -> Image.Image:
    return Image.fromarray(np.full((PX, PX, 3), brightness, np.uint8))


@pytest.fixture
def decoded(tmp_path: Path) -> Callable[..., np.ndarray[Any, Any]]:
    """Decode an image that is saved so, as the first of a folder: its array, shape (C, H, W)."""

    def decode(
        image: Image.Image, suffix: str, reading: ImageReading = NEWEST, others: str = "RGB", **options: Any
    ) -> np.ndarray[Any, Any]:
        for split in ("train", "test"):
            folder = tmp_path / "odd" / split / "a"
            folder.mkdir(parents=True, exist_ok=True)
            if others:
                plain().convert(others).save(folder / "1.png")
            elif split == "test":
                image.save(folder / f"1{suffix}", **options)
        image.save(tmp_path / "odd" / "train" / "a" / f"0{suffix}", **options)
        return np.asarray(load_dataset("imagefolder:odd", tmp_path, 0, reading).train.images[0])

    return decode


def differs(found: np.ndarray[Any, Any], expected: Any) -> float:
    """The largest difference, in levels, between an array (C, H, W) and an image or array (H, W, C)."""
    return float(np.abs(found.astype(int) - np.asarray(expected).astype(int).transpose(2, 0, 1)).max())


@pytest.mark.parametrize(
    ("suffix", "orientation"), [(".jpg", 6), (".jpg", 8), (".png", 3), (".webp", 6), (".tif", 5), (".jpg", 2)]
)
def test_an_image_that_lies_on_its_side_stands_upright(decoded, suffix, orientation):
    turn = Image.Transpose
    stored = {
        6: turn.ROTATE_90,
        8: turn.ROTATE_270,
        3: turn.ROTATE_180,
        5: turn.TRANSPOSE,
        2: turn.FLIP_LEFT_RIGHT,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    lying = Image.fromarray(HALF).transpose(stored[orientation])
    options = {".jpg": {"quality": 100, "subsampling": 0}, ".webp": {"lossless": True}}.get(suffix, {})
    assert differs(decoded(lying, suffix, exif=exif.tobytes(), **options), HALF) <= 4


def test_sides_are_compared_and_cut_as_they_stand(tmp_path):
    """A lying 12x8 that stands 8x12 has the size of a standing 8x12."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for split in ("train", "test"):
        (tmp_path / "odd" / split / "a").mkdir(parents=True)
        Image.new("RGB", (8, 12)).save(tmp_path / "odd" / split / "a" / "0.png")
    Image.new("RGB", (12, 8)).save(tmp_path / "odd" / "train" / "a" / "1.jpg", exif=exif.tobytes())
    assert load_dataset("imagefolder:odd", tmp_path).image_shape == (3, 12, 8)


def test_damaged_exif_hides_no_image(decoded):
    assert decoded(Image.fromarray(HALF), ".png", exif=b"Exif\0\0MM\0*\0\0\xff\xff").shape == (3, PX, PX)


def see_through(mode: str) -> Image.Image:
    """Red to the left; to the right black that is not to be seen."""
    image = Image.new("RGBA", (PX, PX), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, PX // 2, PX))
    return image.convert(mode)


@pytest.mark.parametrize("name", ["white", "#0000ff"])
@pytest.mark.parametrize(
    "stored", ["rgba", "palette", "palette with alpha", "one colour", "gif", "webp", "tif"]
)
def test_what_is_transparent_shows_the_background(decoded, stored, name):
    image, options, suffix = see_through("RGBA"), {}, ".png"
    if stored == "palette":
        image = image.quantize(4)
    if stored == "palette with alpha":
        image = Image.fromarray(np.repeat([[0] * 6 + [1] * 6], PX, 0).astype(np.uint8), "P")
        image.putpalette([*RED, 0, 0, 0])
        options = {"transparency": b"\xff\0"}
    if stored == "one colour":
        image, options = image.convert("RGB"), {"transparency": (0, 0, 0)}
    if stored in ("gif", "webp", "tif"):
        suffix, options = f".{stored}", {"lossless": True} if stored == "webp" else {}
    found = decoded(image, suffix, ImageReading(2, background=name), **options)
    background = WHITE if name == "white" else BLUE
    assert (found[:, 0, 0].tolist(), found[:, 0, -1].tolist()) == ([*RED], [*background])


def test_what_is_half_transparent_is_mixed(decoded):
    assert decoded(Image.new("RGBA", (PX, PX), (0, 0, 0, 128)), ".png")[:, 0, 0].tolist() == [127] * 3


def test_a_coloured_background_makes_grey_images_colour(decoded):
    grey = Image.new("LA", (PX, PX), (0, 0))
    assert decoded(grey, ".png", ImageReading(2, background="blue"), "L")[:, 0, 0].tolist() == [*BLUE]
    assert decoded(grey, ".png", NEWEST, "L").shape == (1, PX, PX)


RAMP = np.linspace(0, 1, PX * PX).reshape(PX, PX)


@pytest.mark.parametrize(
    ("values", "suffix", "options"),
    [
        (np.rint(RAMP * 65535).astype(np.uint16), ".png", {}),
        (np.rint(RAMP * 65535).astype(np.uint16), ".tif", {}),
        (np.rint(RAMP * 65535).astype(np.uint16), ".tif", {"big_endian": True}),
        (np.rint(RAMP * 65535).astype(np.uint16), ".pgm", {}),
        (np.rint((1 - RAMP) * 65535).astype(np.uint16), ".tif", {"tiffinfo": {262: 0}}),
        (RAMP.astype(np.float32), ".tif", {}),
        ((RAMP * 255).astype(np.float32), ".tif", {}),
        ((RAMP * 65535).astype(np.float32), ".pfm", {}),
        (np.rint(RAMP * 65535).astype(np.int32), ".tif", {}),
        (np.rint(RAMP * 255).astype(np.int32), ".tif", {}),
    ],
    ids=[
        "png16",
        "tif16",
        "tif16 big",
        "pgm16",
        "tif16 inverted",
        "0-1",
        "0-255",
        "0-65535",
        "int32",
        "int32 bytes",
    ],
)
def test_more_than_eight_bits_are_scaled(decoded, values, suffix, options):
    found = decoded(Image.fromarray(values), suffix, others="", **options)
    assert np.abs(found[0] - RAMP * 255).max() <= 1


def test_the_range_of_numbers_is_that_of_the_whole_folder(tmp_path):
    """A dark image stays dark beside a bright one."""
    for name, brightest in (("train/a/dark", 0.5), ("train/a/bright", 200.0), ("test/a/0", 100.0)):
        file = tmp_path / "odd" / f"{name}.tif"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((RAMP * brightest).astype(np.float32)).save(file)
    images = load_dataset("imagefolder:odd", tmp_path).train.images
    assert (images[0].max(), images[1].max()) == (200, 0)


def test_twelve_bits_are_scaled_by_their_own_range(tmp_path, decoded):
    """Pillow writes none: a strip of 12-bit numbers, all 4095 to the left and 0 to the right."""
    row = b"\xff" * (PX // 2 * 12 // 8) + b"\0" * (PX // 2 * 12 // 8)
    buffer = BytesIO()
    Image.fromarray(np.zeros((PX, PX), np.uint16)).save(buffer, "tiff")
    tiff = buffer.getvalue()
    with Image.open(BytesIO(tiff)) as image:
        offset = image.tag_v2[273][0]
    data = bytearray(tiff)
    data[offset : offset + len(row) * PX] = row * PX
    entry = data.index((258).to_bytes(2, "little") + b"\x03\0\x01\0\0\0")
    data[entry + 8 : entry + 10] = (12).to_bytes(2, "little")
    decoded(Image.fromarray(np.zeros((PX, PX), np.uint16)), ".tif", others="")
    (tmp_path / "odd/train/a/0.tif").write_bytes(data)
    found = load_dataset("imagefolder:odd", tmp_path).train.images[0, 0]
    assert (found[0, 0], found[0, -1]) == (255, 0)


@pytest.mark.parametrize("worst", [np.nan, np.inf, -3.0, 1e6])
def test_numbers_of_which_nothing_says_what_is_white_are_refused_by_name(decoded, worst):
    values = RAMP.astype(np.float32)
    values[3, 3] = worst
    with pytest.raises(DataError, match=r"\.tif: .*numbers.*train/a/0\.tif") as caught:
        decoded(Image.fromarray(values), ".tif", others="")
    assert "\n" not in caught.value.line


def wide_profile() -> bytes:
    """A colour profile in which red and green are exchanged, so that nobody misses it: sRGB's own, edited."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * profile[131], 12)}
    red, green = (tags[name] for name in (b"rXYZ", b"gXYZ"))
    profile[red + 4 : red + 12], profile[green + 4 : green + 12] = (
        profile[green + 4 : green + 12],
        profile[red + 4 : red + 12],
    )
    return bytes(profile).replace(b"s\0R\0G\0B", b"o\0t\0h\0e").replace(b"sRGB", b"odd ")


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_colours_are_those_of_the_profile(decoded, mode, suffix):
    found = decoded(Image.new("RGB", (PX, PX), RED).convert(mode), suffix, icc_profile=wide_profile())
    assert found[1, 0, 0] > 200 > 100 > found[0, 0, 0]


def test_srgb_and_unreadable_profiles_change_nothing(decoded):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"no profile at all"):
        assert differs(decoded(Image.fromarray(HALF), ".png", icc_profile=profile), HALF) == 0


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_without_a_profile_is_the_complement(decoded, suffix):
    options = {"quality": 100} if suffix == ".jpg" else {}
    found = decoded(Image.fromarray(HALF).convert("CMYK"), suffix, **options)
    assert differs(found[:, :, :4], HALF[:, :4]) <= 4


INKS = {(255, 0, 0, 0): (65, -15, -20), (0, 255, 0, 0): (50, 55, 5), (0, 0, 255, 0): (85, 0, 60)}
"""Lightness, a and b of full cyan, magenta and yellow by the profile; black is 20, no ink is white."""


def ink_profile() -> bytes:
    """A colour profile of a printer, of the fewest parts (ICC.1:2001, lut8Type): a table of 16 inks."""
    lab = {(0, 0, 0, 0): (100, 0, 0), (0, 0, 0, 255): (20, 0, 0), **INKS}
    inks = [tuple(255 * (number >> place & 1) for place in (3, 2, 1, 0)) for number in range(16)]
    points = (lab.get(ink, (5, 0, 0)) for ink in inks)
    table = b"".join(bytes((round(light * 2.55), a + 128, b + 128)) for light, a, b in points)
    ramp, one = bytes(range(256)), (1 << 16).to_bytes(4, "big")
    matrix = b"".join(one if place % 4 == 0 else bytes(4) for place in range(9))
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + matrix + 4 * ramp + table + 3 * ramp
    white = b"XYZ " + bytes(4) + b"".join(round(x * 65536).to_bytes(4, "big") for x in (0.9642, 1, 0.8249))
    words = b"text" + bytes(4) + b"none\0\0\0\0"
    named = {b"A2B0": lut + bytes(-len(lut) % 4), b"wtpt": white, b"cprt": words}
    at, entries = 132 + 12 * len(named), len(named).to_bytes(4, "big")
    for name, data in named.items():
        entries += name + at.to_bytes(4, "big") + len(data).to_bytes(4, "big")
        at += len(data)
    head = bytes(4) + b"\x02\x40\0\0" + b"prtrCMYKLab " + bytes(12) + b"acsp" + bytes(28) + white[8:]
    return at.to_bytes(4, "big") + head.ljust(124, b"\0") + entries + b"".join(named.values())


def srgb_of(light: float, a: float, b: float) -> list[float]:
    """Lab under D50 as sRGB, by the formulas of CIE 15 and IEC 61966-2-1, adapted as by Bradford."""
    y = (light + 16) / 116
    cubes = [t**3 if t > 6 / 29 else 3 * (6 / 29) ** 2 * (t - 4 / 29) for t in (y + a / 500, y, y - b / 200)]
    xyz = np.array(cubes) * (0.9642, 1, 0.8249)
    to_srgb = [[3.1339, -1.6169, -0.4906], [-0.9788, 1.9161, 0.0335], [0.0719, -0.2290, 1.4052]]
    linear = np.clip(to_srgb @ xyz, 0, 1)
    return list(255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear))


@pytest.mark.parametrize("ink", INKS)
@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_has_the_colours_of_its_own_profile(decoded, suffix, ink):
    options = {"quality": 100, "subsampling": 0} if suffix == ".jpg" else {}
    image = Image.new("CMYK", (PX, PX), ink)
    found = decoded(image, suffix, icc_profile=ink_profile(), **options)
    assert found[:, 5, 5].tolist() == pytest.approx(srgb_of(*INKS[ink]), abs=4)
    bare = decoded(image, suffix, **options)[:, 5, 5].tolist()
    assert bare == pytest.approx([255 - level for level in ink[:3]], abs=2)


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif"])
def test_of_an_animation_the_first_frame_is_taken(decoded, suffix):
    frames = [Image.new("RGB", (PX, PX), colour) for colour in (RED, BLUE, WHITE)]
    options = {"lossless": True} if suffix == ".webp" else {}
    found = decoded(frames[0], suffix, save_all=True, append_images=frames[1:], **options)
    assert found[:, 5, 5].tolist() == [*RED]


@pytest.mark.parametrize("suffix", [".gif", ".png", ".bmp", ".tga", ".ico", ".pcx", ".jp2", ".avif", ".dds"])
def test_palettes_and_further_formats_have_their_colours(decoded, suffix):
    image = Image.fromarray(HALF)
    image = image.quantize(4) if suffix in (".gif", ".bmp", ".png") else image
    options: dict[str, Any] = {
        ".ico": {"sizes": [(PX, PX)]},
        ".avif": {"quality": 100, "subsampling": "4:4:4"},
    }
    assert differs(decoded(image, suffix, **options.get(suffix, {})), HALF) <= 4


def test_plain_images_are_what_they_were_by_the_first_rules(tmp_path, decoded):
    """Grey, RGB, one bit: nothing to be treated, so that nothing changes but the version."""
    for image in (plain(90).convert("L"), Image.fromarray(HALF), plain(255).convert("1")):
        newest = decoded(image, ".png")
        assert np.array_equal(
            newest, load_dataset("imagefolder:odd", tmp_path, 0, ImageReading()).train.images[0]
        )


def test_the_version_of_the_rules_is_in_cache_and_fingerprint(tmp_path, decoded):
    decoded(Image.fromarray(HALF), ".png")
    newest = load_dataset("imagefolder:odd", tmp_path)
    first = load_dataset("imagefolder:odd", tmp_path, 0, ImageReading())
    assert first.fingerprint != newest.fingerprint
    assert len([*(tmp_path / "arrays").glob("imagefolder-*")]) == 2
    assert (newest.images["rules"], first.images) == (2, {})
