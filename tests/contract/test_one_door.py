"""Training asks one room about its device: nothing else in it names CUDA, or tells devices apart."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TRAINING = Path(__file__).parents[2] / "tui_datasize" / "training"
ROOM = TRAINING / "accelerator"
ASKED_OF_THE_ROOM = {
    "is_cuda",
    "cuda",
    "is_pinned",
    "pin_memory",
    "autocast",
    "synchronize",
    "empty_cache",
    "set_float32_matmul_precision",
    "allow_tf32",
}
"""Attributes and keywords that only a room for devices needs."""


def breaches(source: str) -> Iterator[str]:
    """What in a module asks a device past the room."""
    for node in ast.walk(ast.parse(source)):
        yield from _reached(node)
        yield from _told_apart(node)


def _reached(node: ast.AST) -> Iterator[str]:
    """What of torch's is reached that is the room's."""
    match node:
        case ast.Attribute(ast.Name("torch"), "cuda" | "backends" | "accelerator" | "autocast" as name):
            yield f"{node.lineno}: torch.{name}"
        case ast.Attribute(_, name) if name in ASKED_OF_THE_ROOM - {"autocast"}:
            yield f"{node.lineno}: {name}"
        case ast.Call(ast.Name("getattr"), [ast.Name("torch"), *_]):
            yield f"{node.lineno}: getattr(torch, ...)"
        case ast.keyword("pin_memory" | "non_blocking" as name):
            yield f"{node.value.lineno}: {name}"
        case ast.ImportFrom(str(module)) | ast.alias(str(module)) if module.startswith("torch.cuda"):
            yield f"{module} is imported"
        case ast.ImportFrom("torch", names) if any(one.name == "cuda" for one in names):
            yield f"{node.lineno}: torch.cuda"


def _told_apart(node: ast.AST) -> Iterator[str]:
    """Where devices are told apart."""
    match node:
        case ast.Attribute(ast.Name(of) | ast.Attribute(_, of), "type") if "device" in of:
            yield f"{node.lineno}: the type of a device"
        case ast.Constant(str(text)) if text == "cuda" or text.startswith("cuda:"):
            yield f"{node.lineno}: {text!r}"
        case ast.Compare(left, _, others) if any(map(_is_device, (left, *others))):
            yield f"{node.lineno}: a device compared with another"


def _is_device(node: ast.expr) -> bool:
    """Whether it makes a device, or names one."""
    match node:
        case ast.Call(ast.Attribute(ast.Name("torch"), "device")):
            return True
        case ast.Constant("cpu" | "cuda"):
            return True
    return False


def test_only_one_room_of_training_asks_torch_about_devices() -> None:
    found = [
        f"{path.relative_to(TRAINING)}:{breach}"
        for path in sorted(TRAINING.rglob("*.py"))
        if ROOM not in path.parents
        for breach in breaches(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "torch.cuda.init()",
        "from torch import cuda",
        "import torch.cuda",
        "from torch.cuda import Stream",
        "if device.type == 'cpu': pass",
        "if self.device.type == kind: pass",
        "if images.is_cuda: pass",
        "torch.device('cuda', 0)",
        "torch.device('cuda:0')",
        "if device == torch.device('cpu'): pass",
        "if kind != 'cpu': pass",
        "weights = model.cuda()",
        "from torch import cuda as card",
        "getattr(torch, name).init()",
        "part.pin_memory()",
        "torch.empty(3, pin_memory=True)",
        "part.to(device, non_blocking=True)",
        "torch.backends.cudnn.benchmark = False",
        "torch.autocast(kind)",
    ],
)
def test_what_asks_past_the_room_is_found(source: str) -> None:
    assert list(breaches(source))
