"""Tables of means over runs: how far the runs scatter, as a column beside the mean or within its cell.

A mean is told by a column of its spread (`acc_std`, `std`), a cell such as `0.71 ± 0.02`, or by its own name.
What belongs to the kind: standard deviations and standard errors, in shares or percent; the number of runs as
a column or an option; rows whose seed is told, which are runs and no means.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from tui_datasize.runlog.importing.meanings import plain
from tui_datasize.runlog.importing.staged import option
from tui_datasize.text import listed

SpreadKind: TypeAlias = Literal["sd", "se"]

_OF_MEANS = frozenset({"mean", "avg", "average", "mu"})
_KINDS: Mapping[str, SpreadKind | Literal["interval"]] = {
    **dict.fromkeys(("sd", "std", "stdev", "stddev", "deviation", "sigma"), "sd"),
    **dict.fromkeys(("se", "sem", "stderr"), "se"),
    **dict.fromkeys(("ci", "ci95", "ci90", "ci99", "conf", "confidence", "interval"), "interval"),
}
_BESIDE = frozenset({"low", "high", "lower", "upper", "lo", "hi", "of", "95"})
"""Words that go with those of an interval."""
_JOINED = ((r"(std|standard)_?(dev|deviation)", "sd"), (r"(std|standard)_?(err|error)", "se"))
_WORD = re.compile(r"[a-z]+\d*|\d+")

_NUMBER = r"-?(?:\d+\.?\d*|\.\d+)(?:[eE]-?\d+)?"
_CELL = re.compile(
    rf"\$?\s*(?P<mean>{_NUMBER})\s*(?P<sign>\\?%?)\s*\$?\s*"
    rf"(?:(?P<brackets>\()|±|\+/-|\+-|\\pm|_\{{\s*(?:±|\\pm))\s*(?P<spread>{_NUMBER})\s*\\?%?\s*[)}}]?\s*\$?"
)
NO_COUNT = (
    "is a mean over runs, and nothing tells over how many; --column n_runs=COLUMN, or --n-runs N for all rows"
)


class Mean(NamedTuple):
    """A mean, and how far the runs behind it scatter."""

    mean: str
    spread: str


def mean_in(cell: str) -> Mean | None:
    r"""Mean and spread in one cell; None where it holds no two such numbers.

    Raises ValueError: its brackets may hold another number.

    >>> mean_in("0.71 ± 0.02"), mean_in("71.2% (0.4)"), mean_in("$71.2 \\pm 0.4$")
    (Mean(mean='0.71', spread='0.02'), Mean(mean='71.2%', spread='0.4'), Mean(mean='71.2', spread='0.4'))
    >>> mean_in("0.71"), mean_in("0.71 of 0.9")
    (None, None)
    """
    found = _CELL.fullmatch(cell.strip())
    if found is None:
        return None
    mean, spread = found["mean"], found["spread"]
    if found["brackets"] and "." in mean and "." not in spread:
        raise ValueError(f"{cell!r} may mean {spread} or {spread} in the last digit; write it with ±")
    return Mean(mean + ("%" if found["sign"] else ""), spread)


@dataclass(frozen=True, slots=True)
class SpreadColumn:
    """The column that tells how far the runs behind a mean scatter."""

    column: str
    kind: SpreadKind


def spread_columns(
    header: Sequence[str], metrics: Collection[str], told: Mapping[str, str]
) -> dict[str, SpreadColumn]:
    """By column of means that of their spread; `told` are those that a person names.

    Raises ValueError: a spread may be that of several columns, or is an interval.

    >>> spread_columns(["n", "acc_mean", "acc_std"], ["acc_mean"], {})["acc_mean"].column
    'acc_std'
    """
    found = {
        metric: SpreadColumn(column, "se" if _kind_of(column) == "se" else "sd")
        for metric, column in told.items()
    }
    for column in header:
        words, kind = _words(column), _kind_of(column)
        if kind is None or column in metrics or column in told.values():
            continue
        base = [w for w in words if w not in _KINDS and w not in _BESIDE and w not in _OF_MEANS]
        whose = [m for m in metrics if not base or _base(m) == base]
        whose = [metric for metric in whose if metric not in found]
        if not whose:
            continue
        if kind == "interval":
            what = f"{column!r} is an interval of a mean: give the standard deviation or error in its place"
            raise ValueError(f"{what}, or {option('ignore', column)} reads each row as one run")
        if len(whose) > 1:
            names = listed([repr(name) for name in whose])
            raise ValueError(
                f"{column!r} may be the spread of {names}; give --column test_accuracy_sd={column} or the "
                f"like, or {option('ignore', column)}"
            )
        found[whose[0]] = SpreadColumn(column, kind)
    return found


def _base(name: str) -> list[str]:
    return [word for word in _words(name) if word not in _OF_MEANS]


def _words(name: str) -> list[str]:
    """Words of a name, those of a spread as one.

    >>> _words("Test acc (std. dev.)"), _words("test_error_std_err")
    (['test', 'acc', 'sd'], ['test', 'error', 'se'])
    """
    text = plain(name)
    for pattern, word in _JOINED:
        text = re.sub(rf"(?<![a-z]){pattern}(?![a-z])", word, text)
    return _WORD.findall(text)


def _kind_of(column: str) -> SpreadKind | Literal["interval"] | None:
    return next((_KINDS[word] for word in _words(column) if word in _KINDS), None)


def is_named_mean(column: str) -> bool:
    """Whether the name of a column says that it holds means."""
    return kind_in_name(column) is not None or not _OF_MEANS.isdisjoint(_words(column))


_PAIR = re.compile(r"[(\[]?\s*(mean)?\s*(±|\+/-|\+-)\s*(?P<of>[\w. ]*)[)\]]?\s*$", re.IGNORECASE)
"""How the name of a column ends whose cells hold a mean and its spread."""


def kind_in_name(column: str) -> SpreadKind | None:
    """What stands behind the mean in the cells of a column, by its name.

    >>> kind_in_name("acc (mean ± std)"), kind_in_name("acc ± SEM"), kind_in_name("acc"), kind_in_name("±")
    ('sd', 'se', None, None)
    """
    found = _PAIR.search(column)
    if found is None or not column[: found.start()].strip():
        return None
    return "se" if _kind_of(found["of"]) == "se" else "sd"


def without_mean(column: str) -> str:
    """The name of a column less what says that it holds means.

    >>> without_mean("test_accuracy_mean"), without_mean("Mean test loss"), without_mean("meaning")
    ('test_accuracy', 'test loss', 'meaning')
    >>> without_mean("Test acc (mean ± std)"), without_mean("test acc ±")
    ('Test acc', 'test acc')
    """
    if kind_in_name(column):
        return _PAIR.sub("", column).strip()
    words = "|".join(sorted(_OF_MEANS))
    bare = re.sub(rf"(?<![a-z])({words})(?![a-z])", "", column, flags=re.IGNORECASE)
    return column if bare == column else bare.strip(" _-./()")


def sd_of(spread: float, kind: SpreadKind, n_runs: int, column: str) -> float:
    """The standard deviation over runs; raises ValueError: one run has none, or it is below 0."""
    if spread < 0:
        raise ValueError(f"{column} is {spread:g}, and no spread is below 0")
    if n_runs == 1 and spread > 0:
        raise ValueError(f"{column} is {spread:g}, though the mean is over one run")
    return spread * math.sqrt(n_runs) if kind == "se" else spread
