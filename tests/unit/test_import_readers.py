"""Logs and folders as trainers leave them, each with the numbers that its trainer would show.

What belongs to the kinds: printed logs of the scripts of PyTorch and torchvision (an epoch's means, a test's
last line, averaged weights, a log that ends within an epoch); configurations beside logs (Lightning, Weights
& Biases, timm, Ray), which a folder's name must not contradict; runs of MLflow, by their state; tables of the
API of Weights & Biases; confusion matrices, labelled or not; workbooks.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence

import pytest

from tests.unit.import_desk import event_file
from tests.unit.import_workbook import workbook

TRAINED = (
    "Epoch: [{}]  [1500/1563]  eta: 0:00:31  lr: 0.1  img/s: 19.9  "
    "loss: 9.0 ({})  acc1: 50.0 ({})  acc5: 9 (60)\n"
)
TESTED = "Test:   [390/391]  eta: 0:00:01  loss: 7.7 ({})  acc1: 0.0 (0.0)  acc5: 0.0 (0.0)  time: 0.6\n"


def values(desk, *metrics: str) -> list[tuple]:
    return [tuple(round(v, 6) if isinstance(v, float) else v for v in row) for row in desk.rows(*metrics)]


def torchvision(*epochs: tuple[float, float, float, float]) -> str:
    text = "Namespace(data_path='/data')\n"
    for epoch, (loss, acc, test_loss, test_acc) in enumerate(epochs):
        text += TRAINED.format(epoch, 8.5, 1) + TRAINED.format(epoch, loss, acc)
        text += f"Epoch: [{epoch}] Total time: 0:01:10\n" + TESTED.format(8.5) + TESTED.format(test_loss)
        text += f"Test:  Acc@1 {test_acc:.3f} Acc@5 90.100\nTest: EMA Acc@1 99.000 Acc@5 99.900\n"
    return text


EXAMPLES = (
    "=> creating model 'resnet18'\n"
    "Epoch: [0][  10/5005]\tTime 0.5 (0.9)\tLoss 7.0e+00 (7.1e+00)\tAcc@1   0.00 (0.20)\tAcc@5  0.4 ( 0.5)\n"
    "Epoch: [0][5000/5005]\tTime 0.5 (0.9)\tLoss 6.0e+00 (6.5e+00)\tAcc@1   9.00 (5.50)\tAcc@5  9.4 ( 9.5)\n"
    "Test: [190/196]\tTime  0.4 ( 0.9)\tLoss 6.0e+00 (5.5e+00)\tAcc@1  9.00 (  9.10)\tAcc@5  20 (21)\n"
    " *   Acc@1 9.250 Acc@5 21.500\n"
)


def test_printed_logs_count_the_means_of_each_epoch_and_the_last_test(desk, capsys):
    desk.file("logs/n500_s1/train.log", torchvision((3.0, 20.0, 2.5, 30.0), (2.0, 55.5, 1.5, 61.25)))
    desk.file("logs/n500_s2/train.log", torchvision((3.0, 0.5, 2.5, 0.75)))
    desk.file("logs/n900_s1/out.txt", EXAMPLES)
    desk.file("logs/n900_s1/notes.txt", "nothing of a log\n")
    assert desk.bring(desk.project.root / "logs") == 0
    metrics = ("test_accuracy", "test_loss", "train_accuracy", "train_loss", "test_top5")
    assert values(desk, *metrics) == [
        (500, 1, 0.6125, 1.5, 0.555, 2.0, 0.901),
        (500, 2, 0.0075, 2.5, 0.005, 3.0, 0.901),
        (900, 1, 0.0925, 5.5, 0.055, 6.5, 0.215),
    ]
    assert "tests of averaged weights (EMA) are left out" in capsys.readouterr().err


def test_a_printed_log_that_ends_within_an_epoch_is_told(desk, capsys):
    text = torchvision((3.0, 20.0, 2.5, 30.0)) + TRAINED.format(1, 1.0, 40.0)
    assert desk.bring(desk.file("n500_s1/train.log", text)) == 0
    assert "is of a training: its epoch may be cut off: read as it stands" in capsys.readouterr().err
    assert values(desk, "test_accuracy", "train_loss") == [(500, 1, 0.3, 1.0)]
    assert desk.bring(desk.file("n500_s1/train.log", text), "--strict", experiment="strict") == 2


LIGHTNING = "epoch,step,train_loss,val_acc\n0,99,,0.6\n0,99,0.9,\n1,199,,{}\n1,199,0.5,\n"


@pytest.mark.parametrize(
    ("name", "config", "words"),
    [
        ("hparams.yaml", "lr: 0.1\nn_train: {n}\nseed: 3  # of all\nlayers: [1, 2]\n", ()),
        ("config.yaml", "n_train:\n  desc: null\n  value: {n}\nseed:\n  value: 3\n_wandb:\n  value: 7\n", ()),
        (
            ".hydra/config.yaml",
            "data:\n  images: {n}\nseed: 3\nmodel:\n  size: 64\n",
            ("--column", "size=data/images"),
        ),
        ("args.yaml", "train_size: {n}\nseed: '3'\n", ()),
        ("params.json", '{{"data": {{"n": {n}}}, "random_seed": 3}}', ("--column", "size=data/n")),
    ],
)
def test_the_configuration_beside_a_log_tells_size_and_seed(desk, capsys, name, config, words):
    for version, (n, value) in enumerate(((500, 0.7), (900, 0.8))):
        folder = f"logs/version_{version}"
        desk.file(f"{folder}/metrics.csv", LIGHTNING.format(value))
        desk.file(f"{folder}/{name}", config.format(n=n))
    assert desk.bring(desk.project.root / "logs", *words) == 0, capsys.readouterr().err
    assert values(desk, "test_accuracy", "train_loss", "updates") == [
        (500, 3, 0.7, 0.5, 199),
        (900, 3, 0.8, 0.5, 199),
    ]


def test_the_configuration_beside_event_files_tells_size_and_seed(desk, capsys):
    events = event_file((1, "val_acc", 0.5), (2, "val_acc", 0.75))
    desk.file("logs/version_0/events.out.tfevents.1", events)
    desk.file("logs/version_0/hparams.yaml", "train_size: 500\nseed: 3\nn: 9\n")
    assert desk.bring(desk.project.root / "logs") == 0
    assert values(desk, "test_accuracy", "updates") == [(500, 3, 0.75, 2)]
    desk.file("n900_s3/events.out.tfevents.1", events)
    desk.file("n900_s3/hparams.yaml", "train_size: 500\n")
    assert desk.bring(desk.project.root / "n900_s3", experiment="b") == 2
    assert "the size is 500 by its column and 900 by the name of run" in capsys.readouterr().err


def test_a_configuration_that_the_name_contradicts_is_asked_about(desk, capsys):
    desk.file("n500_s3/hparams.yaml", "n_train: 900\nseed: 3\n")
    assert desk.bring(desk.file("n500_s3/metrics.csv", LIGHTNING.format(0.7))) == 2
    assert "the size is 900 by its column and 500 by the name of run" in capsys.readouterr().err
    desk.file("odd/hparams.yaml", "size: 64\nn: 3\ntrain_size: 0.8\n")
    assert desk.bring(desk.file("odd/metrics.csv", LIGHTNING.format(0.7))) == 2
    assert "'0.8' is a share, not a number of images" in capsys.readouterr().err


def test_a_table_of_several_runs_asks_no_configuration(desk):
    desk.file("config.yaml", "seed: 42\ntrain_size: 7\n")
    assert desk.bring(desk.file("a.csv", "n,test_acc\n500,0.7\n500,0.8\n900,0.9\n")) == 0
    assert values(desk, "test_accuracy") == [(500, 0, 0.7), (500, 1, 0.8), (900, 0, 0.9)]


def test_a_last_line_of_a_printed_log_or_metric_without_a_line_end_is_told(desk, capsys):
    printed = torchvision((3.0, 20.0, 2.5, 30.0)).partition("Test: EMA")[0][:-5]
    assert desk.bring(desk.file("n500_s1/train.log", printed)) == 0
    assert "the last, has no line end: read, though its last value may be cut off" in capsys.readouterr().err
    mlflow(desk, "abc", 500, [0.6])
    desk.file("mlruns/0/abc/metrics/val/acc", "17000 0.6 1")
    assert desk.bring(desk.project.root / "mlruns", experiment="m") == 0
    assert "the last line of metrics/val/acc has no line end" in capsys.readouterr().err


def test_the_summary_of_a_run_folder_of_weights_and_biases(desk):
    for number, n in enumerate((500, 900)):
        folder = f"wandb/run-2026{number}/files"
        desk.file(
            f"{folder}/wandb-summary.json",
            json.dumps({"val_acc": n / 1000, "_step": 99, "_wandb": {"runtime": 9}}),
        )
        desk.file(f"{folder}/config.yaml", f"n_train:\n  value: {n}\nseed:\n  value: 1\n")
    assert desk.bring(desk.project.root / "wandb") == 0
    assert values(desk, "test_accuracy", "updates") == [(500, 1, 0.5, 99), (900, 1, 0.9, 99)]


API = (
    ",summary,config,name\n"
    "0,\"{'val_acc': 0.7, 'loss': nan, '_step': 9}\",\"{'n_train': 500, 'seed': 1, 'opt': {'a': 1}}\",a\n"
    '1,"{""val_acc"": 0.8, ""_step"": 9}","{""n_train"": 900, ""seed"": 1}",b\n'
)


def test_a_table_of_the_api_of_weights_and_biases(desk, capsys):
    assert desk.bring(desk.file("project.csv", API)) == 0
    assert values(desk, "test_accuracy", "updates") == [(500, 1, 0.7, 9), (900, 1, 0.8, 9)]
    assert desk.bring(desk.file("b.csv", API + "2,{oops,{},x\n"), experiment="b") == 2
    assert "line 4: summary is '{oops', expected a dictionary" in capsys.readouterr().err


def mlflow(desk, name: str, n: int, accuracies: Sequence[float], status: int = 3) -> None:
    folder = f"mlruns/0/{name}"
    desk.file("mlruns/0/meta.yaml", "experiment_id: '0'\nname: Default\n")
    desk.file(f"{folder}/meta.yaml", f"run_id: {name}\nrun_name: sunny-{name}\nstatus: {status}\n")
    desk.file(f"{folder}/params/n_train", str(n))
    desk.file(f"{folder}/params/seed", "1")
    desk.file(f"{folder}/artifacts/model/metrics.json", "{}")
    lines = "".join(f"170000000{step} {value} {step}\n" for step, value in enumerate(accuracies))
    desk.file(f"{folder}/metrics/val/acc", lines)


def test_a_folder_of_mlflow(desk, capsys):
    mlflow(desk, "abc", 500, [0.6, 0.7])
    mlflow(desk, "def", 900, [0.8])
    mlflow(desk, "ghi", 700, [0.1], status=4)
    assert desk.bring(desk.project.root / "mlruns") == 0
    assert values(desk, "test_accuracy") == [(500, 1, 0.7), (900, 1, 0.8)]
    assert "1 run left out as failed (sunny-ghi)" in capsys.readouterr().err
    desk.file("mlruns/0/abc/metrics/val/acc", "17000 0.6 0\n17000 half 1 2\n")
    assert desk.bring(desk.project.root / "mlruns/0/abc/meta.yaml", experiment="b") == 2
    assert "metrics/val/acc is damaged in line 2" in capsys.readouterr().err


# Right: 21 of 25; F1 of each class 2 * right / (row + column): 10/13, 14/18, 18/19.
ACCURACY, F1 = 0.84, round((10 / 13 + 14 / 18 + 18 / 19) / 3, 6)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("n500_s1/confusion.txt", "[[5 1 0]\n [2 7 1]\n [0 0 9]]\n"),
        ("n500_s1/out.json", "[[5, 1, 0],\n [2, 7, 1],\n [0, 0, 9]]\n"),
        ("n500_s1/confusion_matrix.csv", "5,1,0\n2,7,1\n0,0,9\n"),
        ("n500_s1/confusion_matrix_test.csv", "5,2,0\n1,7,0\n0,1,9\n"),
        ("n500_s1/labelled.csv", ",cat,dog,eel\ncat,5,1,0\ndog,2,7,1\neel,0,0,9\n"),
        ("n500_s1/wide.tsv", "\tcat\tdog\teel\ncat\t5\t1\t0\ndog\t2\t7\t1\neel\t0\t0\t9\n"),
    ],
)
def test_a_confusion_matrix_gives_accuracy_and_macro_f1(desk, name, text):
    assert desk.bring(desk.file(name, text)) == 0
    assert values(desk, "test_accuracy", "test_f1_macro") == [(500, 1, ACCURACY, F1)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[0.9 0.1]\n [0.2 0.8]]\n", "its cells are shares, and accuracy takes numbers of images"),
        ("[[0 0]\n [0 0]]\n", "counts no image"),
        ("[[5 1]\n [0 ", "cut off"),
    ],
)
def test_a_confusion_matrix_of_no_counts_is_refused(desk, capsys, text, says):
    assert desk.bring(desk.file("n500_s1/confusion.txt", text)) == 2
    assert says in (error := capsys.readouterr().err)
    assert error.count("\n") == 1


def test_a_square_of_numbers_alone_is_no_confusion_matrix(desk):
    assert desk.bring(desk.file("n500_s1/table.csv", "500,1\n1000,2\n")) == 2


SHEET = [["Our results"], [], ["n", "seed", "test acc"], [500, 1, 0.8], [1000, 2, 0.825], ["Source: us"]]


def test_the_table_on_a_sheet_is_read_like_a_csv(desk, capsys):
    assert desk.bring(desk.file("a.xlsx", workbook({"Data": SHEET, "Empty": []}))) == 0
    assert values(desk, "test_accuracy") == [(500, 1, 0.8), (1000, 2, 0.825)]
    assert "row 6 left out: words in one cell" in capsys.readouterr().err
    two = desk.file("b.xlsx", workbook({"First": SHEET[2:], "Old": [["n", "test acc"], [700, "0,5"]]}))
    assert desk.bring(two, experiment="b") == 2
    assert (
        "several sheets have cells; there are 'First' and 'Old'; give --sheet First"
        in capsys.readouterr().err
    )
    assert desk.bring(two, "--sheet", "Old", experiment="b") == 0
    assert (700, 0, 0.5) in values(desk, "test_accuracy")
    assert desk.bring(two, "--sheet", "New", experiment="c") == 2
    assert "no sheet 'New' with cells" in capsys.readouterr().err
    means = desk.file("c.xlsx", workbook({"A": [["n", "test_acc", "sd", "runs"], [500, 0.8, 0.01, 5]]}))
    assert desk.bring(means, experiment="d") == 0
    assert "1 row of means over 5 runs" in capsys.readouterr().err


def test_a_workbook_that_is_cut_or_empty_or_cannot_be_read_is_refused_in_a_line(desk, capsys, monkeypatch):
    whole = workbook({"Data": SHEET})
    for content, says in (
        (whole[:-30], "cut off or damaged: no whole archive"),
        (whole[: len(whole) // 2], "cut off or damaged: no whole archive"),
        (workbook({"Data": []}), "no sheet has a cell"),
        (whole.replace(b"<sheetData>", b"<sheetDotu>"), "amaged"),
    ):
        assert desk.bring(desk.file("a.xlsx", content)) == 2
        assert says in (error := capsys.readouterr().err)
        assert error.count("\n") == 1
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert desk.bring(desk.file("a.xlsx", whole)) == 2
    assert "takes fastexcel, which is not here; install it with `pip install 'datasize-tui[xlsx]'`" in (
        capsys.readouterr().err
    )
