"""What came of a request: one sentence for the app and the command line."""

from __future__ import annotations

import pytest

from tests.fakes import fake_spec
from tui_datasize.cli.dispatch import main
from tui_datasize.errors import StorageError, UnknownRunError
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.requests import (
    Acknowledgement,
    Answered,
    ChangeJobs,
    CommandResult,
    Drain,
    Enqueue,
    QueueTerms,
    outcome_of,
)
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.apply_commands import CommandApplier
from tui_datasize.runlog.paths import ProjectPaths

RUNS = (fake_spec("digits", seed=1), fake_spec("digits", seed=2))
FIRST, SECOND = (spec.run_id for spec in RUNS)


def answers(*texts: str, ok: bool = True) -> list[CommandResult]:
    return [CommandResult(f"r{n}", ok, f"r{n}: {text}") for n, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("results", "answered", "sentence"),
    [
        (answers("held"), Answered.DONE, "r0: held"),
        (answers("held", "held"), Answered.DONE, "2 runs: held"),
        (
            [*answers(*["held"] * 500), CommandResult("x", False, "x: is running; cancel it to stop it")],
            Answered.REFUSED,
            "500 runs: held; x: is running; cancel it to stop it",
        ),
        (None, Answered.NOT_YET, "hold 2 runs; saved; the scheduler has not answered yet"),
        (
            answers("1", "2", "3", "4", "5", "6", "7"),
            Answered.DONE,
            "r0: 1; r1: 2; r2: 3; r3: 4; r4: 5; 2 other answers",
        ),
    ],
)
def test_a_change_of_jobs(results, answered, sentence):
    outcome = outcome_of(ChangeJobs(CommandKind.HOLD, ("r0", "r1")), Acknowledgement((1, 2)), results)
    assert (outcome.answered, outcome.sentence) == (answered, sentence)
    assert outcome.is_bad == (answered is Answered.REFUSED)


def test_jobs_that_were_left_alone_are_counted():
    command = ChangeJobs(CommandKind.HOLD, ("r0",), left_alone={"succeeded": 3, "running": 1})
    outcome = outcome_of(command, Acknowledgement((1,)), answers("held"))
    assert outcome.sentence == "r0: held; left alone: 1 running, 3 succeeded"


@pytest.mark.parametrize(
    ("new", "present", "failed", "terms", "words"),
    [
        (1, 0, 0, QueueTerms(), "digits: 1 run queued, 0 were there already"),
        (12, 1, 0, QueueTerms(), "digits: 12 runs queued, 1 was there already"),
        (
            3,
            2,
            1,
            QueueTerms(),
            "digits: 3 runs queued, 2 were there already, 1 of them failed (`retry` runs those again)",
        ),
        (3, 0, 0, QueueTerms(("x",)), "digits: 3 runs queued, 0 were there already"),
        (
            3,
            1,
            0,
            QueueTerms(max_attempts=1),
            "digits: 3 runs queued, 1 was there already and keeps its terms and place",
        ),
        (
            3,
            2,
            0,
            QueueTerms(order="by-seed"),
            "digits: 3 runs queued, 2 were there already and keep their terms and places",
        ),
    ],
)
def test_what_was_queued(new, present, failed, terms, words):
    acknowledgement = Acknowledgement((1,), new=new, present=present, failed=failed)
    outcome = outcome_of(Enqueue(RUNS, terms=terms), acknowledgement, [])
    assert (outcome.sentence, outcome.is_bad) == (words, False)


def test_runs_that_the_scheduler_refuses_to_queue_are_told():
    refused = answers("is running; cancel it first", "is running; cancel it first", ok=False)
    outcome = outcome_of(Enqueue(RUNS), Acknowledgement((1, 2, 3), new=3), [*refused, *answers("queued")])
    told = "digits: 1 run queued, 0 were there already, 2 refused: 2 runs: are running; cancel them first"
    assert (outcome.sentence, outcome.is_bad) == (told, True)


