"""What the headers of image files say, kept from one time to the next; and which of the files are bad.

As a program it looks at the files that its input names: many are shared out to processes that share nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from tui_datasize.errors import DataError
from tui_datasize.experiments.images import pixels
from tui_datasize.experiments.images.reading import ImageReading, colour_of
from tui_datasize.experiments.images.walk import Files, Listing, refuse_empty, together, words
from tui_datasize.files import parse_object, read_bounded
from tui_datasize.programs import installed_version, python_module
from tui_datasize.text import visible

_MOST_HERE, _MOST_DECODED_HERE = 1_000, 100
"""Files that are looked at, or decoded, in this process: to start others takes longer."""
_MOST_UNTOLD = 20_000
_CHUNK = 2_000
_MOST_BYTES_DECODED = 20 * 10**6
"""Of the files of a folder that are decoded though none would be skipped: that takes a second or two."""
_MOST_LISTED = 10_000
"""Skipped images."""
_MOST_BYTES = 2**30
_MEGA = 10**6


class Header(NamedTuple):
    """What is known of an image file."""

    width_px: int
    """Once it is turned upright."""
    height_px: int
    mode: str
    """Pillow's."""
    notes: tuple[pixels.Note, ...]
    highest: float
    """Of a floating-point or 32-bit image, the largest number; else 0."""


@dataclass(frozen=True)
class SeenImages:
    """The images of a folder that can be shown, and what there is to tell of them."""

    listing: Listing
    """Without those that are skipped."""
    headers: Sequence[Header]
    """Of these, those for training first."""
    skipped: Mapping[str, str]
    """What is wrong with each bad image, by its path below the folder."""
    reading: ImageReading

    @property
    def whites(self) -> dict[str, float]:
        """What is white in floating-point and in 32-bit images, by Pillow's mode."""
        highest: dict[str, float] = {}
        for header in self.headers:
            if "numbers" in header.notes:
                highest[header.mode] = max(highest.get(header.mode, 0.0), header.highest)
        return {mode: pixels.white_of(most, mode) or most for mode, most in highest.items()}

    @property
    def has_colour(self) -> bool:
        is_coloured = len(set(colour_of(self.reading.background))) > 1
        return any(
            (is_coloured and "transparent" in header.notes)
            or not (header.mode in pixels.GREY_MODES or header.mode.startswith("I;"))
            for header in self.headers
        )

    @property
    def treated(self) -> Mapping[str, int]:
        """How many images are shown otherwise than their pixels are stored, by what is done."""
        counts = Counter(chain.from_iterable(header.notes for header in self.headers))
        white = max(self.whites.values(), default=0.0)
        facts = {"background": self.reading.background, "white": white}
        return {text.format(**facts): counts[note] for note, text in pixels.NOTES.items() if counts[note]}

    @property
    def told(self) -> Sequence[str]:
        """What a person should know of them, in clauses; none where all is plain."""
        passed, treated, bad = (words(each) for each in (self.listing.passed_over, self.treated, {}))
        if self.skipped:
            bad = f"{len(self.skipped):,} bad skipped, such as {next(iter(self.skipped))}"
        return [*filter(None, (passed and f"passed over: {passed}", treated and f"shown: {treated}", bad))]

    @property
    def facts(self) -> Mapping[str, Any]:
        """The same for `dataset.json`."""
        passed_over = dict(self.listing.passed_over)
        shown = {"background": self.reading.background, "treated": dict(self.treated)}
        return {
            "rules": self.reading.rules,
            "passed_over": passed_over,
            **shown,
            "skipped_images": len(self.skipped),
            "skipped": dict(islice(self.skipped.items(), _MOST_LISTED)),
        }


def look(listing: Listing, reading: ImageReading, store: Path) -> SeenImages:
    """Read the headers of all images of a folder, or what was read of them before.

    Of a folder of a few megabytes, and where bad images are skipped, all are decoded once, so that nothing is
    found bad later. `store` is where what was seen is kept.

    Raises DataError: some images are bad and none is skipped, or nothing is left.
    """
    small = sum(file.stat().st_size for file in listing.files) <= _MOST_BYTES_DECODED
    whole = small or reading.skips
    depth = f"decoded-{reading.most_megapixels:g}" if whole else "header"
    of_folder = hashlib.blake2b(os.fsencode(listing.folder), digest_size=8).hexdigest()
    kept = store / f"headers-{of_folder}-{depth}-v{reading.rules}.json"
    known = _read_kept(kept)
    keyed = zip(chain.from_iterable(listing.keys), listing.files, strict=True)
    new = {key: file.path for key, file in keyed if key not in known}
    found = dict(zip(new, _look_at([*new.values()], reading.most_megapixels, whole=whole), strict=True))
    if new:
        known = _keep(
            kept, listing, known | {key: one for key, one in found.items() if isinstance(one, Header)}
        )
    return _seen(listing, {**found, **known}, reading, store)


def _name_all(errors: Sequence[DataError], store: Path) -> str:
    """Write what is wrong with each of many images into a file, and say where."""
    if len(errors) <= 1:
        return ""
    file = store / "bad-images.txt"
    with suppress(OSError):
        store.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{error.line}\n" for error in errors), encoding="utf-8")
        return f"; {file} names them all"
    return ""


