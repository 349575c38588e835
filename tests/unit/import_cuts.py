"""Tables and event files as trainers write them, cut anywhere: what is left is right, refused or told."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.unit.import_desk import event_file
from tests.unit.import_workbook import workbook
from tui_datasize.errors import ConfigError
from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.reading import read_all

_COMPARED = ("update", "epoch", "split", "accuracy", "loss", "top5")
_DAMAGE = ("left out", "no line end")


@dataclass(frozen=True)
class Case:
    """One whole file."""

    name: str
    content: bytes
    columns: Mapping[str, str] = field(default_factory=dict)


def random_case(rng: random.Random) -> Case:
    """A file of one of the usual forms, with random values, separators, line ends and encoding."""
    name, rows, columns = rng.choice(_FORMS)(rng)
    if isinstance(rows, bytes):
        return Case(name, rows)
    text = io.StringIO(newline="")
    delimiter = rng.choice(",,;\t")
    quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    end = rng.choice(("\n", "\r\n"))
    if rng.random() < 0.2:
        text.write(f"sep={delimiter}{end}")
    if rng.random() < 0.2:
        text.write(f"# a comment, of two parts; or three{end}")
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(rows)
    return Case(name, text.getvalue().encode(rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16"))), columns)


def problems(case: Case, rng: random.Random, n_cuts: int, folder: Path) -> Iterator[str]:
    """Cut a file at random bytes, many of them within the last number of a row, and say what went wrong.

    Some cuts have zeros behind.

    A number that the whole file does not give has to come with a note that the whole file does not give
    either, and what is noted as damage has to refuse a strict import.
    """
    whole, known = _read(case, case.content, folder)
    if not whole:
        yield f"{case.name}: the whole file gives nothing"
    for end in sorted({_cut(case.content, rng) for _ in range(n_cuts)}):
        zeros = bytes(rng.choice((0, 0, 1, 64, 4096)))
        content = case.content[:end] + zeros
        try:
            rows, notes = _read(case, content, folder)
        except ConfigError:
            continue
        new = notes - known
        where = f"{case.name}, {end} of {len(case.content)} bytes and {len(zeros)} zeros"
        if rows - whole and not new:
            yield f"{where}: {min(rows - whole, key=str)} without a word"
        if any(word in note and "left out as" not in note for note in new for word in _DAMAGE):
            try:
                _read(case, content, folder, is_strict=True)
            except ConfigError:
                continue
            yield f"{where}: read strictly"


def _cut(content: bytes, rng: random.Random) -> int:
    end = rng.randrange(len(content))
    line_end = content.find(b"\n", end) if rng.random() < 0.5 else -1
    return end if line_end < 0 else max(0, line_end - rng.randrange(1, 12))


def _read(
    case: Case, content: bytes, folder: Path, *, is_strict: bool = False
) -> tuple[set[tuple[object, ...]], set[str]]:
    file = folder / case.name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    reading = read_all([file], Layout(columns=case.columns), is_strict=is_strict)
    rows = {
        (
            run.cell,
            str(run.spreads),
            *(row[k] for k in ("update", "epoch", "split", "accuracy", "loss", "top5")),
        )
        for run in reading.runs
        for row in run.rows
    }
    return rows, set(reading.notes)


_NOTES = ("", "é; 1,5", 'a "b"\nc')
_Made = tuple[str, "list[Sequence[object]] | bytes", dict[str, str]]


def _percent(rng: random.Random) -> str:
    return f"{rng.uniform(10, 99):.{rng.choice((1, 2, 4, 13))}f}"


def _share(rng: random.Random) -> str:
    return rng.choice(
        (f"{rng.uniform(0.1, 0.99):.{rng.choice((2, 4, 16))}f}", f"{rng.uniform(0.1, 0.9):.5e}")
    )


def _keras(rng: random.Random) -> _Made:
    rows: list[Sequence[object]] = [("epoch", "accuracy", "loss", "val_accuracy", "val_loss")]
    rows += [(epoch, *(_share(rng) for _ in range(4))) for epoch in range(rng.randint(2, 9))]
    return "n500_s1/log.csv", rows, {}


def _fastai(rng: random.Random) -> _Made:
    rows: list[Sequence[object]] = [("epoch", "train_loss", "valid_loss", "error_rate", "time")]
    rows += [(epoch, *(_share(rng) for _ in range(3)), "00:12") for epoch in range(rng.randint(2, 9))]
    return "n1,500_s2/history.csv", rows, {}


def _lightning(rng: random.Random) -> _Made:
    rows: list[Sequence[object]] = [("epoch", "step", "train_loss", "val_acc", "val_loss")]
    for epoch in range(rng.randint(2, 6)):
        step = 100 * epoch + 99
        rows += [(epoch, step, "", _share(rng), _share(rng)), (epoch, step, _share(rng), "", "")]
    return "n500_s3/metrics.csv", rows, {}


def _timm(rng: random.Random) -> _Made:
    rows: list[Sequence[object]] = [("epoch", "train_loss", "eval_loss", "eval_top1", "eval_top5", "lr")]
    rows += [
        (epoch, _share(rng), _share(rng), f"{rng.uniform(0.1, 50):.2f}", _percent(rng), "1e-05")
        for epoch in range(rng.randint(2, 9))
    ]
    return "n=20k-seed4/summary.csv", rows, {}


def _table(rng: random.Random) -> _Made:
    rows: list[Sequence[object]] = [
        ("Name", "State", "n_train", "seed", "note, free", "test_acc", "test_loss")
    ]
    rows += [
        (f"run-{size}-{seed}", rng.choice(("finished", "crashed")), size, seed, rng.choice(_NOTES),
         _percent(rng), _share(rng))
        for size in (500, 1_000, 20_000) for seed in range(rng.randint(1, 4))
    ]  # fmt: skip
    return "runs.csv", rows, {}


def _named(rng: random.Random) -> _Made:
    rows: list[Sequence[object]] = [("run", "epoch", "split", "top-1")]
    for size in ("500", "1,500", "10k"):
        for epoch in range(rng.randint(1, 4)):
            rows += [(f"n={size}, seed=1", epoch, split, _share(rng)) for split in ("train", "test")]
    return "named.csv", rows, {"accuracy": "top-1"}


def _chart(rng: random.Random) -> _Made:
    names = [f"n{size}_s{seed} - val_acc" for size in (500, 2_000) for seed in range(2)]
    rows: list[Sequence[object]] = [("Step", *(f"{n}{end}" for n in names for end in ("", "__MIN", "__MAX")))]
    for step in range(1, rng.randint(3, 9)):
        cells = [_share(rng) if rng.random() < 0.8 else "" for _ in names]
        rows.append((step, *(cell for cell in cells for _ in range(3))))
    return "chart.csv", rows, {}


def _events(rng: random.Random) -> _Made:
    scalars = [
        (step, tag, rng.randint(7, 57) / 64)
        for step in range(1, rng.randint(3, 12))
        for tag in ("train/loss", "val/accuracy", "lr")
    ]
    made = event_file(*scalars, as_tensor=rng.random() < 0.5)
    return "n500_s5/events.out.tfevents.1", made, {}


def _printed(rng: random.Random) -> _Made:
    text = "Namespace(epochs=9)\n"
    for epoch in range(rng.randint(1, 4)):
        for step in (0, 100):
            means = f"loss: 1.2 ({_share(rng)})  acc1: 50.0 ({_percent(rng)})"
            text += f"Epoch: [{epoch}]  [{step}/101]  eta: 0:00:31  {means}  time: 0.1\n"
        text += f"Test:  [9/10]  loss: 0.7 ({_share(rng)})  acc1: 0.0 (0.0)\n"
        text += f"Test:  Acc@1 {rng.uniform(2, 99):.3f} Acc@5 {rng.uniform(2, 99):.3f}\n"
    return "n500_s6/train.log", text.encode(), {}


def _matrix(rng: random.Random) -> _Made:
    n = rng.randint(2, 5)
    rows = [" ".join(str(rng.randint(0, 900)) for _ in range(n)) for _ in range(n)]
    text = "[[" + "]\n [".join(rows) + "]]\n"
    return "n500_s7/confusion.txt", text.encode(), {}


def _means(rng: random.Random) -> _Made:
    rows: list[Sequence[object]] = [("n", "runs", "test_acc ± std")]
    rows += [(n, 5, f"{rng.uniform(0.3, 0.9):.4f} ± {rng.uniform(0, 0.1):.4f}") for n in (500, 900, 2000)]
    return "means.csv", rows, {}


def _of_json(name: str, *records: Mapping[str, object]) -> _Made:
    return name, "".join(json.dumps(record) + "\n" for record in records).encode(), {}


def _json_lines(rng: random.Random) -> _Made:
    epochs = range(1, rng.randint(3, 9))
    records = ({"epoch": e, "val_acc": float(_share(rng)), "train_loss": float(_share(rng))} for e in epochs)
    return _of_json("n500_s8/log.jsonl", *records)


def _detectron2(rng: random.Random) -> _Made:
    records = ({"iteration": 20 * i, "val_acc": float(_share(rng))} for i in range(1, rng.randint(3, 9)))
    return _of_json("n500_s9/metrics.json", *records)


def _hugging_face(rng: random.Random) -> _Made:
    log = [
        {"epoch": e, "step": 9 * e, "eval_accuracy": float(_share(rng))} for e in range(1, rng.randint(3, 9))
    ]
    return _of_json("n500_s10/trainer_state.json", {"log_history": log})


def _history(rng: random.Random) -> _Made:
    values = [float(_share(rng)) for _ in range(rng.randint(2, 9))]
    return _of_json("n500_s11/history.json", {"val_accuracy": values, "accuracy": values[::-1]})


def _workbook(rng: random.Random) -> _Made:
    rows = [(n, seed, float(_share(rng))) for n in (500, 1_000) for seed in range(rng.randint(1, 4))]
    return "book.xlsx", workbook({"Sheet": [("n", "seed", "test_acc"), *rows]}), {}


_FORMS: Sequence[Callable[[random.Random], _Made]] = (
    *(_keras, _fastai, _lightning, _timm, _table, _named, _chart, _events, _printed, _matrix, _means),
    *(_json_lines, _detectron2, _hugging_face, _history, _workbook),
)
