"""A class-conditional variational autoencoder: what it is, and the bound that it is trained by."""

from __future__ import annotations

from math import log, pi, prod

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from tui_datasize.experiments.synthetic import Likelihood, Synthetic
from tui_datasize.training.models.parts import ImageShape, initialise

_LEAST_VARIANCE = 1e-6
"""Of a pixel in [0, 1]: a quarter of a step of its 256 values."""


class Autoencoder(nn.Module):
    """Encoder and decoder of two hidden layers each, both of which are told the class.

    q(z | x, y) and p(x | z, y) of Kingma and Welling 2014 and Sohn et al. 2015, p(z) the same for each class.
    """

    _told_of: Tensor

    def __init__(
        self, rule: Synthetic, shape: ImageShape, classes: int, initialisation: torch.Generator
    ) -> None:
        super().__init__()
        self._shape = shape
        # Rows of it tell classes: `one_hot` would have the host look at the labels.
        self.register_buffer("_told_of", torch.eye(classes), persistent=False)
        values = prod(shape)
        self.encoder = _layers(values + classes, rule.hidden, 2 * rule.latent)
        self.decoder = _layers(rule.latent + classes, rule.hidden, values)
        initialise(self, initialisation)

    def encode(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of z, (B, d) each, of pixels (B, C, H, W) in [0, 1]."""
        mean, log_variance = self.encoder(self._told(pixels.flatten(1), labels)).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, z: Tensor, labels: Tensor) -> Tensor:
        """Logits of the brightness of each pixel, (B, C, H, W)."""
        logits: Tensor = self.decoder(self._told(z, labels)).reshape(-1, *self._shape)
        return logits

    def _told(self, values: Tensor, labels: Tensor) -> Tensor:
        return torch.cat([values, self._told_of[labels]], dim=1)


def _layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    first, second, last = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, outputs)
    return nn.Sequential(first, nn.SiLU(), second, nn.SiLU(), last)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Of N(mean, variance) from N(0, 1), nats per image (B,) (Kingma and Welling 2014, appendix B)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)


def log_likelihood(likelihood: Likelihood, pixels: Tensor, logits: Tensor) -> Tensor:
    """Of the pixels in [0, 1] of each image, nats (B,), both (B, C, H, W).

    `bernoulli` takes a brightness for the share of draws that are 1. `gaussian` has the variance that is most
    likely for the batch, its mean squared error (Rybkin et al. 2021, eq. 5), which its gradient may ignore.
    """
    if likelihood == "bernoulli":
        return -binary_cross_entropy_with_logits(logits, pixels, reduction="none").flatten(1).sum(dim=1)
    squares = (pixels - logits.sigmoid()).square().flatten(1)
    variance = squares.detach().mean().clamp(min=_LEAST_VARIANCE)
    of_all = squares.shape[1] * (log(2 * pi) + variance.log())
    return -0.5 * (squares.sum(dim=1) / variance + of_all)


def bound(
    model: Autoencoder, rule: Synthetic, pixels: Tensor, labels: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Log likelihood for one z of each image, drawn by the noise (B, d), and divergence, nats (B,) each.

    Their difference is the evidence lower bound.
    """
    mean, log_variance = model.encode(pixels, labels)
    logits = model.decode(mean + (0.5 * log_variance).exp() * noise, labels)
    return log_likelihood(rule.likelihood, pixels, logits), divergence(mean, log_variance)
