"""Finished runs whose checkpoints are gone are trained anew where another needs them, and lose no result."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fakes import fake_spec, write_run
from tests.unit.queue_desk import FIRST, SOURCE, Queue
from tui_datasize.experiments.spec import RunSpec, SubsetSpec, Transfer
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.requests import Enqueue, outcome_of
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.scheduler.prepare_run import prepare_directory
from tui_datasize.jobs.scheduler.superseded import has_succeeded, put_back
from tui_datasize.runlog.claim import RunOutcome, conclude
from tui_datasize.runlog.paths import ProjectPaths, RunPaths
from tui_datasize.runlog.reader import RunLog

LAST = fake_spec("steps", train_size=80, subset=SubsetSpec("margin", path=(20, 40, 80)))
PATH = [LAST.before.before, LAST.before, LAST]
GONE = " for the sake of a checkpoint that is gone"


def directories(project: ProjectPaths) -> list[RunPaths]:
    return [project.run(spec.experiment, spec.run_id) for spec in PATH[:2]]


def results(project: ProjectPaths) -> dict[str, float]:
    """What the record has of runs that succeeded."""
    runs = RunLog(project).runs().filter(state="succeeded")
    return dict(runs.select("run_id", "test_accuracy").iter_rows())


@pytest.fixture
def finished(queue: Queue, project: ProjectPaths) -> Queue:
    """The first two runs of a path, pruned."""
    for spec in PATH[:2]:
        write_run(project, spec)
    queue.enqueue(*PATH[:2])
    assert not any(run.checkpoint.exists() for run in directories(project))
    return queue


def states(queue: Queue) -> list[str]:
    return [queue.job(spec).state.value for spec in PATH]


def begin(queue: Queue, project: ProjectPaths) -> RunSpec:
    """Start what may start, as a scheduler does."""
    (job,) = queue.store.waiting(9)
    assert isinstance(prepare_directory(project, job, project.runs), int)
    spec = next(spec for spec in PATH if spec.run_id == job.run_id)
    queue.begin(spec)
    return spec


def test_a_longer_path_trains_anew_what_it_needs_and_says_so(finished: Queue, project: ProjectPaths) -> None:
    before = [run.metrics.read_text() for run in directories(project)]
    told = finished.client.enqueue([LAST], sources=PATH[:2])
    assert (told.new, told.renewed, told.present) == (3, 2, 0)
    said = outcome_of(Enqueue((LAST,)), told, []).sentence
    assert (
        said == "steps: 3 runs queued (2 finished ones trained anew: checkpoints gone), 0 were there already"
    )
    finished.apply()
    assert finished.startable() == [PATH[0].run_id]
    # Whoever reads the record in the meantime has the results.
    assert [run.metrics.read_text() for run in directories(project)] == before
    assert finished.client.enqueue([LAST], sources=PATH[:2]).new == 0
    assert begin(finished, project) == PATH[0]
    first, second = directories(project)
    assert not first.metrics.exists()
    assert has_succeeded(second)
    first.checkpoint.touch()
    finished.store.change(PATH[0].run_id, JobState.SUCCEEDED)
    put_back(finished.store, project, finished._desk.at)
    assert begin(finished, project) == PATH[1]
    assert states(finished) == ["succeeded", "running", "queued"]


def test_what_has_its_checkpoint_is_left_alone(finished: Queue, project: ProjectPaths) -> None:
    for run in directories(project):
        run.checkpoint.touch()
    assert finished.client.to_queue([LAST], PATH[:2]).queued == [LAST.run_id]
    directories(project)[1].subset.unlink()
    # The images before are read, too: of that run alone.
    assert finished.client.to_queue([LAST], PATH[:2]).renewed == {PATH[1].run_id}
    forced = finished.client.to_queue(PATH, force=True)
    assert (forced.renewed, len(forced.queued)) == (set(), 3)


def test_a_source_of_weights_that_the_file_does_not_list_any_more_is_trained_anew(
    queue: Queue, project: ProjectPaths
) -> None:
    write_run(project, SOURCE)
    queue.enqueue(SOURCE)
    pupil = replace(FIRST, transfer=Transfer(SOURCE.run_id, None, freeze=False))
    assert queue.client.enqueue([pupil]).renewed == 1
    queue.apply()
    assert queue.startable() == [SOURCE.run_id]


@pytest.mark.parametrize("begun", [False, True])
def test_a_cancelled_renewal_gives_the_result_back(
    finished: Queue, project: ProjectPaths, begun: bool
) -> None:
    before = [run.metrics.read_text() for run in directories(project)]
    finished.enqueue(LAST, sources=PATH[:2])
    if begun:
        assert begin(finished, project) == PATH[0]
        conclude(directories(project)[0], 1, RunOutcome.CANCELLED, "cancelled")
        finished.store.change(PATH[0].run_id, JobState.CANCELLED, "cancelled")
    else:
        assert finished.ask(CommandKind.CANCEL, *PATH) == ["cancelled"] * 3
    put_back(finished.store, project, finished._desk.at)
    assert states(finished) == ["succeeded", "succeeded", "failed" if begun else "cancelled"]
    assert [run.metrics.read_text() for run in directories(project)] == before
    put_back(finished.store, project, finished._desk.at)
    assert len(list(project.superseded("steps").glob("*"))) == begun


def test_a_renewal_that_fails_gives_the_result_back_and_is_tried_again_by_a_retry(
    finished: Queue, project: ProjectPaths
) -> None:
    recorded = results(project)
    finished.enqueue(LAST, sources=PATH[:2])
    assert results(project) == recorded
    begin(finished, project)
    assert len(results(project)) == 1
    conclude(directories(project)[0], 1, RunOutcome.FAILED, "out of memory")
    finished.store.change(PATH[0].run_id, JobState.FAILED, "out of memory")
    put_back(finished.store, project, finished._desk.at)
    assert states(finished) == ["succeeded", "succeeded", "failed"]
    assert results(project) == recorded
    assert finished.job(LAST).reason == f"its source {PATH[0].run_id} failed: out of memory"
    assert all(map(has_succeeded, directories(project)))
    assert finished.ask(CommandKind.RETRY, LAST) == [f"queued again, behind 2 finished runs{GONE}"]
    assert finished.startable() == [PATH[0].run_id]
    assert begin(finished, project) == PATH[0]


def test_a_result_that_is_nowhere_leaves_the_failure(finished: Queue, project: ProjectPaths) -> None:
    finished.enqueue(LAST, sources=PATH[:2])
    begin(finished, project)
    for kept in project.superseded("steps").iterdir():
        (kept / "exit.json").unlink()
    finished.store.change(PATH[0].run_id, JobState.FAILED, "out of memory")
    put_back(finished.store, project, finished._desk.at)
    assert states(finished)[0] == "failed"
    assert not finished.store.not_renewed()
