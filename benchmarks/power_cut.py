"""The power is cut on a real ext4: what the queue and its runs are after it, nothing taken for granted.

`python -m benchmarks.power_cut` makes an ext4 in a file, mounts it, queues runs whose workers write rows,
checkpoints and ends, cuts the file system off without writing anything more (EXT4_IOC_SHUTDOWN), mounts it
again and lets a new scheduler go on. Exit status 1 if something acknowledged is gone, a run that succeeded is
not whole, or a run does not end. Needs root and a loop device; says so and ends with 0 where there are none.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import random
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from tests.faults.lab import FINAL, Lab
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.scheduler.slots import DIRECTORY_VARIABLE
from tui_datasize.runlog.atomic import write_bytes
from tui_datasize.runlog.claim import ATTEMPT_VARIABLE, ClaimRefused, RunOutcome, acquire, read_exit
from tui_datasize.runlog.collect import read_metrics
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.runlog.writer import MetricsWriter

_SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN of <linux/ext4.h>: _IOR('X', 125, __u32)."""
_WITHOUT_FLUSH = 2
_UNMOUNT_S = 30.0
_SIZE_BYTES = 128 * 2**20
_UPDATES = 12
_ROW_S = 0.01


def main(argv: Sequence[str] | None = None) -> int:
    """Cut the power several times on one file system, and tell what was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.power_cut", description=__doc__)
    parser.add_argument("--cuts", type=int, default=10)
    parser.add_argument("--runs", type=int, default=6, help="queued before each cut")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.worker:
        return work(RunPaths(Path(arguments.worker)))
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4") or not Path("/dev/loop-control").exists():
        print("skipped: a file system can only be cut off by root, with mkfs.ext4 and loop devices")
        return 0
    wrong = 0
    with tempfile.TemporaryDirectory() as directory:
        disk = _Disk(Path(directory))
        os.environ |= {DIRECTORY_VARIABLE: f"{directory}/slots", "CUDA_VISIBLE_DEVICES": ""}
        os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
        chance = random.Random(arguments.seed)
        known: list[RunSpec] = []
        for number in range(arguments.cuts):
            problems = _one_cut(disk, number, arguments.runs, known, chance)
            wrong += len(problems)
            print(f"cut {number + 1}: {len(known)} runs acknowledged, {len(problems)} violations", flush=True)
            for problem in problems:
                print(f"    {problem}", flush=True)
    return 1 if wrong else 0


def work(paths: RunPaths) -> int:
    """A worker without torch that records as a real one does: rows, then a checkpoint that relies on them."""
    try:
        claim = acquire(paths, int(os.environ[ATTEMPT_VARIABLE]))
    except ClaimRefused:
        return 0
    done = int(paths.checkpoint.read_bytes()) if paths.checkpoint.exists() else 0
    with closing(MetricsWriter(paths.metrics)) as metrics:
        metrics.resume(done)
        for update in range(done + 1, _UPDATES + 1):
            metrics.write("evaluation", update, split="test", accuracy=0.5)
            time.sleep(_ROW_S)
            if update % 3 == 0:
                metrics.sync()
                write_bytes(paths.checkpoint, str(update).encode())
    claim.finish(RunOutcome.SUCCEEDED)
    return 0


class _Disk:
    """An ext4 in a file."""

    def __init__(self, directory: Path) -> None:
        self._image = directory / "image"
        self.mount_point = directory / "mounted"
        self.mount_point.mkdir()
        self._image.touch()
        os.truncate(self._image, _SIZE_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self._image)], check=True)

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        """Mounted for a while; the journal is replayed first."""
        subprocess.run(["mount", "-o", "loop", str(self._image), str(self.mount_point)], check=True)
        try:
            yield self.mount_point
        finally:
            self._unmount()

    def _unmount(self) -> None:
        # A process that was killed gives back its files a moment later.
        deadline_s = time.monotonic() + _UNMOUNT_S
        command = ["umount", str(self.mount_point)]
        while subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode:
            if time.monotonic() >= deadline_s:
                subprocess.run(["umount", "-l", str(self.mount_point)], check=True)
                raise RuntimeError(f"somebody still uses {self.mount_point}")
            time.sleep(0.05)

    def cut(self) -> None:
        """Nothing that is not on the disk by now will ever be."""
        descriptor = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _WITHOUT_FLUSH))
        finally:
            os.close(descriptor)


def _lab(root: Path) -> Lab:
    worker = shlex.join([sys.executable, "-m", "benchmarks.power_cut", "--worker"])
    return Lab(root, ("--cold", "--worker", worker, "--cpu-slots", "2"))


def _one_cut(disk: _Disk, number: int, runs: int, known: list[RunSpec], chance: random.Random) -> list[str]:
    with disk.mounted() as root:
        lab = _lab(root)
        lab.start_scheduler()
        new = [lab.spec(number * runs + place) for place in range(runs)]
        lab.enqueue(*new)
        known += new
        time.sleep(chance.uniform(0, 3))
        disk.cut()
        # What still runs cannot write any more, and is to be gone before the disk is.
        _kill_all(lab)
    with disk.mounted() as root:
        lab = _lab(root)
        problems = _violations(lab, known)
        lab.start_scheduler()
        with suppress(AssertionError):
            lab.wait_until_over()
        problems += [
            f"{job.run_id} is {job.state}: {job.reason}"
            for job in lab.client.jobs()
            if job.state not in FINAL
        ]
        problems += _violations(lab, known)
        lab.close()
        _kill_all(lab)
    return problems


def _kill_all(lab: Lab) -> None:
    while processes := lab.processes():
        for pid in processes:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _violations(lab: Lab, known: Sequence[RunSpec]) -> list[str]:
    jobs = lab.jobs()
    problems = [f"{spec.run_id} was acknowledged and is gone" for spec in known if spec.run_id not in jobs]
    for run in lab.project.all_runs():
        end = read_exit(run)
        says_so = run.run_id in jobs and jobs[run.run_id].state is JobState.SUCCEEDED
        has_ended = end is not None and end.outcome is RunOutcome.SUCCEEDED
        if says_so and not has_ended:
            problems.append(f"{run.run_id} has succeeded, but its directory does not tell")
        if says_so or has_ended:
            rows, _ = read_metrics([run])
            if rows["update"].to_list() != list(range(1, _UPDATES + 1)):
                problems.append(f"{run.run_id} has succeeded with the rows {rows['update'].to_list()}")
    return problems


if __name__ == "__main__":
    sys.exit(main())
