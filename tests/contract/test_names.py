"""A name means one thing in the whole package, and a function is read at one go."""

from __future__ import annotations

import ast
from collections import defaultdict

from tests.contract.package import parsed

MOST_LINES = 40
"""Of a function, from `def` to its end."""
OF_EVERY_QUESTION = frozenset({"ask", "is_offered"})
"""What `answers/catalogue.py` finds in the file of a question."""
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def test_no_two_modules_have_a_public_function_or_class_of_one_name():
    homes: dict[str, list[str]] = defaultdict(list)
    for name, module in parsed().items():
        for node in module.body:
            # `main` is where a process begins.
            if isinstance(node, (*FUNCTION, ast.ClassDef)) and node.name not in OF_EVERY_QUESTION | {"main"}:
                homes[node.name].append(name)
    several = {name: files for name, files in homes.items() if len(files) > 1 and not name.startswith("_")}
    assert len(homes) > 1000
    assert several == {}


def test_no_two_classes_have_one_name():
    homes: dict[str, list[str]] = defaultdict(list)
    for name, module in parsed().items():
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(name)
    assert len(homes) > 400
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


def test_functions_are_read_at_one_go():
    longer = {
        f"{name}:{node.name}"
        for name, module in parsed().items()
        for node in ast.walk(module)
        if isinstance(node, FUNCTION) and (node.end_lineno or 0) - node.lineno >= MOST_LINES
    }
    assert longer == set()
