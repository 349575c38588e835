from __future__ import annotations

import json
from functools import cache

import polars as pl
import pytest

from tests.fakes import fake_spec, fake_sweep, write_run
from tui_datasize.answers import ahead
from tui_datasize.answers.answer import Asked
from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.answers.document import curves_dict, to_dict
from tui_datasize.answers.record import Reading, Record
from tui_datasize.errors import ConfigError
from tui_datasize.experiments.spec import ModelSpec
from tui_datasize.metric import METRICS_OFFERED, metric_named
from tui_datasize.render.json import finite
from tui_datasize.runlog.reader import RunLog
from tui_datasize.stats.curve import moderated_stderrs
from tui_datasize.stats.diagnostics import diagnose
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.fits_table import FITS, fits_table
from tui_datasize.stats.laws import LAWS
from tui_datasize.stats.question import Question
from tui_datasize.stats.summary import analyse_curves


@pytest.fixture(scope="module")
def log(finished):
    return RunLog(finished)


@cache
def reading_of(log, experiment):
    """Read once for all metrics and questions."""
    return Reading(log, log.runs(experiment))


def record_of(log, metric="test_accuracy", experiment="digits", **asked):
    return Record(reading_of(log, experiment), metric_named(metric), Asked(**asked))


def document_of(record):
    answers = {name: entry.ask(record) for name, entry in QUESTIONS.items()}
    return finite(to_dict(record, answers))


def test_the_document_of_an_experiment(log):
    document = json.loads(json.dumps(document_of(record_of(log)), allow_nan=False))
    assert document["experiment"] == "digits"
    assert document["metric"] == "test_accuracy"
    assert (document["n_runs"], document["n_left_out"], document["n_points"]) == (36, 0, 6)
    # The fakes follow the published law.
    assert document["slope"] == pytest.approx(0.1188, abs=0.005)
    assert document["intercept"] == pytest.approx(0.4344, abs=0.01)
    for key in ("r2", "r2_adjusted", "stderr", "intercept_stderr", "p", "f"):
        assert isinstance(document[key], float)
    assert document["fit_failure"] is None
    assert document["fit_on_runs"]["n_points"] == 36
    assert document["fit_on_runs"]["slope"] == pytest.approx(document["slope"])
    assert [row["train_size"] for row in document["table"]] == [40, 80, 160, 320, 640, 1280]
    assert document["gain_of_next_doubling"]["value"] == pytest.approx(document["slope"] * 0.30103, rel=1e-5)
    overlap = document["overlap"]["640"]
    assert overlap["draws"] == ["d0", "d1"]
    assert overlap["matrix"][0][0] == overlap["matrix"][1][1] == 1
    assert overlap["matrix"][0][1] == overlap["matrix"][1][0]
    assert overlap["expected_low"] < overlap["expected"] < overlap["expected_high"]
    assert overlap["expected"] == pytest.approx(640 / 1437, rel=0.01)


@pytest.mark.parametrize("metric", METRICS_OFFERED)
def test_every_metric_makes_a_document(log, metric):
    json.dumps(finite(curves_dict(record_of(log, metric).all_curves)), allow_nan=False)


def test_without_runs_there_is_a_reason_and_no_number(log):
    document = document_of(record_of(log, experiment="none"))
    assert document["slope"] is None
    assert document["fit_failure"] == "there are no runs"
    assert document["table"] == []
    assert document["overlap"] == {}


def test_too_few_sizes_are_a_reason_and_still_a_table(project):
    for seed in (0, 1):
        write_run(project, fake_spec(train_size=40, seed=seed))
    write_run(project, fake_spec(train_size=80), state="failed")
    record = record_of(RunLog(project))
    (curve,) = record.all_curves
    assert curve.fit == curve.fit_on_runs == FitFailure("needs three sizes, has one")
    assert not curve.is_law_rejected
    document = document_of(record)
    assert document["slope"] is None
    assert document["fit_failure"] == "needs three sizes, has one"
    assert document["table"][0]["n_runs"] == 2
    assert (document["n_runs"], document["n_left_out"]) == (2, 1)


def test_each_variant_has_a_curve_of_its_own(project):
    for hidden, level in ((16, 0.6), (32, 0.8)):
        for i, spec in enumerate(
            fake_sweep(seeds=[0], subset_seeds=[0], model=ModelSpec("mlp", {"hidden": hidden}))
        ):
            write_run(project, spec, accuracy=level + 0.02 * i)
    document = document_of(record_of(RunLog(project)))
    assert [variant["variant"] for variant in document["variants"]] == ["hidden=16", "hidden=32"]
    first, second = document["variants"]
    assert document["slope"] == first["slope"]
    assert first["intercept"] < second["intercept"]
    assert [variant["n_runs"] for variant in document["variants"]] == [6, 6]
    assert document["n_runs"] == 12


def test_a_law_that_does_not_hold_is_said_so(project):
    for spec in fake_sweep(subset_seeds=[0]):
        wobble = 0.001 * (spec.seed / 101 - 1)
        write_run(project, spec, accuracy=0.95 - 6 / spec.train_size + wobble)
    (curve,) = record_of(RunLog(project)).all_curves
    assert curve.is_law_rejected
    assert ahead.of_the_law(curve).startswith("The log-linear law fits badly (lack of fit F(4,")


def test_a_law_that_holds_is_not_rejected(log):
    (curve,) = record_of(log).all_curves
    assert not curve.is_law_rejected
    assert "is not rejected" in ahead.of_the_law(curve)


