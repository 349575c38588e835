"""The training step: model, optimiser and random streams of one run, and what its updates measured.

Images lie on the device whole and batches are index vectors; nothing here waits for the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_, get_total_norm

from tui_datasize.experiments.spec import RunSpec
from tui_datasize.training.arrays import ImageSplit, LoadedDataset
from tui_datasize.training.evaluate import DeviceSplit, Integers
from tui_datasize.training.models import build_model
from tui_datasize.training.optimizers import build_optimizer
from tui_datasize.training.streams import BatchOrder, Purpose, stream
from tui_datasize.training.transforms import Normalise


@dataclass(frozen=True, slots=True)
class Readings:
    """Losses and gradient norms of consecutive updates, read from the device."""

    losses: tuple[float, ...]
    """Mean cross-entropy of each batch, nats."""
    gradient_norms: tuple[float, ...]
    """Global, before clipping."""

    def first_bad(self) -> int | None:
        """Position of the first loss that is NaN or infinite."""
        bad = np.flatnonzero(~np.isfinite(self.losses))
        return int(bad[0]) if len(bad) else None


class Trainer:
    """One run's training: `step` moves it by one update.

    Args:
        spec: What to train.
        dataset: The whole data set.
        subset: Indices of the training images, shape (n,), in draw order.
        device: Where to train.

    Raises:
        DataError: The images do not suit the model.
    """

    def __init__(self, spec: RunSpec, dataset: LoadedDataset, subset: Integers, device: torch.device) -> None:
        self._dropout = stream(spec.seed, Purpose.DROPOUT, device)
        model = build_model(
            spec.model,
            dataset.image_shape,
            len(dataset.class_names),
            initialisation=stream(spec.seed, Purpose.INITIALISATION),
            dropout=self._dropout,
        )
        self.model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.normalise = Normalise(dataset.mean, dataset.std, device)
        self.subset = place(dataset.train, subset, device)
        self.update = 0
        """Updates made."""
        self._order = BatchOrder(len(subset), spec.batch_size, stream(spec.seed, Purpose.BATCH_ORDER), device)
        self._parameters = list(self.model.parameters())
        self._optimizer = build_optimizer(self._parameters, spec.optimizer)
        self._clip_norm = spec.clip_grad_norm
        self._losses: list[Tensor] = []
        self._gradient_norms: list[Tensor] = []

    def step(self) -> None:
        """Make one update on the next batch."""
        rows = self._order.next()
        logits = self.model(self.normalise(self.subset.images[rows]))
        loss = cross_entropy(logits, self.subset.labels[rows])
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = self._clip_gradients()
        self._optimizer.step()
        self._losses.append(loss.detach())
        self._gradient_norms.append(norm)
        self.update += 1

    def read(self) -> Readings:
        """Losses and gradient norms since the last reading; waits for the device."""
        if not self._losses:
            return Readings((), ())
        losses, norms = (torch.stack(v).tolist() for v in (self._losses, self._gradient_norms))
        self._losses.clear()
        self._gradient_norms.clear()
        return Readings(tuple(losses), tuple(norms))

    def state_dict(self) -> dict[str, Any]:
        """All that decides the further updates, for a checkpoint."""
        return {
            "update": self.update,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "order": self._order.state_dict(),
            "dropout": self._dropout.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken, bit for bit on the same kind of device."""
        self.update = state["update"]
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._order.load_state_dict(state["order"])
        self._dropout.set_state(state["dropout"])

    def _clip_gradients(self) -> Tensor:
        """Global norm of the gradients before they are clipped; stays on the device."""
        if self._clip_norm is None:
            return get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        return clip_grad_norm_(self._parameters, self._clip_norm)


def place(split: ImageSplit, rows: Integers | slice, device: torch.device) -> DeviceSplit:
    """Copy the images at `rows` of a split to the device, as they are stored."""
    # Copied on the host first: the arrays are read-only maps of files.
    images, labels = (np.array(part[rows]) for part in (split.images, split.labels))
    return DeviceSplit(torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device))
