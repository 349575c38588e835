"""What one file tells, before it is decided what of it counts."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tui_datasize.errors import ConfigError
from tui_datasize.files import read_bounded
from tui_datasize.runlog.importing.meanings import Meaning, plain

MOST_RUNS = 400_000
MOST_VALUES = 4_000_000
MOST_BYTES = 256 * 2**20
"""Of a file that is read as a whole: a table is not."""

_KINDS_KEPT = 20
"""Different texts of a column that are kept; a column with more tells no curves apart."""
_BLANK = frozenset(
    (
        *("", "na", "n/a", "<na>", "#n/a", "#na", "null", "#null!", "none", "nil", "nan", "-nan", "nan(ind)"),
        *("-nan(ind)", "undefined", "missing", "#div/0!", "#value!", "#num!", "-", "--", "?", "."),
    )
)
"""What pandas, R, Stata, spreadsheets and C write where there is no value."""
_PLAIN = re.compile(r"-?\d+(\.\d*)?", re.ASCII)
_SPREAD = re.compile(r"\d\s*(±|\+/?-|\()\s*\d")
_COUNTS_REPEATS = frozenset(
    (
        *("rep", "repeat", "repeats", "repetition", "replicate", "replica", "fold", "cv_fold", "trial"),
        *("run_id", "try", "attempt", "iteration", "iter", "id", "index", "idx", "no", "number", "i", "k"),
        "trial_id",
    )
)
"""Names of columns that number the runs of a size, and are not read: the runs are numbered as they come."""


class Moment(NamedTuple):
    """When in a run something was measured, as far as the file tells."""

    update: int | None = None
    epoch: float | None = None

    @property
    def order(self) -> tuple[int, float]:
        return (self.update or 0, self.epoch or 0.0)

    @property
    def is_told(self) -> bool:
        """Whether there is one: without, a row is a whole run."""
        return self.update is not None or self.epoch is not None

    def __str__(self) -> str:
        if self.update is not None:
            return f"update {self.update}"
        return f"epoch {self.epoch:g}" if self.epoch is not None else "its only row"


class Origin(NamedTuple):
    """Whose a row is."""

    train_size: int
    seed: int | None
    """None where nothing tells it."""
    draw: int | None
    variant: tuple[tuple[str, str], ...] = ()
    run: str = ""
    """Name of the run, or of the file: of runs without a seed nothing else tells them apart."""
    group: str = ""
    """Of several experiments in one file, its name there."""


class StagedKey(NamedTuple):
    """A column or tag, and the split that its name, its row or its folder tells."""

    column: str
    split: str


class StagedRow(NamedTuple):
    """Values of one run at one moment."""

    origin: Origin
    moment: Moment
    place: int
    """Line or record."""
    values: tuple[tuple[StagedKey, float | None], ...]
    """As they stand in the file; None where they are not finite."""
    state: str = ""
    """How its run ended, in the file's word."""
    spreads: tuple[tuple[StagedKey, float], ...] = ()
    """Of means the standard deviations over the runs behind them, in units of the column."""
    n_runs: int | None = None
    """Runs behind each value; None for a row of one run."""


@dataclass(slots=True)
class ValueRange:
    """The values of a column."""

    low: float = math.inf
    high: float = -math.inf
    low_place: int = 0
    high_place: int = 0
    n_percent: int = 0
    """Values that were written with a percent sign."""
    n_plain: int = 0


