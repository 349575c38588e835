"""Two processes that take themselves for two hosts, on a file system that knows no locks.

What a stopped process wakes to, and one whose disk does not answer, is the kernel's: it is waited for as the
kernel shows it.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.faults.lab import DEADLINE_S
from tui_datasize.jobs.scheduler.launch import wait_until
from tui_datasize.runlog import claim as claims
from tui_datasize.runlog import identity
from tui_datasize.runlog import lease as leases
from tui_datasize.runlog.claim import (
    Claim,
    ClaimRefused,
    RunOutcome,
    acquire,
    conclude,
    next_attempt,
    read_exit,
)
from tui_datasize.runlog.paths import RunPaths

NEVER_S = 1e6
"""For what is not to happen by itself."""


class Host:
    """The worker of one host, which does what it is told, a line each."""

    def __init__(self, paths: RunPaths, name: str, give_up_s: float) -> None:
        environment = os.environ | {
            **{leases.FIRST_VARIABLE: "1", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0"},
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "tests.faults.test_two_hosts",
                paths.directory,
                name,
                str(give_up_s),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def tell(self, word: str) -> None:
        assert self.process.stdin
        print(word, file=self.process.stdin, flush=True)

    def ask(self, word: str) -> str:
        self.tell(word)
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def stop(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)
        assert wait_until(lambda: self._status("State").startswith("T"), DEADLINE_S)

    def wake(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def is_to_end(self) -> bool:
        """Whether the kernel has a signal for it that it has yet to notice."""
        return bool(int(self._status("ShdPnd"), 16) >> (signal.SIGALRM - 1) & 1)

    def _status(self, name: str) -> str:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:"))


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    made = RunPaths(tmp_path / "runs" / "x" / "run")
    made.directory.mkdir(parents=True)
    made.spec.write_text('{"on": "slurm"}')
    return made


@pytest.fixture
def host(paths: RunPaths) -> Iterator[Callable[..., Host]]:
    hosts: list[Host] = []

    def start(name: str, give_up_s: float = NEVER_S) -> Host:
        hosts.append(Host(paths, name, give_up_s))
        return hosts[-1]

    yield start
    for one in hosts:
        one.process.kill()
        one.process.communicate()


def age(paths: RunPaths, attempt: int, seconds: float) -> None:
    then_s = leases.file_system_time(paths.directory) - seconds
    os.utime(paths.lease(attempt), (then_s, then_s))


def test_a_worker_that_was_stopped_writes_no_byte_when_it_wakes(paths: RunPaths, host) -> None:
    first, second = host("one", give_up_s=2.0), host("two")
    assert first.ask("claim") == "attempt 1"
    assert second.ask("claim") == "job 7_0 on one has attempt 1 and has not ended it"
    first.tell("write")
    assert wait_until(lambda: paths.metrics.exists() and paths.metrics.stat().st_size > 0, DEADLINE_S)
    first.stop()
    assert wait_until(first.is_to_end, DEADLINE_S)
    written = paths.metrics.read_bytes()
    age(paths, 1, leases.STALE_S - 5)
    assert not conclude(paths, 1, RunOutcome.INTERRUPTED, "vanished", is_gone=True)
    age(paths, 1, leases.STALE_S + 5)
    assert not conclude(paths, 1, RunOutcome.INTERRUPTED, "vanished")
    assert conclude(paths, 1, RunOutcome.INTERRUPTED, "vanished", is_gone=True)
    assert second.ask("claim") == "attempt 2"
    first.wake()
    assert first.process.wait() == -signal.SIGALRM
    assert paths.metrics.read_bytes() == written
    assert second.ask("finish") == "finished"
    ended = read_exit(paths)
    assert ended
    assert (ended.attempt, ended.outcome) == (2, RunOutcome.SUCCEEDED)


def test_a_worker_whose_disk_does_not_answer_is_ended_while_it_waits(paths: RunPaths, host) -> None:
    first = host("one", give_up_s=0.5)
    assert first.ask("claim") == "attempt 1"
    first.tell("hang")
    assert first.process.wait() == -signal.SIGALRM
    assert paths.lease(1).exists()


def test_a_directory_that_was_begun_afresh_is_not_taken_for_ones_own(paths: RunPaths, host) -> None:
    first, second = host("one"), host("two")
    assert first.ask("claim") == "attempt 1"
    first.stop()
    # Nobody of ours does this: a person, or another program.
    paths.directory.rename(paths.directory.with_name("old"))
    paths.directory.mkdir()
    paths.spec.write_text('{"on": "slurm"}')
    assert second.ask("claim") == "attempt 1"
    first.wake()
    assert first.ask("finish").startswith("lost: ")
    assert read_exit(paths) is None
    assert second.ask("finish") == "finished"


def _be_host(name: str, give_up_s: float) -> None:
    """Have this process take itself for another host, whose file system knows no locks."""

    def refuse(*_: object) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    claims.lock_file = claims.is_locked = refuse  # type: ignore[assignment]
    identity.boot_id = lambda: name
    os.uname = lambda: SimpleNamespace(nodename=name)  # type: ignore[assignment,return-value]
    leases.GIVE_UP_S, leases.RENEW_S = give_up_s, give_up_s / 10


def _main(argv: Sequence[str]) -> None:
    paths = RunPaths(Path(argv[0]))
    _be_host(argv[1], float(argv[2]))
    claim: Claim | None = None
    for line in sys.stdin:
        with _telling():
            match line.strip():
                case "claim":
                    claim = acquire(paths, next_attempt(paths))
                    print(f"attempt {claim.attempt}", flush=True)
                case "finish" if claim:
                    claim.finish(RunOutcome.SUCCEEDED)
                    print("finished", flush=True)
                case "hang":
                    leases._date = _hang  # type: ignore[assignment]
                    _write(paths)
                case "write":
                    _write(paths)


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except ClaimRefused as refusal:
        print(refusal, flush=True)
    except OSError as error:
        print(f"lost: {error}", flush=True)


def _hang(_file: object) -> None:
    nobody_writes, _ = os.pipe()
    os.read(nobody_writes, 1)


def _write(paths: RunPaths) -> None:
    with paths.metrics.open("ab", buffering=0) as file:
        while True:
            file.write(b"x")


if __name__ == "__main__":
    _main(sys.argv[1:])
