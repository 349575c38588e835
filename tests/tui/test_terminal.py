"""The real program in a pseudo-terminal, with a real queue and workers that do nothing."""

from __future__ import annotations

import errno
import io
import itertools
import math
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from tests.faults.lab import Lab
from tests.terminal import Terminal, opened
from tests.tui.stage import TOML
from tui_datasize.errors import EXIT_RUN_FAILED
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.tui.link import Link
from tui_datasize.tui.terminal import SparingDriver


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
    with opened(program, (80, 24), {"TEXTUAL_ANIMATIONS": "none"}) as terminal:
        yield terminal


def test_a_sweep_is_queued_by_keys_and_runs_on_after_the_app_has_gone(lab: Lab, terminal: Terminal):
    terminal.shows("Experiments", "0/16", "scheduler on")
    terminal.press("a")
    terminal.shows("Queue digits?", "queue 16 runs")
    terminal.press("\r")
    terminal.until(lambda: len(lab.client.jobs()) == 16)
    terminal.shows("16 runs queued")
    terminal.press("?")
    terminal.shows("Hold waiting jobs")
    terminal.press("\x1b")
    # The next key would make an Alt of the escape.
    terminal.until(lambda: "Hold waiting jobs" not in terminal.text)
    terminal.press("2")
    terminal.shows("one at a time")
    terminal.press("3")
    terminal.shows("Learning curve")
    assert " kB/s" not in terminal.text
    terminal.press("q")
    assert terminal.exit_status() == 0
    lab.wait_until_over()
    assert {job.state for job in lab.client.jobs()} == {JobState.SUCCEEDED}
    assert lab.client.scheduler_alive()


def test_the_app_ends_with_its_terminal(lab: Lab, terminal: Terminal):
    terminal.shows("Experiments", "scheduler on")
    terminal.hang_up()
    # The tests themselves may run behind nohup.
    is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert terminal.exit_status() == (EXIT_RUN_FAILED if is_ignored else -signal.SIGHUP)


def test_whoever_leaves_waits_for_nothing_that_is_still_computed(lab: Lab):
    for_ever = """
import sys, threading
from tui_datasize.cli import main
from tui_datasize.tui import key_order
key_order.import_module = lambda _: threading.Event().wait()
threading.Thread(target=threading.Event().wait).start()
sys.exit(main(sys.argv[1:]))
"""
    program = (sys.executable, "-P", "-c", for_ever, "--project", str(lab.project.root))
    with opened(program, (80, 24)) as terminal:
        terminal.shows("Experiments", "0/16")
        terminal.press("q")
        assert terminal.exit_status() == 0


def test_whoever_reads_keys_leaves_the_end_of_the_terminal_to_who_watches_for_it(
    monkeypatch: pytest.MonkeyPatch,
):
    """The kernel says first that the other end has closed, and only then that the terminal is gone.

    A byte that is no text is one key more, and what comes behind it is read.
    """
    leader, follower = os.openpty()
    os.close(leader)
    monkeypatch.setattr(
        "tui_datasize.tui.terminal.os.read", Mock(side_effect=[b"\xffq", OSError(errno.EIO, "gone")])
    )
    driver: Any = SimpleNamespace(
        fileno=follower, exit_event=threading.Event(), link=Link(io.StringIO()), _debug=False
    )
    driver.process_message = Mock()
    SparingDriver.run_input_thread(driver)
    os.close(follower)
    assert [call.args[0].character for call in driver.process_message.call_args_list] == ["\ufffd", "q"]


def test_a_slow_link_is_told_until_it_is_fast_and_leaves_nothing_to_the_shell(lab: Lab):
    left = '"$@"; read -rt 0.2 -n 1 typed; echo "left: <$typed>"'
    program = (sys.executable, "-P", "-m", "tui_datasize", "--project", str(lab.project.root))
    with opened(("bash", "-c", left, "bash", *program), (80, 24)) as terminal:
        terminal.bytes_per_s = 1_500
        terminal.shows("slow link: drawn every 5 s", " kB/s")
        terminal.bytes_per_s = math.inf
        for tab, shows in itertools.cycle((("2", "Runs"), ("1", "Experiments"))):
            terminal.press(tab)
            terminal.shows(shows)
            if " kB/s" not in terminal.text:
                break
        terminal.press("q")
        terminal.shows("left: <>")


def test_a_shell_stops_the_app_and_brings_it_back(lab: Lab):
    jobs = 'set -m; "$@"; echo "status $?"; read -r; fg > /dev/null; echo left'
    program = (sys.executable, "-P", "-m", "tui_datasize", "--project", str(lab.project.root))
    with opened(("setsid", "-cw", "bash", "-c", jobs, "bash", *program), (80, 24)) as terminal:
        terminal.shows("Experiments", "scheduler on")
        terminal.press("\x03")
        terminal.shows("press q to leave")
        terminal.draws("\x0c", "Experiments")
        # SIGSTOP of the app, which the shell adds to 128.
        terminal.draws("\x1a", "status 147")
        terminal.draws("\r", "Experiments")
        terminal.press("q")
        terminal.shows("left")


@pytest.mark.parametrize("theme", ["ansi-light", "ansi-dark"])
def test_the_terminals_own_colours_leave_its_background_as_it_is(lab: Lab, tmp_path: Path, theme: str):
    (tmp_path / "datasize-tui").mkdir()
    (tmp_path / "datasize-tui" / "config.toml").write_text(f'theme = "{theme}"')
    program = (sys.executable, "-P", "-m", "tui_datasize", "--project", str(lab.project.root))
    with opened(program, (80, 24), {"XDG_CONFIG_HOME": str(tmp_path)}) as terminal:
        terminal.shows("Experiments", "scheduler on")
        row = terminal.row(12)
        assert {cell.bg for cell in row} == {"default"}
        terminal.press("q")
