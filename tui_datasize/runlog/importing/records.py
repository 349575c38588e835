"""Logs of trainers in JSON, a record a line or one document: each form says which of its records are rows."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from tui_datasize.experiments.toml import text_of
from tui_datasize.runlog.importing.beside import facts_beside
from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.meanings import meaning_of
from tui_datasize.runlog.importing.names import UnclearNameError, all_unclear
from tui_datasize.runlog.importing.staged import Staged
from tui_datasize.runlog.importing.tables import TableReader, finish_table
from tui_datasize.text import plural

FORM = "JSON of a trainer"

Record: TypeAlias = Mapping[str, Any]
Numbered: TypeAlias = tuple[int, Record]
"""A line or the number of an entry, and what it holds."""

FILES = (
    *("trainer_state.json", "*history*.json", "*.log.json", "scalars.json", "result.json", "metrics.json"),
    *("*.jsonl", "wandb-summary.json"),
)
"""As Hugging Face, Keras' users, MMCV, MMEngine, Ray, detectron2 and Weights & Biases name them."""
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_MOST_DEEP = 8
_A_LIST = "a list, not a number"


@dataclass(frozen=True, slots=True)
class JsonForm:
    """Who writes JSON like this, and what of it are rows."""

    fits: Callable[[Sequence[Numbered]], bool]
    rows: Callable[[Sequence[Numbered]], Iterator[Numbered]]


def without_earlier(files: Collection[Path]) -> list[Path]:
    """Files but for those of checkpoints that a later one of the same run, or the run itself, takes up.

    >>> [str(p) for p in without_earlier([Path(f"a/checkpoint-{n}/trainer_state.json") for n in (90, 100)])]
    ['a/checkpoint-100/trainer_state.json']
    """
    newest: dict[Path, tuple[float, Path]] = {}
    for file in files:
        number = _CHECKPOINT.fullmatch(file.parent.name)
        run = (file.parent.parent if number else file.parent) / file.name
        newest[run] = max(newest.get(run, (-1.0, file)), (float(number[1]) if number else math.inf, file))
    return [file for _, file in newest.values()]


def is_json(_name: str, head: bytes) -> bool:
    """Whether a file begins like JSON."""
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"["))


def read_records(run: str, layout: Layout, into: Staged) -> None:
    """Read a log by the first form that it fits; a last line that was cut off is left out and told.

    Raises ConfigError: it is no JSON, was cut off as a whole, or a record is not understood.
    """
    records = _records(into.read(), layout.skipped(into.file), into)
    form = next(form for form in FORMS if form.fits(records))
    take_records([(place, flat(record, into)) for place, record in form.rows(records)], run, layout, into)
    # A log is written on: what stands below came later.
    into.is_in_order = any(one.moment.is_told for one in into.rows)


def take_records(rows: Sequence[Numbered], run: str, layout: Layout, into: Staged) -> None:
    """Take rows whose values are texts by their names, as those of a table.

    Raises ConfigError: one is not understood.
    """
    header = list(dict.fromkeys(key for _, row in rows for key in row))
    if not header:
        raise into.error("there is no record of numbers", fix="give a log with values, or leave it out")
    facts = facts_beside(into.file, header, layout)
    header += facts
    unclear: dict[str, UnclearNameError] = {}
    skipped = layout.skipped(into.file)
    place = 0
    try:
        reader = TableReader(header, run, layout, into, facts)
        for place, row in rows:
            # What tells of the run or the machine alone is no evaluation.
            if place in skipped or not any(key in reader.columns.metrics for key in row):
                continue
            try:
                reader.take([row.get(key, facts.get(key, "")) for key in header], place)
            except UnclearNameError as error:
                error.place = place
                unclear.setdefault(error.what, error)
        if unclear:
            raise all_unclear(list(unclear.values()))
    except UnclearNameError as error:
        raise into.error(error.what, error.place, fix=error.fix) from None
    except ValueError as error:
        way_out = f"--skip-line {place} leaves the {into.place} out" if place else "or leave the file out"
        raise into.error(str(error), place, fix=way_out) from None
    finish_table(into)


def _records(data: bytes, skipped: frozenset[int], into: Staged) -> list[Numbered]:
    whole = data.rstrip(b"\0")
    if len(whole) < len(data):
        into.torn(f"ends in {plural(len(data) - len(whole), 'byte')} of zeros")
    try:
        text = text_of(whole)
    except UnicodeDecodeError:
        raise into.error("not UTF-8 text", fix="save it as UTF-8") from None
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if len(lines) > 1 and isinstance(_parsed(lines[0][1]), dict):
        return list(_of_lines([one for one in lines if one[0] not in skipped], into))
    into.place = "record"
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        is_whole = text.rstrip().endswith(("}", "]"))
        fix = "save it as JSON" if is_whole else "copy it once more"
        raise into.error(f"{'no JSON' if is_whole else 'cut off'}: {error}", fix=fix) from None
    entries = document if isinstance(document, list) else [document]
    if not all(isinstance(entry, dict) for entry in entries):
        fix = "save a record for each evaluation, with names for its values"
        raise into.error("its list does not hold records ({...})", fix=fix)
    return [*enumerate(entries, 1)]


