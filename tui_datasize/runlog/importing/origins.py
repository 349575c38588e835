"""Whose a row is: size, seed and draw by columns, by the name of the run, or by an option."""

from __future__ import annotations

from collections.abc import Mapping

from tui_datasize.runlog.importing.counts import count_of, whole
from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.names import TOLD_BY_NAMES, UnclearNameError, told_by_name
from tui_datasize.runlog.importing.staged import Moment, Origin

_END = frozenset({"final", "last", "end"})
"""What stands in place of an epoch in a row of the end of a run."""


def origin_of(
    known: Mapping[str, str], run: str, layout: Layout, variant: tuple[tuple[str, str], ...] = ()
) -> Origin:
    """Whose a row is.

    Args:
        known: Texts of columns by field; blank ones are left out.
        run: Name of the run, or of the file with its folders where rows name none.
        layout: What else is told.
        variant: Columns that tell curves apart, with their texts.

    Raises:
        ValueError: Nothing tells the size, or something may be read in two ways.
    """
    told = {name: _told(name, known[name]) for name in TOLD_BY_NAMES if name in known}
    wanted = set(TOLD_BY_NAMES) - set(told)
    try:
        by_name = told_by_name(run, wanted, layout.run_pattern)
    except ValueError:
        # What an option says for all needs no name.
        given = {"size": layout.train_size, "seed": layout.seed, "draw": layout.draw}
        wanted = {name for name in wanted if given[name] is None}
        by_name = told_by_name(run, wanted, layout.run_pattern)
    size = told.get("size", by_name.get("size", layout.train_size))
    if size is None:
        raise UnclearNameError(
            f"no train size is given for run {run!r}",
            "give --column size=COLUMN, a --run-pattern or --size",
        )
    seed = told.get("seed", by_name.get("seed", layout.seed))
    return Origin(size, seed, told.get("draw", by_name.get("draw", layout.draw)), variant, run)


def _told(name: str, text: str) -> int:
    try:
        return count_of(text) if name == "size" else whole(text)
    except ValueError as error:
        other = f"--column {name}=COLUMN names another column"
        raise ValueError(f"the {name}: {error}; {other}, --ignore COLUMN reads none") from None


def refuse_contradiction(origin: Origin, known: Mapping[str, str], layout: Layout) -> None:
    """Refuse a row whose column says one thing and the name of its run another.

    Args:
        origin: As the columns tell it.
        known: Texts of columns by field.
        layout: A column that a person names is taken at its word.

    Raises:
        ValueError: They differ.
    """
    for field in TOLD_BY_NAMES:
        if field not in known or field in layout.columns:
            continue
        try:
            by_name = told_by_name(origin.run, {field}, layout.run_pattern).get(field)
        except ValueError:
            continue
        value = {"size": origin.train_size, "seed": origin.seed, "draw": origin.draw}[field]
        if by_name not in (None, value):
            raise ValueError(
                f"the {field} is {value:,} by its column and {by_name:,} by the name of run {origin.run!r}; "
                f"give --column {field}=COLUMN where the column is right, else --ignore COLUMN"
            )


def moment_of(known: Mapping[str, str]) -> Moment:
    """When a row was measured; untold for one that says that it is of the end.

    Raises:
        ValueError: The update or epoch is none.
    """
    known = {name: text for name, text in known.items() if text.lower() not in _END}
    update = whole(known["update"]) if "update" in known else None
    if "epoch" not in known:
        return Moment(update)
    try:
        epoch = float(known["epoch"])
    except ValueError:
        epoch = -1.0
    if not 0 <= epoch < float("inf"):
        expected = "expected a number of 0 or more; --column epoch=COLUMN names another column"
        raise ValueError(f"the epoch is {known['epoch']!r}, {expected}")
    return Moment(update, epoch)
