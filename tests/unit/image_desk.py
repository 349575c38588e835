"""Image folders of files whose names matter, not their pixels."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image

from tui_datasize.experiments.images.walk import Listing

BOTH = ("train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/dog/1.png")


def image_folder(root: Path, *files: str | bytes) -> Path:
    """Make a folder `odd` of these files, each an image of its own where its name does not say otherwise."""
    for number, name in enumerate(files):
        file = root / "odd" / os.fsdecode(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix.lower() in (".txt", ".heic", ".db", ".ini", ""):
            file.write_bytes(b"something")
        else:
            # What Pillow tells by its content.
            Image.new("L", (4, 4), 3 * number).save(file, "PNG")
    return root / "odd"


def names(listing: Listing) -> tuple[list[list[str]], list[list[str]]]:
    """The files by class, by their names below the folder, for training and for testing."""
    train, test = (
        [[listing.named(file.path) for file in files] for files in split]
        for split in (listing.train, listing.test)
    )
    return train, test