def _of_lines(lines: Sequence[tuple[int, str]], into: Staged) -> Iterator[Numbered]:
    for number, line in lines:
        record = _parsed(line)
        if isinstance(record, dict):
            yield number, record
        elif number == lines[-1][0]:
            into.torn(f"line {number}, the last, was cut off")
        else:
            way_out = f"--skip-line {number} leaves the line out"
            raise into.error("no JSON record", number, fix=way_out)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def flat(record: Record, into: Staged, before: str = "", deep: int = 0) -> dict[str, str]:
    """Names joined by slashes, values as texts; lists are passed over.

    >>> from pathlib import Path
    >>> flat({"a": {"b": 1.5}, "done": True, "none": None}, Staged(Path("x"), ""))
    {'a/b': '1.5', 'done': 'true', 'none': ''}
    """
    found: dict[str, str] = {}
    for key, value in record.items():
        name = f"{before}{key}"
        if isinstance(value, dict) and deep < _MOST_DEEP:
            found |= flat(value, into, f"{name}/", deep + 1)
        elif isinstance(value, list | dict):
            into.passed[name] = _A_LIST
        elif isinstance(value, bool):
            found[name] = str(value).lower()
        else:
            found[name] = "" if value is None else str(value).strip()
    return found


def _is_hugging_face(records: Sequence[Numbered]) -> bool:
    return len(records) == 1 and isinstance(records[0][1].get("log_history"), list)


def _of_hugging_face(records: Sequence[Numbered]) -> Iterator[Numbered]:
    """`trainer_state.json`; in its last entry `train_loss` is the mean over the whole training."""
    for number, entry in enumerate(records[0][1]["log_history"], 1):
        if isinstance(entry, dict):
            is_summary = "train_runtime" in entry
            yield (
                number,
                {_of_train(k): v for k, v in entry.items() if not (is_summary and k == "train_loss")},
            )


def _of_train(name: str) -> str:
    """The name of a metric of the training, where the trainer says so by naming no split."""
    meaning = meaning_of(name)
    return f"train_{name}" if meaning and not meaning.split else name


def _history(records: Sequence[Numbered]) -> Record:
    record = records[0][1] if len(records) == 1 else {}
    inner = record.get("history")
    return inner if isinstance(inner, dict) else record


def _is_keras(records: Sequence[Numbered]) -> bool:
    history = _history(records)
    return bool(history) and all(isinstance(values, list) for values in history.values())


def _of_keras(records: Sequence[Numbered]) -> Iterator[Numbered]:
    """The `history` of a fit: a list of values per metric, one of each epoch."""
    history = {name: values for name, values in _history(records).items() if name != "epoch"}
    for place in range(max(map(len, history.values()), default=0)):
        row = {_of_train(name): values[place] for name, values in history.items() if place < len(values)}
        yield place + 1, {"epoch": place + 1, **row}


def _is_mmcv(records: Sequence[Numbered]) -> bool:
    modes = [record for _, record in records if record.get("mode") in ("train", "val", "test")]
    return bool(modes) and all("epoch" in record for record in modes)


def _of_mmcv(records: Sequence[Numbered]) -> Iterator[Numbered]:
    """`*.log.json`: `iter` counts batches of an epoch or a validation; the last row of an epoch counts."""
    modes = [(place, record) for place, record in records if "mode" in record]
    last = {(record["mode"], record.get("epoch")): place for place, record in modes}
    for place, record in modes:
        if last[record["mode"], record.get("epoch")] == place:
            row = {key: value for key, value in record.items() if key not in ("mode", "iter", "step")}
            yield place, {"split": record["mode"], **row}


def _is_mmengine(records: Sequence[Numbered]) -> bool:
    has_epochs = any({"epoch", "iter", "step"} <= record.keys() for _, record in records)
    return has_epochs and any("epoch" not in record and "step" in record for _, record in records)


def _of_mmengine(records: Sequence[Numbered]) -> Iterator[Numbered]:
    """`scalars.json`: training has epochs; the `step` of a validation is the epoch that it followed."""
    trained = [(place, record) for place, record in records if "epoch" in record]
    most = max(record["epoch"] for _, record in trained)
    last = {record["epoch"]: place for place, record in trained}
    tested = [record["step"] for _, record in records if "epoch" not in record and "step" in record]
    # Trained by iterations, validations count those too.
    by_epoch = max(tested) <= most
    for place, record in records:
        is_training = "epoch" in record
        if by_epoch and is_training and last[record["epoch"]] != place:
            continue
        when = {"epoch": record["epoch" if is_training else "step"]} if by_epoch else {"step": record["step"]}
        rest = {key: value for key, value in record.items() if key not in ("epoch", "iter", "step")}
        yield place, {**when, "split": "train" if is_training else "val", **rest}


def _is_detectron2(records: Sequence[Numbered]) -> bool:
    counts = [record["iteration"] for _, record in records if isinstance(record.get("iteration"), int)]
    is_counted = len(counts) == len(records) and counts == sorted({*counts})
    return is_counted and not any({"epoch", "step"} & record.keys() for _, record in records)


def _of_detectron2(records: Sequence[Numbered]) -> Iterator[Numbered]:
    """`metrics.json`, written every so many iterations."""
    for place, record in records:
        yield place, {"update" if key == "iteration" else key: value for key, value in record.items()}


FORMS: Sequence[JsonForm] = (
    JsonForm(_is_hugging_face, _of_hugging_face),
    JsonForm(_is_keras, _of_keras),
    JsonForm(_is_mmcv, _of_mmcv),
    JsonForm(_is_mmengine, _of_mmengine),
    JsonForm(_is_detectron2, _of_detectron2),
    JsonForm(lambda _: True, iter),
)
"""In the order in which they are asked; Ray and most others write records whose keys are columns."""
