"""`doctor --cluster`: what it says of a cluster that takes runs, and of each that does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.slurm_mock import MockCall, MockSlurm, MockTask
from tui_datasize.cli import doctor_cluster
from tui_datasize.cli.dispatch import main
from tui_datasize.cli.doctor import Check
from tui_datasize.cli.doctor_cluster import cluster_checks
from tui_datasize.jobs.scheduler.slurm import probe
from tui_datasize.runlog.paths import ProjectPaths

OTHER_CLOCK_S = 3600.0


class Cluster(MockSlurm):
    """One whose jobs begin at once, and are what `job` does."""

    job: Callable[[MockTask], object] = staticmethod(lambda task: probe.main([task.directory]))

    def start(self, words: Sequence[str], text: str = "") -> MockCall:
        call = super().start(words, text)
        if words[0] == "sbatch":
            self.begin(self.job)
        return call


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    slurm = Cluster()
    monkeypatch.setattr(doctor_cluster, "SlurmCommands", lambda: slurm)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(probe, "_TORCH", "print('2.9 sees', 'NVIDIA H100')")
    monkeypatch.setattr(doctor_cluster, "_SQUEUE_S", 0.0)
    return slurm


def project(root: Path, *lines: str) -> ProjectPaths:
    (root / "runs").mkdir(exist_ok=True)
    (root / "experiments.toml").write_text("\n".join(["[cluster]", *lines]))
    return ProjectPaths(root)


def checks(paths: ProjectPaths) -> dict[str, Check]:
    return {check.name: check for check in cluster_checks(paths, patience_s=0.3)}


def test_a_cluster_that_takes_runs(slurm: Cluster, tmp_path: Path, capsys) -> None:
    paths = project(tmp_path)
    found = checks(paths)
    assert {name: check.verdict for name, check in found.items()} == dict.fromkeys(
        ("slurm", "partition", "limits", "shared disk", "probe job", "locks", "clocks"), "ok"
    )
    assert found["slurm"].text == "slurm 22.05.8; Slurmctld(primary) at login is UP"
    assert found["limits"].text == "arrays of at most 1,001 runs"
    assert "2.9 sees NVIDIA H100" in found["probe job"].text
    assert "a lock that is held here is seen on" in found["locks"].text
    assert [*paths.runs.iterdir()] == []
    assert main(["doctor", "--cluster", "--json", "--project", str(tmp_path)]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == [*found]


def test_what_keeps_runs_from_a_cluster_is_told(slurm: Cluster, tmp_path: Path, monkeypatch) -> None:
    paths = project(tmp_path, "partition = 'big'")
    assert checks(paths)["partition"].text == "there is no partition big"
    project(tmp_path)
    slurm.gpus = 0
    assert checks(paths)["partition"].text.endswith("no GPU in it, and gpus = 1")
    slurm.gpus = 2
    slurm.submit_limit = 0
    assert (
        "Slurm takes no such job now: Batch job submission failed: Job violates"
        in checks(paths)["partition"].text
    )
    slurm.submit_limit = 100
    monkeypatch.setattr(probe, "_TORCH", "print('2.9 sees', 'no GPU')")
    assert checks(paths)["probe job"].verdict == "fail"
    monkeypatch.setattr(probe, "_TORCH", "raise ImportError('libcudart is missing')")
    assert "torch cannot be imported on" in checks(paths)["probe job"].text
    slurm.faults["scontrol"] = ["down"]
    assert checks(paths)["slurm"].text == "Slurm does not answer: Unable to contact slurm controller"
    project(tmp_path, f"shared = '{tmp_path}/missing'")
    assert checks(paths)["shared disk"].verdict == "fail"
    (tmp_path / "experiments.toml").write_text("")
    assert checks(paths)["cluster"].text.endswith('has no table [cluster]: add kind = "slurm"')
    project(tmp_path)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert checks(paths)["slurm"].verdict == "fail"


def test_a_probe_that_does_not_answer(slurm: Cluster, tmp_path: Path) -> None:
    paths = project(tmp_path, "gpus = 0")

    def stays_waiting(task: MockTask) -> None:
        task.state, task.reason = "PENDING", "Priority"

    slurm.job = stays_waiting
    assert checks(paths)["probe job"].text == (
        "not begun within 0 s: waits behind jobs of higher priority; it is cancelled"
    )
    assert slurm.tasks[-1].state == "CANCELLED"

    def breaks(task: MockTask) -> None:
        task.state = "FAILED"
        (Path(task.directory) / "job.log").write_text("bash: module: command not found\n")

    slurm.job = breaks
    assert checks(paths)["probe job"].text == "failed without an answer: bash: module: command not found"


def test_locks_that_are_not_seen_and_clocks_that_differ(slurm: Cluster, tmp_path: Path, monkeypatch) -> None:
    paths = project(tmp_path, "gpus = 0")
    monkeypatch.setattr(probe, "is_locked", lambda _file: False)
    now_s = probe.time.time

    class Late:
        """A clock of a node."""

        @staticmethod
        def time() -> float:
            return now_s() - OTHER_CLOCK_S

    monkeypatch.setattr(probe, "time", Late)
    found = checks(paths)
    assert found["locks"].text.endswith("is not seen there; runs are claimed by leases alone")
    assert (found["locks"].verdict, found["clocks"].verdict) == ("ok", "warn")
    assert "3600 s apart" in found["clocks"].text