def queue_of(tmp_path, monkeypatch, ensure) -> QueueClient:
    monkeypatch.setattr(QueueClient, "ensure_scheduler", ensure)
    monkeypatch.setattr("tui_datasize.jobs.queue.requests.ANSWER_WITHIN_S", 0.0)
    return QueueClient(ProjectPaths(tmp_path))


def apply_all(client: QueueClient) -> None:
    store = Store(client.project.queue)
    while CommandApplier(store, client.project).apply_pending():
        pass
    store.close()


def test_every_kind_of_request_is_answered_by_the_scheduler(tmp_path, monkeypatch):
    client = queue_of(tmp_path, monkeypatch, apply_all)
    requests = (
        (Enqueue(RUNS), "digits: 2 runs queued, 0 were there already"),
        (Enqueue(RUNS, force=True), "digits: 2 runs queued, 0 were there already"),
        (ChangeJobs(CommandKind.PRIORITY, (FIRST,), 5), f"{FIRST}: priority is now 5"),
        (ChangeJobs(CommandKind.HOLD, (FIRST, SECOND)), "2 runs: held"),
        (ChangeJobs(CommandKind.HOLD, (FIRST, SECOND)), "2 runs: are held already"),
        (Drain(), "draining: running jobs finish, no new ones start"),
        (Drain(False), "the queue starts jobs again"),
    )
    for command, told in requests:
        outcome = client.request(command)
        assert (outcome.answered, outcome.sentence) == (Answered.DONE, told)


def test_what_is_not_answered_in_time_is_saved_and_answered_later(tmp_path, monkeypatch):
    client = queue_of(tmp_path, monkeypatch, lambda _: None)
    command = Enqueue(RUNS)
    outcome = client.request(command)
    told = "digits: 2 runs queued, 0 were there already; saved; the scheduler has not answered yet"
    assert (outcome.answered, outcome.sentence, outcome.is_bad) == (Answered.NOT_YET, told, False)
    monkeypatch.setattr(QueueClient, "ensure_scheduler", apply_all)
    assert client.answer_to(command, outcome.acknowledgement).answered is Answered.DONE


def test_a_scheduler_that_does_not_start_loses_nothing(tmp_path, monkeypatch):
    def fail(_client):
        raise StorageError("the scheduler did not start: no room")

    client = queue_of(tmp_path, monkeypatch, fail)
    outcome = client.request(Drain())
    assert outcome.sentence == "drain; saved; the scheduler did not start: no room"
    assert (outcome.answered, outcome.is_bad) == (Answered.NOT_YET, True)
    assert client.settings().draining


def test_a_queue_that_cannot_be_read_is_told_and_nothing_is_saved(tmp_path, monkeypatch):
    client = queue_of(tmp_path, monkeypatch, apply_all)
    client.project.queue.parent.mkdir(parents=True, exist_ok=True)
    client.project.queue.write_text("no database " * 1000)
    outcome = client.request(Drain())
    assert (outcome.answered, outcome.acknowledgement.command_ids) == (Answered.UNREADABLE, ())
    assert str(client.project.queue) in outcome.sentence


def test_a_request_that_makes_no_sense_is_refused(tmp_path, monkeypatch):
    client = queue_of(tmp_path, monkeypatch, apply_all)
    outcome = client.request(Enqueue(RUNS, terms=QueueTerms(("nothing",))))
    assert outcome.answered is Answered.REFUSED
    assert isinstance(outcome.error, UnknownRunError)
    assert "no run begins with 'nothing'" in outcome.sentence
    assert client.jobs() == []


@pytest.mark.parametrize("words", [["hold", FIRST], ["cancel", FIRST], ["drain"]])
def test_the_command_line_tells_that_sentence(tmp_path, monkeypatch, capsys, words):
    client = queue_of(tmp_path, monkeypatch, apply_all)
    client.request(Enqueue(RUNS))
    outcomes = []
    request = QueueClient.request
    monkeypatch.setattr(
        QueueClient,
        "request",
        lambda client, command: outcomes.append(request(client, command)) or outcomes[-1],
    )
    assert main([*words, "--project", str(tmp_path)]) == 0
    assert capsys.readouterr().err == f"{outcomes[0].sentence}\n"
