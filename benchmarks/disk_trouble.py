"""A disk fails under a running sweep: what is told, when, and whether all runs come to their end.

`python -m benchmarks.disk_trouble [--only full quota read-only aborted hung]` makes, for each, a project of
real trainings whose `runs/` is a file system of its own, with the app open beside it. While two runs are at
work all that is left of a tmpfs of 3 MB is taken, a quota of btrfs is set below what is used, the directory
becomes read-only for all that is opened from then on (Linux lets no file system become so under open files),
an ext4 aborts, so that it is read-only for open files, too, or it is frozen. It is mended 20 s after the app
and `status` have told: an aborted one is unmounted, and mounted again once nobody has a file of it open;
nobody types anything. The evaluations are then compared, bit for bit, with those of the sweep undisturbed.
Needs root; what cannot be made here is left out; exit status 1 where something is wrong.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.killed_sweep import compare
from tests.disks import SmallDisk
from tests.terminal import Terminal, opened
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.scheduler.devices import VISIBLE_VARIABLE
from tui_datasize.jobs.scheduler.slots import DIRECTORY_VARIABLE
from tui_datasize.runlog.paths import ProjectPaths

_EXPERIMENT = """\
[experiments.shaken]
dataset    = "digits"
model      = { name = "mlp" }
sizes      = [80, 160, 320, 640]
seeds      = [1, 2]
budget     = { updates = 3000 }
batch_size = 32
evaluate   = { times = 6 }
"""
_LASTS_S = 20.0
_PATIENCE_S = 900.0
_APP = (sys.executable, "-P", "-m", "tui_datasize")


class Trouble(ABC):
    """A file system for `runs/`, and what befalls it."""

    tells: str
    """A pattern of what the header says."""
    is_said = True
    """Whether `status` says it; on a disk that hangs it waits, too."""

    @abstractmethod
    def prepare(self, runs: Path) -> None:
        """Make the file system and mount it."""

    @abstractmethod
    def begin(self) -> None: ...

    @abstractmethod
    def mend(self) -> None: ...

    @abstractmethod
    def close(self) -> None: ...


@dataclass
class Full(Trouble):
    """A tmpfs of 3 MB on which somebody takes what is left."""

    tells = r"free on the disk|takes no more"
    disk: SmallDisk = field(default_factory=SmallDisk)

    def prepare(self, runs: Path) -> None:
        self.runs = runs
        self.disk.mount(runs, "3m")

    def begin(self) -> None:
        self.ballast = self.disk.fill(self.runs)

    def mend(self) -> None:
        self.ballast.unlink()

    def close(self) -> None:
        self.disk.close()


class Quota(Trouble):
    """A btrfs in a file, whose quota for the directory is what is used."""

    tells = r"your quota is used up"

    def prepare(self, runs: Path) -> None:
        self.runs, self.top = runs, runs.with_name("btrfs")
        image = runs.with_name("image")
        image.touch()
        os.truncate(image, 160 * 2**20)
        self.top.mkdir()
        runs.mkdir()
        _call("mkfs.btrfs", "-q", image)
        _call("mount", "-o", "loop", image, self.top)
        _call("btrfs", "quota", "enable", self.top)
        _call("btrfs", "subvolume", "create", self.top / "runs")
        _call("mount", "--bind", self.top / "runs", runs)

    def begin(self) -> None:
        os.sync()
        self._limit("64k")

    def mend(self) -> None:
        self._limit("none")

    def _limit(self, size: str) -> None:
        command = ("btrfs", "inspect-internal", "rootid", str(self.runs))
        number = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        # By the directory itself it could not be raised: that writes to it.
        _call("btrfs", "qgroup", "limit", size, f"0/{number}", self.top)

    def close(self) -> None:
        _call("umount", "-l", self.runs)
        _call("umount", "-l", self.top)


@dataclass
class ReadOnly(Full):
    """A tmpfs that becomes read-only."""

    tells = r"read-only"

    def begin(self) -> None:
        self.disk.freeze(self.runs)

    def mend(self) -> None:
        self.disk.thaw(self.runs)


class Aborted(Trouble):
    """An ext4 in a file, which becomes read-only under open files, too, as when its disk has failed.

    It is so until it is mounted anew, for which nobody may have a file of it open.
    """

    tells = r"read-only"

    def prepare(self, runs: Path) -> None:
        self.runs, self.image = runs, runs.with_name("image")
        runs.mkdir()
        self.image.touch()
        os.truncate(self.image, 64 * 2**20)
        _call("mkfs.ext4", "-q", "-m", "0", self.image)
        _call("mount", "-o", "loop", self.image, runs)

    def begin(self) -> None:
        _call("mount", "-o", "remount,abort", self.runs)

    def mend(self) -> None:
        _call("umount", "-l", self.runs)
        began_s = time.monotonic()
        _wait_until(lambda: not self._is_open(), "the use of the old file system")
        print(f"let go after {time.monotonic() - began_s:.1f} s")
        _call("mount", "-o", "loop", self.image, self.runs)

    def _is_open(self) -> bool:
        looped = subprocess.run(("losetup", "-j", str(self.image)), check=True, capture_output=True)
        return bool(looped.stdout)

    def close(self) -> None:
        _call("umount", "-l", self.runs)


class Hung(Aborted):
    """An ext4 that answers nobody who writes, nor who reads a database, until it is let go on."""

    tells = r"has not answered"
    is_said = False

    def begin(self) -> None:
        _call("fsfreeze", "--freeze", self.runs)

    def mend(self) -> None:
        _call("fsfreeze", "--unfreeze", self.runs)

    def close(self) -> None:
        # Where it was not let go on already.
        subprocess.run(("fsfreeze", "--unfreeze", str(self.runs)), capture_output=True)
        super().close()


TROUBLES: dict[str, Callable[[], Trouble]] = {
    "full": Full,
    "quota": Quota,
    "read-only": ReadOnly,
    "aborted": Aborted,
    "hung": Hung,
}


def main() -> int:
    """Make each trouble; exit status 1 where it was told late or something was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=tuple(TROUBLES), default=tuple(TROUBLES))
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("only root may mount a file system")
    root = Path(tempfile.mkdtemp(prefix="disk-trouble-"))
    os.environ |= {DIRECTORY_VARIABLE: str(root / "slots"), VISIBLE_VARIABLE: ""}
    calm = _project(root / "calm")
    _queue(calm)
    _wait_until(lambda: _is_over(calm), "the undisturbed sweep")
    wrong = [name for name in arguments.only if not _try(name, root, calm)]
    QueueClient(calm).stop_scheduler()
    print(f"wrong: {', '.join(wrong) or 'nothing'}; load {os.getloadavg()[0]:.1f}")
    if not wrong:
        shutil.rmtree(root)
    return bool(wrong)


