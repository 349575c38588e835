"""The real program in a pseudo-terminal, with a real queue and workers that do nothing."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.lab import Lab
from tests.tui.stage import TOML
from tui_datasize.jobs.queue.state import JobState

DEADLINE_S = 60.0


class Terminal:
    """A program in a terminal of 80 columns and 24 rows."""

    def __init__(self, *command: str) -> None:
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:
            os.environ |= {"TERM": "xterm-256color", "TEXTUAL_ANIMATIONS": "none"}
            os.execv(command[0], command)
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self._output = b""

    def press(self, keys: str) -> None:
        """Send keys as a keyboard would."""
        os.write(self._descriptor, keys.encode())

    @property
    def text(self) -> str:
        """Everything printed so far, without escape sequences."""
        return re.sub(r"\x1b\[[0-9;?<>=]*[a-zA-Z]", "", self._output.decode(errors="replace"))

    def forget(self) -> None:
        """Look only at what is printed from now on."""
        self._output = b""

    def until(self, condition: Callable[[], object]) -> None:
        """Read until a condition holds."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, self.text[-4000:]
            self._read(0.05)

    def shows(self, *texts: str) -> None:
        """Wait until all texts have been printed."""
        self.until(lambda: all(text in self.text for text in texts))

    def _read(self, timeout_s: float) -> None:
        if select.select([self._descriptor], [], [], timeout_s)[0]:
            with suppress(OSError):  # the program has ended
                self._output += os.read(self._descriptor, 65536)

    def exit_status(self) -> int:
        """Wait for the end."""
        status: list[int] = []

        def has_ended() -> bool:
            pid, code = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                status.append(os.waitstatus_to_exitcode(code))
            return bool(status)

        self.until(has_ended)
        self._read(0.2)
        return status[0]

    def close(self) -> None:
        """End the program where it still runs."""
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._descriptor)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A project whose scheduler starts workers without torch, on slots that no other queue uses."""
    monkeypatch.setenv("DATASIZE_SLOTS_DIR", str(tmp_path / "slots"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    (tmp_path / "slots").mkdir()
    (tmp_path / "experiments.toml").write_text(TOML)
    lab = Lab(tmp_path)
    lab.start_scheduler()
    yield lab
    lab.close()


@pytest.fixture
def terminal(lab: Lab) -> Iterator[Terminal]:
    """The app on that project."""
    program = (sys.executable, "-P", "-m", "tui_datasize", "--project", str(lab.project.root))
    terminal = Terminal(*program)
    yield terminal
    terminal.close()


def test_a_sweep_is_queued_by_keys_and_runs_on_after_the_app_has_gone(lab: Lab, terminal: Terminal):
    terminal.shows("Experiments", "0/16", "scheduler on")
    terminal.press("a")
    terminal.shows("Queue digits?", "queue 16 runs")
    terminal.press("\r")
    terminal.until(lambda: len(lab.client.jobs()) == 16)
    terminal.shows("16 runs queued")
    terminal.forget()
    terminal.press("?")
    terminal.shows("Hold waiting jobs")
    terminal.forget()
    # What the page covered is printed again before the next key, which else would make an Alt of the escape.
    terminal.press("\x1b")
    terminal.shows("Jobs", "Log")
    terminal.press("2")
    terminal.shows("one at a time")
    terminal.press("3")
    terminal.shows("Learning curve")
    terminal.press("q")
    assert terminal.exit_status() == 0
    lab.wait_until_over()
    assert {job.state for job in lab.client.jobs()} == {JobState.SUCCEEDED}
    assert lab.client.scheduler_alive()
