"""Changes of pixels against torchvision, one image at a time with the same parameters."""

from __future__ import annotations

from math import atan, degrees

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as oracle

from tui_datasize.training.augment import colour, geometry
from tui_datasize.training.augment.geometry import Rectangles
from tui_datasize.training.augment.pipeline import OPERATIONS, STRENGTHS
from tui_datasize.training.transforms import centre

BILINEAR = InterpolationMode.BILINEAR
IMAGES = 6


@pytest.fixture(params=[(3, 32, 32), (1, 28, 28), (3, 21, 34)], ids=str)
def images(request):
    """Smooth colours and noise, one of few grey levels, one black: uint8 (6, C, H, W)."""
    channels, height, width = request.param
    random = torch.Generator().manual_seed(height)
    noise = torch.randint(0, 256, (IMAGES, channels, height, width), generator=random)
    ramp = torch.linspace(20, 180, width).expand_as(noise).long()
    mixed = torch.where(torch.rand(noise.shape, generator=random) < 0.3, noise, ramp)
    mixed[1] = noise[1]
    mixed[2] = 64 * (noise[2] // 100)
    mixed[3] = 0
    return mixed.to(torch.uint8)


def assert_levels(found, images, expected, tolerance=1.0):
    """Within a grey level of what the oracle makes of each image alone."""
    for i, image in enumerate(images):
        one = expected(image, i).float()
        assert found[i].shape == one.shape
        assert (found[i].float() - one).abs().max() <= tolerance + 1e-3, i


def test_rotation(images):
    angles = torch.tensor([0.0, 90.0, -40.0, 12.5, 133.0, -7.0])
    found = geometry.rotate(images, angles)
    assert_levels(found, images, lambda x, i: oracle.rotate(x, float(angles[i]), BILINEAR))


def test_shears_and_translations(images):
    slopes = torch.tensor([0.0, 0.99, -0.5, 0.3, -0.99, 0.1])
    shifts = torch.tensor([0.0, 7.9, -3.2, 31.0, -32.0, 1.0])

    def affine(x, translate=(0, 0), shear=(0.0, 0.0), center=None):
        return oracle.affine(x, 0.0, list(translate), 1.0, list(shear), BILINEAR, center=center)

    corner = [0, 0]
    angle = [degrees(atan(slope)) for slope in slopes.tolist()]
    steps = [int(shift) for shift in shifts.tolist()]
    cases = (
        (geometry.shear(images, slopes, "x"), lambda x, i: affine(x, shear=(angle[i], 0), center=corner)),
        (geometry.shear(images, slopes, "y"), lambda x, i: affine(x, shear=(0, angle[i]), center=corner)),
        (geometry.translate(images, shifts, "x"), lambda x, i: affine(x, (steps[i], 0))),
        (geometry.translate(images, shifts, "y"), lambda x, i: affine(x, (0, steps[i]))),
    )
    for found, expected in cases:
        assert_levels(found, images, expected)


@pytest.mark.parametrize("side_px", [8, 24, 57])
def test_resized_crops(images, side_px):
    height, width = images.shape[2:]
    tops, lefts = torch.tensor([0, 3, 5, 0, 8, 1]), torch.tensor([0, 2, 9, 4, 0, 1])
    heights = torch.tensor([height, 9, 3, 20, 13, 1])
    widths = torch.tensor([width, 15, 5, 6, 17, 1])
    found = geometry.resize(images, Rectangles(tops, lefts, heights, widths), side_px)

    def expected(x, i):
        window = (int(part[i]) for part in (tops, lefts, heights, widths))
        return oracle.resized_crop(x, *window, [side_px, side_px], BILINEAR, antialias=True)

    assert_levels(found, images, expected)


def test_crops_and_the_centre(images):
    tops, lefts = torch.tensor([0, 1, 2, 3, 4, 5]), torch.tensor([5, 4, 3, 2, 1, 0])
    found = geometry.cut(images, tops, lefts, 11, 14)
    assert_levels(found, images, lambda x, i: oracle.crop(x, int(tops[i]), int(lefts[i]), 11, 14), 0)
    for side in (10, 11):
        assert torch.equal(centre(images, side), oracle.center_crop(images, [side, side]))


COLOURS = {
    colour.brightness: oracle.adjust_brightness,
    colour.contrast: oracle.adjust_contrast,
    colour.saturation: oracle.adjust_saturation,
    colour.sharpness: oracle.adjust_sharpness,
}


@pytest.mark.parametrize("change", COLOURS, ids=lambda change: change.__name__)
def test_colours(change, images):
    factors = torch.tensor([0.0, 0.3, 1.0, 1.4, 1.99, 0.8])
    before = images.clone()
    found = change(images.float(), factors)
    assert torch.equal(images, before)
    assert_levels(found, images, lambda x, i: COLOURS[change](x, float(factors[i])))


def test_grey_levels(images):
    pixels = images.float()
    bits = torch.tensor([8.0, 7.0, 5.0, 4.0, 3.0, 2.0])
    thresholds = torch.tensor([255.0, 0.0, 127.5, 20.0, 200.0, 64.0])
    exact = (
        (colour.posterize(pixels, bits), lambda x, i: oracle.posterize(x, int(bits[i]))),
        (colour.solarize(pixels, thresholds), lambda x, i: oracle.solarize(x, float(thresholds[i]))),
        (colour.equalize(pixels), lambda x, _: oracle.equalize(x)),
    )
    for found, expected in exact:
        assert_levels(found, images, expected, tolerance=0)
    assert_levels(colour.autocontrast(pixels), images, lambda x, _: oracle.autocontrast(x))
    assert torch.equal(images.float(), pixels)


def test_trivial_augment_has_torchvisions_operations_and_strengths():
    from torchvision.transforms.v2 import TrivialAugmentWide

    names = {"shear-x": "ShearX", "shear-y": "ShearY", "saturation": "Color", "autocontrast": "AutoContrast"}
    names |= {"translate-x": "TranslateX", "translate-y": "TranslateY"}
    space = TrivialAugmentWide._AUGMENTATION_SPACE
    steps = torch.arange(STRENGTHS) / (STRENGTHS - 1)
    assert [names.get(op.name, op.name.capitalize()) for op in OPERATIONS] == list(space)
    for operation, (strengths, signed) in zip(OPERATIONS, space.values(), strict=True):
        expected = strengths(STRENGTHS, 32, 32)
        assert operation.signed == signed
        if expected is None:
            continue
        scale = {"brightness": -1, "saturation": -1, "contrast": -1, "sharpness": -1}.get(operation.name, 0)
        factor = 255 if operation.name == "solarize" else 1
        assert torch.allclose(operation.value(steps) + scale, factor * expected.float(), atol=1e-4)


def test_erasing_leaves_what_lies_outside_its_rectangle():
    from tui_datasize.training.augment.draws import draw_numbers

    images = torch.ones(500, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    draws = draw_numbers(torch.Generator().manual_seed(0), geometry.ROWS + 1, len(images), images.device)
    erased = geometry.erase(images, draws, probability=0.5)
    assert erased.is_contiguous(memory_format=torch.channels_last)
    holes = erased[:, 0] == 0
    assert torch.equal(erased, torch.where(holes[:, None], 0.0, 1.0).expand_as(erased))
    hit = holes.flatten(1).any(dim=1)
    assert 200 < hit.sum() < 300
    for hole in holes[hit]:
        rows, columns = hole.any(dim=1), hole.any(dim=0)
        height, width = int(rows.sum()), int(columns.sum())
        assert hole.sum() == height * width
        assert 0.01 < height * width / 1024 < 0.36
        assert 0.25 < height / width < 4
    area = holes[hit].flatten(1).float().mean(dim=1)
    assert area.mean() == pytest.approx(0.175, abs=0.02)
