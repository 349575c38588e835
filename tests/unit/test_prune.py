"""Freeing the disk: what goes, what stays, and what is said about it."""

from __future__ import annotations

import json

import pytest

from tests.fakes import write_run
from tests.unit.queue_desk import FIRST, OTHER, SECOND, SOURCE, Queue
from tui_datasize.cli.dispatch import main
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.prune import Removal, find_prunable, remove, survey
from tui_datasize.jobs.queue.state import Job, JobState


def test_finished_runs_keep_what_is_needed_and_prune_frees_the_rest(queue: Queue) -> None:
    project = queue.client.project
    done = write_run(project, SOURCE, tables=False)
    needed = write_run(project, OTHER, tables=False)
    failed = write_run(project, SECOND, state="failed", tables=False)
    superseded = project.superseded("base") / "old"
    superseded.mkdir(parents=True)
    torn = done.directory / ".checkpoint.pt.12.tmp"
    weights = [path for run in (done, needed, failed) for path in (run.checkpoint, run.best)]
    for path in (*weights, superseded / "checkpoint.pt", torn):
        path.write_bytes(b"x" * 1000)
    queue.enqueue(SOURCE, OTHER, SECOND, FIRST, after={FIRST: [OTHER]})

    def found(**options) -> set:
        values = {"experiment": None} | options
        return {file.path for file in find_prunable(project, queue.client.jobs(), **values)}

    rest = {torn, superseded / "checkpoint.pt"}
    assert found() == {done.checkpoint, done.best, *rest}
    assert found(experiment="transfer") == set()
    before = set(project.runs.rglob("*"))
    files = survey(project, queue.client.jobs()).to_remove("none")
    assert remove(project, queue.client.jobs, files, "none") == Removal(4, 4000, 0)
    assert before - set(project.runs.rglob("*")) == {done.checkpoint, done.best, *rest}
    lost = [j._replace(state=JobState.FAILED) if j.after else j for j in queue.client.jobs()]
    # A retry would take the weights again.
    assert not find_prunable(project, lost, experiment=None)
    queue.end(FIRST, JobState.SUCCEEDED)
    assert found(wanted=[needed.run_id]) == set()
    assert found() == {needed.checkpoint, needed.best}


@pytest.mark.parametrize(
    ("keep", "stay"),
    [
        ("none", set()),
        ("last", {"checkpoint.pt"}),
        ("best", {"best.pt"}),
        ("both", {"checkpoint.pt", "best.pt"}),
    ],
)
def test_prune_keeps_what_it_is_told_to(keep, stay, queue: Queue) -> None:
    project = queue.client.project
    run, old = (write_run(project, spec, tables=False) for spec in (SOURCE, OTHER))
    torn = run.directory / ".best.pt.12.tmp"
    for path in (run.checkpoint, run.best, torn, old.checkpoint):
        path.write_bytes(b"x" * 1000)
    gone = {file.path for file in survey(project, []).to_remove(keep)}
    of_run = {path.name for path in (run.checkpoint, run.best) if path not in gone}
    assert of_run == stay
    assert torn in gone
    # Its best weights have no file of their own: the last ones are the nearest to it.
    assert (old.checkpoint in gone) == (keep == "none")


def test_what_came_to_be_needed_after_the_survey_stays(queue: Queue) -> None:
    project = queue.client.project
    source, other = (write_run(project, spec, tables=False) for spec in (SOURCE, OTHER))
    for path in (source.checkpoint, source.best, other.checkpoint, other.best):
        path.write_bytes(b"x" * 1000)
    queue.enqueue(SOURCE, OTHER)
    files = survey(project, queue.client.jobs()).to_remove("none")
    other.best.unlink()
    # Acknowledged is enough: no scheduler has applied it.
    queue.client.enqueue([FIRST], after={FIRST.run_id: [SOURCE.run_id]})
    assert remove(project, queue.client.jobs, files, "none") == Removal(1, 1000, 2)
    assert source.checkpoint.exists()
    assert source.best.exists()
    assert not other.checkpoint.exists()


