"""What is said of classes and of predictions: learning curves of classes, confusion matrix, calibration."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from tests.fakes import fake_spec, fake_sweep, write_run
from tests.tui.test_charts import PALETTE
from tests.unit.asking import ask
from tui_datasize.answers import record
from tui_datasize.answers.answer import Answer, Map
from tui_datasize.answers.record import NOT_RECORDED
from tui_datasize.render.svg import picture
from tui_datasize.runlog import writer
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.tui.charts.figures import draw_figure


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> RunLog:
    """A whole sweep, written once: answers only read it."""
    project = ProjectPaths(tmp_path_factory.mktemp("classes"))
    project.runs.mkdir()
    for spec in fake_sweep(subset_seeds=[0]):
        write_run(project, spec)
    return RunLog(project)


@pytest.mark.parametrize("question", ["classes", "confusions", "calibration", "margins", "ensembles"])
def test_runs_without_tables_say_why_there_is_no_answer(project, question):
    write_run(project, fake_spec(), tables=False, evaluations=0)
    assert ask(RunLog(project), question).why_not.endswith(".")
    assert not ask(RunLog(project), question).applies


def test_classes_are_ranked_by_what_more_data_gains_them(log):
    answer = ask(log, "classes")
    (table,) = answer.tables
    slopes = table.frame["slope"].to_list()
    assert slopes == sorted(slopes, reverse=True)
    first, last = (table.frame.row(place, named=True) for place in (0, -1))
    assert answer.headline == (
        f"{100 * first['slope']:+.2f} points for ten times the data: class {first['class_name']} gains most, "
        f"{last['class_name']} least, {100 * last['slope']:+.2f} points."
    )
    assert table.frame["train_size"].unique().to_list() == [1280]
    (chart,) = answer.figures
    # The four steepest and the four flattest of ten.
    assert [line.name for line in chart.lines] == [
        *table.frame["class_name"].head(4), *table.frame["class_name"].tail(4),
    ]  # fmt: skip


def test_of_one_size_the_best_and_the_worst_class_are_told(project):
    write_run(project, fake_spec())
    answer = ask(RunLog(project), "classes")
    assert "is the lowest accuracy of a class at 40 images" in answer.headline
    assert answer.sentences[-1].text == "What a class gains from more data needs three train sizes."


def letters(project: ProjectPaths) -> Answer:
    """The confusions of a run on 26 classes; `c` is taken for `d` most often."""
    paths = write_run(project, fake_spec(), tables=False)
    names = [chr(ord("a") + label) for label in range(26)]
    document = json.loads(paths.dataset.read_text())
    images = {"train_images_per_class": [100] * 26, "test_images_per_class": [100] * 26}
    paths.dataset.write_text(json.dumps(document | images | {"class_names": names}))
    counts = np.diag(np.full(26, 97)) + np.roll(np.diag(np.full(26, 3)), 1, axis=1)
    counts[2, 2:5] = 70, 25, 5
    writer.confusion_frame("last", 4, counts).write_parquet(paths.confusion)
    return ask(RunLog(project), "confusions")


def test_the_commonest_confusion_comes_first(project):
    answer = letters(project)
    assert answer.headline == "25.00 % of class c are predicted as d, the most common confusion at 40 images."
    (table,) = answer.tables
    assert table.frame.height == 12
    assert table.frame.row(0, named=True)["images"] == 25
    # One for each class, and a second one of c.
    assert answer.rows().height == 27


def test_where_a_matrix_is_not_legible_the_commonest_confusions_are_drawn(project):
    (figure,) = letters(project).figures
    drawn = draw_figure(figure, 80, 11, PALETTE).text.plain.split("\n")
    assert len(drawn) == 11
    assert drawn[0].split() == ["true", "→", "predicted", "images", "share"]
    first = drawn[1].split()
    assert (first[:3], first[-3:]) == (["c", "→", "d"], ["25", "25.0", "%"])
    assert drawn[1].count("━") > 4 * drawn[3].count("━") > 0
    assert drawn[-1] == "… 18 more: ctrl+e"
    matrix = draw_figure(figure, 120, 30, PALETTE).text.plain.split("\n")
    assert matrix[0].split() == figure.rows
    assert matrix[3].split()[:6] == ["c", "0", "0", "70", "25", "5"]
    assert len(matrix) == 27


def test_the_same_on_paper(project):
    (figure,) = letters(project).figures
    assert isinstance(figure, Map)
    matrix = ElementTree.fromstring(picture(figure))
    assert len(list(matrix.iter("{http://www.w3.org/2000/svg}rect"))) == 1 + 26 * 26
    names = [f"class {label}" for label in range(120)]
    wide = Map("m", "", "", names, names, [[0.0] * 120] * 120, otherwise=figure.otherwise)
    ranked = [
        text.text for text in ElementTree.fromstring(picture(wide)).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert ranked[:4] == ["true → predicted", "images    share", "c → d", "25   25.0 %"]
    assert ranked[-1] == "7 more"


def test_runs_that_confuse_nothing_say_so(project):
    paths = write_run(project, fake_spec(), tables=False)
    writer.confusion_frame("last", 4, np.diag([5, 5])).write_parquet(paths.confusion)
    answer = ask(RunLog(project), "confusions")
    assert answer.headline == "No test image is predicted as another class at 40 images."
    assert (
        draw_figure(answer.figures[0].otherwise, 60, 10, PALETTE).text.plain.strip()
        == "most common confusions: none."
    )


def test_bars_of_accuracy_stand_against_the_line_of_confidence(log):
    answer = ask(log, "calibration")
    assert answer.headline.endswith(" points on average.")
    bins, risks = answer.tables
    assert (bins.is_detail, risks.is_detail) == (True, True)
    smallest, largest, total = (
        bins.frame["images"].min(),
        bins.frame["images"].max(),
        bins.frame["images"].sum(),
    )
    told = [sentence.text for sentence in answer.sentences]
    assert (
        f"A bin holds {smallest:,} to {largest:,} of {total:,} predictions; bins of few say little." in told
    )
    every = answer.rows()
    assert every.height == 15
    known = every.drop_nulls("accuracy")
    assert ((known["confidence"] > known["low"]) & (known["confidence"] <= known["high"])).all()
    assert len(answer.figures[0].bands) == known.height
    # The calibration error is the mean distance of the bars from the line.
    off = (known["off"].abs() * known["images"]).sum() / total
    assert answer.headline.startswith(f"{100 * off:.2f} points of calibration error (ECE) at 1,280 images: ")


def test_the_risk_against_coverage_is_another_view(log):
    answer = ask(log, "calibration", view=1)
    assert answer.views == 2
    risks = dict(answer.rows().select("coverage", "risk").iter_rows())
    assert len(risks) == 20
    assert answer.headline == (
        f"{100 * risks[0.8]:.2f} % of the most confident 80 % are wrong, {100 * risks[1.0]:.2f} % of all."
    )
    assert answer.headline in [sentence.text for sentence in ask(log, "calibration").sentences]
    assert answer.tables[0].frame["coverage"].to_list() == [0.5, 0.8, 0.9, 0.95, 1.0]
    assert [figure.title for figure in answer.figures] == ["risk against coverage"]


def test_predictions_of_more_runs_than_are_read_are_said_to_be_left_out(log, monkeypatch):
    monkeypatch.setattr(record, "MOST_COMPARED", 2)
    answer = ask(log, "ensembles")
    assert "12 of 18 runs compared: the first 2 of each train size, at most 400." in [
        sentence.text for sentence in answer.sentences
    ]
    assert answer.tables[1].frame["members"].max() == 2


def test_an_ensemble_has_one_number_for_every_reader(log):
    answer = ask(log, "ensembles")
    together, by_members = (table.frame for table in answer.tables)
    last = together.row(-1, named=True)
    assert answer.headline == (
        f"{100 * last['accuracy']:.2f} % for 3 runs of 1,280 images together: no more than one run."
    )
    exported = answer.rows()
    assert by_members.equals(exported.filter(pl.col("members").is_in([1, 2, 3])))


def test_no_ensemble_of_one_run(project):
    write_run(project, fake_spec())
    why = ask(RunLog(project), "ensembles").why_not
    assert why == "An ensemble needs at least 2 runs with predictions, got 1."
    assert NOT_RECORDED.endswith(".")
