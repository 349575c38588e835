from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.fakes import fake_dataset, fake_spec, write_run
from tests.unit.record_desk import said
from tui_datasize.answers import overlap as overlap_answer
from tui_datasize.answers.answer import Asked
from tui_datasize.answers.record import Reading, Record
from tui_datasize.experiments.spec import SubsetSpec
from tui_datasize.experiments.subsets import draw
from tui_datasize.metric import METRICS_OFFERED
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.tables import DATASETS
from tui_datasize.stats.overlap import DRAWS, DrawOverlap, find_draws, find_overlaps
from tui_datasize.stats.overlap_chance import (
    hypergeometric_interval,
    largest_expected,
    largest_expected_of_classes,
    largest_observed,
    largest_observed_of_classes,
)
from tui_datasize.stats.overlap_tables import (
    OVERLAPS,
    PER_CLASS_OVERLAP,
    overlap_table,
    per_class_table,
)


def frames(labels: np.ndarray, *chosen: list[int] | np.ndarray) -> tuple[pl.DataFrame, ...]:
    """Draws, subsets and datasets for some draws of one size from images with these labels."""
    runs = [f"r{i}" for i in range(len(chosen))]
    draws = pl.DataFrame(
        {
            "experiment": "e",
            "dataset": "d",
            "train_size": len(chosen[0]),
            "subset_strategy": "random",
            "subset_nested": True,
            "classes": "all",
            "imbalance": 1.0,
            "subset_seed": range(len(runs)),
            "draw": [f"d{i}" for i in range(len(runs))],
            "run_id": runs,
            "n_runs": 1,
        },
        schema=dict(DRAWS),
    )
    subsets = pl.concat(
        pl.DataFrame({"run_id": run, "index": np.asarray(index), "label": labels[np.asarray(index)]})
        for run, index in zip(runs, chosen, strict=True)
    )
    images = np.bincount(labels)
    datasets = pl.DataFrame(
        {
            "run_id": runs[0],
            "dataset": "d",
            "label": range(len(images)),
            "class_name": [f"class {label}" for label in range(len(images))],
            "train_images": images,
            "test_images": 1,
            "fingerprint": "",
        },
        schema=dict(DATASETS),
    )
    return draws, subsets, datasets


def test_matrices_of_known_draws():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    (overlap,) = find_overlaps(*frames(labels, [0, 1, 4, 5], [0, 2, 4, 5], [2, 3, 6, 7]))
    assert overlap.draws == ("d0", "d1", "d2")
    assert overlap.train_size == 4
    np.testing.assert_allclose(overlap.fraction, [[1, 0.75, 0], [0.75, 1, 0.25], [0, 0.25, 1]])
    np.testing.assert_allclose(overlap.jaccard, [[1, 3 / 5, 0], [3 / 5, 1, 1 / 7], [0, 1 / 7, 1]])
    mean, _, _ = overlap.expectation("fraction")
    assert mean == pytest.approx(0.5)


def test_tables_of_known_draws():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    overlaps = find_overlaps(*frames(labels, [0, 1, 4, 5], [0, 2, 4, 5]))
    pairs = overlap_table(overlaps)
    assert pairs.schema == pl.Schema(OVERLAPS)
    # First over all images, then class by class.
    assert pairs.select("draw_a", "draw_b", "class_name", "shared", "fraction", "is_outside").rows() == [
        ("d0", "d1", None, 3, 0.75, False),
        ("d0", "d1", "class 0", 1, 0.5, False),
        ("d0", "d1", "class 1", 2, 1.0, False),
    ]
    classes = per_class_table(overlaps)
    assert classes.schema == pl.Schema(PER_CLASS_OVERLAP)
    # Highest first.
    assert classes.select("class_name", "fraction", "expected", "pairs", "pairs_outside").rows() == [
        ("class 1", 1.0, 0.5, 1, 0),
        ("class 0", 0.5, 0.5, 1, 0),
    ]


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 4), st.integers(1, 5))
def test_overlap_equals_set_arithmetic(seed, size, draws, classes):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, 60)
    chosen = [rng.permutation(60)[:size] for _ in range(draws)]
    (overlap,) = find_overlaps(*frames(labels, *chosen))
    for i, a in enumerate(chosen):
        for j, b in enumerate(chosen):
            both = set(a.tolist()) & set(b.tolist())
            assert overlap.fraction[i, j] == pytest.approx(len(both) / size)
            assert overlap.jaccard[i, j] == pytest.approx(len(both) / len(set(a.tolist()) | set(b.tolist())))
            for c, label in enumerate(overlap.labels):
                assert overlap.shared[c, i, j] == sum(labels[index] == label for index in both)
    assert (overlap.expected >= 0).all()
    assert (overlap.expected <= 1).all()
    mean, low, high = overlap.expectation("fraction")
    assert low <= mean <= high


