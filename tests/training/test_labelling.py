"""Runs along a path: their images, what decides them and what does not, and what a kill changes: nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from tests.training.conftest import Compute, QueueRun
from tests.training.helpers import evaluations, small_spec, train, train_until, write_queued
from tests.training.pack_runs import after, die, ends, work, work_until_death
from tui_datasize.errors import DataError
from tui_datasize.experiments.packing import pack_key
from tui_datasize.experiments.spec import CHOSEN, Budget, ModelSpec, RunSpec, SubsetSpec
from tui_datasize.experiments.subsets import draw
from tui_datasize.runlog.claim import RunOutcome
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.training import prepare as prepare_module
from tui_datasize.training.arrays import ImageSplit, LoadedDataset
from tui_datasize.training.packs.fused import Fused
from tui_datasize.training.prepare import Shared, prepare
from tui_datasize.training.transforms import normalisation

LAST = small_spec(
    train_size=60, subset=SubsetSpec("margin", seed=3, path=(20, 40, 60)), budget=Budget("updates", 12)
)


def path_to(last: RunSpec) -> list[RunSpec]:
    path = [last]
    while before := path[0].before:
        path.insert(0, before)
    return path


def train_path(first: RunPaths, last: RunSpec = LAST) -> list[RunPaths]:
    """Train all runs of a path in the project of its first, whose directory is there."""
    project = first.directory.parents[2]
    runs = [first, *(write_queued(project, spec) for spec in path_to(last)[1:])]
    for run in runs:
        train(run)
    return runs


def images_of(run: RunPaths) -> pl.DataFrame:
    return pl.read_parquet(run.subset)


@pytest.fixture
def first(queue_run: QueueRun) -> RunPaths:
    return queue_run(path_to(LAST)[0])


def test_a_run_keeps_the_images_before_and_adds_those_that_its_source_is_least_sure_of(first, digits):
    labels = digits.train.labels
    sessions = [train(first)]
    project = first.directory.parents[2]
    runs = [first, *(write_queued(project, spec) for spec in path_to(LAST)[1:])]
    sessions += [train(run) for run in runs[1:]]
    start, middle, last = map(images_of, runs)
    assert start["index"].to_list() == draw(labels, 20, SubsetSpec("random", seed=3)).tolist()
    assert (start["step"].unique().to_list(), start["score"].null_count()) == ([20], 20)
    view = normalisation(digits.mean, digits.std, torch.device("cpu"))
    for session, before, now in zip(sessions, (start, middle), (middle, last), strict=False):
        with torch.inference_mode():
            model = session.trainer.evaluated_model.eval()
            best = (
                model(view(torch.from_numpy(digits.train.images[:].copy()))).softmax(dim=1).sort(dim=1).values
            )
        margin = (best[:, -1] - best[:, -2]).numpy()
        margin[before["index"].to_numpy()] = 2
        new = now["index"].to_numpy()[before.height :]
        assert new.tolist() == np.argsort(margin, kind="stable")[:20].tolist()
        assert now["score"].to_list()[before.height :] == pytest.approx(margin[new], abs=1e-6)
        assert now.head(before.height).equals(before)
        assert now["step"].to_list()[before.height :] == [now.height] * 20
        assert now["label"].to_list() == labels[now["index"].to_numpy()].tolist()


@pytest.mark.parametrize("strategy", CHOSEN)
def test_no_label_outside_the_subset_and_no_test_image_decides_anything(
    strategy, queue_run, digits, monkeypatch
):
    last = replace(LAST, subset=replace(LAST.subset, strategy=strategy))
    plain = train_path(queue_run(path_to(last)[0]), last)
    outside = np.setdiff1d(np.arange(len(digits.train.labels)), images_of(plain[-1])["index"].to_numpy())
    noise = np.random.default_rng(0)
    labels = digits.train.labels.copy()
    labels[outside] = noise.integers(0, 10, len(outside))
    pixels = noise.integers(0, 255, digits.test.images.shape, dtype=np.uint8)
    noisy = replace(
        digits,
        train=replace(digits.train, labels=labels),
        test=ImageSplit(pixels, digits.test.labels, digits.test.hashes),
    )
    assert not np.array_equal(labels, digits.train.labels)

    def load(*_: object) -> LoadedDataset:
        return noisy

    monkeypatch.setattr(prepare_module, "load_dataset", load)
    others = train_path(queue_run(path_to(last)[0]), last)
    for run, other in zip(plain, others, strict=True):
        assert images_of(run).equals(images_of(other))
        of_train = [[row for row in evaluations(one) if row["split"] == "train"] for one in (run, other)]
        assert of_train[0] == of_train[1]


def test_a_run_that_is_resumed_has_the_images_and_the_numbers_of_one_that_was_not(first, queue_run):
    undisturbed = train_path(first)
    killed = train_path(queue_run(path_to(LAST)[0]), path_to(LAST)[1])
    last = write_queued(killed[0].directory.parents[2], LAST)
    train_until(last, 7)
    session = train(last)
    assert session.has_resumed
    assert images_of(last).equals(images_of(undisturbed[-1]))
    assert evaluations(last) == evaluations(undisturbed[-1])


def test_a_run_whose_images_come_out_otherwise_begins_anew(first):
    runs = train_path(first, path_to(LAST)[1])
    last = write_queued(first.directory.parents[2], LAST)
    train_until(last, 7)
    # As of another kind of card, or of a source that was trained again.
    before = images_of(runs[1])
    order = [*range(1, 40), 0]
    before[order].write_parquet(runs[1].subset)
    session = prepare(last, 2, Shared(), print)
    assert not session.has_resumed


def test_typiclust_begins_with_typical_images_and_not_with_a_draw(queue_run):
    spec = path_to(replace(LAST, subset=replace(LAST.subset, strategy="typiclust")))[0]
    run = queue_run(spec)
    train(run)
    images = images_of(run)
    assert images["score"].null_count() == 0
    # Ten digits among twenty clusters; a draw of twenty lacks some.
    assert images["label"].n_unique() >= 9


def test_images_before_a_half_of_the_classes_are_found_in_the_whole(queue_run):
    classes = replace(LAST.classes, half="target", seed=1)
    last = replace(path_to(LAST)[1], classes=classes, model=ModelSpec("cnn3", {"width": 4}))
    runs = train_path(queue_run(path_to(last)[0]), last)
    before, now = map(images_of, runs)
    assert now.head(20).equals(before)
    assert now["index"].n_unique() == 40
    assert now["label"].max() < 5


def test_lanes_of_a_pack_have_the_images_that_they_have_alone_also_after_their_process_has_died(
    first, queue_run, compute: Compute, monkeypatch
):
    specs = [LAST.before, replace(LAST.before, subset=replace(LAST.before.subset, strategy="badge"))]
    specs += [replace(LAST, subset=SubsetSpec("random"))]
    assert len({pack_key(spec) for spec in specs}) == 1
    project = first.directory.parents[2]
    train(first)
    train(write_queued(project, specs[1].before))
    lanes = [write_queued(project, spec) for spec in specs]
    compute(after(5, die))
    work_until_death(lanes, monkeypatch)
    compute(Fused)
    assert work(lanes) == 0
    assert [end[0] for end in ends(lanes)] == [RunOutcome.SUCCEEDED] * 3
    for spec, lane in zip(specs[:2], lanes, strict=False):
        alone = queue_run(spec.before)
        train(alone)
        alone = write_queued(alone.directory.parents[2], spec)
        train(alone)
        assert images_of(lane).equals(images_of(alone))


def test_what_is_missing_of_the_run_before_is_told_in_one_line(first):
    middle = write_queued(first.directory.parents[2], path_to(LAST)[1])
    harms = {
        "images of the run before cannot be read (FileNotFoundError)": lambda: None,
        "the source run has no checkpoint": lambda: (train(first), first.checkpoint.unlink()),
        "expected 20 images of this data set": lambda: images_of(first).head(9).write_parquet(first.subset),
        "images of the run before cannot be read (ComputeError)": lambda: first.subset.write_bytes(b"torn"),
    }
    for told, harm in harms.items():
        harm()
        with pytest.raises(DataError) as caught:
            prepare(middle, 1, Shared(), print)
        assert told in caught.value.line
        assert f"; `datasize-tui retry {middle.run_id}` trains the source again first" in caught.value.line
        assert "\n" not in caught.value.line
