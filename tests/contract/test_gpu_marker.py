"""A test that uses a GPU carries the marker `gpu`: one command runs all, set up as by the product."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
STAND_INS = ("training/test_graph_streams.py",)
"""Where `torch.cuda` is replaced, so that its names stand in tests that need no GPU."""


def breaches(source: str, *, is_stand_in: bool = False) -> Iterator[str]:
    """What in a module of tests uses a GPU, or asks for one, without the marker."""
    if "cuda" not in source:
        return
    tree = ast.parse(source)
    marked = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and (any(map(_is_marker, node.decorator_list)) or _replaces_cuda(node))
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(ast.Attribute(ast.Name("torch"), "cuda"), "is_available" | "device_count"):
                yield f"{node.lineno}: whether there is a GPU is asked in conftest.py alone"
            case ast.Call(ast.Attribute(_, "device" | "to" | "cuda"), arguments) if node not in marked:
                named = [one.value for one in arguments if isinstance(one, ast.Constant)]
                is_gpu = any(str(name).startswith("cuda") for name in named)
                if (is_gpu or node.func.attr == "cuda") and not is_stand_in:
                    yield f"{node.lineno}: a GPU without the marker"
            case ast.keyword("device", ast.Constant(str(name))) if name.startswith("cuda"):
                if node not in marked:
                    yield f"{node.value.lineno}: a GPU without the marker"


def _is_marker(decorator: ast.expr) -> bool:
    return ast.unparse(decorator) == "pytest.mark.gpu"


def _replaces_cuda(function: ast.FunctionDef) -> bool:
    """Whether it puts a stand-in in the place of something of `torch.cuda`."""
    return "monkeypatch.setattr(torch.cuda," in ast.unparse(function)


def test_no_test_uses_a_gpu_without_the_marker():
    found = [
        f"{name}:{breach}"
        for path in sorted(TESTS.rglob("*.py"))
        if path != Path(__file__) and (name := path.relative_to(TESTS).as_posix()) != "conftest.py"
        for breach in breaches(path.read_text(encoding="utf-8"), is_stand_in=name in STAND_INS)
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "@pytest.mark.skipif(not torch.cuda.is_available(), reason='')\ndef test_a(): pass",
        "def test_a(): work(torch.device('cuda', 0))",
        "GPU = torch.device('cuda:0')",
        "def test_a(): model.to('cuda')",
        "def test_a(): model.cuda()",
        "def test_a(): torch.zeros(3, device='cuda')",
        "@pytest.mark.faults\ndef test_a(): model.to('cuda:1')",
    ],
)
def test_what_lacks_the_marker_is_found(source):
    assert list(breaches(source))


def test_what_has_the_marker_is_let_pass():
    assert not list(breaches("@pytest.mark.gpu\ndef test_a():\n    model.to('cuda')"))