def test_the_last_weights_stay_where_the_best_went_meanwhile(queue: Queue) -> None:
    project = queue.client.project
    run = write_run(project, SOURCE, tables=False)
    for path in (run.checkpoint, run.best):
        path.write_bytes(b"x" * 1000)
    files = survey(project, []).to_remove("best")
    assert [file.path for file in files] == [run.checkpoint]
    run.best.unlink()
    assert remove(project, list, files, "best") == Removal(0, 0, 1)
    assert run.checkpoint.exists()


def test_prune_counts_what_it_removed_and_what_it_left(queue: Queue, monkeypatch, capsys):
    project = queue.client.project
    monkeypatch.chdir(project.root)
    source, other = (write_run(project, spec, tables=False) for spec in (SOURCE, OTHER))
    queue.enqueue(SOURCE, OTHER)
    read_jobs = QueueClient.jobs

    def read_and_enqueue(client: QueueClient) -> list[Job]:
        """Somebody queues a run right after the first look."""
        jobs = read_jobs(client)
        client.enqueue([FIRST], after={FIRST.run_id: [SOURCE.run_id]})
        return jobs

    def prune(*options: str) -> tuple[str, str]:
        for run in (source, other):
            run.checkpoint.write_bytes(b"x" * 100_000)
        assert main(["prune", *options]) == 0
        return capsys.readouterr()

    with monkeypatch.context() as patch:
        patch.setattr(QueueClient, "jobs", read_and_enqueue)
        _, said = prune("--yes")
    assert "removed 1 checkpoint, 0.1 MB freed, left 1 needed by now (keep = none)" in said
    assert source.checkpoint.exists()
    assert not other.checkpoint.exists()
    told = json.loads(prune("--yes", "--json")[0])
    assert [told[key] for key in ("removed", "freed_bytes", "needed")] == [1, 100_000, 0]


def test_prune_shows_first_and_removes_with_yes(fake_project, monkeypatch, capsys):
    monkeypatch.chdir(fake_project.root)
    runs = list(fake_project.all_runs())
    for run in runs:
        run.checkpoint.write_bytes(b"x" * 100_000)
    assert main(["prune", "digits"]) == 0
    shown = capsys.readouterr()
    assert shown.out.count("checkpoint.pt") == len(runs)
    assert "36 checkpoints, 3.6 MB, still there (keep = none); --yes removes them" in shown.err
    assert all(run.checkpoint.exists() for run in runs)
    assert main(["prune", "--keep", "last", "--yes"]) == 0
    assert all(run.checkpoint.exists() for run in runs)
    assert main(["prune", "--yes"]) == 0
    assert "3.6 MB freed" in capsys.readouterr().err
    assert not any(run.checkpoint.exists() for run in runs)
    assert all(run.metrics.exists() and run.predictions.exists() for run in runs)


def test_prune_keeps_what_the_file_says_and_an_option_wins(fake_project, monkeypatch, capsys):
    monkeypatch.chdir(fake_project.root)
    with fake_project.experiments.open("a") as file:
        file.write('\n[checkpoints]\nkeep = "best"\n')
    runs = list(fake_project.all_runs())
    for run in runs:
        run.checkpoint.write_bytes(b"x" * 100_000)
        run.best.write_bytes(b"x" * 10_000)
    assert main(["prune", "--yes"]) == 0
    assert "3.6 MB freed (keep = best, from experiments.toml)" in capsys.readouterr().err
    assert all(run.best.exists() and not run.checkpoint.exists() for run in runs)
    assert main(["prune", "--keep", "both", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["keep"], told["files"]) == ("both", [])
    assert main(["prune", "--keep", "none", "--yes"]) == 0
    assert not any(run.best.exists() for run in runs)


def test_what_is_kept_is_one_of_a_few_words(fake_project, monkeypatch, capsys):
    monkeypatch.chdir(fake_project.root)
    with fake_project.experiments.open("a") as file:
        file.write('\n[checkpoints]\nkeep = "newest"\n')
    assert main(["prune"]) == 2
    assert "checkpoints.keep" in (said := capsys.readouterr().err)
    assert "none, last, best, both" in said
