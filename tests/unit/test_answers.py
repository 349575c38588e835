"""What answers say: the number first, in whole sentences, of every metric and of what is left of a sweep."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.fakes import fake_spec, fake_sweep, write_run
from tui_datasize.answers.answer import Answer, Asked
from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.answers.record import Reading, Record
from tui_datasize.answers.tables import TABLES
from tui_datasize.cli import arguments
from tui_datasize.cli.dispatch import main
from tui_datasize.metric import METRICS_OFFERED, metric_named
from tui_datasize.render.console import PlainConsole
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog


def answer(project: ProjectPaths, name: str, metric: str = "test_accuracy", **asked: object) -> Answer:
    log = RunLog(project)
    record = Record(Reading(log, log.runs("digits")), metric_named(metric), Asked(**asked))  # type: ignore[arg-type]
    return QUESTIONS[name].ask(record)


def said(found: Answer) -> str:
    return "\n".join([found.headline, *(sentence.text for sentence in found.sentences), found.why_not])


def test_the_answer_is_now_then_the_next_doubling_then_the_target(finished):
    found = answer(finished, "answer", target=0.7)
    assert found.headline == "1,280 images: 80.3 % ± 1.1 (6 runs)."
    assert [sentence.text for sentence in found.sentences[:2]] == [
        "2,560 images: likely +2.9 points, 90 % sure of +0.5 to +4.5; 1 chance in 10 of more than +4.0.",
        "70 %: about 170 images, between your sizes 160 (69.6 %) and 320 (73.2 %). "
        "80 % of trainings reach it from about 200 images on.",
    ]
    assert found.sentences[2].text == (
        "Without the runs at 1,280 this would have said 77.4 to 81.6 %; measured: 80.3 %."
    )
    (row,) = found.rows().iter_rows(named=True)
    assert (row["images_low"], row["images_needed"], row["images_high"]) == (160, 172, 320)
    assert row["method"] == "measured"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (0.5, "50 %: at most 40 images (62.5 %), your smallest size."),
        (0.82, "82 %: about 1,900 images; 80 % sure of 1,600 to 3,300. 80 % of trainings reach it from"),
        (0.85, "85 %: about 4,400 images; 90 % sure of more than 2,900."),
        (0.95, "95 %: more than 10,000 images, 90 % sure. Run a larger size to know how many."),
    ],
)
def test_a_target_outside_of_the_sizes_has_odds(finished, target, words):
    assert words in said(answer(finished, "answer", target=target))


def test_two_sizes_answer_a_target_between_them_and_say_why_there_is_no_forecast(project):
    for spec in fake_sweep(sizes=(40, 640)):
        write_run(project, spec)
    words = said(answer(project, "answer", target=0.7))
    assert "1,280 images: no forecast. Needs 3 sizes, has 2." in words
    assert "70 %: about 170 images, between your sizes 40 (62.5 %) and 640 (76.7 %)." in words


def test_without_a_forecast_none_is_drawn(project):
    for spec in fake_sweep(subset_seeds=[0]):
        accuracy = 0.97 - 0.0001 * spec.train_size + spec.seed / 1e5
        write_run(project, spec, accuracy=accuracy, tables=False)
    found = answer(project, "answer")
    assert "no forecast" in said(found)
    assert "forecast" not in [line.name for line in found.figures[0].lines]


def test_the_best_of_several_variants_comes_first(fake_project):
    for spec in fake_sweep(subset_seeds=[0], batch_size=16):
        write_run(fake_project, spec, accuracy=0.5 + spec.train_size / 4000, tables=False)
    found = answer(fake_project, "answer", target=0.7)
    assert "70 %: batch_size=32 about 170 images, batch_size=16 about 760: 4.4 times fewer" in found.headline
    assert found.sentences[0].text.endswith("has the best mean of 2 variants: 1,280 images: 82.0 % (3 runs).")
    assert found.rows().height == 2
    assert [line.name for line in found.figures[0].lines] == sorted(found.rows()["variant"])


@pytest.fixture(scope="module")
def whole(finished_runs: Path) -> Reading:
    """The demo sweep, read once: nothing is added to it."""
    log = RunLog(ProjectPaths(finished_runs.parent))
    return Reading(log, log.runs("digits"))


KINDS = ("test_accuracy", "best_test_loss", "train_margin_wrong", "wall_s")
"""A share, a loss at the best evaluation, what has no value in some runs, and a time."""


@pytest.mark.parametrize(
    "metric",
    [pytest.param(one, marks=[pytest.mark.exhaustive] * (one not in KINDS)) for one in METRICS_OFFERED],
)
def test_every_question_is_answered_or_says_why_not(whole, metric):
    record = Record(whole, metric_named(metric), Asked())
    for name, question in QUESTIONS.items():
        found = question.ask(record)
        assert found.applies != bool(found.why_not), name
        for sentence in (found.headline, found.why_not, *(one.text for one in found.sentences)):
            assert not sentence or sentence[-1] in ".:?", sentence
            assert " it it " not in sentence
            assert "nan" not in sentence.lower().split()


def of_sizes(project, sizes, seeds) -> str:
    for spec in fake_sweep(sizes=sizes, seeds=seeds, subset_seeds=[0]):
        write_run(project, spec)
    found = answer(project, "laws")
    return found.tables[2].frame["law"][0] + "\n" + said(found)


def test_three_sizes_have_a_default_answer_that_is_named(project):
    text = of_sizes(project, (40, 80, 160), (0, 101, 202))
    assert text.startswith("half\n")
    assert "The averaged curve is the law half alone" in text
    assert "half (2), loglin (2) and pow2 (2); there are 3 sizes" in text
    assert "Residuals of the fit to means cannot be judged. Has too few sizes" in text


def test_four_sizes_say_which_laws_have_no_aicc_and_why(project):
    text = of_sizes(project, (40, 80, 160, 320), (0, 101, 202))
    assert text.split("\n")[0] in ("half", "pow2")
    assert "an average of laws, weighed by AICc: " in text
    assert "takes two sizes more than parameters: pow3 (3) and exp3 (3); there are 4 sizes" in text


def test_without_repeated_runs_the_scatter_is_a_parameter(project):
    text = of_sizes(project, (40, 80, 160, 320), (0,))
    assert "The averaged curve is the law half alone" in text
    assert "the scatter counted as one: half (3), loglin (3), pow2 (3), pow3 (4) and exp3 (4)" in text


def test_the_laws_are_told_with_every_way_to_fit(finished):
    found = answer(finished, "laws")
    assert found.headline.startswith("+3.6 points a doubling by the log-linear law, 95 % sure of +3.5")
    published, residuals, laws = (table.frame for table in found.tables)
    assert published["fitted_to"].to_list() == ["means", "means, weighted", "runs"]
    # Six means have no omnibus test.
    assert residuals["omnibus"].is_null().to_list() == [True, True, False]
    assert "needs 10 sizes, has 6" in laws["fit_failure"].to_list()
    assert "Weighted by 1/SE²: the standard error of each mean is drawn towards" in said(found)
    assert "The log-linear law is not rejected (lack of fit F(4," in said(found)


def test_a_metric_without_laws_says_so_once(finished):
    assert "no law here is fitted to" in said(answer(finished, "forecast", "test_ece"))


def test_one_run_and_one_size_print_a_reason(project):
    write_run(project, fake_spec(train_size=40))
    assert "80 images: no forecast. Needs 3 sizes, has 1." in said(answer(project, "answer"))


def test_a_point_that_sways_the_line_is_named(project):
    for spec in fake_sweep(subset_seeds=[0]):
        accuracy = 0.3 if spec.train_size == 1280 else 0.5 + 0.0001 * spec.train_size**0.5
        write_run(project, spec, accuracy=accuracy)
    assert "leans on 1,280 images: Cook's distance" in said(answer(project, "laws"))


def test_the_first_lines_of_analyze_are_the_answer(finished, capsys):
    assert main(["analyze", "digits", "--target", "70", "--project", str(finished.root)]) == 0
    now, doubling, target, *_ = capsys.readouterr().out.splitlines()
    assert now.startswith("1,280 images: 80.3 %")
    assert doubling.startswith("2,560 images: likely +2.9 points")
    assert target.startswith("70 %: about 170 images")


def test_in_a_terminal_analyze_draws_the_answer(finished, monkeypatch, capsys):
    monkeypatch.setattr(
        "tui_datasize.cli.tables.data_console", lambda: PlainConsole(force_terminal=True, width=80)
    )
    assert main(["analyze", "digits", "--project", str(finished.root)]) == 0
    first, _, rest = capsys.readouterr().out.partition("Can these numbers be trusted?")
    assert "train size, images" in first
    assert "forecast" in first
    assert rest


def test_what_is_read_of_runs_is_kept_until_they_change(fake_project, monkeypatch):
    log = RunLog(fake_project)
    runs, read = log.runs("digits"), []
    table, metrics = log.table, log.metrics
    monkeypatch.setattr(log, "table", lambda name, run_ids: read.append(name) or table(name, run_ids))
    monkeypatch.setattr(log, "metrics", lambda run_ids: read.append("metrics") or metrics(run_ids))
    first = Reading(log, runs)
    for metric in ("test_accuracy", "test_loss"):
        record = Record(first.renewed(runs.clone()), metric_named(metric))
        for question in ("audit", "overlap", "audit", "training-curves", "gap"):
            assert QUESTIONS[question].ask(record).applies
    assert sorted(read) == ["metrics", "predictions", "subsets", "subsets"]
    # A value changes which findings there are, and no subset.
    later = first.renewed(runs.with_columns(pl.col("test_accuracy") / 2))
    assert later.overlaps is first.overlaps
    assert later.findings is not first.findings
    assert sorted(read) == ["metrics", *["predictions"] * 2, *["subsets"] * 3]
    fewer = first.renewed(runs.filter(subset_seed=0))
    assert [len(overlap.draws) for overlap in fewer.overlaps] == [1] * 6


def test_every_table_of_export_is_offered():
    assert sorted(arguments.TABLES) == sorted(TABLES)
