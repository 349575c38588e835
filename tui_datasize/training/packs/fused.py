"""Lanes as one computation: forward and backward passes over an axis of runs.

Only gradients are computed together. Batches, masks, losses, clipping and optimiser are each lane's
own, so that a lane learns the same whatever its neighbours are. Batch normalisation is that of all lanes'
channels: what the library makes of it under `vmap` adds up the gradients of scales and shifts over
all of them at once, in an order that depends on where among them a lane stands.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import batch_norm

from tui_datasize.training.augment.mixing import Targets
from tui_datasize.training.engine import Batch, Trainer, UpdateResult
from tui_datasize.training.graph import Replays
from tui_datasize.training.models.parts import Dropout

Named: TypeAlias = dict[str, Tensor]


class Fused:
    """Makes one update of many lanes by one forward and one backward pass over all of them.

    The parameters and buffers of every trainer's model become parts of tensors with an axis of
    lanes, shape (K, ...), each laid out in memory as before; the model itself stays as usable as it
    was. All K lanes are always computed, since bits are promised at equal width alone: those that
    make no update are given zeros and stay as they are. On a CPU, where channels do not fill whole
    vector registers (multiples of 8 do), bits also depend on a lane's place.

    On a GPU updates of all lanes are recorded and replayed as one. The trainers, one for each lane, are of
    one architecture, batch size and precision.

    Raises ValueError: a layer draws twice in one pass, at the first step.
    """

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        self._trainers = tuple(trainers)
        models = [trainer.model for trainer in trainers]
        # What is computed; its own values are never looked at.
        self._template = copy.deepcopy(models[0])
        for module in self._template.modules():
            if isinstance(module, nn.BatchNorm2d):
                # All lanes at once; the same parameters, statistics and hooks under the same names.
                module.__class__ = _LaneNorm
        self._parameters = _stack_all([dict(model.named_parameters()) for model in models])
        self._buffers = _stack_all([dict(model.named_buffers()) for model in models])
        self._own_parameters = [list(model.parameters()) for model in models]
        self._rows_are_coupled = any(
            isinstance(module, nn.modules.batchnorm._BatchNorm) for module in self._template.modules()
        )
        self._masked: list[_MaskedLayer] | None = None
        # Not of a method: a pack that refers to itself keeps its memory when it is given up.
        self._logits: Callable[..., Tensor] = vmap(partial(_logits_of_lane, self._template))
        streams = {m.generator for model in models for m in model.modules() if isinstance(m, Dropout)}
        first = trainers[0]
        self._replays = Replays[Mapping[int, UpdateResult]].on(first.device, tuple(streams), first.capture)
        self._recorded_lanes: list[int] = []

    def step(self, lanes: Sequence[int]) -> None:
        batches = {lane: self._trainers[lane].next_batch() for lane in lanes}
        if self._masked is None and batches:
            self._masked = self._find_masked(next(iter(batches.values())))
        # Rows that fill up a batch would change the others where these are normalised together.
        rows = {
            lane: len(batch.inputs) if self._rows_are_coupled else self._trainers[lane].batch_size
            for lane, batch in batches.items()
        }
        for count, group in groupby(sorted(batches, key=rows.__getitem__), key=rows.__getitem__):
            self._update({lane: batches[lane] for lane in group}, count)

    def _update(self, batches: Mapping[int, Batch], rows: int) -> None:
        """Update some lanes on their batches, filled up to so many rows that count for nothing."""
        for lane in batches:
            self._trainers[lane].advance()
        inputs = self._stack_rows({lane: batch.inputs for lane, batch in batches.items()}, rows)
        targets = {lane: batch.targets for lane, batch in batches.items()}
        # How many rows count differs from batch to batch, in numbers of the host.
        is_full = all(len(t.labels) == rows for t in targets.values())
        is_replay = False
        if self._replays and is_full:
            before = self._replays.count
            learned = self._learn_recorded(inputs, targets, self._replays)
            is_replay = self._replays.count > before
        else:
            learned = self._learn(inputs, targets)
        for lane, measured in learned.items():
            self._trainers[lane].last_batch = measured.seen
            # The next replay overwrites them.
            self._trainers[lane].note(*torch.stack(measured.measured).unbind(), is_replay=is_replay)

    def _learn_recorded(
        self, inputs: Tensor, targets: Mapping[int, Targets], replays: Replays[Mapping[int, UpdateResult]]
    ) -> Mapping[int, UpdateResult]:
        lanes = list(targets)
        if lanes != self._recorded_lanes:
            self._recorded_lanes = lanes
            replays.forget()
        of_lanes = zip(*(t.parts for t in targets.values()), strict=True)
        parts = [self._stack_rows(dict(zip(lanes, some, strict=True)), len(some[0])) for some in of_lanes]

        def learn(inputs: Tensor, *parts: Tensor) -> Mapping[int, UpdateResult]:
            return self._learn(inputs, {lane: Targets(*(part[lane] for part in parts)) for lane in lanes})

        return replays(learn, inputs, *parts)

    def _learn(self, inputs: Tensor, targets: Mapping[int, Targets]) -> Mapping[int, UpdateResult]:
        """All that the device does in an update, once the batches are there, (K, rows, ...)."""
        masks = self._draw_masks({lane: len(t.labels) for lane, t in targets.items()}, inputs.shape[1])
        for parameter in self._parameters.values():
            parameter.grad = None
        idle = [lane for lane in range(len(self._trainers)) if lane not in targets]
        kept = [[buffer[lane].clone() for lane in idle] for buffer in self._buffers.values()]
        with self._trainers[0].autocast:
            logits = self._logits(self._parameters, self._buffers, masks, inputs).unbind()
        losses = {
            lane: self._trainers[lane].loss(logits[lane][: len(t.labels)], t) for lane, t in targets.items()
        }
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        for buffer, values in zip(self._buffers.values(), kept, strict=True):
            for lane, value in zip(idle, values, strict=True):
                buffer[lane].copy_(value)
        results = {}
        for lane, loss in losses.items():
            trainer = self._trainers[lane]
            for own, stacked in zip(self._own_parameters[lane], self._parameters.values(), strict=True):
                if stacked.grad is not None:
                    own.grad = stacked.grad[lane]
            results[lane] = UpdateResult((loss.detach(), trainer.apply_gradients()), trainer.last_batch)
        return results

    def _stack_rows(self, parts: Mapping[int, Tensor], rows: int) -> Tensor:
        """Values of some lanes, each (b, ...), as (K, rows, ...): zeros where nothing is given."""
        some = next(iter(parts.values()))
        nothing = some.new_zeros((rows, *some.shape[1:]))
        filled = {
            lane: part if len(part) == len(nothing) else torch.cat([part, nothing[len(part) :]])
            for lane, part in parts.items()
        }
        return torch.stack([filled.get(lane, nothing) for lane in range(len(self._trainers))])

    def _draw_masks(self, images: Mapping[int, int], rows: int) -> Named:
        """Masks for the layers that draw, from each lane's own stream, by their names in the template."""
        masks = {}
        for layer in self._masked or ():
            drawn = {}
            for lane, count in images.items():
                own = self._trainers[lane].model.get_submodule(layer.name)
                assert isinstance(own, Dropout)
                mask = own.draw(layer.values(count))
                drawn[lane] = mask.expand(count, *mask.shape[1:])
            masks[f"{layer.name}.mask"] = self._stack_rows(drawn, rows)
        return masks

    def _find_masked(self, batch: Batch) -> list[_MaskedLayer]:
        """The layers that draw, in the order of a pass, and what they draw for.

        A pass of a copy with streams of its own tells, so that no run's numbers move.
        """
        found: list[_MaskedLayer] = []

        def note(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
            found.append(_MaskedLayer.of(names[layer], given[0]))

        probe = copy.deepcopy(self._template)
        names: dict[nn.Module, str] = {
            module: name
            for name, module in probe.named_modules()
            if isinstance(module, Dropout) and module.is_random
        }
        for layer in names:
            layer.register_forward_pre_hook(note)
        with torch.no_grad(), self._trainers[0].autocast:
            probe(batch.inputs)
        if len({layer.name for layer in found}) < len(found):
            raise ValueError("a layer that draws twice in one pass cannot be given one mask")
        return found


@dataclass(frozen=True, slots=True)
class _MaskedLayer:
    """A layer that draws a mask, and what its values look like."""

    name: str
    shape: tuple[int, ...]
    """Of one image's values."""
    like: Tensor
    """One of them, for their type and device."""
    memory_format: torch.memory_format

    @classmethod
    def of(cls, name: str, values: Tensor) -> _MaskedLayer:
        is_last = values.dim() == 4 and not values.is_contiguous()
        return cls(
            name,
            tuple(values.shape[1:]),
            values.new_empty(()),
            torch.channels_last if is_last else torch.contiguous_format,
        )

    def values(self, images: int) -> Tensor:
        """Values of so many images, whatever they are."""
        return torch.empty(
            (images, *self.shape),
            dtype=self.like.dtype,
            device=self.like.device,
            memory_format=self.memory_format,
        )


def _logits_of_lane(
    template: nn.Module, parameters: Named, buffers: Named, masks: Named, inputs: Tensor
) -> Tensor:
    logits: Tensor = functional_call(template, (parameters, buffers, masks), (inputs,))
    return logits


def _stack_all(lanes: Sequence[Mapping[str, Tensor]]) -> Named:
    return {name: _stack([lane[name] for lane in lanes]) for name in lanes[0]}


@torch.no_grad()
def _stack(lanes: Sequence[Tensor]) -> Tensor:
    """One tensor of shape (K, ...), of which the K given ones become parts, each with its own layout."""
    first = lanes[0]
    stacked = torch.empty_strided(
        (len(lanes), *first.shape), (first.numel(), *first.stride()), dtype=first.dtype, device=first.device
    )
    for own, part in zip(lanes, stacked.unbind(), strict=True):
        part.copy_(own)
        # Whoever holds the tensor, as optimiser and average do, goes on holding it.
        own.data = part
    return stacked.requires_grad_(first.requires_grad)


class _LaneNorm(nn.BatchNorm2d):
    """Normalises all lanes at once; only called under `vmap`."""

    def forward(self, values: Tensor) -> Tensor:
        if not self.training:
            return super().forward(values)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        normalised: Tensor = _Normalise.apply(
            values, self.weight, self.bias, self.running_mean, self.running_var, self.momentum, self.eps
        )
        return normalised


class _Normalise(torch.autograd.Function):
    """Normalisation by the statistics of the batch; moves the running ones."""

    @staticmethod
    def forward(*given: Any) -> Tensor:
        return _normalise(*given)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: under `vmap` the library differentiates what is called below."""

    @staticmethod
    def vmap(
        _info: Any, in_dims: tuple[int, ...], values: Tensor, *of_channels_and_numbers: Any
    ) -> tuple[Tensor, int]:
        *of_channels, momentum, eps = of_channels_and_numbers
        # From (K, B, C, H, W) in any order to (B, K * C, H, W).
        in_order = values.movedim(in_dims[0], 1)
        # As views, so that the running statistics move where they are.
        weight, bias, mean, var = (tensor.view(-1) for tensor in of_channels)
        normalised = _normalise(in_order.flatten(1, 2), weight, bias, mean, var, momentum, eps)
        return normalised.reshape(in_order.shape), 1


def _normalise(
    values: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    eps: float,
) -> Tensor:
    return batch_norm(
        values, running_mean, running_var, weight, bias, training=True, momentum=momentum, eps=eps
    )
