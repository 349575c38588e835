"""Each run of a worker ends as it should, whatever fails beside it: logs, disks, memory, patience."""

from __future__ import annotations

import errno
import gc
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.conftest import Compute, QueueRun
from tests.training.pack_runs import CNN, SPEC, after, ask_to_leave, diverging, ends, specs_of, work
from tui_datasize.errors import EXIT_OK, EXIT_RUN_FAILED, EXIT_TRY_AGAIN, DeviceUnavailable
from tui_datasize.experiments.spec import Budget
from tui_datasize.runlog import claim as claims
from tui_datasize.runlog.claim import RunOutcome, read_exit, take_lock
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.training import lane
from tui_datasize.training.accelerator.interface import Accelerator
from tui_datasize.training.engine import Trainer
from tui_datasize.training.packs.fused import Fused
from tui_datasize.training.worker import main

SUCCEEDED = (RunOutcome.SUCCEEDED, "")


class Crowd:
    """The trainers that are alive."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._made: list[weakref.ref[Trainer]] = []
        self.is_tied = False
        """Whether they refer to themselves, so that only who collects garbage frees them."""
        make = Trainer.__init__

        def make_and_note(trainer: Trainer, *arguments: object, **options: object) -> None:
            make(trainer, *arguments, **options)  # type: ignore[arg-type]
            if self.is_tied:
                vars(trainer)["itself"] = trainer
            self._made.append(weakref.ref(trainer))

        monkeypatch.setattr(Trainer, "__init__", make_and_note)

    def __len__(self) -> int:
        return sum(trainer() is not None for trainer in self._made)


@pytest.fixture
def crowd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Crowd]:
    """While nothing but the product looks for what only refers to itself."""
    gc.disable()
    # The product looks for it at each failure, which takes a second of all that tests have left.
    gc.freeze()
    yield Crowd(monkeypatch)
    gc.enable()


def run_out_of_memory(*_: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class TooLarge(Fused):
    """A pack that no memory holds."""

    def step(self, lanes: Sequence[int]) -> None:
        run_out_of_memory()


def test_a_run_that_failed_before_keeps_no_memory_when_it_runs_out(
    queue_run: QueueRun, compute: Compute, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd.is_tied = True
    left, free = list[int](), Accelerator.release_memory

    def free_and_count(host: Accelerator) -> None:
        free(host)
        left.append(len(crowd))

    monkeypatch.setattr(Accelerator, "release_memory", free_and_count)
    compute(after(8, run_out_of_memory))
    first, second, third = specs_of(CNN, 3)
    runs = [queue_run(spec) for spec in (first, diverging(second), third)]
    assert work(runs) == EXIT_RUN_FAILED
    assert [end and end[0] for end in ends(runs)] == [
        *(RunOutcome.SUCCEEDED, RunOutcome.FAILED, RunOutcome.SUCCEEDED)
    ]
    assert set(left) == {0}


@pytest.mark.parametrize("arguments", [["--pack"], []], ids=["a pack", "one after the other"])
def test_runs_that_fail_keep_no_memory_from_the_next_ones(
    arguments: list[str],
    queue_run: QueueRun,
    compute: Compute,
    crowd: Crowd,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alive = list[int]()

    def count_and_fail(_: Trainer) -> None:
        alive.append(len(crowd))
        run_out_of_memory()

    monkeypatch.setattr(Trainer, "step", count_and_fail)
    compute(TooLarge)
    runs = [queue_run(spec) for spec in specs_of(SPEC, 3)]
    assert main([*arguments, *(str(paths.directory) for paths in runs)]) == EXIT_RUN_FAILED
    assert set(alive) == {1}
    assert all(end and end[1].startswith("out of memory") for end in ends(runs))


def lose_the_device() -> None:
    raise DeviceUnavailable("the GPU is lost", fix="restart the machine")


def test_a_lost_device_interrupts_all_runs_of_a_pack_and_ends_the_worker(
    queue_run: QueueRun, compute: Compute
) -> None:
    compute(after(8, lose_the_device))
    first, second, third = specs_of(CNN, 3)
    runs = [queue_run(spec) for spec in (first, diverging(second), third)]
    assert work(runs) == EXIT_RUN_FAILED
    records = [read_exit(run) for run in runs]
    assert [end and end.outcome for end in records] == [
        RunOutcome.INTERRUPTED,
        RunOutcome.FAILED,
        RunOutcome.INTERRUPTED,
    ]
    told = "the GPU is lost; restart the machine"
    assert [end and end.device_fault for end in records] == [told, "", told]


class FullOutput:
    """A stream onto a full disk."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def full_output() -> Iterator[None]:
    """Standard output and error are lost."""
    full = FullOutput()
    with redirect_stdout(full), redirect_stderr(full):  # type: ignore[type-var]
        yield


