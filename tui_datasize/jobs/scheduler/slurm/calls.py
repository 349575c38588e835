"""Asking Slurm: its commands as processes that are not waited for, and what they answer."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

_TIMEOUT_S = 60.0
"""Seconds after which a command counts as one that does not answer; Slurm's own patience is shorter."""
FORMAT = "%i|%T|%S|%N|%j|%r|."
"""What squeue prints of a task; the last field tells a whole line from a torn one."""
_LINE = re.compile(r"(\d[^|\n]*)\|([A-Z_]+)\|([^|\n]*)\|([^|\n]*)\|(.*?)\|\.\n", re.DOTALL)
"""The last but one of its groups is a name and a reason; names of other jobs may hold anything."""
_TASK = re.compile(r"(\d+)_(\d+)", re.ASCII)
_QUEUE_FULL = b"sleeping and retrying"
"""What sbatch says before it waits for minutes: Slurm has as many jobs as it takes."""
_HELD = re.compile(r"JobHoldMaxRequeue|.*requeued[ _]held", re.ASCII)
"""Reasons of a task that Slurm could not start, or has started too often, and holds until it is released."""
_FILTERS = ("SLURM_", "SQUEUE_", "SCANCEL_", "SINFO_")
"""Variables of a job within which this program was started, and those that leave jobs out of an answer."""
_ELSEWHERE = frozenset({"SBATCH_CLUSTERS", "SBATCH_WAIT"})
"""Options of sbatch with which squeue would not find a job, or the answer comes at its end."""
_MOST_NAMES = 2000
"""Of arrays in one argument, which the kernel limits to 128 KiB."""
_OVER = frozenset(
    {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE"}
    | {"OUT_OF_MEMORY", "REVOKED"}
)
"""States of tasks that Slurm starts no more; one that this program does not know may yet be started."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a command has answered."""

    status: int | None
    """Its exit status; None where it did not answer in time, or could not be started."""
    out: str = ""
    err: str = ""

    @property
    def problem(self) -> str:
        """Why it failed, in one line; empty where it did not."""
        if self.status == 0:
            return ""
        lines = [re.sub(r"^\w+: (error: )?", "", line.strip()) for line in self.err.splitlines()]
        # What sbatch says first is the name of the limit that it then describes.
        said = ": ".join(line for line in lines[-2:] if line)
        return said or ("no answer in time" if self.status is None else f"exit status {self.status}")


class Call(Protocol):
    """A command under way."""

    def poll(self) -> Reply | None:
        """Its answer; None while there is none yet."""

    def close(self) -> None:
        """Forget it."""


class Commands(Protocol):
    """What starts commands of Slurm."""

    def start(self, words: Sequence[str], text: str = "") -> Call:
        """Start a command that reads `text`."""


class SlurmCommands:
    """Those of this host."""

    def start(self, words: Sequence[str], text: str = "") -> Call:
        """Start a command that reads `text`; one that cannot be started is an answer, too."""
        return _Process(words, text)


class _Process:
    def __init__(self, words: Sequence[str], text: str) -> None:
        self._until_s = time.monotonic() + _TIMEOUT_S
        self._out, self._err = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115 - until `close`
        self._child: subprocess.Popen[bytes] | None = None
        self._error = ""
        with tempfile.TemporaryFile() as given:
            given.write(text.encode())
            given.seek(0)
            try:
                self._child = subprocess.Popen(
                    words, stdin=given, stdout=self._out, stderr=self._err, env=_environment(os.environ)
                )
            except OSError as error:
                self._error = f"{words[0]}: {error.strerror}"

    def poll(self) -> Reply | None:
        """Its answer; one that takes too long, or means to wait, is killed, which is no answer."""
        if self._child is None:
            return self._answer(None)
        status = self._child.poll()
        if status is not None:
            return self._answer(status)
        # The child writes where this file stands: it is read without moving that.
        if time.monotonic() < self._until_s and _QUEUE_FULL not in os.pread(self._err.fileno(), 4096, 0):
            return None
        self._child.kill()
        self._child.wait()
        return self._answer(None)

    def _answer(self, status: int | None) -> Reply:
        said = []
        for file in (self._out, self._err):
            file.seek(0)
            said.append(file.read().decode(errors="replace"))
        self.close()
        return Reply(status, said[0], self._error or said[1])

    def close(self) -> None:
        """Forget it: one that goes on is nobody's to wait for."""
        if self._child is not None and self._child.returncode is None:
            self._child.returncode = 0
        self._out.close()
        self._err.close()


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    """The environment of commands: what a person set for another job, or to see less, is not taken on."""
    kept = {
        name: value
        for name, value in own.items()
        if name == "SLURM_CONF" or not (name.startswith(_FILTERS) or name in _ELSEWHERE)
    }
    # Times are compared and shown as this machine has them.
    return kept | {"SLURM_TIME_FORMAT": "standard", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class ClusterTask:
    """One task of an array, as squeue tells of it."""

    array: str
    """The array's name."""
    job_id: str
    number: int
    state: str
    reason: str
    starts: str
    """When Slurm expects to start it, or has: `2026-11-30T14:20:00`; `N/A` where it does not say."""
    node: str

    @property
    def name(self) -> str:
        return f"{self.job_id}_{self.number}"

    @property
    def is_over(self) -> bool:
        """Whether Slurm is done with it, however it ended."""
        return self.state in _OVER

    @property
    def is_pending(self) -> bool:
        return self.state in ("PENDING", "REQUEUE_HOLD")

    @property
    def is_held_by_slurm(self) -> bool:
        """Whether it waits for somebody to release it, whom nobody but Slurm has asked for that."""
        return self.is_pending and bool(_HELD.fullmatch(self.reason.strip("() ")))


@dataclass(frozen=True, slots=True)
class SqueueAnswer:
    """What squeue tells of any job."""

    tasks: Mapping[str, ClusterTask]
    """Those that it names."""
    arrays: Collection[str] = ()
    """Numbers of the arrays that it was asked for."""
    is_of_all: bool = False
    """Whether it was asked for all jobs of all users."""

    def has_ended(self, job: str) -> bool | None:
        """Whether Slurm is done with a job, or does not have it; None where it was not asked for that."""
        if task := self.tasks.get(job):
            return task.is_over
        return True if not job or self.is_of_all or job.partition("_")[0] in self.arrays else None


def squeue(names: Sequence[str], *, of_all: bool = False) -> list[str]:
    """The command that asks for all tasks of arrays; of this user's where none, or too many, are named."""
    whose = [f"--name={','.join(names)}"] if 0 < len(names) <= _MOST_NAMES else ["--me"]
    whose = [] if of_all else whose
    return ["squeue", "--noheader", "--array", "--states=all", *whose, f"--format={FORMAT}"]


def read_squeue(out: str) -> list[ClusterTask]:
    r"""The tasks of arrays in an answer of squeue; other jobs are passed over.

    Raises ValueError: it is torn, or something else: no answer.

    >>> read_squeue("4_1|PENDING|N/A||a|Resources|.\\n")[0].name
    '4_1'
    """
    tasks, read = [], 0
    while read < len(out):
        line = _LINE.match(out, read)
        if line is None:
            raise ValueError(f"not a line of squeue: {out[read : read + 80]!r}")
        read = line.end()
        job, state, starts, node, told = line.groups()
        if found := _TASK.fullmatch(job):
            array, _, reason = told.partition("|")
            tasks.append(ClusterTask(array, found[1], int(found[2]), state, reason, starts, node))
    return tasks


def read_sbatch(out: str) -> str:
    r"""The number of a job in what `sbatch --parsable` prints; empty where it is torn.

    >>> read_sbatch("4711;cluster\n"), read_sbatch("471")
    ('4711', '')
    """
    found = re.fullmatch(r"(\d+)(;\S+)?\n", out)
    return found[1] if found else ""


def read_most_tasks(out: str) -> int:
    r"""The tasks that an array may have, from `scontrol show config`; 0 where it is torn.

    >>> read_most_tasks("MaxArraySize            = 1001\n")
    1001
    """
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)\s*\n", out, re.MULTILINE)
    return max(1, int(found[1])) if found else 0
