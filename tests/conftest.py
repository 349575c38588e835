"""Fixtures that several rooms share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.disks import SmallDisk
from tests.fakes import fake_sweep, write_run
from tui_datasize.runlog.paths import ProjectPaths

# How long an example takes says more about the machine than about the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture
def project(tmp_path: Path) -> ProjectPaths:
    """An empty project directory."""
    paths = ProjectPaths(tmp_path)
    paths.runs.mkdir()
    return paths


@pytest.fixture(scope="session")
def finished_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `runs/` directory to copy: the demo sweep, 36 runs of experiment `digits`, has succeeded."""
    paths = ProjectPaths(tmp_path_factory.mktemp("finished"))
    for spec in fake_sweep():
        write_run(paths, spec)
    return paths.runs


@pytest.fixture
def fake_project(tmp_path: Path, finished_runs: Path) -> ProjectPaths:
    """A project whose demo sweep, 36 runs of experiment `digits`, has succeeded."""
    paths = ProjectPaths(tmp_path)
    shutil.copytree(finished_runs, paths.runs)
    return paths


@pytest.fixture
def small_disk() -> Iterator[SmallDisk]:
    """File systems that can be filled and made read-only."""
    disk = SmallDisk()
    yield disk
    disk.close()
