"""`run`: the terms of `queue`, and what it tells while runs wait for what does not come by itself."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.unit.test_cli import PROJECT, assert_one_line
from tui_datasize.cli.dispatch import main
from tui_datasize.cli.watch import DRAINING, obstacles
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.state import Job, JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.apply_commands import CommandApplier
from tui_datasize.runlog.paths import ProjectPaths

BOTH = PROJECT + PROJECT.replace("small", "big")
LONGEST_WAIT = 50
"""Looks after which something is taken to hang."""


class Scheduler:
    """Answers commands at once and starts nothing; jobs end as `then` says, look by look."""

    def __init__(self, project: ProjectPaths) -> None:
        self.project = project
        self.then: list[dict[str, JobState]] = []
        self.looks = 0

    def answer(self) -> None:
        """Apply what was asked of the queue."""
        with closing(Store(self.project.queue)) as store:
            CommandApplier(store, self.project).apply_pending()

    def go_on(self) -> None:
        """What happens between two looks of the command that waits."""
        self.looks += 1
        assert self.looks < LONGEST_WAIT, "it waits for ever"
        if self.then:
            self.end(self.then.pop(0))

    def end(self, states: dict[str, JobState]) -> None:
        """Let all unfinished jobs of some experiments come to a state."""
        with closing(Store(self.project.queue)) as store, store.transaction():
            for job in self.jobs():
                if job.experiment in states and not job.state.is_final:
                    store.change(job.run_id, states[job.experiment], "out of memory")

    def jobs(self, experiment: str = "") -> list[Job]:
        """All jobs, or those of an experiment."""
        jobs = QueueClient(self.project).jobs()
        return [job for job in jobs if experiment in ("", job.experiment)]


@pytest.fixture
def scheduler(tmp_path, monkeypatch):
    """A project of two experiments, with a scheduler that only answers and no time between looks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATASIZE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DATASIZE_SLOTS_DIR", str(tmp_path / "slots"))
    (tmp_path / "experiments.toml").write_text(BOTH)
    stage = Scheduler(ProjectPaths(tmp_path))
    monkeypatch.setattr(QueueClient, "ensure_scheduler", lambda _client: stage.answer())
    monkeypatch.setattr(QueueClient, "keep_scheduler", lambda _client: stage.go_on())
    monkeypatch.setattr("tui_datasize.cli.watch.LOOK_EVERY_S", 0.0)
    return stage


def test_run_queues_on_the_terms_of_queue(scheduler, capsys):
    assert main(["queue", "big", "--sizes", "40"]) == 0
    scheduler.then = [{"big": JobState.SUCCEEDED}, {"small": JobState.SUCCEEDED}]
    options = ["--after", "big", "--max-attempts", "2", "--order", "by-size", "--seeds", "1,0"]
    assert main(["run", "small", *options]) == 0
    small, big = scheduler.jobs("small"), scheduler.jobs("big")
    assert [job.run_id.split("-s")[0] for job in small] == [*["small-n40-d0"] * 2, *["small-n80-d0"] * 2]
    assert {job.max_attempts for job in small} == {2}
    assert {job.after for job in small} == {tuple(sorted(job.run_id for job in big))}
    assert "waiting: runs of big have to succeed first\n" in capsys.readouterr().err


@pytest.mark.parametrize("end", [JobState.FAILED, JobState.CANCELLED])
def test_run_ends_and_says_why_when_what_it_waits_for_does_not_succeed(scheduler, capsys, end):
    assert main(["queue", "big", "--sizes", "40", "--seeds", "0"]) == 0
    (source,) = scheduler.jobs("big")
    capsys.readouterr()
    scheduler.then = [{"big": end}]
    assert main(["run", "small", "--sizes", "80", "--seeds", "0", "--after", "big"]) == 1
    (run,) = scheduler.jobs("small")
    why = "failed: out of memory" if end is JobState.FAILED else "was cancelled"
    # No log to look at is named: it never started.
    told = f"{run.run_id}: failed: its source {source.run_id} {why}"
    assert capsys.readouterr().err.splitlines()[-1] == told


def test_run_after_what_has_failed_is_one_line_and_queues_nothing(scheduler, capsys):
    assert main(["queue", "big", "--sizes", "40", "--seeds", "0"]) == 0
    scheduler.end({"big": JobState.FAILED})
    capsys.readouterr()
    assert main(["run", "small", "--after", "big"]) == 2
    assert_one_line(capsys, "retry that first")
    assert scheduler.jobs("small") == []


@pytest.mark.parametrize("held", ["small", "big"])
def test_run_says_once_what_is_held_and_how_to_release_it(scheduler, capsys, held):
    assert main(["queue", "big"]) == 0
    assert main(["queue", "small", "--after", "big"]) == 0
    assert main(["hold", held]) == 0
    capsys.readouterr()
    scheduler.then = [
        {},
        {},
        {held: JobState.QUEUED},
        {"big": JobState.SUCCEEDED},
        {"small": JobState.SUCCEEDED},
    ]
    assert main(["run", "small"]) == 0
    told = capsys.readouterr().err
    assert told.count(f"waiting: 4 runs are held; `datasize-tui release {held}` lets them start\n") == 1


def test_one_run_that_is_held_is_named(scheduler):
    assert main(["queue", "small"]) == 0
    run_ids = [job.run_id for job in scheduler.jobs()]
    assert main(["hold", run_ids[2]]) == 0
    line = f"waiting: {run_ids[2]} is held; `datasize-tui release {run_ids[2]}` lets it start"
    assert obstacles(scheduler.jobs(), run_ids, draining=False) == [line]
    assert obstacles(scheduler.jobs(), run_ids[:2], draining=False) == []


def test_what_is_held_is_found_behind_others_that_wait_for_it(scheduler):
    assert main(["queue", "big", "--sizes", "40", "--seeds", "0"]) == 0
    assert main(["queue", "big", "--sizes", "80", "--seeds", "0", "--after", "big"]) == 0
    first, second = (job.run_id for job in scheduler.jobs("big"))
    assert main(["queue", "small", "--sizes", "40", "--seeds", "0", "--after", second]) == 0
    assert main(["hold", first]) == 0
    (run,) = scheduler.jobs("small")
    ahead, held = obstacles(scheduler.jobs(), [run.run_id], draining=False)
    assert ahead == "waiting: runs of big have to succeed first"
    assert held.startswith(f"waiting: {first} is held; ")


def test_a_queue_that_drains_is_told_only_to_those_who_wait(scheduler, capsys):
    assert main(["queue", "small", "--sizes", "40", "--seeds", "0"]) == 0
    assert main(["drain"]) == 0
    (run,) = scheduler.jobs()
    assert obstacles(scheduler.jobs(), [run.run_id], draining=True) == [DRAINING]
    capsys.readouterr()
    scheduler.then = [{}, {"small": JobState.SUCCEEDED}]
    assert main(["run", "small", "--sizes", "40", "--seeds", "0"]) == 0
    assert capsys.readouterr().err.count(f"{DRAINING}\n") == 1
    assert obstacles(scheduler.jobs(), [run.run_id], draining=True) == []
    running = [run._replace(state=JobState.RUNNING)]
    assert obstacles(running, [run.run_id], draining=True) == []