def _seen(
    listing: Listing, known: Mapping[str, Header | str], reading: ImageReading, store: Path
) -> SeenImages:
    """Keep the good images; `known` has the header of each by its key, or what is wrong with it."""
    bad = dict(listing.bad)
    headers: list[Header] = []
    left: list[Files] = []
    for keys, files in zip(listing.keys, (*listing.train, *listing.test), strict=True):
        good = []
        for key, file in zip(keys, files, strict=True):
            header = known[key]
            what = header if isinstance(header, str) else _wrong(header, reading)
            if isinstance(header, Header) and not what:
                good.append(file)
                headers.append(header)
            else:
                bad[file.path] = what
        left.append(tuple(good))
    if bad and not reading.skips:
        fix = "replace or remove it, or set on_bad_image = 'skip'"
        errors = [DataError(what, where=file, fix=fix) for file, what in sorted(bad.items())]
        raise together(errors, _name_all(errors, store))
    count = len(listing.train)
    kept = replace(listing, train=tuple(left[:count]), test=tuple(left[count:])) if bad else listing
    skipped = {listing.named(file): visible(what) for file, what in bad.items()}
    if bad:
        refuse_empty(kept, [Path(files[0].path).parent for files in listing.train if files], listing.folder)
    return SeenImages(kept, headers, MappingProxyType(skipped), reading)


def refuse_sizes(seen: SeenImages) -> None:
    """Raises DataError: the images differ in size, and nothing says what to resize them to."""
    first: tuple[str, Header] | None = None
    for file, header in zip(seen.listing.files, seen.headers, strict=True):
        first = first or (file.path, header)
        if header[:2] != first[1][:2]:
            sizes = (f"{one.width_px}x{one.height_px}" for one in (header, first[1]))
            raise DataError(
                f"{next(sizes)} pixels, but {first[0]} has {next(sizes)}",
                where=file.path,
                fix="set image_px, the side to which all images are resized and cropped",
            )


def _wrong(header: Header, reading: ImageReading) -> str:
    """What is wrong with an image; empty for nothing."""
    if header.width_px * header.height_px > reading.most_megapixels * _MEGA:
        return f"image of {header.width_px:,}x{header.height_px:,} pixels, above most_megapixels"
    if "numbers" in header.notes and pixels.white_of(header.highest, header.mode) is None:
        return f"numbers up to {header.highest:g}, and nothing says what is white"
    return ""


def _look_at(files: Sequence[str], most_megapixels: float, *, whole: bool) -> list[Header | str]:
    """The header of each, or what is wrong with it, once it is decoded where `whole`."""
    if len(files) > _MOST_UNTOLD:
        how = "decoded once, to know which are bad" if whole else "looked at"
        print(f"{len(files):,} images are {how}", file=sys.stderr, flush=True)
    if len(files) <= (_MOST_DECODED_HERE if whole else _MOST_HERE):
        return [_header(file, most_megapixels, whole=whole) for file in files]
    size = _CHUNK // 10 if whole else _CHUNK
    chunks = [files[start : start + size] for start in range(0, len(files), size)]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        return [*chain.from_iterable(threads.map(partial(_elsewhere, most_megapixels, whole), chunks))]


def _elsewhere(most_megapixels: float, whole: bool, files: Sequence[str]) -> list[Header | str]:
    """The same by another process: what brings it down is bad, and does not bring down this one."""
    asked = json.dumps({"files": list(files), "whole": whole, "most_megapixels": most_megapixels})
    done = subprocess.run(
        python_module(__name__), input=asked, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode == 0:
        return [one if isinstance(one, str) else _of_json(one) for one in json.loads(done.stdout)]
    if done.returncode > 0:
        raise ChildProcessError(f"headers of images cannot be read: {done.stderr.strip()[-500:]}")
    if len(files) == 1:
        return [f"image brings down what decodes it (exit status {done.returncode})"]
    half = len(files) // 2
    halves = (files[:half], files[half:])
    return [*chain.from_iterable(_elsewhere(most_megapixels, whole, one) for one in halves)]


def _header(file: str, most_megapixels: float, *, whole: bool) -> Header | str:
    try:
        with pixels.opened(file, most_megapixels) as image:
            notes, mode = tuple(pixels.notes_of(image)), image.mode
            size, highest = pixels.upright_size(image), 0.0
            if "numbers" in notes:
                highest = pixels.numbers_of(image)[1]
            if whole:
                whites = {mode: max(highest, 1.0)}
                size = pixels.as_seen(image, (0, 0, 0), whites, grey=True).size
    except DataError as error:
        return error.what
    return Header(*size, mode, notes, highest)


def _of_json(values: Sequence[Any]) -> Header:
    width, height, mode, notes, highest = values
    return Header(int(width), int(height), str(mode), tuple(notes), float(highest))


def _read_kept(file: Path) -> dict[str, Header]:
    """What is kept of a folder; nothing where it cannot be read, or another Pillow has read it."""
    with suppress(OSError, ValueError, KeyError, TypeError, IndexError):
        document = parse_object(read_bounded(file, _MOST_BYTES))
        if document["pillow"] == installed_version("pillow"):
            kinds = [_of_json(one) for one in document["kinds"]]
            return {key: kinds[number] for key, number in document["files"].items()}
    return {}


def _keep(file: Path, listing: Listing, headers: Mapping[str, Header]) -> dict[str, Header]:
    """Keep what is known of the files that there are; where that fails it is read again each time."""
    own = {key: headers[key] for keys in listing.keys for key in keys if key in headers}
    kinds = {header: number for number, header in enumerate(dict.fromkeys(own.values()))}
    document = {
        "pillow": installed_version("pillow"),
        "kinds": list(kinds),
        "files": {key: kinds[header] for key, header in own.items()},
    }
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(f".{file.name}.{threading.get_native_id()}")
        beside.write_text(json.dumps(document))
        beside.replace(file)
    return own


def main() -> None:
    """Answer the question on standard input."""
    # Of whoever waits for the answer Control-C is the matter.
    os.nice(10)
    asked = json.loads(sys.stdin.read())
    headers = [_header(file, asked["most_megapixels"], whole=asked["whole"]) for file in asked["files"]]
    json.dump(headers, sys.stdout)


if __name__ == "__main__":
    main()
