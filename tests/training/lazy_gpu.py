"""A GPU of shapes alone: it tells tensors of two devices apart, and what the host would wait for."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, in_kernel_invocation_manager
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from tui_datasize.training import descent
from tui_datasize.training.accelerator import device
from tui_datasize.training.accelerator.interface import Accelerator
from tui_datasize.training.packs import fused

LAZY = torch.device("lazy", 0)
"""Autograd runs on it without a driver, unlike on most other names."""

_aten = torch.ops.aten
_LARGE_VALUES = 1 << 14
_Generator = torch.Generator


class HostWaitsError(Exception):
    """The host would wait for the card within an update."""


class DevicesMixedError(Exception):
    """Tensors, or a tensor and a generator, are of two devices."""


class _OnLazy(_Generator):
    device = LAZY


class Generator(_Generator):
    """Of the device that it is asked for; draws on the host in any case."""

    def __new__(cls, device: torch.device | str = "cpu") -> torch.Generator:  # type: ignore[misc]
        return _OnLazy() if torch.device(device).type == LAZY.type else _Generator()


class LazyGpu(TorchDispatchMode):
    """While entered, `LAZY` is a card that remembers shapes; tensors of the host are real ones.

    Args:
        patch: Has the product find the card, and go round what the names of devices forbid.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self._shapes = FakeTensorMode(allow_non_fake_inputs=True)
        self._is_updating = self.is_sending = False
        self.waits = 0
        """What the host waited for between updates."""
        self._put_in_place(patch)

    def _put_in_place(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(torch, "Generator", Generator)
        patch.setattr(
            device,
            "Accelerator",
            lambda device: _Lazy(device, self) if device.type == "lazy" else Accelerator(device),
        )
        # Fused ones ask for the name of a real device.
        patch.setattr(descent, "AdamW", partial(_in_turn, descent.AdamW))
        patch.setattr(descent, "SGD", partial(_in_turn, descent.SGD))
        # The mode has parameters neither swapped nor copied deeply.
        patch.setattr(nn.Module, "to", _place)
        for module in (descent, fused):
            patch.setattr(module, "copy", SimpleNamespace(deepcopy=_copied))
        patch.setattr(FakeTensor, "tolist", lambda values: values.cpu().tolist())

    @contextmanager
    def active(self) -> Iterator[LazyGpu]:
        """The card is there."""
        # Numbers out of Python come to the host first, as the mode of shapes has it too.
        torch._C._set_only_lift_cpu_tensors(True)
        try:
            with _Draws(), self:
                yield self
        finally:
            torch._C._set_only_lift_cpu_tensors(False)

    @contextmanager
    def updating(self) -> Iterator[None]:
        """Within it the host may wait for nothing."""
        self._is_updating = True
        try:
            yield
        finally:
            self._is_updating = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.prim.device.default:
            return args[0].fake_device if isinstance(args[0], FakeTensor) else args[0].device
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        on_card = [one for one in tensors if isinstance(one, FakeTensor)]
        to = kwargs.get("device")
        if not on_card and (to is None or to.type != LAZY.type):
            return _on_host(func, args, kwargs)
        if func in _SHAPES and len(on_card) == len(tensors):
            with self._shapes:
                return _SHAPES[func](*args)
        if len(on_card) == len(tensors) and to is None and _is_plain(func):
            with suppress(NotImplementedError):
                return self._made(func, args, kwargs)
        # Where no gradient is asked for, whole ones come here: copies between devices must show.
        if func.namespace == "aten" and func._can_decompose():
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        return self._done(func, args, kwargs, tensors)

    def _made(self, func: Any, args: Any, kwargs: Any) -> Any:
        """As the mode of shapes does in the end, without its search for other ways before."""
        with in_kernel_invocation_manager(self._shapes):
            made = func(*args, **kwargs)
        return tree_map_only(
            Tensor,
            lambda one: one if isinstance(one, FakeTensor) else FakeTensor(self._shapes, one, LAZY),
            made,
        )

    def _done(self, func: Any, args: Any, kwargs: Any, tensors: Sequence[Tensor]) -> Any:
        on_card = [one for one in tensors if isinstance(one, FakeTensor)]
        to = kwargs.get("device")
        if func is _aten._local_scalar_dense.default:
            self._wait(func)
            return 0
        if _leaves_card(func, args, to):
            self._wait(func)
            return _brought(func, args, kwargs)
        if _reaches_card(func, args, on_card, to):
            if not self.is_sending:
                self._wait(func)
        elif on_card and any(one.dim() and not isinstance(one, FakeTensor) for one in tensors):
            raise DevicesMixedError(f"{func} has tensors of the host and of the card")
        with self._shapes:
            return func(*args, **kwargs)

    def _wait(self, func: Any) -> None:
        if self._is_updating:
            raise HostWaitsError(f"{func} within an update")
        self.waits += 1


class _Lazy(Accelerator):
    """What training asks the card."""

    kind = "lazy"
    rate_dtype = torch.float32
    batches_ahead = 4

    def __init__(self, device: torch.device, gpu: LazyGpu) -> None:
        super().__init__(device)
        self._gpu = gpu

    def free_bytes(self) -> int:
        return 1 << 30

    def send(self, part: Tensor) -> Tensor:
        self._gpu.is_sending = True
        try:
            return super().send(part)
        finally:
            self._gpu.is_sending = False


class _Draws(TorchFunctionMode):
    """Sees generators as they are handed over: further down each is of the host."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        generator = kwargs.get("generator")
        if generator is not None:
            filled = kwargs.get("out", args[0] if args else None)
            where = (
                filled.device if isinstance(filled, Tensor) else torch.device(kwargs.get("device") or "cpu")
            )
            if where.type != generator.device.type:
                raise DevicesMixedError(
                    f"{func.__name__} draws for {where.type} from {generator.device.type}"
                )
        return func(*args, **kwargs)


def _on_host(func: Any, args: Any, kwargs: Any) -> Any:
    """As it is; large weights are filled with zeros at once, since nobody reads them."""
    first = args[0] if args else None
    is_filling = func._schema.name.endswith("_") and isinstance(first, Tensor)
    if is_filling and first.numel() > _LARGE_VALUES and first.is_floating_point():
        return _aten.zero_.default(first)
    return func(*args, **kwargs)


@cache
def _is_plain(func: Any) -> bool:
    """Whether it only makes new tensors, or changes what it is given, in a kernel for shapes alone."""
    returns = func._schema.returns
    return (
        func.namespace == "aten"
        and func is not _aten._local_scalar_dense.default
        and torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "Meta")
        and all(one.alias_info is None or one.alias_info.is_write for one in returns)
    )


def _normalised(values: Tensor, *_: object) -> tuple[Tensor, Tensor, Tensor]:
    """A batch normalisation and its statistics, or its gradients."""
    of_channels = values.new_empty(values.shape[1], dtype=torch.float32)
    return torch.empty_like(values), of_channels, torch.empty_like(of_channels)


def _sampled(images: Tensor, grid: Tensor, *_: object) -> Tensor:
    return images.new_empty((*images.shape[:2], *grid.shape[1:3]))


_SHAPES = {
    _aten.native_batch_norm.default: _normalised,
    _aten.native_batch_norm_backward.default: _normalised,
    _aten.grid_sampler_2d.default: _sampled,
}
"""What the mode of shapes would derive step by step, which takes most of the time of a deep model."""


def _leaves_card(func: Any, args: Any, to: torch.device | None) -> bool:
    if func is _aten.copy_.default:
        return not isinstance(args[0], FakeTensor)
    return (
        func is _aten._to_copy.default
        and isinstance(args[0], FakeTensor)
        and to is not None
        and to.type != LAZY.type
    )


def _reaches_card(func: Any, args: Any, on_card: Sequence[Tensor], to: torch.device | None) -> bool:
    if func is _aten.copy_.default:
        return not isinstance(args[1], FakeTensor)
    return func is _aten._to_copy.default and not on_card and to is not None


def _brought(func: Any, args: Any, kwargs: Any) -> Tensor:
    """What of the card's values comes to the host: zeros."""
    if func is _aten.copy_.default:
        target: Tensor = args[0]
        return target.zero_()
    return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)


def _in_turn(optimizer: Any, parameters: Any, *, fused: bool, **settings: Any) -> Any:
    assert fused
    return optimizer(parameters, foreach=True, **settings)


def _place(
    model: nn.Module, device: torch.device, memory_format: torch.memory_format = torch.preserve_format
) -> nn.Module:
    """`Module.to`."""
    for module in model.modules():
        for held in (module._parameters, module._buffers):
            for name, values in held.items():
                if values is not None:
                    kept = memory_format if values.dim() == 4 else torch.preserve_format
                    moved = torch.empty_like(values.detach(), device=device, memory_format=kept)
                    is_weight = isinstance(values, nn.Parameter)
                    held[name] = nn.Parameter(moved, values.requires_grad) if is_weight else moved
    return model


def _copied(model: nn.Module) -> nn.Module:
    """`copy.deepcopy`; the two share their streams."""
    known: dict[int, Any] = {id(one): one.detach().clone() for one in model.buffers()}
    for weight in model.parameters():
        known[id(weight)] = nn.Parameter(weight.detach().clone(), weight.requires_grad)
    for module in model.modules():
        if (generator := getattr(module, "generator", None)) is not None:
            known[id(generator)] = generator
    return copy.deepcopy(model, known)
