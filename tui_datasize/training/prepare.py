"""From a run directory to a session: read the specification, open the data, describe what will run."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tui_datasize.errors import DataError
from tui_datasize.experiments.project_tables import data_directory
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.runlog.atomic import write_json
from tui_datasize.runlog.claim import utc_now
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.runlog.writer import subset_frame, with_steps_chosen, write_table
from tui_datasize.training import provenance
from tui_datasize.training.accelerator import device
from tui_datasize.training.accelerator.interface import Capture
from tui_datasize.training.arrays import ChosenRows, ImageSplit, LoadedDataset
from tui_datasize.training.datasets import load_dataset, load_tests, load_unlabelled
from tui_datasize.training.engine import Beside
from tui_datasize.training.evaluate import Integers
from tui_datasize.training.graph import capture_on
from tui_datasize.training.labelling.choice import Choice, chosen_images
from tui_datasize.training.labelling.sheet import write_sheet
from tui_datasize.training.leaks import refuse_tested
from tui_datasize.training.models.build import describe_cost
from tui_datasize.training.placement import HasRoom, ImageBatches, has_room, place_images
from tui_datasize.training.provenance import read_spec
from tui_datasize.training.session import Session
from tui_datasize.training.synthetic.images import Generated, generated_images
from tui_datasize.training.task import Task, make_task, restrict_dataset
from tui_datasize.training.transfer import read_source
from tui_datasize.training.transforms import input_shape


@dataclass(eq=False)
class Shared:
    """What runs of one process share: the test images on their device, and the memory of evaluations."""

    room: HasRoom = has_room
    _placed: dict[tuple[str, str], ImageBatches] = field(default_factory=dict, init=False)
    _captures: dict[str, Capture | None] = field(default_factory=dict, init=False)

    def place(self, name: str, test: ImageSplit, chosen: torch.device) -> ImageBatches:
        """A whole test set, as the first who asked for one of this name got it."""
        key = (name, str(chosen))
        if key not in self._placed:
            self._placed[key] = place_images(test, slice(None), chosen, self.room)
        return self._placed[key]

    def capture(self, chosen: torch.device) -> Capture | None:
        """Records evaluations, which never run at the same time, in one place for all runs."""
        key = str(chosen)
        if key not in self._captures:
            self._captures[key] = capture_on(chosen, ())
        return self._captures[key]


def prepare(paths: RunPaths, attempt: int, shared: Shared, tell: Callable[[str], object]) -> Session:
    """Make a run ready to train, downloading and decoding its data set first where needed.

    Writes `provenance.json`, `dataset.json` and `subset.parquet`; `tell` receives a line at each evaluation.

    Raises DatasizeError: the specification is damaged, the device cannot be used, the data set cannot be had
        or is too small.
    Raises OSError: a directory cannot be written.
    """
    spec = read_spec(paths)
    chosen = _set_up(spec)
    data_dir = data_directory(paths.directory.parents[2])
    whole, tests = _opened(paths, spec, data_dir)
    choice = chosen_images(paths, spec, *restrict_dataset(whole, spec.classes), chosen, shared.room)
    task = make_task(spec, whole, choice.images if choice else None)
    dataset = task.dataset
    facts = _provenance(attempt, spec, dataset, chosen)
    history = provenance.pack_history(paths) if paths.checkpoint.is_file() else {}
    # Now, so that a run that ends while it is made ready tells where; with what the session tells below.
    write_json(paths.provenance, facts | history)
    _describe(paths, task, _twins(task, whole), choice)
    test = shared.place(f"{dataset.fingerprint}{spec.task.name}", dataset.test, chosen)
    unlabelled = _unlabelled(spec, task, whole, tests.values(), data_dir)
    made = generated_images(paths, spec, task, whole, data_dir, chosen, shared.room)
    session = Session(
        *(paths, spec, dataset, task.subset, chosen),
        source=read_source(paths, spec),
        test=test,
        tell=tell,
        room=shared.room,
        capture=shared.capture(chosen),
        held_out=task.subset[task.is_held_out],
        further=_further(spec, tests, partial(shared.place, chosen=chosen), dataset.fingerprint),
        beside=Beside(unlabelled, made.images, made.wall_s) if made else Beside(unlabelled),
        chosen=_seen_beside(choice, unlabelled if spec.unlabelled.source else None, made),
    )
    facts |= _costs(session, test) | session.lengths() | (made.facts if made else {})
    facts |= _learned_tests(task, unlabelled, tests.values())
    write_json(paths.provenance, facts | (history if session.has_resumed else {}))
    return session


def _opened(paths: RunPaths, spec: RunSpec, data_dir: Path) -> tuple[LoadedDataset, dict[str, ImageSplit]]:
    """A run's whole data set, and its further test sets as far as they are of its classes."""
    whole = load_dataset(spec.dataset, data_dir, spec.image_px, spec.images)
    own, _ = restrict_dataset(whole, spec.classes)
    tests = {name: load_tests(one, data_dir, whole, own.class_names, spec.images) for name, one in spec.tests}
    refuse_tested(paths, spec, whole, [own.test, *tests.values()], data_dir)
    return whole, tests


