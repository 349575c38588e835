"""The statistics find numbers and kinds; sentences about them are put in words by the answers alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import tui_datasize

STATS = sorted((Path(tui_datasize.__file__).parent / "stats").glob("*.py"))
SENTENCE = re.compile(r"\w+\W+\w+\W+\w+.*\.\s*$", re.S)
"""Three words or more, and a point at the end."""


def sentences(source: str) -> Iterator[str]:
    """Strings of a module that are sentences; docstrings, and why something failed, may be."""
    tree = ast.parse(source)
    passed_over: set[ast.AST] = set()
    for node in ast.walk(tree):
        is_failure = isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Failure")
        if is_failure or (isinstance(node, ast.Raise | ast.Expr) and not _yields(node)):
            passed_over.update(ast.walk(node))
    for node in ast.walk(tree):
        if node in passed_over:
            continue
        if isinstance(node, ast.JoinedStr):
            passed_over.update(ast.walk(node))
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "n" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        if SENTENCE.search(text):
            yield text


def _yields(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)


@pytest.mark.parametrize("file", STATS, ids=lambda file: file.stem)
def test_the_statistics_say_no_sentence(file):
    assert list(sentences(file.read_text())) == []


def test_a_sentence_is_found_wherever_it_is_made():
    for made in (
        'x = f"{n} runs were {word} used."',
        'yield "No size has two runs."',
        'f("Run more seeds.")',
    ):
        assert len(list(sentences(f"def g():\n    {made}\n"))) == 1
    for made in ('"""A docstring of four words."""', 'raise ValueError("Not a number at all.")'):
        assert list(sentences(f"def g():\n    {made}\n")) == []
