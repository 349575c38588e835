"""How far a run has come, read from the end of its log."""

from __future__ import annotations

import json
import re
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.unit.queue_desk import FIRST, SECOND, Queue
from tui_datasize.cli.dispatch import main
from tui_datasize.experiments.budget import total_updates
from tui_datasize.jobs.client import QueueClient
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.runlog.reached import Reached, read_reached


def row(update: int, event: str = "train") -> str:
    return json.dumps({"event": event, "update": update, "wall_s": update / 10}) + "\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (row(10) + row(20), Reached(20, 2.0)),
        (row(10) + row(20)[:-9], Reached(10, 1.0)),
        (row(10) + "\x1f\x8b\n[1]\n{}\n", Reached(10, 1.0)),
        (row(10) + row(20) + '{"event": "resume", "update": 10}\n', Reached(10, 1.0)),
        (row(10) + row(20) + '{"event": "resume", "update": 10}\n' + row(12), Reached(12, 1.2)),
        ('{"event": "resume", "update": 0}\n', None),
        ("", None),
        ("".join(row(update) for update in range(5000)), Reached(4999, 499.9)),
    ],
    ids=["rows", "torn", "broken", "resumed", "gone on", "begun anew", "empty", "long"],
)
def test_the_last_row_that_counts_tells(tmp_path: Path, text: str, expected: Reached | None) -> None:
    run = RunPaths(tmp_path)
    run.metrics.write_text(text)
    assert read_reached(run) == expected


def test_a_run_without_a_log_has_not_come_anywhere(tmp_path: Path) -> None:
    assert read_reached(RunPaths(tmp_path)) is None


def test_status_goes_by_what_a_run_has_reached(
    queue: Queue, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(queue.client.project.root)
    queue.enqueue(FIRST)
    queue.begin(FIRST)
    run = queue.client.project.run(FIRST.experiment, FIRST.run_id)
    run.directory.mkdir(parents=True)
    updates = total_updates(FIRST)
    run.metrics.write_text(row(updates // 4))
    with patch.object(QueueClient, "scheduler_alive", return_value=True):
        assert main(["status", "--json"]) == 0
    (job,) = json.loads(capsys.readouterr().out)["jobs"]
    assert job["remaining_s"] == pytest.approx((updates - updates // 4) / 10, rel=0.01)
    assert main(["status"]) == 1
    told = capsys.readouterr().err
    assert "running jobs are as last seen; `datasize-tui scheduler start` looks again" in told
    assert "fault: no scheduler for 1 run; `datasize-tui scheduler start` starts one" in told
    assert "time left: about" in told


def test_status_tells_when_those_at_work_end_while_the_others_are_held_up(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(queue.client.project.root)
    queue.enqueue(FIRST, SECOND)
    queue.begin(FIRST)
    run = queue.client.project.run(FIRST.experiment, FIRST.run_id)
    run.directory.mkdir(parents=True)
    run.metrics.write_text(row(total_updates(FIRST) // 4))
    queue.client.drain()
    with patch.object(QueueClient, "scheduler_alive", return_value=True):
        assert main(["status"]) == 0
    told = capsys.readouterr().err
    assert re.search(r"time left: about .* for 1 run, not known for 1 run: the queue is draining\n", told)
