"""Whether what a run begins with, or chooses its images by, has learned from images that it is tested by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tui_datasize.errors import DataError
from tui_datasize.experiments.catalogue import IMAGE_FOLDER
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.files import known_object
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.training.arrays import ImageSplit, Indices, LoadedDataset
from tui_datasize.training.build import Hashes, hash_images
from tui_datasize.training.datasets import load_as, load_dataset
from tui_datasize.training.decoding_process import as_squares
from tui_datasize.training.provenance import read_spec
from tui_datasize.training.task import restrict_dataset
from tui_datasize.training.transfer import other_run, trained_again


def refuse_tested(
    paths: RunPaths, spec: RunSpec, whole: LoadedDataset, tests: Sequence[ImageSplit], data_dir: Path
) -> None:
    """Refuse a run of whose test images a source, or a source of that one, has learned from any.

    `tests` are all that it is measured on. Images are the same if their pixels are, as this run sees them:
    those that a source saw in another size or on another background are shown anew. With labels a source may
    have what the run's own training set has: whoever learns from that has it as ever, and the audit says so.

    Raises DataError: one has, or it cannot be told: its images are no longer there.
    Raises StorageError: the `spec.json` of a source is damaged.
    """
    tested = np.concatenate([one.hashes for one in tests])
    for source, of_source in _behind(paths, spec):
        own = _own_images(paths, source, of_source, spec, whole, data_dir)
        seen = np.concatenate([own, *_folders(of_source, whole, data_dir)])
        is_tested = np.isin(seen, tested)
        if of_source.task.has_labels:
            is_tested &= ~np.isin(seen, whole.train.hashes)
        if shared := int(is_tested.sum()):
            raise DataError(
                f"{shared:,} of {len(seen):,} images that the source learned from are test images of this "
                "run",
                where=str(source.subset),
                fix="give both experiments the same data set and the same split, and test on no such image",
            )


def _behind(paths: RunPaths, spec: RunSpec) -> Iterator[tuple[RunPaths, RunSpec]]:
    """The runs that a run has weights or features of, and those that these have them of."""
    waiting, found = [*spec.named_sources], set()
    while waiting:
        if (run_id := waiting.pop()) not in found:
            found.add(run_id)
            source = other_run(paths, run_id)
            of_source = read_spec(source)
            waiting += of_source.named_sources
            yield source, of_source


def _own_images(
    paths: RunPaths, source: RunPaths, of_source: RunSpec, spec: RunSpec, whole: LoadedDataset, data_dir: Path
) -> Hashes:
    """What a source learned from of its own data set, with or without labels, as a run would see it."""
    index, hashes = _recorded(paths, source)
    facts = known_object(source.dataset)
    shape = tuple(facts.get(name) for name in ("channels", "size_px", "width_px"))
    are_files = all(one.dataset.startswith(IMAGE_FOLDER) for one in (of_source, spec))
    shown = [(one.images.rules, one.images.background) for one in (of_source, spec)]
    is_seen_alike = shape == whole.image_shape and (not are_files or shown[0] == shown[1])
    if is_seen_alike and not of_source.unlabelled.is_rest:
        return hashes
    own = load_dataset(of_source.dataset, data_dir, of_source.image_px, of_source.images)
    train = own.train.hashes
    if not np.array_equal(train[index.clip(max=len(train) - 1)], hashes):
        raise DataError(
            f"{of_source.dataset} has other images than the source learned from: whether any is tested by "
            "cannot be told",
            where=str(source.subset),
            fix="put them back, or train the source anew",
        )
    rows = restrict_dataset(own, of_source.classes)[1] if of_source.unlabelled.is_rest else index
    return train[rows] if is_seen_alike else _as_seen(of_source, spec, whole.image_shape, rows, data_dir)


def _recorded(paths: RunPaths, source: RunPaths) -> tuple[Indices, Hashes]:
    """Where the images of a source lie in its data set, and their hashes."""
    # The training loop is tried where it is not installed.
    import polars as pl

    try:
        table = pl.read_parquet(source.subset, columns=["index", "hash"])
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"the images of the source cannot be read ({type(error).__name__})",
            where=str(source.subset),
            fix=f"delete it, if it is there; {trained_again(paths)}",
        ) from error
    return table["index"].to_numpy(), table["hash"].to_numpy()


def _as_seen(
    of_source: RunSpec, spec: RunSpec, shape: tuple[int, int, int], rows: Indices, data_dir: Path
) -> Hashes:
    """Training images of a source's data set as a run of another would see them."""
    if of_source.dataset.startswith(IMAGE_FOLDER):
        reading = replace(of_source.images, background=spec.images.background)
        return load_as(of_source.dataset, data_dir, shape, reading, "own").train.hashes[rows]
    train = load_dataset(of_source.dataset, data_dir).train
    channels, height, width = shape
    # All such data sets are of squares: none is of another form.
    return (
        hash_images(as_squares(train.images[rows], channels, height))
        if height == width
        else train.hashes[rows]
    )


def _folders(of_source: RunSpec, whole: LoadedDataset, data_dir: Path) -> Iterator[Any]:
    """Hashes of what a source learned from beside its own data set, likewise."""
    reading = of_source.images.of_learned
    if of_source.unlabelled.source:
        folder = of_source.unlabelled.source
        yield load_as(folder, data_dir, whole.image_shape, reading, "unlabelled").test.hashes
    if of_source.synthetic.source:
        folder = of_source.synthetic.source
        yield load_as(folder, data_dir, whole.image_shape, reading, "synthetic").test.hashes
