"""CSV with a row per run, or per evaluation of a run; how runs ended, in the words of who kept the table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tui_datasize.runlog.importing import meanings
from tui_datasize.runlog.importing.delimited import read_delimited
from tui_datasize.runlog.importing.layout import FIELDS, Layout, moment_of, origin_of, refuse_contradiction
from tui_datasize.runlog.importing.meanings import Meaning, plain
from tui_datasize.runlog.importing.staged import Origin, Staged, StagedKey, StagedRow, is_blank, option
from tui_datasize.text import listed, visible

_COLUMNS = (
    *("state", "status", "run_state", "run_status", "trial_status", "job_state", "success", "succeeded"),
    *("finished", "is_finished"),
)
_REVERSED = (
    *("exit_code", "exit_status", "exitcode", "returncode", "return_code"),
    *("crashed", "failed", "killed"),
)
"""Columns in which 0 or false is what a run that ended has."""
_DONE_COLUMN = "done"
"""True in the last row of a run that ended, as Ray writes it."""

# Words of Weights & Biases, MLflow, Ray Tune, Optuna, SLURM, ClearML and Neptune.
_ENDED = frozenset(
    {"finished", "terminated", "complete", "completed", "succeeded", "success", "done", "ok", "true", "1"}
)
_NOT_ENDED = frozenset(
    (
        *("crashed", "failed", "fail", "error", "errored", "node_fail", "out_of_memory", "killed"),
        *("cancelled", "canceled", "stopped", "aborted", "timeout", "preempted", "preempting", "pruned"),
        *("interrupted", "deadline", "running", "pending", "scheduled", "paused", "queued", "waiting"),
        *("created", "in_progress", "active", "starting", "false", "0", "unfinished", "suspended", "stalled"),
        *("lost", "timed_out", "oom", "diverged", "initialized"),
    )
)


def state_column(header: Sequence[str]) -> str | None:
    """The column that tells how a run ended."""
    names = (*_COLUMNS, *_REVERSED, _DONE_COLUMN)
    return next((c for name in names for c in header if plain(c) == name), None)


def has_ended(text: str, column: str = "state") -> bool | None:
    """Whether a run in this state has a result; None where the word is not known.

    >>> [has_ended(text) for text in ("FINISHED", "crashed", "RUNNING", "TrialState.PRUNED", "CA")]
    [True, False, False, False, None]
    >>> has_ended("CANCELLED by 1000"), has_ended("137", "exit_code"), has_ended("False", "crashed")
    (False, False, True)
    """
    word = text.strip().lower()
    if plain(column) in _REVERSED:
        number = re.fullmatch(r"(-?\d+)(\.0)?(:\d+)?", word, re.ASCII)
        return int(number[1]) == 0 if number else {"false": True, "true": False}.get(word)
    word = word.rpartition(".")[2]
    first = re.split(r"[ +:]", word)[0]
    word = word.replace(" ", "_").replace("-", "_")
    return True if word in _ENDED else False if word in _NOT_ENDED or first in _NOT_ENDED else None


FORM = "CSV, a row per run or evaluation"

_COUNTED = (
    "one of several columns with a number each, of repeats as it seems: --column test_accuracy=COLUMN names "
    "one of them, or all with # in place of the number"
)


def read_table(data: bytes, run: str, layout: Layout, into: Staged) -> None:
    """Read a table; its folders and its name tell size and seed where no column does."""
    skipped = layout.skipped(into.file)
    read_delimited(data, into, lambda header: TableReader(header, run, layout, into).take, skipped)
    finish_table(into)


def finish_table(staged: Staged) -> None:
    """Decide what all rows together tell.

    Raises ConfigError: a column may name splits, or a state is not known.
    """
    _refuse_untold_split(staged)
    _leave_out_unfinished(staged)


@dataclass
class TableReader:
    """Takes rows by the names of their columns; raises ValueError: these or a cell are not understood."""

    header: list[str]
    run: str
    layout: Layout
    into: Staged
    fields: Mapping[str, str] = field(init=False)
    metrics: Mapping[str, Meaning] = field(init=False)
    state: str | None = field(init=False)
    others: Sequence[str] = field(init=False)
    numbered: Mapping[str, Mapping[str, str]] = field(init=False)
    """See `Layout.numbered`: runs that have columns of their own."""
    split: str = ""
    """As the name of the file or its folder tells it, where nothing in the file does."""

    def __post_init__(self) -> None:
        layout, header, into = self.layout, self.header, self.into
        self.numbered = layout.numbered(header)
        one_each = {column for columns in self.numbered.values() for column in columns.values()}
        told_so = {told for columns in self.numbered.values() for told in columns}
        wanted = {*layout.columns.values()} - told_so
        if missing := sorted({*wanted, *layout.variant, *layout.ignore} - set(header)):
            raise ValueError(f"no column {missing[0]!r}; there are {', '.join(header)}")
        _refuse_repeated(header, layout)
        self.fields = layout.fields_of(header)
        self.state = None if layout.any_state else state_column([c for c in header if c not in layout.ignore])
        told = {*self.fields.values(), *layout.variant, *filter(None, [self.state]), *one_each}
        unnamed = [c for c in header if c not in {*layout.columns.values(), *one_each}]
        counted = [c for c in unnamed if meanings.numbers_columns(c, header)]
        named = [c for c in (*header, *sorted(told_so)) if c not in (*told, *counted)]
        self.metrics = {c: m for c in named if (m := layout.meaning_of(c))}
        if not self.metrics:
            hint = "name one like --column test_accuracy=COLUMN"
            if counted:
                hint = f"{counted[0]!r} is {_COUNTED}"
            elif len(header) == 1 and into.form == FORM:
                hint = "expected commas, semicolons, tabs or pipes between columns"
            raise ValueError(f"no column of a metric among {', '.join(header)}; {hint}")
        name, split = meanings.folder_split(self.run, layout.test_split)
        if split and "split" not in self.fields and not any(m.split for m in self.metrics.values()):
            self.run, self.split = name, split
        self.others = [c for c in header if c not in told | {*self.metrics, *layout.ignore}]
        into.columns.update(self.metrics)
        into.passed.update(dict.fromkeys(self.others, ""))
        into.passed.update(dict.fromkeys(counted, _COUNTED))
        into.passed.update(dict.fromkeys(layout.ignore, "--ignore"))
        into.fields.update((column, name) for name, column in self.fields.items())
        into.fields.update(dict.fromkeys(layout.variant, "variant"))
        into.fields.update({self.state: "state"} if self.state else {})

    def take(self, row: list[str], line: int) -> None:
        cells = {name: text.strip() for name, text in zip(self.header, row, strict=True)}
        known = {name: cells[column] for name, column in self.fields.items() if not is_blank(cells[column])}
        # Kept in the record, exported, and shown: nothing in it may act on a terminal.
        variant = tuple((visible(name), visible(cells[name])) for name in self.layout.variant)
        name = known.get("run", self.run)
        split = self._split(known.get("split"))
        if not self.numbered:
            self._add(cells, line, known, origin_of(known, name, self.layout, variant), split)
        for number, columns in self.numbered.items():
            own = {told: cells[column] for told, column in columns.items()}
            if not all(map(is_blank, own.values())):
                what = self._counts(columns)
                told = known | ({what: number} if what else {})
                origin = origin_of(told, name if what else f"{name} {number}", self.layout, variant)
                self._add(cells | own, line, known, origin, split)

    def _counts(self, columns: Iterable[str]) -> str:
        """What the number in their names is: the size where nothing else tells it, a seed or a repeat."""
        if "size" not in self.fields and self.layout.train_size is None and not self.layout.run_pattern:
            return "size"
        return "seed" if "seed" not in self.fields and any("seed" in plain(c) for c in columns) else ""

    def _add(
        self, cells: Mapping[str, str], line: int, known: Mapping[str, str], origin: Origin, split: str
    ) -> None:
        if "run" in known:
            refuse_contradiction(origin, known, self.layout)
        keys = {column: StagedKey(column, meaning.split or split) for column, meaning in self.metrics.items()}
        filled = [(column, key) for column, key in keys.items() if cells.get(column)]
        values = tuple((key, self.into.number(column, cells[column], line)) for column, key in filled)
        moment = moment_of(known)
        if not values and not moment.is_told and origin.seed is None:
            # One of several runs that nothing tells apart, and without a result.
            values = tuple((key, None) for key in keys.values())
        for column in self.others:
            if cells[column]:
                self.into.pass_over(column, origin.train_size, cells[column])
        self.into.add(StagedRow(origin, moment, line, values, cells[self.state] if self.state else ""))

    def _split(self, text: str | None) -> str:
        if text is None:
            return self.split
        found = meanings.split_of(text, self.layout.test_split)
        if found is None:
            raise ValueError(
                f"the split is {text!r}, expected train, val or test; "
                f"--test-split {text} takes it for the test split"
            )
        return found


def _refuse_repeated(header: Sequence[str], layout: Layout) -> None:
    named = {*layout.columns.values(), *layout.variant}
    for column, count in Counter(header).items():
        if count > 1 and column and column not in layout.ignore:
            is_field = any(plain(column) in known for known in FIELDS.values())
            if column in named or is_field or state_column([column]) or layout.meaning_of(column):
                way_out = f"rename one, or {option('ignore', column)} reads none"
                raise ValueError(f"the column {column!r} is there {count} times; {way_out}")


def _refuse_untold_split(staged: Staged) -> None:
    """Ask about a column of which every text names a split, or a metric: it tells whose values a row has."""
    for column, by_size in staged.kinds.items():
        texts = set().union(*by_size.values())
        if len(texts) > 1 and all(meanings.meaning_of(text) for text in texts):
            fix = f"give each a column of its own, or {option('ignore', column)} if it does not"
            raise staged.error(f"{column!r} names metrics ({listed(sorted(texts))}), a row for each", fix=fix)
        if "split" not in staged.fields.values() and all(map(meanings.split_of, texts)):
            fix = f"give {option('column', 'split', column)}, or {option('ignore', column)} if it does not"
            raise staged.error(f"{column!r} names splits ({listed(sorted(texts))})", fix=fix)


def _name(row: StagedRow, staged: Staged) -> str:
    if "run" in staged.fields.values():
        return row.origin.run
    # One of several rows of its run.
    if row.moment.is_told:
        return f"size {row.origin.train_size}, seed {row.origin.seed}"
    return f"{staged.place} {row.place}"


def _leave_out_unfinished(staged: Staged) -> None:
    column = next((c for c, name in staged.fields.items() if name == "state"), None)
    if column is None:
        return
    ended = [has_ended(row.state, column) for row in staged.rows]
    if not any(known is not None for known in ended):
        # A column of that name that is about something else.
        del staged.fields[column]
        staged.passed[column] = "none of its values is the state of a run"
        return
    for row, known in zip(staged.rows, ended, strict=True):
        if known is None:
            what = f"{column} is {row.state!r}, no state of a run that is known"
            raise staged.error(what, row.place, "--any-state reads runs whatever their state")
    last = {row.origin: known for row, known in zip(staged.rows, ended, strict=True)}
    is_told_last = plain(column) == _DONE_COLUMN
    kept = []
    for row, known in zip(staged.rows, ended, strict=True):
        if last[row.origin] if is_told_last else known:
            kept.append(row)
            continue
        is_word = not re.fullmatch(r"[\d.:-]+|true|false", row.state, re.IGNORECASE)
        names = staged.unfinished.setdefault(row.state if is_word else f"{column} {row.state}", {})
        names[_name(row, staged)] = None
    staged.rows[:] = kept
