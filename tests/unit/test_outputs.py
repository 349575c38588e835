"""Every way to write a file that a person names, or the app does: it takes the place of nothing else."""

from __future__ import annotations

import ast
import errno
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

import tui_datasize
from tests.fakes import fake_spec, write_run
from tui_datasize.cli.dispatch import main
from tui_datasize.errors import StorageError
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.project_file import with_lines
from tui_datasize.tui.exports import TableInView, export_csv

SUFFIXES = {"export": ".csv", "report": ".html", "selftest": ".json"}
SOMEBODY = 12_345


def command(door: str, root: Path, file: str | Path) -> list[str]:
    """A whole command line that writes a file."""
    if door == "selftest":
        return ["selftest", "--cpu", "--busy", "-o", str(file)]
    words = ["export", "--table", "runs"] if door == "export" else ["report", "digits"]
    return [*words, "-o", str(file), "--project", str(root)]


def what_it_is(file: Path) -> tuple[int, int, int] | None:
    """Which file it is, what kind, and when it was written; reading it changes none of these."""
    if not os.path.lexists(file):
        return None
    now = file.lstat()
    return now.st_ino, now.st_mode, now.st_mtime_ns


@pytest.fixture
def root(project: ProjectPaths) -> Path:
    """A project with a run."""
    write_run(project, fake_spec("digits"))
    (project.root / "experiments.toml").write_text("")
    return project.root


def put(kind: str, root: Path, suffix: str) -> Path:
    """Something that no output may replace, though its name ends as it should."""
    target, file = root / f"target{suffix}", root / f"output{suffix}"
    target.write_text("mine")
    match kind:
        case "link":
            file.symlink_to(target)
        case "broken link":
            file.symlink_to(root / f"new{suffix}")
        case "pipe":
            os.mkfifo(file)
        case "folder":
            file.mkdir()
        case "another user's":
            file.write_text("theirs")
            os.chown(file, SOMEBODY, SOMEBODY)
        case "device":
            os.mknod(file, 0o600 | 0o020000, os.makedev(1, 3))
        case "part of a run":
            return root / "runs" / "digits" / f"page{suffix}"
    return file


KINDS = ["link", "broken link", "pipe", "folder", "part of a run", "another user's", "device"]


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("door", SUFFIXES)
def test_what_is_no_own_file_is_never_replaced(root, capsys, door, kind, force):
    if kind in ("another user's", "device") and os.geteuid():
        pytest.skip("only root makes them")
    file = put(kind, root, SUFFIXES[door])
    before = what_it_is(file)
    assert main([*command(door, root, file), *force]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(file) in line
    assert "name another file" in line
    assert what_it_is(file) == before
    assert (root / f"target{SUFFIXES[door]}").read_text() == "mine"


@pytest.mark.parametrize("door", ["export", "selftest"])
def test_the_file_of_a_project_is_never_replaced(root, capsys, door):
    for name in ("experiments.toml", "runs/queue.db"):
        assert main([*command(door, root, root / name), "--force"]) == 2
        assert "belongs to a project" in capsys.readouterr().err
    assert (root / "experiments.toml").read_text() == ""


@pytest.mark.parametrize("door", ["export", "selftest"])
def test_a_file_of_another_kind_is_kept_without_a_word(root, capsys, door):
    file = root / "notes.txt"
    file.write_text("mine")
    assert main(command(door, root, file)) == 2
    assert f"is no {SUFFIXES[door]} file; --force replaces it" in capsys.readouterr().err
    assert file.read_text() == "mine"


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_of_the_screen_takes_the_place_of_nothing_else(tmp_path, kind, monkeypatch):
    if kind in ("another user's", "device") and os.geteuid():
        pytest.skip("only root makes them")
    table = TableInView("output", lambda: pl.DataFrame({"a": [1]}))
    now = datetime(2026, 1, 2, 3, 4, 5)
    (tmp_path / "experiments.toml").touch()
    (tmp_path / "runs" / "digits").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    file = put(kind, tmp_path, "-20260102-030405.csv")
    before = what_it_is(file)
    where = file.parent if kind == "part of a run" else tmp_path
    first, second = (export_csv(table, where, now) for _ in range(2))
    assert what_it_is(file) == before
    assert first != second
    assert len(list(tmp_path.glob("output-20260102-030405*.csv"))) == 2 + (file.parent == tmp_path)


def test_what_a_project_does_not_take_goes_to_the_home_directory(tmp_path, monkeypatch):
    table = TableInView("output", lambda: pl.DataFrame({"a": [1]}))
    now = datetime(2026, 1, 2, 3, 4, 5)
    monkeypatch.setenv("HOME", str(tmp_path))
    gone = tmp_path / "gone"
    file = tmp_path / "output-20260102-030405.csv"
    assert export_csv(table, gone, now) == f"wrote 1 row to {file}: {gone} takes no files"
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))
    with pytest.raises(StorageError, match="no folder") as refused:
        export_csv(table, gone, now)
    assert str(gone) in refused.value.line


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_what_a_full_disk_does_not_take_may_be_tried_again(root, capsys, monkeypatch, number):
    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    lines = ["note", "digits", "x", "--project", str(root)]
    commands = [command(door, root, root / f"new{SUFFIXES[door]}") for door in ("export", "report")]
    monkeypatch.setattr(os, "fsync", full)
    for words in (lines, *commands):
        assert main(words) == 3
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith(f"cannot be written: {os.strerror(number)}; make room, then try again")
    with pytest.raises(StorageError) as refused:
        with_lines(root / "experiments.toml", "[machine]").write()
    assert refused.value.exit_status == 3


def refusals_of_the_system(tree: ast.AST) -> Iterator[str]:
    """How errors are made where the system has refused something."""
    for handler in ast.walk(tree):
        caught = ast.walk(handler.type) if isinstance(handler, ast.ExceptHandler) and handler.type else ()
        if any(isinstance(node, ast.Name) and node.id == "OSError" for node in caught):
            made = (node.exc for node in ast.walk(handler) if isinstance(node, ast.Raise))
            yield from (ast.unparse(call.func) for call in made if isinstance(call, ast.Call))


def test_an_error_of_the_system_says_everywhere_whether_to_try_again():
    package = Path(tui_datasize.__path__[0])
    files = {file: file.relative_to(package).parts for file in package.rglob("*.py")}
    # What a training raises ends in the words of `training/failures.py`; a scheduler waits by itself.
    files = [file for file, rooms in files.items() if rooms[0] != "training" and "scheduler" not in rooms]
    made = {one for file in files for one in refusals_of_the_system(ast.parse(file.read_text()))}
    assert {one for one in made if not one.endswith("Error.of")} == {"unreadable"}
