"""Runs that succeeded and lost evaluations count as not done, and are queued again."""

from __future__ import annotations

import json

from tests.fakes import fake_spec, write_run
from tests.unit.queue_desk import Queue
from tui_datasize.cli.dispatch import main
from tui_datasize.cli.queueing import incomplete_runs
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.jobs.queue.requests import Enqueue, outcome_of
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.runlog.paths import ProjectPaths

WHOLE, HALF, EMPTY, RUNNING = (fake_spec(seed=seed) for seed in range(4))
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


def queue_all(queue: Queue, project: ProjectPaths) -> None:
    """A whole run, one without its second evaluation, one without any, and one that runs."""
    for spec, evaluations in ((WHOLE, 4), (HALF, 4), (EMPTY, 0)):
        run = write_run(project, spec, evaluations=evaluations)
        lines = run.metrics.read_text().splitlines(keepends=True)
        run.metrics.write_text("".join(lines[:3] + lines[6:] if spec is HALF else lines))
    write_run(project, RUNNING, state="running", evaluations=1)
    queue.enqueue(WHOLE, HALF, EMPTY, RUNNING)


def states(queue: Queue) -> list[JobState]:
    return [queue.job(spec).state for spec in (WHOLE, HALF, EMPTY, RUNNING)]


def enqueue(queue: Queue, *specs: RunSpec) -> str:
    lost = incomplete_runs(queue.client, specs)
    acknowledgement = queue.client.enqueue(specs, incomplete=lost)
    queue.apply()
    return outcome_of(Enqueue(specs), acknowledgement, []).sentence


def test_incomplete_runs_are_queued_afresh_and_their_directories_are_kept(
    queue: Queue, project: ProjectPaths
) -> None:
    queue_all(queue, project)
    succeeded = JobState.SUCCEEDED
    assert states(queue) == [succeeded, succeeded, succeeded, JobState.RUNNING]
    asked = (WHOLE, HALF, EMPTY, RUNNING)
    told = enqueue(queue, *asked)
    assert told == "digits: 2 runs queued (2 incomplete: evaluations lost), 2 were there already"
    assert states(queue) == [succeeded, JobState.QUEUED, JobState.QUEUED, JobState.RUNNING]
    kept = sorted(path.name for path in project.superseded("digits").iterdir())
    assert [name.rsplit(".", 1)[0] for name in kept] == sorted(spec.run_id for spec in (HALF, EMPTY))
    assert (project.superseded("digits") / kept[0] / "metrics.jsonl").exists()
    # They wait now: asked again, nothing begins afresh another time.
    assert enqueue(queue, *asked) == "digits: 0 runs queued, 4 were there already"


def test_what_the_queue_does_not_have_as_succeeded_is_left_alone(queue: Queue, project: ProjectPaths) -> None:
    queue_all(queue, project)
    every = [spec.run_id for spec in (HALF, RUNNING)]
    queue.client.enqueue([HALF], force=True)
    told = queue.client.enqueue([HALF, RUNNING], incomplete=every)
    assert (told.new, told.present, told.incomplete) == (0, 2, 0)


def test_a_dry_run_counts_them_and_moves_nothing(queue: Queue, project: ProjectPaths, capsys) -> None:
    queue_all(queue, project)
    project.experiments.write_text(FILE)
    command = ["queue", "digits", "--dry-run", "--project", str(project.root)]
    assert main(command) == 0
    said = capsys.readouterr()
    assert "3 of 4 runs would be queued (2 incomplete: evaluations lost), " in said.err
    assert HALF.run_id in said.out
    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (len(told["missing"]), told["present"], told["incomplete"]) == (3, 1, 2)
    assert not project.superseded("digits").exists()


def test_every_face_counts_them_as_not_done(queue: Queue, project: ProjectPaths, capsys) -> None:
    queue_all(queue, project)
    project.experiments.write_text(FILE)

    def told(*words: str) -> str:
        # While a run has a worker and no scheduler looks after it, something is wrong.
        assert main([*words, "--project", str(project.root)]) == (words[0] == "status")
        both = capsys.readouterr()
        return both.out + both.err

    (row,) = json.loads(told("experiments", "--json"))
    # One run that the queue has lies beside the four that the file lists.
    assert (row["done"], row["incomplete"], row["runs"], row["further"]) == (1, 2, 5, 1)
    assert "incomplete" in told("experiments")
    # The record was read: what takes too long to read it knows by now.
    status = json.loads(told("status", "--json"))
    assert status["counts"] == {"succeeded": 1, "incomplete": 2, "running": 1}
    assert {job["run_id"] for job in status["jobs"] if job["incomplete"]} == {HALF.run_id, EMPTY.run_id}
    assert "digits: 2 runs incomplete, evaluations lost: not done; `datasize-tui queue digits`" in told(
        "status"
    )
    exported = json.loads(told("export", "--table", "runs", "--format", "json"))
    assert [run["state"] for run in exported] == ["succeeded", "incomplete", "incomplete", "running"]
    (point,) = json.loads(told("export", "--table", "curve", "--format", "json"))
    assert point["n_runs"] == 1
    assert told("analyze", "digits").count("2 runs are not in the record") == 1
    queue.enqueue(HALF, EMPTY, force=True)
    assert "incomplete" not in json.loads(told("status", "--json"))["counts"]


def test_a_queue_without_a_finished_run_reads_no_record(
    queue: Queue, project: ProjectPaths, monkeypatch
) -> None:
    monkeypatch.setattr("tui_datasize.runlog.reader.RunLog.runs", None)
    queue.enqueue(WHOLE)
    assert incomplete_runs(queue.client, [WHOLE, HALF]) == []
