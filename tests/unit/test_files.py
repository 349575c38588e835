"""Readers of files that anybody may have put there."""

from __future__ import annotations

import os
import socket
import tracemalloc
from pathlib import Path

import pytest

from tui_datasize import files


def irregular(path: Path) -> list[Path]:
    """A pipe, a directory, a device, a socket, a loop and what a link leads to, side by side."""
    made = [path / name for name in ("pipe", "directory", "device", "socket", "loop", "link")]
    os.mkfifo(made[0])
    made[1].mkdir()
    made[2].symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(made[3]))
    made[4].symlink_to(made[4])
    made[5].symlink_to(made[0])
    return made


def test_what_is_no_regular_file_is_told_and_not_waited_for(tmp_path: Path) -> None:
    for path in irregular(tmp_path):
        for read in (files.read_bounded, files.is_regular, files.open_regular, files.read_object):
            with pytest.raises(OSError, match=path.name):
                read(path)
        with pytest.raises(OSError, match=path.name):
            files.read_end(path, 10)


def test_files_are_read_up_to_a_size_and_large_ones_cost_nothing(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    assert files.read_bounded(file, 10) == b"0123456789"
    assert files.read_end(file, 10) == (b"0123456789", False)
    assert files.read_end(file, 3) == (b"789", True)
    with pytest.raises(OSError, match="larger than"):
        files.read_bounded(file, 9)
    os.truncate(file, 40 * 10**9)
    with pytest.raises(OSError, match="larger than 17 MB"):
        files.read_bounded(file)
    assert files.read_end(file, 3) == (b"\0\0\0", True)


def test_reading_takes_the_memory_of_the_file_and_not_of_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 300_000)
    tracemalloc.start()
    try:
        for read in (files.read_bounded, files.read_end):
            tracemalloc.reset_peak()
            read(file, 2**28)
            assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_what_grows_or_tells_no_size_is_read_to_its_end_or_limit(tmp_path: Path, monkeypatch) -> None:
    told = files.read_bounded(Path("/proc/self/status"))
    assert told.startswith(b"Name:")
    assert told.endswith(b"\n")
    with pytest.raises(OSError, match="larger than"):
        files.read_bounded(Path("/proc/self/status"), 100)
    file = tmp_path / "file"
    file.write_bytes(b"x" * 300_000)
    empty = Path("/proc/self/status").stat()
    assert empty.st_size == 0
    monkeypatch.setattr(os, "fstat", lambda _descriptor: empty)
    assert files.read_bounded(file, 300_000) == file.read_bytes()
    with pytest.raises(OSError, match="larger than"):
        files.read_bounded(file, 299_999)


def test_appending_makes_a_file_and_takes_no_pipe(tmp_path: Path) -> None:
    with files.open_regular(tmp_path / "new", "ab") as stream:
        stream.write(b"a")
    assert (tmp_path / "new").read_bytes() == b"a"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe"):
        files.open_regular(tmp_path / "pipe", "ab")


@pytest.mark.parametrize(
    "text",
    [
        *("", "[1]", "null", "{", b"\xff\xfe{}", b"\0" * 10, '{"a": 1} {}'),
        *('{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}', '{"a": 9223372036854775808}'),
        '{"a": ' + "9" * 6000 + "}",
        *('{"a": "\\ud800"}', '{"\\udfff": 1}'),
        '{"a": ' + "[" * 41 + "]" * 41 + "}",
        '{"a": ' + "[" * 100_000,
        '{"a":' * 100_000,
    ],
)
def test_what_is_no_object_of_ours_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        files.parse_object(text)


def test_objects_of_ours_are_read() -> None:
    text = '{"a": [[1, -9223372036854775808, 2.5e-3, true, null]], "\\ud83d\\ude00": "\\\\ud800 ä"}'
    assert files.parse_object(text) == {"a": [[1, -(2**63), 0.0025, True, None]], "😀": "\\ud800 ä"}
    assert files.parse_object('{"a": ' + "[" * 39 + "]" * 39 + "}")
