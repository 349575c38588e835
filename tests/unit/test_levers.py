"""Levers against their baseline: by known curves, with the right baseline, ensembles and tuned variants."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.nulls import ratios_held
from tests.fakes import write_run
from tests.unit.record_desk import record_of, said
from tests.unit.test_tuned import table
from tui_datasize.answers import first_answer, levers, tuned
from tui_datasize.answers.answer import Asked
from tui_datasize.answers.checks.sweep import check_choosing, check_one_recipe
from tui_datasize.answers.record import Reading, Record
from tui_datasize.experiments.costs import Costs
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.sweep import plan_runs
from tui_datasize.metric import metric_named
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.stats.effective import EffectiveData, Saved
from tui_datasize.stats.levers import baseline_of, lever_runs, worth
from tui_datasize.stats.tuned import TUNED

SIZES = (100, 200, 400, 800, 1600)


def sweep(factors: dict[str, float], noise: float = 0.004) -> pl.DataFrame:
    """Runs of variants that are worth so many times their images, five draws each."""
    draws = np.random.default_rng(3)
    rows = [
        (variant, size, seed, 1 - 3 * (size * factor) ** -0.5, 1 - 3 * (size * factor) ** -0.5)
        for variant, factor in factors.items()
        for size in SIZES
        for seed in range(5)
    ]
    runs = table(rows).with_columns(
        subset_seed="seed", test_accuracy=pl.col("test_accuracy") + draws.normal(0, noise, len(rows))
    )
    named = pl.col("variant")
    return runs.with_columns(
        augmentation=pl.when(named.str.contains("flip")).then(pl.lit("flip=0.5")).otherwise(pl.lit("none")),
        label_noise=pl.when(named.str.contains("clean")).then(0.0).otherwise(0.2),
        parameters=pl.when(named.str.contains("deep")).then(2000).otherwise(1000),
        wall_s=pl.when(named.str.contains("deep")).then(20.0).otherwise(10.0),
        device=pl.lit("cpu"),
        updates=pl.lit(100),
    )


def test_the_baseline_pulls_no_lever_and_has_the_labels_as_they_are() -> None:
    factors = dict.fromkeys(("a flip", "b clean", "c deep", "d"), 1.0)
    assert baseline_of(sweep(factors)) == "d"


def test_each_lever_is_worth_its_images_and_the_cheapest_is_marked() -> None:
    record = record_of(sweep({"flip": 2.0, "plain": 1.0, "deep": 1.02}), asked=Asked(target=0.9))
    answer = levers.ask(record)
    rows = {row["variant"]: row for row in answer.rows().iter_rows(named=True)}
    assert list(rows) == ["baseline", "flip", "deep"]
    assert (rows["baseline"]["images"], rows["baseline"]["is_cheapest"]) == ("about 900", False)
    assert rows["flip"]["images"] in ("about 440", "about 450", "about 460")
    assert [row["is_cheapest"] for row in rows.values()] == [False, True, False]
    assert rows["flip"]["p"] < 0.05 < rows["deep"]["p"]
    assert answer.headline.startswith("flip at 800 images = about 1,")
    assert rows["flip"]["ratio"] == pytest.approx(2, rel=0.1)
    assert "With deep as many updates as the baseline's take 2.0 times as long." in said(answer)


def test_a_lever_within_the_sizes_of_the_baseline_has_an_interval() -> None:
    runs = sweep({"flip": 2.0, "plain": 1.0}).filter(
        (pl.col("variant") == "plain") | (pl.col("train_size") < 900)
    )
    answer = levers.ask(record_of(runs))
    row = answer.rows().row(1, named=True)
    assert (row["train_size"], row["ratio"]) == (800, pytest.approx(2, rel=0.1))
    assert row["low"] < 2 < row["high"]
    assert re.match(
        r"flip at 800 images = about 1,.00 of the baseline: 1.9 times \(95 % 1.8 to 2.1\)\.$", answer.headline
    )


WIDTH_AND_LABELS = """
[experiments.e]
dataset = "digits"
model = { name = "cnn3", width = 8 }
sizes = [40, 80, 160, 320]
subset = { seeds = [0, 1, 2] }
budget = { updates = 10 }
imbalance = 10
label_noise = 0.2
[experiments.e.levers]
"model.width" = [16]
imbalance = [1, 3]
label_noise = [0]
"""
WORTH = {"width=16": 1.4, "imbalance=1.0": 3.0, "imbalance=3.0": 2.0, "label_noise=0.0": 1.7}


def write_worth(tmp_path: Path) -> Record:
    """Runs of the file, three draws of each, that are worth what is known."""
    file = tmp_path / "experiments.toml"
    file.write_text(WIDTH_AND_LABELS, encoding="utf-8")
    for spec in plan_runs((project := load_project(file)).experiment("e"), project):
        width, noise = spec.model.options["width"], spec.label_noise.fraction
        pulled = f"width={width}", f"imbalance={spec.subset.imbalance}", f"label_noise={noise}"
        images = spec.train_size * math.prod(WORTH.get(name, 1.0) for name in pulled)
        luck = 0.002 * math.sin(7 * images + spec.subset.seed)
        run = write_run(ProjectPaths(tmp_path), spec, accuracy=1 - 2 / math.sqrt(images) + luck, tables=False)
        known = json.loads(run.provenance.read_text())
        run.provenance.write_text(json.dumps(known | {"parameters": 1000 * int(width)}))
    log = RunLog(ProjectPaths(tmp_path))
    return Record(Reading(log, log.runs("e")), metric_named("test_accuracy"))


def test_width_and_balance_of_labels_are_levers(tmp_path: Path) -> None:
    record = write_worth(tmp_path)
    other = "label_noise=0.2 width=8 imbalance=3.0"
    of_other = {"imbalance=10.0": 1 / 2, "imbalance=1.0": 3 / 2, "width=16 imbalance=10.0": 1.4 / 2}
    of_other["label_noise=0.0 imbalance=10.0"] = 1.7 / 2
    # By default the baseline is the smallest model with the labels as they are.
    for asked, named, expected in (
        (Asked(), "label_noise=0.2 width=8 imbalance=10.0", WORTH),
        (Asked(variant=other), other, of_other),
    ):
        answer = levers.ask(replace(record, asked=asked))
        assert answer.about == f"baseline: {named}; means over runs"
        rows = {row["variant"]: row for row in answer.rows().iter_rows(named=True)}
        assert rows.keys() == {"baseline", *expected}
        for name, ratio in expected.items():
            assert rows[name]["ratio"] == pytest.approx(ratio, rel=0.06)
            assert rows[name]["p"] < 0.01


def test_the_interval_of_a_known_ratio_holds() -> None:
    # At the largest size that happens to lie within the curve it holds in 89 %.
    found = ratios_held(100, 1, 10, 3.0)
    assert 0.93 <= found["held"] <= 0.98
    assert found["a bound"] < 0.02


def saved(*at_sizes: tuple[float, float], average: float | None, at_most: int = 0) -> EffectiveData:
    """Of (size, images of the baseline), the first `at_most` bounds, with the worth of a lever on average."""
    told = [
        Saved(0.5, images, size, math.nan, is_at_most=place < at_most)
        for place, (size, images) in enumerate(at_sizes)
    ]
    overall = None if average is None else Saved(math.nan, 1.0, 1 / average, 1.5)
    return EffectiveData(tuple(told), overall, None)


@pytest.mark.parametrize(
    ("found", "size", "times"),
    [
        # It doubles images: not that 50 are worth 50 at most, nor that at 100 they are beyond the curve.
        (saved((50, 50), (100, 200), (200, math.inf), average=2, at_most=1), 100, 2.0),
        (saved((50, 50), (200, math.inf), average=2, at_most=1), 200, 1.0),
        # It halves them: a bound at 200 would say that it is worth more.
        (saved((50, 50), (100, 60), (200, math.inf), average=0.5, at_most=1), 100, 0.6),
        # Beyond all that the baseline reaches, at 50 images already; and nowhere above its start.
        (saved((50, math.inf), (200, math.inf), average=None), 50, 4.0),
        (saved((50, 50), (200, 50), average=None, at_most=2), 200, 0.25),
    ],
)
def test_a_lever_is_told_where_the_baseline_can_tell(found: EffectiveData, size: int, times: float) -> None:
    told = worth(found, (50, 100, 200))
    assert (told.other_images, 1 / told.ratio) == (size, pytest.approx(times))


def test_prices_count_labels_and_hours() -> None:
    record = record_of(sweep({"flip": 2.0, "plain": 1.0}), asked=Asked(target=0.9))
    priced = type(record)(record.reading, record.metric, record.asked, costs=Costs(1.0, 3600.0, "EUR"))
    row = levers.ask(priced).rows().row(1, named=True)
    assert row["price"] == pytest.approx(450 + 10, rel=0.05)


def test_a_lever_whose_runs_all_failed_is_told() -> None:
    runs = sweep({"base": 1.0, "flip": 2.0, "deep": 2.0})
    ended = pl.when(pl.col("variant") == "flip").then(pl.lit("failed")).otherwise("state").alias("state")
    told = "flip has no result: 25 of 25 runs failed."
    for kept in (["base", "flip", "deep"], ["base", "flip"]):
        record = record_of(runs.filter(pl.col("variant").is_in(kept)).with_columns(ended))
        assert told in said(levers.ask(record))
        assert told in said(first_answer.ask(record))
    assert "has no result" not in said(levers.ask(record_of(runs)))


def test_ensembles_of_the_baseline_are_a_lever_and_share_no_run() -> None:
    runs = sweep({"": 1.0}).filter(pl.col("train_size") <= 200)
    runs = runs.with_columns(subset_seed=pl.lit(0), updates=100 + 30 * pl.col("seed"))

    def read(run_ids: list[str]) -> pl.DataFrame:
        # Each run is right of images of its own: three together of all that two of them agree on.
        rows = [
            {
                "run_id": run_id,
                "evaluation": "last",
                "index": image,
                "label": 0,
                "hash": image,
                "classes": [0, 1],
                "probabilities": [0.6, 0.4] if (image + place) % 3 else [0.4, 0.6],
            }
            for place, run_id in enumerate(run_ids)
            for image in range(3)
        ]
        return pl.DataFrame(rows)

    found, base = lever_runs(runs, "test_accuracy", read)
    together = found.filter(variant="ensemble of 3")
    assert set(found["variant"]) == {"baseline", "ensemble of 3"}
    assert base == ""
    told = ("train_size", "seed", "test_accuracy", "wall_s", "updates")
    assert together.select(told).rows() == [(100, 0, 1.0, 30.0, 130), (200, 0, 1.0, 30.0, 130)]


def _nothing(_run_ids: list[str]) -> pl.DataFrame:
    return pl.DataFrame(schema={"run_id": pl.String, "evaluation": pl.String})


def test_variants_that_were_tuned_stand_for_their_settings() -> None:
    rows = [
        (f"{model} lr={rate}", size, seed, value, value)
        for model, bonus in (("mlp", 0.0), ("cnn3", 0.1))
        for size in (40, 80)
        for rate, value in ((1, 0.5 + bonus + size / 1000), (2, 0.4 + bonus + size / 1000))
        for seed in (0, 1)
    ]
    runs = table(rows)
    found, base = lever_runs(runs, "test_accuracy", _nothing)
    assert set(found["variant"]) == {"baseline", "mlp"}
    assert base == f"cnn3 {TUNED}"
    assert lever_runs(runs, "test_accuracy", _nothing, "mlp lr=2")[1] == f"mlp {TUNED}"
    answer = tuned.ask(record_of(runs))
    assert "68.00 % at 80 images with lr=1, the choice of 2 on validation at every size" in said(answer)


@pytest.mark.parametrize(
    ("variants", "validation", "expected"),
    [
        (["mlp lr=1", "mlp lr=2"], 0.0, ["chosen-on-test"]),
        (["mlp lr=1", "mlp lr=2"], 0.2, []),
        (["mlp lr=1", "mlp lr=2", "cnn3 lr=1"], 0.2, ["unequal-effort"]),
        (["mlp", "cnn3"], 0.0, ["never-tuned"]),
        (["mlp"], 0.0, []),
    ],
)
def test_the_audit_says_who_chose(variants: list[str], validation: float, expected: list[str]) -> None:
    runs = table([(name, 40, 0, 0.5, 0.5) for name in variants]).with_columns(
        validation=pl.lit(validation), batch_size=pl.lit(32)
    )
    assert [one.check for one in (*check_choosing(runs), *check_one_recipe(runs))] == expected
