"""A GPU as strict as a real one about when it may be asked for what; its memory is the CPU's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.torch_version import TorchVersion
from torch.utils._python_dispatch import TorchDispatchMode

from tests.training.graph_recorder import Recorder
from tui_datasize.training.accelerator import cuda, device
from tui_datasize.training.accelerator.cuda import CudaDevice

NOT_OPENED = "Invalid device argument 0: did you call init?"
WHILE_RECORDING = "CUDA error: operation not permitted when stream is capturing"
AFTER_AN_ERROR = "CUDA error: operation failed due to a previous error during capture"
OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB."
ECC = "CUDA error: uncorrectable ECC error encountered"
SPOILED = "Offset increment outside graph capture encountered unexpectedly."

_Generator = torch.Generator


class Generator(_Generator):
    """Of a GPU: a recording that does not come to its end leaves it unusable."""

    is_spoiled = False

    def graphsafe_get_state(self) -> Generator:
        return self

    def graphsafe_set_state(self, other: Generator) -> None:
        self.set_state(other.get_state())
        self.is_spoiled = other.is_spoiled


class StrictGpu(TorchDispatchMode):
    """The functions of `torch.cuda` in use, while entered; counts what the host waits for.

    Args:
        patch: Puts it in the place of the real ones.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.is_open = self.is_own_work = False
        self._recording_thread: int | None = None
        self.waits = self.allocations = self.recordings = self.replays = self.peak_resets = 0
        self.refused_at: dict[int, Exception] = {}
        """What allocations of these numbers raise, counted from 1."""
        self.is_full = False
        """Whether every allocation runs out of memory."""
        self.lost_from: int | None = None
        """The allocation from which on it is lost."""
        self.opening: Exception | None = None
        """What opening it raises."""
        self.capability = (8, 0)
        self.default = self.current = Stream(self, "default")
        self._pinned: list[Tensor] = []
        self._generators = (Generator(),)
        self._put_in_place(patch)

    def _put_in_place(self, patch: pytest.MonkeyPatch) -> None:
        for name, made in {
            "init": self.init,
            "synchronize": self.wait,
            "mem_get_info": self._asked(lambda *_: (8 << 30, 16 << 30)),
            "memory_reserved": self._asked(lambda *_: 2 << 20),
            "memory_allocated": self._asked(lambda *_: 1 << 20),
            "max_memory_reserved": self._asked(lambda *_: 3 << 20),
            "reset_peak_memory_stats": self._asked(self._reset_peak),
            "get_device_properties": self._asked(self._properties),
            "get_device_capability": self._asked(lambda *_: self.capability),
            "current_stream": self._asked(lambda *_: self.current),
            "default_stream": self._asked(lambda *_: self.default),
            "Stream": self._asked(lambda *_: Stream(self, "side")),
            "stream": self.on,
            "CUDAGraph": self._asked(lambda: Graph(self)),
            "graph": self.record,
            # Both answer at any time.
            "empty_cache": lambda: None,
            "is_current_stream_capturing": lambda: self.is_recording,
        }.items():
            patch.setattr(torch.cuda, name, made)
        patch.setattr(torch.cuda, "default_generators", self._generators)
        patch.setattr(torch, "Generator", Generator)
        patch.setattr(torch, "empty", self._making(torch.empty))
        patch.setattr(Tensor, "pin_memory", lambda part: self._pin(part))
        patch.setattr(Tensor, "is_pinned", lambda part: self._is_pinned(part))
        patch.setattr(Tensor, "to", self._moving(Tensor.to))
        patch.setattr(Tensor, "bernoulli_", self._drawing(Tensor.bernoulli_))
        patch.setattr(cuda, "_FINDS_GENERATORS", TorchVersion("99"))
        # Whatever is on the CPU is on this card: its own number keeps its tensors from those of the host.
        patch.setattr(device, "Accelerator", lambda _device: CudaDevice(torch.device("cpu", 0)))
        for flags, names in (
            (torch.backends.cudnn, ("benchmark", "deterministic", "allow_tf32")),
            (torch, ("set_float32_matmul_precision",)),
        ):
            for name in names:
                patch.setattr(flags, name, getattr(flags, name))
        patch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.is_open and not self.is_own_work and _allocates(func):
            self.allocations += 1
            if self.lost_from is not None and self.allocations >= self.lost_from:
                raise RuntimeError(ECC)
            if self.is_full or self.allocations in self.refused_at:
                raise self.refused_at.get(self.allocations, torch.OutOfMemoryError(OUT_OF_MEMORY))
        return func(*args, **(kwargs or {}))

    @property
    def is_recording(self) -> bool:
        """Whether the calling thread is: others may go on, as the mode of a recording says."""
        return self._recording_thread == get_ident()

    def init(self) -> None:
        if self.opening:
            raise self.opening
        self.is_open = True

    def wait(self, *_: object) -> None:
        self._require_open()
        if self.is_recording:
            raise RuntimeError(WHILE_RECORDING)
        self.waits += 1

    @contextmanager
    def on(self, stream: Stream) -> Iterator[None]:
        self._require_open()
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def record(self, graph: Graph, pool: Any, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        self.wait()
        if stream is self.default:
            raise RuntimeError("CUDA graphs must be captured on a non-default stream.")
        states = [(one, one.get_state()) for one in graph.generators]
        self._recording_thread = get_ident()
        try:
            with self.on(stream), graph.recorder:
                yield
        except BaseException as error:
            for one in graph.generators:
                one.is_spoiled = True
            raise RuntimeError(AFTER_AN_ERROR) from error
        finally:
            self._recording_thread = None
            self.is_own_work = True
            graph.recorder.undo()
            self.is_own_work = False
            for one, state in states:
                one.set_state(state)
        self.recordings += 1

    def _asked(self, answer: Any) -> Any:
        def ask(*arguments: Any, **options: Any) -> Any:
            self._require_open()
            return answer(*arguments, **options)

        return ask

    def _require_open(self) -> None:
        if not self.is_open:
            raise RuntimeError(NOT_OPENED)

    def _reset_peak(self, *_: object) -> None:
        self.peak_resets += 1

    def _properties(self, *_: object) -> SimpleNamespace:
        major, minor = self.capability
        return SimpleNamespace(name="Strict GPU", uuid="0-1", major=major, minor=minor, total_memory=16 << 30)

    def _making(self, make: Any) -> Any:
        def empty(*arguments: Any, pin_memory: bool = False, **options: Any) -> Tensor:
            made = make(*arguments, **options)
            return self._pin(made) if pin_memory else made

        return empty

    def _pin(self, part: Tensor) -> Tensor:
        self._require_open()
        if self.is_recording:
            raise RuntimeError(WHILE_RECORDING)
        self._pinned.append(part)
        return part

    def _is_pinned(self, part: Tensor) -> bool:
        return any(
            part.untyped_storage().data_ptr() == one.untyped_storage().data_ptr() for one in self._pinned
        )

    def _drawing(self, draw: Any) -> Any:
        def bernoulli_(part: Tensor, *arguments: Any, generator: Generator) -> Tensor:
            if generator.is_spoiled:
                raise RuntimeError(SPOILED)
            made: Tensor = draw(part, *arguments, generator=generator)
            return made

        return bernoulli_

    def _moving(self, move: Any) -> Any:
        def to(part: Tensor, *arguments: Any, **options: Any) -> Any:
            moved = move(part, *arguments, **options)
            if not options.get("non_blocking"):
                return moved
            if not self._is_pinned(part):
                raise AssertionError("a copy from memory that is not pinned waits")
            return moved.clone()

        return to


class Graph:
    """A recorded graph."""

    def __init__(self, gpu: StrictGpu) -> None:
        self._gpu = gpu
        self.recorder = Recorder()
        self.generators: list[Generator] = [*gpu._generators]

    def register_generator_state(self, generator: Generator) -> None:
        self.generators.append(generator)

    def pool(self) -> object:
        return self

    def replay(self) -> None:
        if self._gpu.is_recording:
            raise RuntimeError(WHILE_RECORDING)
        self._gpu.replays += 1
        self._gpu.is_own_work = True
        try:
            self.recorder.replay()
        finally:
            self._gpu.is_own_work = False


class Stream:
    """A stream, on which all is done as it is asked for."""

    def __init__(self, gpu: StrictGpu, name: str) -> None:
        self._gpu, self.name = gpu, name

    def wait_stream(self, other: Stream) -> None:
        pass

    def wait_event(self, event: Event) -> None:
        pass

    def record_event(self) -> Event:
        return Event(self._gpu)


class Event:
    """A point in a stream."""

    def __init__(self, gpu: StrictGpu) -> None:
        self.synchronize = gpu.wait


def _allocates(func: Any) -> bool:
    return any(result.alias_info is None for result in func._schema.returns)
