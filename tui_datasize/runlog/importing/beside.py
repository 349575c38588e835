"""Configurations that trainers write beside their logs: size, seed and draw of a run stand there.

Lightning writes `hparams.yaml`, Weights & Biases and Hydra `config.yaml`, timm `args.yaml`, Ray
`params.json`. Names that may be those of a network or an image too (`n`, `size`) say nothing there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tui_datasize.experiments.toml import text_of
from tui_datasize.files import read_bounded
from tui_datasize.runlog.importing.layout import FIELDS, Layout
from tui_datasize.runlog.importing.meanings import plain
from tui_datasize.runlog.importing.names import TOLD_BY_NAMES

FILES = (
    *("hparams.yaml", "config.yaml", ".hydra/config.yaml", "args.yaml", "params.json", "args.json"),
    "config.json",
)
_LINE = re.compile(r"(?P<indent> *)(?P<key>[\w.-]+):(?:\s+(?P<value>[^#{\[&|>][^#]*))?\s*(?:#.*)?")
_TOLD = {word for name in TOLD_BY_NAMES for word in FIELDS[name]} - {"n", "size", "draw"}


def facts_beside(file: Path, header: Collection[str], layout: Layout) -> dict[str, str]:
    """What the configuration in the folder of a log says of its run, by names that its table has not.

    Only what tells size, seed or draw, or is named by an option; a table of several runs asks for nothing.
    """
    wanted = {*layout.columns.values(), *layout.named}
    there = {plain(column) for column in header}
    is_of_several = not there.isdisjoint((*FIELDS["size"], *FIELDS["run"]))
    found: dict[str, str] = {}
    for name, value in _facts(file.parent):
        is_field = plain(name) in _TOLD and not is_of_several and there.isdisjoint(_alike(name))
        if name not in header and (is_field or name in wanted):
            found.setdefault(name, value)
    return found


def _alike(name: str) -> tuple[str, ...]:
    """All names of what a name tells."""
    return next((FIELDS[field] for field in TOLD_BY_NAMES if plain(name) in FIELDS[field]), ())


def _facts(folder: Path) -> Iterator[tuple[str, str]]:
    for name in FILES:
        with suppress(OSError, ValueError, RecursionError):
            text = text_of(read_bounded(folder / name))
            found = _of_json(json.loads(text)) if name.endswith(".json") else _of_yaml(text)
            # Weights & Biases puts a level below each name.
            yield from ((key.removesuffix("/value"), value) for key, value in found.items())


def _of_json(value: Any, before: str = "") -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {before: str(value)} if isinstance(value, str | int | float) and before else {}
    found: dict[str, str] = {}
    for key, inner in value.items():
        found |= _of_json(inner, f"{before}/{key}" if before else str(key))
    return found


def _of_yaml(text: str) -> dict[str, str]:
    r"""Names and plain values of mappings within mappings, which is all that is looked for.

    >>> _of_yaml("n_train: 500\ndata:\n  seed: 1  # of the draw\n  list: [1, 2]\nname: 'a b'")
    {'n_train': '500', 'data/seed': '1', 'name': 'a b'}
    """
    found: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        if not (match := _LINE.fullmatch(line)):
            continue
        indent = len(match["indent"])
        above = [(deep, key) for deep, key in above if deep < indent]
        names = [key for _, key in above] + [match["key"]]
        if match["value"] is None:
            above.append((indent, match["key"]))
        else:
            found["/".join(names)] = match["value"].strip().strip("'\"")
    return found
