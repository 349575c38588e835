"""The real program in a pseudo-terminal: queue from the keyboard, leave, and the runs go on."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.state import JobState
from tui_datasize.runlog.paths import ProjectPaths

DEADLINE_S = 120.0
EXPERIMENT = """
[experiments.tiny]
dataset = "digits"
model   = "mlp"
sizes   = [40]
seeds   = [0, 1]
budget  = { updates = 20 }
"""
_CONTROL = re.compile(
    rb"\x1b(?:\[[0-9;?<>=]*[A-Za-z@`]|[()][A-Z0-9]|[PX^_\]].*?(?:\x07|\x1b\\)|[=>78NOM])", re.S
)


class Terminal:
    """A program in a pseudo-terminal of 80 columns and 24 rows."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)
        self._output = b""

    def press(self, keys: str) -> None:
        """Type; what was written before counts as seen."""
        self._output = b""
        os.write(self._master, keys.encode())

    def wait_for(self, text: str) -> None:
        """Wait until a text has been written since the last key."""
        self._wait(lambda: text in self._text(), f"{text!r} in {self._text()!r}")

    def wait_for_end(self) -> int:
        self._wait(lambda: self.process.poll() is not None, "the end")
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    def _text(self) -> str:
        return _CONTROL.sub(b"", self._output).decode(errors="replace")

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f"timed out waiting for {what}; {self._text()[-3000:]}"
            if select.select([self._master], [], [], 0.05)[0]:
                try:
                    self._output += os.read(self._master, 65536)
                except OSError:  # Linux: the last process has closed the other side.
                    time.sleep(0.05)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATASIZE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DATASIZE_SLOTS_DIR", str(tmp_path / "slots"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    paths = ProjectPaths(tmp_path / "project")
    paths.root.mkdir()
    paths.experiments.write_text(EXPERIMENT)
    yield paths
    QueueClient(paths).stop_scheduler()


@pytest.fixture
def terminal(project: ProjectPaths):
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    terminal = Terminal([sys.executable, "-m", "tui_datasize", "--project", str(project.root)], environment)
    yield terminal
    terminal.close()


@pytest.mark.faults
def test_runs_queued_from_the_keyboard_end_after_the_app_has_left(project, terminal):
    terminal.wait_for("tiny")
    terminal.press("a")
    terminal.wait_for("2 runs")
    terminal.press("\r")
    client = QueueClient(project)
    deadline = time.monotonic() + DEADLINE_S
    while len(client.jobs()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    terminal.press("q")
    assert terminal.wait_for_end() == 0

    while any(job.state is not JobState.SUCCEEDED for job in client.jobs()):
        assert time.monotonic() < deadline, client.jobs()
        assert client.scheduler_alive()
        time.sleep(0.05)
    assert all(run.exit.exists() for run in project.all_runs())
