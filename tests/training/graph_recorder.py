"""A CUDA graph as a CPU can have one: each operation is recorded with its tensors, and done again on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

_WAITS = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
"""Operations whose result the host waits for: no graph can hold them."""


class RecordedGraphs:
    """Records as a GPU does: nothing is done before a replay, numbers of Python stay what they were.

    Args:
        generators: The streams that recorded work draws from.
    """

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self._generators = generators
        self.recordings = 0

    def prepare(self, work: Callable[[], Any]) -> Any:
        return work()

    def record(self, work: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        states = [generator.get_state() for generator in self._generators]
        recorder = Recorder()
        try:
            with recorder:
                made = work()
        finally:
            recorder.undo()
            for generator, state in zip(self._generators, states, strict=True):
                generator.set_state(state)
        self.recordings += 1
        return made, recorder.replay

    def forget(self) -> None:
        pass


class Recorder(TorchDispatchMode):
    """Sees all operations, those of the backward pass and of the optimiser too."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[tuple[Any, Any, Any, Any]] = []
        self._found: dict[int, tuple[Tensor, Tensor]] = {}
        self._fresh: list[Tensor] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in _WAITS:
            raise RuntimeError("operation not permitted when stream is capturing")
        kwargs = kwargs or {}
        for tensor in _tensors((args, kwargs)):
            # All of them: some operations change what they do not declare.
            self._found.setdefault(_place(tensor), (tensor.detach(), _bytes(tensor).clone()))
        made = func(*args, **kwargs)
        # Without what holds the autograd graph.
        self._calls.append((func, *(tree_map(_plain, part) for part in (args, kwargs, made))))
        for tensor in _tensors(made):
            if _place(tensor) not in self._found:
                self._fresh.append(tensor.detach())
                self._found[_place(tensor)] = (tensor.detach(), _bytes(tensor).clone())
        return made

    def undo(self) -> None:
        """Leave tensors as they were found, and no number in those that were made."""
        for tensor, content in self._found.values():
            _bytes(tensor).copy_(content)
        for tensor in self._fresh:
            tensor.fill_(torch.nan if tensor.is_floating_point() else 0)

    @torch.no_grad()
    def replay(self) -> None:
        """Do it all again, in the same memory."""
        for func, args, kwargs, made in self._calls:
            again = func(*args, **kwargs)
            for kept, given in zip(_tensors(made), _tensors(again), strict=True):
                # Views have it already; some operations copy where others look.
                if _place(kept) != _place(given):
                    kept.copy_(given)


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _plain(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _bytes(tensor: Tensor) -> Tensor:
    """All memory of a tensor, whatever part of it is looked at."""
    return torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
