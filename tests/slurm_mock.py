"""A Slurm that is none: its commands answer from a file, refuse what real ones refuse, and fail on demand.

`MockSlurm` stands for `SlurmCommands` within a test; `python -m tests.slurm_mock FILE COMMAND ...` answers
from FILE as the command would.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from operator import attrgetter
from pathlib import Path

from tui_datasize.jobs.scheduler.slurm.calls import Reply

_OPTIONS = frozenset(
    {"parsable", "requeue", "job-name", "array", "open-mode", "signal", "output", "nodes", "ntasks"}
    | {"test-only", "cpus-per-task", "mem", "time", "partition", "account", "gres", "exclude"}
)
_FAILED = "sbatch: error: Batch job submission failed: "
_POLICY = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
_FULL = Reply(1, "", f"sbatch: error: QOSMaxSubmitJobPerUserLimit\n{_FAILED}{_POLICY}")
_ENDED = frozenset({"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL"})


@dataclass
class MockTask:
    """One task of an array."""

    array: str
    job_id: str
    number: int
    directory: str
    first: int
    state: str = "PENDING"
    reason: str = "Resources"
    starts: str = "N/A"
    node: str = ""
    signals: int = 0
    """How often it was told to end."""

    @property
    def name(self) -> str:
        return f"{self.job_id}_{self.number}"


@dataclass
class MockSlurm:
    """The state of a cluster; `faults` has by command what goes wrong with its next calls, "" for nothing.

    "down": it does not answer. "lost": it does what was asked, and the answer is lost. "torn": the answer is
    cut off. "slow": it takes its time.
    """

    tasks: list[MockTask] = field(default_factory=list)
    most_tasks: int = 1001
    partitions: tuple[str, ...] = ("main",)
    submit_limit: int = 10_000
    full: Reply = _FULL
    """What sbatch answers at that limit."""
    gpus: int = 2
    next_id: int = 1
    faults: dict[str, list[str]] = field(default_factory=dict)
    asked: list[list[str]] = field(default_factory=list)
    """Every command, in order."""
    script: str = ""
    """The newest."""

    def start(self, words: Sequence[str], text: str = "") -> MockCall:
        """As of `SlurmCommands`."""
        planned = self.faults.get(words[0], [])
        fault = planned.pop(0) if planned else ""
        self.asked.append(list(words))
        if fault == "down":
            return MockCall(Reply(1, "", f"{words[0]}: error: Unable to contact slurm controller"))
        answer = self.answer(words, text)
        if fault == "lost":
            return MockCall(Reply(None, "", f"{words[0]}: error: Socket timed out on send/recv operation"))
        if fault == "torn":
            return MockCall(Reply(0, answer.out[: max(1, len(answer.out) * 2 // 3)]))
        return MockCall(answer, polls=3 if fault == "slow" else 0)

    def answer(self, words: Sequence[str], text: str = "") -> Reply:
        """What a command answers, and what it changes."""
        commands = {"sbatch": self._sbatch, "squeue": self._squeue, "scancel": self._scancel}
        commands |= {"sinfo": self._sinfo, "scontrol": self._scontrol}
        return commands[words[0]](list(words[1:]), text)

    def _sbatch(self, words: Sequence[str], text: str) -> Reply:
        given = dict(word.removeprefix("--").partition("=")[::2] for word in words)
        if "version" in given:
            return Reply(0, "slurm 22.05.8\n")
        if unknown := next((name for name in given if name not in _OPTIONS), ""):
            return Reply(1, "", f"sbatch: unrecognized option '--{unknown}'")
        if not text.startswith("#!"):
            return Reply(1, "", "sbatch: error: This does not look like a batch script.")
        found = re.fullmatch(r"0-(\d+)(%\d+)?", given["array"])
        if not found or int(found[1]) >= self.most_tasks:
            return Reply(1, "", f"{_FAILED}Invalid job array specification")
        if given.get("partition", self.partitions[0]) not in self.partitions:
            return Reply(1, "", f"{_FAILED}Invalid partition name specified")
        if not re.fullmatch(r"(\d+-)?\d+(:\d\d?){0,2}", given["time"]):
            return Reply(1, "", "sbatch: error: Invalid --time specification")
        if int(given.get("gres", "gpu:0").removeprefix("gpu:")) > self.gpus:
            return Reply(1, "", f"{_FAILED}Requested node configuration is not available")
        count = int(found[1]) + 1
        if sum(task.state not in _ENDED for task in self.tasks) + count > self.submit_limit:
            return self.full
        if "test-only" in given:
            return Reply(0, "", "sbatch: Job 7 to start at 2026-11-30T09:00:00 using 1 processors")
        runs, firsts = _list(text, "runs"), _list(text, "firsts")
        assert len(runs) == count
        job_id = str(self.next_id)
        self.next_id += count
        self.script = text
        self.tasks += [
            MockTask(given["job-name"], job_id, number, run, int(first))
            for number, (run, first) in enumerate(zip(runs, firsts, strict=True))
        ]
        return Reply(0, f"{job_id}\n")

    def _squeue(self, words: Sequence[str], _text: str) -> Reply:
        given = dict(word.partition("=")[::2] for word in words)
        names = set(given["--name"].split(",")) if "--name" in given else None
        shown = [task for task in self.tasks if names is None or task.array in names]
        if given.get("--states") != "all":
            shown = [task for task in shown if task.state not in _ENDED]
        fields = {"j": "array", "i": "name", "T": "state", "r": "reason", "S": "starts", "N": "node"}
        *asked, end = given["--format"].split("|")
        told = attrgetter(*(fields[field.removeprefix("%")] for field in asked))
        lines = ["|".join((*told(task), end)) for task in shown]
        return Reply(0, "".join(f"{line}\n" for line in lines))

    def _scancel(self, words: Sequence[str], _text: str) -> Reply:
        for name in words:
            chosen = [task for task in self.tasks if name in (task.name, task.job_id)]
            if not chosen:
                return Reply(
                    1, "", f"scancel: error: Kill job error on job id {name}: Invalid job id specified"
                )
            for task in chosen:
                task.signals += 1
                if task.state == "PENDING":
                    task.state = "CANCELLED"
        return Reply(0)

    def _sinfo(self, words: Sequence[str], _text: str) -> Reply:
        given = dict(word.partition("=")[::2] for word in words)
        gres = f"gpu:{self.gpus}" if self.gpus else "(null)"
        names = [name for name in self.partitions if given.get("--partition", name) == name]
        return Reply(0, "".join(f"{name}*|up|1-00:00:00|4|idle|{gres}\n" for name in names))

    def _scontrol(self, words: Sequence[str], _text: str) -> Reply:
        if words == ["ping"]:
            return Reply(0, "Slurmctld(primary) at login is UP\n")
        if words[:2] == ["show", "config"]:
            return Reply(0, f"MaxArraySize            = {self.most_tasks}\n")
        for name in words[1].split(","):
            task = self.task(name)
            if task is None or task.state not in ("PENDING", "REQUEUE_HOLD"):
                return Reply(1, "", f"Job/step already completing or completed for job {name}")
            is_held = words[0] == "uhold"
            task.state, task.reason = "PENDING", "JobHeldUser" if is_held else "Resources"
        return Reply(0)

    def task(self, name: str) -> MockTask | None:
        """The task of this name."""
        return next((task for task in self.tasks if task.name == name), None)

    def begin(self, begin: Callable[[MockTask], object], most: int = 10**6) -> list[MockTask]:
        """Start tasks that wait and are not held; `begin` is their script."""
        ready = [task for task in self.tasks if task.state == "PENDING" and "Held" not in task.reason][:most]
        for task in ready:
            task.state, task.reason, task.node = "RUNNING", "None", "node7"
            begin(task)
        return ready


@dataclass
class MockCall:
    """A command under way, which answers after so many looks."""

    answer: Reply
    polls: int = 0

    def poll(self) -> Reply | None:
        """As of `Call`."""
        self.polls -= 1
        return self.answer if self.polls < 0 else None

    def close(self) -> None:
        """As of `Call`."""


def _list(text: str, name: str) -> list[str]:
    found = re.search(rf"^{name}=\(\n(.*?)^\)$", text, re.MULTILINE | re.DOTALL)
    assert found
    # As a shell would, which takes its time where nothing is quoted.
    return shlex.split(found[1]) if "'" in found[1] else found[1].splitlines()


def main(argv: Sequence[str]) -> int:
    """Reply as a command from the state in a file, and write what it changes."""
    file = Path(argv[0])
    state = json.loads(file.read_text()) if file.exists() else {}
    state["tasks"] = [MockTask(**task) for task in state.get("tasks", [])]
    slurm = MockSlurm(**state | {"full": Reply(**state.get("full", asdict(_FULL)))})
    call = slurm.start(argv[1:], sys.stdin.read() if argv[1] == "sbatch" else "")
    file.write_text(json.dumps(asdict(slurm)))
    while (answer := call.poll()) is None:
        pass
    sys.stdout.write(answer.out)
    sys.stderr.write(answer.err)
    return 1 if answer.status is None else answer.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
