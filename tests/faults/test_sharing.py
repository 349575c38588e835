"""Two projects on the slots of one machine: neither starves, and each is told who has them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.forked import Server
from tests.faults.lab import Lab
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.faults import FaultKind
from tui_datasize.jobs.queue.state import JobState

pytestmark = pytest.mark.faults


@pytest.fixture
def labs(
    tmp_path: Path, _own_machine: None, server: Server, request: pytest.FixtureRequest
) -> Iterator[tuple[Lab, Lab]]:
    """Two projects with one slot between them, whose workers start cold if nothing else is said."""
    options = getattr(request, "param", ("--cold",))
    pair = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        pair.append(Lab(tmp_path / name, (*options, "--cpu-slots", "1"), server))
    yield pair[0], pair[1]
    for lab in pair:
        lab.close()


@pytest.mark.parametrize("labs", [()], indirect=True, ids=["warm"])
def test_a_project_that_waits_gets_every_other_slot(labs: tuple[Lab, Lab]) -> None:
    busy, late = labs
    many = busy.enqueue(*(busy.spec(seed, work_s=0.05) for seed in range(24)))
    busy.start_scheduler()
    busy.wait_for(many[0], JobState.SUCCEEDED)
    few = late.enqueue(*(late.spec(seed) for seed in range(3)))
    late.start_scheduler()
    late.wait_until_over()
    assert all(late.job(run).state is JobState.SUCCEEDED for run in few)
    assert any(job.state is JobState.QUEUED for job in busy.client.jobs())


def test_a_project_is_told_who_has_the_slots_and_takes_them_when_they_are_free(
    labs: tuple[Lab, Lab],
) -> None:
    busy, late = labs
    (running,) = busy.enqueue(busy.spec(gate=str(busy.gate())))
    busy.start_scheduler()
    busy.wait_for(running, JobState.RUNNING)
    assert busy.client.waits_for_slots() == ""
    (waiting,) = late.enqueue(late.spec())
    scheduler = late.start_scheduler()
    words = f"waiting: the only CPU slot is used by {busy.project.root} (1)"
    late.wait(lambda: late.client.waits_for_slots() == words)
    # A killed scheduler waits no more, and keeps nobody from a slot.
    late.kill(scheduler)
    busy.gate().touch()
    busy.wait_for(running, JobState.SUCCEEDED)
    (other,) = busy.enqueue(busy.spec(1))
    busy.wait_for(other, JobState.SUCCEEDED)
    late.start_scheduler()
    late.wait_for(waiting, JobState.SUCCEEDED)
    assert late.client.waits_for_slots() == ""


def slots_directory() -> Path:
    return Path(os.environ["DATASIZE_SLOTS_DIR"])


def move_away(directory: Path) -> None:
    directory.rename(directory.with_name("moved"))


def test_slots_removed_under_a_running_job_are_given_to_no_other(labs: tuple[Lab, Lab]) -> None:
    busy, late = labs
    busy.start_scheduler()
    for number, remove in enumerate((shutil.rmtree, move_away)):
        gate = busy.gate(f"gate{number}")
        (running,) = busy.enqueue(busy.spec(number, gate=str(gate)))
        busy.wait_for(running, JobState.RUNNING)
        remove(slots_directory())
        (waiting,) = late.enqueue(late.spec(number))
        if not number:
            late.start_scheduler()
        late.wait(lambda: (slots_directory() / "cpu.0").exists())
        # It has looked, and looks again several times a second.
        late.wait(lambda: (slots_directory() / "waiting").exists())
        assert late.job(waiting).state is JobState.QUEUED
        gate.touch()
        late.wait_for(waiting, JobState.SUCCEEDED)
        assert not late.client.faults()


def test_slots_that_cannot_be_used_are_told_and_waited_for(labs: tuple[Lab, Lab]) -> None:
    lab, _ = labs
    shutil.rmtree(slots_directory())
    slots_directory().write_text("somebody's")
    (run,) = lab.enqueue(lab.spec())
    scheduler = lab.start_scheduler()
    lab.wait(lambda: [fault.kind for fault in lab.client.faults()] == [FaultKind.SLOTS])
    assert lab.client.waits_for_slots().startswith("the slots of this machine cannot be used")
    # Nothing is lost of what else is asked of it.
    assert [ok for ok, _ in lab.ask(CommandKind.PRIORITY, run, amount=1)] == [True]
    assert lab.log().count("cannot be used") == 1
    slots_directory().unlink()
    lab.wait_for(run, JobState.SUCCEEDED)
    assert lab.client.faults() == []
    assert lab.client.stop_scheduler()
    assert scheduler.wait() == 0
