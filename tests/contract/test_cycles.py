"""No module of the package imports one that imports it, however far round, at its top or in a function."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from tests.contract.package import parsed


def module_of(file: str) -> str:
    return f"tui_datasize.{file.removesuffix('.py').replace('/', '.')}".removesuffix(".__init__")


def imported(source: ast.Module, modules: set[str]) -> Iterator[str]:
    """The modules that a module imports anywhere but for type checkers alone."""
    waiting: list[ast.AST] = [source]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            named = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in modules else node.module for name in named)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        waiting += ast.iter_child_nodes(node)


def cycle_of(sources: Mapping[str, ast.Module]) -> Sequence[str]:
    """Modules that import each other in a circle; empty where none do."""
    graph = {name: {*imported(source, {*sources})} & {*sources} - {name} for name, source in sources.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_round_others():
    sources = {module_of(file): module for file, module in parsed().items()}
    assert len(sources) > 100
    assert cycle_of(sources) == []


def test_a_circle_is_found_wherever_the_import_stands():
    inside = "def f():\n    from p.c import y\n"
    circle = {"p.a": "import p.b", "p.b": inside, "p.c": "from p import a"}
    assert set(cycle_of({name: ast.parse(text) for name, text in circle.items()})) == circle.keys()
    for_types = {"p.a": "from p.b import y", "p.b": "if TYPE_CHECKING:\n    from p.a import X\n"}
    assert cycle_of({name: ast.parse(text) for name, text in for_types.items()}) == []
