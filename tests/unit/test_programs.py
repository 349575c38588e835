"""Other programs that are started, and what they must not execute by the way."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import tui_datasize
from tui_datasize.jobs.queue.spec_file import _git_state
from tui_datasize.programs import git, private_caches, python_code, python_module

PACKAGE = Path(tui_datasize.__file__).parent
STARTING = {
    "cli/doctor.py": ["subprocess.run", "subprocess.run"],
    "experiments/images/look.py": ["subprocess.run"],
    "jobs/queue/file_systems.py": ["subprocess.run"],
    "jobs/scheduler/launch.py": ["subprocess.Popen"],
    "jobs/scheduler/notify.py": ["subprocess.Popen"],
    "jobs/scheduler/gpu_probes.py": ["subprocess.Popen"],
    "jobs/scheduler/slurm/calls.py": ["subprocess.Popen"],
    "jobs/scheduler/slurm/probe.py": ["subprocess.run"],
    "jobs/workers/spawn.py": ["subprocess.Popen"],
    "jobs/workers/warm.py": ["subprocess.Popen"],
    "programs.py": ["subprocess.run"],
    "training/decoders.py": ["subprocess.Popen"],
    "training/selftest/devices.py": ["subprocess.run"] * 3,
    "training/selftest/end_to_end.py": ["subprocess.run"] * 3,
    "training/selftest/runner.py": ["subprocess.Popen"],
    "training/selftest/speed.py": ["subprocess.run"],
    "tui/exports.py": ["subprocess.run"],
    "tui/doctor_dialog.py": ["asyncio.create_subprocess_exec"],
}
"""Where programs are started: the one that is added here must start no interpreter and no git of its own."""
STARTERS = (
    *("subprocess.", "asyncio.create_subprocess", "os.exec", "os.spawn", "os.posix_spawn", "os.system"),
    *("os.popen", "multiprocessing.", "pty.spawn", "runpy."),
)
STARTERS_MODULES = "|".join(sorted({name.partition(".")[0] for name in STARTERS}))


@cache
def nodes(file: Path, words: str) -> tuple[ast.AST, ...]:
    """All of a file that has one of the words, for to read them takes long."""
    text = file.read_text()
    return tuple(ast.walk(ast.parse(text))) if re.search(rf"\b({words})\b", text) else ()


def dotted(node: ast.AST) -> str:
    """The name of what is called, empty before what has none."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls(file: Path) -> Iterator[str]:
    for node in nodes(file, STARTERS_MODULES):
        if isinstance(node, ast.Call) and (name := dotted(node.func)).startswith(STARTERS):
            yield name


def test_programs_are_started_where_they_are_known_to_be() -> None:
    found = {
        str(file.relative_to(PACKAGE)): sorted(calls(file))
        for file in PACKAGE.rglob("*.py")
        if any(calls(file))
    }
    assert found == STARTING


def test_interpreters_and_git_are_named_in_one_place_alone() -> None:
    for file in PACKAGE.rglob("*.py"):
        found = nodes(file, "executable|git")
        attributes = [node for node in found if isinstance(node, ast.Attribute)]
        names = {ast.unparse(node) for node in attributes if node.attr == "executable"}
        words = {node.value for node in found if isinstance(node, ast.Constant)}
        if file.name != "programs.py":
            assert "sys.executable" not in names, file
            assert not words & {"git"}, file


@pytest.mark.parametrize("command", [python_module("json.tool", "--help"), python_code("import json")])
def test_no_module_of_the_current_directory_is_imported(tmp_path: Path, command: tuple[str, ...]) -> None:
    for name in ("torch", "json", "argparse"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the current directory')")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "current directory" not in done.stdout + done.stderr


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One with a changed file, whose own configuration would have git execute things."""
    root = tmp_path / "repository"
    root.mkdir()
    (root / "a").write_text("1")
    (root / ".gitattributes").write_text("a filter=evil")
    for arguments in (
        ("init", "-q"),
        ("add", "."),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first"),
    ):
        subprocess.run(["git", *arguments], cwd=root, check=True)
    (root / "a").write_text("2")
    touch = tmp_path / "touch"
    touch.write_text(f"#!/bin/sh\ntouch {tmp_path}/executed\ncat\n")
    touch.chmod(0o700)
    for name in (
        *("core.fsmonitor", "core.pager", "pager.status", "diff.external", "filter.evil.clean"),
        *("filter.evil.process", "core.sshCommand", "core.editor", "diff.evil.textconv"),
    ):
        subprocess.run(["git", "config", name, str(touch)], cwd=root, check=True)
    (root / ".git/hooks").mkdir(exist_ok=True)
    for hook in ("post-index-change", "fsmonitor-watchman"):
        (root / ".git/hooks" / hook).symlink_to(touch)
    return root


def test_git_executes_nothing_that_a_repository_names(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", str(repository.parent / "touch"))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    commit, dirty = _git_state(repository)
    assert commit is not None
    assert len(commit) == 40
    assert dirty is True
    (repository / "a").write_text("1")
    assert _git_state(repository)[1] is False
    assert not (repository.parent / "executed").exists()


def test_filters_of_the_user_are_used(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    subprocess.run(["git", "config", "--remove-section", "filter.evil"], cwd=repository, check=True)
    (tmp_path / ".gitconfig").write_text('[filter "evil"]\n\tclean = "tr 2 1"\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _git_state(repository)[1] is False


def test_what_cannot_be_asked_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _git_state(tmp_path) == (None, None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git(tmp_path, "version") is None


def test_libraries_keep_nothing_where_others_can_take_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty file of anybody in the shared temporary directory once failed every run."""
    shared, cache = tmp_path / "shared", tmp_path / "cache"
    shared.mkdir()
    for name in (f"torchinductor_{os.environ.get('USER', 'root')}", "torchinductor_root"):
        (shared / name).touch()
    monkeypatch.setenv("TMPDIR", str(shared))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    for variable in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "POLARS_TEMP_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("tempfile.tempdir", None)
    before = sorted(shared.iterdir())
    for variable, place in private_caches().items():
        monkeypatch.setenv(variable, place)
    # What they do as they are imported is seen by the sweep that is really trained.
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    assert Path(cache_dir()).is_relative_to(cache)
    assert sorted(shared.iterdir()) == before
    assert (cache / "datasize-tui/libraries").stat().st_mode & 0o777 == 0o700
    mine = {"TORCHINDUCTOR_CACHE_DIR": "/mine"}
    assert "TORCHINDUCTOR_CACHE_DIR" not in private_caches(mine)


def test_a_user_without_a_cache_has_a_new_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    place = Path(private_caches({})["TRITON_CACHE_DIR"]).parent
    assert place.parent == tmp_path
    assert place.stat().st_mode & 0o777 == 0o700
