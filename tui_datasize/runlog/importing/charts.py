"""CSV of a Weights & Biases chart: a step in the first column, then one column for each run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from tui_datasize.runlog.importing.delimited import TakeRow, header_of, read_delimited
from tui_datasize.runlog.importing.layout import Layout, moment_of, origin_of
from tui_datasize.runlog.importing.names import UnclearNameError, all_unclear
from tui_datasize.runlog.importing.staged import Origin, Staged, StagedKey, StagedRow, option
from tui_datasize.runlog.importing.text_file import TextFile
from tui_datasize.text import listed

FORM = "CSV of a chart of Weights & Biases"

_BETWEEN = " - "
"""What the chart export writes between the name of a run and that of a metric."""
_GROUP = re.compile(r"(Group: |[\w./]+: )")
"""How the name of a line begins that is drawn over a group of runs: its key, and the value."""


def is_chart(head: str) -> bool:
    """Whether a text begins as a chart export does: every column behind the first is of one run."""
    columns = header_of(head)
    return len(columns) > 1 and all(_BETWEEN in column for column in columns[1:])


def read_chart(_run: str, layout: Layout, into: Staged) -> None:
    """Read a chart export, whose columns name their runs."""

    def begin(header: list[str]) -> TakeRow:
        axis = _axis(header[0], layout)
        into.fields[header[0]] = axis
        columns = _columns(header, layout, into)
        origins = {} if axis == "size" else _origins(columns, layout)

        def take(row: list[str], line: int) -> None:
            known = {axis: row[0].strip()} if row[0].strip() else {}
            moment = moment_of({} if axis == "size" else known)
            # The same run may have several metrics in one chart.
            for place, run, key in columns:
                if text := row[place].strip():
                    origin = origins.get(run) or origin_of(known, run, layout)
                    n_runs = layout.n_runs if _GROUP.match(run) else None
                    values = ((key, into.number(key.column, text, line)),)
                    into.add(StagedRow(origin, moment, line, values, n_runs=n_runs))

        return take

    read_delimited(TextFile(into.file, into), into, begin, layout.skipped(into.file))


def _columns(header: Sequence[str], layout: Layout, into: Staged) -> list[tuple[int, str, StagedKey]]:
    found = []
    groups: dict[str, None] = {}
    seen: Counter[str] = Counter()
    for place, column in enumerate(header[1:], start=1):
        run, _, name = column.rpartition(_BETWEEN)
        if name.endswith(("__MIN", "__MAX")):
            continue
        meaning = layout.meaning_of(name)
        if meaning is None:
            into.passed[name] = "--ignore" if name in layout.ignore else ""
            continue
        into.columns[name] = meaning
        seen[column] += 1
        if _GROUP.match(run):
            groups[run] = None
        whose = f"{run} ({seen[column]})" if seen[column] > 1 else run
        found.append((place, whose, StagedKey(name, meaning.split)))
    if not found:
        what = f"no metric is known among {', '.join(into.passed)}; name one like --column test_accuracy=NAME"
        raise ValueError(what)
    if groups and layout.n_runs is None:
        told = listed([repr(group) for group in list(groups)[:3]])
        what = "an average over a group of runs, by its name: read as one run; --n-runs N tells over how many"
        into.notes.append(f"{told} may be {what}")
    return found


def _origins(columns: Sequence[tuple[int, str, StagedKey]], layout: Layout) -> dict[str, Origin]:
    found, unclear = {}, []
    for _, run, _ in columns:
        try:
            found[run] = origin_of({}, run, layout)
        except UnclearNameError as error:
            unclear.append(error)
    if unclear:
        raise all_unclear(unclear)
    return found


def _axis(column: str, layout: Layout) -> str:
    fields = layout.fields_of([column])
    for name in ("update", "epoch", "size"):
        if fields.get(name) == column:
            return name
    raise ValueError(
        f"the first column is {column!r}, neither a step nor an epoch; export the chart with Step on its x "
        f"axis, or if it counts updates, give {option('column', 'update', column)}"
    )
