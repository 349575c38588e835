"""Foreign results in CSV: a row per run or evaluation, or a column per run as Weights & Biases exports."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from tui_datasize.errors import ConfigError
from tui_datasize.runlog.importing.collected import Cell, Collected, Moment
from tui_datasize.runlog.importing.layout import Layout, whole
from tui_datasize.runlog.schema import SCORES

MOST_BYTES = 256 * 2**20
MOST_ROWS = 1_000_000
MOST_COLUMNS = 10_000

_BETWEEN = " - "
"""What the chart export writes between the name of a run and that of a metric."""
_EXTREMES = ("__MIN", "__MAX")


def read_table(file: Path, layout: Layout, into: Collected) -> None:
    """Read a CSV file of either form; commas, semicolons or tabs between, told by the first line.

    Raises:
        ConfigError: The file is too large, or a line of it is broken; the line is named.
        OSError: It cannot be read.
    """
    if file.stat().st_size > MOST_BYTES:
        raise ConfigError(f"larger than {MOST_BYTES // 2**20} MiB", where=str(file))
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            _read(stream, str(file), layout, into)
    except UnicodeDecodeError:
        raise ConfigError("not UTF-8 text", where=str(file)) from None


def _read(stream: TextIO, name: str, layout: Layout, into: Collected) -> None:
    first = stream.readline()
    stream.seek(0)
    reader = csv.reader(stream, delimiter=max(",;\t", key=first.count), strict=True)
    try:
        header = _header(next(reader, []))
        rows = _counted(_rows(reader, len(header)))
        read = _read_wide if is_wide(header) else _read_long
        read(header, rows, layout, into)
    except UnicodeDecodeError:
        raise
    except (ValueError, csv.Error) as error:
        raise ConfigError(str(error), where=f"{name}, line {max(1, reader.line_num)}") from None


def is_wide(header: Sequence[str]) -> bool:
    """Whether a header is that of a chart export: every column behind the first is of one run."""
    return len(header) > 1 and all(_BETWEEN in column for column in header[1:])


def _header(columns: list[str]) -> list[str]:
    names = [column.strip() for column in columns]
    if not any(names):
        raise ValueError("the file is empty; expected a line of column names")
    if len(names) > MOST_COLUMNS:
        raise ValueError(f"more than {MOST_COLUMNS:,} columns")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise ValueError(f"the column {name!r} stands there {count} times")
    return names


def _rows(reader: Iterator[list[str]], width: int) -> Iterator[list[str]]:
    for number, row in enumerate(reader, start=1):
        if number > MOST_ROWS:
            raise ValueError(f"more than {MOST_ROWS:,} rows")
        if row and len(row) != width:
            raise ValueError(f"{len(row)} cells, expected {width}")
        if any(cell.strip() for cell in row):
            yield row


def _counted(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    """The same rows; none at all is an error."""
    is_empty = True
    for row in rows:
        is_empty = False
        yield row
    if is_empty:
        raise ValueError("no row stands below the column names")


def _read_long(header: list[str], rows: Iterator[list[str]], layout: Layout, into: Collected) -> None:
    fields = {name: layout.field_column(name, header) for name in _TELLING}
    told = {column for column in fields.values() if column}
    wanted = {*layout.columns.values(), *layout.variant}
    if missing := sorted(wanted - set(header)):
        raise ValueError(f"no column {missing[0]!r}; there are {', '.join(header)}")
    metrics = {c: m for c in header if c not in told and (m := layout.metric_of(c))}
    if not metrics:
        raise ValueError(
            f"no column of a metric among {', '.join(header)}; name one like --column test_accuracy=COLUMN"
        )
    into.ignored.update(dict.fromkeys(c for c in header if c not in told | {*metrics, *layout.variant}))
    for row in rows:
        cells = {name: text.strip() for name, text in zip(header, row, strict=True)}
        known = {name: cells[column] for name, column in fields.items() if column and cells[column]}
        cell = _cell(known, layout, tuple((name, cells[name]) for name in layout.variant))
        into.begin(cell)
        split = _split(known.get("split"), layout)
        moment = _moment(known)
        for column, metric in metrics.items():
            if cells[column]:
                into.add(cell, moment, of_split(metric, split), layout.value(metric, cells[column]))


_TELLING = ("size", "seed", "draw", "epoch", "update", "split", "run")


def _read_wide(header: list[str], rows: Iterator[list[str]], layout: Layout, into: Collected) -> None:
    axis = _axis(header[0], layout)
    columns: list[tuple[int, Cell, str]] = []
    for place, column in enumerate(header[1:], start=1):
        run, _, name = column.rpartition(_BETWEEN)
        metric = None if name.endswith(_EXTREMES) else layout.metric_of(name)
        if metric:
            columns.append((place, cell_of_run(run, layout), metric))
        elif not name.endswith(_EXTREMES):
            into.ignored[name] = None
    if not columns:
        raise ValueError(
            f"no metric is known among {', '.join(into.ignored)}; name one like --column test_accuracy=NAME"
        )
    for row in rows:
        moment = _moment({axis: row[0].strip()})
        for place, cell, metric in columns:
            if text := row[place].strip():
                into.add(cell, moment, of_split(metric, "test"), layout.value(metric, text))


def _axis(column: str, layout: Layout) -> str:
    for name in ("update", "epoch"):
        if layout.field_column(name, [column]) == column:
            return name
    raise ValueError(
        f"the first column is {column!r}, neither a step nor an epoch; name it: --column update=..."
    )


def of_split(metric: str, split: str) -> str:
    """The full name of a metric: a score alone is of the split given."""
    return f"{split}_{metric}" if metric in SCORES else metric


def cell_of_run(run: str, layout: Layout) -> Cell:
    """The cell that the name of a run tells.

    Raises:
        ValueError: It tells no size, and none is given for all.
    """
    return _cell({"run": run}, layout, ())


def _cell(known: Mapping[str, str], layout: Layout, variant: tuple[tuple[str, str], ...]) -> Cell:
    by_name = layout.told_by_name(known["run"]) if "run" in known else {}
    told = {name: whole(known[name]) for name in ("size", "seed", "draw") if name in known}
    size = told.get("size", by_name.get("size", layout.train_size))
    if size is None:
        of = f" of run {known['run']!r}" if "run" in known else ""
        raise ValueError(
            f"nothing tells the train size{of}; give --column size=COLUMN, a --run-pattern or --size"
        )
    seed = told.get("seed", by_name.get("seed", layout.seed))
    return Cell(size, seed, told.get("draw", by_name.get("draw", 0)), variant)


def _split(text: str | None, layout: Layout) -> str:
    if text is None or text == layout.test_split:
        return "test"
    if text == "train":
        return "train"
    raise ValueError(f"the split is {text!r}, expected train or {layout.test_split}; --test-split renames it")


def _moment(known: Mapping[str, str]) -> Moment:
    update = whole(known["update"]) if "update" in known else None
    if "epoch" not in known:
        return Moment(update)
    try:
        epoch = float(known["epoch"])
    except ValueError:
        epoch = -1.0
    if not 0 <= epoch < float("inf"):
        raise ValueError(f"the epoch is {known['epoch']!r}, expected a number of 0 or more")
    return Moment(update, epoch)
