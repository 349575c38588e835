"""Mixing the images of a batch in pairs, and the loss against both labels."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TypeAlias

import torch
from scipy.special import betaincinv
from torch import Tensor
from torch.nn.functional import cross_entropy

from tui_datasize.training.accelerator.device import accelerator_of

Box: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Targets:
    """What the images of a batch are: one class, or two with shares."""

    labels: Tensor
    """int64, shape (B,)."""
    partners: Tensor | None = None
    """Labels of what each image was mixed with; None where nothing was mixed."""
    shares: Tensor | None = None
    """Of `labels` and of the partners, in [0, 1], shape (2,)."""

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """Those that there are, in the order of the fields."""
        return tuple(part for part in (self.labels, self.partners, self.shares) if part is not None)

    def loss(self, logits: Tensor, smoothing: float) -> Tensor:
        """Mean cross-entropy in nats against the soft targets; linear in them, hence one for each label.

        `smoothing` is the share of each target spread over all classes (Szegedy et al. 2016), in [0, 1).
        """
        own = cross_entropy(logits, self.labels, label_smoothing=smoothing)
        if self.partners is None or self.shares is None:
            return own
        other = cross_entropy(logits, self.partners, label_smoothing=smoothing)
        return self.shares[0] * own + self.shares[1] * other


@dataclass(frozen=True, slots=True)
class Mixing:
    """Mixup, cutmix, or either by the toss of a coin: one share, and one rectangle, per batch.

    Each image is mixed with the one before it in its batch, the first with the last; the order of a
    batch is random. One share per batch, as the authors of both and torchvision's recipes have it.

    `mixup` (Zhang et al. 2018) and `cutmix` (Yun et al. 2019) are alphas of the Beta distribution, 0 for
    none. Numbers come from a CPU stream, so that nothing waits for the device.
    """

    _mixup: float
    _cutmix: float
    _generator: torch.Generator

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Targets]:
        coin, quantile, x, y = torch.rand(4, generator=self._generator).tolist()
        if not self._cutmix or (self._mixup and coin < 0.5):
            return mixup(images, labels, float(betaincinv(self._mixup, self._mixup, quantile)))
        share = float(betaincinv(self._cutmix, self._cutmix, quantile))
        height, width = images.shape[2:]
        return cutmix(images, labels, cutmix_box(share, int(x * width), int(y * height), height, width))


def mixup(images: Tensor, labels: Tensor, share: float) -> tuple[Tensor, Targets]:
    """`share` of each image and the rest of its partner."""
    return torch.lerp(images.roll(1, 0), images, share), _mixed(labels, share)


def cutmix(images: Tensor, labels: Tensor, box: Box) -> tuple[Tensor, Targets]:
    """Each image with a rectangle of its partner in it; the share is that of the area left."""
    top, bottom, left, right = box
    mixed = images.clone(memory_format=torch.preserve_format)
    mixed[:, :, top:bottom, left:right] = images.roll(1, 0)[:, :, top:bottom, left:right]
    area = (bottom - top) * (right - left) / (images.shape[2] * images.shape[3])
    return mixed, _mixed(labels, 1 - area)


def _mixed(labels: Tensor, share: float) -> Targets:
    accelerator = accelerator_of(labels.device)
    # Each rounded once from the exact number, in memory that a transfer does not wait for.
    shares = accelerator.staging((2,), torch.float32)
    shares[0], shares[1] = share, 1 - share
    return Targets(labels, labels.roll(1), accelerator.send(shares))


def cutmix_box(share: float, x: int, y: int, height: int, width: int) -> Box:
    """Top, bottom, left and right of the rectangle around (x, y) that leaves `share` of the area.

    What reaches beyond the image is cut off, so that more may be left.
    """
    reach = 0.5 * sqrt(1 - share)
    rows, columns = int(reach * height), int(reach * width)
    return max(y - rows, 0), min(y + rows, height), max(x - columns, 0), min(x + columns, width)