def test_logs_that_cannot_be_written_keep_no_pack_from_its_ends(
    queue_run: QueueRun, compute: Compute
) -> None:
    compute(Fused)
    first, second, third = specs_of(CNN, 3)
    runs = [queue_run(spec) for spec in (first, diverging(second), third)]
    runs[2].stdout.symlink_to("/dev/full")
    with full_output():
        status = work(runs)
    outcomes = ends(runs)
    assert status == EXIT_RUN_FAILED
    assert outcomes[0] == outcomes[2] == SUCCEEDED
    assert outcomes[1] is not None
    assert "loss became" in outcomes[1][1]
    # What can be written is.
    assert outcomes[1][1] in runs[1].stderr.read_text()
    assert runs[0].stdout.read_text().endswith(": succeeded\n")


def test_logs_that_cannot_be_written_keep_no_run_alone_from_its_end(queue_run: QueueRun) -> None:
    runs = [queue_run(spec) for spec in (diverging(SPEC), SPEC)]
    with full_output():
        status = main([str(paths.directory) for paths in runs])
    assert status == EXIT_RUN_FAILED
    failed, succeeded = ends(runs)
    assert failed is not None
    assert "loss became" in failed[1]
    assert succeeded == SUCCEEDED


@pytest.fixture
def first_write(monkeypatch: pytest.MonkeyPatch) -> Callable[[RunPaths, Callable[[], object]], None]:
    """Have something happen in place of the first write of a run's end."""

    def have(run: RunPaths, happen: Callable[[], object]) -> None:
        write, waiting = claims.write_json, [happen]

        def happen_or_write(path: Path, document: object) -> None:
            if path == run.exit and waiting:
                waiting.pop()()
            write(path, document)

        monkeypatch.setattr(claims, "write_json", happen_or_write)

    return have


def fill_the_disk() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("interval_s", "is_free"), [(0.0, True), (1e9, False)], ids=["while others train", "at the end"]
)
def test_an_end_that_could_not_be_written_is_written_later(
    interval_s: float,
    is_free: bool,
    queue_run: QueueRun,
    compute: Compute,
    first_write: Callable[[RunPaths, Callable[[], object]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lane, "_RETRY_INTERVAL_S", interval_s)
    runs = [queue_run(replace(CNN, budget=Budget("updates", updates))) for updates in (4, 12)]
    first_write(runs[0], fill_the_disk)
    seen: list[tuple[bool, object]] = []

    def look() -> None:
        lock = take_lock(runs[0], patience_s=0)
        seen.append((lock is not None, ends(runs)[0]))
        if lock is not None:
            os.close(lock)

    compute(after(10, look))
    assert work(runs) == EXIT_OK
    assert seen == [(True, SUCCEEDED) if is_free else (False, None)]
    assert ends(runs) == [SUCCEEDED] * 2
    told = runs[0].stdout.read_text()
    assert told.count(": succeeded\n") == 1
    assert runs[0].stderr.read_text().count("disk full: ") == 1


def test_an_end_that_is_never_written_fails_the_worker(
    queue_run: QueueRun, compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute(Fused)
    write = claims.write_json

    def write_no_exit(path: Path, document: object) -> None:
        if path.name == "exit.json":
            fill_the_disk()
        write(path, document)

    monkeypatch.setattr(claims, "write_json", write_no_exit)
    runs = [queue_run(spec) for spec in specs_of(SPEC, 2)]
    assert work(runs) == EXIT_TRY_AGAIN
    assert ends(runs) == [None, None]


def test_a_request_to_leave_while_an_end_is_written_takes_no_end_away(
    queue_run: QueueRun,
    compute: Compute,
    first_write: Callable[[RunPaths, Callable[[], object]], None],
) -> None:
    compute(Fused)
    sound, broken, also_sound = runs = [queue_run(spec) for spec in specs_of(CNN, 3)]
    broken.spec.write_text("{}")
    first_write(broken, ask_to_leave)
    assert work(runs) == EXIT_RUN_FAILED
    assert [end and end[0] for end in ends([sound, also_sound])] == [RunOutcome.INTERRUPTED] * 2
    (end,) = ends([broken])
    assert end is not None
    assert end[0] is RunOutcome.FAILED
    assert str(broken.spec) in end[1]