@pytest.mark.parametrize("strategy", ["stratified", "random", "balanced"])
def test_independent_draws_share_what_is_expected(strategy):
    labels = np.repeat(np.arange(4), [400, 300, 200, 100])
    chosen = [draw(labels, 200, SubsetSpec(strategy, seed=seed)) for seed in range(30)]
    overlaps = find_overlaps(*frames(labels, *chosen))
    (overlap,) = overlaps
    off_diagonal = overlap.fraction[np.triu_indices(30, 1)]
    mean, low, high = overlap.expectation("fraction")
    # The overlaps of different pairs are uncorrelated, so their mean has a standard error of sd / sqrt(435).
    assert abs(off_diagonal.mean() - mean) < 4 * off_diagonal.std() / np.sqrt(435)
    assert 0.9 < ((off_diagonal >= low) & (off_diagonal <= high)).mean() < 0.99
    if strategy == "stratified":
        assert mean == pytest.approx(200 / 1000)
    classes = per_class_table(overlaps)
    outside = classes["pairs_outside"].sum() / classes["pairs"].sum()
    assert 0.005 < outside < 0.08


def test_the_same_images_overlap_wholly_and_are_outside_of_chance():
    labels = np.repeat(np.arange(2), 500)
    index = draw(labels, 100, SubsetSpec("first"))
    overlaps = find_overlaps(*frames(labels, index, index))
    row = overlap_table(overlaps).row(0, named=True)
    assert row["fraction"] == row["jaccard"] == 1
    assert row["high"] < 1
    assert row["is_outside"]
    drawn = per_class_table(overlaps).filter(pl.col("pairs") > 0)
    assert drawn["pairs_outside"].to_list() == [1]


def test_a_class_that_no_draw_holds_has_no_fraction():
    labels = np.repeat(np.arange(2), 10)
    classes = per_class_table(find_overlaps(*frames(labels, [0, 1], [1, 2])))
    assert classes.select("label", "fraction", "pairs").rows() == [(0, 0.5, 1), (1, None, 0)]


def test_without_class_totals_nothing_is_expected():
    labels = np.repeat(np.arange(2), 10)
    draws, subsets, datasets = frames(labels, [0, 11], [0, 12])
    overlaps = find_overlaps(draws, subsets, datasets.clear())
    assert overlaps[0].fraction[0, 1] == 0.5
    assert np.isnan(overlaps[0].expectation("fraction")).all()
    table = overlap_table(overlaps)
    for column in ("expected", "is_outside", "expected_largest"):
        assert table[column].to_list() == [None] * 3
    classes = per_class_table(overlaps)
    assert classes["expected"].null_count() == classes.height == 2
    assert classes["pairs_outside"].to_list() == [0, 0]
    assert sorted(classes["class_name"]) == ["0", "1"]


@pytest.fixture(scope="module")
def thirty_draws() -> DrawOverlap:
    labels = np.repeat(np.arange(4), [400, 300, 200, 100])
    chosen = [draw(labels, 200, SubsetSpec("random", seed=seed)) for seed in range(30)]
    (overlap,) = find_overlaps(*frames(labels, *chosen))
    return overlap


def test_jaccard_bounds_are_those_of_the_shared_images(thirty_draws):
    fraction, jaccard = (thirty_draws.expectation(measure) for measure in ("fraction", "jaccard"))
    # Draws of equal size share f of one, and f / (2 - f) of both; up to the means over pairs.
    assert jaccard == pytest.approx([f / (2 - f) for f in fraction], rel=1e-4)
    np.testing.assert_array_equal(thirty_draws.matrix("jaccard"), thirty_draws.jaccard)


