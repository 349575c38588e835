"""Which split every value is of: decided over all files together, because one tells of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.meanings import SPLIT_WORDS, TEST, TRAIN, VALIDATION, Meaning
from tui_datasize.runlog.importing.staged import Key, Staged, option
from tui_datasize.text import listed


@dataclass
class Settled:
    """What is read of one file as what."""

    metrics: dict[Key, str] = field(default_factory=dict)
    """Metric by column and split."""
    why: dict[Key, str] = field(default_factory=dict)
    """What decided, where the name alone does not."""
    passed: dict[Key, str] = field(default_factory=dict)
    """Why others are not read."""


def test_split(files: Sequence[Staged], layout: Layout) -> tuple[str, bool]:
    """The split that is read as the test split, and whether that has to be told, over all files."""
    word = layout.test_split.lower()
    if word:
        return SPLIT_WORDS.get(word, word), False
    keys = [(key, key.column in staged.extents) for staged in files for key in _keys(staged)]
    with_values = {key.split for key, has_values in keys if has_values}
    splits = with_values & {TEST, VALIDATION} or {key.split for key, _ in keys}
    return (TEST, False) if TEST in splits else (VALIDATION, True)


def _keys(staged: Staged) -> dict[Key, Meaning]:
    """Columns with the splits that name, row or folder tell, in order of the columns."""
    seen = dict.fromkeys(key for row in staged.rows for key, _ in row.values)
    # A column without any value is read as well, to be told.
    empty = {Key(c, meaning.split): None for c, meaning in staged.columns.items()}
    found = {key.column for key in seen}
    keys = [*seen, *(key for key in empty if key.column not in found)]
    order = {column: place for place, column in enumerate(staged.columns)}
    return {key: staged.columns[key.column] for key in sorted(keys, key=lambda key: order[key.column])}


def settle(staged: Staged, tests: tuple[str, bool]) -> Settled:
    """Decide on the split of every value of a file.

    Args:
        staged: What the file tells.
        tests: As of `test_split`, over all files.

    Raises:
        ConfigError: It cannot be known for a column that is needed, or several columns hold one metric.
    """
    test, is_told = tests
    keys = _keys(staged)
    settled = Settled()
    for key, meaning in keys.items():
        split, why = key.split, ""
        if meaning.score == "wall_s":
            settled.metrics[key] = "wall_s"
            continue
        if not split:
            split, why = _of_bare(staged, key, keys, test)
        if split == TRAIN:
            settled.metrics[key] = f"train_{meaning.score}"
        elif split == test or (meaning.is_told and split == TEST):
            settled.metrics[key] = f"test_{meaning.score}"
            if is_told and key.split == test:
                why = "no column is of the test split"
        else:
            settled.passed[key] = why or _not_test(split, test)
            continue
        if why:
            settled.why[key] = why
    _drop_repeated(staged, keys, settled)
    _refuse_unknown(staged, keys, settled)
    return settled


def _not_test(split: str, test: str) -> str:
    name = split if split != VALIDATION else "val"
    of = "the validation split" if split == VALIDATION else f"the split {split!r}"
    reads = f"--test-split {name} reads it as the test split"
    return f"of {of}, and there are values of the {test} split; {reads}"


_UNKNOWN = "its split is not given"


def _of_bare(staged: Staged, key: Key, keys: Mapping[Key, Meaning], test: str) -> tuple[str, str]:
    """The split of a score whose name tells none, and what tells it; empty where nothing does."""
    bare = {meaning.score for other, meaning in keys.items() if not other.split}
    named = {(other.split, meaning.score): other.column for other, meaning in keys.items() if other.split}
    twins = {s: column for (split, s), column in named.items() if split == VALIDATION and s in bare}
    score = keys[key].score
    if twins:
        twin = twins.get(score, next(iter(twins.values())))
        return TRAIN, f"the training value, as Keras writes it: {twin} is there too"
    if {"train_loss", "valid_loss"} <= staged.columns.keys():
        return VALIDATION, "as fastai writes it: train_loss and valid_loss are there too"
    if _is_log(staged) or any(split != TRAIN for split, _ in named):
        return "", _UNKNOWN
    beside = named.get((TRAIN, score))
    return test, f"{beside} is there too" if beside else ""


def _is_log(staged: Staged) -> bool:
    """Whether some run has several moments."""
    first: dict[object, object] = {}
    return any(
        row.moment.is_told and first.setdefault(row.origin, row.moment) != row.moment for row in staged.rows
    )


def _drop_repeated(staged: Staged, keys: Mapping[Key, Meaning], settled: Settled) -> None:
    """Of columns that hold one metric keep the plainest.

    Raises:
        ConfigError: Several are alike.
    """
    by_metric: dict[str, list[Key]] = {}
    for key, metric in settled.metrics.items():
        by_metric.setdefault(metric, []).append(key)
    for metric, found in by_metric.items():
        columns = list(dict.fromkeys(key.column for key in found))
        if len(columns) < 2:
            continue
        ranks = {column: min(_rank(k, keys[k]) for k in found if k.column == column) for column in columns}
        best = [column for column in columns if ranks[column] == min(ranks.values())]
        if len(best) > 1 and metric.startswith("train_"):
            best = []
        if len(best) > 1:
            raise staged.error(
                f"{listed([repr(column) for column in best])} may all be {metric}"
                if len(best) > 2
                else f"{best[0]!r} and {best[1]!r} may both be {metric}",
                fix=f"name the one meant: {option('column', metric, best[0])}",
            )
        kept = f"{best[0]} is read as {metric}" if best else f"several columns may be {metric}"
        way_out = f"--column {metric}=COLUMN names the one meant"
        for key in found:
            if key.column not in best:
                del settled.metrics[key]
                settled.why.pop(key, None)
                settled.passed[key] = f"{kept}; {way_out}"


def _rank(key: Key, meaning: Meaning) -> tuple[bool, ...]:
    """Before which of two columns another is taken: the lower."""
    return (not meaning.is_told, meaning.is_error, meaning.is_step, not meaning.split and not key.split)


def _refuse_unknown(staged: Staged, keys: Mapping[Key, Meaning], settled: Settled) -> None:
    """Ask for the split of a column that is needed.

    Raises:
        ConfigError: Of an accuracy, or where the file has nothing else, no split is known.
    """
    held_out = {metric for metric in settled.metrics.values() if metric.startswith("test_")}
    others = {keys[key].score for key, why in settled.passed.items() if why != _UNKNOWN}
    for key in _unknown(settled):
        score = keys[key].score
        is_there = f"test_{score}" in held_out or score in others
        ways = " or ".join(option("column", f"{split}_{score}", key.column) for split in (TEST, TRAIN))
        if not is_there and (score == "accuracy" or not held_out):
            raise staged.error(f"{_UNKNOWN}: {key.column}", fix=f"give {ways}")
        settled.passed[key] = f"{_UNKNOWN}; {ways}"


def _unknown(settled: Settled) -> Iterator[Key]:
    return iter([key for key, why in settled.passed.items() if why == _UNKNOWN])
