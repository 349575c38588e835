"""Splits: which values are of the test split is told by the file, or asked for.

What belongs to the kind: a bare score that is the training value (Keras: `accuracy` beside `val_accuracy`;
the Hugging Face trainer: `loss` beside `eval_loss`; Weights & Biases tables of both); a bare score that is
of the validation split (fastai, Ultralytics); a log that tells nothing; validation values beside test
values, in one file or in two; splits told by tags (`val/acc`), by folders (`train/`, `validation/`, one
made by `add_scalars`) and by a column of rows; two columns that may be the same metric; errors, which are 1
minus an accuracy.
"""

from __future__ import annotations

import pytest

from tests.unit.import_desk import event_file
from tui_datasize.runlog.importing.meanings import folder_split, meaning_of

KERAS = (
    "model,seed,epoch,loss,val_loss,accuracy,val_accuracy\n"
    "mlp,0,1,0.40,0.50,0.90,0.85\nmlp,0,2,0.10,0.45,0.99,0.91\n"
    "cnn,0,1,0.30,0.31,0.94,0.93\ncnn,0,2,0.05,0.25,0.995,0.95\n"
)
HELD_OUT = [(500, 0, 0.95, 0.995), (500, 0, 0.91, 0.99)]


@pytest.mark.parametrize(
    "words",
    [(), ("--column", "test_accuracy=val_accuracy"), ("--test-split", "val")],
    ids=["bare", "told", "split"],
)
def test_a_bare_score_beside_its_validation_twin_is_the_training_value(desk, capsys, words):
    assert desk.bring(desk.file("log.csv", KERAS), "--size", "500", "--variant", "model", *words) == 0
    assert desk.rows("test_accuracy", "train_accuracy") == HELD_OUT
    assert "accuracy is read as train_accuracy: the training value" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "test", "train"),
    [
        # The Hugging Face trainer's log.
        ("step,loss,eval_loss,eval_accuracy\n10,0.9,1.1,0.6\n20,0.5,0.8,0.7\n", (0.7, 0.8), (None, 0.5)),
        # fastai
        (
            "epoch,train_loss,valid_loss,accuracy,time\n0,0.9,1.1,0.6,00:12\n1,0.5,0.8,0.7,00:12\n",
            (0.7, 0.8),
            (None, 0.5),
        ),
        # Ultralytics
        (
            "epoch,train/loss,metrics/accuracy_top1,val/loss\n1,0.9,0.6,1.1\n2,0.5,0.7,0.8\n",
            (0.7, 0.8),
            (None, 0.5),
        ),
        # timm
        (
            "epoch,train_loss,eval_loss,eval_top1,eval_top5\n0,0.9,1.1,60,90\n1,0.5,0.8,70,91\n",
            (0.7, 0.8),
            (None, 0.5),
        ),
        # Lightning, with the values per step beside those per epoch
        (
            "epoch,step,train_loss_step,train_loss_epoch,val_loss,val_acc\n0,5,0.95,,,\n0,9,,0.9,,\n0,9,,,1.1,0.6\n"
            "1,15,0.4,,,\n1,19,,0.5,,\n1,19,,,0.8,0.7\n",
            (0.7, 0.8),
            (None, 0.5),
        ),
        # A table of runs with the names that MLflow gives
        ("metrics.val_acc,metrics.train_loss,metrics.val_loss\n0.7,0.5,0.8\n", (0.7, 0.8), (None, 0.5)),
        # Validation beside test
        ("epoch,val_acc,test_acc,test_loss\n1,0.9,0.6,1.1\n2,0.95,0.7,0.8\n", (0.7, 0.8), (None, None)),
        ("accuracy,train_accuracy,loss,train_loss\n0.7,0.9,0.8,0.5\n", (0.7, 0.8), (0.9, 0.5)),
        ("epoch,split,acc,loss\n1,train,0.9,0.5\n1,valid,0.7,0.8\n", (0.7, 0.8), (0.9, 0.5)),
        ("test_err,train error,test loss\n0.3,0.1,0.8\n", (0.7, 0.8), (0.9, None)),
        ("Test error (%),Train Acc (%),test loss\n30,90,0.8\n", (0.7, 0.8), (0.9, None)),
        ("error_rate,loss\n0.3,0.8\n", (0.7, 0.8), (None, None)),
    ],
)  # fmt: skip
def test_the_names_of_the_usual_trainers(desk, text, test, train):
    assert desk.bring(desk.file("log.csv", text), "--size", "500", "--seed", "0") == 0
    (row,) = desk.rows("test_accuracy", "test_loss", "train_accuracy", "train_loss")
    assert row[2:] == (*test, *train)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "epoch,accuracy\n1,0.8\n2,0.9\n",
            "not given: accuracy; give --column test_accuracy=accuracy or --column train_accuracy=accuracy",
        ),
        ("epoch,acc,test_loss\n1,0.8,1\n2,0.9,1\n", "test_accuracy=acc or --column train_accuracy=acc"),
        ("val_acc,val_top1\n0.8,0.9\n", "'val_acc' and 'val_top1' may both be test_accuracy; name"),
        ("epoch,split,acc\n1,holdout,0.9\n", "--test-split holdout takes it for the test split"),
    ],
)  # fmt: skip
def test_what_cannot_be_known_is_asked_for(desk, capsys, text, says):
    assert desk.bring(desk.file("log.csv", text), "--size", "500") == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_what_was_asked_for_settles_it(desk):
    log = desk.file("log.csv", "epoch,accuracy\n1,0.8\n2,0.9\n")
    assert desk.bring(log, "--size", "500", "--column", "train_accuracy=accuracy", experiment="a") == 0
    two = desk.file("two.csv", "val_acc,val_top1\n0.8,0.9\n")
    assert desk.bring(two, "--size", "500", "--column", "test_accuracy=val_top1", experiment="b") == 0
    assert desk.bring(two, "--size", "500", "--ignore", "val_top1", experiment="c") == 0
    rows = desk.file("rows.csv", "epoch,split,acc\n1,holdout,0.7\n")
    assert desk.bring(rows, "--size", "500", "--test-split", "holdout", experiment="d") == 0
    assert desk.rows("test_accuracy", "train_accuracy") == [
        (500, 0, None, 0.9), (500, 0, 0.9, None), (500, 0, 0.8, None), (500, 0, 0.7, None),
    ]  # fmt: skip