def test_the_mean_over_pairs_lies_in_its_interval(thirty_draws):
    table = per_class_table([thirty_draws])
    assert table["is_outside"].to_list() == [False] * 4
    pair = per_class_table(find_overlaps(*frames(np.repeat([0, 1], 500), np.arange(99), np.arange(99))))
    # Of one pair the interval is the exact one, and wider than that of a mean over many.
    spans = [(frame["high"] - frame["low"]).min() for frame in (table, pair.filter(pl.col("label") == 0))]
    assert spans[0] < spans[1] / 3
    row = pair.row(0, named=True)
    assert row["jaccard_high"] == pytest.approx(row["high"] / (2 - row["high"]))


@pytest.mark.parametrize("measure", ["fraction", "jaccard"])
def test_the_largest_overlap_that_chance_gives_is_that_of_a_simulation(measure):
    labels = np.repeat(np.arange(3), [60, 40, 20])
    chosen = [draw(labels, 30, SubsetSpec("random", seed=seed)) for seed in range(180)]
    found = [find_overlaps(*frames(labels, *chosen[i : i + 3]))[0] for i in range(0, 180, 3)]
    for observed, expected in (
        (largest_observed, largest_expected),
        (largest_observed_of_classes, largest_expected_of_classes),
    ):
        seen = np.array([observed(overlap, measure) for overlap in found])
        told = np.mean([expected(overlap, measure) for overlap in found])
        assert abs(seen.mean() - told) < 3 * seen.std() / np.sqrt(len(seen))


def test_one_draw_has_no_pairs_but_an_expectation():
    labels = np.repeat(np.arange(2), 10)
    overlaps = find_overlaps(*frames(labels, [0, 1, 10, 11]))
    assert overlaps[0].fraction.tolist() == [[1.0]]
    assert overlaps[0].expectation("fraction")[0] == pytest.approx(4 / 20)
    assert overlap_table(overlaps).is_empty()
    assert per_class_table(overlaps).is_empty()


def test_no_draws_give_empty_tables():
    draws, subsets, datasets = frames(np.array([0, 1]), [0])
    assert find_overlaps(draws.clear(), subsets, datasets) == []
    assert find_overlaps(draws, subsets.clear(), datasets) == []
    assert overlap_table([]).schema == pl.Schema(OVERLAPS)
    assert per_class_table([]).schema == pl.Schema(PER_CLASS_OVERLAP)


def test_runs_that_share_a_draw_are_one_draw(finished):
    log = RunLog(finished)
    draws = find_draws(log.runs())
    assert draws.schema == pl.Schema(DRAWS)
    assert draws.select("train_size", "draw", "n_runs").rows() == [
        (size, name, 3) for size in (40, 80, 160, 320, 640, 1280) for name in ("d0", "d1")
    ]
    chosen = draws["run_id"]
    overlaps = find_overlaps(draws, log.table("subsets", chosen), log.datasets(chosen))
    assert [overlap.train_size for overlap in overlaps] == [40, 80, 160, 320, 640, 1280]
    labels = fake_dataset("digits").train_labels
    for overlap in overlaps:
        a, b = (set(draw(labels, overlap.train_size, SubsetSpec(seed=seed)).tolist()) for seed in (0, 1))
        assert overlap.fraction[0, 1] == pytest.approx(len(a & b) / overlap.train_size)
        assert overlap.expectation("fraction")[0] == pytest.approx(overlap.train_size / 1437, rel=0.01)


def test_a_draw_is_represented_by_the_most_trusted_run_that_began(project):
    write_run(project, fake_spec(seed=0), state="queued")
    write_run(project, fake_spec(seed=1), state="failed")
    finished = write_run(project, fake_spec(seed=2))
    write_run(project, fake_spec(seed=3, subset_seed=9), state="queued")
    draws = find_draws(RunLog(project).runs())
    assert draws.select("run_id", "n_runs").rows() == [(finished.run_id, 2)]


def test_draws_of_one_seed_and_different_strategy_have_different_names(project):
    for strategy in ("stratified", "random"):
        write_run(project, fake_spec(subset=SubsetSpec(strategy)))
    assert find_draws(RunLog(project).runs())["draw"].to_list() == [
        "random nested d0",
        "stratified nested d0",
    ]


