"""A Slurm for each test of this folder, and a project whose runs it makes."""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.slurm import Slurm, why_not
from tests.faults.lab import Lab
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.runlog.paths import RunPaths

_REPOSITORY = Path(__file__).parents[2]
WORKER = shlex.join([sys.executable, "-P", "-m", "tests.cluster.worker"])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts a Slurm is none of the default run."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def daemons() -> Iterator[Slurm]:
    """A directory and a munged for the Slurm of each test."""
    if problem := why_not():
        pytest.skip(problem)
    with tempfile.TemporaryDirectory(prefix="slurm.", ignore_cleanup_errors=True) as root:
        slurm = Slurm(Path(root))
        try:
            slurm.start()
            yield slurm
        finally:
            slurm.stop()


@pytest.fixture
def slurm(daemons: Slurm) -> Slurm:
    """munged, slurmctld and slurmd on loopback, as if just installed."""
    daemons.renew()
    return daemons


class ClusterLab(Lab):
    """A project with torch-free workers that Slurm starts."""

    def __init__(self, root: Path, slurm: Slurm) -> None:
        super().__init__(root, options=("--cold", "--worker", WORKER, "--squeue-s", "1"))
        self.slurm = slurm
        self.say()

    def say(self, **settings: object) -> None:
        """Write the project's file."""
        told = {"gpus": 0, "cpus": 1, "mem": "100M"} | settings
        lines = (f"{name} = {json.dumps(value)}" for name, value in told.items())
        self.project.experiments.write_text("\n".join(["[cluster]", *lines]))

    def hand(self, *specs: RunSpec, **options: object) -> list[RunPaths]:
        """Queue runs for Slurm."""
        return self.enqueue(*specs, on="slurm", **options)

    def log(self) -> str:
        """What the scheduler and Slurm say."""
        return f"{super().log()}\n{self.slurm.log()}"


@pytest.fixture
def lab(tmp_path: Path, slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClusterLab]:
    (tmp_path / "slots").mkdir()
    monkeypatch.setenv("DATASIZE_SLOTS_DIR", str(tmp_path / "slots"))
    monkeypatch.setenv("PYTHONPATH", str(_REPOSITORY))
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin")
    root = tmp_path / "project"
    root.mkdir()
    lab = ClusterLab(root, slurm)
    yield lab
    lab.close()
