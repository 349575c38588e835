"""The generated images of a run: made by its own generator, or drawn from a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tui_datasize.errors import DataError
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.experiments.subsets import permutation
from tui_datasize.runlog.atomic import write_bytes
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.text import plural
from tui_datasize.training.accelerator.device import accelerator_of
from tui_datasize.training.arrays import ChosenRows, ImageRows, ImageSplit, LoadedDataset
from tui_datasize.training.build import CHUNK_IMAGES
from tui_datasize.training.datasets import load_synthetic, load_tests
from tui_datasize.training.evaluate import Integers
from tui_datasize.training.placement import HasRoom
from tui_datasize.training.sheet import draw_sheet
from tui_datasize.training.synthetic.generator import Generator, sample, trained_generator
from tui_datasize.training.task import Task
from tui_datasize.training.twins import Thumbnails, find_twins, thumbnails

_DRAW_KEY = 0x67656E
"""Sets the order of a folder's images apart from that of a draw."""
_MOST_ROWS = 20
"""Classes of a sheet."""


@dataclass(frozen=True, slots=True)
class Generated:
    """Images that a run learns from beside its own."""

    images: ImageSplit
    """With the labels that were asked for, in the order of these."""
    facts: dict[str, Any]
    """Of them, for `provenance.json`."""
    wall_s: float = 0.0
    """What a generator took to be trained."""

    @property
    def digest(self) -> str:
        """Of the pixels and labels."""
        return _digest(self.images.hashes, self.images.labels)


def generated_images(
    paths: RunPaths,
    spec: RunSpec,
    task: Task,
    whole: LoadedDataset,
    data_dir: Path,
    device: torch.device,
    room: HasRoom,
) -> Generated | None:
    """Those of a run, if any, with a picture of them in its directory.

    Labels are those given: whoever has wrong labels has wrong ones to generate by.

    Raises DataError: those of the folder cannot be read, or a class has none.
    Raises RunFailedError: the generator diverged.
    """
    if not spec.synthetic.is_on:
        return None
    trained = task.subset[~task.is_held_out]
    classes, counts = np.unique(task.dataset.train.labels[trained], return_counts=True)
    wanted = spec.synthetic.wanted(dict(zip(classes.tolist(), counts.tolist(), strict=True)))
    if spec.synthetic.source:
        generated = _drawn(spec, task, whole, data_dir, wanted)
    else:
        generated = _made(paths, spec, task.dataset, trained, wanted, device, room)
    starts = np.searchsorted(generated.images.labels, classes[:_MOST_ROWS])
    ends = np.searchsorted(generated.images.labels, classes[:_MOST_ROWS], side="right")
    rows = [np.arange(*ends_of) for ends_of in zip(starts, ends, strict=True)]
    write_bytes(paths.generated, draw_sheet([generated.images.images[one] for one in rows]))
    return generated


def _made(
    paths: RunPaths,
    spec: RunSpec,
    dataset: LoadedDataset,
    trained: Integers,
    wanted: Mapping[int, int],
    device: torch.device,
    room: HasRoom,
) -> Generated:
    """By a generator of the run's own, which sees no other image than those."""
    identity = {
        "run": spec.run_id,
        "images": _digest(dataset.train.hashes[trained], dataset.train.labels[trained]),
        "device": accelerator_of(device).kind,
    }
    generator = Generator(spec, dataset, trained, device, room)
    wall_s = trained_generator(paths, generator, identity)
    images = sample(generator, spec, wanted, dataset)
    return Generated(images, {"generated_images": len(images.labels), "generator_s": wall_s}, wall_s)


def _drawn(
    spec: RunSpec, task: Task, whole: LoadedDataset, data_dir: Path, wanted: Mapping[int, int]
) -> Generated:
    """From a folder, nested as draws are: none that is real, or like those that a run is judged or chosen by.

    A real image outside the subset would be a label that the size does not count.
    """
    source, names = spec.synthetic.source, task.dataset.class_names
    found, fingerprint = load_synthetic(source, data_dir, whole, names, spec.images)
    further = (load_tests(tests, data_dir, whole, names, spec.images) for _, tests in spec.tests)
    tests = [whole.test, *further]
    is_real = np.isin(found.hashes, np.concatenate([one.hashes for one in (whole.train, *tests)]))
    held_out = ChosenRows(task.dataset.train.images, task.subset[task.is_held_out])
    judges = _thumbnails(*(one.images for one in tests), held_out)
    left_out = is_real.copy()
    left_out[[*find_twins(_thumbnails(found.images), judges)]] = True
    if left_out.any():
        what = plural(len(left_out), "generated image")
        print(f"{left_out.sum():,} of {what} are left out: real, or like test or held-out ones", flush=True)
    order = permutation(len(left_out), spec.subset.seed, 0, _DRAW_KEY)
    order = order[~left_out[order]]
    of_class = {label: order[found.labels[order] == label] for label in wanted}
    if none := [label for label, rows in of_class.items() if wanted[label] and not len(rows)]:
        of_none = is_real[found.labels == none[0]]
        why = "images of the data set itself" + ("" if of_none.all() else ", or like test or held-out ones")
        what = f"no image of class {names[none[0]]} is left to learn from: all {len(of_none):,} are {why}"
        raise DataError(what, where=source, fix="put some there that are generated")
    rows = np.concatenate([rows[: wanted[label]] for label, rows in of_class.items()])
    images = ImageSplit(ChosenRows(found.images, rows), found.labels[rows], found.hashes[rows])
    facts = {
        "generated_images": len(rows),
        "generated_missing": sum(wanted.values()) - len(rows),
        "generated_left_out": int(left_out.sum()),
        "generated_fingerprint": fingerprint,
    }
    if facts["generated_missing"]:
        print(f"{len(rows):,} of {plural(sum(wanted.values()), 'generated image')} are there", flush=True)
    return Generated(images, facts)


def _thumbnails(*parts: ImageRows) -> Thumbnails:
    chunks = ((images, start) for images in parts for start in range(0, len(images), CHUNK_IMAGES))
    return np.concatenate([thumbnails(images[start : start + CHUNK_IMAGES]) for images, start in chunks])


def _digest(*values: NDArray[Any]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for one in values:
        digest.update(np.ascontiguousarray(one).tobytes())
    return digest.hexdigest()
