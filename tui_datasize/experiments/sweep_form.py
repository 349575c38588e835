"""An experiment as fields that a person fills in: what their texts mean, and what stands there at first."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.architectures import model_info
from tui_datasize.experiments.catalogue import DATASETS, IMAGE_FOLDER, DatasetInfo
from tui_datasize.experiments.keys import Row, rows
from tui_datasize.experiments.load import EXPERIMENT_KEYS, LONGEST_NAME
from tui_datasize.experiments.recipe import BUDGET_UNITS, recipe_keys, set_dotted
from tui_datasize.experiments.search_form import read_search_form, search_as_typed
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.experiments.typed_values import (
    IN_THOUSANDS,
    as_terms,
    as_typed,
    listed_values,
    terms_of,
    value_of,
    without_commas,
)
from tui_datasize.files import named_path

HINTS: Mapping[str, str] = MappingProxyType(
    {
        "dataset": "digits, cifar10, ... or a folder: CLASS/, or train/CLASS/, test/CLASS/",
        "model": "cnn3, resnet, mlp, torchvision:resnet18, ...",
        "sizes": "100, 200, 400 · 100..6400 doubles · 5%, 25% · 10, 50 per class",
        "seeds": "how many trainings of each subset, or which: 0, 101",
        "draws": "how many subsets of each size, or which: 0, 1",
        "budget": "500 updates · 32000 samples · 20 epochs, of each run",
        "options": "such as batch_size=32 optimizer.lr=1e-3 image_px=32",
        "sweep": "such as model.depth=20,32 augmentation.flip=0,0.5",
        "levers": "one at a time, such as synthetic=cvae augmentation.flip=0.5",
        "search": "such as count=20 model.width=8..64 optimizer.lr=1e-4..0.1,log",
        "title": "what it is called on screens and in reports",
        "name": "of the experiment; one that is there is changed",
    }
)
"""The fields in the order in which they are filled in, and what may be written."""
_AS_OPTIONS = ("order", "groups", "image_rules", "on")
"""Keys of an experiment that are no part of a recipe, and have no field."""
_OWN = EXPERIMENT_KEYS - {"subset", *_AS_OPTIONS} | {"budget"}
"""Keys that have a field of their own, or none."""
_SEED_STEP = 101
_SIZES_AT_ONCE = 6


@dataclass(frozen=True, slots=True)
class SweepForm:
    """What is written in each field."""

    dataset: str = ""
    model: str = ""
    sizes: str = ""
    seeds: str = ""
    draws: str = ""
    budget: str = ""
    options: str = ""
    sweep: str = ""
    levers: str = ""
    search: str = ""
    title: str = ""
    name: str = ""

    def over(self, others: SweepForm) -> SweepForm:
        """These texts, those of others where nothing is written."""
        return SweepForm(*(getattr(self, f.name).strip() or getattr(others, f.name) for f in fields(self)))


USUAL = SweepForm(model="cnn3", sizes="1", seeds="2", draws="2", budget="500 updates")
"""What an empty field stands for; for the sizes see `usual_sizes`."""


def usual_sizes(info: DatasetInfo) -> str:
    """Six doublings that a data set has room for, from as many images as there are classes at least."""
    least = max(info.train_images // 2 ** (_SIZES_AT_ONCE - 1), info.classes, 1)
    digits = 10 ** (len(str(least)) - 1)
    least = max(least // digits * digits, info.classes)
    return f"{least}..{info.train_images}"


def usual_name(dataset: str, taken: Sequence[str]) -> str:
    """A name for a sweep of a data set that no experiment has."""
    word = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(dataset.rpartition(":")[2]).name).strip("-_")
    return free_name(word[: LONGEST_NAME - 5] or "sweep", taken)


def free_name(name: str, taken: Sequence[str]) -> str:
    """The name, with a number behind it where it is taken."""
    stem, known = re.sub(r"-\d{1,3}$", "", name), {one.lower() for one in taken}
    others = (f"{stem}-{number}" for number in range(2, len(known) + 3))
    return next(one for one in (name, *others) if one.lower() not in known)


def form_of(values: Mapping[str, Any]) -> SweepForm:
    """The fields of an experiment that is there, by its table in the file; its name is left out."""
    model = values.get("model", "")
    model = model if isinstance(model, Mapping) else {"name": model}
    subset = {key: value for key, value in _table(values, "subset").items() if key != "seeds"}
    options = {key: one for key, one in values.items() if key in recipe_keys() - {"model", "budget"}}
    options |= {key: values[key] for key in _AS_OPTIONS if key in values}
    inner = {key: value for key, value in model.items() if key != "name"}
    options |= {"model": inner} if inner else {}
    options |= {"subset": subset} if subset else {}
    return SweepForm(
        dataset=str(values.get("dataset", "")),
        model=str(model.get("name", "")),
        sizes=_sizes_as_typed(values),
        seeds=_seeds_as_typed(values.get("seeds", [0]), _SEED_STEP),
        draws=_seeds_as_typed(_table(values, "subset").get("seeds", [0]), 1),
        budget=" ".join(f"{as_typed(amount)} {unit}" for unit, amount in _table(values, "budget").items()),
        options=" ".join(as_terms(options)),
        sweep=_lists_as_typed(_table(values, "sweep")),
        levers=_lists_as_typed(_table(values, "levers")),
        search=search_as_typed(_table(values, "search"), dict(form_rows(str(model.get("name", ""))))),
        title=str(values.get("title", "")),
    )


def form_rows(model: str) -> Iterator[tuple[str, Row]]:
    """Keys of the recipe, those of tables behind their dots, then the table, for which a word may stand."""
    info = model_info(model)
    yield from ((f"model.{row.name}", row) for row in (info.rows if info else ()))
    for row in rows(RunSpec):
        inner = rows(row.kind)
        yield from ((f"{row.name}.{one.name}", one) for one in inner)
        yield from ((row.name, one) for one in inner if one.name == row.key.short)
        if not inner and row.name not in ("model", "budget", "tests"):
            yield row.name, row


def _lists_as_typed(lists: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={','.join(map(as_typed, some))}" for key, some in lists.items())


def _table(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = values.get(key, {})
    return found if isinstance(found, Mapping) else {}


def _sizes_as_typed(values: Mapping[str, Any]) -> str:
    if "fractions" in values:
        return ", ".join(f"{100 * share:.10g}%" for share in values["fractions"])
    each = " per class" if "per_class" in values else ""
    return ", ".join(map(str, values.get("per_class", values.get("sizes", [])))) + each


def _seeds_as_typed(seeds: Any, step: int) -> str:
    if isinstance(seeds, Mapping):
        given, count = {"step": 1, "start": 0, **seeds}, seeds.get("count", 1)
        if (given["step"], given["start"]) == (step, 0):
            return str(count)
        return f"{count} from {given['start']} step {given['step']}"
    if seeds == [step * i for i in range(len(seeds))]:
        return str(len(seeds))
    return ", ".join(map(str, seeds)) + ("," if len(seeds) == 1 else "")


def table_of(form: SweepForm, dataset: str, written: Mapping[str, Any]) -> dict[str, Any]:
    """The table of the file that filled-in fields mean, in the order of its keys.

    Of the table that is there, `written`, stays as it is what means the same, and what no field shows.

    Raises ConfigError: what is wrong in one field, which is `where`.
    """
    table = _table_of(form, dataset)
    if not written:
        return table
    with suppress(ConfigError):
        before = _table_of(form_of(written).over(USUAL), str(written.get("dataset")))
        same = {key for key, value in table.items() if key in before and before[key] == value}
        table = {
            key: written[key] if key in same else value
            for key, value in table.items()
            if key in written or key not in same
        }
    return table | {key: written[key] for key in ("also",) if key in written}


def _table_of(form: SweepForm, dataset: str) -> dict[str, Any]:
    """As above, where nothing is there.

    Raises ConfigError: what is wrong in one field, which is `where`.
    """
    unit, sizes = _read("sizes", _read_sizes, form.sizes)
    draws = _read("draws", lambda text: _read_seeds(text, 1), form.draws)
    table: dict[str, Any] = {"title": form.title} if form.title else {}
    table |= {"dataset": dataset, "model": form.model, unit: sizes}
    table["seeds"] = _read("seeds", lambda text: _read_seeds(text, _SEED_STEP), form.seeds)
    table["subset"] = {"seeds": draws}
    table["budget"] = _read("budget", _read_budget, form.budget)
    for key, text in _read("options", lambda text: list(terms_of(text)), form.options):
        if key.partition(".")[0] in _OWN or key in ("model", "subset", "subset.seeds"):
            raise ConfigError(f"{key} is no option: it has a field of its own", where="options")
        set_dotted(table, key, _read("options", value_of, text))
    for name in ("sweep", "levers"):
        lists = _read(name, _read_lists, getattr(form, name))
        table |= {name: lists} if lists else {}
    known = dict(form_rows(form.model))
    search = _read("search", lambda text: read_search_form(text, known), form.search)
    return table | ({"search": search} if search else {})


def _read(field: str, read: Callable[[str], Any], text: str) -> Any:
    try:
        return read(text)
    except ConfigError as error:
        raise ConfigError(error.what, where=field, fix=error.fix) from None


def _read_lists(text: str) -> dict[str, list[Any]]:
    return {key: listed_values(values) for key, values in terms_of(text)}


def _joined(text: str, *, is_large: bool = False) -> str:
    """Without the commas within numbers; `is_large`: numbers of thousands are to be expected.

    Nobody lists 000: where a group begins with 0 a number is meant.

    >>> _joined("100,200,400"), _joined("12,000, 24,000"), _joined("0,101"), _joined("7,101")
    ('100,200,400', '12000, 24000', '0,101', '7,101')
    """

    def joined(found: re.Match[str]) -> str:
        first, *groups = found[0].split(",")
        if any(group[0] == "0" for group in groups):
            return "".join((first, *groups))
        if is_large and len(groups) == 1 and len(first) < 3:
            fix = f"write {first}{groups[0]}, or {first}, {groups[0]}"
            raise ConfigError(f"{found[0]} may be one number or two", fix=fix)
        return found[0]

    return IN_THOUSANDS.sub(joined, text.strip())


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[,\s]+", text) if word]


def _whole(text: str, what: str) -> int:
    digits = text.replace("_", "")
    if not digits.isdecimal() or len(digits) > 18:
        raise ConfigError(f"expected {what}, got {text!r}")
    return int(digits)


def _read_sizes(text: str) -> tuple[str, list[Any]]:
    """The unit and the list.

    >>> _read_sizes("1,000..4,000"), _read_sizes("5%, 25%"), _read_sizes("10 50 per class")
    (('sizes', [1000, 2000, 4000]), ('fractions', [0.05, 0.25]), ('per_class', [10, 50]))
    """
    listed, per_class, _ = text.strip().partition("per class")
    words = _words(_joined(listed, is_large=True))
    if not words:
        raise ConfigError("no sizes", fix="such as 100, 200, 400")
    if all(word.endswith("%") for word in words):
        return "fractions", [_share(word) for word in words]
    sizes = [size for word in words for size in _doublings(word)]
    return ("per_class" if per_class else "sizes"), sizes


def _share(word: str) -> float:
    number = value_of(word[:-1])
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ConfigError(f"expected a share such as 12.5%, got {word!r}")
    # Not of binary numbers: 1.11 % is 0.0111 and nothing beside it.
    return float(Decimal(str(number)) / 100)


def _doublings(word: str) -> list[int]:
    first, dots, last = word.partition("..")
    size = _whole(first, "numbers of images")
    if not dots:
        return [size]
    end, found = _whole(last, "numbers of images"), []
    while 0 < size <= end:
        found.append(size)
        size *= 2
    if not found:
        raise ConfigError(f"nothing lies within {word}", fix="write the smaller number first")
    return found


_SPREAD = re.compile(r"(\d{1,18})(?: from (\d{1,18}))?(?: step (\d{1,18}))?")


def _read_seeds(text: str, step: int) -> Any:
    """How many, or which: a list with commas.

    >>> _read_seeds("3", 101), _read_seeds("2", 1), _read_seeds("0, 7", 1), _read_seeds("7,", 1)
    ({'count': 3, 'step': 101}, [0, 1], [0, 7], [7])
    """
    text = _joined(text)
    if spread := _SPREAD.fullmatch(text):
        count, start, own = (
            int(part or default) for part, default in zip(spread.groups(), (0, 0, step), strict=True)
        )
        if (start, own) == (0, 1) and 0 < count <= 10:
            return list(range(count))
        return {"count": count, "step": own} | ({"start": start} if start else {})
    return [_whole(word, "how many, or a list such as 0, 1, 2") for word in _words(text)]


def _read_budget(text: str) -> dict[str, Any]:
    """An amount and its unit; updates where there is none.

    >>> _read_budget("20 epochs"), _read_budget("12,800 samples"), _read_budget("500")
    ({'epochs': 20}, {'samples': 12800}, {'updates': 500})
    """
    amount, _, word = text.strip().partition(" ")
    unit = next((unit for unit in BUDGET_UNITS if word and unit.startswith(word.strip())), "")
    unit = unit if word else "updates"
    if not unit:
        raise ConfigError(f"expected {', '.join(BUDGET_UNITS)}, got {word!r}", fix="such as 500 updates")
    number = value_of(without_commas(amount) or "''")
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    return {unit: number}


def folder_of(text: str, root: Path, data_dir: Path) -> Path | None:
    """The folder of images that a text names, relative to the project or to the directory of the data sets.

    None where it names something else; a folder that is not there is one by its slash.
    """
    text = text.strip()
    if not text or text in DATASETS or text.startswith(IMAGE_FOLDER):
        return None
    try:
        places = [named_path(text, base) for base in (root, data_dir)]
    except ValueError as error:
        raise ConfigError(str(error), where="dataset") from None
    found = next((_without_dots(place) for place in places if place.is_dir()), None)
    return found or (places[0] if "/" in text else None)


def dataset_of(folder: Path, root: Path, data_dir: Path) -> str:
    """A folder of images as an experiment names it: where it can be so that the project may be moved."""
    moves_along = folder.is_relative_to(root) and data_dir.is_relative_to(root)
    if folder.is_relative_to(data_dir) or moves_along:
        named = os.path.relpath(folder, data_dir)
        # Not through a directory that is not there yet, nor through a link.
        if (data_dir / named).is_dir() and (data_dir / named).samefile(folder):
            return f"{IMAGE_FOLDER}{named}"
    return f"{IMAGE_FOLDER}{folder}"


def _without_dots(folder: Path) -> Path:
    """The folder by its path without `..`; as it is where this leads elsewhere, behind a link."""
    plain = Path(os.path.normpath(folder))
    return plain if plain.is_dir() and plain.samefile(folder) else folder
