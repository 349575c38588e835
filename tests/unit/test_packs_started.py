"""What is handed to the worker of a pack, and what is learned from a run that had one to itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tui_datasize.jobs.queue.gpu_memory import Learned, noted_memory
from tui_datasize.jobs.workers.preloader import PACKET_BYTES
from tui_datasize.jobs.workers.spawn import ColdSpawner, SpawnRequest, Worker
from tui_datasize.jobs.workers.warm import WarmSpawner
from tui_datasize.runlog.paths import RunPaths

GIB = 2**30


def request_for(*directories: str) -> SpawnRequest:
    runs = tuple(RunPaths(Path("/runs") / directory) for directory in directories)
    return SpawnRequest(runs, {"DATASIZE_ATTEMPT": "1"}, "t" * 32, (), Path("/"))


def test_the_runs_of_a_pack_stand_behind_an_option_and_a_single_run_alone() -> None:
    assert request_for("a").arguments == ("/runs/a",)
    pack = request_for("a", "b")
    assert pack.arguments == ("--pack", "/runs/a", "/runs/b")
    assert pack.logs == (Path("/runs/a/stdout.log"), Path("/runs/a/stderr.log"))


class Cold(ColdSpawner):
    """Notes what it is asked for, and starts nothing."""

    def __init__(self) -> None:
        super().__init__(())
        self.asked: list[SpawnRequest] = []

    def start(self, request: SpawnRequest) -> Worker:
        self.asked.append(request)
        return Worker(is_gone=True)


@pytest.fixture
def cold() -> Cold:
    return Cold()


@pytest.fixture
def warm(cold: Cold) -> Iterator[WarmSpawner]:
    spawner = WarmSpawner(("json",), "tests.faults.fake_worker:main", cold, answer_s=60)
    yield spawner
    spawner.close()


def test_a_pack_whose_directories_fill_more_than_a_message_starts_cold(warm: WarmSpawner, cold: Cold) -> None:
    while not warm.make_ready():
        warm.poll()
    long = request_for(*(f"{n}{'x' * 1000}" for n in range(PACKET_BYTES // 1000)))
    warm.start(long)
    assert cold.asked == [long]


@pytest.mark.parametrize(
    ("noted", "is_learned"),
    [
        ({"peak_device_memory_bytes": 3 * GIB}, True),
        ({"peak_device_memory_bytes": 3 * GIB, "pack_widths": [1]}, True),
        # What a process had with other runs is not this one's.
        ({"peak_device_memory_bytes": 3 * GIB, "pack_widths": [4, 1]}, False),
        ({"peak_memory_bytes": 3 * GIB}, False),
        # Of an earlier version, which did not tell where images lay.
        ({"peak_device_memory_bytes": 3 * GIB, "image_bytes": None}, False),
        ([], False),
    ],
)
def test_memory_is_learned_from_a_run_that_had_its_process_to_itself(
    tmp_path: Path, noted: object, is_learned: bool
) -> None:
    run = RunPaths(tmp_path)
    assert noted_memory(run) is None
    placed = {"image_bytes": 784, "train_images_device_bytes": GIB, "test_images_device_bytes": GIB // 2}
    run.provenance.write_text(json.dumps({**placed, **noted} if isinstance(noted, dict) else noted))
    expected = Learned(in_file=False, work_bytes=3 * GIB // 2, image_bytes=784, test_bytes=GIB // 2)
    assert noted_memory(run) == (expected if is_learned else None)


def test_a_worker_that_cannot_say_its_last_words_ends_as_one(cold: Cold, tmp_path: Path) -> None:
    """On a full disk, where its preloader's loop would go on in it."""
    run = RunPaths(tmp_path / "run")
    run.directory.mkdir()
    for log in (run.stdout, run.stderr):
        log.symlink_to("/dev/full")
    spawner = WarmSpawner(("json",), "builtins:print", cold, answer_s=60)
    try:
        while not spawner.make_ready():
            spawner.poll()
        worker = spawner.start(SpawnRequest((run,), {}, "t" * 32, (), tmp_path))
        while not worker.is_gone:
            spawner.poll()
        assert (worker.status, worker.was_never_begun) == (1, False)
        assert spawner.make_ready()
    finally:
        spawner.close()
