from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from tui_datasize.jobs.process import describe_status, find_tagged, kill_tagged, signal_group
from tui_datasize.runlog.identity import ProcessIdentity


def sleeper(tag: str = "", **options: bool) -> subprocess.Popen[bytes]:
    environment = os.environ | ({"DATASIZE_TAG": tag} if tag else {})
    return subprocess.Popen(
        [sys.executable, "-c", "input()"],
        stdin=subprocess.PIPE,
        env=environment,
        start_new_session=True,
        **options,
    )


def test_only_the_very_process_is_signalled() -> None:
    process = sleeper()
    identity = ProcessIdentity.of(process.pid)
    for other in (
        replace(identity, start_ticks=identity.start_ticks + 1),
        replace(identity, boot_id="another boot"),
    ):
        signal_group(other, signal.SIGKILL)
    assert process.poll() is None
    signal_group(identity, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    signal_group(identity, signal.SIGKILL)


def test_tagged_processes_are_found_and_killed_and_no_others() -> None:
    mine, other, untagged = sleeper("a" * 32), sleeper("b" * 32), sleeper()
    assert [process.pid for process in find_tagged("a" * 32)] == [mine.pid]
    assert kill_tagged("a" * 32) == 1
    mine.communicate()
    assert mine.returncode == -signal.SIGKILL
    assert kill_tagged("") == 0
    for process in (other, untagged):
        assert process.poll() is None
        process.communicate(b"\n")


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, "ended with status 0"), (-11, "killed by signal 11 (SIGSEGV)"), (-40, "killed by signal 40")],
)
def test_statuses_are_told_in_words(status: int, words: str) -> None:
    assert describe_status(status) == words
