from __future__ import annotations

from pathlib import Path

import pytest

from tui_datasize.runlog.atomic import write_bytes, write_json


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_bytes(target, b"old")
    write_bytes(target, b"new")
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failing_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.mkdir()
    with pytest.raises(OSError, match="directory"):
        write_bytes(target, b"new")
    assert list(tmp_path.iterdir()) == [target]


def test_json_is_readable_and_strict(tmp_path: Path) -> None:
    target = tmp_path / "file.json"
    write_json(target, {"name": "Zürich", "value": None})
    assert target.read_text() == '{\n  "name": "Zürich",\n  "value": null\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(target, {"value": float("nan")})
    assert "Zürich" in target.read_text()
