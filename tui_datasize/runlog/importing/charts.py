"""CSV of a Weights & Biases chart: a step in the first column, then one column for each run."""

from __future__ import annotations

from collections.abc import Sequence

from tui_datasize.runlog.importing.delimited import TakeRow, header_of, read_delimited
from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.origins import moment_of, origin_of
from tui_datasize.runlog.importing.staged import Key, Origin, Row, Staged, option

FORM = "CSV of a chart of Weights & Biases"

_BETWEEN = " - "
"""What the chart export writes between the name of a run and that of a metric."""
_EXTREMES = ("__MIN", "__MAX")


def is_chart(head: str) -> bool:
    """Whether a text begins as a chart export does: every column behind the first is of one run."""
    columns = header_of(head)
    return len(columns) > 1 and all(_BETWEEN in column for column in columns[1:])


def read_chart(data: bytes, _run: str, layout: Layout, into: Staged) -> None:
    """Read a chart export.

    Args:
        data: Content of the file.
        _run: Not needed: the columns name their runs.
        layout: Which names are which metrics.
        into: Receives what the file tells.

    Raises:
        ConfigError: A line is broken; it is named.
    """

    def begin(header: list[str]) -> TakeRow:
        axis = _axis(header[0], layout)
        into.fields[header[0]] = axis
        columns = _columns(header, layout, into)

        def take(row: list[str], line: int) -> None:
            moment = moment_of({axis: row[0].strip()})
            # The same run may have several metrics in one chart.
            found = [
                Row(origin, moment, line, ((key, into.number(key.column, text, line)),))
                for place, origin, key in columns
                if (text := row[place].strip())
            ]
            for one in found:
                into.add(one)

        return take

    read_delimited(data, into, begin)


def _columns(header: Sequence[str], layout: Layout, into: Staged) -> list[tuple[int, Origin, Key]]:
    found = []
    for place, column in enumerate(header[1:], start=1):
        run, _, name = column.rpartition(_BETWEEN)
        if name.endswith(_EXTREMES):
            continue
        meaning = layout.meaning_of(name)
        if meaning is None:
            into.passed[name] = "--ignore" if name in layout.ignore else ""
            continue
        into.columns[name] = meaning
        found.append((place, origin_of({}, run, layout), Key(name, meaning.split)))
    if not found:
        raise ValueError(
            f"no metric is known among {', '.join(into.passed)}; name one like --column test_accuracy=NAME"
        )
    return found


def _axis(column: str, layout: Layout) -> str:
    fields = layout.fields_of([column])
    for name in ("update", "epoch"):
        if fields.get(name) == column:
            return name
    raise ValueError(
        f"the first column is {column!r}, neither a step nor an epoch; if it counts updates, give "
        f"{option('column', 'update', column)}"
    )