@dataclass
class Staged:
    """What one file tells."""

    file: Path
    form: str
    """What the reader takes it for."""
    place: str = "line"
    """What places count."""
    is_in_order: bool = False
    """Whether rows stand in the order of their writing, whatever their steps."""
    is_strict: bool = False
    room: int = MOST_VALUES
    """Values that may still come."""
    fields: dict[str, str] = field(default_factory=dict)
    """What columns without metrics were read as."""
    columns: dict[str, Meaning] = field(default_factory=dict)
    passed: dict[str, str] = field(default_factory=dict)
    """Columns that are not read, and why; empty where their name says nothing."""
    rows: list[StagedRow] = field(default_factory=list)
    extents: dict[str, ValueRange] = field(default_factory=dict)
    kinds: dict[str, dict[int, set[str]]] = field(default_factory=dict)
    """Texts of columns that are not read, by train size."""
    unfinished: dict[str, dict[str, None]] = field(default_factory=dict)
    """Names of runs that were left out, by their state."""
    notes: list[str] = field(default_factory=list)
    _origins: set[Origin] = field(default_factory=set)

    def read(self) -> bytes:
        """The whole file; raises ConfigError: it cannot be read, or is too large for its form."""
        try:
            return read_bounded(self.file, MOST_BYTES)
        except OSError as error:
            raise unreadable(self.file, error) from None

    def add(self, row: StagedRow) -> None:
        """Note a row; raises ValueError: its size is 0, or it is one of too many."""
        if not self.rows or row.origin is not self.rows[-1].origin:
            self._take_origin(row.origin)
        self.room -= len(row.values)
        if self.room < 0:
            raise ValueError(f"more than {MOST_VALUES:,} values")
        self.rows.append(row)

    def _take_origin(self, origin: Origin) -> None:
        if origin.train_size < 1:
            raise ValueError("the train size is 0")
        self._origins.add(origin)
        if len(self._origins) > MOST_RUNS:
            raise ValueError(f"more than {MOST_RUNS:,} runs")

    def number(self, column: str, text: str | float, place: int) -> float | None:
        """A value of a column as it stands there; None where it is blank or not finite."""
        found, has_sign = _number(text, column)
        if found is not None:
            extent = self.extents.get(column)
            if extent is None:
                extent = self.extents[column] = ValueRange()
            if found < extent.low:
                extent.low, extent.low_place = found, place
            if found > extent.high:
                extent.high, extent.high_place = found, place
            if has_sign:
                extent.n_percent += 1
            else:
                extent.n_plain += 1
        return found

    def spread(self, column: str, text: str) -> float | None:
        """How far the runs behind a mean scatter, as it stands there; None where it is blank."""
        found, has_sign = _number(text, f"the spread of {column}")
        extent = self.extents.get(column)
        if found is not None and has_sign and extent is not None and not extent.n_percent:
            raise ValueError(f"the spread of {column} has a percent sign and its mean has none")
        return found

    def note(self, text: str) -> None:
        """Note something once, however many rows it is true of."""
        if text not in self.notes:
            self.notes.append(text)

    def pass_over(self, column: str, size: int, text: str) -> None:
        of_size = self.kinds.setdefault(column, {}).setdefault(size, set())
        if len(of_size) <= _KINDS_KEPT:
            of_size.add(text)

    def torn(self, what: str, so: str = "left out") -> None:
        """Note that something was cut off or damaged, and what is made of it.

        Raises ConfigError: nothing may be: the import is strict.
        """
        if self.is_strict:
            raise self.error(what, fix="without --strict what is whole is read")
        self.notes.append(f"{what}: {so}")

    def error(self, what: str, place: int = 0, *, fix: str) -> ConfigError:
        """What is raised for the file; `fix` is the option or the action that settles it."""
        where = f"{self.file}, {self.place} {place}" if place else str(self.file)
        return ConfigError(what, where=where, fix=fix)


def unreadable(file: Path, error: OSError) -> ConfigError:
    """What is raised for a file that the system does not give."""
    fix = "make it a file that can be read, or leave it out"
    return ConfigError.of(error, "cannot be read", where=str(file), fix=fix)


def _number(text: str | float, column: str) -> tuple[float | None, bool]:
    if isinstance(text, float) or _PLAIN.fullmatch(text):
        number = float(text)
        return (number if math.isfinite(number) else None), False
    words = text.strip()
    if is_blank(words):
        return None, False
    has_sign = words.endswith("%")
    try:
        # Python alone takes 0_7 for 7.
        number = float(words.removesuffix("%").rstrip().replace("_", "no digit"))
    except ValueError:
        hint = "decimals are written with a point, or " if re.fullmatch(r"-?\d+,\d+", words) else ""
        what = "a mean and its spread, not a run's value" if _SPREAD.search(words) else "not a number"
        way_out = f"{hint}{option('ignore', column)} leaves the column out"
        raise ValueError(f"{column} is {text!r}, {what}; {way_out}") from None
    return (number if math.isfinite(number) else None), has_sign


def is_blank(text: str) -> bool:
    """Whether a cell says that nothing is known."""
    return text.lower() in _BLANK


def option(name: str, *words: str) -> str:
    """An option as it is typed in a shell.

    >>> option("column", "size", "n images"), option("ignore", "note")
    ("--column 'size=n images'", '--ignore note')
    """
    return f"--{name} {shlex.quote('='.join(words))}"


def variant_hint(staged: Sequence[Staged]) -> str:
    """A column that seems to tell curves apart and was not read; empty where there is none.

    It holds a few texts, several at one size, and some of them at several sizes; of numbers the same ones at
    every size, unless its name says that they count repeats.
    """
    for one in staged:
        for column, by_size in one.kinds.items():
            texts = set().union(*by_size.values())
            most = max(len(of_size) for of_size in by_size.values())
            if not 1 < len(texts) <= _KINDS_KEPT or most < 2:
                continue
            if not any(reads_as_number(text) or is_blank(text) for text in texts):
                if sum(len(of_size) for of_size in by_size.values()) > len(texts):
                    return column
            elif (
                len(by_size) > 1
                and plain(column) not in _COUNTS_REPEATS
                and all(of_size == texts for of_size in by_size.values())
            ):
                return column
    return ""


def reads_as_number(text: str) -> bool:
    """Whether Python reads a text as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
