"""Who of a rung goes on: decided once, on images held out, and in the same transaction as its last end."""

from __future__ import annotations

import errno
import itertools
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from tests.fakes import fake_spec
from tests.unit.queue_desk import Queue
from tui_datasize.experiments.search import Rung
from tui_datasize.experiments.spec import Budget, RunSpec
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.database import PassingStorageError
from tui_datasize.jobs.queue.requests import Answered, Undo
from tui_datasize.jobs.queue.spec_file import QueuedSpec, promoted_document, write_documents
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.queue.undo import last_done
from tui_datasize.jobs.rebuild import repair
from tui_datasize.jobs.scheduler import apply_commands
from tui_datasize.runlog.claim import Claim, RunOutcome, acquire
from tui_datasize.runlog.paths import ProjectPaths, RunPaths

AMOUNTS, KEPT = (10, 20, 40), (4, 2, 1)
SEEDS = (0, 1)


def run_of(candidate: int, seed: int, number: int = 0) -> RunSpec:
    spec = fake_spec("e", seed=seed, budget=Budget("updates", AMOUNTS[number]))
    return replace(spec, batch_size=candidate + 1)


def places(
    candidates: Sequence[int] = range(4), name: str = "s", kept: tuple[int, ...] = KEPT
) -> dict[str, Rung]:
    return {
        run_of(candidate, seed).run_id: Rung(name, 0, candidate, (), len(SEEDS), kept, AMOUNTS)
        for candidate in candidates
        for seed in SEEDS
    }


class Climb:
    """The runs of a search of four candidates with two seeds each, whose records the test writes."""

    def __init__(self, queue: Queue, project: ProjectPaths) -> None:
        self.queue, self.project = queue, project
        self.first = [run_of(candidate, seed) for candidate in range(4) for seed in SEEDS]
        queue.enqueue(*self.first, rungs=places())

    def record(self, spec: RunSpec, accuracy: float, loss: float = 1.0, test: float = 0.5) -> None:
        paths = self.project.run(spec.experiment, spec.run_id)
        paths.directory.mkdir(parents=True, exist_ok=True)
        rows = [
            {"event": "evaluation", "update": 1, "split": "validation", "accuracy": 1 - accuracy, "loss": 0},
            {"event": "evaluation", "update": 2, "split": "validation", "accuracy": accuracy, "loss": loss},
            {"event": "evaluation", "update": 2, "split": "test", "accuracy": test, "loss": 1 - test},
        ]
        paths.metrics.write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    def succeed(self, spec: RunSpec, accuracy: float, loss: float = 1.0, test: float = 0.5) -> None:
        self.record(spec, accuracy, loss, test)
        self.queue.end(spec, JobState.SUCCEEDED)

    def rung(self, number: int) -> list[int]:
        """The candidates that the queue has on a rung, once for each run."""
        known = {job.run_id for job in self.queue.client.jobs()}
        return [c for c in range(4) for seed in SEEDS if run_of(c, seed, number).run_id in known]


@pytest.fixture
def climb(queue: Queue, project: ProjectPaths) -> Climb:
    return Climb(queue, project)


def test_those_go_on_that_do_best_on_the_images_held_out(climb: Climb) -> None:
    for place, spec in enumerate(climb.first):
        assert climb.rung(1) == []
        # The mean over the seeds decides: of candidates 0 .. 3 it is .5, .6, .6 and .4; the test, nothing.
        accuracy = (0.9, 0.1, 0.6, 0.6, 0.5, 0.7, 0.4, 0.4)[place]
        climb.succeed(spec, accuracy, test=1 - accuracy)
    # Before any command is applied a client sees them as queued, as does whoever waits for the search.
    assert climb.rung(1) == [1, 1, 2, 2]
    higher = {run_of(c, seed, 1).run_id for c in (1, 2) for seed in SEEDS}
    assert {spec.run_id for spec in climb.queue.client.promoted("e")} == higher
    climb.queue.apply()
    assert {spec.run_id for spec in climb.queue.client.promoted("e")} == higher
    document = json.loads(climb.queue.store.value(run_of(1, 0, 1).run_id, "document"))
    told = {"search": "s", "number": 1, "candidate": 1, "chosen": [1, 2], "cells": 2}
    assert document["search"].items() >= told.items()
    assert RunSpec.from_dict(document["spec"]) == run_of(1, 0, 1)
    for spec in (run_of(c, seed, 1) for c in (1, 2) for seed in SEEDS):
        climb.succeed(spec, 0.5, loss=2 - spec.batch_size)
    # Equal in accuracy, candidate 2 has the lower loss.
    assert climb.rung(2) == [2, 2]
    for seed in SEEDS:
        climb.queue.apply()
        climb.succeed(run_of(2, seed, 2), 0.5)
    assert not climb.queue.store.pending_commands(1)


