"""Which files of a folder are images, of which class, for training or for testing; none of them is opened.

A folder that is missing, or is not as it should be, is a `DataError` whose `where` names it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias
from unicodedata import normalize

from tui_datasize.errors import DataError
from tui_datasize.experiments.images.reading import FIRST_RULES, NEWEST_RULES, ImageReading
from tui_datasize.files import is_utf8
from tui_datasize.text import visible

Files: TypeAlias = tuple[os.DirEntry[str], ...]
Kind: TypeAlias = Literal["train", "test", "validation"]
Role: TypeAlias = Literal["own", "tests", "unlabelled", "synthetic"]
"""What a folder is to an experiment: its data set, measured on alone, or learned from beside it, without
labels or as generated images."""

FIRST_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
_FURTHER_SUFFIXES = (
    ".apng .avif .avifs .blp .bw .cur .dcx .dds .dib .eps .fit .fits .flc .fli .ftc .ftu .gbr .gif .icb "
    ".icns .ico .iim .im .j2c .j2k .jfif .jp2 .jpc .jpe .jpf .jpx .msp .pbm .pcd .pcx .pfm .pnm .ps .psd "
    ".pxr .qoi .ras .rgb .rgba .sgi .tga .vda .vst .xbm .xpm"
)
SUFFIXES = (*FIRST_SUFFIXES, *_FURTHER_SUFFIXES.split())
"""What Pillow decodes without help; a list, because no experiment's images may change with Pillow."""
_JUNK = frozenset(
    (
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "#recycle"),
        *("$recycle.bin", "system volume information", "lost+found"),
    )
)
"""What systems leave in folders by themselves; so are names that begin with a dot."""
_KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        **dict.fromkeys(("train", "training"), "train"),
        **dict.fromkeys(("test", "testing"), "test"),
        **dict.fromkeys(("val", "valid", "validation"), "validation"),
    }
)
_MEASURED: tuple[Kind, ...] = ("test", "validation")
_LAYOUT = "an image folder holds train/CLASS/ and test/CLASS/ or val/CLASS/"
_MOST_REASONS = 20
_MOST_NAMED = 5
_OF_THE_PLACE = (
    *(errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.ELOOP),
    *(errno.ENAMETOOLONG, errno.EIO, errno.ESTALE),
)
"""Errors of a folder itself; what the machine lacks, such as memory, is another matter."""


@dataclass(frozen=True)
class Listing:
    """The images of a folder by class, in the order of the labels."""

    folder: Path
    class_names: tuple[str, ...]
    train: tuple[Files, ...]
    test: tuple[Files, ...]
    passed_over: Mapping[str, int]
    """How many files by reason, in a few words behind their number."""
    bad: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """What has the name of an image and is none, by its path: what it is."""

    @cached_property
    def keys(self) -> tuple[tuple[str, ...], ...]:
        """Of each file of `train`, then of `test`, by class: a digest of path, size and modification time."""
        with _reading(self.folder):
            return tuple(tuple(map(_key, files)) for files in (*self.train, *self.test))

    @property
    def files(self) -> Iterator[os.DirEntry[str]]:
        """Those of `train`, then those of `test`."""
        return chain.from_iterable((*self.train, *self.test))

    def named(self, file: str) -> str:
        """A file by its path below the folder, as it may be shown and stored."""
        return visible(os.path.relpath(file, self.folder))


def _key(file: os.DirEntry[str]) -> str:
    status = file.stat()
    line = f"{file.path}\0{status.st_size}\0{status.st_mtime_ns}"
    return hashlib.blake2b(line.encode(errors="surrogateescape"), digest_size=8).hexdigest()


def walk(folder: Path, reading: ImageReading, arrays: Path | None = None) -> Listing:
    """List the images of a folder, or of its classes where it has no splits and `reading` draws them.

    `arrays` is where decoded images are kept, which may be below it.

    Raises DataError: the folder or a split is missing, they differ in classes, or a class has no images, or a
        name that is not UTF-8.
    """
    found = _Walk(reading, arrays)
    train, test = _splits(folder, reading, found)
    classes = found.classes(train)
    if test:
        of_test = found.classes(test)
        if missing := classes.keys() ^ of_test.keys():
            raise DataError(
                f"{train.name}/ and {test.name}/ differ in classes {', '.join(sorted(missing)[:5])}",
                where=str(folder),
                fix="both splits need the same class folders",
            )
        parts = [(found.images(classes[name]), found.images(of_test[name])) for name in classes]
    elif len(classes) == 1:
        fix = "name the folder in which those of the classes lie"
        raise DataError(f"one class alone, {next(iter(classes))}", where=str(train), fix=fix)
    else:
        parts = [_drawn(found.images(folders), folder, reading) for folders in classes.values()]
    of_training, of_testing = zip(*parts, strict=True)
    listing = found.listing(folder, tuple(classes), of_training, of_testing)
    refuse_empty(listing, [folders[0] for folders in classes.values()], test or train)
    return listing


