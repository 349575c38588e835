"""The same runs, written by any trainer or kept in any table, are read back as the same runs."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.import_desk import event_file
from tests.unit.import_workbook import workbook
from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.reading import read_all

Runs = Mapping[tuple[int, int], Sequence[float]]
"""By size and seed the test accuracies of its epochs, of which event files keep every digit."""
Files = dict[str, str | bytes]
HEAD = ("size", "seed", "epoch", "test_accuracy")

_RUNS = st.dictionaries(
    st.tuples(st.integers(2, 99_999), st.integers(0, 999)),
    st.lists(st.integers(1, 63).map(lambda level: level / 64), min_size=1, max_size=4),
    min_size=1,
    max_size=4,
).filter(lambda runs: any(value > 0.02 for values in runs.values() for value in values))


def rows(runs: Runs) -> Iterator[tuple[int, int, int, float]]:
    for (size, seed), values in runs.items():
        yield from ((size, seed, epoch, value) for epoch, value in enumerate(values, 1))


def records(runs: Runs) -> list[dict[str, float]]:
    return [dict(zip(HEAD, row, strict=True)) for row in rows(runs)]


def lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def per_run(name: str, write: Callable[[Sequence[float]], str | bytes]) -> Callable[[Runs], Files]:
    """A file for each run, in a folder that tells whose it is."""
    return lambda runs: {f"n{n}_s{s}/{name}": write(values) for (n, s), values in runs.items()}


def csv_of(between: str) -> Callable[[Runs], Files]:
    return lambda runs: {"a.csv": "".join(between.join(map(str, row)) + "\n" for row in (HEAD, *rows(runs)))}


def chart(runs: Runs) -> Files:
    names = [f"n{n}_s{s} - test_accuracy" for n, s in runs]
    most = max(map(len, runs.values()))
    cells = [
        [str(epoch + 1), *(str(v[epoch]) if epoch < len(v) else "" for v in runs.values())]
        for epoch in range(most)
    ]
    return {
        "a.csv": "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in (["Step", *names], *cells))
    }


def mlflow(runs: Runs) -> Files:
    files: Files = {}
    for number, ((n, s), values) in enumerate(runs.items()):
        folder = f"mlruns/0/{number}x"
        files[f"{folder}/meta.yaml"] = "run_id: x\nrun_name: sunny\nstatus: 3\n"
        files |= {f"{folder}/params/n_train": str(n), f"{folder}/params/seed": str(s)}
        metric = "".join(f"17000{step} {value} {step}\n" for step, value in enumerate(values, 1))
        files[f"{folder}/metrics/test_accuracy"] = metric
    return files


def printed(values: Sequence[float]) -> str:
    return "".join(
        f"Epoch: [{epoch}]  [9/10]  loss: 2.3 (2.0)  acc1: 9.0 (10.0)  acc5: 5.0 (50.0)\n"
        f"Test:  Acc@1 {100 * value} Acc@5 100\n"
        for epoch, value in enumerate(values)
    )


def logged(values: Sequence[float], accuracy: str, **more: object) -> list[dict[str, object]]:
    return [{"epoch": epoch, accuracy: value, **more} for epoch, value in enumerate(values, 1)]


FORMS: Mapping[str, Callable[[Runs], Files]] = {
    "commas": csv_of(","),
    "tabs": csv_of("\t"),
    "pipes": csv_of(" | "),
    "workbook": lambda runs: {"a.xlsx": workbook({"Sheet": [HEAD, *rows(runs)]})},
    "JSON lines": lambda runs: {"a.jsonl": lines(*records(runs))},
    "JSON list": lambda runs: {"a.json": json.dumps(records(runs))},
    "Ray": per_run("result.json", lambda values: lines(
        *({"training_iteration": i, "val_acc": v} for i, v in enumerate(values, 1)))),
    "detectron2": per_run("metrics.json", lambda values: lines(
        *({"iteration": i, "test_acc": v} for i, v in enumerate(values, 1)))),
    "MMCV": per_run("1.log.json", lambda values: lines(
        *logged([100 * v for v in values], "accuracy_top-1", mode="val", iter=9))),
    "Keras": per_run("history.json", lambda values: json.dumps(
        {"val_accuracy": list(values), "accuracy": [0.5 for _ in values]})),
    "Hugging Face": per_run("trainer_state.json", lambda values: json.dumps(
        {"log_history": logged(values, "eval_accuracy")})),
    "events": per_run("events.out.tfevents.1", lambda values: event_file(
        *((step, "val/acc", value) for step, value in enumerate(values, 1)))),
    "timm": per_run("summary.csv", lambda values: "epoch,eval_loss,eval_top1,eval_top5\n" + "".join(
        f"{epoch},1.5,{100 * value},100\n" for epoch, value in enumerate(values))),
    "torchvision": per_run("train.log", printed),
    "MLflow": mlflow,
    "W&B chart": chart,
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_runs_are_read_back_from_whatever_form_they_were_written_in(tmp_path_factory, form):
    if form == "workbook" and importlib.util.find_spec("fastexcel") is None:
        pytest.skip("fastexcel is not here")

    # The forms are many.
    @settings(max_examples=settings.default.max_examples // 6)
    @given(runs=_RUNS)
    def is_read_back(runs: Runs) -> None:
        folder = tmp_path_factory.mktemp("in")
        for name, content in FORMS[form](runs).items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        reading = read_all([folder if "/" in name else file], Layout(), is_strict=True)
        read = {
            (run.cell.train_size, run.cell.seed): [
                row["accuracy"] for row in run.rows if row["split"] == "test"
            ]
            for run in reading.runs
        }
        assert read == {run: pytest.approx(list(values)) for run, values in runs.items()}

    is_read_back()
