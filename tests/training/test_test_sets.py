"""Further test sets: measured at each evaluation, in the shape and with the labels of what is trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from tests.training.conftest import QueueRun
from tests.training.helpers import evaluations, small_spec, train, train_until, weights
from tui_datasize.errors import DataError, DatasizeError
from tui_datasize.experiments.catalogue import NEWEST, refuse_tests
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.spec import ClassSplit
from tui_datasize.experiments.sweep import check_file, plan_runs
from tui_datasize.experiments.variants import variant_labels
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.datasets import load_tests

KEPT = (3, 7)


@pytest.fixture
def some(tmp_path: Path, digits: LoadedDataset) -> str:
    """Test images of two classes as a folder of larger pictures in colour."""
    for label in KEPT:
        folder = tmp_path / "some" / str(label)
        folder.mkdir(parents=True)
        for place in np.flatnonzero(digits.test.labels == label):
            Image.fromarray(np.asarray(digits.test.images)[place, 0]).convert("RGB").save(
                folder / f"{place:03}.png"
            )
    return f"imagefolder:{tmp_path / 'some'}"


def scores(paths: RunPaths, split: str) -> list[dict[str, object]]:
    rows = [row for row in evaluations(paths) if row["split"] == split]
    return [{key: value for key, value in row.items() if key != "split"} for row in rows]


def test_they_are_measured_as_the_test_set_is_and_change_nothing(queue_run: QueueRun, some: str) -> None:
    plain, paths = queue_run(small_spec()), queue_run(small_spec(tests=(("same", "digits"), ("some", some))))
    undisturbed, session = train(plain), train(paths)
    assert torch.equal(weights(session), weights(undisturbed))
    assert scores(paths, "same") == scores(paths, "test") == scores(plain, "test")
    confusion = pl.read_parquet(paths.confusion).filter(pl.col("label").is_in(KEPT), evaluation="last")
    right = confusion.filter(pl.col("label") == pl.col("predicted"))["images"].sum()
    assert scores(paths, "some")[-1]["accuracy"] == pytest.approx(right / confusion["images"].sum())
    assert len(scores(paths, "some")) == 5


def test_a_run_that_goes_on_measures_them_once(queue_run: QueueRun, some: str) -> None:
    spec = small_spec(tests=(("some", some),))
    whole, broken = queue_run(spec), queue_run(spec)
    train(whole)
    train_until(broken, 20)
    train(broken)
    assert evaluations(broken) == evaluations(whole)


def test_of_half_the_classes_its_own_are_measured(digits: LoadedDataset, some: str, tmp_path: Path) -> None:
    kept = load_tests(some, tmp_path / "data", digits, ("1", "7"))
    assert set(kept.labels.tolist()) == {1}
    assert len(kept.labels) == (digits.test.labels == 7).sum()
    assert np.array_equal(
        np.asarray(kept.images[slice(0, 1)])[0], np.asarray(digits.test.images)[digits.test.labels == 7][0]
    )


def test_of_the_other_half_alone_nothing_can_be_measured(
    digits: LoadedDataset, some: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="has no image of the classes that are trained on: 0, 1"):
        load_tests(some, tmp_path / "data", digits, ("0", "1"))


@pytest.mark.parametrize(
    ("tests", "told"),
    [
        ('{ far = "imagefolder:far" }', "far: is not there; correct the path"),
        ('{ far = "faraway" }', "experiments.e.tests.far: unknown data set 'faraway'"),
        ('{ test = "digits" }', "'test' cannot name a test set; each run has a test split"),
        ('{ "a b" = "digits" }', "'a b' cannot name a test set; use letters"),
        ('{ far = "imagefolder:others" }', "classes that the data set has not: z"),
        ('{ far = "imagefolder:empty" }', "empty: no images"),
        ('{ far = "imagefolder:hollow" }', "experiments.e.tests.far: DATA/hollow: no images"),
    ],
)
def test_what_cannot_be_measured_is_told_before_it_is_queued(tmp_path: Path, tests: str, told: str) -> None:
    for name in ("own/train/a", "own/test/a", "others/z", "empty"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "1.png").write_bytes(b"")
    (tmp_path / "hollow/a").mkdir(parents=True)
    told = told.replace("DATA", str(tmp_path))
    file = tmp_path / "experiments.toml"
    file.write_text(
        f'paths.data = "{tmp_path}"\n[experiments.e]\ndataset = "imagefolder:own"\nmodel = "mlp"\n'
        f"sizes = [1]\nbudget = {{ updates = 1 }}\ntests = {tests}\n",
        encoding="utf-8",
    )
    with pytest.raises(DatasizeError) as error:
        plan_runs((project := load_project(file)).experiment("e"), project)
    assert told in error.value.line
    # The images that it trains on are here: what is wrong is not that they are missing.
    found = check_file(file)
    assert [told in one.line for one in found.errors] == [True]
    assert not found.unchecked


def test_classes_of_digits_are_known_before_a_run(tmp_path: Path) -> None:
    for name in ("7", "zebra"):
        (tmp_path / "far" / name).mkdir(parents=True)
        (tmp_path / "far" / name / "1.png").write_bytes(b"")
    for trained_on in ("digits", "mnist"):
        refuse_tests("digits", trained_on, tmp_path, NEWEST)
        with pytest.raises(DataError, match="classes that the data set has not: zebra"):
            refuse_tests("imagefolder:far", trained_on, tmp_path, NEWEST)
    # Only its files would tell.
    refuse_tests("imagefolder:far", "cifar10", tmp_path, NEWEST)


def test_the_sets_are_part_of_what_a_run_is() -> None:
    spec = small_spec(tests=(("some", "digits"),))
    assert spec.from_dict(spec.to_dict()) == spec
    assert spec.run_id != small_spec().run_id
    assert spec.classes == ClassSplit()
    labels = variant_labels([spec, small_spec()])
    assert [*labels.values()] == ["tests=some:digits", "tests=none"]
