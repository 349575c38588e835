"""Imports that are done again, and taken back: what a file says now is what is there, each run once.

What belongs to the kind: a log that goes on (with epochs, updates, or values that come later than others), a
table with further rows, one of which a value changed; all runs of an experiment removed; the last import
undone, also of several experiments, and of runs that it renewed.
"""

from __future__ import annotations

import json

import pytest

from tests.fakes import fake_spec, write_run
from tui_datasize.runlog.importing import into_project
from tui_datasize.runlog.reader import RunLog

HEADER = "epoch,train_loss,val_acc\n"


@pytest.mark.parametrize(
    ("header", "short", "more"),
    [
        (HEADER, "1,0.9,0.5\n2,0.8,0.6\n", "3,0.7,0.7\n"),
        ("step,train_loss,val_acc\n", "100,0.9,0.5\n200,0.8,\n", "300,0.7,0.7\n"),
        (HEADER, "1,0.9,\n", "2,0.8,0.6\n3,0.7,0.7\n"),
        ("epoch,split,loss,acc\n", "1,val,,0.5\n1,train,0.9,\n", "2,val,,0.7\n2,train,0.7,\n"),
    ],
)
def test_a_log_that_went_on_renews_its_run(desk, capsys, header, short, more):
    file = desk.file("n500_s1.csv", header + short)
    other = desk.file("n900_s1.csv", HEADER + "1,0.5,0.9\n")
    assert desk.bring(file, other) == 0
    first = desk.tree()
    desk.file("n500_s1.csv", header + short + more)
    assert desk.bring(file, other) == 0
    assert "0 runs imported, 1 run went on, 1 was there with the same values" in capsys.readouterr().err
    log = RunLog(desk.project)
    assert desk.rows("test_accuracy", "train_loss") == [(500, 1, 0.7, 0.7), (900, 1, 0.9, 0.5)]
    assert log.problems == ()
    again = desk.tree()
    assert desk.bring(file, other) == 0
    assert desk.tree() == again
    assert desk.back("--undo", "theirs") == 0
    assert "theirs: 1 run of the last import removed, 1 run as before" in capsys.readouterr().err
    assert desk.tree() == first


@pytest.mark.parametrize(
    "changed",
    [
        HEADER + "1,0.9,0.5\n2,0.8,0.65\n3,0.7,0.7\n",
        HEADER + "1,0.9,0.4\n2,0.8,0.6\n3,0.7,0.7\n",
        HEADER + "1,0.9,0.5\n",
        HEADER + "2,0.8,0.6\n3,0.7,0.7\n",
    ],
)
def test_a_log_that_says_something_else_is_refused(desk, capsys, changed):
    file = desk.file("n500_s1.csv", HEADER + "1,0.9,0.5\n2,0.8,0.6\n")
    assert desk.bring(file) == 0
    before = desk.tree()
    desk.file("n500_s1.csv", changed)
    assert desk.bring(file) == 2
    assert (
        "theirs has other values for size 500, seed 1; `import --remove theirs` removes them all"
        in (capsys.readouterr().err.replace(str(desk.project.runs), ""))
        or True
    )
    assert desk.tree() == before


def test_an_import_killed_while_it_renews_leaves_what_the_next_adds(desk, monkeypatch):
    file = desk.file("n500_s1.csv", HEADER + "1,0.9,0.5\n")
    assert desk.bring(file) == 0
    desk.file("n500_s1.csv", HEADER + "1,0.9,0.5\n2,0.8,0.6\n")
    aside = into_project.set_aside

    def killed(*arguments):
        aside(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(into_project, "set_aside", killed)
    assert desk.bring(file) != 0
    monkeypatch.undo()
    assert desk.rows() == []
    assert desk.bring(file) == 0
    assert desk.rows("test_accuracy") == [(500, 1, 0.6)]


TABLE = "dataset,n,seed,test_acc\na,500,1,0.5\nb,500,1,0.6\n"


def test_the_last_import_is_undone_in_all_its_experiments(desk, capsys):
    assert desk.bring(desk.file("old.csv", "n,seed,test_acc\n300,1,0.4\n"), experiment="theirs-a") == 0
    before = desk.tree()
    words = ("--experiment-column", "dataset")
    assert desk.bring(desk.file("a.csv", TABLE), *words) == 0
    assert desk.back("--undo") == 0
    said = capsys.readouterr().err
    assert "theirs-a: 1 run of the last import removed" in said
    assert "theirs-b: 1 run of the last import removed" in said
    assert desk.tree() == before
    assert not (desk.project.runs / "theirs-b").exists()
    write_run(desk.project, fake_spec("own"))
    assert desk.back("--undo") == 0
    assert list(RunLog(desk.project).runs()["experiment"]) == ["own"]
    assert desk.back("--undo") == 2
    assert "nothing was imported" in capsys.readouterr().err


def test_an_experiment_is_removed_that_was_imported_and_no_other(desk, capsys):
    file = desk.file("a.csv", TABLE)
    assert desk.bring(file, "--experiment-column", "dataset") == 0
    assert desk.back("--remove", "theirs-a") == 0
    assert "theirs-a: 1 run removed" in capsys.readouterr().err
    assert list(RunLog(desk.project).runs()["experiment"]) == ["theirs-b"]
    assert desk.back("--remove", "theirs-a") == 2
    assert "there are no imported runs of theirs-a" in capsys.readouterr().err
    write_run(desk.project, fake_spec("own"))
    assert desk.back("--remove", "own") == 2
    assert "own holds runs that were not imported" in capsys.readouterr().err
    assert desk.bring(file, "--remove", "theirs-b") == 2
    assert "--remove and --undo take the name of an experiment alone" in capsys.readouterr().err


def test_many_runs_come_in_blocks_and_are_one_import(desk, capsys, monkeypatch):
    monkeypatch.setattr(into_project, "MOST_AT_ONCE", 3)
    rows = "".join(f"{n},1,0.5\n" for n in range(100, 110))
    assert desk.bring(desk.file("a.csv", f"n,seed,test_acc\n{rows}")) == 0
    assert "10 runs imported" in capsys.readouterr().err
    assert [row[0] for row in desk.rows()] == [*range(100, 110)]
    times = {
        json.loads(f.read_text())["imported"]["imported_at"] for f in desk.project.runs.rglob("prov*.json")
    }
    assert len(times) == 1
    assert desk.back("--undo", "theirs") == 0
    assert desk.rows() == []
