"""CSV with a row per run, per evaluation of a run, or per mean over runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from tui_datasize.runlog.importing import meanings
from tui_datasize.runlog.importing.beside import facts_beside
from tui_datasize.runlog.importing.columns import TableColumns, refuse_untold, table_columns
from tui_datasize.runlog.importing.delimited import TableText, TakeRow, read_delimited
from tui_datasize.runlog.importing.layout import Layout, moment_of, origin_of, refuse_contradiction
from tui_datasize.runlog.importing.meanings import is_in_percent, is_share
from tui_datasize.runlog.importing.means import NO_COUNT, kind_in_name, mean_in, sd_of
from tui_datasize.runlog.importing.names import images_of, may_be_share, whole
from tui_datasize.runlog.importing.staged import Moment, Origin, Staged, StagedKey, StagedRow, is_blank
from tui_datasize.runlog.importing.states import leave_out_unfinished
from tui_datasize.runlog.importing.text_file import TextFile
from tui_datasize.text import visible

FORM = "CSV, a row per run or evaluation"

_MOST_KINDS = 4_096
"""Rows of one run mostly stand together: what is known of so many is kept in mind."""


def read_table(run: str, layout: Layout, into: Staged) -> None:
    """Read a table; its folders and its name tell size and seed where no column does."""
    read_table_text(TextFile(into.file, into), run, layout, into)


def read_table_text(text: TableText, run: str, layout: Layout, into: Staged) -> None:
    """Read the table that a text holds, with what the configuration beside its file says."""

    def begin(header: list[str]) -> TakeRow:
        facts = facts_beside(into.file, header, layout)
        reader = TableReader([*header, *facts], run, layout, into, facts)
        if not facts:
            return reader.take
        values = [*facts.values()]
        return lambda cells, line: reader.take([*cells, *values], line)

    read_delimited(text, into, begin, layout.skipped(into.file))
    finish_table(into)


def finish_table(staged: Staged) -> None:
    """Decide what all rows together tell.

    Raises ConfigError: a column may name splits or curves, or a state is not known.
    """
    refuse_untold(staged)
    leave_out_unfinished(staged)


class _Metric(NamedTuple):
    """A column of a metric, by the places of its cells."""

    key: StagedKey
    place: int
    spread: int | None
    """Of the cell that tells how far the runs behind it scatter."""


class _Kind(NamedTuple):
    """What all rows with the same cells beside their values and moments have."""

    known: Mapping[str, str]
    """Texts by field, blank ones left out."""
    split: str
    origins: dict[str, tuple[Origin, list[_Metric]]]
    """By the number of the columns, see `TableColumns.numbered`; empty where there are none."""


class TableReader:
    """Takes rows by the names of their columns; raises ValueError: these or a cell are not understood."""

    def __init__(
        self, header: Sequence[str], run: str, layout: Layout, into: Staged, facts: Collection[str] = ()
    ) -> None:
        """`facts` are columns that tell of the run as a whole: its name must not contradict them."""
        self.columns = table_columns(header, layout, into, is_csv=into.form == FORM)
        self._layout, self._into, self._run, self._split = layout, into, run, ""
        """The split as the name of the file or its folder tells it, where nothing in the file does."""
        metrics = self.columns.metrics.values()
        name, split = meanings.folder_split(run, layout.test_split)
        if split and "split" not in self.columns.fields and not any(m.split for m in metrics):
            self._run, self._split = name, split
        places = {column: place for place, column in reversed([*enumerate(header)])}
        fields = [(name, places[column]) for name, column in self.columns.fields.items()]
        self._when = [(name, place) for name, place in fields if name in ("epoch", "update")]
        self._fields = [one for one in fields if one not in self._when]
        self._variant = [(column, places[column]) for column in layout.variant]
        self._others = [(column, places[column]) for column in self.columns.others]
        self._state = places[self.columns.state] if self.columns.state else None
        self._experiment = places[layout.experiment_column] if layout.experiment_column else None
        self._places = places
        self._has_facts = bool(facts)
        self._size = self.columns.fields.get("size", "")
        self._is_size_beside = self._size in facts
        self._has_means = bool(self.columns.means) or _counts_runs(self.columns)
        groups = [] if self._experiment is None else [self._experiment]
        self._of_kind = [place for _, place in (*self._fields, *self._variant)] + groups
        self._kinds: dict[tuple[str, ...], _Kind] = {}
        self._moments: dict[tuple[str, ...], Moment] = {}
        self._metrics: dict[tuple[str, str], list[_Metric]] = {}

    def take(self, cells: Sequence[str], line: int) -> None:
        """Take a row of stripped cells."""
        key = tuple([cells[place] for place in self._of_kind])
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) == _MOST_KINDS:
                self._kinds.clear()
            known = {name: cells[place] for name, place in self._fields if not is_blank(cells[place])}
            kind = self._kinds[key] = _Kind(known, self._split_of(known.get("split")), {})
        if not self.columns.numbered:
            self._add(cells, line, kind, "")
        for number, columns in self.columns.numbered.items():
            if not all(is_blank(cells[self._places[column]]) for column in columns.values()):
                self._add(cells, line, kind, number)

    def _add(self, cells: Sequence[str], line: int, kind: _Kind, number: str) -> None:
        found = kind.origins.get(number)
        if found is None:
            origin = self._origin(cells, kind.known, number)
            found = kind.origins[number] = origin, self._metrics_of(kind.split, number)
        origin, metrics = found
        values: list[tuple[StagedKey, float | None]] = []
        spreads = []
        for metric in metrics:
            if text := cells[metric.place]:
                value, spread = self._value(metric, text, cells, line)
                values.append((metric.key, value))
                if spread:
                    spreads.append((metric.key, spread))
        moment = self._moment(cells)
        if not values and not moment.is_told and origin.seed is None:
            # One of several runs that nothing tells apart, and without a result.
            values = [(metric.key, None) for metric in metrics]
        for column, place in self._others:
            if cells[place]:
                self._into.pass_over(column, origin.train_size, cells[place])
        state = "" if self._state is None else cells[self._state]
        row = StagedRow(origin, moment, line, tuple(values), state)
        if spreads or self._has_means:
            row = self._mean(row, spreads, kind.known.get("n_runs"))
        self._into.add(row)

    def _value(self, metric: _Metric, text: str, cells: Sequence[str], line: int) -> tuple[float | None, str]:
        """A value, and the text of its spread."""
        beside = "" if metric.spread is None else cells[metric.spread]
        try:
            return self._into.number(metric.key.column, text, line), "" if is_blank(beside) else beside
        except ValueError:
            if (mean := mean_in(text)) is None:
                raise
            return self._into.number(metric.key.column, mean.mean, line), mean.spread

    def _mean(self, row: StagedRow, spreads: Sequence[tuple[StagedKey, str]], count: str | None) -> StagedRow:
        """A row as one of means over runs, unless its seed is told."""
        into = self._into
        if row.origin.seed is not None:
            if spreads:
                into.note("a spread beside the value of a run whose seed is told is not read")
            return row
        n_runs = self._layout.n_runs if count is None else whole(count)
        if n_runs is None:
            if spreads:
                raise ValueError(f"{spreads[0][0].column} {NO_COUNT}")
            column = next(iter(self.columns.means), "")
            into.note(f"{column} is a mean by its name, over runs that nobody counts: read as one run each")
            return row
        if n_runs < 1:
            raise ValueError("a mean over 0 runs")
        kinds = {mean: spread.kind for mean, spread in self.columns.spreads.items()}
        kinds |= {mean: kind for mean in self.columns.means if (kind := kind_in_name(mean))}
        found = []
        for key, text in spreads:
            number = into.spread(key.column, text)
            kind = kinds.get(key.column)
            if kind is None:
                into.note(
                    "the number beside a mean is its standard deviation; --spread se if it is its error"
                )
            kind = self._layout.spread or kind or "sd"
            if number is not None:
                found.append((key, sd_of(number, kind, n_runs, f"the spread of {key.column}")))
        return row._replace(spreads=tuple(found), n_runs=n_runs)

    def _origin(self, cells: Sequence[str], known: Mapping[str, str], number: str) -> Origin:
        name = known.get("run", self._run)
        if number:
            what = self.columns.counts(self.columns.numbered[number], self._layout)
            name = self._run if what else f"{name} {number}"
            known = {**known, what: number} if what else known
        # Kept in the record, exported, and shown: nothing in it may act on a terminal.
        told = tuple((visible(column), visible(cells[place])) for column, place in self._variant)
        found = origin_of(self._in_images(known), name, self._layout, told)
        if self._experiment is not None:
            found = found._replace(group=cells[self._experiment])
        if "run" in known or self._has_facts:
            refuse_contradiction(found, known, self._layout)
        return found

    def _in_images(self, known: Mapping[str, str]) -> Mapping[str, str]:
        """The same with the number of images, where the size is a share of a whole set that is told."""
        size, of_all = known.get("size", ""), self._layout.train_size
        # What a configuration calls so may be how a data set was split.
        is_whole = (may_be_share(size) or size == "1") and not self._is_size_beside
        if of_all is None or not (size.endswith("%") or is_share(self._size) or is_whole):
            return known
        self._into.note(f"sizes are shares of {of_all:,} images, to the nearest one")
        return {**known, "size": str(images_of(size, of_all, is_percent=is_in_percent(self._size)))}

    def _moment(self, cells: Sequence[str]) -> Moment:
        key = tuple([cells[place] for _, place in self._when])
        found = self._moments.get(key)
        if found is None:
            told = {name: cells[place] for name, place in self._when if not is_blank(cells[place])}
            found = self._moments[key] = moment_of(told)
        return found

    def _metrics_of(self, split: str, number: str) -> list[_Metric]:
        found = self._metrics.get((split, number))
        if found is None:
            own = self.columns.numbered.get(number, {})
            found = []
            for column, meaning in self.columns.metrics.items():
                place = self._places.get(own.get(column, column))
                if place is not None:
                    spread = self.columns.spreads.get(column)
                    beside = None if spread is None else self._places[spread.column]
                    found.append(_Metric(StagedKey(column, meaning.split or split), place, beside))
            self._metrics[split, number] = found
        return found

    def _split_of(self, text: str | None) -> str:
        if text is None:
            return self._split
        found = meanings.split_of(text, self._layout.test_split)
        if found is None:
            raise ValueError(
                f"the split is {text!r}, expected train, val or test; "
                f"--test-split {text} takes it for the test split"
            )
        return found


def _counts_runs(columns: TableColumns) -> bool:
    """Whether a column without spreads beside it surely counts the runs behind each row."""
    words = meanings.plain(columns.fields.get("n_runs", "")).split("_")
    return words[0] in ("n", "num") and words[-1] in ("runs", "seeds", "repeats", "reps")
