"""Fixtures that several rooms share."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import settings

# Threads that wait for a few numbers of others turn round and round meanwhile: a tenth of all time.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

from tests.disks import SmallDisk
from tests.fakes import fake_sweep, write_run
from tui_datasize.runlog.paths import ProjectPaths

# How long an example takes says more about the machine than about the code.
settings.register_profile("some", deadline=None, max_examples=40)
settings.register_profile("many", deadline=None, max_examples=1000)
settings.load_profile("some")

# Hundreds of processes are started, and each would compile every module of ours that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 4 << 30


def _keep_files_in_memory() -> None:
    """Have the directories of tests where a write that has to last takes no time, if it has room for them.

    Some tests put programs there that must not be executed, and would not notice where nothing can be.
    """
    if _MEMORY.is_dir():
        disk = os.statvfs(_MEMORY)
        if disk.f_bavail * disk.f_frsize >= _ROOM_BYTES and not disk.f_flag & os.ST_NOEXEC:
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


_keep_files_in_memory()

# Nothing is thrown away while modules are imported, and looking for it takes seconds.
gc.disable()


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: some of them wait for schedulers and workers."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Iterator[None]:
    """Examples in docstrings are of the package; tests are searched for tests alone."""
    found: Sequence[pytest.Collector] = yield
    return [one for one in found if type(one) is pytest.Module]


def pytest_collection_finish() -> None:
    """Modules stay: what frees memory within a test looks at what has been made since, and not too often."""
    gc.set_threshold(20_000)
    gc.enable()
    gc.freeze()
    # Libraries complain at the end of what they hold then.
    atexit.register(gc.unfreeze)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that no process ends long after the others; skip what needs an absent GPU."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))


@pytest.fixture(autouse=True)
def _gpu(request: pytest.FixtureRequest) -> Iterator[None]:
    """Set the GPU up as a worker does for tests that need one; others may not use it."""
    if not request.node.get_closest_marker("gpu"):
        before = _uses_cuda()
        yield
        assert _uses_cuda() == before, "a test that uses CUDA needs the marker gpu"
        return
    # Not an argument: stand-ins for CUDA that it put in place must be gone before others are looked at.
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES") or "0")
    from tui_datasize.training.accelerator.device import chosen, set_up

    set_up(chosen().device)
    yield


def _uses_cuda() -> bool:
    torch = sys.modules.get("torch")
    return getattr(torch, "cuda", None) is not None and bool(torch.cuda.is_initialized())


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


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, finished_runs: Path) -> Iterator[ProjectPaths]:
    """The project of `fake_project`, one for all tests that leave its runs as they are."""
    paths = ProjectPaths(tmp_path_factory.mktemp("project"))
    shutil.copytree(finished_runs, paths.runs)
    before = _stamps(paths)
    yield paths
    assert _stamps(paths) == before, "a test has changed runs that others read"


def _stamps(project: ProjectPaths) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for run in project.all_runs() for file in run.directory.iterdir()}


@pytest.fixture
def small_disk() -> Iterator[SmallDisk]:
    """File systems that can be filled and made read-only."""
    disk = SmallDisk()
    yield disk
    disk.close()