def test_without_repeated_runs_nobody_can_tell(project):
    for spec in fake_sweep(seeds=[0], subset_seeds=[0]):
        write_run(project, spec)
    (curve,) = record_of(RunLog(project)).all_curves
    assert not curve.is_law_rejected
    assert "cannot be tested" in ahead.of_the_law(curve)


def test_the_table_of_fits(fake_project):
    write_run(fake_project, fake_spec("small"))
    table = fits_table(analyse_curves(RunLog(fake_project).runs(), "test_accuracy"))
    assert table.schema == pl.Schema(FITS)
    published = table.filter(pl.col("law") == "log-linear")
    assert published.select("experiment", "fitted_to", "n_points", "fit_failure").rows() == [
        ("digits", "means", 6, None),
        ("digits", "means, weighted", 6, None),
        ("digits", "runs", 36, None),
        ("small", "means", None, "needs three sizes, has one"),
        ("small", "means, weighted", None, "needs three sizes, has one"),
        ("small", "runs", None, "needs three sizes, has one"),
    ]
    assert table["law"][0] == "log-linear"
    laws = table.filter(pl.col("law") != "log-linear")
    for experiment in ("digits", "small"):
        assert set(laws.filter(experiment=experiment)["law"]) == {law.name for law in LAWS}
    digits = laws.filter(experiment="digits")
    weights = digits.filter(pl.col("fit_failure").is_null())["weight"].to_list()
    assert weights == sorted(weights, reverse=True)
    assert digits.filter(pl.col("fit_failure").is_null())["law"][-1] == "last1"
    assert digits["weight"].sum() == pytest.approx(1)
    assert digits.filter(law="BNSL1")["fit_failure"].to_list() == ["needs 10 sizes, has 6"]
    assert digits.filter(law="half")["parameters"][0].startswith("a=")
    assert fits_table([]).schema == pl.Schema(FITS)


def test_the_document_looks_beyond_the_runs(log):
    curves = record_of(log, target=0.75, delta=0.01).all_curves
    document = json.loads(json.dumps(finite(curves_dict(curves)), allow_nan=False))
    assert [point["train_size"] for point in document["extrapolations"]] == [2560, 5120, 10240]
    for point in document["extrapolations"]:
        assert point["low"] < point["value"] < point["high"]
        assert point["nominal"] == 0.9
        assert 0.86 <= point["measured"] <= 0.94
    assert 320 < document["n_needed"]["train_size"] < 640
    assert document["doubling"]["delta"] == 0.01
    assert sum(law["weight"] for law in document["laws"]) == pytest.approx(1)
    assert document["fit_weighted"]["n_points"] == 6
    assert len(document["diagnostics"]["points"]) == 6
    assert "made for 90 %" in document["bands"]
    assert document["n_needed"]["words"] == (
        "75 %: about 460 images, between your sizes 320 (73.2 %) and 640 (76.7 %). "
        "80 % of trainings reach it from about 520 images on."
    )


def test_the_residuals_of_every_way_to_fit_are_judged(log):
    runs = log.runs("digits")
    shuffled = runs.sample(fraction=1, shuffle=True, seed=1)
    (curve,) = analyse_curves(shuffled, "test_accuracy")
    values = shuffled.sort("train_size", maintain_order=True)
    on_runs = diagnose(values["train_size"], values["test_accuracy"])
    stderrs = moderated_stderrs(curve.curve)
    weighted = diagnose(curve.curve["train_size"], curve.curve["mean"], 1 / stderrs**2)
    assert curve.diagnostics_on_runs == on_runs
    assert curve.diagnostics_weighted == weighted
    document = curves_dict([curve])
    assert document["diagnostics_on_runs"]["durbin_watson"] == on_runs.durbin_watson
    assert len(document["diagnostics_on_runs"]["points"]) == 36
    assert document["diagnostics_weighted"]["aic"] == weighted.aic
    table = fits_table([curve]).filter(law="log-linear")
    expected = (curve.diagnostics, weighted, on_runs)
    names = ("aic", "bic", "durbin_watson", "omnibus", "jarque_bera_p", "condition_number")
    assert table.select(names).rows() == [tuple(getattr(one, name) for name in names) for one in expected]
    assert table["largest_cooks_distance"].to_list() == [
        max(point.cooks_distance for point in one.points) for one in expected
    ]
    # The test is of the line through all runs.
    test = curve.lack_of_fit
    assert table["lack_of_fit_p"].to_list() == [None, None, test.p]
    assert table.select("lack_of_fit_f", "lack_of_fit_df1", "lack_of_fit_df2").row(2) == (
        test.f, test.sizes_df, test.runs_df,
    )  # fmt: skip


def test_the_lower_end_of_the_fits_moves_and_the_curve_stays(log):
    (curve,) = analyse_curves(log.runs("digits"), "test_accuracy", Question(fit_from=160))
    assert (curve.curve.height, curve.fit.n_points, curve.fit_on_runs.n_points) == (6, 4, 24)
    assert curve.laws.points.n_sizes == 4


def test_metrics_that_more_data_need_not_improve_have_one_law(log):
    (curve,) = analyse_curves(log.runs("digits"), "train_accuracy")
    assert curve.laws == curve.outlook == curve.shape
    assert "no law here is fitted to: they describe accuracy" in curve.laws.reason


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (Question(target=95), "no target 9500 %"),
        (Question(target=-0.1), "no target"),
        (Question(delta=0), "no gain to look for"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(log, question, message):
    with pytest.raises(ConfigError, match=message):
        analyse_curves(log.runs("digits"), "test_accuracy", question)


def test_an_unknown_metric_is_refused(log):
    with pytest.raises(ConfigError, match="no metric 'accuracy'"):
        record_of(log, "accuracy")
