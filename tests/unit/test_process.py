from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tui_datasize.jobs.workers.process import ROOT_VARIABLE, ProjectProcesses, describe_status, root_mark
from tui_datasize.runlog.identity import ProcessIdentity

HERE = ProjectProcesses(Path.cwd())
signal_group, find_tagged, kill_tagged = HERE.signal_group, HERE.find_tagged, HERE.kill_tagged


def sleeper(tag: str = "", root: str = "", **options: Any) -> subprocess.Popen[bytes]:
    told = {"DATASIZE_TAG": tag, ROOT_VARIABLE: root}
    environment = os.environ | {name: value for name, value in told.items() if value}
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


def test_workers_of_a_copy_are_not_those_of_the_project(tmp_path: Path) -> None:
    """By their mark, wherever they work; those of earlier versions by where they work."""
    project, copy = tmp_path / "project", tmp_path / "copy"
    project.mkdir()
    (project / "below").mkdir()
    shutil.copytree(project, copy)
    marked = sleeper("a" * 32, root_mark(project), cwd=project / "below")
    old = sleeper("a" * 32, cwd=project)
    started = [marked, old]
    there = ProjectProcesses(copy)
    assert list(there.find_tagged("a" * 32)) == list(there.find_workers()) == []
    there.signal_group(ProcessIdentity.of(marked.pid), signal.SIGKILL)
    there.signal_group(ProcessIdentity.of(old.pid), signal.SIGKILL)
    assert there.kill_tagged("a" * 32) == 0
    assert [process.poll() for process in started] == [None, None]
    # One that was moved is the same.
    moved = project.rename(tmp_path / "moved")
    assert ProjectProcesses(moved).kill_tagged("a" * 32) == 2
    for process in started:
        process.communicate()


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, "ended with status 0"), (-11, "killed by signal 11 (SIGSEGV)"), (-40, "killed by signal 40")],
)
def test_statuses_are_told_in_words(status: int, words: str) -> None:
    assert describe_status(status) == words
