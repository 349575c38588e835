"""Refusals of an import: each names the option or the action that settles it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import tui_datasize.runlog.importing as package
from tests.unit.import_desk import event_file

FILES = sorted(Path(package.__path__[0]).glob("*.py"))


def refusals(tree: ast.AST) -> Iterator[ast.Call]:
    """All errors that are shown to a person; a ValueError is made one of these where it is caught.

    That of a key of a TOML file says what is expected there.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called.removesuffix(".of") in ("ConfigError", "StorageError") or re.fullmatch(
                r"(?!table).*\.error", called
            ):
                yield node


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_refusal_is_made_with_a_way_out(file):
    for call in refusals(ast.parse(file.read_text())):
        fix = next((word.value for word in call.keywords if word.arg == "fix"), None)
        assert fix is not None, f"{file.name}, line {call.lineno}"
        assert not (isinstance(fix, ast.Constant) and not fix.value), f"{file.name}, line {call.lineno}"


def test_the_refusals_are_found():
    assert sum(len([*refusals(ast.parse(file.read_text()))]) for file in FILES) > 40


EVENTS = event_file((1, "test_accuracy", 1.5), (2, "test_accuracy", 250.0))


@pytest.mark.parametrize(
    ("name", "content", "fix"),
    [
        ("a.csv", "n,seed,test_acc\n500,0,0.7\n".encode("utf-16-le"), "without its mark; save its table as"),
        ("a.csv", "n,seed,test_acc\n500,0,0.7\n".encode("utf-16-be"), "without its mark; save its table as"),
        ("a.npy", b"\x93NUMPY\x01\0" + bytes(range(64)), "; save its table as CSV in UTF-8"),
        ("folder/a.txt", "no log\n", "; name the files themselves, or save a table as CSV"),
        ("n5_s1/events.out.tfevents.1", EVENTS, "; --skip-line 2 leaves the record out, --ignore test_acc"),
        ("run/events.out.tfevents.1", EVENTS, "; give --column size=COLUMN, a --run-pattern or --size N"),
        ("a.jsonl", '{"n": 5, "loss": 1}\n{"n": 6, "loss": "x"}\n', "; --skip-line 2 leaves the line out"),
        ("a.jsonl", '{"n": 5, "loss": 1}\n{"n": 6, "loss": -1}\n', "; --skip-line 2 leaves the line out"),
        ("a.json", '[{"n": 5, "loss": 1}, {"n": 6.5, "loss": 1}]', "; --skip-line 2 leaves the record out"),
    ],
)
def test_a_refusal_says_what_settles_it(desk, capsys, name, content, fix):
    file = desk.file(name, content)
    given = file.parent if name.startswith("folder") else file
    assert desk.bring(given) == 2
    assert fix in (error := capsys.readouterr().err)
    assert error.count("\n") == 1
    if "--skip-line" in fix:
        assert desk.bring(given, "--skip-line", "2") == 0
        assert len(desk.rows()) == 1
