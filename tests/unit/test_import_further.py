"""Further inputs of each kind that an import takes, with the values that a person reads off them.

What belongs to each kind is written beside it. A kind has at least three inputs here; those of its public
case and its refusals are in the modules of the kind.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.unit.import_workbook import workbook
from tui_datasize.errors import ConfigError
from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.reading import read_all

Run = tuple[int, int | None, float]
"""Size, seed where it is told, and test accuracy."""
TWO: Sequence[Run] = ((500, 0, 0.7), (1000, 1, 0.8))
ONE: Sequence[Run] = ((500, 1, 0.6),)


class Input(NamedTuple):
    """One input: a file, or several by name, and what is read."""

    content: str | bytes | Mapping[str, str | bytes]
    right: Sequence[Run] | str = TWO
    """Runs, or what a refusal says."""
    name: str = "a.csv"
    layout: Mapping[str, Any] = {}
    also: Mapping[str, float] = {}
    """Other metrics of the last run."""
    says: str = ""
    """Part of a note."""
    means_of: int | None = None


class Kind(NamedTuple):
    """What belongs to a kind, and inputs of it."""

    what: str
    inputs: Sequence[Input]


def log(*records: Mapping[str, Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def mlflow(name: str, n: int, metrics: Mapping[str, str], more: str = "") -> dict[str, str | bytes]:
    folder = f"mlruns/0/{name}"
    meta = {f"{folder}/meta.yaml": f"run_id: {name}\nrun_name: {name}\nstatus: 3\n{more}"}
    params = {f"{folder}/params/n_train": str(n), f"{folder}/params/seed": "1"}
    return {**meta, **params, **{f"{folder}/metrics/{m}": text for m, text in metrics.items()}}


PRINTED = (
    "Epoch: [0]  [9/10]  loss: 2.3 (2.0)  acc1: 9.0 (10.0)  acc5: 5.0 (50.0)\n"
    "{}Test:  Acc@1 60.000 Acc@5 80.000\n"
)
SHEET = [["n", "seed", "test acc"], [500, 0, 0.7], [1000, 1, 0.8]]
MEANS: Sequence[Run] = ((500, None, 0.7), (1000, None, 0.8))
KERAS = {"loss": [1.2, 0.9], "accuracy": [0.5, 0.7], "val_loss": [1.1, 0.8], "val_accuracy": [0.4, 0.6]}
CHART = (
    '"Step","n500_s1 - test/acc","n500_s1 - test/acc__MIN","n500_s1 - test/acc__MAX"\n'
    "1,.5,.4,.6\n2,.6,.5,.7\n"
)

KINDS: Mapping[str, Kind] = {
    "means": Kind("mean, spread and number in columns of any name; describe() of pandas", [
        Input("n,count,mean,std,min,max\n500,5,.7,.02,.68,.73\n1000,5,.8,.02,.7,.9\n", MEANS,
              layout={"columns": {"test_accuracy": "mean"}}, means_of=5),
        Input("train_size;test_acc_avg;test_acc_sem;n_seeds\n500;70;1;4\n1000;80;1;4\n", MEANS, means_of=4),
        Input("n,runs,test_error,test_error_std\n500,3,30,2\n1000,3,20,2\n", MEANS, means_of=3),
    ]),
    "mean and spread in a cell": Kind("±, +-, +/-, brackets, LaTeX, percent signs", [
        Input("n,test_acc\n500,0.70 +/- 0.02\n1000,0.80 +/- 0.01\n", MEANS, layout={"n_runs": 3}, means_of=3),
        Input("n\ttest acc\n500\t70.0 (1.2)\n1000\t80.0 (0.4)\n", MEANS, layout={"n_runs": 3}, means_of=3),
        Input("n|test acc (%)\n500|$70.0_{\\pm 1.2}$\n1000|$80.0_{\\pm 0.4}$\n", MEANS, layout={"n_runs": 3},
              means_of=3),
    ]),
    "a column per seed or size": Kind("numbers in names of columns, alone or in words", [
        Input("n,seed_3,seed_4\n500,.7,.75\n", ((500, 3, 0.7), (500, 4, 0.75)),
              layout={"columns": {"test_accuracy": "seed_#"}}),
        Input("seed,500,1000\n1,.7,.8\n", ((500, 1, 0.7), (1000, 1, 0.8)),
              layout={"columns": {"test_accuracy": "#"}}),
        Input("train_size,fold0,fold1\n500,.7,.72\n", ((500, None, 0.7), (500, None, 0.72)),
              layout={"columns": {"test_accuracy": "fold#"}}),
    ]),
    "lines around the rows": Kind("titles, comments, units, names once more, sums, footnotes, row names of R",
    [
        Input('"n" "seed" "test_acc"\n"1" 500 0 0.7\n"2" 1000 1 0.8\n'),
        Input("# ours\n\nn,seed,test_acc\n500,0,.7\nn,seed,test_acc\n1000,1,.8\nmean,,.75\n* p < 0.05\n"),
        Input("n,seed,test_acc\nimages,,%\n500,0,70\n1000,1,80\n",
              "line 2: the size: 'images' is not a whole"),
        Input(",n,seed,test_acc\n0,500,0,.7\n1,1000,1,.8\n"),
        Input("n,test_acc,test_acc\n,mean,std\n500,.7,.02\n", "'test_acc' is there 2 times"),
    ]),
    "separators": Kind("commas, tabs, pipes with and without a frame, spaces, sep=; what makes a cell bold", [
        Input("n | seed | test acc\n---|:---:|---\n500 | 0 | 0.7\n1000 | 1 | 0.8\n", name="a.md"),
        Input("| n | seed | test acc |\n|--:|---|---|\n| 500 | 0 | **0.7** |\n| 1000 | 1 | 0.8 |\n",
              name="a.md"),
        Input("sep=|\nn|seed|test_acc\n500|0|.7\n1000|1|.8\n"),
        Input("   n   seed  test_acc\n 500     0       0.7\n1000     1       0.8\n", name="a.txt"),
    ]),
    "encodings": Kind("UTF-8 and UTF-16 with their marks, Latin-1 (told), CRLF and CR", [
        Input("n;seed;test_acc;Größe\n500;0;.7;x\n1000;1;.8;ä\n".encode("utf-16")),
        Input("\ufeffn,seed,test_acc\r\n500,0,.7\r\n1000,1,.8\r\n"),
        Input("n,seed,test_acc,note\n500,0,.7,caf\xe9\n1000,1,.8,\n".encode("latin-1"),
              says="read as Latin-1"),
        Input("n,seed,test_acc\r500,0,.7\r1000,1,.8\r"),
        Input("n,seed,test_acc\n500,0,.7\n".encode("utf-16-le"), "UTF-16 without its mark"),
    ]),
    "decimal commas": Kind("with points or blanks for thousands, percent signs, row names", [
        Input('"";"n";"seed";"test_acc"\n"1";500;0;0,7\n"2";1000;1;0,8\n', says="decimal commas"),
        Input("n;seed;test_acc\n500;0;70,0 %\n1.000;1;80,0 %\n", says="decimal commas"),
        Input("n\tseed\ttest_acc\n500\t0\t0,700\n1 000\t1\t0,8\n", says="decimal commas"),
        Input("n;seed;test_acc\n500;0;0,712\n1000;1;0,812\n", ((500, 0, 0.712), (1000, 1, 0.812))),
    ]),
    "thousands": Kind("commas in quotes, apostrophes, blanks, k and M; never one of two readings", [
        Input('n,seed,test_acc\n500,0,.7\n"1,000",1,.8\n'),
        Input('"n","note","seed","test_acc"\n"500","two\nlines","0",".7"\n"1k","",1,.8\n'),
        Input("n,seed,test_acc\n0.5k,0,.7\n1k,1,.8\n"),
        Input("n,seed,test_acc\n500,0,.7\n1.000,1,.8\n", "'1.000' may be 1 or 1,000"),
        Input("n,seed,test_acc\n5e2,0,.7\n1e3,1,.8\n"),
    ]),
    "no value": Kind("NA, n/a, -, None, NaN, #N/A, blank, of R, pandas, Excel", [
        Input("n,seed,test_acc\n500,0,.7\n1000,1,.8\n2000,0,n/a\n", (*TWO, (2000, 0, -1)),
              says="1 of 3 runs"),
        Input("n,seed,test_acc,test_loss\n500,0,.7,-\n1000,1,.8,None\n"),
        Input("n seed test_acc\n500 0 .7\n1000 1 .8\n2000 1 NA\n", (*TWO, (2000, 1, -1)), says="1 of 3 runs"),
    ]),
    "shares of a whole set": Kind("fractions, percent, in columns of any name, 1 for all of it", [
        Input("train_size,seed,test_acc\n0.05,0,.7\n0.1,1,.8\n", layout={"train_size": 10_000}),
        Input("train_size,seed,test_acc\n0.5,0,.7\n1,1,.8\n", layout={"train_size": 1_000}),
        Input("n (%),seed,test_acc\n5,0,.7\n10,1,.8\n", layout={"train_size": 10_000}),
        Input("train_size,seed,test_acc\n0.5,0,.7\n1.0,1,.8\n", "give --size N with the images of the whole"),
        Input("train_size,seed,test_acc\n1.0,1,.8\n", "'1.0' may be one image, which is written 1"),
    ]),
    "workbooks": Kind("titles, merged names (blank cells), dates as numbers, percent, sums at the end", [
        Input(workbook({"S": [["Results", None, None], *SHEET]}), name="a.xlsx", says="a title above"),
        Input(workbook({"S": [["date", *SHEET[0]], [45000, *SHEET[1]], [45001, *SHEET[2]]]}), name="a.xlsx"),
        Input(workbook({"S": [["n", "seed", "test acc (%)"], [500, 0, 70], [1000, 1, 80]]}), name="a.xlsx"),
        Input(workbook({"S": [["n", "CIFAR"], [None, "test acc"], [500, 0.7]]}), "no column of a metric",
              name="a.xlsx"),
    ]),
    "Keras": Kind("CSVLogger, appended to, with a learning rate, of one epoch; a history as JSON", [
        Input("epoch,accuracy,learning_rate,loss,val_accuracy,val_loss\n0,.5,.1,1,.4,2\n1,.7,.1,.9,.6,1\n",
              ONE,
              name="n500_s1.csv", also={"train_accuracy": 0.7, "test_loss": 1, "train_loss": 0.9}),
        Input("epoch,accuracy,loss\n0,0.3,1.2\n", "its split is not given: accuracy", name="n500_s1/log.csv"),
        Input("epoch,accuracy,val_accuracy\n0,.5,.4\n1,.6,.5\n0,.7,.6\n1,.8,.7\n", "a second train_accuracy",
              name="n500_s1/training.log"),
        Input(json.dumps(KERAS), ONE, name="n500_s1_history.json", also={"train_accuracy": 0.7}),
        Input(json.dumps({**KERAS, "lr": [0.1, 0.1]}), ONE, name="n500_s1/history.json"),
    ]),
    "Hugging Face": Kind("trainer_state.json: losses, evaluations, a summary, several evaluation sets", [
        Input(json.dumps({"best_metric": 0.9, "log_history": [
            {"epoch": 1, "step": 10, "loss": 0.9}, {"epoch": 1, "step": 10, "eval_accuracy": 0.5},
            {"epoch": 2, "step": 20, "loss": 0.4}, {"epoch": 2, "step": 20, "eval_accuracy": 0.6},
            {"epoch": 2, "step": 20, "train_loss": 0.65, "train_runtime": 9.9}]}), ONE,
            name="n500_s1/trainer_state.json", also={"train_loss": 0.4}),
        Input(json.dumps({"log_history": [{"epoch": 1, "step": 9, "eval_accuracy": 0.6,
              "test_accuracy": 0.7}]}),
              ((500, 1, 0.7),), name="n500_s1/trainer_state.json"),
        Input(json.dumps({"log_history": [{"step": 9, "loss": 1.0},
                                          {"step": 9, "eval_a_accuracy": 0.5, "eval_b_accuracy": 0.7}]}),
              ((500, 1, -1),), name="n500_s1/trainer_state.json",
              says="there is no test or validation split"),
    ]),
    "records in JSON": Kind("lines of detectron2, MMCV, Ray and others; nested, one record, percent", [
        Input(log({"iteration": 19, "total_loss": 2, "val_acc": 0.5}, {"iteration": 39, "val_acc": 0.6}), ONE,
              name="n500_s1/metrics.json"),
        Input(log({"mode": "train", "epoch": 1, "iter": 50, "loss": 2.0},
                  {"mode": "val", "epoch": 1, "iter": 9, "accuracy_top-1": 60.0}), ONE,
                  name="n500_s1/x.log.json"),
        Input(log({"training_iteration": 1, "val_acc": 0.5, "config": {"n_train": 500, "seed": 1},
              "done": False},
                  {"training_iteration": 2, "val_acc": 0.6, "config": {"n_train": 500, "seed": 1},
                  "done": True}),
              ONE, name="trial/result.json"),
        Input(log({"epoch": 1, "train": {"acc": 0.5}, "val": {"acc": 0.6, "loss": 1.9}}), ONE,
              name="n500_s1.jsonl",
              also={"train_accuracy": 0.5, "test_loss": 1.9}),
        Input(log({"epoch": 0, "train_loss": 2, "test_acc1": 50.0}, {"epoch": 1, "train_loss": 1,
              "test_acc1": 60.0}),
              ONE, name="n500_s1/log.txt"),
        Input(log({"n": 500, "seed": 0, "test_acc": "70%"}, {"n": 1000, "seed": 1, "test_acc": "80%"}),
              name="a.jsonl"),
    ]),
    "printed logs": Kind("lines of torchvision behind a rank, a time, progress bars; of PyTorch's examples", [
        Input(PRINTED.format("").replace("Epoch", "[rank0] Epoch").replace("Test", "[rank0] Test"), ONE,
              name="n500_s1/train.log", also={"train_accuracy": 0.1, "train_loss": 2.0}),
        Input(PRINTED.format("").replace("Epoch", "2026-01-01 10:00:00,123 INFO Epoch"), ONE,
              name="n500_s1/a.log"),
        Input("\r 10%|#  | 1/10\r 20%|## | 2/10\n" + PRINTED.format("junk\n"), ONE, name="n500_s1/out.log"),
        Input(PRINTED.format("") + "Test: EMA Acc@1 90.000 Acc@5 99.000\n", ONE, name="n500_s1/a.log",
              says="EMA"),
    ]),
    "timm, Ultralytics and fastai": Kind("their CSV: names resumed, percent, padded names, error rates", [
        Input("epoch,train_loss,eval_loss,eval_top1,eval_top5\n0,2,1.8,30,60\n"
              "epoch,train_loss,eval_loss,eval_top1,eval_top5\n1,1.5,1.4,60,80\n", ONE,
              name="n500_s1/summary.csv",
              also={"test_top5": 0.8}),
        Input("   epoch, train/loss, metrics/accuracy_top1, val/loss\n   1,  2, .5,  2\n   2,  1, .6, 1.5\n",
              ONE, name="n500_s1/results.csv", also={"test_loss": 1.5}),
        Input("epoch,train_loss,valid_loss,error_rate,time\n0,1.2,.9,.5,00:10\n1,.8,.7,.4,00:10\n", ONE,
              name="n500_s1/history.csv", also={"test_loss": 0.7}),
    ]),
    "Lightning": Kind("metrics.csv with rows of steps, epochs and the test between one another; hparams.yaml",
    [
        Input("epoch,step,train_loss_epoch,train_loss_step,val_acc,test_acc\n0,49,,.9,,\n0,99,,,.5,\n0,99,.8,,,\n"
              "1,199,,,.7,\n1,199,.4,,,\n2,200,,,,.6\n", ONE, name="n500_s1/metrics.csv",
              also={"train_loss": 0.4}),
        Input("acc_epoch,acc_step,epoch,step\n,.2,0,9\n.3,,0,9\n", "its split is not given",
              name="n500_s1/m.csv"),
        Input({"v_0/metrics.csv": "epoch,step,val_acc\n0,9,.5\n1,19,.6\n",
              "v_0/hparams.yaml": "n_train: 500\nseed: 1\n"},
              ONE, name=""),
    ]),
    "MLflow": Kind("runs of all states, deleted ones, steps that all are 0, parameters of any name", [
        Input({**mlflow("sun", 500, {"test_acc": "1 .5 0\n2 .6 1\n"}),
               **mlflow("moon", 900, {"test_acc": "1 .1 0\n"}, "lifecycle_stage: deleted\n")}, ONE,
                     name="mlruns",
              says="1 run left out as deleted (moon)"),
        Input(mlflow("sun", 500, {"test_acc": "1 .5 0\n2 .55 0\n3 .6 0\n"}), ONE, name="mlruns"),
        Input(mlflow("sun", 500, {"val/acc": "1 60 0\n", "train/loss": "1 .6 0\n"}), ONE, name="mlruns",
              also={"train_loss": 0.6}),
    ]),
    "a folder per run": Kind("CSV whose folders, or a pattern, tell size and seed; not when they contradict",
    [
        Input({"n500_s0/r.csv": "epoch,val_acc\n1,.6\n2,.7\n", "n1000_s1/r.csv": "epoch,val_acc\n1,.8\n"},
              name=""),
        Input({"frac500_x0/r.csv": "epoch,val_acc\n1,.7\n", "frac1000_x1/r.csv": "epoch,val_acc\n1,.8\n"},
              name="",
              layout={"run_pattern": r"frac(?P<size>\d+)_x(?P<seed>\d+)"}),
        Input({"a/n500_s1/r.csv": "epoch,val_acc\n1,.5\n", "b/n500_s1/r.csv": "epoch,val_acc\n1,.6\n"},
              "tell them apart: --run-pattern", name=""),
    ]),
    "charts of W&B": Kind("steps, MIN and MAX, groups (means of --n-runs), sizes, names twice, other axes", [
        Input(CHART, ONE),
        Input(CHART.replace("n500_s1 -", "Group: n500 -"), ((500, None, 0.6),),
              says="--n-runs N tells over how many"),
        Input(CHART.replace("n500_s1 -", "opt: n500 -"), ((500, None, 0.6),), layout={"n_runs": 5},
              means_of=5),
        Input('"n","calm - test_acc","calm - test_acc"\n500,.7,.75\n', ((500, None, 0.7), (500, None, 0.75))),
        Input(CHART.replace("Step", "Relative Time (Wall)"), "neither a step nor an epoch"),
    ]),
    "tables of W&B": Kind("states, groups, the best beside the last, configs as columns or dictionaries", [
        Input('"Name","State","Group","n_train","seed","val_acc","best_val_acc"\n"a","finished","g",500,1,.6,.8\n'
              '"b","crashed","g",500,2,.1,.1\n', ONE, says="1 run left out as crashed (b)"),
        Input('"Name","Group","n_train","test_acc"\n"a","g1",500,.7\n"b","g1",500,.75\n',
              ((500, None, 0.7), (500, None, 0.75)), says="no seed is given"),
        Input("name,summary,config\na,\"{'val_acc': .6, 'b': {}}\",\"{'n_train': 500, 'seed': 1}\"\n", ONE),
    ]),
    "confusion matrices": Kind("text or CSV, labelled, with sums, never shares", [
        Input(",cat,dog,All\ncat,4,1,5\ndog,3,2,5\nAll,7,3,10\n", ONE, name="n500_s1/confusion.csv",
              says="sum up"),
        Input("[[4, 1],\n [3, 2]]\n", ONE, name="n500_s1/cm.txt"),
        Input("4;1\n3;2\n", ONE, name="n500_s1/confusion.csv"),
        Input("0.8,0.2\n0.6,0.4\n", "its cells are shares", name="n500_s1/confusion.csv"),
    ]),
    "units": Kind("percent by name, by sign, by values, errors; what is contradicted is asked about", [
        Input("n,seed,test_error (%)\n500,0,30\n1000,1,20\n"),
        Input("n,seed,test_acc_percent\n500,0,.5\n", "give --percent or --no-percent"),
        Input("n,seed,test_error\n500,0,28\n1000,0,.3\n", "give --percent or --no-percent"),
        Input("n,seed,test_acc\n500,0,70\n1000,1,80\n"),
    ]),
    "repeats": Kind("folds and rows without a seed count from 1; the epoch of the best is no log", [
        Input("n,fold,test_acc\n500,0,.7\n500,1,.72\n", ((500, None, 0.7), (500, None, 0.72)),
              says="repeats"),
        Input("n,test_acc\n500,.7\n500,.7\n", ((500, None, 0.7), (500, None, 0.7)), says="repeats"),
        Input("n,seed,epoch,test_acc\n500,0,12,.7\n1000,1,9,.8\n"),
    ]),
    "sizes": Kind("the train size and no other number: not of classes, tests, shots or logarithms", [
        Input("n_test,n_train,seed,test_acc\n9,500,0,.7\n9,1000,1,.8\n"),
        Input("n_per_class,seed,test_acc\n50,0,.7\n", "no train size is given"),
        Input("log10_n,seed,test_acc\n2,0,.7\n", "no train size is given"),
    ]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "number"),
    [(kind, number) for kind, (_, inputs) in KINDS.items() for number in range(len(inputs))],
)
def test_an_input_gives_what_a_person_reads_off_it(tmp_path, kind, number):
    given = KINDS[kind].inputs[number]
    if given.name.endswith(".xlsx") and importlib.util.find_spec("fastexcel") is None:
        pytest.skip("fastexcel is not here")
    files = given.content if isinstance(given.content, Mapping) else {given.name: given.content}
    for name, content in files.items():
        file = tmp_path / "in" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    asked = [tmp_path / "in" / given.name]
    if isinstance(given.right, str):
        with pytest.raises(ConfigError) as told:
            _read(asked, given)
        assert given.right in told.value.line
        return
    reading = _read(asked, given)
    found = [
        (
            run.cell.train_size,
            run.cell.seed if "seed" in run.tells else None,
            run.end.get("test_accuracy") or -1,
        )
        for run in reading.runs
    ]
    assert found == [
        pytest.approx(run) if run[1] is not None else (run[0], None, pytest.approx(run[2]))
        for run in given.right
    ]
    assert {metric: reading.runs[-1].end[metric] for metric in given.also} == pytest.approx(dict(given.also))
    assert any(given.says in note for note in ("", *reading.notes))
    assert {run.n_runs for run in reading.runs} == {given.means_of}


def _read(files: Sequence[Path], given: Input) -> Any:
    reading = read_all(files, Layout(**given.layout), is_strict=False)
    if reading.refused:
        raise reading.refused[0]
    return reading


def test_each_kind_has_three_inputs_at_least():
    assert {kind: len(inputs) for kind, (_, inputs) in KINDS.items() if len(inputs) < 3} == {}
