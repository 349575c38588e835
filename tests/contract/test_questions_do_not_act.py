"""What is named as a question answers it, and changes nothing that outlives the answer.

Looked at are functions whose names ask (`is_`, `has_`, `can_`, `must_`, ...), properties that return bool,
and the methods of the same class that these call. They assign to no attribute or item of what they were given
and call nothing whose name acts. What acts and tells how it went is named by what it does: `take`, `settle`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

import pytest

from tests.contract.package import parsed

ASKS = frozenset(("is", "has", "had", "can", "must", "may", "was", "were", "will"))
ACTS = frozenset(
    (
        *("begin", "commit", "conclude", "delete", "forget", "kill", "killpg", "launch", "mkdir"),
        *("note", "post", "release", "rename", "repeat", "report", "retry", "rmdir", "rmtree", "send"),
        *("settle", "signal", "spawn", "terminate", "touch", "truncate", "unlink", "unwatch", "write"),
    )
)
"""First words of names of calls."""
CHANGES = frozenset(
    (
        *("add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popleft", "put"),
        *("put_nowait", "remove", "reverse", "setdefault", "sort", "update"),
    )
)
"""Methods that change what they are called on."""
ALLOWED: Mapping[str, str] = {
    "jobs/queue/database.py:concerns_all": "whether something can be written is seen by writing",
    "experiments/toml.py:has": "a key that was asked for is known to the reader of the table",
}
"""By place, why a question may leave a mark."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def asks(function: Function) -> bool:
    """Whether a name asks, as `is_over` and `lasts` do, or a property can only answer."""
    words = function.name.strip("_").split("_")
    is_property = any(isinstance(one, ast.Name) and one.id == "property" for one in function.decorator_list)
    returns_bool = isinstance(function.returns, ast.Name) and function.returns.id == "bool"
    return words[0] in ASKS or (returns_bool and (is_property or words[0].endswith("s")))


def root(node: ast.expr) -> str:
    """The name at which an attribute or an item begins; empty for another expression."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def deeds(function: Function, methods: Mapping[str, Function], seen: frozenset[str]) -> Iterator[str]:
    """What a function changes, and the methods of its class that it calls."""
    arguments = function.args
    given = {one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute | ast.Subscript):
            if isinstance(node.ctx, ast.Store | ast.Del) and root(node) in given:
                yield f"assigns {ast.unparse(node)}"
        elif isinstance(node, ast.Nonlocal | ast.Global):
            yield f"assigns {', '.join(node.names)}"
        elif isinstance(node, ast.Call):
            whole = node.func
            name = (
                whole.attr
                if isinstance(whole, ast.Attribute)
                else whole.id
                if isinstance(whole, ast.Name)
                else ""
            )
            of_given = isinstance(whole, ast.Attribute) and root(whole) in given
            if name.strip("_").split("_")[0] in ACTS or (of_given and name in CHANGES):
                yield f"calls {ast.unparse(whole)}"
            is_own = isinstance(whole, ast.Attribute) and ast.unparse(whole.value) == "self"
            if is_own and name in methods and name not in seen:
                for deed in deeds(methods[name], methods, seen | {name}):
                    yield f"{name} {deed}"


def acting_questions(module: ast.Module) -> dict[str, list[str]]:
    """By name, what questions in a module do beside answering."""
    found = {}
    for scope in ast.walk(module):
        if not isinstance(scope, ast.Module | ast.ClassDef | Function):
            continue
        functions = {node.name: node for node in scope.body if isinstance(node, Function)}
        methods = functions if isinstance(scope, ast.ClassDef) else {}
        for name, function in functions.items():
            if asks(function) and (done := list(deeds(function, methods, frozenset({name})))):
                found[name] = done
    return found


def test_no_question_acts():
    found = {
        f"{file}:{name}": done
        for file, module in parsed().items()
        for name, done in acting_questions(module).items()
    }
    assert {place: done for place, done in found.items() if place not in ALLOWED} == {}
    assert ALLOWED.keys() <= found.keys()


@pytest.mark.parametrize(
    ("body", "deed"),
    [
        ("self._since_s = 1\n        return True", "assigns self._since_s"),
        ("self._counts[1] += 1\n        return True", "assigns self._counts[1]"),
        ("del self._counts[1]\n        return True", "assigns self._counts[1]"),
        ("self._lock.release()\n        return True", "calls self._lock.release"),
        ("os.kill(1, 9)\n        return True", "calls os.kill"),
        ("self._known.add(1)\n        return True", "calls self._known.add"),
        ("return self._clear()", "_clear calls self.processes.signal_group"),
        ("found = {}\n        found[1] = 2\n        found.update({})\n        return bool(found)", None),
        ("return self.a < 1", None),
    ],
)
def test_what_acts_is_seen(body: str, deed: str | None):
    text = f"""
class Some:
    def _is_over(self) -> bool:
        {body}

    def _clear(self):
        return self.processes.signal_group(1)
"""
    assert acting_questions(ast.parse(text)) == ({"_is_over": [deed]} if deed else {})
