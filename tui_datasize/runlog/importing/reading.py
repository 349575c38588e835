"""All files of one import: known by their form, read, decided on together, put together to runs.

A file that is not understood is a `ConfigError` that names it, and the line where there is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.toml import text_of
from tui_datasize.files import open_regular
from tui_datasize.runlog.importing import (
    charts,
    collected,
    confusion,
    console,
    events,
    mlflow,
    records,
    splits_and_units,
    tables,
    wandb_runs,
    workbook,
)
from tui_datasize.runlog.importing import staged as limits
from tui_datasize.runlog.importing.collected import ForeignCurve, ForeignRun, ReadRow
from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.splits_and_units import Settled, Unit, may_scatter
from tui_datasize.runlog.importing.staged import Staged, StagedKey, option, unreadable, variant_hint
from tui_datasize.text import listed, plural


@dataclass(frozen=True, slots=True)
class FileForm:
    """One form of file."""

    form: str
    knows: Callable[[str, bytes], bool]
    """Whether a file of this name and this beginning has the form."""
    read: Callable[[str, Layout, Staged], None]
    """Reads the file that is staged, by the name of its run."""
    in_folders: tuple[str, ...]
    """Names of files that are looked for in a folder."""
    rank: int
    """Of a folder the files of the reader are taken that has any there and comes first."""
    is_sure: bool = True
    """Whether a file of such a name is of the form, whatever it holds."""


def _of_text(knows: Callable[[str], bool]) -> Callable[[str, bytes], bool]:
    def known(_name: str, head: bytes) -> bool:
        try:
            text = text_of(head)
        except UnicodeDecodeError as error:
            text = text_of(head[: error.start])
        # A machine that went down may leave zeros among the rows; other files have some at once.
        return bool(text or not head) and "\0" not in text.partition("\n")[0].rstrip("\0") and knows(text)

    return known


READERS: Sequence[FileForm] = (
    FileForm(events.FORM, events.is_events, events.read_events, ("*tfevents*",), 1),
    FileForm(mlflow.FORM, mlflow.is_mlflow, mlflow.read_mlflow, mlflow.FILES, 2, is_sure=False),
    FileForm(workbook.FORM, workbook.is_workbook, workbook.read_workbook, ("*.xlsx",), 7),
    FileForm(
        confusion.FORM, confusion.is_confusion, confusion.read_confusion, confusion.FILES, 8, is_sure=False
    ),
    FileForm(console.FORM, console.is_console, console.read_console, console.FILES, 6, is_sure=False),
    FileForm(records.FORM, records.is_json, records.read_records, records.FILES, 3),
    FileForm(records.FORM, records.is_json, records.read_records, ("log.txt",), 4, is_sure=False),
    FileForm(charts.FORM, _of_text(charts.is_chart), charts.read_chart, ("*.csv", "*.tsv"), 5),
    FileForm(wandb_runs.FORM, _of_text(wandb_runs.is_wandb_runs), wandb_runs.read_wandb_runs, (), 5),
    FileForm(tables.FORM, _of_text(lambda _: True), tables.read_table, ("*.csv", "*.tsv"), 5),
)
"""In the order in which they are asked."""


def read_file(file: Path, run: str, layout: Layout, into: Staged) -> None:
    """Read a file by the first reader that knows its form; `run` is its folders, and its name beside them."""
    head = _head(file)
    reader = next((reader for reader in READERS if reader.knows(file.name, head)), None)
    if reader is None:
        known = ", ".join(dict.fromkeys(reader.form for reader in READERS))
        what = "text in UTF-16 without its mark" if _is_utf_16(head) else f"unknown format; expected {known}"
        raise ConfigError(what, where=str(file), fix="save its table as CSV in UTF-8")
    into.form = reader.form
    try:
        reader.read(run, layout, into)
    except OSError as error:
        raise unreadable(file, error) from None


def files_of(given: Sequence[Path]) -> list[tuple[Path, str]]:
    """Every file that was meant, with what names its run.

    That is the folders of an event file or a run of MLflow, and the folder and name of any other.
    """
    found: list[tuple[Path, str]] = []
    for path in given:
        if not path.exists():
            raise ConfigError("no such file", where=str(path), fix="correct the path")
        if not path.is_dir():
            found.append((path, _name(path, path.absolute().parent.parent)))
            continue
        ranked = sorted(READERS, key=lambda reader: reader.rank)
        inside = next(filter(None, (_below(path, reader) for reader in ranked)), [])
        if not inside:
            names = ", ".join(dict.fromkeys(name for reader in ranked for name in reader.in_folders))
            what = f"no log or table of a known form there: none is called {names}"
            raise ConfigError(what, where=str(path), fix="name the files themselves, or save a table as CSV")
        found += [(file, _name(file, path.absolute().parent)) for file in inside]
    return found


def _below(folder: Path, reader: FileForm) -> list[Path]:
    found = {file for pattern in reader.in_folders for file in folder.rglob(pattern) if file.is_file()}
    if not reader.is_sure:
        found = {file for file in found if reader.knows(file.name, _head(file))}
    # Of files that TensorBoard numbers the tenth comes behind the second.
    return sorted(
        records.without_earlier(found),
        key=lambda file: [(file.parent, re.sub(r"\d+", lambda n: n[0].zfill(20), file.name)), file.name],
    )


def _head(file: Path) -> bytes:
    try:
        with open_regular(file) as stream:
            return stream.read(_HEAD_BYTES)
    except OSError as error:
        raise unreadable(file, error) from None


def _is_utf_16(head: bytes) -> bool:
    """Whether mostly every other byte is zero, as in Western text."""
    few, many = sorted(head[place::2].count(0) for place in (0, 1))
    return many > len(head) // 4 and few * 20 < many


def _name(file: Path, top: Path) -> str:
    relative = file.absolute().relative_to(top)
    is_of_folder = "tfevents" in file.name or file.name in mlflow.FILES
    return (relative.parent if is_of_folder else relative.with_suffix("")).as_posix()


_HEAD_BYTES = 2**20
"""By which the form of a file is known."""
_NAMES_TOLD = 3


@dataclass(frozen=True)
class ColumnRead:
    """What one column or tag of one file is read as."""

    file: str
    column: str
    read_as: str
    """A metric, a field, or empty."""
    why: str
    """What decided, or why it is not read."""


@dataclass(frozen=True)
class ReadFiles:
    """What the files of one import tell."""

    files: tuple[Staged, ...]
    refused: tuple[ConfigError, ...]
    runs: tuple[ForeignRun, ...]
    columns: tuple[ColumnRead, ...]
    notes: tuple[str, ...]
    """What was decided, left out or found missing, a sentence each."""


def read_all(given: Sequence[Path], layout: Layout, *, is_strict: bool) -> ReadFiles:
    """Read files and folders; one that is damaged or refused refuses a strict import.

    Raises ConfigError: nothing is left to be read, files contradict each other, or one was refused strictly.
    """
    refused: list[ConfigError] = []
    files = files_of(given)
    if len(files) > 1 and any(text.isdecimal() for text in layout.skip_lines):
        raise ConfigError("--skip-line does not say of which file", fix="write it like runs.csv:12")
    staged = _stage(files, layout, refused, is_strict)
    while True:
        decided, faults = _decide(staged, layout)
        by_column = {} if faults else splits_and_units.units(staged, decided, layout)
        parts, faults = ([], faults) if faults else _curves(staged, decided, by_column)
        if not faults:
            break
        refused += dict.fromkeys(faults.values())
        if is_strict:
            raise refused[0]
        staged = [one for number, one in enumerate(staged) if number not in faults]
    if not staged:
        raise _all_refused(refused)
    runs, notes = _runs(staged, parts)
    return ReadFiles(
        tuple(staged),
        tuple(refused),
        tuple(runs),
        tuple(_columns(staged, decided, by_column)),
        tuple([*_file_notes(staged, decided, by_column), *notes, *_run_notes(runs, decided)]),
    )


def _stage(
    files: Sequence[tuple[Path, str]], layout: Layout, refused: list[ConfigError], is_strict: bool
) -> list[Staged]:
    staged: list[Staged] = []
    room = limits.MOST_VALUES
    for file, run in files:
        one = Staged(file, "", is_strict=is_strict, room=room)
        try:
            read_file(file, run, layout, one)
        except ConfigError as error:
            if is_strict:
                raise
            refused.append(error)
            continue
        room = one.room
        staged.append(one)
    return staged


def _decide(staged: Sequence[Staged], layout: Layout) -> tuple[list[Settled], dict[int, ConfigError]]:
    decided, faults = [], {}
    tests = splits_and_units.test_split(staged, layout)
    for number, one in enumerate(staged):
        try:
            settled = splits_and_units.settle(one, tests)
            splits_and_units.check_range(one, settled, layout)
        except ConfigError as error:
            faults[number] = error
            continue
        decided.append(settled)
    return decided, faults


def _all_refused(refused: Sequence[ConfigError]) -> ConfigError:
    first = refused[0]
    if len(refused) == 1:
        return first
    others = plural(len(refused) - 1, "other file")
    return ConfigError(f"{first.what} ({others} refused too)", where=first.where, fix=first.fix)


def _curves(
    staged: Sequence[Staged], decided: Sequence[Settled], by_column: Mapping[str, Unit]
) -> tuple[list[ForeignCurve], dict[int, ConfigError]]:
    """Rows by run, and the files whose rows contradict each other; event files of a folder are of one run."""
    sources: dict[str, list[int]] = {}
    for number, one in enumerate(staged):
        source = one.rows[0].origin.run if one.is_in_order and one.rows else str(one.file)
        sources.setdefault(source, []).append(number)
    parts: list[ForeignCurve] = []
    faults: dict[int, ConfigError] = {}
    for source, numbers in sources.items():
        rows = (row for number in numbers for row in _read_rows(staged[number], decided[number], by_column))
        first = staged[numbers[0]]
        try:
            parts += collected.foreign_curves(rows, source, in_order=first.is_in_order)
        except ConfigError as error:
            faults |= dict.fromkeys(numbers, error)
        except collected.RepeatedError as error:
            fix = "" if error.is_of_end else _repeat_fix([first])
            if not first.is_in_order:
                skip = f"--skip-line {error.place} leaves the line out"
                fix = f"{fix}; {skip}" if fix else f"if it is of another, {skip}"
            fault = first.error(str(error), error.place, fix=fix)
            faults |= dict.fromkeys(numbers, fault)
    return parts, faults


def _runs(staged: Sequence[Staged], parts: Sequence[ForeignCurve]) -> tuple[list[ForeignRun], list[str]]:
    try:
        runs, notes = collected.put_together(parts)
    except ValueError as error:
        raise ConfigError(str(error), fix=_repeat_fix(staged)) from None
    if len(runs) > limits.MOST_RUNS:
        raise ConfigError(f"more than {limits.MOST_RUNS:,} runs", fix="import some of the files at a time")
    hint = variant_hint(staged)
    if hint and any("seed" not in run.tells and run.cell.seed for run in runs):
        raise ConfigError(
            f"runs of one size differ in {hint!r} and no seed is given",
            where=str(staged[0].file),
            fix=f"if it tells curves apart, give {option('variant', hint)}; if it numbers repeats, "
            f"{option('column', 'seed', hint)}; else {option('ignore', hint)}",
        )
    return runs, notes


def _repeat_fix(staged: Sequence[Staged]) -> str:
    if all(one.is_in_order for one in staged):
        return "import the folder of one alone, or tell them apart: --run-pattern with the group seed or draw"
    hint = variant_hint(staged)
    variant = option("variant", hint or "COLUMN")
    if len(staged) > 1:
        return (
            f"tell them apart: --run-pattern with the group seed or draw, or {variant}; or import one alone"
        )
    return (
        f"if {repr(hint) if hint else 'a column'} tells curves apart, give {variant}; "
        "if a row is an evaluation, name the column of its epoch or update: --column epoch=COLUMN"
    )


def _read_rows(staged: Staged, settled: Settled, by_column: Mapping[str, Unit]) -> Iterator[ReadRow]:
    read = {key: (metric, by_column[key.column]) for key, metric in settled.metrics.items()}
    for row in staged.rows:
        values = []
        for key, number in row.values:
            if known := read.get(key):
                values.append((known[0], known[1].value(number)))
        spreads = {}
        if row.n_runs is not None:
            spreads = {read[key][0]: read[key][1].spread(sd) for key, sd in row.spreads if key in read}
            ends = dict(values)
            for metric, sd in spreads.items():
                if not may_scatter(metric, ends.get(metric), sd, row.n_runs):
                    what = f"runs with a mean {metric} of {ends[metric]:g} cannot scatter by {sd:g} (SD)"
                    raise staged.error(what, row.place, fix="give the spread in units of the mean")
        yield row, values, spreads


def _columns(
    staged: Sequence[Staged], decided: Sequence[Settled], by_column: Mapping[str, Unit]
) -> Iterator[ColumnRead]:
    for one, settled in zip(staged, decided, strict=True):
        file = str(one.file)
        for column, name in one.fields.items():
            yield ColumnRead(file, column, name, "")
        for key, metric in settled.metrics.items():
            yield ColumnRead(file, key.column, metric, _why(key, settled, by_column))
        for key, why in settled.passed.items():
            yield ColumnRead(file, key.column, "", why)
        for column, why in one.passed.items():
            yield ColumnRead(file, column, "", why or "no field or metric of that name; --column NAME=COLUMN")


def _why(key: StagedKey, settled: Settled, by_column: Mapping[str, Unit]) -> str:
    unit = by_column[key.column]
    error = f"an error: read as 1 minus it{'' if unit.is_percent else ', a share'}" if unit.is_error else ""
    percent = f"in percent{f': {unit.why}' if unit.why else ''}" if unit.is_percent else ""
    return "; ".join(filter(None, (settled.why.get(key), error, percent)))


def _file_notes(
    staged: Sequence[Staged], decided: Sequence[Settled], by_column: Mapping[str, Unit]
) -> Iterator[str]:
    told: dict[str, None] = {}
    for one, settled in zip(staged, decided, strict=True):
        for note in one.notes:
            yield f"{one.file}: {note}"
        for state, names in one.unfinished.items():
            shown = listed(list(names)[:_NAMES_TOLD]) + (", ..." if len(names) > _NAMES_TOLD else "")
            yield (
                f"{one.file}: {plural(len(names), 'run')} left out as {state} ({shown}); "
                "--any-state reads them too"
            )
        for key, metric in settled.metrics.items():
            if why := _why(key, settled, by_column):
                told[f"{key.column} is read as {metric}: {why}"] = None
        for key, why in settled.passed.items():
            told[f"{key.column} is not read: {why}"] = None
        told |= dict.fromkeys(f"{column} is not read: {why}" for column, why in one.passed.items() if why)
    yield from told


def _run_notes(runs: Sequence[ForeignRun], decided: Sequence[Settled]) -> Iterator[str]:
    """For each metric, how many runs have no value of it, and of how many it is an earlier one."""
    if means := [run.n_runs for run in runs if run.n_runs is not None]:
        behind = f"{min(means):,}" if min(means) == max(means) else f"{min(means):,} to {max(means):,}"
        yield f"{plural(len(means), 'row')} of means over {behind} runs: no single runs are known"
    ends = [run.end for run in runs]
    metrics = {metric for settled in decided for metric in settled.metrics.values()} - {"wall_s"}
    for metric in sorted(metrics):
        lacking = sum(end.get(metric) is None for end in ends)
        if lacking == len(runs):
            yield f"no run has a value of {metric} (blank or not finite)"
        elif lacking:
            who = f"{lacking:,} of {plural(len(runs), 'run')} {'has' if lacking == 1 else 'have'}"
            yield f"{who} no value of {metric} (blank or not finite)"
        earlier = [run for run in runs if metric in run.carried]
        if earlier:
            first = earlier[0]
            yield (
                f"{metric} of {plural(len(earlier), 'run')} is the last that was measured, not of the end "
                f"({first}: of {first.carried[metric]})"
            )
    if runs and not any(metric.startswith("test_") for metric in metrics):
        yield "there is no test or validation split: --column test_accuracy=COLUMN names what is"


def refusals(reading: ReadFiles) -> Iterator[str]:
    """A line for each file that is not read."""
    for error in reading.refused:
        yield f"not read: {error.line}"


def without_runs(reading: ReadFiles) -> ConfigError:
    """The error of files that hold no run, or no value of one."""
    if reading.runs:
        what = "no run there has a value of a metric: all cells are blank"
        return ConfigError(what, fix="name a column that has some: --column test_accuracy=NAME")
    if any(one.unfinished for one in reading.files):
        return ConfigError("no run there has ended", fix="--any-state reads them all the same")
    ignored = ", ".join(dict.fromkeys(column for one in reading.files for column in one.passed))
    what = f"no value of a metric is known there{f'; {ignored} were not read' if ignored else ''}"
    return ConfigError(what, fix="name one like --column test_accuracy=NAME")
