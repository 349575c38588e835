"""Fixtures of the fault tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.forked import Server
from tests.faults.lab import Lab

_REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def _own_machine(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots that no other queue uses, no GPU, and workers that find the tests."""
    monkeypatch.setenv("DATASIZE_SLOTS_DIR", str(tmp_path_factory.mktemp("slots")))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("PYTHONPATH", str(_REPOSITORY))


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """What schedulers are forked from: an interpreter of its own for each would take most of the time."""
    server = Server()
    yield server
    server.close()


@pytest.fixture
def lab(tmp_path: Path, _own_machine: None, server: Server) -> Iterator[Lab]:
    """A project with cold, torch-free workers."""
    lab = Lab(tmp_path, server=server)
    yield lab
    lab.close()


@pytest.fixture
def warm_lab(tmp_path: Path, _own_machine: None, server: Server) -> Iterator[Lab]:
    """A project whose torch-free workers are forked from a preloader."""
    lab = Lab(tmp_path, options=(), server=server)
    yield lab
    lab.close()