def walk_part(
    folder: Path, reading: ImageReading, arrays: Path | None = None, named: Sequence[Kind] = _MEASURED
) -> Listing:
    """List the images of the first split that a folder has of those named, else those of CLASS/ in itself.

    Whatever it is called, they are listed as test images. By default they are those to be measured on alone.

    Raises DataError: there are none.
    """
    found = _Walk(reading, arrays)
    with _reading(folder):
        kinds = _by_kind(folder, reading)
    split = next((kinds[kind][0] for kind in named if kinds[kind]), folder)
    classes = found.classes(split)
    test = tuple(found.images(each) for each in classes.values())
    listing = found.listing(folder, tuple(classes), ((),) * len(test), test)
    refuse_empty(listing, (), split)
    return listing


def walk_unlabelled(folder: Path, reading: ImageReading, arrays: Path | None = None) -> Listing:
    """List images whose classes are not asked for, at any depth, as if they were test images of one.

    Raises DataError: there are none.
    """
    found = _Walk(reading, arrays)
    listing = found.listing(folder, ("",), ((),), (found.images([folder]),))
    refuse_empty(listing, (), folder)
    return listing


def images_in(folder: Path) -> Files:
    """The image files of a folder by the first rules; raises DataError: something else has such a name."""
    reading = ImageReading()
    found = _Walk(reading)
    images = found.images([folder])
    found.listing(folder, (), (), ())
    return images


def trained_classes(folder: Path, reading: ImageReading) -> frozenset[str]:
    """The names of the classes that a folder has for training."""
    found = _Walk(reading)
    return frozenset(found.classes(_splits(folder, reading, found)[0]))


def refuse_empty(listing: Listing, class_folders: Sequence[Path], test: Path) -> None:
    """Raises DataError: a class, told by its first folder, has no training images, or all have no others."""
    pairs = zip(class_folders, listing.train, strict=False)
    empty = next((folder for folder, images in pairs if not images), None)
    if empty or not any(listing.test):
        passed = f" ({words(listing.passed_over)} passed over)" if listing.passed_over else ""
        raise DataError(f"no images{passed}", where=str(empty or test), fix="put images there")


def together(errors: Sequence[DataError], told: str) -> DataError:
    """One error for all bad images, the first of them named; `told` says where the others are."""
    kinds: dict[str, list[DataError]] = {}
    for error in errors:
        kinds.setdefault(re.sub(r"[:(].*|\d[\d,x]*", "", error.what), []).append(error)
    (first, *others), *further = kinds.values()
    what = first.what
    if others:
        named = ", ".join(error.where for error in others[: _MOST_NAMED - 1])
        what += f"; so {'is' if len(others) == 1 else 'are'} {len(others):,} more: {named}"
    for one, *more in further:
        what += f"; {1 + len(more):,} with: {one.what}, {'such as ' if more else ''}{one.where}"
    return DataError(what + told, where=first.where, fix=first.fix)


def words(counts: Mapping[str, int]) -> str:
    """Counts by reason, each behind its number.

    >>> words({"in val/": 1200, ".txt": 1})
    '1,200 in val/, 1 .txt'
    """
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items())


