"""Projects for the app."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.stage import Stage, busy_stage, empty_stage


@pytest.fixture
def empty(tmp_path: Path) -> Stage:
    """A project with experiments and no runs."""
    return empty_stage(tmp_path / "project")


@pytest.fixture
def busy(tmp_path: Path) -> Stage:
    """A project in the middle of a sweep, see `busy_stage`."""
    return busy_stage(tmp_path / "project")