def _try(name: str, root: Path, calm: ProjectPaths) -> bool:
    paths, trouble = _project(root / name), TROUBLES[name]()
    try:
        trouble.prepare(paths.runs)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"{name}: left out, since it cannot be made here: {error}")
        return True
    try:
        with opened((*_APP, "--project", str(paths.root)), (80, 24)) as app:
            _queue(paths)
            _wait_until(lambda: _has_begun(paths), "the first run")
            told = _befall(trouble, app, paths)
            _wait_until(lambda: _is_over(paths), "the sweep")
            calmed = not re.search(trouble.tells, app.text)
        return _judge(name, paths, calm, told) and calmed
    finally:
        QueueClient(paths).stop_scheduler()
        trouble.close()


def _befall(trouble: Trouble, app: Terminal, paths: ProjectPaths) -> tuple[float, float]:
    """Seconds until the screen told, and until `status` did."""
    trouble.begin()
    began_s, seen_s, said_s, said = time.monotonic(), 0.0, 0.0, ""
    while not (seen_s and (said_s or not trouble.is_said)):
        if time.monotonic() - began_s > _PATIENCE_S:
            print(app.text)
            raise TimeoutError("nobody tells of it")
        if not seen_s and re.search(trouble.tells, app.text):
            seen_s = time.monotonic() - began_s
        if trouble.is_said and not said_s:
            asked_s = time.monotonic()
            status = subprocess.run(
                (*_APP, "status", "--project", str(paths.root)), capture_output=True, text=True
            )
            said = status.stderr
            said_s = asked_s - began_s if status.returncode == 1 and "fault: " in said else 0.0
    print("\n".join(app.text.splitlines()[:4]))
    print(*(line for line in said.splitlines() if "fault" in line or "left" in line), sep="\n")
    time.sleep(_LASTS_S)
    trouble.mend()
    return seen_s, said_s


def _judge(name: str, paths: ProjectPaths, calm: ProjectPaths, told: tuple[float, float]) -> bool:
    jobs = QueueClient(paths).jobs()
    rows, is_equal = compare(calm, paths)
    with closing(sqlite3.connect(paths.queue)) as queue:
        successes = queue.execute(
            "SELECT max(n), min(n) FROM (SELECT sum(outcome = 'succeeded') n FROM attempts GROUP BY run_id)"
        ).fetchone()
        ends = queue.execute("SELECT run_id, reason FROM attempts WHERE outcome != 'succeeded'").fetchall()
    said = f"in `status` after {told[1]:.1f} s" if told[1] else "`status` waits, too"
    failed = [job.run_id for job in jobs if job.state is not JobState.SUCCEEDED]
    print(
        f"{name}: on screen after {told[0]:.1f} s, {said}; {len(jobs)} runs, "
        f"{len(failed)} not succeeded, {len(ends)} attempts ended by it, each succeeded {successes} times; "
        f"{rows} evaluations {'equal' if is_equal else 'DIFFERENT'}"
    )
    for run_id, reason in ends:
        print(f"    {run_id}: {reason}")
    return max(told) <= 5 and not failed and successes == (1, 1) and is_equal


def _project(root: Path) -> ProjectPaths:
    root.mkdir()
    (root / "experiments.toml").write_text(_EXPERIMENT)
    return ProjectPaths(root)


def _queue(paths: ProjectPaths) -> None:
    _call(*_APP, "queue", "shaken", "--project", paths.root)


def _count(paths: ProjectPaths, state: JobState) -> int:
    return QueueClient(paths).counts()[state]


def _has_begun(paths: ProjectPaths) -> bool:
    return bool(_count(paths, JobState.RUNNING) == 2 and _count(paths, JobState.SUCCEEDED))


def _is_over(paths: ProjectPaths) -> bool:
    return all(job.state.is_final for job in QueueClient(paths).jobs())


def _wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{what} does not end")
        time.sleep(0.5)


def _call(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
