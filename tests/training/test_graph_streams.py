"""What is asked of a GPU, and in which order: recordings beside the default stream, lanes on streams."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.torch_version import TorchVersion

from tests.training.graph_trainers import equal, make, on_recordings, trainer
from tui_datasize.experiments.spec import ModelSpec
from tui_datasize.training.accelerator import cuda
from tui_datasize.training.accelerator.cuda import CudaCapture
from tui_datasize.training.graph import capture_on
from tui_datasize.training.packs.implementations import SideBySide

GPU = torch.device("cuda", 0)
CNN = ModelSpec("cnn3", {"width": 4})


class _FakeStream:
    def __init__(self, journal: list[Any], name: str) -> None:
        self._journal, self.name = journal, name

    def wait_stream(self, other: _FakeStream) -> None:
        self._journal.append(f"{self.name} waits for {other.name}")

    def record_event(self) -> str:
        return self.name

    def wait_event(self, event: str) -> None:
        self._journal.append(f"{self.name} waits for {event}")


class _FakeGpu:
    """What is asked of torch.cuda, written down in the order of asking."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.journal: list[Any] = []
        self.default = _FakeStream(self.journal, "default")
        self.current = self.default
        self._streams = self._graphs = 0
        monkeypatch.setattr(torch.cuda, "default_generators", (torch.Generator(),))
        for name in ("current_stream", "default_stream", "Stream", "stream", "CUDAGraph", "graph"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))

    def current_stream(self, device):
        return self.current

    def default_stream(self, device):
        return self.default

    def Stream(self, device):  # noqa: N802
        self._streams += 1
        return _FakeStream(self.journal, f"side {self._streams}")

    def stream(self, stream):
        gpu, before = self, self.current

        class On:
            def __enter__(self):
                gpu.current = stream

            def __exit__(self, *_):
                gpu.current = before

        return On()

    def CUDAGraph(self):  # noqa: N802
        gpu = self
        gpu._graphs += 1
        number = gpu._graphs

        class Graph:
            def register_generator_state(self, generator):
                gpu.journal.append(f"graph {number} draws from {generator}")

            def pool(self):
                return f"pool {number}"

            def replay(self):
                gpu.journal.append(f"graph {number} on {gpu.current.name}")

        return Graph()

    def graph(self, graph, pool, stream, capture_error_mode):
        assert capture_error_mode == "thread_local"
        self.journal.append(f"record on {stream.name} in {pool}")
        return self.stream(stream)


class _Masks(torch.Generator):
    def __str__(self):
        return "masks"


@pytest.mark.parametrize("first", ["2.9", "99"], ids=["newer torch", "torch that must be told"])
def test_graphs_are_recorded_beside_the_default_stream_and_replayed_on_the_current_one(first, monkeypatch):
    gpu = _FakeGpu(monkeypatch)
    monkeypatch.setattr(cuda, "_FINDS_GENERATORS", TorchVersion(first))
    capture = CudaCapture(torch.device("cuda", 0), [_Masks()])
    assert capture.prepare(lambda: gpu.current.name) == "side 1"
    replays = []
    for _ in range(2):
        made, replay = capture.record(lambda: gpu.current.name)
        assert made == "side 1"
        replays.append(replay)
    replays[1]()
    capture.forget()
    gpu.current = gpu.Stream(None)
    assert capture.record(lambda: gpu.current.name)[0] == "side 2"
    told = [line for line in gpu.journal if "draws from masks" in line]
    assert told == ([f"graph {number} draws from masks" for number in (1, 2, 3)] if first == "99" else [])
    assert [line for line in gpu.journal if line not in told] == [
        "side 1 waits for default",
        "default waits for side 1",
        "record on side 1 in None",
        "record on side 1 in pool 1",
        "graph 2 on default",
        "record on side 2 in None",
    ]


class _FakeTrainer:
    device = GPU

    def __init__(self, gpu: _FakeGpu, name: str) -> None:
        self._gpu, self._name = gpu, name

    def step(self) -> None:
        self._gpu.journal.append(f"{self._name} steps on {self._gpu.current.name}")


def test_lanes_step_on_streams_of_their_own_between_the_work_of_the_current_one(monkeypatch):
    gpu = _FakeGpu(monkeypatch)
    together = SideBySide([_FakeTrainer(gpu, name) for name in "ABC"])  # type: ignore[misc]
    together.step([0, 2])
    assert gpu.current is gpu.default
    assert gpu.journal == [
        "side 1 waits for default",
        "A steps on side 1",
        "side 3 waits for default",
        "C steps on side 3",
        "default waits for side 1",
        "default waits for side 3",
    ]


def test_where_a_lane_fails_the_current_stream_still_waits_for_all(monkeypatch):
    gpu = _FakeGpu(monkeypatch)
    lanes = [_FakeTrainer(gpu, name) for name in "AB"]
    monkeypatch.setattr(lanes[1], "step", _run_out_of_memory)
    with pytest.raises(RuntimeError, match="out of memory"):
        SideBySide(lanes).step([0, 1])  # type: ignore[arg-type]
    assert gpu.current is gpu.default
    assert gpu.journal[-2:] == ["default waits for side 1", "default waits for side 2"]


def _run_out_of_memory() -> None:
    raise RuntimeError("out of memory")


@pytest.mark.parametrize("capture", [lambda *_: None, on_recordings], ids=["plain", "recorded"])
def test_lanes_side_by_side_are_their_runs_alone(capture, digits):
    alone = [trainer(digits, model=CNN, seed=seed) for seed in (1, 2)]
    lanes = [trainer(digits, model=CNN, seed=seed, capture=capture) for seed in (1, 2)]
    together = SideBySide(lanes)
    for update in range(8):
        together.step([0, 1] if update < 5 else [1])
    make(alone[0], 5)
    make(alone[1], 8)
    for lane, run in zip(lanes, alone, strict=True):
        assert lane.read() == run.read()
        assert equal(lane.state_dict(), run.state_dict())


@pytest.mark.gpu
def test_on_a_gpu_lanes_side_by_side_are_their_runs_alone(digits):
    alone, lanes = (
        [trainer(digits, model=CNN, seed=seed, device=GPU, capture=capture_on) for seed in (1, 2, 3)]
        for _ in range(2)
    )
    together = SideBySide(lanes)
    for _ in range(30):
        together.step(range(3))
    for lane, run in zip(lanes, alone, strict=True):
        make(run, 30)
        assert lane.replayed == run.replayed == 27
        assert lane.read() == run.read()
        assert equal(lane.state_dict(), run.state_dict())
