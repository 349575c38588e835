"""Recording CUDA graphs, and going on after one that torch refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch.torch_version import TorchVersion

Made = TypeVar("Made")
_FINDS_GENERATORS = TorchVersion("2.14")
"""The first torch that does (pytorch/pytorch, pull request 176753)."""


class CudaCapture:
    """Records CUDA graphs, all in one pool of memory.

    What they draw from the generators continues where these are at the time of a replay, as if it were
    drawn one by one.

    Args:
        device: A GPU.
        generators: What recorded work draws from.
    """

    def __init__(self, device: torch.device, generators: Sequence[torch.Generator]) -> None:
        self._device = device
        self._generators = tuple(generators)
        self._own_stream: torch.cuda.Stream | None = None
        self._pool: torch.cuda._POOL_HANDLE | None = None

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

        Raises:
            RuntimeError: It cannot be recorded. The generators are then as they were and can be drawn from,
                and the current stream is what it was.
        """
        graph = torch.cuda.CUDAGraph()
        self._register(graph)
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

    def _register(self, graph: torch.cuda.CUDAGraph) -> None:
        """Have a graph move the generators; newer torch finds them itself, and warns of being told."""
        if torch.__version__ < _FINDS_GENERATORS:
            for generator in self._generators:
                graph.register_generator_state(generator)

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
