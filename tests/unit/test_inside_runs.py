"""Views of what happens inside runs, and of what a swept option is worth."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from scipy import stats

from tests.fakes import fake_spec, write_run
from tui_datasize.answers.agreement import relations
from tui_datasize.errors import ConfigError
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.schema import PREDICTIONS, RUNS
from tui_datasize.stats import agreement, class_scores, reliability, training_views
from tui_datasize.stats.class_scores import CONFUSIONS, confusion_matrix, top_confusions
from tui_datasize.stats.curve import learning_curve
from tui_datasize.stats.groups import compare_variants
from tui_datasize.stats.overlap import find_draws, find_overlaps
from tui_datasize.stats.trade_offs import (
    cost_against_metric,
    option_against_metric,
    rest_of_variant,
    swept_options,
)
from tui_datasize.stats.transfer_conditions import BOTH, crossings, transfer_table


def runs_of(rows) -> pl.DataFrame:
    common = {
        "experiment": "e", "variant": "", "state": "succeeded", "subset_seed": 0, "seed": 0,
        "transfer": "base", "classes": "all", "model": "m",
    }  # fmt: skip
    named = [{**common, "run_id": f"r{i}", **row} for i, row in enumerate(rows)]
    return pl.DataFrame(named, schema=dict(RUNS))


def frame_of_everything(log, runs):
    """Every view on some runs, by name."""
    metrics, predictions = log.metrics(runs["run_id"]), log.table("predictions", runs["run_id"])
    draws = find_draws(runs)
    overlaps = find_overlaps(draws, log.table("subsets", draws["run_id"]), log.datasets(draws["run_id"]))
    pairs = agreement.pairs_of_runs(runs, "test_accuracy", overlaps, predictions)
    return {
        "classes": class_scores.class_curves(runs, log.table("per_class", runs["run_id"])),
        "confusions": top_confusions(
            runs, log.table("confusion", runs["run_id"]), log.datasets(runs["run_id"])
        ),
        "surface": training_views.surface(runs, metrics, "accuracy", "test"),
        "curves": training_views.training_curves(runs, metrics, "loss", "train", "wall_s"),
        "gap": training_views.train_test_gap(runs, metrics),
        "single": training_views.curves_of_runs(runs, metrics, "accuracy", "test"),
        "best": training_views.best_against_last(runs, metrics),
        "margins": training_views.margins(runs, metrics),
        "risk": reliability.risk_coverage_table(reliability.confidences(predictions), runs),
        "pairs": pairs,
        "agreement": agreement.overlap_and_agreement(runs, pairs, permutations=20),
        "costs": cost_against_metric(runs, "test_accuracy"),
        "option": option_against_metric(runs, "test_accuracy", "model.depth"),
        "transfer": transfer_table(runs, "test_accuracy"),
    }


EMPTY_WITHOUT_SWEEP = {"option", "transfer"}


def test_every_view_of_a_sweep(finished):
    log = RunLog(finished)
    runs = log.runs("digits")
    views = frame_of_everything(log, runs)
    assert {name for name, frame in views.items() if frame.is_empty()} == EMPTY_WITHOUT_SWEEP
    for frame in views.values():
        json.loads(frame.write_json())
    surface = views["surface"]
    assert surface.filter(train_size=40)["progress"].to_list() == [0.25, 0.5, 0.75, 1.0]
    assert surface["n_runs"].unique().to_list() == [6]
    last = surface.group_by("train_size", maintain_order=True).last()["mean"]
    curve = (
        runs.group_by("train_size").agg(pl.col("test_accuracy").mean()).sort("train_size")["test_accuracy"]
    )
    assert last.to_list() == pytest.approx(curve.to_list())
    assert views["gap"]["gap"].to_list() == pytest.approx([0.05] * 24, abs=0.03)
    assert views["best"]["gain"].to_list() == pytest.approx([0] * 6)
    assert (views["margins"]["margin_correct"] == 0.9).all()
    assert views["classes"]["rank"].unique().sort().to_list() == list(range(1, 11))
    # Every mistake of the fakes is for the next class.
    assert ((views["confusions"]["label"] + 1) % 10 == views["confusions"]["predicted"]).all()
    assert views["agreement"].filter(train_size=640)["n_draws"].item() == 2


@pytest.mark.parametrize(
    "specs",
    [
        pytest.param([], id="no run"),
        pytest.param([(40, 0)], id="one run"),
        pytest.param([(40, 0), (40, 101)], id="one size"),
        pytest.param([(40, 0), (40, 101), (80, 0)], id="a missing seed"),
    ],
)
@pytest.mark.parametrize("tables", [True, False])
def test_views_of_little(project, specs, tables):
    for size, seed in specs:
        write_run(project, fake_spec(train_size=size, seed=seed), tables=tables)
    write_run(project, fake_spec(train_size=160), state="failed", tables=tables)
    log = RunLog(project)
    views = frame_of_everything(log, log.runs())
    for name in ("surface", "best", "costs"):
        assert views[name]["n_runs"].sum() >= len(specs)


def test_nan_scores_are_left_out():
    runs = runs_of([{"train_size": 10, "total_updates": 4}, {"train_size": 10, "total_updates": 4}])
    metrics = pl.DataFrame(
        {
            "run_id": ["r0", "r0", "r1", "r1"], "experiment": "e", "event": "evaluation", "split": "test",
            "update": [2, 4, 2, 4], "epoch": 1.0, "accuracy": [0.5, float("nan"), 0.7, 0.9],
        }
    )  # fmt: skip
    surface = training_views.surface(runs, metrics, "accuracy", "test")
    assert surface.select("progress", "mean", "n_runs").rows() == [
        (0.5, pytest.approx(0.6), 2),
        (1.0, 0.9, 1),
    ]


def curve(run: str, **scores: list[float]) -> pl.DataFrame:
    """Evaluations of one run on the test split, one update apart."""
    times = len(next(iter(scores.values())))
    return pl.DataFrame(
        {
            "run_id": run, "experiment": "e", "event": "evaluation", "split": "test",
            "update": range(1, times + 1), "epoch": 1.0, "samples_seen": 1, "wall_s": 1.0, **scores,
        }
    )  # fmt: skip


def test_the_best_evaluation_is_the_largest_accuracy_and_the_smallest_loss():
    runs = runs_of([{"train_size": 10, "total_updates": 4}, {"train_size": 10, "total_updates": 4}])
    metrics = pl.concat(
        [
            curve("r0", accuracy=[0.5, 0.9, 0.9, 0.7], loss=[3.0, 1.0, 2.0, 2.0]),
            curve("r1", accuracy=[0.5, float("nan"), 0.6, 0.8], loss=[3.0, 2.0, 1.0, 0.5]),
        ]
    )
    (row,) = training_views.best_against_last(runs, metrics).to_dicts()
    assert (row["best"], row["last"], row["gain"]) == pytest.approx((0.85, 0.75, 0.1))
    # Of equal ones the first: after 2 of 4 updates, and at the end.
    assert row["best_at"] == pytest.approx(0.75)
    assert (row["n_evaluations"], row["n_runs"]) == (3.5, 2)
    (row,) = training_views.best_against_last(runs, metrics, "loss", higher_is_better=False).to_dicts()
    assert (row["best"], row["last"], row["gain"]) == pytest.approx((0.75, 1.25, 0.5))
    assert row["gain_sd"] == pytest.approx(np.std([1, 0], ddof=1))


def test_curves_of_runs_are_what_the_means_are_made_of():
    runs = runs_of([{"train_size": 10, "total_updates": 2, "seed": seed} for seed in (5, 7)])
    metrics = pl.concat([curve("r0", accuracy=[0.5, 0.6]), curve("r1", accuracy=[float("nan"), 0.8])])
    singles = training_views.curves_of_runs(runs, metrics, "accuracy", "test")
    assert singles.select("run_id", "seed", "evaluation", "x", "value").rows() == [
        ("r0", 5, 1, 1.0, 0.5), ("r0", 5, 2, 2.0, 0.6), ("r1", 7, 2, 2.0, 0.8),
    ]  # fmt: skip
    means = training_views.training_curves(runs, metrics, "accuracy", "test")["mean"].to_list()
    assert means == pytest.approx([0.5, 0.7])


def test_classes_are_ordered_by_slope():
    sizes = [10, 100, 1000] * 2
    runs = runs_of([{"train_size": size} for size in sizes])
    rows = [
        {
            "run_id": f"r{i}", "evaluation": "last", "split": "test", "label": label,
            "class_name": f"c{label}", "images": 100, "accuracy": accuracy,
        }
        for i, size in enumerate(sizes)
        for label, accuracy in ((0, 0.9), (1, 0.2 * np.log10(size) + 0.01 * (i // 3)), (2, None))
    ]  # fmt: skip
    table = class_scores.class_curves(runs, pl.DataFrame(rows))
    assert table["label"].unique(maintain_order=True).to_list() == [1, 0]
    assert table["slope"].to_list() == pytest.approx([0.2] * 3 + [0] * 3)
    assert table.row(0, named=True)["se"] == pytest.approx(0.005)
    assert table.row(3, named=True)["binomial_se"] == pytest.approx(0.03)


def test_confusions_are_counted_over_runs():
    runs = runs_of([{"train_size": 10}, {"train_size": 10}])
    confusion = pl.DataFrame(
        {
            "run_id": ["r0", "r0", "r0", "r1", "r1"], "evaluation": "last", "label": [0, 0, 1, 0, 1],
            "predicted": [0, 1, 0, 1, 1], "images": [8, 2, 10, 10, 10],
        }
    )  # fmt: skip
    names = pl.DataFrame({"run_id": "r0", "label": [0], "class_name": ["zero"]})
    top = top_confusions(runs, confusion, names)
    assert top.schema == pl.Schema(dict(CONFUSIONS))
    assert top.select("class_name", "predicted_name", "images", "share", "back", "n_runs").rows() == [
        ("zero", "1", 12, 0.6, 0.5, 2),
        ("1", "zero", 10, 0.5, 0.6, 1),
    ]
    labels, shares = confusion_matrix(confusion)
    assert labels == [0, 1]
    np.testing.assert_allclose(shares, [[0.4, 0.6], [0.5, 0.5]])
    assert confusion_matrix(confusion.clear())[0] == []


def test_reliability_of_calibrated_and_of_overconfident_predictions():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.2, 1, 20_000)
    honest = reliability.reliability(p, rng.random(20_000) < p)
    boastful = reliability.reliability(p, rng.random(20_000) < p - 0.2)
    assert honest.ece < 0.015
    assert boastful.ece == pytest.approx(0.2, abs=0.02)
    assert boastful.overconfidence == pytest.approx(0.198, abs=0.0005)
    assert honest.images.sum() == 20_000
    none = reliability.reliability([], [])
    assert np.isnan(none.ece)
    assert np.isnan(none.overconfidence)


def test_confidences_come_from_the_most_probable_class():
    predictions = pl.DataFrame(
        {
            "run_id": "r", "evaluation": ["last", "last", "best"], "index": [0, 1, 0], "label": [3, 3, 3],
            "hash": 0, "classes": [[7, 3], [7, 3], [7, 3]],
            "probabilities": [[0.25, 0.75], [0.5, 0.25], [1.0, 0.0]],
        },
        schema={"run_id": pl.String, **PREDICTIONS},
    )  # fmt: skip
    found = reliability.confidences(predictions)
    assert found.rows() == [("r", 0, 0.75, True), ("r", 1, 0.5, False)]
    coverage, risk = reliability.risk_coverage(found["confidence"], found["is_correct"])
    assert (coverage.tolist(), risk.tolist()) == ([0.5, 1.0], [0.0, 0.5])
    assert reliability.risk_coverage([], [])[0].tolist() == []


def test_overlap_that_explains_agreement_is_found():
    rng = np.random.default_rng(1)
    place = rng.uniform(size=12)
    distance = np.abs(place[:, None] - place)
    rows = [
        ("e", "", 100, f"r{i}", f"r{j}", 1 - distance[i, j], distance[i, j] + rng.uniform(0, 0.1), None)
        for i in range(12)
        for j in range(i)
    ]
    pairs = pl.DataFrame(rows, schema=dict(agreement.PAIRS_OF_RUNS), orient="row")
    runs = runs_of([{"train_size": 100, "subset_seed": i} for i in range(12)])
    (found,) = agreement.overlap_and_agreement(runs, pairs, permutations=400).to_dicts()
    reference = stats.pearsonr(pairs["overlap"], pairs["difference"])
    assert found["r_difference"] == pytest.approx(reference.statistic, abs=1e-10)
    assert found["p_difference"] == pytest.approx(1 / 401)
    assert found["p_agreement"] is None
    (told,) = relations(pl.DataFrame([found]))
    assert told == "More shared images go with closer values at 1 of 1 tested size (p < 0.05)."
    mixed = pairs.with_columns(pl.col("difference").shuffle(seed=1))
    (found,) = agreement.overlap_and_agreement(runs, mixed, permutations=400).to_dicts()
    assert found["p_difference"] > 0.05
    one_draw = runs.with_columns(subset_seed=0)
    (found,) = agreement.overlap_and_agreement(one_draw, pairs.with_columns(overlap=1.0)).to_dicts()
    (told,) = relations(pl.DataFrame([found, found]))
    assert told.startswith("Each size has one subset draw on record.")
    assert found["r_difference"] is None


@pytest.mark.parametrize(("per_draw", "is_told"), [(3, False), (4, True)])
def test_so_few_runs_that_no_small_p_is_possible_are_said_so(per_draw, is_told):
    draw = np.repeat([0, 1], per_draw)
    rows = [
        ("e", "", 100, f"r{i}", f"r{j}", 1.0 if same else 0.3, 0.01, 0.9 if same else 0.5 + 0.01 * i)
        for i in range(len(draw))
        for j in range(i)
        for same in [draw[i] == draw[j]]
    ]
    pairs = pl.DataFrame(rows, schema=dict(agreement.PAIRS_OF_RUNS), orient="row")
    runs = runs_of([{"train_size": 100, "subset_seed": int(d)} for d in draw])
    (found,) = agreement.overlap_and_agreement(runs, pairs).to_dicts()
    # Of 2 x 3 runs 10 relabelings exist, of 2 x 4 35.
    assert found["p_least"] == pytest.approx(1 / 35 if is_told else 1 / 10, abs=0.02 if is_told else 1e-9)
    assert found["p_agreement"] == pytest.approx(found["p_least"], abs=0.02 if is_told else 1e-9)
    told = " ".join(relations(pl.DataFrame([found, found])))
    assert told.count("2 sizes with too few runs to test") == (not is_told)
    assert ("go with more equal answers at 2 of 2 tested sizes" in told) == is_told


def test_costs_and_the_front():
    rows = [("slow", 100.0, 0.9), ("fast", 10.0, 0.8), ("bad", 50.0, 0.7), ("untimed", None, 0.95)]
    runs = runs_of([{"variant": v, "wall_s": s, "test_accuracy": a, "train_size": 10} for v, s, a in rows])
    table = cost_against_metric(runs, "test_accuracy")
    front = dict(table.select("variant", "is_best_for_its_time").iter_rows())
    assert front == {"slow": True, "fast": True, "bad": False, "untimed": False}
    with pytest.raises(ConfigError):
        cost_against_metric(runs, "none")


def test_a_swept_option_makes_series():
    variants = [
        "model.depth=20 optimizer.lr=0.1",
        "model.depth=8 optimizer.lr=0.1",
        "model.depth=8 optimizer.lr=1",
    ]
    runs = runs_of([{"variant": v, "train_size": 10, "test_accuracy": 0.5} for v in variants])
    assert swept_options(runs) == ("model.depth", "optimizer.lr")
    table = option_against_metric(runs, "test_accuracy", "model.depth")
    assert table.select("others", "value").rows() == [
        ("optimizer.lr=0.1", 8), ("optimizer.lr=0.1", 20), ("optimizer.lr=1", 8),
    ]  # fmt: skip
    assert option_against_metric(runs, "test_accuracy", "none").is_empty()
    lists = ["schedule.at=[1, 2] x=3", "schedule.at=[1, 3] x=3", "schedule.at=[1, 3] x=4"]
    assert swept_options(runs_of([{"variant": variant} for variant in lists])) == ("schedule.at", "x")


@pytest.mark.parametrize(
    ("variant", "rest"),
    [
        ("note=two words lr=0.1", "note=two words"),
        ("lr=0.1 lr.min=3 note=a b=c", "lr.min=3 note=a b=c"),
        ("at=[1, 2 x=y] lr=0.1 sizes=(3 4)", "at=[1, 2 x=y] sizes=(3 4)"),
        ("lr=0.1", ""),
    ],
)
def test_values_of_options_may_hold_spaces(variant, rest):
    others = [variant, variant.replace("lr=0.1", "lr=0.2")]
    assert swept_options(runs_of([{"variant": one} for one in others])) == ("lr",)
    assert rest_of_variant(variant, "lr") == rest
    assert rest_of_variant("schedule.at=[1, 2] x=3", "schedule.at") == "x=3"


def transfer_runs(gains, halves=("half=source", "half=target")):
    return runs_of(
        [
            {
                "classes": half, "train_size": size, "transfer": condition, "seed": seed,
                "variant": condition,
                "test_accuracy": 0.5 + 0.1 * (half == "half=target") + gain + 0.01 * seed,
            }
            for half in halves
            for size, gain_of in gains.items()
            for condition, gain in {"base": 0.0, **gain_of}.items()
            for seed in (-1, 1)
        ]
    )  # fmt: skip


def test_transfer_conditions_with_both_directions_and_the_crossing():
    runs = transfer_runs({1000: {"S2T": 0.04, "FTall": 0.05}, 4000: {"S2T": -0.04, "FTall": 0.01}})
    table = transfer_table(runs, "test_accuracy")
    both = table.filter(classes=BOTH, train_size=1000)
    assert both["condition"].to_list() == ["base", "FTall", "S2T"]
    assert both["mean"].to_list() == pytest.approx([0.55, 0.6, 0.59])
    assert both["n_runs"].to_list() == [4, 4, 4]
    assert both["se"][0] == pytest.approx(0.01 / np.sqrt(2))
    (crossing,) = (found for found in crossings(table) if found.classes == BOTH)
    assert crossing.until == pytest.approx(2000)
    assert (crossing.helps_at, crossing.is_steady) == ((1000,), True)


def drawn_transfers(halves=("all",)) -> pl.DataFrame:
    """Three draws with two seeds each; the draw moves a run by 10 points, freezing by 40, the rest by 1."""
    return runs_of(
        [
            {
                "classes": half, "train_size": 50, "transfer": condition, "variant": condition,
                "subset_seed": draw, "seed": seed,
                "test_accuracy": 0.6 + draw / 10 + gain
                + (place * (1 + draw) + draw * 3 + seed * 2) % 5 / 200,
            }
            for half in halves
            for place, (condition, gain) in enumerate((("base", 0.0), ("FTall", 0.0), ("SallT", -0.4)))
            for draw in range(3)
            for seed in (0, 1)
        ]
    )  # fmt: skip


def test_conditions_on_one_draw_are_a_cluster_and_gains_are_paired():
    runs = drawn_transfers()
    table = transfer_table(runs, "test_accuracy")
    curve = learning_curve(runs, "test_accuracy").rename({"variant": "condition"})
    for column in ("mean", "se", "low", "high"):
        expected = dict(curve.select("condition", column).rows())
        assert dict(table.select("condition", column).rows()) == pytest.approx(expected)
    every = compare_variants(runs, "test_accuracy")[0].pairs
    pairs = {one.first if one.second == "base" else one.second: one for one in every}
    found = {row["condition"]: row for row in table.drop_nulls("gain").iter_rows(named=True)}
    assert {*found} == {"FTall", "SallT"}
    for condition, row in found.items():
        assert row["gain_se"] == pytest.approx(pairs[condition].stderr)
        assert row["p"] == pytest.approx(pairs[condition].p_adjusted)
    # What the draws do to both is in no difference.
    assert found["FTall"]["gain_se"] < 0.02 < found["FTall"]["se"]


def test_over_both_directions_a_gain_is_the_mean_of_theirs():
    table = transfer_table(drawn_transfers(("half=source", "half=target")), "test_accuracy")
    own, both = (table.filter(condition="SallT", classes=one) for one in ("half=source", BOTH))
    assert both["gain"][0] == pytest.approx(own["gain"][0])
    assert both["gain_se"][0] == pytest.approx(own["gain_se"][0] / np.sqrt(2))
    assert both["p"][0] < own["p"][0] < 0.05


def test_transfer_without_a_crossing_or_a_second_direction():
    always = transfer_table(
        transfer_runs({10: {"S1T": 0.1}, 20: {"S1T": 0.1}}, ["half=source"]), "test_accuracy"
    )
    assert BOTH not in always["classes"]
    assert (crossings(always)[0].helps_at, crossings(always)[0].until) == ((10, 20), None)
    never = transfer_table(transfer_runs({10: {"S1T": -0.1}}), "test_accuracy")
    assert crossings(never)[0].helps_at == ()
    without_base = transfer_runs({10: {"S1T": 0.1}}).filter(pl.col("transfer") != "base")
    assert crossings(transfer_table(without_base, "test_accuracy")) == ()
