"""The page on the architecture names files that are there, and rooms as the contracts have them."""

from __future__ import annotations

import re
from pathlib import Path

import tui_datasize

PACKAGE = Path(tui_datasize.__file__).parent
PAGE = (PACKAGE.parent / "docs" / "architecture.md").read_text()
MADE_UP = {"answers/NAME.py", "answers/failures.py"}


def test_every_file_that_it_names_is_there():
    named = set(re.findall(r"`([a-z_/]+/(?:NAME|[a-z_]+)\.py)`", PAGE)) - MADE_UP
    assert len(named) > 20
    missing = [
        name for name in named if not any((root / name).exists() for root in (PACKAGE, PACKAGE.parent))
    ]
    assert missing == []


def test_it_shows_every_room():
    rooms = {entry.name for entry in PACKAGE.iterdir() if (entry / "__init__.py").exists()}
    assert {room for room in rooms if f"`{room}/`" in PAGE} == rooms