def test_validation_values_are_no_test_values_where_another_file_has_these(desk, capsys):
    tests = desk.file("a.csv", "n,seed,test_accuracy\n40,0,0.5\n")
    others = desk.file("b.csv", "n,seed,val_accuracy,train_accuracy\n80,0,0.9,0.95\n")
    assert desk.bring(tests, others) == 0
    assert desk.rows("test_accuracy", "train_accuracy") == [(40, 0, 0.5, None), (80, 0, None, 0.95)]
    said = capsys.readouterr().err
    assert "val_accuracy is not read: of the validation split" in said
    assert "--test-split val reads it as the test split" in said


@pytest.mark.parametrize(
    ("folders", "tags"),
    [
        (("train", "validation"), ("epoch_accuracy", "epoch_accuracy")),
        (("training", "test"), ("acc", "acc")),
        (("acc_train", "acc_val"), ("acc", "acc")),
        (("", ""), ("Accuracy/train", "Accuracy/test")),
    ],
)
def test_tags_and_folders_of_event_files_tell_the_split(desk, folders, tags):
    for n in (40, 80):
        for folder, tag, value in zip(folders, tags, (0.9, n / 160), strict=True):
            values = ((100, tag, 0.1), (200, tag, value))
            desk.file(f"logs/n{n}_s3/{folder}/events.out.tfevents.{folder}{len(tag)}", event_file(*values))
    assert desk.bring(desk.project.root / "logs") == 0
    found = [
        (size, seed, test, round(train, 6))
        for size, seed, test, train in desk.rows("test_accuracy", "train_accuracy")
    ]
    assert found == [(40, 3, 0.25, 0.9), (80, 3, 0.5, 0.9)]


