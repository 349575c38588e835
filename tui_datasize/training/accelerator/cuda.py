"""A CUDA GPU as a device."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from tui_datasize.training.accelerator import faults
from tui_datasize.training.accelerator.interface import Accelerator, Capture, Made, Mark, Stream

_FIRST_WITH_TF32_AND_BF16 = (8, 0)
"""Compute capability: Ampere. Turing takes the words and computes in fp32."""
_EVALUATION_VALUES = (1 << 22, 1 << 26)
"""Fewest fill a small GPU, more than the most gain nothing: 341 images of three channels at 256 px."""
_BYTES_PER_EVALUATION_VALUE = 2048
"""Of the GPU's memory. A first layer of 64 channels keeps up to 768 for each value of a grey image."""


class CudaDevice(Accelerator):
    """One GPU: work is asked for and done later, in the order of its stream."""

    kind = "cuda"
    is_gpu = True
    # The fused kernels of a GPU read no other.
    rate_dtype = torch.float32
    # By then they are recorded.
    warm_ups = 6
    batches_ahead = 4

    def initialise(self) -> None:
        """Open it, launch a kernel and wait; fixes the algorithms of cuDNN and cuBLAS."""
        # Read by cuBLAS when it first meets the device.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        self.measure_algorithms(False)
        with faults.while_opening():
            torch.cuda.init()  # type: ignore[no-untyped-call]
            # The context comes with the first allocation: another process may keep it from us.
            torch.zeros(1, device=self.device).add_(1)
            torch.cuda.synchronize(self.device)

    def facts(self) -> dict[str, Any]:
        properties = torch.cuda.get_device_properties(self.device)
        named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        return super().facts() | {
            "device": properties.name,
            "device_name": properties.name,
            # Of a part of a GPU torch tells the number alone.
            "device_uuid": named if named.startswith("MIG-") else f"GPU-{properties.uuid}",
            "capability": f"{properties.major}.{properties.minor}",
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        }

    @property
    def evaluation_values(self) -> int:
        """By all of its memory: by what is free, bits would depend on who else is there.

        A power of two, since drivers differ in what they keep of a GPU.
        """
        fitting = torch.cuda.get_device_properties(self.device).total_memory // _BYTES_PER_EVALUATION_VALUE
        fewest, most = _EVALUATION_VALUES
        return max(fewest, min(most, 1 << (fitting.bit_length() - 1)))

    @property
    def multiplies_tf32(self) -> bool:
        return torch.cuda.get_device_capability(self.device) >= _FIRST_WITH_TF32_AND_BF16

    @property
    def multiplies_bf16(self) -> bool:
        return self.multiplies_tf32

    def use_tf32(self, allowed: bool) -> None:
        torch.set_float32_matmul_precision("high" if allowed else "highest")
        torch.backends.cudnn.allow_tf32 = allowed

    def measure_algorithms(self, allowed: bool) -> None:
        torch.backends.cudnn.benchmark = allowed
        torch.backends.cudnn.deterministic = not allowed

    @contextmanager
    def whole_products(self) -> Iterator[None]:
        """By the setting of cuBLAS at the time of a call."""
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)

    def free_bytes(self) -> int:
        """Free on the GPU, and what this process keeps of it without using it."""
        kept = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return torch.cuda.mem_get_info(self.device)[0] + kept

    def reserved_bytes(self) -> int:
        """By torch's allocator; the context of the process comes on top."""
        return torch.cuda.memory_reserved(self.device)

    def peak_bytes(self) -> int:
        return torch.cuda.max_memory_reserved(self.device)

    def forget_peak(self) -> None:
        torch.cuda.reset_peak_memory_stats(self.device)

    def release_memory(self) -> None:
        """Unused blocks go back to the driver."""
        super().release_memory()
        torch.cuda.empty_cache()

    def wait(self) -> None:
        """For all streams of the GPU."""
        torch.cuda.synchronize(self.device)

    def stream(self) -> Stream:
        """One of torch's pool."""
        return _CudaStream(torch.cuda.Stream(self.device))  # type: ignore[no-untyped-call]

    def current_stream(self) -> Stream:
        """Of the calling thread."""
        return _CudaStream(torch.cuda.current_stream(self.device))

    def capture(self, generators: Sequence[torch.Generator]) -> Capture:
        return CudaCapture(self.device, [self.draws(generator) for generator in generators])

    @property
    def is_recording(self) -> bool:
        return torch.cuda.is_current_stream_capturing()

    def staging(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.empty(tuple(shape), dtype=dtype, pin_memory=True)

    def send(self, part: Tensor) -> Tensor:
        """Through pinned memory; from memory that is not pinned by way of a copy that is."""
        if part.device == self.device:
            return part
        pinned = part if part.is_pinned() else part.pin_memory()
        return pinned.to(self.device, non_blocking=True)


@dataclass(eq=False)
class _CudaStream(Stream):
    """A stream of a GPU, which can be entered."""

    _own: torch.cuda.Stream
    _entered: list[torch.cuda.StreamContext] = field(default_factory=list, init=False)

    def __enter__(self) -> _CudaStream:
        context = torch.cuda.stream(self._own)
        context.__enter__()  # type: ignore[no-untyped-call]
        self._entered.append(context)
        return self

    def __exit__(self, *error: object) -> None:
        self._entered.pop().__exit__(*error)

    def follow(self, mark: Mark) -> None:
        """Only what is asked for from now on waits, on the GPU."""
        assert isinstance(mark, _CudaMark)
        self._own.wait_event(mark.event)

    def mark(self) -> Mark:
        return _CudaMark(self._own.record_event())


@dataclass(frozen=True, slots=True)
class _CudaMark(Mark):
    event: torch.cuda.Event

    def wait(self) -> None:
        self.event.synchronize()


_FINDS_GENERATORS = TorchVersion("2.14")
"""The first torch that does (pytorch/pytorch, pull request 176753)."""


@dataclass(eq=False)
class CudaCapture:
    """Records CUDA graphs, all in one pool of memory.

    What they draw from the generators continues where these are at the time of a replay, as if it were
    drawn one by one.
    """

    _device: torch.device
    _generators: Sequence[torch.Generator]
    _own_stream: torch.cuda.Stream | None = field(default=None, init=False)
    _pool: torch.cuda._POOL_HANDLE | None = field(default=None, init=False)

    def prepare(self, work: Callable[[], Made]) -> Made:
        """Do it on the stream of the recordings, between what comes before and after on the current one."""
        current, stream = torch.cuda.current_stream(self._device), self._stream()
        stream.wait_stream(current)
        try:
            with torch.cuda.stream(stream):
                return work()
        finally:
            current.wait_stream(stream)

    def record(self, work: Callable[[], Made]) -> tuple[Made, Callable[[], None]]:
        """Record it as a graph, which replays on whatever stream is current then.

        Raises RuntimeError: it cannot be recorded. The generators are then as they were and can be drawn
            from, and the current stream is what it was.
        """
        graph = torch.cuda.CUDAGraph()
        # Newer torch finds the generators that a graph moves itself, and warns of being told.
        if torch.__version__ < _FINDS_GENERATORS:
            for generator in self._generators:
                graph.register_generator_state(generator)
        # Other threads may go on with what only the recording thread must not do, such as asking for events.
        recording = torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream(), capture_error_mode="thread_local"
        )
        back = torch.cuda.stream(torch.cuda.current_stream(self._device))
        # Sharing memory is safe in any order: an update reads nothing that an earlier one left there.
        with self._renewing_generators(), back, recording:
            made = work()
        self._pool = graph.pool()
        return made, graph.replay

    def forget(self) -> None:
        """Begin another pool: one that no graph uses any more cannot be shared."""
        self._pool = None

    @contextmanager
    def _renewing_generators(self) -> Iterator[None]:
        """Where recording fails, give the generators a state that does not believe to be recorded.

        A capture that does not come to its end leaves them marked, and every later draw fails.
        """
        index = torch.cuda.current_device() if self._device.index is None else self._device.index
        generators = (*self._generators, torch.cuda.default_generators[index])
        states = [generator.get_state() for generator in generators]
        try:
            yield
        except BaseException:
            for generator, state in zip(generators, states, strict=True):
                fresh = torch.Generator(self._device)
                fresh.set_state(state)
                generator.graphsafe_set_state(fresh.graphsafe_get_state())
            raise

    def _stream(self) -> torch.cuda.Stream:
        """The current stream, or one of its own where that is the default one, which cannot be recorded.

        Never torch's stream for all recordings: graphs recorded on one stream share cuBLAS's workspace,
        so that two of them must not run at the same time.
        """
        current = torch.cuda.current_stream(self._device)
        if current != torch.cuda.default_stream(self._device):
            return current
        if self._own_stream is None:
            self._own_stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        return self._own_stream
