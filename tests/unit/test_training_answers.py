"""What is said of training: its curves, surfaces, margins."""

from __future__ import annotations

import json

import polars as pl
import pytest

from tests.fakes import fake_spec, fake_sweep, write_lines, write_run
from tests.unit.asking import ask
from tests.unit.record_desk import said
from tui_datasize.answers.answer import Asked
from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.answers.record import ONE_EVALUATION, ONE_VALUE, Reading, Record
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.metric import metric_named
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog


def write_curve(project: ProjectPaths, spec: RunSpec, curve: list[float]) -> None:
    """A run with these test accuracies; it does 0.1 better on what it was trained on."""
    paths = write_run(project, spec, evaluations=len(curve), tables=False)
    rows = [json.loads(line) for line in paths.metrics.read_text().splitlines()]
    paths.metrics.write_text("")
    # Three rows an evaluation: of training, of the training split, of the test split.
    write_lines(
        paths.metrics,
        [
            row | {"accuracy": curve[index // 3] + 0.1 * (row["split"] == "train")}
            for index, row in enumerate(rows)
        ],
    )


@pytest.fixture
def overfitted(project) -> RunLog:
    """Two runs of 40 images that are best in their second of four evaluations, one of 80 that is so last."""
    write_curve(project, fake_spec(seed=0), [0.5, 0.9, 0.6, 0.4])
    write_curve(project, fake_spec(seed=101), [0.5, 0.8, 0.6, 0.2])
    write_curve(project, fake_spec(train_size=80), [0.5, 0.6, 0.7, 0.8])
    return RunLog(project)


def test_training_curves_say_where_they_end_and_where_they_were_best(overfitted):
    answer = ask(overfitted, "training-curves")
    assert answer.headline == "80.00 % at 80 images after 200 updates, the best of the curve."
    assert (
        answer.sentences[0].text == "1 curve is best before the end, and up to 55.00 points worse at the end."
    )
    (table,) = answer.tables
    rows = table.frame.select("train_size", "n_runs", "last", "best", "best_at", "lost").rows()
    assert rows[0] == pytest.approx((40, 2, 0.3, 0.85, 100, 0.55))
    assert rows[1] == pytest.approx((80, 1, 0.8, 0.8, 200, 0))
    (chart,) = answer.figures
    assert [line.name for line in chart.lines] == ["40", "80"]
    assert chart.lines[0].y == pytest.approx([50, 85, 60, 30])


def test_who_chose_the_best_is_told_as_the_images_held_out_or_their_lack_have_it(overfitted, project):
    assert "or choose on validation images" in said(ask(overfitted, "best"))
    metrics = next(iter(project.runs.glob("*/*s0*/metrics.jsonl")))
    tested = [json.loads(line) for line in metrics.read_text().splitlines()]
    write_lines(
        metrics, [*tested, *(row | {"split": "validation"} for row in tested if row["split"] == "test")]
    )
    assert "The images held out chose that of best_test_accuracy" in said(ask(RunLog(project), "best"))


def test_the_range_over_runs_is_that_of_the_size_that_is_asked_for(overfitted):
    largest, smallest = (ask(overfitted, "training-curves", size=size) for size in (0, 1))
    assert (largest.sizes, largest.about) == (2, "mean over runs, shaded: all runs of 80 images")
    (chart,) = smallest.figures
    (band,) = chart.bands
    assert (band.low, band.high) == (pytest.approx([50, 80, 60, 20]), pytest.approx([50, 90, 60, 40]))


def test_a_loss_is_best_where_it_is_lowest(overfitted):
    frame = ask(overfitted, "training-curves", "test_loss").tables[0].frame
    assert (frame["best"] <= frame["last"]).all()


def test_single_runs_are_ranked_by_what_they_end_at(overfitted):
    answer = ask(overfitted, "training-curves", view=1, size=1)
    assert answer.headline == (
        "20.00 points between the best and the worst run of 40 images at the end: 40.00 % and 20.00 %."
    )
    assert answer.about == "40 images, 2 runs one by one"
    assert answer.tables[0].frame["seed"].to_list() == [0, 101]
    assert [line.name for line in answer.figures[0].lines] == ["d0 s0", "d0 s101"]
    # After as many views as there are it begins anew.
    assert answer.views == 2
    assert ask(overfitted, "training-curves", view=2).headline == ask(overfitted, "training-curves").headline


def test_runs_whose_seed_nobody_knows_are_repeats(overfitted):
    number = pl.col("run_id").rank("ordinal").over("train_size").cast(pl.Int64)
    runs = overfitted.runs("digits").with_columns(seed=pl.lit(None, pl.Int64), repeat=number)
    record = Record(Reading(overfitted, runs), metric_named("test_accuracy"), Asked(view=1, size=1))
    answer = QUESTIONS["training-curves"].ask(record)
    assert sorted(line.name for line in answer.figures[0].lines) == ["d0 repeat 1", "d0 repeat 2"]
    ranked = answer.tables[0].frame
    assert sorted(ranked.select("seed", "repeat").rows()) == [(None, 1), (None, 2)]


def test_one_evaluation_a_run_is_no_course(project):
    for spec in fake_sweep(sizes=(40, 80), subset_seeds=[0], evaluations=1):
        write_run(project, spec, tables=False)
    log = RunLog(project)
    for question in ("training-curves", "surface", "best"):
        assert ask(log, question).why_not == ONE_EVALUATION
    assert ask(log, "training-curves", "wall_s").why_not == ONE_VALUE


def test_a_surface_of_each_score_with_the_metric_in_question_first(overfitted):
    answer = ask(overfitted, "surface", "train_loss")
    assert [one.title for one in answer.figures] == [
        "Train loss", "Train accuracy, %", "Train macro F1, %", "Test loss", "Test accuracy, %",
        "Test macro F1, %",
    ]  # fmt: skip
    # One by one, and the gap behind them.
    assert answer.views == 7
    one_by_one = [ask(overfitted, "surface", view=view).figures for view in range(1, 7)]
    assert [len(figures) for figures in one_by_one] == [1] * 6
    # Calibration error is not one of the six and comes first, on both splits.
    assert ask(overfitted, "surface", "test_ece").views == 9


def test_a_surface_tells_its_highest_and_lowest_cell(overfitted):
    answer = ask(overfitted, "surface")
    assert answer.headline == (
        "85.00 % is the best mean test accuracy, at 40 images after 50 % of the training; "
        "30.00 % the worst, at 40 images after 100 % of the training."
    )
    first = answer.figures[0]
    assert (first.rows, first.columns) == (["40", "80"], ["25 %", "50 %", "75 %", "100 %"])
    assert first.values[0] == pytest.approx([50, 85, 60, 30])


def test_the_gap_is_a_surface_behind_the_six(overfitted):
    answer = ask(overfitted, "surface", view=6)
    assert answer.headline.startswith("+10.00 points is the widest gap, at ")
    assert [one.title for one in answer.figures] == ["Train - test accuracy, points"]
    assert answer.rows().filter(train_size=40)["mean"].to_list() == pytest.approx([0.1] * 4)
    assert answer.figures[0].values[1] == pytest.approx([10] * 4)


def test_of_several_variants_one_surface_each(project):
    for batch_size in (16, 32):
        write_curve(project, fake_spec(batch_size=batch_size, evaluations=2), [0.5, batch_size / 64])
    answer = ask(RunLog(project), "surface")
    assert [one.title for one in answer.figures] == [
        "batch_size=16: Test accuracy, %", "batch_size=32: Test accuracy, %",
    ]  # fmt: skip
    assert answer.sentences[0].text.startswith("batch_size=32: 50.00 % is the best mean test accuracy")


def test_margins_of_right_and_wrong_answers(overfitted):
    answer = ask(overfitted, "margins")
    assert answer.headline == "90.00 % where right, 40.00 % where wrong: mean margin at 80 images."
    assert answer.tables[0].frame.select("train_size", "margin_correct", "margin_wrong").rows() == [
        pytest.approx((40, 0.9, 0.4)), pytest.approx((80, 0.9, 0.4)),
    ]  # fmt: skip
    assert [line.name for line in answer.figures[0].lines] == ["40 right", "40 wrong", "80 right", "80 wrong"]