def test_a_failed_candidate_is_not_promoted_and_its_retry_changes_nothing(climb: Climb) -> None:
    for spec in climb.first[:-1]:
        climb.succeed(spec, spec.batch_size / 10)
    climb.queue.end(climb.first[-1], JobState.FAILED, "loss is NaN")
    assert climb.rung(1) == [1, 1, 2, 2]
    climb.queue.apply()
    assert climb.queue.ask(CommandKind.RETRY, climb.first[-1]) == ["queued again"]
    climb.succeed(climb.first[-1], 0.9)
    climb.queue.apply()
    assert climb.rung(1) == [1, 1, 2, 2]


def test_a_rung_waits_for_runs_that_are_held_or_cancelled(climb: Climb) -> None:
    assert climb.queue.ask(CommandKind.HOLD, climb.first[0]) == ["held"]
    assert climb.queue.ask(CommandKind.CANCEL, climb.first[1]) == ["cancelled"]
    for spec in climb.first[2:]:
        climb.succeed(spec, 0.5)
    assert climb.rung(1) == []
    assert climb.queue.ask(CommandKind.RELEASE, climb.first[0]) == ["released"]
    climb.succeed(climb.first[0], 0.6)
    # Whoever cancels stops the search; a retry goes on with it.
    assert climb.rung(1) == []
    assert climb.queue.ask(CommandKind.RETRY, climb.first[1]) == ["queued again"]
    climb.succeed(climb.first[1], 0.6)
    assert climb.rung(1) == [0, 0, 1, 1]


def test_nobody_goes_on_where_all_fail_until_one_succeeds_after_all(climb: Climb) -> None:
    for spec in climb.first:
        climb.queue.end(spec, JobState.FAILED, "loss is NaN")
    assert climb.rung(1) == []
    climb.queue.ask(CommandKind.RETRY, *climb.first[:2])
    for spec in climb.first[:2]:
        climb.succeed(spec, 0.5)
    assert climb.rung(1) == [0, 0]


def test_a_promotion_is_committed_with_the_end_or_not_at_all(
    climb: Climb, monkeypatch: pytest.MonkeyPatch
) -> None:
    for spec in climb.first[:-1]:
        climb.succeed(spec, 0.5)
    climb.record(climb.first[-1], 0.9)
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    with monkeypatch.context() as patch:
        patch.setattr("tui_datasize.jobs.queue.searches.insert_commands", Mock(side_effect=full))
        with pytest.raises(PassingStorageError):
            climb.queue.end(climb.first[-1], JobState.SUCCEEDED)
    assert climb.queue.job(climb.first[-1]).state is JobState.QUEUED
    assert climb.rung(1) == []
    climb.succeed(climb.first[-1], 0.9)
    # Candidate 3 has the best mean; of the others, which are equal, the first that was drawn goes on.
    assert climb.rung(1) == [0, 0, 3, 3]


def test_a_wider_search_takes_over_what_is_there(climb: Climb, project: ProjectPaths) -> None:
    for spec in climb.first:
        climb.succeed(spec, spec.batch_size / 10)
    climb.queue.apply()
    assert climb.rung(1) == [2, 2, 3, 3]
    for spec in (run_of(2, 0, 1), run_of(2, 1, 1)):
        climb.succeed(spec, 0.5)
    more = [run_of(candidate, seed) for candidate in (4, 5) for seed in SEEDS]
    wider = places(range(6), "wider", (6, 3, 1))
    climb.queue.enqueue(*climb.first, *more, rungs=wider)
    for spec in more:
        climb.succeed(spec, 0.35 if spec.batch_size == 5 else 0.1)
    climb.queue.apply()
    # Candidates 2, 3 and 4 go on; the runs of candidate 2 are done, those of 3 wait already.
    known = {job.run_id: job.state for job in climb.queue.client.jobs()}
    assert [known[run_of(c, 0, 1).run_id] for c in (2, 3, 4)] == ["succeeded", "queued", "queued"]
    assert run_of(5, 0, 1).run_id not in known


def test_undo_takes_back_what_a_person_asked_for_alone(climb: Climb) -> None:
    for spec in climb.first:
        climb.succeed(spec, 0.5)
    climb.queue.apply()
    climb.queue.ask(CommandKind.HOLD, run_of(0, 0, 1))
    climb.queue.ask(CommandKind.RELEASE, run_of(0, 0, 1))
    with climb.queue.client._database() as connection:
        assert last_done(connection).words == "release 1 run"