def _further(
    spec: RunSpec,
    tests: Mapping[str, ImageSplit],
    place: Callable[[str, ImageSplit], ImageBatches],
    fingerprint: str,
) -> dict[str, ImageBatches]:
    return {name: place(f"{fingerprint} {source}", tests[name]) for name, source in spec.tests}


def _learned_tests(
    task: Task, unlabelled: ImageSplit | None, tests: Collection[ImageSplit]
) -> dict[str, int]:
    """How many images of further test sets, if there are any, a run learns from, for the audit to tell."""
    if not tests:
        return {}
    learned = [task.dataset.train.hashes[task.subset], *([unlabelled.hashes] if unlabelled else [])]
    tested = np.concatenate([one.hashes for one in tests])
    return {"tests_in_training": len(np.intersect1d(np.concatenate(learned), tested))}


def _set_up(spec: RunSpec) -> torch.device:
    chosen = device.chosen().device
    device.set_up(chosen, spec.precision)
    if advice := device.advice(chosen, spec.precision):
        print(advice, flush=True)
    return chosen


def _seen_beside(
    choice: Choice | None, unlabelled: ImageSplit | None, generated: Generated | None
) -> dict[str, str]:
    """What sets runs apart that see the same data set: images that a model chose or made, or of a folder."""
    seen = {"images": choice.digest} if choice else {}
    if generated:
        seen["generated"] = generated.digest
    if unlabelled:
        seen["unlabelled"] = hashlib.blake2b(unlabelled.hashes.tobytes(), digest_size=8).hexdigest()
    return seen


def _unlabelled(
    spec: RunSpec, task: Task, whole: LoadedDataset, tests: Collection[ImageSplit], data_dir: Path
) -> ImageSplit | None:
    """The images without labels that a run learns from, if any: none that it is judged or chosen by.

    Raises DataError: those of the folder cannot be read, or all are.
    """
    if not spec.unlabelled.source:
        return task.rest if spec.unlabelled.is_rest else None
    found = load_unlabelled(spec.unlabelled.source, data_dir, whole, spec.image_px, spec.images)
    held_out = task.dataset.train.hashes[task.subset[task.is_held_out]]
    judges = np.concatenate([whole.test.hashes, held_out, *(one.hashes for one in tests)])
    rows = np.flatnonzero(~np.isin(found.hashes, judges))
    if left_out := len(found.hashes) - len(rows):
        print(
            f"{left_out:,} of {len(found.hashes):,} images without labels are test images or held out",
            flush=True,
        )
    if not len(rows):
        raise DataError(
            "all are test images or held out", where=spec.unlabelled.source, fix="name others with from"
        )
    return ImageSplit(ChosenRows(found.images, rows), found.labels[rows], found.hashes[rows])


def _costs(session: Session, test: ImageBatches) -> dict[str, int]:
    shape, rest = session.dataset.image_shape, session.trainer.rest
    return {
        "image_bytes": math.prod(shape),
        "train_images_device_bytes": session.trainer.measured.device_bytes,
        "test_images_device_bytes": test.device_bytes,
        **({"unlabelled_images": len(rest.images)} if rest else {}),
        **describe_cost(session.trainer.model, input_shape(shape, session.spec.augmentation)),
    }


def _provenance(attempt: int, spec: RunSpec, dataset: LoadedDataset, chosen: torch.device) -> dict[str, Any]:
    return {
        **device.describe(chosen, spec.precision),
        "dataset_fingerprint": dataset.fingerprint,
        "argv": sys.argv,
        "attempt": attempt,
        "started_at": utc_now(),
    }


def _twins(task: Task, whole: LoadedDataset) -> dict[int, tuple[str, str]]:
    """By place in the whole data set, training images that look like a test image of the run's classes."""
    classes = {whole.class_names.index(name) for name in task.dataset.class_names}
    return {
        row: (file, twin)
        for row, (file, twin, other) in whole.twins.items()
        if int(whole.test.labels[other]) in classes
    }


def _describe(
    paths: RunPaths, task: Task, twins: Mapping[int, tuple[str, str]], choice: Choice | None = None
) -> None:
    """Write `dataset.json`, the run's classes of the data set, by true labels, and `subset.parquet`."""
    dataset, subset = task.dataset, task.subset
    labels, hashes = (part[subset] for part in (dataset.train.labels, dataset.train.hashes))
    true_labels = task.true_labels[subset]
    table = subset_frame(task.index, labels, hashes, true_labels, task.is_held_out, twins)
    if choice:
        write_sheet(paths, dataset, choice)
        table = with_steps_chosen(table, choice.steps, choice.scores)
    write_table(paths.subset, table)
    channels, height, width = dataset.image_shape
    write_json(
        paths.dataset,
        {
            "name": dataset.name,
            "class_names": dataset.class_names,
            "train_images_per_class": _images_per_class(task.true_labels, dataset),
            "test_images_per_class": _images_per_class(dataset.test.labels, dataset),
            "channels": channels,
            "size_px": height,
            "width_px": width,
            "mean": dataset.mean,
            "std": dataset.std,
            "fingerprint": dataset.fingerprint,
            **({"images": dataset.images} if dataset.images else {}),
        },
    )


def _images_per_class(labels: Integers, dataset: LoadedDataset) -> list[int]:
    counts: list[int] = np.bincount(labels, minlength=len(dataset.class_names)).tolist()
    return counts
