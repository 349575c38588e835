"""What is drawn per image, and what a batch becomes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy
from torchvision.transforms import v2

from tui_datasize.experiments.augmentation import AugmentationSpec
from tui_datasize.training.augment import mixing
from tui_datasize.training.augment.geometry import ROWS, RectangleRanges, draw_rectangles
from tui_datasize.training.augment.mixing import Mixing, Targets, cutmix, cutmix_box, mixup
from tui_datasize.training.augment.pipeline import Pipeline

EVERYTHING = AugmentationSpec(
    resized_crop=0.3,
    crop_px=24,
    flip=0.5,
    rotation_deg=20,
    brightness=0.3,
    contrast=0.3,
    saturation=0.3,
    sharpness=0.3,
    trivial_augment=True,
    random_erasing=0.3,
    mixup=0.4,
    cutmix=1.0,
)


def batch(images=64, side=32, seed=0):
    random = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (images, 3, side, side), generator=random, dtype=torch.uint8)
    return pixels, torch.randint(0, 7, (images,), generator=random)


def pipeline(spec, seed=5):
    return Pipeline(spec, lambda pixels: pixels.float() / 255, torch.Generator().manual_seed(seed))


def test_nothing_switched_on_changes_nothing_and_draws_nothing():
    images, labels = batch()
    made = pipeline(AugmentationSpec())
    before = made._generator.get_state()
    inputs, targets = made(images, labels)
    assert torch.equal(inputs, images.float() / 255)
    assert targets == Targets(labels)
    assert torch.equal(made._generator.get_state(), before)


@pytest.mark.parametrize("name", ["flip", "rotation_deg", "brightness", "crop_padding_px", "crop_px"])
def test_each_image_has_parameters_of_its_own(name):
    value = {"flip": 0.5, "rotation_deg": 30.0, "brightness": 0.5, "crop_padding_px": 4, "crop_px": 24}[name]
    images, labels = batch(1)
    same = images.expand(200, -1, -1, -1)
    inputs, _ = pipeline(replace(AugmentationSpec(), **{name: value}))(same, labels.expand(200))
    kinds = len(torch.unique(inputs.flatten(1), dim=0))
    assert kinds == 2 if name == "flip" else kinds > 60


def test_flips_mirror_as_often_as_asked():
    images, labels = batch(1)
    inputs, _ = pipeline(AugmentationSpec(flip=0.25))(images.expand(2000, -1, -1, -1), labels.expand(2000))
    mirrored = (inputs == (images.flip(3).float() / 255)).flatten(1).all(dim=1)
    assert mirrored.float().mean() == pytest.approx(0.25, abs=0.04)


def test_pixels_stay_within_their_range_whatever_is_switched_on():
    images, labels = batch()
    inputs, targets = pipeline(EVERYTHING)(images, labels)
    assert inputs.shape == (64, 3, 24, 24)
    assert inputs.min() >= 0
    assert inputs.max() <= 1 + 1e-5
    assert 0 <= targets.shares[0] <= 1
    assert targets.shares.sum() == pytest.approx(1)


def test_a_stream_continues_from_its_state_and_does_not_touch_the_global_one():
    made = pipeline(EVERYTHING)
    made(*batch())
    state, untouched = made._generator.get_state(), torch.get_rng_state()
    expected = [made(*batch(size)) for size in (64, 5, 1)]
    resumed = pipeline(EVERYTHING, seed=99)
    resumed._generator.set_state(state)
    for size, (inputs, targets) in zip((64, 5, 1), expected, strict=True):
        again, same = resumed(*batch(size))
        assert torch.equal(again, inputs)
        assert torch.equal(same.shares, targets.shares)
    assert torch.equal(torch.get_rng_state(), untouched)


def test_the_order_is_that_of_the_fields_of_the_specification():
    changes = [step.apply for step in pipeline(replace(EVERYTHING, crop_padding_px=0))._of_pixels]
    steps = [getattr(change, "func", change).__name__ for change in changes]
    assert steps == ["resized_crop", "flip", "turn", *["jitter"] * 4, "trivial_augment"]


@pytest.mark.parametrize(
    ("oracle", "area", "ratio", "inclusive"),
    [
        (v2.RandomResizedCrop(8, scale=(0.08, 1.0)), (0.08, 1.0), (3 / 4, 4 / 3), True),
        (v2.RandomErasing(), (0.02, 0.33), (1 / 3.3, 1 / 0.3), False),
    ],
    ids=["crop", "erasing"],
)
def test_rectangles_are_distributed_as_torchvisions(oracle, area, ratio, inclusive):
    count, image = 4000, (24, 40)
    largest = image if inclusive else (image[0] - 1, image[1] - 1)
    uniform = torch.rand(ROWS, count, generator=torch.Generator().manual_seed(1))
    drawn, found = draw_rectangles(uniform, image, largest, RectangleRanges(area, ratio))
    torch.manual_seed(2)
    names = ("top", "left", "height", "width") if inclusive else ("i", "j", "h", "w")
    expected = [oracle.make_params([torch.zeros(3, *image)]) for _ in range(count // 2)]
    for ours, name in zip((drawn.top, drawn.left, drawn.height, drawn.width), names, strict=True):
        theirs = torch.tensor([float(one[name]) for one in expected])
        for measure in (torch.mean, torch.std):
            assert measure(ours[found].double()) == pytest.approx(float(measure(theirs)), rel=0.06)
    assert (drawn.top + drawn.height <= image[0]).all()
    assert (drawn.left + drawn.width <= image[1]).all()


def test_mixup_is_torchvisions_on_a_batch():
    images, labels = (part[:6] for part in batch(side=16))
    transform = v2.MixUp(alpha=0.4, num_classes=7)
    torch.manual_seed(3)
    expected, soft = transform(images.float(), labels)
    torch.manual_seed(3)
    share = transform.make_params([])["lam"]
    found, targets = mixup(images.float(), labels, share)
    assert torch.allclose(found, expected, atol=1e-3)
    check_targets(targets, soft)


def test_cutmix_is_torchvisions_on_a_batch(monkeypatch):
    images, labels = (part[:6] for part in batch(side=16))
    transform = v2.CutMix(alpha=1.0, num_classes=7)
    for seed in range(20):
        torch.manual_seed(seed)
        params = transform.make_params([images])
        torch.manual_seed(seed)
        expected, soft = transform(images.float(), labels)
        x1, y1, x2, y2 = params["box"]
        found, targets = cutmix(images.float(), labels, (y1, y2, x1, x2))
        assert torch.equal(found, expected)
        check_targets(targets, soft)
        torch.manual_seed(seed)
        share = float(transform._dist.sample(()))
        x, y = int(torch.randint(16, (1,))), int(torch.randint(16, (1,)))
        assert cutmix_box(share, x, y, 16, 16) == (y1, y2, x1, x2)


def check_targets(targets, soft):
    """The loss against two labels is that against soft targets, smoothed or not."""
    logits = torch.randn(len(soft), soft.shape[1], generator=torch.Generator().manual_seed(1))
    for smoothing in (0.0, 0.1):
        expected = cross_entropy(logits, soft, label_smoothing=smoothing)
        assert float(targets.loss(logits, smoothing)) == pytest.approx(float(expected), rel=1e-5)


def test_a_coin_decides_between_mixup_and_cutmix_and_shares_follow_the_beta_distribution(monkeypatch):
    drawn = {"mixup": [], "cutmix": []}
    monkeypatch.setattr(mixing, "mixup", lambda *args: drawn["mixup"].append(args[-1]))
    monkeypatch.setattr(mixing, "cutmix", lambda *args: drawn["cutmix"].append(args[-1]))
    images, labels = batch(2)
    mix = Mixing(0.2, 1.0, torch.Generator().manual_seed(4))
    for _ in range(2000):
        mix(images, labels)
    shares = torch.tensor(drawn["mixup"])
    assert len(shares) == pytest.approx(1000, abs=90)
    assert shares.mean() == pytest.approx(0.5, abs=0.05)
    # Of Beta(a, a): 1 / (4 (2 a + 1)).
    assert shares.var() == pytest.approx(1 / (4 * 1.4), rel=0.1)


@pytest.mark.parametrize("only", ["mixup", "cutmix"])
def test_one_of_them_alone_is_always_applied(only):
    images, labels = batch(8)
    for seed in range(5):
        _, targets = pipeline(replace(AugmentationSpec(), **{only: 1.0}), seed)(images, labels)
        assert torch.equal(targets.partners, labels.roll(1))