def test_a_search_that_was_taken_out_of_the_queue_waits_for_nothing(
    climb: Climb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QueueClient, "ensure_scheduler", lambda _: climb.queue.apply())
    assert climb.queue.client.searches()
    assert climb.queue.client.request(Undo()).answered is Answered.DONE
    assert (climb.queue.client.jobs(), climb.queue.client.searches()) == ([], {})


def test_queueing_again_keeps_where_a_promoted_run_stands(climb: Climb) -> None:
    for spec in climb.first:
        climb.succeed(spec, 0.5)
    climb.queue.apply()
    promoted = climb.queue.client.promoted("e")
    assert promoted == [run_of(c, seed, 1) for c in (0, 1) for seed in SEEDS]
    climb.queue.ask(CommandKind.CANCEL, *promoted)
    climb.queue.enqueue(*climb.first, *promoted, rungs=places())
    assert {climb.queue.job(spec).state for spec in promoted} == {JobState.QUEUED}
    document = json.loads(climb.queue.store.value(promoted[0].run_id, "document"))
    assert (document["search"]["number"], document["search"]["chosen"]) == (1, [0, 1])


def _end_on_disk(project: ProjectPaths, document: str, outcome: RunOutcome) -> None:
    content = json.loads(document)
    paths = project.run(content["spec"]["experiment"], content["run_id"])
    paths.directory.mkdir(parents=True, exist_ok=True)
    paths.spec.write_text(document)
    claim: Claim = acquire(paths, 1)
    claim.finish(outcome)
    claim.release()


@pytest.mark.parametrize("begun", [0, 1, 4])
def test_a_search_goes_on_in_a_queue_that_was_rebuilt(
    climb: Climb, queue: Queue, project: ProjectPaths, begun: int
) -> None:
    """Whatever of the next rung had begun: what is missing of it follows from what there is."""
    for spec in climb.first:
        climb.succeed(spec, spec.batch_size / 10)
        _end_on_disk(project, queue.store.value(spec.run_id, "document"), RunOutcome.SUCCEEDED)
    queue.apply()
    promoted = [run_of(c, seed, 1) for c in (2, 3) for seed in SEEDS]
    for spec in promoted[:begun]:
        climb.succeed(spec, 0.5)
        _end_on_disk(project, queue.store.value(spec.run_id, "document"), RunOutcome.SUCCEEDED)
    if begun:
        # A record that changed since does not change who was promoted.
        climb.record(climb.first[0], 0.99)
        climb.record(climb.first[1], 0.99)
    queue.store.close()
    for file in project.runs.glob("queue.db*"):
        file.unlink()
    repair(project)
    with closing(Store(project.queue)) as store:
        after = Queue(project, store)
        after.apply()
        known = {job.run_id: job.state for job in QueueClient(project).jobs()}
        done = [known[spec.run_id] is JobState.SUCCEEDED for spec in promoted]
        assert done == [place < begun for place in range(4)]
        next_rung = [run_of(c, seed, 2).run_id for c in range(4) for seed in SEEDS]
        assert len(set(next_rung) & known.keys()) == (2 if begun == 4 else 0)
        assert len(known) == 8 + 4 + (2 if begun == 4 else 0)


def test_a_lever_that_is_promoted_is_no_second_run(climb: Climb, queue: Queue, project: ProjectPaths) -> None:
    """One of its runs has ended, one waits, without a word of the search; a rebuilt queue knows both."""
    done, waiting = lever = [run_of(3, seed, 2) for seed in SEEDS]
    queue.enqueue(*lever)
    climb.succeed(done, 0.9)
    _end_on_disk(project, queue.store.value(done.run_id, "document"), RunOutcome.SUCCEEDED)
    for number, candidates in ((0, range(4)), (1, (2, 3))):
        for spec in (run_of(c, seed, number) for c in candidates for seed in SEEDS):
            climb.succeed(spec, spec.batch_size / 10)
            _end_on_disk(project, queue.store.value(spec.run_id, "document"), RunOutcome.SUCCEEDED)
        queue.apply()
    assert {*queue.client.promoted("e")} > {*lever}
    assert queue.client.searches() == {"e": "40 images: rung 3 of 3, 1 of 2 runs done"}
    queue.store.close()
    for file in project.runs.glob("queue.db*"):
        file.unlink()
    repair(project)
    with closing(Store(project.queue)) as store:
        after = Queue(project, store)
        after.apply()
        states = [after.job(spec).state for spec in lever]
        assert states == [JobState.SUCCEEDED, JobState.QUEUED]
        after.end(waiting, JobState.SUCCEEDED)
        assert after.client.searches() == {}
        assert len(after.client.jobs()) == 8 + 4 + 2


