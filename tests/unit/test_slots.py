"""The slots of one machine: taken until their holder goes, whatever becomes of the files."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from tui_datasize.jobs.scheduler.slots import (
    Slot,
    SlotHolder,
    describe_holders,
    earlier_directories,
    read_holders,
    slot_directory,
    take_slots,
)
from tui_datasize.jobs.scheduler.waiting_projects import WaitingProjects
from tui_datasize.jobs.workers import slot_file


@pytest.fixture
def slots(tmp_path: Path) -> Path:
    return tmp_path / "slots"


@contextmanager
def worker(slots: Sequence[Slot]) -> Iterator[int]:
    """A process that has inherited slots, of which nobody else has a copy; its number."""
    descriptors = [descriptor for slot in slots for descriptor in slot.descriptors]
    heir = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=descriptors)
    for slot in slots:
        slot.close()
    try:
        yield heir.pid
    finally:
        heir.kill()
        heir.communicate()


def count(slots: Path, capacity: int, earlier: Sequence[Path] = ()) -> int:
    """Slots that can be taken now."""
    taken = take_slots(slots, "cpu", capacity, capacity, Path("/other"), earlier)
    for slot in taken:
        slot.close()
    return len(taken)


def test_a_slot_is_taken_until_every_copy_of_its_lock_is_closed(slots: Path, tmp_path: Path) -> None:
    first = take_slots(slots, "cpu", 3, 2, tmp_path)
    assert len(first) == 2
    (last,) = take_slots(slots, "cpu", 3, 3, tmp_path)
    assert count(slots, 3) == 0
    with worker(first):
        assert count(slots, 3) == 0
    assert count(slots, 3) == 2
    last.close()


def test_devices_have_slots_of_their_own(slots: Path) -> None:
    taken = [take_slots(slots, device, 1, 1, Path("/here")) for device in ("GPU-a", "GPU-b")]
    assert [len(found) for found in taken] == [1, 1]
    for (slot,) in taken:
        slot.close()


def test_a_slot_tells_who_has_it_and_only_its_lock_decides(slots: Path) -> None:
    here, there = Path("/here"), Path("/there")
    (slot,) = take_slots(slots, "cpu", 2, 1, here)
    others = take_slots(slots, "cpu", 2, 2, there)
    assert read_holders(slots) == [
        SlotHolder("cpu", "/here", os.getpid()),
        SlotHolder("cpu", "/there", os.getpid()),
    ]
    assert describe_holders(read_holders(slots), here, 2) == "1 of 2 CPU slots is used by /there (1)"
    slot.close()
    (slots / "cpu.1").write_text("of another version")
    assert read_holders(slots) == [SlotHolder("cpu", "", 0)]
    for slot in others:
        slot.close()
    assert read_holders(slots) == []


def delete(path: Path) -> None:
    path.unlink() if path.is_file() else shutil.rmtree(path)


def move(path: Path) -> None:
    path.rename(path.with_name("moved"))


def move_and_delete(path: Path) -> None:
    delete(path.rename(path.with_name("moved")))


@pytest.mark.parametrize("what", ["file", "directory", "all above"])
@pytest.mark.parametrize("goes", [delete, move, move_and_delete])
def test_slots_whose_files_go_under_a_worker_are_still_taken(
    slots: Path, tmp_path: Path, what: str, goes: Callable[[Path], None]
) -> None:
    place = slots / "deep" / "slots"
    gone = {"file": place / "cpu.0", "directory": place, "all above": slots}[what]
    with worker(take_slots(place, "cpu", 2, 1, tmp_path)):
        goes(gone)
        for _ in range(3):
            assert count(place, 2) == 1
    assert count(place, 2) == 2


@pytest.mark.parametrize("goes", [delete, move])
def test_slots_of_a_directory_that_comes_back_are_those_of_the_one_in_between(
    slots: Path, tmp_path: Path, goes: Callable[[Path], None]
) -> None:
    assert count(slots, 2) == 2
    kept = slots.rename(tmp_path / "kept")
    with worker(take_slots(slots, "cpu", 2, 1, tmp_path)):
        goes(slots)
        kept.rename(slots)
        for _ in range(3):
            assert count(slots, 2) == 1
    assert count(slots, 2) == 2


@pytest.mark.parametrize("depth", [1, 2])
def test_slots_below_a_directory_that_comes_back_are_those_of_the_one_in_between(
    tmp_path: Path, depth: int
) -> None:
    """Whose own directory is as it was: one above it went, and another one stood in its place."""
    slots = tmp_path / "above" / "state" / "slots"
    above = slots.parents[depth - 1]
    assert [count(slots, 2) for _ in range(2)] == [2, 2]
    kept = above.rename(tmp_path / "kept")
    with worker(take_slots(slots, "cpu", 2, 1, tmp_path)):
        move(above)
        kept.rename(above)
        for _ in range(3):
            assert count(slots, 2) == 1
    assert count(slots, 2) == 2


def test_processes_are_looked_at_once_for_all_slots_and_only_after_something_has_changed(
    slots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, look = [], slot_file._open_files
    monkeypatch.setattr(slot_file, "_open_files", lambda: looks.append(1) or look())
    assert [count(slots, 4) for _ in range(3)] == [4, 4, 4]
    assert len(looks) == 1
    (tmp_path / "another").touch()
    assert [count(slots, 4) for _ in range(3)] == [4, 4, 4]
    assert len(looks) == 2


def test_slots_of_another_place_are_not_these(slots: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "slots"
    with worker(take_slots(other, "cpu", 2, 2, tmp_path)):
        shutil.rmtree(other)
        assert count(slots, 2) == 2


def test_a_deleted_slot_whose_file_could_not_be_written_is_still_taken(
    slots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", fill)
        taken = take_slots(slots, "cpu", 2, 1, tmp_path)
    with worker(taken):
        shutil.rmtree(slots)
        assert count(slots, 2) == 1


def test_a_deleted_slot_is_found_with_whoever_has_it_while_processes_come_and_close_files(
    slots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder that begins: its descriptors change while they are read, and it came after the first look."""
    names, looks = slot_file._list, []

    def changing(directory: str) -> Sequence[str]:
        if directory == "/proc":
            looks.append(directory)
            return [name for name in names(directory) if len(looks) > 1 or name != str(heir)]
        return ["99999", *names(directory)]

    with worker(take_slots(slots, "cpu", 2, 1, tmp_path)) as heir:
        (slots / "cpu.0").unlink()
        monkeypatch.setattr(slot_file, "_list", changing)
        assert count(slots, 2) == 1


