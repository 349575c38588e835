from __future__ import annotations

import json

import polars as pl
import pytest

from tests.fakes import fake_spec, write_run
from tui_datasize.runlog.collect import RUN_METRICS
from tui_datasize.runlog.tail import MetricsTail, extend


@pytest.fixture
def run(project):
    """A queued run, whose `metrics.jsonl` is not there yet."""
    return write_run(project, fake_spec(), state="queued")


def row(update: int, event: str = "train") -> str:
    return json.dumps({"event": event, "update": update}) + "\n"


def append(run, text: str) -> None:
    with run.metrics.open("a") as file:
        file.write(text)


def updates(new) -> list[int]:
    return new.rows["update"].to_list()


def test_each_look_returns_only_what_is_new(run):
    tail = MetricsTail()
    assert updates(tail.read([run])) == []
    append(run, row(1) + row(2))
    first = tail.read([run])
    assert updates(first) == [1, 2]
    assert first.rows.schema == pl.Schema(RUN_METRICS)
    assert first.rows["run_id"].to_list() == [run.run_id] * 2
    assert updates(tail.read([run])) == []
    append(run, row(3))
    third = tail.read([run])
    assert updates(third) == [3]
    assert third.restarted == frozenset()


def test_a_torn_row_waits_for_its_newline(run):
    tail = MetricsTail()
    whole = row(2)
    append(run, row(1) + whole[:9])
    assert updates(tail.read([run])) == [1]
    append(run, whole[9:])
    new = tail.read([run])
    assert updates(new) == [2]
    assert new.broken_lines == {}


def test_a_broken_line_is_counted_once(run):
    tail = MetricsTail()
    append(run, row(1) + "{torn\n" + row(2))
    new = tail.read([run])
    assert updates(new) == [1, 2]
    assert new.broken_lines == {run.run_id: 1}
    assert tail.read([run]).broken_lines == {}


def test_a_file_that_shrank_is_read_anew(run):
    tail = MetricsTail()
    append(run, row(1) + row(2) + row(3))
    known = extend(pl.DataFrame(schema=dict(RUN_METRICS)), tail.read([run]))
    run.metrics.write_text(row(7))
    new = tail.read([run])
    assert new.restarted == {run.run_id}
    assert extend(known, new)["update"].to_list() == [7]


def test_a_replaced_file_is_read_anew_though_it_is_longer(run):
    tail = MetricsTail()
    append(run, row(1))
    tail.read([run])
    replacement = run.directory / "new"
    replacement.write_text(row(5) + row(6) + row(7))
    replacement.rename(run.metrics)
    new = tail.read([run])
    assert new.restarted == {run.run_id}
    assert updates(new) == [5, 6, 7]


def test_a_file_that_went_away_voids_its_rows_and_may_come_back(run):
    tail = MetricsTail()
    append(run, row(1))
    known = extend(pl.DataFrame(schema=dict(RUN_METRICS)), tail.read([run]))
    run.metrics.unlink()
    gone = tail.read([run])
    assert gone.restarted == {run.run_id}
    assert extend(known, gone).is_empty()
    append(run, row(4))
    back = tail.read([run])
    assert back.restarted == frozenset()
    assert updates(back) == [4]


def test_a_file_that_cannot_be_read_is_a_problem_and_keeps_its_place(run):
    tail = MetricsTail()
    append(run, row(1))
    tail.read([run])
    run.metrics.rename(run.directory / "aside")
    run.metrics.mkdir()
    (problem,) = tail.read([run]).problems
    assert str(run.metrics) in str(problem)
    run.metrics.rmdir()
    (run.directory / "aside").rename(run.metrics)
    append(run, row(2))
    assert updates(tail.read([run])) == [2]


def test_a_resume_voids_rows_of_earlier_looks(run):
    tail = MetricsTail()
    append(run, row(1) + row(2) + row(3))
    known = extend(pl.DataFrame(schema=dict(RUN_METRICS)), tail.read([run]))
    append(run, row(1, "resume") + row(2))
    assert extend(known, tail.read([run]))["update"].to_list() == [1, 2]


def test_runs_are_followed_apart(project):
    runs = [write_run(project, fake_spec(seed=seed), state="queued") for seed in (0, 1)]
    tail = MetricsTail()
    append(runs[0], row(1))
    tail.read(runs)
    append(runs[1], row(2))
    new = tail.read(runs)
    assert new.rows.select("run_id", "update").rows() == [(runs[1].run_id, 2)]
    tail.forget(runs[0])
    assert updates(tail.read(runs)) == [1]
