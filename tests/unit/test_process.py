from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tui_datasize.jobs.process import describe_status, find_tagged, kill_tagged, signal_group
from tui_datasize.jobs.slots import (
    SlotHolder,
    describe_holders,
    read_holders,
    slot_directory,
    take_slots,
)
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


def test_a_slot_is_taken_until_every_copy_of_its_lock_is_closed(tmp_path: Path) -> None:
    first = take_slots(tmp_path / "slots", "cpu", 3, 2, tmp_path)
    assert len(first) == 2
    (last,) = take_slots(tmp_path / "slots", "cpu", 3, 3, tmp_path)
    assert take_slots(tmp_path / "slots", "cpu", 3, 3, tmp_path) == []
    heir = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=first)
    for descriptor in first:
        os.close(descriptor)
    assert take_slots(tmp_path / "slots", "cpu", 3, 3, tmp_path) == []
    heir.kill()
    heir.communicate()
    again = take_slots(tmp_path / "slots", "cpu", 3, 3, tmp_path)
    assert len(again) == 2
    for descriptor in (*again, last):
        os.close(descriptor)


def test_devices_have_slots_of_their_own(tmp_path: Path) -> None:
    taken = [take_slots(tmp_path, device, 1, 1, tmp_path) for device in ("GPU-a", "GPU-b")]
    assert [len(slots) for slots in taken] == [1, 1]
    for (descriptor,) in taken:
        os.close(descriptor)


def test_a_slot_tells_who_has_it_and_only_its_lock_decides(tmp_path: Path) -> None:
    here, there = Path("/here"), Path("/there")
    (slot,) = take_slots(tmp_path, "cpu", 2, 1, here)
    others = take_slots(tmp_path, "cpu", 2, 2, there)
    assert read_holders(tmp_path) == [
        SlotHolder("cpu", "/here", os.getpid()),
        SlotHolder("cpu", "/there", os.getpid()),
    ]
    assert describe_holders(read_holders(tmp_path), here, 2) == "1 of 2 CPU slots is used by /there (1)"
    os.close(slot)
    (tmp_path / "cpu.1").write_text("of another version")
    assert read_holders(tmp_path) == [SlotHolder("cpu", "", 0)]
    for descriptor in others:
        os.close(descriptor)
    assert read_holders(tmp_path) == []


def test_slots_lie_where_the_environment_says_or_in_the_runtime_directory() -> None:
    assert slot_directory({"DATASIZE_SLOTS_DIR": "/some/where"}) == Path("/some/where")
    assert slot_directory({}).is_absolute()
