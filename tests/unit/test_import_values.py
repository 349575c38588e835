"""Values: in percent or as shares, the last that is one, and of runs that ended.

What belongs to the kinds: a column in percent by its values, its name or its percent signs, one of two in
one file, and a column of which these contradict each other; a run whose last rows have no value (blank,
nan, NA, a loss that is infinite) or none at all, the first run too; a run that a table of Weights & Biases,
MLflow or Ray says has crashed, failed, was stopped or still runs.
"""

from __future__ import annotations

import json

import pytest

from tests.unit.import_desk import event_file
from tui_datasize.runlog.reader import RunLog


@pytest.mark.parametrize(
    ("text", "test", "train"),
    [
        ("n,test_accuracy,train_accuracy\n40,61.5,90\n80,71.5,95\n", [0.615, 0.715], [0.9, 0.95]),
        ("n,test_accuracy,train_accuracy\n40,61.5,0.9\n80,71.5,0.95\n", [0.615, 0.715], [0.9, 0.95]),
        ("n,test acc (%),train acc\n40,61.5,0.9\n80,0.5,0.95\n", [0.615, 0.005], [0.9, 0.95]),
        ("n,test_accuracy,train_accuracy\n40,61.5%,0.9\n80,0.5 %,0.95\n", [0.615, 0.005], [0.9, 0.95]),
        ("n,test_accuracy,train_accuracy\n40,1,1.0\n80,0.5,1.0\n", [1.0, 0.5], [1.0, 1.0]),
        ("n,test_err,train_err\n40,2.9,0.5\n80,1.8,0.2\n", [0.971, 0.982], [0.995, 0.998]),
        ("n,test_acc,train_acc\n40,0.5,1.25\n80,0.75,1.5\n", [0.005, 0.0075], [0.0125, 0.015]),
        ("n,test_acc1,test_acc5,train_acc\n40,0.1,1.5,0.1\n80,0.2,1.6,0.2\n", [0.001, 0.002], [0.1, 0.2]),
        ("n,test_acc1,test_acc5,train_acc\n40,0.1,50,0.1\n80,0.2,60,0.2\n", [0.1, 0.2], [0.1, 0.2]),
        ("n,test_err1,test_err5,train_err\n40,30,0.5,0\n80,20,0.6,0\n", [0.7, 0.8], [1.0, 1.0]),
    ],
)
def test_each_column_tells_whether_it_is_in_percent(desk, text, test, train):
    assert desk.bring(desk.file("a.csv", text)) == 0
    found = desk.rows("test_accuracy", "train_accuracy")
    assert ([row[2] for row in found], [row[3] for row in found]) == (test, train)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("n,test_accuracy\n40,0.6\n80,71.5\n", "is 71.5, in percent as it seems, but 0.6 in line 2"),
        ("n,test acc (%)\n40,0.6\n80,0.7\n", "'test acc (%)' is in percent by its name, but no value is"),
        ("n,test_accuracy\n40,0.6\n80,71.5%\n", "holds numbers with a percent sign and others"),
        ("n,test_accuracy\n40,60\n80,171.5\n", "line 3: test_accuracy is 171.5, expected 0 to 100"),
        ("n,test_loss\n40,1\n80,-1\n", "line 3: test_loss is -1, expected 0 or more"),
    ],
)  # fmt: skip
def test_a_unit_that_is_contradicted_is_refused(desk, capsys, text, says):
    assert desk.bring(desk.file("a.csv", text)) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_timm_writes_percent_though_no_value_be_above_one(desk, capsys):
    log = "epoch,train_loss,eval_loss,eval_top1,eval_top5,lr\n0,6.9,6.9,0.1,0.5,1\n1,6.9,6.8,0.12,0.6,1\n"
    assert desk.bring(desk.file("n500_s0/summary.csv", log)) == 0
    assert desk.rows("test_accuracy", "train_loss") == [(500, 0, 0.0012, 6.9)]
    assert "eval_top1 is read as test_accuracy: no column is of the test split; in percent: as timm" in (
        capsys.readouterr().err
    )


def test_an_option_settles_the_unit(desk, capsys):
    file = desk.file("a.csv", "n,test acc (%)\n40,0.6\n80,0.7\n")
    assert desk.bring(file, "--percent", experiment="a") == 0
    assert desk.bring(file, "--no-percent", experiment="b") == 0
    assert [row[2] for row in desk.rows("test_accuracy")] == pytest.approx([0.006, 0.007, 0.6, 0.7])
    assert desk.bring(desk.file("b.csv", "n,test_acc\n40,60\n"), "--no-percent", experiment="c") == 2
    assert "test_acc is 60, expected 0 to 1" in capsys.readouterr().err


