"""`doctor --cluster`: what it says of a cluster that takes runs, and of each that does not."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.slurm_mock import MockCall, MockSlurm, MockTask
from tui_datasize.cli import doctor_cluster
from tui_datasize.cli.dispatch import main
from tui_datasize.cli.doctor import Check
from tui_datasize.cli.doctor_cluster import cluster_checks
from tui_datasize.jobs.scheduler.slurm import probe
from tui_datasize.jobs.scheduler.slurm.calls import Reply
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
    project(tmp_path, "time = '2-00:00:00'")
    assert checks(paths)["partition"].text == (
        "main: up, 4 nodes idle, at most 1-00:00:00, and time = 2-00:00:00"
    )
    project(tmp_path, "time = '24:00:00'", "gpus = 0")
    assert checks(paths)["partition"].verdict == "ok"
    project(tmp_path)
    slurm.gpus = 2
    slurm.submit_limit = 0
    assert (
        "Slurm takes no such job now: QOSMaxSubmitJobPerUserLimit: Batch job submission failed: Job violates"
        in checks(paths)["partition"].text
    )
    slurm.submit_limit = 100
    monkeypatch.setattr(probe, "_TORCH", "print('2.9 sees', 'no GPU')")
    assert checks(paths)["probe job"].verdict == "fail"
    monkeypatch.setattr(probe, "_TORCH", "raise ImportError('libcudart is missing')")
    assert "torch cannot be imported on" in checks(paths)["probe job"].text
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


DOWN = "does not answer: Unable to contact slurm controller"


@pytest.mark.parametrize(
    ("command", "faults", "name", "told"),
    [
        ("sbatch", ["down"], "slurm", f"sbatch {DOWN}"),
        ("scontrol", ["down"], "slurm", f"scontrol {DOWN}"),
        ("squeue", ["down"], "slurm", f"squeue {DOWN}"),
        ("squeue", ["lost"], "slurm", "squeue does not answer: Socket timed out on send/recv operation"),
        ("sinfo", ["down"], "partition", f"sinfo {DOWN}"),
        ("sinfo", ["torn"], "partition", "the answer of sinfo is torn: ask again"),
        ("sbatch", ["", "down"], "partition", "takes no such job now: Unable to contact slurm controller"),
        ("scontrol", ["", "down"], "limits", "cannot be read: Unable to contact slurm controller"),
        ("scontrol", ["", "torn"], "limits", "cannot be read: MaxArraySize is not told"),
        ("sbatch", ["", "", "down"], "probe job", "Slurm takes none: Unable to contact slurm controller"),
        ("sbatch", ["", "", "torn"], "probe job", "Slurm takes none: 1"),
    ],
)
def test_a_command_that_fails_is_one_line(
    slurm: Cluster, tmp_path: Path, command: str, faults: list[str], name: str, told: str
) -> None:
    slurm.faults[command] = faults
    found = checks(project(tmp_path))[name]
    assert found.verdict != "ok"
    assert found.text.endswith(told)
    assert "\n" not in found.text


def test_a_controller_that_is_down_and_an_answer_without_words(
    slurm: Cluster, tmp_path: Path, monkeypatch
) -> None:
    for said, told in (
        (
            "Slurmctld(primary) at login is DOWN\n",
            "no controller of Slurm is up: Slurmctld(primary) at login is DOWN",
        ),
        ("", "scontrol does not answer: nothing came"),
    ):
        monkeypatch.setattr(slurm, "_scontrol", lambda _words, _text, said=said: Reply(0, said))
        assert checks(project(tmp_path))["slurm"].text == told


def test_the_default_partition_is_the_one_that_gets_the_runs(
    slurm: Cluster, tmp_path: Path, monkeypatch
) -> None:
    lines = "big|up|infinite|1|idle|gpu:8\nsmall*|up|infinite|1|idle|(null)\n"
    monkeypatch.setattr(slurm, "_sinfo", lambda _words, _text: Reply(0, lines))
    assert checks(project(tmp_path))["partition"].text == (
        "small: up, 1 nodes idle, at most infinite; no GPU in it, and gpus = 1"
    )
    monkeypatch.setattr(slurm, "_sinfo", lambda _words, _text: Reply(0, lines.replace("*", "")))
    assert checks(project(tmp_path))["partition"].text == "there is no default partition: name one"


@pytest.mark.parametrize("squeues", [["", "torn"], ["", "down"], ["", "lost"], ["", "empty"]])
def test_an_answer_of_squeue_that_says_nothing_ends_no_job(
    slurm: Cluster, tmp_path: Path, monkeypatch, squeues: list[str]
) -> None:
    # The job answers once squeue was asked.
    answer, asked = slurm._squeue, []

    def squeue(words: Sequence[str], text: str) -> Reply:
        reply = answer(list(words), text)
        if "--me" in words:
            return reply
        asked.append(words)
        if len(asked) == 2:
            probe.main([slurm.tasks[-1].directory])
        return Reply(0) if squeues[1] == "empty" else reply

    monkeypatch.setattr(slurm, "_squeue", squeue)
    slurm.job = lambda _task: None
    slurm.faults["squeue"] = [fault for fault in squeues if fault != "empty"]
    found = {check.name: check for check in cluster_checks(project(tmp_path), patience_s=30)}
    assert found["probe job"].verdict == "ok"


def test_a_shared_disk_that_cannot_be_used_is_one_line(slurm: Cluster, tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "/shared/x")

    monkeypatch.setattr(doctor_cluster.tempfile, "TemporaryDirectory", refuse)
    found = [check for check in cluster_checks(project(tmp_path)) if check.name == "shared disk"]
    assert [check.verdict for check in found] == ["ok", "fail"]
    assert found[-1].text == f"{tmp_path}/runs cannot be used: /shared/x: Disk quota exceeded"


def test_a_node_with_another_version_of_this_program(slurm: Cluster, tmp_path: Path) -> None:
    slurm.job = lambda task: (Path(task.directory) / "answer.json").write_text('{"host": "node7"}')
    assert checks(project(tmp_path))["probe job"].text.startswith(
        "the nodes have another version of datasize-tui"
    )


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_shared_disk_without_locks(slurm: Cluster, tmp_path: Path, monkeypatch, number: int) -> None:
    def refuse(*_: object) -> bool:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(doctor_cluster, "lock_file", refuse)
    monkeypatch.setattr(probe, "is_locked", refuse)
    found = checks(project(tmp_path))["locks"]
    assert found.verdict == "ok"
    assert found.text.endswith(f": {os.strerror(number)}; runs are claimed by leases alone")


def test_whoever_waits_no_longer_leaves_no_job(slurm: Cluster, tmp_path: Path, monkeypatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    slurm.job = lambda _task: None
    monkeypatch.setattr(doctor_cluster, "_read", interrupt)
    with pytest.raises(KeyboardInterrupt):
        checks(project(tmp_path))
    assert slurm.tasks[-1].signals == 1


def test_a_shared_disk_that_does_not_answer_is_not_waited_for(
    slurm: Cluster, tmp_path: Path, monkeypatch
) -> None:
    answers = threading.Event()
    monkeypatch.setattr(doctor_cluster, "_DISK_S", 0.01)
    monkeypatch.setattr(doctor_cluster, "_look_at", lambda _place: answers.wait())
    try:
        found = checks(project(tmp_path))
        assert found["shared disk"].text == f"{tmp_path}/runs cannot be used: does not answer within 0 s"
    finally:
        answers.set()
