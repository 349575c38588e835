"""Two trainings image by image: McNemar's exact test, its interval, images needed, and when it is said."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from tests.fakes import fake_spec, write_run
from tests.lazily import Lazily
from tests.unit.asking import ask
from tests.unit.record_desk import record_of, said
from tests.unit.test_groups import runs_frame
from tui_datasize.answers import variants
from tui_datasize.experiments.spec import ModelSpec
from tui_datasize.runlog.reader import RunLog
from tui_datasize.stats.single_runs import images_needed, mcnemar, right_answers, share_apart

contingency_tables = Lazily("statsmodels.stats.contingency_tables")


def answered(right):
    columns = {"index": range(len(right)), "hash": None, "right": right}
    return pl.DataFrame(columns, schema_overrides={"hash": pl.UInt64})


def two_models(both, only_first, only_second, neither):
    first = [True] * (both + only_first) + [False] * (only_second + neither)
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    return answered(first), answered(second)


@pytest.mark.parametrize(
    "cells", [(80, 5, 12, 3), (80, 9, 9, 2), (10, 0, 6, 0), (50, 0, 0, 50), (9, 31, 62, 1)]
)
def test_the_exact_test_equals_its_references(cells):
    found = mcnemar(*two_models(*cells))
    both, only_first, only_second, neither = cells
    table = [[both, only_first], [only_second, neither]]
    assert (found.n_images, found.only_first, found.only_second) == (sum(cells), only_first, only_second)
    assert found.p == pytest.approx(contingency_tables.mcnemar(table, exact=True).pvalue)
    if only_first + only_second:
        assert found.p == pytest.approx(stats.binomtest(only_first, only_first + only_second).pvalue)
    assert found.low < (only_second - only_first) / sum(cells) < found.high or only_first == only_second


def test_the_interval_holds_and_the_images_needed_give_the_power():
    rng = np.random.default_rng(1)
    delta, share = 0.02, 0.1
    n = images_needed(share, delta)
    tables = rng.multinomial(n, [0.85, (share - delta) / 2, (share + delta) / 2, 0.05], size=600)
    found = [mcnemar(*two_models(*cells)) for cells in tables[:150]]
    assert np.mean([one.low < delta < one.high for one in found]) > 0.9
    p = [stats.binomtest(int(a), int(a + b)).pvalue for _, a, b, _ in tables]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.8, abs=0.06)
    assert images_needed(0.004, 0.005) is None


def test_unrelated_mistakes():
    assert share_apart(0.9, 0.8) == pytest.approx(0.9 * 0.2 + 0.8 * 0.1)


def test_images_are_matched_by_place_and_hash():
    first, second = two_models(5, 1, 2, 1)
    assert mcnemar(first, second.sample(fraction=1, shuffle=True, seed=1)) == mcnemar(first, second)
    others = [
        one.with_columns(hash=pl.Series(range(start, start + 9), dtype=pl.UInt64))
        for start, one in ((0, first), (100, second))
    ]
    assert mcnemar(*others) is None
    assert mcnemar(first, None) is None


def test_right_answers_are_those_of_the_last_evaluation():
    rows = [
        ("r", "last", 0, 3, None, [2, 3], [0.1, 0.9]), ("r", "last", 1, 3, None, [2, 3], [0.6, 0.4]),
        ("r", "best", 1, 3, None, [2, 3], [0.1, 0.9]),
    ]  # fmt: skip
    names = ("run_id", "evaluation", "index", "label", "hash", "classes", "probabilities")
    frame = pl.DataFrame(rows, schema=names, orient="row", schema_overrides={"hash": pl.UInt64})
    assert right_answers(frame)["r"]["right"].to_list() == [True, False]


def test_variants_with_a_run_each_are_compared_image_by_image(project):
    for hidden, accuracy, n_wrong in ((16, 0.6, 12), (32, 0.7, 2)):
        paths = write_run(
            project, fake_spec(train_size=40, model=ModelSpec("mlp", {"hidden": hidden})), accuracy=accuracy
        )
        is_wrong = pl.col("index").is_between(hidden, hidden + n_wrong - 1)
        flipped = pl.when(is_wrong).then(pl.col("probabilities").list.reverse()).otherwise("probabilities")
        pl.read_parquet(paths.predictions).with_columns(probabilities=flipped).write_parquet(
            paths.predictions
        )
    told = said(ask(RunLog(project), "variants"))
    (n_images,) = set(
        RunLog(project).table("predictions").filter(evaluation="last").group_by("run_id").len()["len"]
    )
    assert f"hidden=32 alone has 12 of {n_images} test images right, hidden=16 alone 2 (95 % " in told
    p = stats.binomtest(2, 14).pvalue
    assert (
        f"; McNemar, p = {p:.2g}): these two trainings differ; other seeds may give another result." in told
    )
    needed = images_needed(14 / n_images, 0.005)
    power = "test images give 80 % power for a difference of 0.5 points between two trainings"
    assert f"{needed:,} {power}; there are {n_images}." in told


def test_without_predictions_the_images_needed_are_an_upper_bound():
    record = record_of(pl.concat([runs_frame([[0.9]], (40,), "a"), runs_frame([[0.8]], (40,), "b")]))
    needed = images_needed(0.26, 0.005)
    assert math.isclose(needed, (1.96 + 0.8416) ** 2 * 0.26 / 0.005**2, rel_tol=0.001)
    told = said(variants.ask(record))
    assert f"{needed:,} test images give 80 % power" in told
    assert "fewer do where both err on the same images." in told


def test_more_runs_are_not_compared_image_by_image():
    frames = [runs_frame([[0.9, 0.91]], (40,), "a"), runs_frame([[0.8]], (40,), "b")]
    assert "test images" not in said(variants.ask(record_of(pl.concat(frames))))