def _splits(folder: Path, reading: ImageReading, found: _Walk) -> tuple[Path, Path | None]:
    """The folders for training and for testing; without the other one where the images are to be drawn."""
    with _reading(folder):
        if not folder.is_dir():
            raise DataError(
                "no such image folder",
                where=str(folder),
                fix="create it, correct the path or set DATASIZE_DATA",
            )
        kinds = _by_kind(folder, reading)
    if reading.split and not kinds["test"] and not kinds["validation"]:
        return next(iter(kinds["train"]), folder), None
    tested = kinds["test"] or kinds["validation"]
    for name, splits in (("train", kinds["train"]), ("test", tested)):
        if not splits:
            _refuse_flat(folder)
            fix = f"{_LAYOUT}; of CLASS/ alone, split = 0.2 draws a test set"
            raise DataError("no such folder", where=str(folder / name), fix=fix)
        if len(splits) > 1:
            both = " and ".join(f"{each.name}/" for each in splits[:2])
            raise DataError(f"{both} mean the same", where=str(folder), fix="keep one, or make them one")
    train, test = kinds["train"][0], tested[0]
    if reading.split:
        fix = "leave split out"
        raise DataError(
            f"has {train.name}/ and {test.name}/: nothing is to be split", where=str(folder), fix=fix
        )
    found.passed_beside(folder, train, test)
    return train, test


def _refuse_flat(folder: Path) -> None:
    """Raises DataError: images lie in a folder that has no folders."""
    entries = _entries(folder)
    count = sum(entry.name.lower().endswith(SUFFIXES) for entry in entries)
    if count and not any(map(_is_dir, entries)):
        there = f"{count:,} image{'s' * (count > 1)} and no folders of classes"
        raise DataError(there, where=str(folder), fix="put each class into a folder of its own")


def _by_kind(folder: Path, reading: ImageReading) -> Mapping[Kind, Sequence[Path]]:
    """The folders that are splits by their names; those of classes, where images lie in them directly."""
    if reading.rules == FIRST_RULES:
        firsts: dict[Kind, str] = {"train": "train", "test": "test", "validation": "val"}
        return {kind: [folder / name] * (folder / name).is_dir() for kind, name in firsts.items()}
    kinds: dict[Kind, list[Path]] = {"train": [], "test": [], "validation": []}
    for entry in _entries(folder):
        kind = _KINDS.get(entry.name.lower())
        if kind and _is_dir(entry) and not (reading.split and _holds_images(entry.path)):
            kinds[kind].append(Path(entry.path))
    return kinds


def _holds_images(folder: str) -> bool:
    return any(not _is_dir(each) and each.name.lower().endswith(SUFFIXES) for each in _entries(Path(folder)))


def _drawn(files: Files, folder: Path, reading: ImageReading) -> tuple[Files, Files]:
    """The images of a class for training and for testing, in their order; of two or more some of each."""
    below = len(str(folder))

    def place(file: os.DirEntry[str]) -> bytes:
        named = normalize("NFC", f"{reading.split_seed}{file.path[below:]}")
        return hashlib.blake2b(named.encode(errors="surrogateescape")).digest()

    count = min(max(1, round(reading.split * len(files))), max(0, len(files) - 1))
    chosen = {file.path for file in sorted(files, key=place)[:count]}
    return (
        tuple(file for file in files if file.path not in chosen),
        tuple(file for file in files if file.path in chosen),
    )


