"""Whether a queue can be kept on a file system: known by its type, or tried out between two processes.

Run as a program it is the second of these processes.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from tui_datasize.errors import StorageError
from tui_datasize.programs import python_module

KEEP_LOCAL = "put the project on a local disk, or make its runs/ a symbolic link to a local directory"
_NETWORK = frozenset(
    {"afs", "beegfs", "ceph", "ceph-fuse", "cifs", "coda", "curlftpfs", "cvmfs2", "davfs", "fhgfs", "gcsfuse"}
    | {"gfs2", "glusterfs", "gpfs", "juicefs", "lizardfs", "lustre", "mfs", "moosefs", "mountpoint-s3"}
    | {"ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "rclone", "s3fs", "smb3", "smbfs"}
    | {"smbnetfs", "sshfs", "wekafs"}
)
"""Types of which several machines may mount the same, in FUSE or not."""
_LOCAL = frozenset(
    {"aufs", "bcachefs", "btrfs", "ecryptfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "hfs"}
    | {"hfsplus", "jffs2", "jfs", "msdos", "nilfs2", "ntfs", "ntfs3", "overlay", "ramfs", "reiser4"}
    | {"reiserfs", "rootfs", "tmpfs", "ubifs", "udf", "vfat", "xfs", "zfs"}
)
_UNKNOWN = "unknown"
_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(rb"\\([0-7]{3})")
_WITHIN_S = 20.0
_ASKED, _ANSWERED = b"asked   ", b"answered"


def check_file_system(directory: Path, mounts: bytes | None = None) -> str:
    """One sentence on what is doubtful about where `directory` lies; empty on a known local file system.

    On those of a network neither SQLite's shared memory nor `flock` can be relied on (sqlite.org/wal.html,
    "All processes using a database must be on the same host computer"). Something is written in the
    directory if its file system is of another type. `mounts` is text in the form of proc_pid_mountinfo(5),
    read from the system when None.

    Raises StorageError: the file system is known for being one of a network, or fails when it is tried out.
    Raises OSError: the directory cannot be written.
    """
    kind = file_system(directory, mounts)
    if kind in _LOCAL:
        return ""
    if kind.removeprefix("fuse.") in _NETWORK:
        what = f"is on a network file system ({kind}), where the queue cannot be kept safely"
        raise StorageError(what, where=str(directory), fix=KEEP_LOCAL)
    if fault := try_out(directory):
        what = f"is on a file system ({kind}) where the queue cannot be kept safely: {fault}"
        raise StorageError(what, where=str(directory), fix=KEEP_LOCAL)
    return (
        f"{directory} is on a file system ({kind}) that may be one of a network: locks and shared memory "
        "work between two processes here; use the project on this machine alone"
    )


def file_system(directory: Path, mounts: bytes | None = None) -> str:
    """Type of the file system of an existing directory, such as `ext4`; `mounts` as above."""
    if mounts is None:
        try:
            mounts = _MOUNTS.read_bytes()
        except OSError:
            return _UNKNOWN
    directory = directory.resolve()
    best, kind = 0, _UNKNOWN
    for mount_point, mounted in _mounted(mounts):
        # Of several at one place the last covers the others.
        if directory.is_relative_to(mount_point) and len(mount_point.parts) >= best:
            best, kind = len(mount_point.parts), mounted
    return kind


def _mounted(mounts: bytes) -> Iterator[tuple[Path, str]]:
    """Mount points with the types of what is mounted there."""
    for line in mounts.split(b"\n"):
        left, _, right = line.partition(b" - ")
        fields, kind = left.split(b" "), right.split(b" ")[0]
        if len(fields) > 4 and kind:
            # Blanks, line breaks and backslashes are written in octal, all else as it is.
            place = _ESCAPED.sub(lambda found: bytes([int(found[1], 8) & 0xFF]), fields[4])
            yield Path(os.fsdecode(place)), os.fsdecode(kind)


def try_out(directory: Path) -> str:
    """What of locks and shared memory fails between two processes of this machine; empty if nothing does."""
    with (
        tempfile.NamedTemporaryFile(dir=directory, prefix=".try-") as first,
        tempfile.NamedTemporaryFile(dir=directory, prefix=".try-") as second,
    ):
        # Written, not only made longer: a page that finds no room on the disk would end the process.
        second.write(_ASKED.ljust(mmap.PAGESIZE))
        second.flush()
        try:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
            memory = mmap.mmap(second.fileno(), mmap.PAGESIZE)
        except OSError as error:
            return f"files cannot be locked, or not be mapped into memory ({error.strerror})"
        with memory:
            memory[: len(_ASKED)] = _ASKED.upper()
            fault = _ask_another_process(first.name, second.name)
            if not fault and memory[: len(_ANSWERED)] != _ANSWERED:
                fault = "memory that one process writes is not seen by another"
    return fault


def _ask_another_process(*names: str) -> str:
    command = python_module("tui_datasize.jobs.queue.file_systems", *names)
    try:
        done = subprocess.run(command, capture_output=True, timeout=_WITHIN_S, check=False)
    except subprocess.TimeoutExpired:
        return f"another process did not answer within {_WITHIN_S:.0f} s"
    if done.returncode:
        return f"another process failed there ({os.fsdecode(done.stderr).strip().rpartition(chr(10))[2]})"
    return os.fsdecode(done.stdout).strip()


def _is_kept_out(lock: Callable[[BinaryIO, int], None], file: BinaryIO) -> bool:
    try:
        lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _fault_seen(first: str, second: str) -> str:
    """What fails as the second process sees it, of files that the first has locked and mapped."""
    with Path(first).open("r+b") as file:
        if not _is_kept_out(fcntl.flock, file):
            return "a lock (flock) that one process holds does not keep out another"
    with Path(second).open("r+b") as file:
        if not _is_kept_out(fcntl.lockf, file):
            return "a lock (fcntl) that one process holds does not keep out another"
        with mmap.mmap(file.fileno(), mmap.PAGESIZE) as memory:
            if memory[: len(_ASKED)] != _ASKED.upper():
                return "memory that one process writes is not seen by another"
            memory[: len(_ANSWERED)] = _ANSWERED
    return ""


if __name__ == "__main__":
    print(_fault_seen(*sys.argv[1:]))
