"""From a run directory to a session: read the specification, open the data, describe what will run."""

from __future__ import annotations

import json
import sys

import numpy as np
import torch

from tui_datasize.errors import StorageError
from tui_datasize.experiments.load import data_directory
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.experiments.subsets import draw
from tui_datasize.runlog.atomic import write_json
from tui_datasize.runlog.claim import utc_now
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.runlog.writer import subset_frame, write_table
from tui_datasize.training import device
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.datasets import load_dataset
from tui_datasize.training.evaluate import Integers
from tui_datasize.training.session import Session


def prepare(paths: RunPaths, attempt: int) -> Session:
    """Make a run ready to train, downloading and decoding its data set first where needed.

    Writes `provenance.json`, `dataset.json` and `subset.parquet`.

    Raises:
        DatasizeError: The specification is damaged, the data set cannot be had or is too small.
        OSError: A directory cannot be written.
    """
    spec = read_spec(paths)
    chosen = device.choose_device()
    device.set_up(chosen)
    dataset = load_dataset(spec.dataset, data_directory(paths.directory.parents[2]))
    subset = draw(np.asarray(dataset.train.labels), spec.train_size, spec.subset)
    _describe(paths, attempt, dataset, chosen)
    labels, hashes = (part[subset] for part in (dataset.train.labels, dataset.train.hashes))
    write_table(paths.subset, subset_frame(subset, labels, hashes))
    return Session(paths, spec, dataset, subset, chosen)


def read_spec(paths: RunPaths) -> RunSpec:
    """The specification that was queued.

    Raises:
        StorageError: `spec.json` is damaged.
    """
    try:
        return RunSpec.from_dict(json.loads(paths.spec.read_bytes())["spec"])
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(
            f"not the specification of a run ({error!r})", where=str(paths.spec), fix="queue the run again"
        ) from error


def _describe(paths: RunPaths, attempt: int, dataset: LoadedDataset, chosen: torch.device) -> None:
    provenance = {
        **device.describe(chosen),
        "dataset_fingerprint": dataset.fingerprint,
        "argv": sys.argv,
        "attempt": attempt,
        "started_at": utc_now(),
    }
    write_json(paths.provenance, provenance)
    channels, height, width = dataset.image_shape
    write_json(
        paths.dataset,
        {
            "name": dataset.name,
            "class_names": dataset.class_names,
            "train_images_per_class": _images_per_class(dataset.train.labels, dataset),
            "test_images_per_class": _images_per_class(dataset.test.labels, dataset),
            "channels": channels,
            "size_px": height,
            "width_px": width,
            "mean": dataset.mean,
            "std": dataset.std,
            "fingerprint": dataset.fingerprint,
        },
    )


def _images_per_class(labels: Integers, dataset: LoadedDataset) -> list[int]:
    counts: list[int] = np.bincount(labels, minlength=len(dataset.class_names)).tolist()
    return counts