@given(st.lists(st.tuples(st.integers(1, 400), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30))
def test_the_hypergeometric_interval_equals_that_of_scipy(cases):
    total = np.array([case[0] for case in cases])
    a, b = (np.array([round(case[0] * case[i]) for case in cases]) for i in (1, 2))
    low, high = hypergeometric_interval(a, b, total)
    below, above = (stats.hypergeom.cdf(k, total, a, b) for k in (low, high))
    # The smallest numbers at which the distribution reaches 2.5 % and 97.5 %.
    assert (below >= 0.025 - 1e-9).all()
    assert (above >= 0.975 - 1e-9).all()
    assert (stats.hypergeom.cdf(low - 1, total, a, b) < 0.025 + 1e-9).all()
    assert (stats.hypergeom.cdf(high - 1, total, a, b) < 0.975 + 1e-9).all()


def test_long_tails_are_draws_of_their_own_and_halves_are_compared_apart():
    runs = pl.DataFrame(
        {
            "run_id": ["plain", "again", "tail", "half"],
            "experiment": "e",
            "dataset": "d",
            "classes": ["all", "all", "all", "half=source"],
            "train_size": 4,
            "subset_strategy": "stratified",
            "subset_nested": True,
            "imbalance": [1.0, 1.0, 10.0, 1.0],
            "subset_seed": 0,
            "state": "succeeded",
        }
    )
    draws = find_draws(runs)
    named = dict(draws.select("run_id", "draw").iter_rows())
    assert named == {
        "plain": "stratified nested d0",
        "tail": "stratified nested 1:10.0 d0",
        "half": "d0",
    }
    subsets = pl.DataFrame({"run_id": ["plain", "tail", "half"], "index": [0] * 3, "label": [0] * 3})
    _, _, datasets = frames(np.zeros(4, dtype=int), [0])
    assert [overlap.draws for overlap in find_overlaps(draws, subsets, datasets)] == [
        ("stratified nested d0", "stratified nested 1:10.0 d0"),
        ("d0",),
    ]


def test_the_overlap_of_a_size_is_a_sentence_a_matrix_and_its_classes(finished):
    log = RunLog(finished)
    record = Record(Reading(log, log.runs("digits")), METRICS_OFFERED["test_accuracy"])
    largest = record.reading.overlaps[-1]
    answer = overlap_answer.ask(record)
    mean, low, high = (100 * value for value in largest.expectation("fraction"))
    share = 100 * largest.fraction[0, 1]
    assert answer.headline == (
        f"{share:.1f} % images in common on average, 2 draws of 1,280 images; independent draws would have "
        f"{mean:.1f} % ({low:.1f} to {high:.1f})."
    )
    (sizes, pairs, classes) = answer.tables
    assert sizes.frame["train_size"].to_list() == [40, 80, 160, 320, 640, 1280]
    assert (pairs.frame.height, classes.frame.height) == (6, 10)
    matrix, bars, *others = answer.figures
    assert (matrix.title, matrix.values) == ("1,280 images", [[None, share], [share, None]])
    assert (len(bars.bars), len(others)) == (10, 5)
    outside = sum(bar.outside != 0 for bar in bars.bars)
    assert said(answer).count(f"{outside} of 10 classes li") == 1
    assert (answer.views, answer.sizes) == (2, 6)
    jaccard = overlap_answer.ask(replace(record, asked=Asked(view=1, size=1)))
    assert jaccard.figures[0].title == "40 images"
    assert jaccard.figures[0].values[0][1] == 100 * record.reading.overlaps[0].jaccard[0, 1]


def test_one_draw_and_none_have_no_overlap(finished):
    log = RunLog(finished)
    runs = log.runs("digits")
    metric = METRICS_OFFERED["test_accuracy"]
    one = overlap_answer.ask(Record(Reading(log, runs.filter(subset_seed=0)), metric))
    assert "Add draws to compare: subset = { seeds = [0, 1] }" in one.why_not
    waiting = runs.with_columns(state=pl.lit("queued"))
    none = overlap_answer.ask(Record(Reading(log, waiting), metric))
    assert "imported runs have none" in none.why_not
