"""The images of a run on a path: those of the run before, and those that its model chooses among the rest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, normalize

from tui_datasize.errors import DataError
from tui_datasize.experiments.spec import RunSpec, SubsetSpec
from tui_datasize.experiments.subsets import Indices, draw, uniform
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.training.accelerator.device import accelerator_of, evaluation_batch_size
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.labelling.acquisition import Seen, pick_images
from tui_datasize.training.placement import HasRoom, place_images
from tui_datasize.training.pretext import head_of, network
from tui_datasize.training.provenance import read_spec
from tui_datasize.training.streams import Purpose, stream
from tui_datasize.training.transfer import other_run, read_weights, trained_again
from tui_datasize.training.transforms import normalisation

_MOST_PX = 16
"""Side of what stands for the pixels of an image where there is no model yet."""
_CHOICE_KEY = 0x63686F696365
"""Sets these numbers apart from those of draws."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The labelled images of a run on a path, in the order in which they came in; each of shape (n,)."""

    images: Indices
    """Positions in the run's training set."""
    steps: Indices
    """The size of the path at which each came in."""
    scores: NDArray[np.float64]
    """Why, as of `pick_images`; NaN of those that were drawn."""

    @property
    def digest(self) -> str:
        return hashlib.blake2b(self.images.tobytes(), digest_size=8).hexdigest()


def chosen_images(
    paths: RunPaths, spec: RunSpec, dataset: LoadedDataset, rows: Indices, device: torch.device, room: HasRoom
) -> Choice | None:
    """The images of a run on a path; None for one whose images are drawn.

    `dataset` is of the run's classes, whose training images lie at `rows` of the whole, ascending.

    Raises DataError: the run before has not finished, has lost its checkpoint or images, or was of others.
    """
    if not spec.subset.path:
        return None
    before, network_id = spec.before, spec.subset.features
    if before is None and spec.subset.strategy != "typiclust" and not network_id:
        drawn = draw(dataset.train.labels, spec.train_size, SubsetSpec("random", seed=spec.subset.seed))
        return Choice(drawn, np.full(len(drawn), len(drawn)), np.full(len(drawn), np.nan))
    known = _read(paths, before, rows) if before else Choice(*(np.empty(0, np.int64),) * 2, np.empty(0))
    if network_id:
        seen = _in_features(paths, network_id, dataset, device, room)
    elif before:
        seen = _look(paths, before, dataset, device, room)
    else:
        seen = _pixels(spec, dataset, device, room)
    numbers = uniform(len(rows), spec.subset.seed, spec.seed, spec.train_size, _CHOICE_KEY)
    count = spec.train_size - len(known.images)
    images, scores = pick_images(spec.subset.strategy, seen, known.images, count, numbers)
    return Choice(
        np.concatenate([known.images, images]),
        np.concatenate([known.steps, np.full(count, spec.train_size)]),
        np.concatenate([known.scores, scores]),
    )


def _read(paths: RunPaths, before: RunSpec, rows: Indices) -> Choice:
    """What the run before wrote down of its images."""
    file = other_run(paths, before.run_id).subset
    try:
        table = pl.read_parquet(file, columns=["index", "step", "score"])
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"the images of the run before cannot be read ({type(error).__name__})",
            where=str(file),
            fix=f"delete it, if it is there; {trained_again(paths)}",
        ) from error
    index, steps, scores = (table[name].to_numpy() for name in table.columns)
    places = np.searchsorted(rows, index)
    if len(index) != before.train_size or not np.array_equal(rows[places.clip(max=len(rows) - 1)], index):
        raise DataError(
            f"expected {before.train_size} images of this data set",
            where=str(file),
            fix=f"delete it; {trained_again(paths)}",
        )
    return Choice(places.astype(np.int64), steps.astype(np.int64), scores.astype(np.float64))


def _in_features(
    paths: RunPaths, run_id: str, dataset: LoadedDataset, device: torch.device, room: HasRoom
) -> Seen:
    """All training images as directions in the features of a network that was trained without labels."""
    seen = _look(paths, read_spec(other_run(paths, run_id)), dataset, device, room)
    return Seen(seen.logits, normalize(seen.features, dim=1))


def _look(
    paths: RunPaths, before: RunSpec, dataset: LoadedDataset, device: torch.device, room: HasRoom
) -> Seen:
    """What the model of another run says of all training images."""
    weights = read_weights(paths, before, dataset.fingerprint)
    dropout = stream(before.seed, Purpose.DROPOUT, device)
    model = network(before, dataset, dropout, stream(before.seed, Purpose.INITIALISATION))
    model.load_state_dict(weights)
    placed: nn.Module = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = place_images(dataset.train, slice(None), device, room)
    view = normalisation(dataset.mean, dataset.std, device, before.augmentation.crop_px)
    size = evaluation_batch_size(device, int(np.prod(dataset.image_shape)))
    features: list[Tensor] = []
    hook = head_of(placed).register_forward_pre_hook(lambda _module, given: features.append(_flat(given[0])))
    placed.eval()
    with hook, torch.inference_mode(), accelerator_of(device).autocast(before.precision):
        logits = [placed(view(batch)).float() for batch, _ in images.batches(size)]
    return Seen(torch.cat(logits), torch.cat(features))


def _flat(values: Tensor) -> Tensor:
    """Values per image, (B, d), of maps their means."""
    return (values.flatten(2).mean(dim=2) if values.ndim > 2 else values).float()


def _pixels(spec: RunSpec, dataset: LoadedDataset, device: torch.device, room: HasRoom) -> Seen:
    """The pixels of all training images where there is no model yet, of large ones the means of areas."""
    images = place_images(dataset.train, slice(None), device, room)
    view = normalisation(dataset.mean, dataset.std, device, spec.augmentation.crop_px)
    size = evaluation_batch_size(device, int(np.prod(dataset.image_shape)))
    with torch.inference_mode():
        values = torch.cat([_small(view(batch)) for batch, _ in images.batches(size)])
    return Seen(values[:, :0], values)


def _small(images: Tensor) -> Tensor:
    height, width = (min(side, _MOST_PX) for side in images.shape[-2:])
    return adaptive_avg_pool2d(images, (height, width)).flatten(1)