def test_runs_of_which_some_files_are_in_percent_are_refused_together(desk, capsys):
    files = [desk.file(f"n{n}_s0.csv", f"test_accuracy\n{v}\n") for n, v in ((40, 61.5), (80, 0.7))]
    assert desk.bring(*files) == 2
    assert "n80_s0.csv, line 2" in capsys.readouterr().err
    assert desk.rows("test_accuracy") == []


TOLD = ("--size", "500", "--seed", "0")


@pytest.mark.parametrize(
    ("text", "end", "says"),
    [
        (
            "epoch,accuracy,loss,val_accuracy,val_loss\n"
            "0,0.60,0.9,nan,nan\n1,0.80,0.5,0.72,0.7\n2,0.85,0.4,nan,nan\n",
            (0.72, 0.7, 0.85, 0.4),
            "test_accuracy of 1 run is the last that was measured, not of the end (size 500, seed 0: of ep",
        ),
        (
            "epoch,train_loss,val_loss,val_acc\n1,0.9,1.0,0.6\n2,0.5,inf,0.7\n3,0.4,NA,\n",
            (0.7, 1.0, None, 0.4),
            "test_loss of 1 run is the last that was measured, not of the end (size 500, seed 0: of ep",
        ),
        (
            "step,train_loss,val_acc\n10,0.9,0.6\n20,nan,0.7\n30,nan,0.1\n",
            (0.1, None, None, 0.9),
            "train_loss of 1 run is the last that was measured, not of the end (size 500, seed 0: of up",
        ),
        (
            "epoch,train_loss,val_loss,val_acc\n1,0.9,nan,0.6\n2,0.5,nan,0.7\n",
            (0.7, None, None, 0.5),
            "no run has a value of test_loss (blank or not finite)",
        ),
        (
            "epoch,train_loss,val_acc\n1,0.9,0.6\n2,0.5,0.7\n3,0.4,\n4,0.3,\n",
            (0.7, None, None, 0.3),
            "test_accuracy of 1 run is the last that was measured, not of the end (size 500, seed 0: of ep",
        ),
        (
            "epoch,val_acc\n1,0.6\n2,<NA>\n3,inf\n",
            (0.6, None, None, None),
            "test_accuracy of 1 run is the last that was measured, not of the end (size 500, seed 0: of ep",
        ),
    ],
)  # fmt: skip
def test_the_last_value_counts_and_its_place_is_told(desk, capsys, text, end, says):
    assert desk.bring(desk.file("log.csv", text), *TOLD) == 0
    (row,) = desk.rows("test_accuracy", "test_loss", "train_accuracy", "train_loss")
    assert row[2:] == end
    assert says in capsys.readouterr().err


def test_a_run_without_any_value_is_told_where_it_is_the_first_too(desk, capsys):
    assert desk.bring(desk.file("a.csv", "n,seed,test_accuracy,test_loss\n40,0,,1\n80,0,0.6,1\n")) == 0
    assert "1 of 2 runs has no value of test_accuracy" in capsys.readouterr().err


WANDB = (
    '"Name","State","n_train","seed","val_acc","Step"\n'
    '"a","finished","500","0","0.61","999"\n"b","finished","500","1","0.62","999"\n'
    '"c","crashed","2000","0","0.31","120"\n"d","finished","2000","1","0.78","999"\n'
)