def test_a_bare_tag_in_a_folder_that_tells_nothing_is_asked_for(desk, capsys):
    desk.file("logs/n40_s3/events.out.tfevents.1", event_file((1, "acc", 0.1), (2, "acc", 0.2)))
    assert desk.bring(desk.project.root / "logs") == 2
    assert "--column test_accuracy=acc" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    [
        "weighted_accuracy",
        "best_val_acc",
        "val_test_acc",
        "accuracy_std",
        "loss_scale",
        "f1",
        "train",
        "acc_gap",
        "\u0394 test_acc",
        "\u03c3(test_acc)",
        "test_acc \u00b1",
        "- test_loss",
        "1 - test_acc",
        "test_acc (\u2030)",
        "~test_acc",
        "fr\u00fche test_acc",
    ],
)
def test_a_name_with_a_word_that_is_not_known_is_no_metric(name):
    assert meaning_of(name) is None


@pytest.mark.parametrize(
    ("header", "read"),
    [
        ("n,acc_1,acc_2,acc_3", None),
        ("n,test_acc1,test_acc2,test_acc3,test_acc4,test_acc5", None),
        ("n,acc1,acc2,val_acc", 0.75),
        ("n,test_err1,test_err2", None),
        ("n,top1,top2,top5", 0.25),
        ("n,acc@1,acc@2,acc@5", 0.25),
        ("n,test_acc1,test_acc5", 0.25),
    ],
)
def test_columns_that_a_number_tells_apart_are_repeats_and_not_the_best_answers(desk, capsys, header, read):
    cells = [500, 0.25, 0.5, 0.75, 0.8, 0.85][: header.count(",") + 1]
    file = desk.file("a.csv", f"{header}\n{','.join(map(str, cells))}\n")
    assert desk.bring(file) == (2 if read is None else 0)
    assert [row[2] for row in desk.rows("test_accuracy")] == ([] if read is None else [read])
    is_told = "one of several columns with a number each, of repeats as it seems" in capsys.readouterr().err
    assert is_told == (read != 0.25)


def test_the_name_of_a_file_tells_the_split_where_nothing_in_it_does(desk, capsys):
    for split, values in (("train", (0.9, 0.95)), ("val", (0.5, 0.625))):
        rows = "".join(f"{epoch},{value}\n" for epoch, value in enumerate(values))
        desk.file(f"logs/n500_s0/{split}.csv", f"epoch,acc\n{rows}")
    assert desk.bring(desk.project.root / "logs") == 0
    assert desk.bring(desk.file("n500_s1_train.csv", "acc,loss\n0.9,0.1\n"), experiment="trained") == 0
    assert "there is no test or validation split" in capsys.readouterr().err
    log = "epoch,accuracy,val_accuracy\n0,0.9,0.5\n1,0.95,0.625\n"
    assert desk.bring(desk.file("n500_s2/test.csv", log), experiment="keras") == 0
    assert desk.rows("test_accuracy", "train_accuracy") == [
        (500, 2, 0.625, 0.95), (500, 0, 0.625, 0.95), (500, 1, None, 0.9),
    ]  # fmt: skip


def test_a_table_with_a_row_for_each_metric_is_asked_about(desk, capsys):
    file = desk.file("a.csv", "n,metric,value\n500,test_acc,0.7\n500,test_loss,0.9\n")
    assert desk.bring(file, "--column", "test_accuracy=value") == 2
    assert "'metric' names metrics (test_acc, test_loss), a row for each; give each a column" in (
        capsys.readouterr().err
    )


def test_a_folder_named_like_a_run_is_none_of_a_split():
    assert folder_split("logs/n500_s0") == ("logs/n500_s0", "")
    assert folder_split("logs/latest") == ("logs/latest", "")


@pytest.mark.parametrize(
    "rows", ["500,0,train,1\n500,0,val,0.7\n", "500,0,train,1\n500,1,train,0.9\n", "500,0,Validation,0.7\n"]
)
def test_a_column_of_which_every_text_is_a_split_is_asked_about(desk, capsys, rows):
    file = desk.file("a.csv", f"n,seed,the phase,acc\n{rows}")
    assert desk.bring(file) == 2
    assert "give --column 'split=the phase', or --ignore 'the phase'" in capsys.readouterr().err
    assert desk.bring(file, "--column", "split=the phase") == 0
    assert desk.rows("test_accuracy")[0][2] == (0.7 if "0.7" in rows else None)