class _Walk:
    """What a walk meets beside the images it returns."""

    def __init__(self, reading: ImageReading, arrays: Path | None = None) -> None:
        self._arrays = str(arrays)
        self._skips = reading.skips
        self._is_first = reading.rules == FIRST_RULES
        self._suffixes = FIRST_SUFFIXES if self._is_first else SUFFIXES
        self._passed: Counter[str] = Counter()
        self.bad: dict[str, str] = {}

    def classes(self, split: Path) -> dict[str, list[Path]]:
        """The class folders of a split by class, in the order of their names, which are the labels.

        Names that differ in how Unicode writes them are one class.
        """
        named: dict[str, list[Path]] = {}
        for entry in _entries(split):
            if _is_dir(entry) and entry.path != self._arrays:
                if not is_utf8(entry.name):
                    raise DataError("the name of a class is not UTF-8", where=entry.path, fix="rename it")
                name = entry.name if self._is_first else normalize("NFC", entry.name)
                named.setdefault(name, []).append(Path(entry.path))
            elif not self._is_first and not self._note_dangling(entry):
                self._passed["in no class folder"] += self._is_image(entry)
        if not named:
            raise DataError(
                "no images", where=str(split), fix="put images there, into a folder for each class"
            )
        return dict(sorted(named.items()))

    def images(self, folders: Sequence[Path]) -> Files:
        """The images below the folders of a class: folder by folder, then by name, as torchvision's."""
        found = []
        waiting = [str(folder) for folder in folders]
        while waiting:
            folder = waiting.pop()
            for entry in _entries(Path(folder)):
                if entry.path == self._arrays:
                    continue
                if not self._is_first and _is_dir(entry):
                    waiting += [] if self._note_circle(entry, folder) else [entry.path]
                elif self._is_image(entry):
                    found += [] if self._note_irregular(entry) else [(folder, entry.name, entry)]
                elif not self._is_first and not self._note_dangling(entry):
                    self._passed[_suffix(entry.name)] += 1
        return tuple(entry for *_, entry in sorted(found, key=lambda one: one[:2]))

    def passed_beside(self, folder: Path, *splits: Path) -> None:
        """Count the images that lie in none of the splits."""
        if self._is_first:
            return
        for entry in _entries(folder):
            if not _is_dir(entry):
                self._passed["in no class folder"] += self._is_image(entry)
            elif Path(entry.path) not in splits and entry.path != self._arrays:
                role = " (validation)" if _KINDS.get(entry.name.lower()) == "validation" else ""
                # Whatever is wrong with them is no matter of this data set.
                with suppress(DataError):
                    images = _Walk(ImageReading(NEWEST_RULES)).images([Path(entry.path)])
                    self._passed[f"in {entry.name}/{role}"] += len(images)

    def listing(
        self, folder: Path, class_names: tuple[str, ...], train: tuple[Files, ...], test: tuple[Files, ...]
    ) -> Listing:
        """These images, and what else was met; raises DataError: something bad, and it is not skipped."""
        if self.bad and not self._skips:
            fix = "remove it, or set on_bad_image = 'skip'"
            raise together([DataError(what, where=path, fix=fix) for path, what in self.bad.items()], "")
        return Listing(folder, class_names, train, test, self._told(), MappingProxyType(self.bad))

    def _told(self) -> Mapping[str, int]:
        """How many files are passed over by reason, the most common first."""
        reasons = [(visible(reason), count) for reason, count in self._passed.most_common() if count]
        told = dict(reasons[:_MOST_REASONS])
        if others := sum(count for _, count in reasons[_MOST_REASONS:]):
            told["others"] = others
        return MappingProxyType(told)

    def _is_image(self, entry: os.DirEntry[str]) -> bool:
        return entry.name.lower().endswith(self._suffixes)

    def _note_irregular(self, entry: os.DirEntry[str]) -> bool:
        """Whether it is no file: a pipe would keep a run waiting in its slot for ever."""
        if not self._note_dangling(entry) and not entry.is_file():
            self.bad[entry.path] = "not a regular file"
        return entry.path in self.bad

    def _note_dangling(self, entry: os.DirEntry[str]) -> bool:
        """Whether it is a link to nothing: images may be lost, whatever it is called."""
        if entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110 - Path lets errors through
            self.bad[entry.path] = "a link that leads nowhere"
        return entry.path in self.bad

    def _note_circle(self, entry: os.DirEntry[str], folder: str) -> bool:
        """Whether it is a link to a folder that it lies in."""
        if not entry.is_symlink():
            return False
        target, here = os.path.realpath(entry.path), os.path.realpath(folder)
        leads_back = f"{here}{os.sep}".startswith(f"{target}{os.sep}")
        self._passed["links back to a folder above"] += leads_back
        return leads_back


def _is_dir(entry: os.DirEntry[str]) -> bool:
    # Of a link to itself, or to where this user may not look, it raises what a walk need not know.
    with suppress(OSError):
        return entry.is_dir()
    return False


def _suffix(name: str) -> str:
    """What a file that is passed over is called by: its suffix, as far as that is one."""
    _, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if dot and suffix.isalnum() and len(suffix) <= 8 else "without a suffix"


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, but for what systems leave there."""
    with _reading(folder), os.scandir(folder) as entries:
        return [one for one in entries if one.name[0] != "." and one.name.lower() not in _JUNK]


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        where = os.fsdecode(error.filename or folder)
        raise DataError("is not there", where=where, fix="correct the path") from None
    except OSError as error:
        if error.errno not in _OF_THE_PLACE:
            raise
        where, fix = os.fsdecode(error.filename or folder), "let this user read it, or correct the path"
        raise DataError.of(error, "cannot be read", where=where, fix=fix) from None
