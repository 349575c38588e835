"""Runs that learn without labels in what is said of runs: alone, and in nothing that is of classes."""

import json

import polars as pl
import pytest

from tests.fakes import fake_spec, write_run
from tests.unit.asking import ask
from tests.unit.record_desk import record_of, said
from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.answers.tables import TABLES
from tui_datasize.experiments.pretext import LearningTask
from tui_datasize.experiments.spec import SubsetSpec, Transfer
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.schema import RUNS
from tui_datasize.stats.curve import learning_curve, points

SHARES = {5: 0.5, 6: 0.625, 7: 0.75}


def starts(task: str = "rotation", size: int = 100) -> pl.DataFrame:
    rows = [
        {
            "run_id": f"turned-{seed}",
            "experiment": "turned",
            "variant": "",
            "task": task,
            "train_size": size,
            "subset_seed": 0,
            "seed": seed,
            "state": "succeeded",
            "validation_accuracy": share,
            "validation_loss": 1.0,
        }
        for seed, share in SHARES.items()
    ]
    return pl.DataFrame(rows)


def test_what_they_tell_right_stands_first_and_that_they_are_on_no_curve():
    record = record_of(starts())
    answer = QUESTIONS["answer"].ask(record)
    assert answer.headline == (
        "62.50 % right (runs from 50.00 % to 75.00 %; 25 % by chance) in telling which way up images are, of "
        "images held out: 3 runs of 100 images."
    )
    assert "they appear in no learning curve" in said(answer)
    assert answer.tables[0].frame["validation_accuracy"].to_list() == [*SHARES.values()]
    assert said(QUESTIONS["starts"].ask(record)) == said(answer)
    simclr = QUESTIONS["answer"].ask(record_of(starts("simclr")))
    told = "by chance one of all other views of a batch) in telling which two views are of one image"
    assert told in said(simclr)


def test_where_nothing_learns_without_labels_that_is_said():
    assert QUESTIONS["starts"].ask(record_of(starts("classification"))).why_not == (
        "No run here learns without labels."
    )


def test_no_other_question_is_answered_and_each_says_why():
    record = record_of(starts())
    for name, entry in QUESTIONS.items():
        answer = entry.ask(record)
        if name in ("answer", "starts", "audit"):
            assert answer.applies, name
            assert entry.missing(record.all_runs) == ""
        else:
            assert answer.why_not.startswith("These runs learn without labels"), name
            assert entry.missing(record.all_runs) == "runs that learn from labels"
            assert not entry.is_offered(record.all_runs)
    assert QUESTIONS["audit"].ask(record).headline == "No problems found."


@pytest.mark.parametrize("metric", ["test_accuracy", "validation_accuracy"])
def test_they_are_in_no_curve_fit_or_comparison_not_even_beside_others(metric):
    labelled = starts("classification").with_columns(
        run_id="run_id" + pl.lit("-c"), test_accuracy="validation_accuracy"
    )
    both = pl.concat([starts(), labelled], how="diagonal_relaxed")
    assert points(both, metric).height == 3
    assert points(both.filter(task="rotation"), metric).is_empty()
    assert learning_curve(both, metric)["n_runs"].to_list() == [3]
    record = record_of(both, metric)
    assert QUESTIONS["answer"].ask(record).headline != ""
    assert "right" not in QUESTIONS["answer"].ask(record).headline
    for name, table in TABLES.items():
        if name not in ("runs", "metrics"):
            told = table(record_of(starts(), metric))
            assert (
                "n_runs" not in told.columns or not told["n_runs"].drop_nulls().sum() or name == "ensembles"
            )


def test_imported_runs_are_of_classes_though_nobody_says_so():
    untold = starts().with_columns(task=pl.lit(None, pl.String))
    assert points(untold, "validation_accuracy").height == 3
    assert points(untold.drop("task"), "validation_accuracy").height == 3


def test_who_starts_from_them_is_counted_and_said_in_words(project):
    source = fake_spec("turned", task=LearningTask("rotation"), validation=0.2, subset=SubsetSpec("random"))
    paths = write_run(project, source, tables=False)
    rows = [json.loads(line) for line in paths.metrics.read_text().splitlines()]
    kept = [row | {"split": "validation"} if row["split"] == "test" else row for row in rows]
    paths.metrics.write_text(
        "".join(
            f"{json.dumps(row)}\n" for row in kept if (row["event"], row["split"]) != ("evaluation", "train")
        )
    )
    transfer = Transfer(source.run_id, None, freeze=True, task="rotation")
    for seed in (0, 1):
        for taken in (None, transfer):
            write_run(project, fake_spec("later", seed=seed, transfer=taken), tables=False)
    log = RunLog(project)
    told = ask(log, "starts", experiment="turned")
    assert "2 runs of the experiment later begin with these weights." in said(told)
    assert told.tables[0].frame["begun"].to_list() == [2]
    words = ask(log, "levers", experiment="later").tables[0].frame["variant"].to_list()
    assert "all layers frozen after rotation from turned" in words
    assert set(log.runs("later")["transfer"]) == {"base", "rotation-SallT"}


def test_a_record_without_a_run_that_ended_says_so():
    waiting = starts().with_columns(state=pl.lit("queued"))
    assert "3 runs without labels: none has succeeded yet." in said(
        QUESTIONS["answer"].ask(record_of(waiting))
    )
    assert not QUESTIONS["starts"].is_offered(pl.DataFrame(schema=dict(RUNS)))
