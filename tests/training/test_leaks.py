"""What a run begins with, or chooses its images by, has not learned from what it is tested by."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from tests.training.helpers import small_spec, train, write_queued
from tui_datasize.answers.checks.audit import AuditRecord, audit
from tui_datasize.errors import DataError
from tui_datasize.experiments.images.reading import NEWEST_RULES, ImageReading
from tui_datasize.experiments.pretext import LearningTask
from tui_datasize.experiments.spec import Budget, ModelSpec, RunSpec, SubsetSpec, Transfer
from tui_datasize.experiments.synthetic import Synthetic
from tui_datasize.experiments.unlabelled import Unlabelled
from tui_datasize.runlog.paths import ProjectPaths, RunPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.datasets import load_dataset, load_tests

CLASSES, IMAGES = ("a", "b"), 20
SPLIT = ImageReading(NEWEST_RULES, split=0.25, split_seed=0)
OTHER_SPLIT = replace(SPLIT, split_seed=1)
ROTATION = LearningTask("rotation")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures of two classes with no test set of their own, grey and of 12x12 pixels."""
    numbers = np.random.default_rng(0)
    for name in CLASSES:
        (tmp_path / "flat" / name).mkdir(parents=True)
        for place in range(IMAGES):
            pixels = numbers.integers(0, 255, (12, 12), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "flat" / name / f"{place}.png")
    monkeypatch.setenv("DATASIZE_DATA", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return tmp_path


def spec_of(experiment: str, **changes: object) -> RunSpec:
    values: dict[str, object] = {
        "experiment": experiment,
        "dataset": "imagefolder:flat",
        "images": SPLIT,
        "image_px": 12,
        "model": ModelSpec("resnet", {"depth": 8, "width": 1}),
        "train_size": 20,
        "batch_size": 8,
        "budget": Budget("updates", 1),
        "evaluations": 1,
    }
    return small_spec(**{**values, **changes})


def start_of(**changes: object) -> RunSpec:
    values = {"task": ROTATION, "validation": 0.3, "subset": SubsetSpec("random"), "train_size": 30}
    return spec_of("start", **{**values, **changes})


def from_(source: RunSpec, experiment: str = "later", **changes: object) -> RunSpec:
    return spec_of(
        experiment, **{"transfer": Transfer(source.run_id, None, False, source.task.name), **changes}
    )


def trained(folder: Path, spec: RunSpec) -> RunPaths:
    paths = write_queued(folder / "project", spec)
    train(paths)
    return paths


def told(folder: Path, spec: RunSpec) -> str:
    """Why a run is refused; empty where it trains."""
    try:
        trained(folder, spec)
    except DataError as error:
        return error.line
    return ""


def in_common(folder: Path, source: RunSpec, run: RunSpec) -> int:
    """By the files, whatever they look like: of the subset of a source, those that a run is tested by."""
    seen = pl.read_parquet(folder / "project/runs" / source.experiment / source.run_id / "subset.parquet")
    whole = {spec: load_dataset("imagefolder:flat", folder, 12, spec.images) for spec in (source, run)}
    learned = whole[source].train.hashes[seen["index"].to_numpy()]
    return int(np.isin(learned, whole[run].test.hashes).sum())


@pytest.mark.parametrize("image_px", [12, 8, 16])
@pytest.mark.parametrize("has_labels", [False, True])
def test_a_source_of_another_split_is_refused_whatever_the_size_in_which_it_saw_the_images(
    folder: Path, image_px: int, has_labels: bool
) -> None:
    labelled = {"task": LearningTask(), "validation": 0.0, "subset": SubsetSpec()}
    source = start_of(image_px=image_px, **(labelled if has_labels else {}))
    trained(folder, source)
    run = from_(source, images=OTHER_SPLIT)
    count = in_common(folder, source, run)
    assert count > 2
    assert f"{count} of 30 images that the source learned from are test images" in told(folder, run)
    # Of the same split it never saw one.
    assert told(folder, from_(source)) == ""


@pytest.mark.parametrize("image_px", [12, 8])
def test_a_start_that_saw_images_of_a_further_test_set_is_refused(folder: Path, image_px: int) -> None:
    """A data set of its own, which is a copy of what the start learned from."""
    source = start_of(image_px=image_px)
    trained(folder, source)
    shutil.copytree(folder / "flat", folder / "copies")
    for where, changes in (
        ("tests", {"tests": (("more", "imagefolder:copies"),)}),
        ("another", {"dataset": "imagefolder:copies", "images": OTHER_SPLIT}),
    ):
        assert "images that the source learned from are test images" in told(
            folder, from_(source, where, **changes)
        )


def test_the_network_that_a_strategy_sees_images_by_is_asked_the_same(folder: Path) -> None:
    source = start_of()
    trained(folder, source)
    shutil.copytree(folder / "flat", folder / "copies")
    subset = SubsetSpec("typiclust", path=(10,), features=source.run_id)
    run = spec_of("choosing", train_size=10, subset=subset)
    assert told(folder, run) == ""
    tested = replace(run, tests=(("more", "imagefolder:copies"),))
    assert "30 of 30 images that the source learned from are test images" in told(folder, tested)


def test_what_a_source_has_started_from_is_asked_too(folder: Path) -> None:
    """The labelled run between them has seen no test image of the last, its own start has."""
    start = start_of(images=OTHER_SPLIT, train_size=30)
    trained(folder, start)
    hashes = load_dataset("imagefolder:flat", folder, 12, SPLIT).test.hashes
    for seed in range(50):
        between = from_(start, "between", images=OTHER_SPLIT, train_size=2, subset=SubsetSpec(seed=seed))
        seen = pl.read_parquet(trained(folder, between).subset)["hash"].to_numpy()
        if not np.isin(seen, hashes).any():
            break
    assert "of 30 images that the source learned from are test images" in told(folder, from_(between, "last"))
    assert told(folder, from_(between, "alike", images=OTHER_SPLIT)) == ""


@pytest.mark.parametrize("beside", ["rest", "unlabelled", "synthetic"])
def test_what_a_source_with_labels_learned_beside_its_subset_counts(folder: Path, beside: str) -> None:
    if beside == "synthetic":
        shutil.copytree(folder / "flat", folder / "made")
        numbers = np.random.default_rng(1)
        for file in (folder / "flat").glob("*/*.png"):
            # The folder holds what is an image of another data set alone.
            Image.fromarray(numbers.integers(0, 255, (12, 12), dtype=np.uint8)).save(file)
        dataset = "imagefolder:made"
        changes = {"synthetic": Synthetic(source=dataset, ratio=2.0)}
    else:
        shutil.copytree(folder / "flat", folder / "made")
        dataset = "imagefolder:flat"
        source_folder = "" if beside == "rest" else "imagefolder:made"
        changes = {"unlabelled": Unlabelled("fixmatch", ratio=1, source=source_folder)}
    source = spec_of("beside", train_size=2, **changes)
    trained(folder, source)
    run = from_(source, dataset=dataset, images=OTHER_SPLIT)
    assert "images that the source learned from are test images" in told(folder, run)


def test_images_that_are_there_no_more_are_told_where_they_would_be_shown_anew(folder: Path) -> None:
    source = start_of(image_px=8)
    trained(folder, source)
    (folder / "flat/a/0.png").unlink()
    run = from_(source, images=SPLIT)
    assert "has other images than the source learned from" in told(folder, run)


def test_digits_that_are_cut_out_anew_as_files_are_known_again(folder: Path, digits: LoadedDataset) -> None:
    """A source whose images are no files is made as large as those of a run, in its colours."""
    source = start_of(dataset="digits", images=ImageReading(), image_px=0)
    trained(folder, source)
    seen = pl.read_parquet(folder / "project/runs/start" / source.run_id / "subset.parquet")["index"]
    for place in seen[:4]:
        image = Image.fromarray(np.asarray(digits.train.images[place, 0]))
        image.save(folder / "flat/a" / f"digit{place}.png")
    run = from_(source, images=replace(SPLIT, split=0.5))
    found = load_dataset("imagefolder:flat", folder, 12, run.images)
    assert len(found.test.labels) == 22
    line = told(folder, run)
    assert "of 30 images that the source learned from are test images" in line


def test_the_audit_tells_of_a_further_test_set_that_a_run_itself_learns_from(folder: Path) -> None:
    shutil.copytree(folder / "flat", folder / "copies")
    trained(folder, spec_of("own", tests=(("more", "imagefolder:copies"),)))
    trained(
        folder,
        spec_of("sound", tests=(("other", "digits"),), dataset="digits", image_px=0, images=ImageReading()),
    )
    runs = RunLog(ProjectPaths(folder / "project")).runs()
    assert dict(runs.select("experiment", "tests_in_training").rows()) == {"own": 20, "sound": 0}
    found = [one for one in audit(AuditRecord.of_runs(runs)) if one.check == "test-in-training"]
    told = "Up to 20 images of further test sets are learned from, pixel for pixel."
    assert [(one.experiment, one.what) for one in found] == [("own", told)]


def test_images_without_labels_are_none_of_a_further_test_set(folder: Path) -> None:
    shutil.copytree(folder / "flat", folder / "more")
    shutil.copytree(folder / "flat", folder / "sketch")
    for kept in (folder / "sketch").glob("*/1*.png"):
        kept.unlink()
    unlabelled = Unlabelled("fixmatch", ratio=1, source="imagefolder:more")
    spec = spec_of("semi", train_size=10, unlabelled=unlabelled, tests=(("sketch", "imagefolder:sketch"),))
    rest = train(write_queued(folder / "project", spec)).trainer.rest
    tested = load_dataset("imagefolder:flat", folder, 12, SPLIT).test.hashes
    found = load_dataset("imagefolder:more", folder, 12, SPLIT)
    more = np.concatenate([found.train.hashes, found.test.hashes])
    sketch = load_tests("imagefolder:sketch", folder, found, CLASSES).hashes
    assert np.isin(sketch, tested).sum() not in (0, len(tested))
    assert rest is not None
    assert len(rest.images) == (~np.isin(more, [*tested, *sketch])).sum()
