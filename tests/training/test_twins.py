"""Kind: a picture in training and test, not pixel for pixel. It is found, and the audit names examples.

Saved anew as a JPEG, resized, brightened, without its colours; and what only seems so is not told: other
pictures, flat ones, equal pixels (which have a finding of their own).
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageEnhance

from tests.fakes import fake_spec
from tests.unit.test_audit import SOUND, record_of
from tui_datasize.answers.checks.audit import audit, runs_to_read
from tui_datasize.experiments.pretext import LearningTask
from tui_datasize.experiments.spec import ClassSplit
from tui_datasize.experiments.subsets import chosen_classes
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.schema import RUNS, SUBSET
from tui_datasize.runlog.tables import read_datasets, read_tables
from tui_datasize.training import prepare
from tui_datasize.training.datasets import load_dataset
from tui_datasize.training.task import make_task
from tui_datasize.training.twins import SIDE, find_twins, thumbnails

PX = 48


def picture(seed: int) -> Image.Image:
    """Blots of colour, as photos are made of."""
    blots = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(blots).resize((PX, PX), Image.Resampling.BICUBIC)


def saved(image: Image.Image, quality: int) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "good JPEG": lambda image: saved(image, 90),
    "bad JPEG": lambda image: saved(image, 40),
    "resized": lambda image: image.resize((20, 20)).resize((PX, PX)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "noise": lambda image: Image.blend(image, Image.effect_noise((PX, PX), 60).convert("RGB"), 0.05),
}


def arrays(images: list[Image.Image]) -> np.ndarray:
    return thumbnails(np.stack([np.asarray(image) for image in images]).transpose(0, 3, 1, 2))


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_found_and_no_others(kind):
    train = [picture(seed) for seed in range(300)]
    test = [picture(seed) for seed in range(1000, 1200)] + [COPIES[kind](image) for image in train[40:60]]
    assert find_twins(arrays(train), arrays(test)) == {40 + i: 200 + i for i in range(20)}


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, SIDE, SIDE), (1, 37, 90)])
def test_images_of_any_size_have_a_thumbnail(shape):
    images = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
    small = thumbnails(images)
    assert small.shape == (2, SIDE, SIDE)
    assert np.abs(small.mean(axis=(1, 2)) - images.mean(axis=(1, 2, 3))).max() < 20


def test_flat_pictures_are_no_copies_of_one_another():
    flat = [Image.new("RGB", (PX, PX), (value, value, value)) for value in (0, 3, 255)]
    assert find_twins(arrays(flat), arrays(flat)) == {}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of five and three pictures; a dog of the test is a bad copy, a cat the same file."""
    for label, name in enumerate(("cat", "dog")):
        for split, count in (("train", 5), ("test", 3)):
            (tmp_path / "pets" / split / name).mkdir(parents=True)
            for i in range(count):
                picture(100 * label + 50 * (split == "test") + i).save(
                    tmp_path / "pets" / split / name / f"{i}.png"
                )
    picture(103).save(tmp_path / "pets/test/dog/copy.jpg", quality=60)
    (tmp_path / "pets/test/cat/same.png").write_bytes((tmp_path / "pets/train/cat/2.png").read_bytes())
    return tmp_path


def test_a_data_set_knows_its_twins_by_their_files_but_not_equal_pixels(folder):
    dataset = load_dataset("imagefolder:pets", folder)
    assert dataset.twins == {8: ("train/dog/3.png", "test/dog/copy.jpg", 7)}
    assert not [*(folder / "arrays").glob("*/*thumbnails*")]


@pytest.mark.parametrize(
    ("half", "learned", "found"),
    [
        ("all", "classification", 1),
        ("source", "classification", 1),
        ("target", "rotation", 0),
        ("all", "rotation", 1),
    ],
)
def test_the_audit_tells_of_twins_in_the_subsets_of_a_run(folder, half, learned, found):
    of_dogs = next(seed for seed in range(20) if chosen_classes(2, ClassSplit("source", seed)) == (1,))
    size = 10 if half == "all" else 5
    spec = fake_spec(
        dataset="imagefolder:pets",
        train_size=size,
        classes=ClassSplit(half, of_dogs),
        task=LearningTask(learned),
    )
    whole = load_dataset("imagefolder:pets", folder)
    task = make_task(spec, whole)
    paths = ProjectPaths(folder).run(spec.experiment, spec.run_id)
    paths.directory.mkdir(parents=True)
    prepare._describe(paths, task, prepare._twins(task, whole))
    row = {**SOUND, "run_id": spec.run_id, "train_size": size, "seed": 0, "subset_seed": 0, "task": learned}
    subsets, _ = read_tables([paths], lambda run: run.subset, SUBSET)
    datasets, _ = read_datasets([paths])
    record = record_of(pl.DataFrame([row], schema=dict(RUNS)), subsets=subsets, datasets=datasets)
    told = [one.what for one in audit(record) if one.check == "near-duplicates"]
    total = 8 if half == "all" else 4
    of_all = (
        f"{total} test images ({100 / total:.1f} %)" if learned == "classification" else "the test images"
    )
    expected = (
        f"1 of {of_all} look almost like one of the training subsets, such as test/dog/copy.jpg and "
        "train/dog/3.png."
    )
    assert told == [expected] * found
    assert runs_to_read(record.runs)[0] == [spec.run_id]