@pytest.mark.parametrize(
    ("text", "left_out"),
    [
        (WANDB, "1 run left out as crashed (c)"),
        (
            WANDB.replace("State", "Success").replace("finished", "True").replace("crashed", "False"),
            "as Success False (c)",
        ),
        (
            WANDB.replace("State", "Status").replace("crashed", "UNFINISHED"),
            "1 run left out as UNFINISHED (c)",
        ),
        (WANDB.replace("crashed", "running"), "1 run left out as running (c)"),
        (
            "run_name,status,params.n_train,params.seed,metrics.val_acc\na,FINISHED,500,0,0.61\nb,FINISHED,500,1,0.62\n"
            "c,KILLED,2000,0,0.31\nd,FINISHED,2000,1,0.78\ne,FAILED,2000,2,0.2\n",
            "1 run left out as KILLED (c)",
        ),
        (
            "trial_status,config/n_train,config/seed,val_acc\nTERMINATED,500,0,0.61\nTERMINATED,500,1,0.62\n"
            "ERROR,2000,0,0.31\nTERMINATED,2000,1,0.78\n",
            "1 run left out as ERROR",
        ),
        (
            "n,seed,training_iteration,val_acc,done\n500,0,1,0.1,False\n500,0,2,0.61,True\n500,1,1,0.62,True\n"
            "2000,0,1,0.31,False\n2000,1,1,0.2,False\n2000,1,2,0.78,True\n",
            "1 run left out as done False (size 2000, seed 0)",
        ),
        (
            WANDB.replace("State", "exit_code").replace("finished", "0").replace("crashed", "137"),
            "exit_code 137 (c)",
        ),
        (
            WANDB.replace("State", "crashed")
            .replace('"finished"', "False")
            .replace('"c","crashed"', '"c","True"'),
            "crashed True (c)",
        ),
        (
            WANDB.replace("State", "job_state").replace("crashed", "CANCELLED by 1000"),
            "as CANCELLED by 1000 (c)",
        ),
    ],
)
def test_only_runs_that_ended_count(desk, capsys, text, left_out):
    file = desk.file("runs.csv", text)
    assert desk.bring(file) == 0
    assert desk.rows("test_accuracy") == [(500, 0, 0.61), (500, 1, 0.62), (2000, 1, 0.78)]
    said = capsys.readouterr().err
    assert left_out in said
    assert "--any-state reads them too" in said
    assert desk.bring(file, "--any-state", experiment="all") == 0
    assert (2000, 0, 0.31) in desk.rows("test_accuracy")


def test_a_state_that_is_not_known_is_asked_about_and_another_column_of_that_name_is_none(desk, capsys):
    assert desk.bring(desk.file("a.csv", WANDB.replace("crashed", "odd"))) == 2
    assert "line 4: State is 'odd', no state of a run that is known; --any-state" in capsys.readouterr().err
    assert desk.bring(desk.file("b.csv", "n,state,test_acc\n40,Ohio,0.5\n80,Utah,0.6\n")) == 0
    assert len(desk.rows()) == 2
    assert desk.bring(desk.file("c.csv", "n,state,test_acc\n40,failed,0.5\n"), experiment="none") == 2
    assert "no run there has ended; --any-state" in capsys.readouterr().err


def test_a_dry_run_shows_what_would_be_read_and_writes_nothing(desk, capsys):
    file = desk.file("runs.csv", WANDB.replace("Step", "Owner"))
    assert desk.bring(file, "--dry-run", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    read_as = {column["column"]: (column["read_as"], column["why"]) for column in shown["columns"]}
    assert read_as["State"] == ("state", "")
    assert read_as["n_train"] == ("size", "")
    assert read_as["val_acc"] == ("test_accuracy", "no column is of the test split")
    assert read_as["Owner"] == ("", "no field or metric of that name; --column NAME=COLUMN")
    assert [(run["train_size"], run["seed"], run["test_accuracy"]) for run in shown["runs"]] == [
        (500, 0, 0.61), (500, 1, 0.62), (2000, 1, 0.78),
    ]  # fmt: skip
    assert any("left out as crashed (c)" in note for note in shown["notes"])
    assert desk.bring(file, "--dry-run") == 0
    printed = capsys.readouterr()
    assert "no column is of the test split" in printed.out
    assert "3 runs would be imported; nothing was written" in printed.err
    assert not desk.project.runs.exists() or list(desk.project.runs.iterdir()) == []


ACTING = "\x1b]0;title\x07\x1b[2J\u202e"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("good.csv", f"size,test_accuracy,{ACTING}x\n500,0.7,1\n", ()),
        ("bad.csv", f"name,{ACTING}acc\n1,2\n", ()),
        ("run.csv", f"run,test_accuracy\n{ACTING}n=50pct,0.7\n", ()),
        ("state.csv", f"n,state,acc\n40,finished,0.7\n80,{ACTING},0.7\n", ()),
        ("variant.csv", f"n,{ACTING}v,acc\n40,{ACTING},0.7\n80,{ACTING},0.7\n", ("--variant", f"{ACTING}v")),
        (
            "tag/events.out.tfevents.1",
            event_file((1, ACTING, 0.5), (1, "test_accuracy", 0.5)),
            ("--size", "40"),
        ),
        ("book.csv", b"PK\x03\x04\x14\0\x06\0" + ACTING.encode(), ()),
    ],
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_no_character_of_an_imported_file_acts_on_the_terminal(desk, capsys, name, content, words, dry):
    desk.bring(desk.file(name, content), *words, *dry)
    printed = capsys.readouterr()
    assert printed.err
    assert not {"\x1b", "\x07", "\u202e"} & {*printed.out, *printed.err}
    assert not any("\x1b" in variant for variant in RunLog(desk.project).runs()["variant"])
