"""How long it takes to list an image folder, and to know what its headers say, in processor time.

    python -m benchmarks.image_listing [--images N] [--folder DIR]

Makes a folder of N links to a few small JPEG files, in 200 classes, some a folder deeper; looks at it with
nothing kept, then twice with what was kept, as `queue` and `doctor` do.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from tui_datasize.experiments.catalogue import NEWEST, dataset_info, refuse_unshown
from tui_datasize.text import plural

_CLASSES = 200


def main() -> None:
    """Make the folder, look at it, and print what that took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.image_listing", description=__doc__)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, help="where to make it; by default a temporary directory")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        data_dir = Path(name)
        _make(data_dir, arguments.images)
        print(f"{plural(arguments.images, 'image')}, load {os.getloadavg()[0]:.1f}")
        listing = _cpu_s(lambda: dataset_info("imagefolder:many", data_dir))
        print(f"listing alone: {listing:.1f} s of CPU")
        for title in ("nothing kept", "all kept", "all kept, again"):
            spent = _cpu_s(lambda: refuse_unshown("imagefolder:many", data_dir, NEWEST, 64))
            print(f"listing and headers, {title}: {spent:.1f} s of CPU")


def _make(data_dir: Path, images: int) -> None:
    originals = []
    for number in range(4):
        originals.append(data_dir / f"{number}.jpg")
        Image.effect_noise((64 + number, 64), 50).save(originals[-1])
    for label in range(_CLASSES):
        for split, places in (("train", 4), ("test", 1)):
            folder = data_dir / "many" / split / f"class{label:03}"
            for place in range(places):
                inner = folder / "deeper" if place == 3 else folder
                inner.mkdir(parents=True, exist_ok=True)
                for number in range(images // _CLASSES // 5):
                    os.link(originals[number % 4], inner / f"{place}-{number:05}.jpg")


def _cpu_s(work: Callable[[], object]) -> float:
    """User and system time that this process and those it started have spent on it."""

    def spent() -> float:
        usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)

    before = spent()
    work()
    return spent() - before


if __name__ == "__main__":
    main()
