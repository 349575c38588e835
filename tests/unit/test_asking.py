"""What is told and asked on the command line before runs are queued or end."""

from __future__ import annotations

import io
import json
import sys

import pytest

from tests.fakes import fake_spec
from tests.unit.queue_desk import Queue
from tui_datasize.cli.dispatch import main
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.state import JobState

CANCELLED, FAILED, RUNNING = (fake_spec(seed=seed) for seed in range(3))
FILE = """
[experiments.digits]
dataset = "digits"
model = "mlp"
sizes = [40]
seeds = [0, 1, 2, 4]
budget = { samples = 6400 }
batch_size = 32
evaluate = { times = 4 }
"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def mixed(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Queue:
    monkeypatch.setattr(QueueClient, "ensure_scheduler", lambda _: queue.apply())
    queue.client.project.experiments.write_text(FILE)
    queue.enqueue(CANCELLED, FAILED, RUNNING)
    queue.ask(CommandKind.CANCEL, CANCELLED)
    queue.end(FAILED, JobState.FAILED, "a reason")
    queue.begin(RUNNING)
    return queue


def test_new_cancelled_and_failed_runs_are_told_apart(
    mixed: Queue, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["queue", "digits", "--project", str(mixed.client.project.root)]
    left_out, failed = "1 cancelled: --cancelled to include", "1 failed: `retry` runs those again"
    for options, asked in (
        ([], f"1 of 4 runs would be queued (1 new; {left_out}; {failed})"),
        (["--cancelled"], f"2 of 4 runs would be queued (1 new; 1 cancelled before; {failed})"),
    ):
        assert main([*command, "--dry-run", *options]) == 0
        assert asked in capsys.readouterr().err
        assert main([*command, "--dry-run", "--json", *options]) == 0
        told = json.loads(capsys.readouterr().out)
        assert [told[name] for name in ("new", "cancelled", "failed", "present")] == [1, 1, 1, 2]
        assert len(told["missing"]) == 1 + len(options)
    assert main(command) == 0
    told = "digits: 1 run queued, 2 were there already, 1 of them failed (`retry` runs those again)"
    assert capsys.readouterr().err == f"{told}; {left_out}\n"
    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["cancelled"], len(told["run_ids"])) == (1, 3)
    assert main([*command, "--cancelled"]) == 0
    assert "digits: 1 run queued (1 cancelled before), 3 were there already" in capsys.readouterr().err


def test_a_sweep_of_cancelled_runs_alone_is_left_as_it_is(mixed: Queue, capsys) -> None:
    command = ["queue", "digits", "--seeds", "0", "--project", str(mixed.client.project.root)]
    assert main(command) == 0
    told = "digits: 0 runs queued, 0 were there already; 1 cancelled: --cancelled to include\n"
    assert capsys.readouterr().err == told
    assert mixed.job(CANCELLED).state is JobState.CANCELLED
    assert main(["run", *command[1:]]) == 1
    assert f"{CANCELLED.run_id}: cancelled" in capsys.readouterr().err


@pytest.mark.parametrize(("answer", "flag", "ends"), [("n\n", [], 0), ("y\n", [], 1), ("", ["--yes"], 1)])
def test_a_terminal_is_asked_before_running_jobs_end(
    answer: str, flag: list[str], ends: int, mixed: Queue, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert main(["cancel", "digits", *flag, "--project", str(mixed.client.project.root)]) == 0
    said = capsys.readouterr().err
    assert ("Cancel 1 running job?" in said) is not bool(flag)
    assert mixed.store.value(RUNNING.run_id, "cancel_requested") == ends


def test_a_terminal_that_is_narrow_keeps_the_ids_of_runs_whole(mixed: Queue, monkeypatch, capsys):
    monkeypatch.setattr("tui_datasize.render.console.PIPE_WIDTH", 60)
    main(["status", "--project", str(mixed.client.project.root)])
    printed = capsys.readouterr().out
    assert FAILED.run_id in printed
    assert RUNNING.run_id in printed
