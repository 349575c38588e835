"""The page on the architecture shows the rooms that there are."""

from __future__ import annotations

from pathlib import Path

import tui_datasize

PACKAGE = Path(tui_datasize.__file__).parent
PAGE = (PACKAGE.parent / "docs" / "architecture.md").read_text()


def test_it_shows_every_room():
    rooms = {entry.name for entry in PACKAGE.iterdir() if (entry / "__init__.py").exists()}
    assert {room for room in rooms if f"`{room}/`" in PAGE} == rooms