@pytest.mark.parametrize("goes", [delete, move])
def test_a_slot_on_its_way_is_lost_once_its_file_goes(
    slots: Path, tmp_path: Path, goes: Callable[[Path], None]
) -> None:
    ((descriptor,),) = [slot.descriptors for slot in take_slots(slots, "cpu", 1, 1, tmp_path)]
    assert not slot_file.is_lost(descriptor)
    goes(slots)
    assert slot_file.is_lost(descriptor)
    slots.mkdir()
    (slots / "cpu.0").touch()
    assert slot_file.is_lost(descriptor)
    os.close(descriptor)


def test_a_slot_whose_file_goes_between_two_steps_is_not_taken(
    slots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fcntl.flock

    def lock_and_delete(descriptor: int, how: int) -> None:
        lock(descriptor, how)
        (slots / "cpu.0").unlink(missing_ok=True)

    monkeypatch.setattr(fcntl, "flock", lock_and_delete)
    assert take_slots(slots, "cpu", 1, 1, Path("/here")) == []


def test_slots_are_those_of_an_earlier_version_too(slots: Path, tmp_path: Path) -> None:
    """An old scheduler knows only the old place; whoever upgrades has both running for a while."""
    old = tmp_path / "session" / "slots"
    assert count(slots, 2, [old]) == 2
    assert not old.exists()
    with worker(take_slots(old, "cpu", 2, 1, tmp_path)):
        assert count(slots, 2, [old]) == 1
        mine = take_slots(slots, "cpu", 2, 2, tmp_path, [old])
        assert count(old, 2) == 0
        for slot in mine:
            slot.close()
        # It goes with the login session, and a link in its place is not followed.
        shutil.rmtree(old)
        old.symlink_to(tmp_path)
        assert count(slots, 2, [old]) == 2
    assert not (tmp_path / "cpu.0").exists()


def test_links_are_not_followed(slots: Path, tmp_path: Path) -> None:
    slots.mkdir(mode=0o700)
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (slots / "cpu.0").symlink_to(precious)
    with pytest.raises(OSError, match="symbolic link"):
        take_slots(slots, "cpu", 1, 1, tmp_path)
    turns = WaitingProjects(slots, tmp_path)
    turns._directory.mkdir(mode=0o700)
    turns._own.symlink_to(precious)
    with pytest.raises(OSError, match="symbolic link"):
        turns.wait(0)
    assert precious.read_text() == "kept"


def test_who_waits_is_seen_though_the_directory_was_removed(slots: Path) -> None:
    turns = WaitingProjects(slots, Path("/here"))
    turns.wait(0)
    shutil.rmtree(slots)
    turns.wait(0)
    assert turns._own.exists()
    turns.leave()


@pytest.mark.parametrize("mode", [0o777, 0o720])
@pytest.mark.parametrize("use", [read_holders, lambda slots: count(slots, 1)])
def test_a_directory_that_others_can_write_is_refused(
    slots: Path, mode: int, use: Callable[[Path], object]
) -> None:
    slots.mkdir()
    slots.chmod(mode)
    with pytest.raises(PermissionError, match="chmod 700"):
        use(slots)


def test_a_directory_of_another_user_is_refused_in_one_line(
    slots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(PermissionError, match=f"belongs to user {os.getuid()}; set DATASIZE_SLOTS_DIR"):
        count(slots, 1)


def test_slots_lie_where_the_environment_says_or_where_no_logout_removes_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = {"DATASIZE_SLOTS_DIR": "/some/where"}
    assert slot_directory(told) == Path("/some/where")
    assert earlier_directories(told) == ()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    assert slot_directory({}).is_relative_to(tmp_path / "datasize-tui" / "slots")
    assert slot_directory({}) == slot_directory({})
    assert Path("/run/user/1/datasize-tui/slots") in earlier_directories({"XDG_RUNTIME_DIR": "/run/user/1"})


@pytest.mark.parametrize("number", ["", "no number"])
def test_a_machine_without_a_number_has_slots_too(number: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_: number)
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(nodename="../lab-1.example"))
    assert slot_directory({}).name == "___lab-1_example"
