"""Updates and evaluations that are recorded once and then replayed, each batch of them as one CUDA graph.

A replay launches all kernels of a batch at once, on the tensors of the recording; the host, which is the
slower one with small models, only copies in what it is made on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeAlias

import torch
from torch import Tensor

from tui_datasize.training.accelerator.device import accelerator_of
from tui_datasize.training.accelerator.interface import Capture, Made

Shapes: TypeAlias = tuple[torch.Size, ...]

_WARM_UPS = 3
"""Updates that are made before one is recorded: they create the optimiser's state, and load kernels."""
_MOST_RECORDINGS = 4
"""Shapes of batches that are worth a recording: full ones, and those that end an epoch."""


CaptureOn: TypeAlias = Callable[[torch.device, Sequence[torch.Generator]], Capture | None]
"""From a device, and the streams that are drawn from on it, to a way to record; None without one."""


def capture_on(device: torch.device, generators: Sequence[torch.Generator]) -> Capture | None:
    """As the device itself does it."""
    return accelerator_of(device).capture(generators)


@dataclass(frozen=True, slots=True)
class _Recording(Generic[Made]):
    """Recorded work on tensors of its own."""

    inputs: Sequence[Tensor]
    made: Made
    replay: Callable[[], None]

    def __call__(self, inputs: Sequence[Tensor]) -> Made:
        for fixed, given in zip(self.inputs, inputs, strict=True):
            fixed.copy_(given)
        self.replay()
        return self.made


@dataclass(eq=False)
class Replays(Generic[Made]):
    """Does the same work again and again, recorded once for each shape of its inputs.

    Whatever cannot be recorded is done as it is. Others may use the capture, too; `what` is named in the log.
    """

    _capture: Capture
    _what: str = "updates"
    _may_record: bool = field(default=True, init=False)
    _recordings: dict[Shapes, _Recording[Made]] = field(default_factory=dict, init=False)
    _warm_ups: dict[Shapes, int] = field(default_factory=dict, init=False)
    count: int = field(default=0, init=False)
    """How often recorded work was done."""

    @classmethod
    def on(
        cls, device: torch.device, generators: Sequence[torch.Generator], capture: CaptureOn
    ) -> Replays[Made] | None:
        """For work on a device that draws from these streams; None where nothing is recorded."""
        captured = capture(device, generators)
        return cls(captured) if captured else None

    def forget(self) -> None:
        """Record anew: tensors that the work holds on to were replaced by others."""
        self._recordings.clear()
        self._warm_ups.clear()
        self._capture.forget()

    def __call__(self, work: Callable[..., Made], *inputs: Tensor) -> Made:
        """Do the work.

        Args:
            work: The same each time. All that it changes must stand in tensors that stay the same.
            inputs: Its tensors.

        Returns:
            What it returned; tensors in it hold until the next call.
        """
        shapes = tuple(given.shape for given in inputs)
        recording = self._recordings.get(shapes)
        if recording is None and self._may_record and len(self._recordings) < _MOST_RECORDINGS:
            self._warm_ups[shapes] = self._warm_ups.get(shapes, 0) + 1
            if self._warm_ups[shapes] > _WARM_UPS:
                recording = self._record(work, inputs, shapes)
        if recording is None:
            return self._capture.prepare(lambda: work(*inputs))
        self.count += 1
        return recording(inputs)

    def _record(
        self, work: Callable[..., Made], inputs: Sequence[Tensor], shapes: Shapes
    ) -> _Recording[Made] | None:
        fixed = [given.clone(memory_format=torch.preserve_format) for given in inputs]
        try:
            made, replay = self._capture.record(lambda: work(*fixed))
        except RuntimeError as error:
            self._may_record = False
            # What was recorded before draws from a stream that was renewed since.
            self.forget()
            cause: BaseException = error
            # What went wrong first: ending a spoiled recording fails once more.
            while cause.__context__:
                cause = cause.__context__
            line = next(iter(str(cause).splitlines()), type(cause).__name__)
            print(f"{self._what} are not recorded as a graph: {line}", flush=True)
            return None
        recording = self._recordings[shapes] = _Recording(fixed, made, replay)
        return recording
