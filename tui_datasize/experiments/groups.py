"""`groups` of an experiment: a table of test images by file name, such as hospitals or types of skin."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from unicodedata import normalize

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.catalogue import IMAGE_FOLDER, folder_listing
from tui_datasize.experiments.load import Experiment, read_project
from tui_datasize.experiments.toml import text_of
from tui_datasize.files import named_path, read_bounded

_MOST_BYTES = 2**28
_FIX = "correct the path, which begins at the directory of experiments.toml, or leave groups out"
_HEADS = ("file", "filename", "file name", "file_name", "image", "path", "index")


def groups_of(file: Path, experiment: str, images: Mapping[str, int]) -> Sequence[str]:
    """The group of each test image of an experiment in a project's file; empty for an image without one.

    `images` are those of each class that its runs were tested on, by name in the order of the labels. Empty
    where the file names no groups.

    Raises ConfigError: the groups cannot be read, or are not of these images.
    Raises DataError: the image folder cannot be read.
    """
    project, _ = read_project(file)
    described = project.experiments.get(experiment)
    if described is None or not described.groups:
        return ()
    names = [str(place) for place in range(sum(images.values()))]
    if described.dataset.startswith(IMAGE_FOLDER):
        reading = described.reading(described.recipes[0])
        found = folder_listing(described.dataset, project.data_dir, reading)
        files = {
            name: test for name, test in zip(found.class_names, found.test, strict=True) if name in images
        }
        if {name: len(tested) for name, tested in files.items()} != dict(images):
            raise ConfigError(
                "the test images are not those that the runs were measured on", where=str(found.folder)
            )
        names = [normalize("NFC", found.named(one.path)) for label in images for one in files[label]]
    table, groups = _table(described, file)
    return _matched(names, groups, str(table))


def refuse_groups(described: Experiment, file: Path) -> None:
    """Raises ConfigError: the table of groups of an experiment is wrong, whatever images there are."""
    if described.groups:
        _table(described, file)


def _table(described: Experiment, file: Path) -> tuple[Path, dict[str, str]]:
    what, where = f"{described.groups!r} cannot be read", f"{described.where}.groups"
    try:
        table = named_path(described.groups, file.parent)
        groups = _read(text_of(read_bounded(table, _MOST_BYTES)), str(table))
    except UnicodeError:
        raise ConfigError(f"{what}: not UTF-8 text", where=where, fix="save it as UTF-8") from None
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError.of(error, what, where=where, fix=_FIX) from None
    if not groups:
        raise ConfigError("names no image", where=str(table), fix="write lines: file name,group")
    return table, groups


def _read(text: str, where: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, cells in enumerate(csv.reader(text.splitlines()), 1):
        # Names that differ in how Unicode writes them are one.
        name, group, *_ = [*(normalize("NFC", cell.strip()) for cell in cells), "", ""]
        if not name or (number == 1 and name.lower() in _HEADS):
            continue
        if not group or found.setdefault(name.replace("\\", "/").removeprefix("./"), group) != group:
            what = "one file has two groups" if group else "expected a file name and a group"
            raise ConfigError(f"line {number}: {what}", where=where, fix=f"write {name},GROUP once")
    return found


def _matched(names: Sequence[str], groups: Mapping[str, str], where: str) -> Sequence[str]:
    """By the path below the data set, below the split, or the file's own name where it is the only one."""
    ends = [[name.split("/", part)[-1] for part in range(name.count("/") + 1)] for name in names]
    count = Counter(own[-1] for own in ends)
    found = [
        next((groups[one] for one in own if one in groups and (one != own[-1] or count[one] == 1)), "")
        for own in ends
    ]
    if not any(found):
        raise ConfigError(
            f"names no test image, such as {names[0]}", where=where, fix="write lines: file name,group"
        )
    return found
