"""Levers on the command line: what is asked wrongly ends in one line, status 2, and changes nothing."""

import pytest

from tests.unit.test_cli import PROJECT, assert_one_line
from tui_datasize.cli.dispatch import main
from tui_datasize.cli.levers import _tell
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.commands import CommandResult
from tui_datasize.runlog.paths import ProjectPaths


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project directory that is the current one, whose commands start no scheduler."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATASIZE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(QueueClient, "ensure_scheduler", lambda _client: None)
    (tmp_path / "experiments.toml").write_text(PROJECT)
    return ProjectPaths(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hold"], "no job given; name a run or an experiment, or say `hold --all`"),
        (["cancel", "small", "--all"], "JOB and --all exclude each other"),
        (["move", "nothing"], "no run begins with 'nothing'"),
        (["queue", "small", "--after", "nothing"], "no run begins with 'nothing'"),
        (["prune", "nothing"], "no experiment 'nothing' has runs here"),
        (["scheduler", "stop", "--cold"], "--cold is for a scheduler that starts"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(project, capsys, arguments, message):
    assert main(arguments) == 2
    assert_one_line(capsys, message)
    assert QueueClient(project).jobs() == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["queue", "small", "--max-attempts", "0"],
        ["scheduler", "start", "--slots-per-gpu", "many"],
        ["retry", "--all", "--state", "broken"],
        ["prune", "--keep", "best"],
        ["move", "small", "--by", "up"],
    ],
)
def test_wrong_usage_exits_with_two(project, arguments):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2


def test_an_experiment_is_queued_after_a_run_and_with_a_limit(project, capsys):
    assert main(["queue", "small", "--sizes", "40", "--seeds", "0"]) == 0
    (source,) = QueueClient(project).jobs()
    assert (
        main(["queue", "small", "--sizes", "80", "--max-attempts", "1", "--after", source.run_id[:12]]) == 0
    )
    dependants = [job for job in QueueClient(project).jobs() if job.run_id != source.run_id]
    assert [(job.after, job.max_attempts) for job in dependants] == [((source.run_id,), 1)] * 2
    capsys.readouterr()
    assert main(["status"]) == 0
    assert f"waits for {source.run_id}" in capsys.readouterr().out


def test_an_experiment_cannot_be_queued_after_itself(project, capsys):
    assert main(["queue", "small"]) == 0
    capsys.readouterr()
    assert main(["queue", "small", "--force", "--after", "small"]) == 2
    assert_one_line(capsys, "waits for it")
    assert {job.after for job in QueueClient(project).jobs()} == {()}


def test_many_answers_are_counted(capsys):
    results = [CommandResult(f"r{n}", True, f"r{n}: held") for n in range(500)]
    _tell([*results, CommandResult("x", False, "x: is running; cancel it to stop it")])
    assert capsys.readouterr().err.splitlines() == [
        "500 runs: held",
        "1 runs: is running; cancel it to stop it",
    ]


def test_prune_shows_first_and_removes_with_yes(fake_project, monkeypatch, capsys):
    monkeypatch.chdir(fake_project.root)
    runs = list(fake_project.all_runs())
    for run in runs:
        run.checkpoint.write_bytes(b"x" * 100_000)
    assert main(["prune", "digits"]) == 0
    shown = capsys.readouterr()
    assert shown.out.count("checkpoint.pt") == len(runs)
    assert "36 checkpoints, 3.6 MB, still there; --yes removes them" in shown.err
    assert all(run.checkpoint.exists() for run in runs)
    assert main(["prune", "--keep", "last", "--yes"]) == 0
    assert all(run.checkpoint.exists() for run in runs)
    assert main(["prune", "--yes"]) == 0
    assert "3.6 MB freed" in capsys.readouterr().err
    assert not any(run.checkpoint.exists() for run in runs)
    assert all(run.metrics.exists() and run.predictions.exists() for run in runs)