def test_a_promoted_run_that_cannot_be_queued_has_failed(
    climb: Climb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for the search, and the search for its rung, would otherwise wait for ever."""
    blocked, looked = run_of(3, 1, 1), apply_commands.observe

    def observe(paths: RunPaths) -> object:
        if paths.run_id == blocked.run_id:
            raise PermissionError(errno.EACCES, "Permission denied", str(paths.lock))
        return looked(paths)

    with monkeypatch.context() as patch:
        patch.setattr(apply_commands, "observe", observe)
        for spec in climb.first:
            climb.succeed(spec, spec.batch_size / 10)
        climb.queue.apply()
    job = climb.queue.job(blocked)
    assert job.state is JobState.FAILED
    assert job.reason.startswith("its directory cannot be used: ")
    for spec in (run_of(2, 0, 1), run_of(2, 1, 1), run_of(3, 0, 1)):
        climb.succeed(spec, spec.batch_size / 10)
    climb.queue.apply()
    # The other candidate goes on, and whoever has mended it may try the run again.
    assert climb.rung(2) == [2, 2]
    climb.queue.ask(CommandKind.RETRY, blocked)
    assert climb.queue.job(blocked).state is JobState.QUEUED


def test_a_run_whose_record_lacks_validation_is_not_promoted(climb: Climb, project: ProjectPaths) -> None:
    for spec in climb.first:
        climb.succeed(spec, spec.batch_size / 10)
        if spec.batch_size == 4:
            break
    project.run("e", climb.first[6].run_id).metrics.write_text('{"split": "validation"}\n')
    climb.succeed(climb.first[7], 0.9)
    assert climb.rung(1) == [1, 1, 2, 2]


@pytest.mark.parametrize("order", [*itertools.islice(itertools.permutations(range(8)), 0, 40_000, 9_000)])
def test_the_order_of_ends_changes_nothing(climb: Climb, order: Sequence[int]) -> None:
    for place in order:
        climb.succeed(climb.first[place], 0.5)
    assert climb.rung(1) == [0, 0, 1, 1]


def test_what_a_search_waits_for_is_told(climb: Climb) -> None:
    def told() -> str:
        return climb.queue.client.searches().get("e", "")

    assert told() == "40 images: rung 1 of 3, 0 of 8 runs done, then 2 of 4 candidates go on"
    climb.queue.ask(CommandKind.CANCEL, climb.first[0])
    climb.queue.ask(CommandKind.HOLD, climb.first[1])
    words = "40 images: rung 1 of 3, 0 of 8 runs done, waits for 1 cancelled: retry goes on, 1 held"
    assert told() == words
    climb.queue.ask(CommandKind.RETRY, climb.first[0])
    climb.queue.ask(CommandKind.RELEASE, climb.first[1])
    for spec in climb.first:
        climb.queue.end(spec, JobState.FAILED, "loss is NaN")
    assert told() == "40 images: rung 1 of 3, 8 of 8 runs done, none to go on with: 8 failed"
    climb.queue.ask(CommandKind.RETRY, *climb.first[:2])
    for number in range(3):
        for seed in SEEDS:
            climb.queue.apply()
            climb.succeed(run_of(0, seed, number), 0.5)
    assert told() == ""


def test_a_part_of_a_rung_waits_for_the_rest(queue: Queue) -> None:
    queue.enqueue(run_of(0, 0), rungs=places())
    assert "waits for 7 not queued: queue the experiment again" in queue.client.searches()["e"]


def test_force_runs_again_what_is_there_and_promotes_nobody_anew(climb: Climb) -> None:
    for spec in climb.first:
        climb.succeed(spec, spec.batch_size / 10)
    climb.queue.apply()
    promoted = climb.queue.client.promoted("e")
    climb.queue.enqueue(*climb.first, *promoted, rungs=places(), force=True)
    for spec in climb.first:
        climb.succeed(spec, 1 - spec.batch_size / 10)
    climb.queue.apply()
    assert climb.rung(1) == [2, 2, 3, 3]
    assert {climb.queue.job(spec).state for spec in promoted} == {JobState.QUEUED}


def test_a_promoted_run_is_made_where_those_before_were(tmp_path: Path) -> None:
    spec, rung = run_of(2, 0), places()[run_of(2, 0).run_id]
    documents = write_documents(
        tmp_path, {spec.run_id: spec}, None, 5, {spec.run_id: ["x"]}, "slurm", (), places()
    )
    run_id, text = promoted_document(documents[spec.run_id], replace(rung, number=1, chosen=(2, 3)))
    read = QueuedSpec.read(text)
    assert (read.place, read.after, read.attempts_allowed) == ("slurm", ("x",), 5)
    assert (read.spec, read.rung) == (run_of(2, 0, 1), replace(rung, number=1, chosen=(2, 3)))
    assert run_id == read.spec.run_id
