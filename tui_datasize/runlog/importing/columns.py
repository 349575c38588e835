"""What each column of a table is, by its name and by what a person says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tui_datasize.runlog.importing import meanings
from tui_datasize.runlog.importing.layout import FIELDS, SPREAD_ENDING, Layout
from tui_datasize.runlog.importing.meanings import Meaning, plain
from tui_datasize.runlog.importing.means import (
    SpreadColumn,
    is_named_mean,
    kind_in_name,
    spread_columns,
    without_mean,
)
from tui_datasize.runlog.importing.staged import Staged, option
from tui_datasize.runlog.importing.states import state_column

COUNTED = (
    "one of several columns with a number each, of repeats as it seems: --column test_accuracy=COLUMN names "
    "one of them, or all with # in place of the number"
)
_TELLS_CURVES = frozenset(
    (
        *("dataset", "data_set", "data", "task", "benchmark", "corpus", "model", "arch", "architecture"),
        *("network", "backbone", "method", "algorithm", "optimizer", "optimiser"),
    )
)
"""Names of columns whose values are hardly ever of one curve."""
_SHOWN = 3
"""Values of a column in a message."""


@dataclass(frozen=True)
class TableColumns:
    """What is read of a table from which column."""

    fields: Mapping[str, str]
    """Column by field, see `FIELDS`."""
    metrics: Mapping[str, Meaning]
    numbered: Mapping[str, Mapping[str, str]]
    """See `Layout.numbered`: runs that have columns of their own."""
    spreads: Mapping[str, SpreadColumn] = field(default_factory=dict)
    """By column of means."""
    means: Collection[str] = ()
    """Columns of means by their name or their spread."""
    state: str | None = None
    others: Sequence[str] = ()
    """Those that nothing is known of."""

    def counts(self, columns: Iterable[str], layout: Layout) -> str:
        """What the number in names of columns is: the size where nothing else tells it, else a seed."""
        if "size" not in self.fields and layout.train_size is None and not layout.run_pattern:
            return "size"
        return "seed" if "seed" not in self.fields and any("seed" in plain(c) for c in columns) else ""


def table_columns(header: Sequence[str], layout: Layout, into: Staged, *, is_csv: bool) -> TableColumns:
    """Decide on every column, and note it.

    Raises ValueError: a column that is named is not there, one may be several things, or none is a metric.
    """
    numbered = layout.numbered(header)
    one_each = {column for columns in numbered.values() for column in columns.values()}
    told_so = {told for columns in numbered.values() for told in columns}
    named = {*layout.columns.values()} - told_so
    if missing := sorted({*named, *layout.named} - set(header)):
        raise ValueError(f"no column {missing[0]!r}; there are {', '.join(header)}")
    _refuse_repeated(header, layout)
    fields = layout.fields_of(header)
    state = None if layout.any_state else state_column([c for c in header if c not in layout.ignore])
    taken = {*fields.values(), *layout.variant, *filter(None, [state, layout.experiment_column]), *one_each}
    counted = [c for c in header if c not in {*named, *one_each} and meanings.numbers_columns(c, header)]
    free = [c for c in (*header, *sorted(told_so)) if c not in taken and c not in counted]
    metrics = {c: m for c in free if (m := layout.meaning_of(c) or _of_named_mean(c, header, layout))}
    told_spreads = {c: told for c, m in metrics.items() if (told := _told_spread(c, m, layout))}
    if not metrics:
        raise ValueError(_no_metric(header, counted, is_csv=is_csv))
    readable = [c for c in free if c not in layout.ignore]
    spreads = spread_columns(readable, metrics, told_spreads)
    others = [c for c in readable if c not in metrics and c not in {s.column for s in spreads.values()}]
    means = [c for c in metrics if c in spreads or is_named_mean(c)]
    found = TableColumns(fields, metrics, numbered, spreads, means, state, others)
    _note(found, counted, layout, into)
    return found


def _told_spread(column: str, meaning: Meaning, layout: Layout) -> str:
    """The column that a person names as the spread of a column of means; empty where none."""
    split = "train_" if meaning.split == meanings.TRAIN else "test_"
    for name, spread in layout.columns.items():
        of = name.removesuffix(SPREAD_ENDING)
        if of != name and (layout.columns.get(of) == column or of in (split + meaning.score, meaning.score)):
            return spread
    return ""


def _of_named_mean(column: str, header: Sequence[str], layout: Layout) -> Meaning | None:
    """Of a column called a mean, which may be one over classes too, where its spread over runs is there."""
    bare = without_mean(column)
    if bare == column or column in layout.ignore:
        return None
    has_spread = kind_in_name(column) is not None or spread_columns(header, [column], {})
    return layout.meaning_of(bare) if has_spread else None


def _no_metric(header: Sequence[str], counted: Sequence[str], *, is_csv: bool) -> str:
    hint = "name one like --column test_accuracy=COLUMN"
    if counted:
        hint = f"{counted[0]!r} is {COUNTED}"
    elif shown := _one_each(header):
        hint = f"where a number tells columns of runs apart, --column 'test_accuracy={shown}' reads them all"
    elif len(header) == 1 and is_csv:
        hint = "expected commas, semicolons, tabs or pipes between columns"
    return f"no column of a metric among {', '.join(header)}; {hint}"


def _one_each(header: Sequence[str]) -> str:
    """What columns that a number tells apart are called, with # for it; empty where there are no two.

    >>> _one_each(["n", "seed0", "seed1"]), _one_each(["seed", "500", "1,000"]), _one_each(["n", "a1"])
    ('seed#', '#', '')
    """
    forms = Counter(re.sub(r"\d[\d,_]*", "#", column, count=1) for column in header)
    form, count = max(forms.items(), key=lambda pair: ("#" in pair[0], pair[1]), default=("", 0))
    return form if "#" in form and count > 1 else ""


def _note(found: TableColumns, counted: Sequence[str], layout: Layout, into: Staged) -> None:
    into.columns.update(found.metrics)
    into.passed.update(dict.fromkeys(found.others, ""))
    into.passed.update(dict.fromkeys(counted, COUNTED))
    into.passed.update(dict.fromkeys(layout.ignore, "--ignore"))
    into.fields.update((column, name) for name, column in found.fields.items())
    into.fields.update(dict.fromkeys(layout.variant, "variant"))
    into.fields.update((s.column, f"{s.kind.upper()} of {mean}") for mean, s in found.spreads.items())
    into.fields.update({found.state: "state"} if found.state else {})
    into.fields.update({layout.experiment_column: "experiment"} if layout.experiment_column else {})


def _refuse_repeated(header: Sequence[str], layout: Layout) -> None:
    named = {*layout.columns.values(), *layout.variant, layout.experiment_column}
    for column, count in Counter(header).items():
        if count > 1 and column and column not in layout.ignore:
            is_field = any(plain(column) in known for known in FIELDS.values())
            if column in named or is_field or state_column([column]) or layout.meaning_of(column):
                way_out = f"rename one, or {option('ignore', column)} reads none"
                raise ValueError(f"the column {column!r} is there {count} times; {way_out}")


def refuse_untold(staged: Staged) -> None:
    """Ask about a column that is not read and tells whose values a row has: its split, metric or curve.

    Raises ConfigError: there is one.
    """
    for column, by_size in staged.kinds.items():
        texts = set().union(*by_size.values())
        shown = ", ".join(sorted(texts)[:_SHOWN]) + (", ..." if len(texts) > _SHOWN else "")
        ignored = f"{option('ignore', column)} if it does not"
        if len(texts) > 1 and all(meanings.meaning_of(text) for text in texts):
            fix = f"give each a column of its own, or {ignored}"
            raise staged.error(f"{column!r} names metrics ({shown}), a row for each", fix=fix)
        if "split" not in staged.fields.values() and all(map(meanings.split_of, texts)):
            raise staged.error(
                f"{column!r} names splits ({shown})",
                fix=f"give {option('column', 'split', column)}, or {ignored}",
            )
        if len(texts) > 1 and plain(column) in _TELLS_CURVES:
            raise staged.error(
                f"{column!r} has several values ({shown})",
                fix=f"give {option('variant', column)} if it tells curves apart, "
                f"{option('experiment-column', column)} for an experiment of each, or {ignored}",
            )
