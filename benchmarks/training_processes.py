"""The processes of `benchmarks.training`: forked once per model, each with sides that work when asked."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

import torch

from benchmarks.training_sides import Done, Side, matrix_flops, timed
from tui_datasize.training.accelerator.device import advice, describe

Build: TypeAlias = Callable[[], Mapping[str, Side]]
"""Makes the sides of a process, by name, within it."""

_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Team:
    """Processes that work at the same time, each with a side of the same name."""

    connections: Sequence[Connection]

    def train(self, side: str, epochs: int) -> list[Done]:
        """Have all train so many further epochs."""
        return self._ask(("train", side, epochs))

    def evaluate(self, side: str) -> list[Done]:
        """Have all measure the test split."""
        return self._ask(("evaluate", side, 0))

    def matrix_flops(self, side: str, *, bf16: bool) -> float:
        """FLOP/s of matrix products in all of them together."""
        return float(sum(self._ask(("multiply", side, int(bf16)))))

    def _ask(self, question: tuple[str, str, int]) -> list[Any]:
        for connection in self.connections:
            connection.send(question)
        return [connection.recv() for connection in self.connections]


def described(device: torch.device) -> dict[str, Any]:
    """Facts about a device, asked in a process of their own: whoever met a GPU may not fork for it."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(describe, (device,)) | {"bf16": pool.apply(advice, (device, "bf16"))}


@contextmanager
def team(builds: Sequence[Build], device: torch.device) -> Iterator[Team]:
    """Fork a process for each of the builds, wait until all are ready, and end them at last."""
    with ExitStack() as stack:
        connections = [stack.enter_context(_process(build, device)) for build in builds]
        for connection in connections:
            connection.recv()
        yield Team(connections)


@contextmanager
def _process(build: Build, device: torch.device) -> Iterator[Connection]:
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    # Not a daemon: those may have no loader workers.
    process = context.Process(target=_serve, args=(there, here, build, device))
    process.start()
    there.close()
    try:
        yield here
    finally:
        here.close()
        process.join(_PATIENCE_S)
        process.terminate()


def _serve(connection: Connection, parents_end: Connection, build: Build, device: torch.device) -> None:
    """Answer until the parent closes its end."""
    parents_end.close()
    sides = build()
    connection.send("ready")
    while True:
        try:
            kind, name, amount = connection.recv()
        except EOFError:
            return
        connection.send(_answer(kind, sides[name], amount, device))


def _answer(kind: str, side: Side, amount: int, device: torch.device) -> Done | float:
    side.set_up()
    if kind == "multiply":
        return matrix_flops(device, bf16=bool(amount))
    return timed((lambda: side.train(amount)) if kind == "train" else side.evaluate, device)
