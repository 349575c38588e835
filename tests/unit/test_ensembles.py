"""Mean probabilities of several runs: against hand-made cases and a plain loop."""

from __future__ import annotations

from functools import partial
from itertools import combinations

import numpy as np
import polars as pl
import pytest

from tests.fakes import fake_spec, write_run
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.stats.ensembles import (
    ENSEMBLES,
    EnsembleFailure,
    Members,
    accuracy_by_members,
    choose_sets,
    ensembles_table,
    gather_members,
)

CLASSES = 5


def predictions(run_id, seed, *, images=40, kept=CLASSES, hashes=None):
    """What a run with some skill says of `images` images, shuffled, its `kept` largest probabilities."""
    generator = np.random.default_rng(seed)
    labels = np.arange(images) % CLASSES
    logits = generator.normal(size=(images, CLASSES)) + 1.2 * np.eye(CLASSES)[labels]
    full = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    classes = np.tile(np.arange(CLASSES), (images, 1)) if kept == CLASSES else np.argsort(-full)[:, :kept]
    order = generator.permutation(images)
    frame = pl.DataFrame(
        {
            "run_id": run_id,
            "evaluation": "last",
            "index": np.arange(images),
            "label": labels,
            "hash": np.arange(images, dtype=np.uint64) if hashes is None else hashes,
            "classes": classes,
            "probabilities": np.take_along_axis(full, classes, 1).astype(np.float32),
        }
    ).with_columns(pl.col("classes", "probabilities").arr.to_list())
    return frame[order.tolist()], full


@pytest.fixture(scope="module")
def five():
    return [predictions(f"run{seed}", seed) for seed in range(5)]


def test_accuracy_is_that_of_a_plain_loop_over_all_sets(five):
    members = gather_members(pl.concat(frame for frame, _ in five))
    full = np.stack([probabilities for _, probabilities in five])
    for row in accuracy_by_members(members):
        expected = [
            (full[list(chosen)].mean(axis=0).argmax(axis=1) == members.labels).mean()
            for chosen in combinations(range(5), row["members"])
        ]
        assert row["n_ensembles"] == len(expected)
        assert row["accuracy"] == pytest.approx(np.mean(expected))
        assert (row["accuracy_min"], row["accuracy_max"]) == (min(expected), max(expected))
    assert row["gain"] > 0.05


def test_images_are_matched_by_their_index_whatever_the_order_of_the_file(five):
    frames = [frame for frame, _ in five]
    assert np.array_equal(
        gather_members(pl.concat(frames)).probabilities,
        gather_members(pl.concat(frame.sort("index") for frame in frames)).probabilities,
    )


def test_the_best_evaluation_is_not_looked_at(five):
    frame, _ = five[0]
    best = frame.with_columns(pl.lit("best").alias("evaluation"), pl.lit("other").alias("run_id"))
    assert gather_members(pl.concat([frame, best])) == EnsembleFailure(
        "An ensemble needs at least 2 runs with predictions, got 1."
    )


def test_different_test_images_are_refused_in_words(five):
    other, _ = predictions("other", 9, hashes=np.arange(40, dtype=np.uint64) + 1)
    shorter, _ = predictions("shorter", 9, images=39)
    for odd in (other, shorter):
        found = gather_members(pl.concat([five[0][0], odd]))
        assert isinstance(found, EnsembleFailure)
        assert found.reason.startswith("An ensemble cannot mix runs that were tested on different images: ")


def test_what_ten_largest_leave_is_spread_over_the_other_classes():
    members = Members(
        labels=np.array([3]),
        classes=np.array([[[2, 0]]]),
        probabilities=np.array([[[0.5, 0.3]]], np.float32),
    )
    assert members.dense(slice(None))[0, 0].tolist() == pytest.approx([0.3, 0.1, 0.5, 0.1])


def test_a_few_largest_probabilities_order_nearly_as_all_do():
    some, all_of_them = (
        accuracy_by_members(gather_members(pl.concat(predictions(f"r{s}", s, kept=k)[0] for s in range(4))))
        for k in (4, CLASSES)
    )
    assert some[0]["accuracy"] == all_of_them[0]["accuracy"]
    # Of five classes, four kept tell the fifth exactly.
    assert [row["accuracy"] for row in some] == pytest.approx([row["accuracy"] for row in all_of_them])


def test_sets_are_distinct_repeatable_and_bounded():
    for count, size in ((6, 3), (12, 6), (60, 30)):
        sets = list(choose_sets(count, size, seed=3, most=50))
        assert len(set(sets)) == len(sets) == min(50, len(sets))
        assert all(len(set(chosen)) == size and max(chosen) < count for chosen in sets)
        assert sets == list(choose_sets(count, size, seed=3, most=50))
        assert len(sets) == 20 or sets != list(choose_sets(count, size, seed=4, most=50))


def test_the_table_has_a_block_per_size_and_says_why_there_is_none(tmp_path):
    project = ProjectPaths(tmp_path)
    for size, seeds in ((40, (0, 1, 2)), (80, (0,))):
        for seed in seeds:
            write_run(project, fake_spec(train_size=size, seed=seed))
    write_run(project, fake_spec(train_size=40, seed=9), state="failed")
    log = RunLog(project)
    table = ensembles_table(log.runs(), partial(log.table, "predictions"))
    assert dict(table.schema) == dict(ENSEMBLES)
    assert table.select("train_size", "n_runs", "members").rows() == [
        (40, 3, 1),
        (40, 3, 2),
        (40, 3, 3),
        (80, 1, None),
    ]
    assert table["ensemble_failure"][-1] == "An ensemble needs at least 2 runs with predictions, got 1."
