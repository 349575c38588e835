"""Where a queue may be kept: known file systems, those of a network, and others, which are tried out."""

from __future__ import annotations

import fcntl
import mmap
import os
from contextlib import closing
from pathlib import Path

import pytest

from tests.fakes import fake_sweep
from tui_datasize.errors import StorageError
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue import file_systems, requests
from tui_datasize.jobs.queue.file_systems import check_file_system, file_system, try_out
from tui_datasize.jobs.queue.store import Store
from tui_datasize.runlog.paths import ProjectPaths

MOUNTS = (
    rb"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:35 / /net rw,relatime shared:2 - nfs4 server:/export rw
41 22 0:36 / /net/local\040disk rw,relatime - xfs /dev/sdb rw
42 22 0:37 / /net/tab\011line\012back\134slash rw - btrfs /dev/sdc rw
44 22 0:39 / /auto rw - autofs systemd-1 rw
45 44 0:40 / /auto rw - cifs //server/share rw
broken
46 22 0:41 / /nothing rw -
"""
    + "43 22 0:38 / /Daten/größe rw,relatime - nfs server:/größe rw\n".encode()
    + b"47 22 0:42 / /latin/gr\xf6\xdfe rw,relatime - nfs server:/g rw\n"
)


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        ("/home", "ext4"),
        ("/network", "ext4"),
        ("/net/home", "nfs4"),
        ("/net/local disk/x", "xfs"),
        ("/net/tab\tline\nback\\slash/x", "btrfs"),
        ("/Daten/größe/projekt", "nfs"),
        ("/Daten/andere", "ext4"),
        (os.fsdecode(b"/latin/gr\xf6\xdfe/x"), "nfs"),
        ("/auto/x", "cifs"),
        ("/nothing/x", "ext4"),
    ],
)
def test_the_mount_closest_above_tells_the_type(directory: str, kind: str) -> None:
    assert file_system(Path(directory), MOUNTS) == kind


def test_a_system_that_tells_no_mounts_has_an_unknown_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_systems, "_MOUNTS", tmp_path / "missing")
    assert "(unknown) that may be one of a network" in check_file_system(tmp_path)


def mounted(kind: str) -> bytes:
    return f"22 1 254:0 / / rw,relatime shared:1 - {kind} source rw\n".encode()


@pytest.mark.parametrize("kind", ["ext2", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "bcachefs", "fuseblk"])
def test_known_local_types_pass_untried(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_systems, "try_out", lambda _directory: pytest.fail("tried out"))
    assert check_file_system(tmp_path, mounted(kind)) == ""


@pytest.mark.parametrize("kind", ["nfs4", "fuse.ceph-fuse", "fuse.rclone", "gfs2", "cifs"])
def test_types_of_a_network_are_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(StorageError, match=rf"network file system \({kind}\).*local disk"):
        check_file_system(tmp_path, mounted(kind))


@pytest.mark.parametrize("kind", ["9p", "fuse.unheard-of"])
def test_others_are_tried_out_and_told(tmp_path: Path, kind: str) -> None:
    assert f"({kind}) that may be one of a network" in check_file_system(tmp_path, mounted(kind))
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_work_between_two_processes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("flock", "lockf"):
        with monkeypatch.context() as patch:
            patch.setattr(fcntl, name, lambda *_: None)
            with pytest.raises(StorageError, match=r"\(9p\) where .* does not keep out another"):
                check_file_system(tmp_path, mounted("9p"))
    real = mmap.mmap
    monkeypatch.setattr(mmap, "mmap", lambda number, size: real(number, size, flags=mmap.MAP_PRIVATE))
    with pytest.raises(StorageError, match="memory that one process writes is not seen by another"):
        check_file_system(tmp_path, mounted("9p"))


def test_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", without)
    assert "cannot be locked" in try_out(tmp_path)


def test_a_second_process_that_fails_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_systems, "python_module", lambda _module, *names: ("false", *names))
    assert try_out(tmp_path).startswith("another process failed there")


def test_it_is_told_once_at_queueing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(file_systems, "file_system", lambda *_: "9p")
    monkeypatch.setattr(QueueClient, "ensure_scheduler", lambda _client: None)
    monkeypatch.setattr(requests, "ANSWER_WITHIN_S", 0.0)
    client = QueueClient(ProjectPaths(tmp_path))
    for _ in range(2):
        print(client.request(requests.Enqueue(fake_sweep()[:1])).sentence)
    assert capsys.readouterr().out.count("(9p) that may be one of a network") == 1
    # A scheduler that begins tries again, and goes on.
    with closing(Store(client.project.queue)):
        pass
