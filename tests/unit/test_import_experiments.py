"""Several data sets, models or methods in one file: told apart, or asked about, and never one curve."""

from __future__ import annotations

import json

import pytest

from tui_datasize.runlog.importing.collected import ForeignCell, ForeignRow, ForeignRun
from tui_datasize.runlog.reader import RunLog

TWO = "dataset,n,seed,test_acc\ncifar,500,0,.6\ncifar,1000,0,.7\nMNIST 28,500,0,.9\nMNIST 28,1000,0,.95\n"


@pytest.mark.parametrize("column", ["dataset", "Data Set", "model", "method", "optimizer"])
@pytest.mark.parametrize(
    "rows", ["a,500,.6\nb,1000,.9\n", "a,500,.6\na,900,.7\nb,500,.9\n", "a,500,.6\nb,500,.7\n"]
)
def test_values_that_are_hardly_of_one_curve_are_asked_about(desk, capsys, column, rows):
    assert desk.bring(desk.file("a.csv", f"{column},n,test_acc\n{rows}")) == 2
    error = capsys.readouterr().err
    assert f"{column!r} has several values (a, b); give --variant" in error
    assert "--experiment-column" in error
    assert error.count("\n") == 1
    assert desk.bring(desk.file("b.csv", f"{column},n,test_acc\na,500,.6\na,900,.7\n")) == 0


def test_each_value_of_the_column_is_an_experiment(desk, capsys):
    file = desk.file("a.csv", TWO)
    assert desk.bring(file, "--experiment-column", "dataset") == 0
    said = capsys.readouterr().err
    assert "theirs-cifar: 2 runs imported" in said
    assert "theirs-MNIST-28: 2 runs imported" in said
    runs = RunLog(desk.project).runs().sort("experiment", "train_size")
    assert runs.select("experiment", "train_size", "test_accuracy").rows() == [
        ("theirs-MNIST-28", 500, 0.9), ("theirs-MNIST-28", 1000, 0.95),
        ("theirs-cifar", 500, 0.6), ("theirs-cifar", 1000, 0.7),
    ]  # fmt: skip
    before = desk.tree()
    assert desk.bring(file, "--experiment-column", "dataset") == 0
    assert "2 were there with the same values" in capsys.readouterr().err
    assert desk.tree() == before
    assert desk.bring(file, "--experiment-column", "dataset", "--dry-run", "--json", experiment="x") == 0
    assert {run["group"] for run in json.loads(capsys.readouterr().out)["runs"]} == {"cifar", "MNIST 28"}


def test_a_value_that_one_experiment_has_already_leaves_all_as_they_were(desk, capsys):
    assert desk.bring(desk.file("a.csv", "n,seed,test_acc\n500,0,.5\n"), experiment="theirs-cifar") == 0
    before = desk.tree()
    assert desk.bring(desk.file("b.csv", TWO), "--experiment-column", "dataset") == 2
    assert "theirs-cifar has other values for cifar, size 500, seed 0" in capsys.readouterr().err
    assert desk.tree() == before
    alike = desk.file("c.csv", TWO.replace("MNIST 28", "cifar!"))
    assert desk.bring(alike, "--experiment-column", "dataset", experiment="c") == 2
    assert "'cifar' and 'cifar!' would both be experiment c-cifar" in capsys.readouterr().err


def test_a_row_is_written_as_json_writes_it():
    rows = (
        ForeignRow("train", 1, None, (), (), None),
        ForeignRow("test", 7, 1.5, ("accuracy", "loss", "ece"), (1e-7, None, 0.1), 3.25),
    )
    run = ForeignRun(ForeignCell(500, 0), rows)
    assert run.text.decode() == "".join(json.dumps(row) + "\n" for row in run.rows)
    assert run.text.partition(b"\n")[0].count(b"null") == len(run.rows[0]) - 3
