"""The filter that every list of runs has: what its terms let through, and what may be written next. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import reduce
from operator import and_, eq, ge, gt, le, lt, ne
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tui_datasize.errors import DatasizeError
from tui_datasize.metric import METRICS_OFFERED
from tui_datasize.text import number_and_unit
from tui_datasize.tui.widgets.palette import STATE_LOOKS

if TYPE_CHECKING:
    import polars as pl

_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "size": "train_size",
        "n": "train_size",
        "seed": "seed",
        "draw": "subset_seed",
        "state": "state",
        "experiment": "experiment",
        "variant": "variant",
        "model": "model",
        "acc": "test_accuracy",
        "accuracy": "test_accuracy",
        "loss": "test_loss",
        "f1": "test_f1_macro",
        "progress": "fraction",
        "left": "remaining_s",
        "time": "wall_s",
        "on": "device",
        "id": "run_id",
    }
)
"""Short keys first suggested; every column of the frame is a key, too."""
_SEARCHED = ("run_id", "experiment", "variant", "state", "model", "dataset", "augmentation", "transfer")
_OF_QUEUE = ("device", "note", "reason")
_COMPARISONS = MappingProxyType({">=": ge, "<=": le, "!=": ne, "=": eq, ":": eq, "<": lt, ">": gt})
_SIGNS = (">=", "<=", "=", "!=", ">", "<")
_TERM = re.compile(r"(?P<key>[a-z_]\w*)(?P<sign>>=|<=|!=|=|:|<|>)(?P<value>.*)", re.IGNORECASE)
_OTHER_WORDS = MappingProxyType({str(state): look.word for state, look in STATE_LOOKS.items() if state})
"""What the queue calls a state that the screen calls otherwise."""
_MOST_VALUES = 30
"""Different values of a column that are suggested, or told where one is not known."""


class FilterError(DatasizeError):
    """A filter that says nothing."""


def filter_of(text: str, schema: Mapping[str, pl.DataType]) -> pl.Expr | None:
    """What a filter lets through, such as `size>=1000 state:running lr=1e-3 acc<90% !mlp`.

    Terms are separated by spaces and must all hold; `!` in front turns one round. A word alone is looked for
    in the names of a run, in its state and in what the queue says of it, in any case. Shares are written as
    .9 or 90%.

    Returns:
        None where nothing is asked for.

    Raises FilterError: there is no such column, or no number where one is needed.
    """
    terms = [_term(word, schema) for word in text.split() if word.strip("!")]
    return reduce(and_, terms) if terms else None


def _term(word: str, schema: Mapping[str, pl.DataType]) -> pl.Expr:
    import polars as pl

    bare = word.removeprefix("!")
    found = _TERM.fullmatch(bare)
    if found is not None:
        holds = _comparison(found["key"].lower(), found["sign"], found["value"], schema)
    else:
        names = [name for name in (*_SEARCHED, *_OF_QUEUE) if name in schema]
        holds = pl.any_horizontal(_contains(pl.col(name), bare) for name in names)
    return ~holds if word.startswith("!") else holds


def _contains(column: pl.Expr, text: str) -> pl.Expr:
    return column.str.to_lowercase().str.contains(text.lower(), literal=True).fill_null(value=False)


def _comparison(key: str, sign: str, value: str, schema: Mapping[str, pl.DataType]) -> pl.Expr:
    import polars as pl

    name = _column(key, schema)
    column, operand = pl.col(name), value.lower()
    if name == "state":
        operand = _OTHER_WORDS.get(operand, operand)
    if schema[name] == pl.String:
        if sign == ":":
            return _contains(column, operand)
        operands: tuple[pl.Expr, Any] = column.str.to_lowercase(), operand
    elif schema[name] == pl.Boolean:
        operands = column, operand in ("true", "yes", "1")
    else:
        operands = column, _number(key, name, value)
    compared: pl.Expr = _COMPARISONS[sign](*operands)
    return compared.fill_null(value=False)


def _column(key: str, schema: Iterable[str]) -> str:
    name = _KEYS.get(key, key)
    if name not in schema:
        near = get_close_matches(key, [*_KEYS, *schema], n=1)
        fix = f"did you mean {near[0]}" if near else "try size, seed, acc"
        raise FilterError(f"no column {key!r}", fix=fix)
    return name


def _number(key: str, name: str, value: str) -> float:
    try:
        number, unit = number_and_unit(value.replace(",", ""), ["%"])
    except ValueError:
        raise FilterError(f"{key} needs a number, not {value!r}", fix=f"such as {key}>=100") from None
    is_share = name == "fraction" or (name in METRICS_OFFERED and METRICS_OFFERED[name].is_share)
    return number / 100 if is_share and (unit or number > 1) else number


def mistake(text: str, runs: pl.DataFrame, *, is_written: bool = True) -> str:
    """What is wrong with a filter of these runs, in a line; empty where nothing is.

    Unless the text `is_written` to its end, a last word that may become right is no mistake yet.
    """
    words = text.split()
    unfinished = words[-1:] if not (is_written or text.endswith(" ")) else []
    for word in words:
        try:
            filter_of(word, runs.schema)
            _check_value(word, runs)
        except FilterError as error:
            may_become_right = word in unfinished and (word[-1] in "<>=:!" or completions(word, runs))
            if not may_become_right:
                return error.line
    return ""


def _check_value(word: str, runs: pl.DataFrame) -> None:
    """Refuse a name that no run has where there are only a few."""
    found = _TERM.fullmatch(word.removeprefix("!"))
    if found is None or found["sign"] not in (":", "="):
        return
    key, value = found["key"].lower(), found["value"].lower()
    values, wanted = _values(_column(key, runs.schema), runs), _OTHER_WORDS.get(value, value)
    lowered, is_part = [one.lower() for one in values], found["sign"] == ":"
    is_known = any(wanted == one or (is_part and wanted in one) for one in lowered)
    if values and not is_known:
        raise FilterError(f"no run has {key} {value!r}", fix=f"there is {', '.join(values)}")


def _values(name: str, runs: pl.DataFrame) -> Sequence[str]:
    """All values of a column of words or truths, as they are written; empty where there are too many."""
    import polars as pl

    if runs.schema[name] == pl.Boolean:
        return "true", "false"
    if runs.schema[name] != pl.String or name in ("run_id", *_OF_QUEUE):
        return ()
    if name == "state":
        return [look.word for look in STATE_LOOKS.values()]
    known = runs[name].drop_nulls().unique(maintain_order=True)
    return known.to_list() if len(known) <= _MOST_VALUES else ()


def completions(text: str, runs: pl.DataFrame) -> list[str]:
    """What the last word of a filter may become: a key, a key with its sign, or a value that a run has."""
    import polars as pl

    word = "" if text.endswith(" ") else text.rpartition(" ")[2]
    turned, bare = "!" * word.startswith("!"), word.removeprefix("!").lower()
    found = _TERM.fullmatch(bare)
    if found is None:
        known = (name for name, column in runs.to_dict().items() if column.null_count() < runs.height)
        keys = list(dict.fromkeys([key for key, name in _KEYS.items() if name in runs.columns] + [*known]))
        if bare not in keys:
            return [turned + key for key in keys if key.startswith(bare)]
        is_word = runs.schema[_KEYS.get(bare, bare)] in (pl.String, pl.Boolean)
        return [f"{turned}{bare}{sign}" for sign in ((":", "=", "!=") if is_word else _SIGNS)]
    name = _KEYS.get(found["key"], found["key"])
    if name not in runs.columns:
        return []
    values = _values(name, runs)
    if not values and runs.schema[name].is_integer() and runs[name].n_unique() <= _MOST_VALUES:
        values = [str(value) for value in runs[name].drop_nulls().unique().sort()]
    # A space would begin another term.
    fits = [one for one in values if one.lower().startswith(found["value"]) and " " not in one]
    return [f"{turned}{found['key']}{found['sign']}{value}" for value in fits]
