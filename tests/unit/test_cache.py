from __future__ import annotations

import shutil
from threading import Thread

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.fakes import fake_spec, fake_sweep, write_run
from tui_datasize.runlog import cache, collect, reader
from tui_datasize.runlog.collect import read_runs
from tui_datasize.runlog.incomplete import noted_incomplete
from tui_datasize.runlog.reader import RunLog


@pytest.fixture(autouse=True)
def _small_numbers(monkeypatch):
    """Segments of a few runs, so that a few runs make many."""
    monkeypatch.setattr(reader, "_LEAST_TO_CACHE", 2)


@pytest.fixture
def no_reading(monkeypatch):
    """Afterwards a run directory that is opened fails the test."""

    def forbid():
        def fail(*_args):
            raise AssertionError("a run directory was read")

        monkeypatch.setattr(collect, "describe_run", fail)
        monkeypatch.setattr(collect, "_read_bytes", fail)

    return forbid


def files(project, kind="*"):
    return sorted(project.cache.rglob(f"*.{kind}.parquet"))


def frames(project, **options):
    log = RunLog(project, **options)
    return log.runs(), log.metrics()


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert_frame_equal(one, other)


def test_finished_runs_come_from_the_cache(fake_project, no_reading):
    expected = frames(fake_project, use_cache=False)
    assert files(fake_project) == []
    assert_same(frames(fake_project), expected)
    assert len(files(fake_project)) == 2
    no_reading()
    assert_same(frames(fake_project), expected)


def test_one_reader_reads_a_settled_run_once(fake_project, no_reading):
    log = RunLog(fake_project, use_cache=False)
    first = log.runs()
    no_reading()
    assert_frame_equal(log.runs(), first)


def test_many_runs_are_read_in_steps_that_go_on_where_the_last_one_ended(fake_project, monkeypatch):
    (fake_project.run("digits", fake_sweep()[0].run_id)).metrics.write_bytes(b"")
    expected = frames(fake_project, use_cache=False)
    RunLog(fake_project).runs()
    lost = noted_incomplete(fake_project)
    for file in files(fake_project):
        file.unlink()
    log = RunLog(fake_project)
    steps = [(log.runs(most_read=10).height, log.unread) for _ in range(4)]
    assert steps == [(10, 26), (20, 16), (30, 6), (36, 0)]
    assert noted_incomplete(fake_project) == lost != frozenset()
    monkeypatch.setattr(reader, "read_runs", lambda project, scanned: read_runs(project, scanned.head(0)))
    assert_same(frames(fake_project), expected)


def test_a_changed_run_is_read_from_its_directory(fake_project):
    RunLog(fake_project).runs()
    first = next(fake_project.all_runs())
    with first.metrics.open("a") as file:
        file.write('{"event": "evaluation", "split": "test", "update": 999, "accuracy": 0.01}\n')
    runs, metrics = frames(fake_project)
    row = runs.row(by_predicate=pl.col("run_id") == first.run_id, named=True)
    assert (row["updates"], row["test_accuracy"]) == (999, 0.01)
    assert metrics.filter(pl.col("run_id") == first.run_id)["update"].max() == 999


def test_unfinished_runs_are_not_cached(project):
    for seed, state in enumerate(["queued", "running", "interrupted", "succeeded", "failed"]):
        write_run(project, fake_spec(seed=seed), state=state)
    assert RunLog(project).runs().height == 5
    (segment,) = files(project, "runs")
    assert sorted(pl.read_parquet(segment)["state"]) == ["failed", "succeeded"]


def test_a_deleted_run_is_not_remembered(fake_project):
    RunLog(fake_project).runs()
    shutil.rmtree(next(fake_project.all_runs()).directory)
    runs, metrics = frames(fake_project)
    assert runs.height == 35
    assert metrics["run_id"].n_unique() == 35


@pytest.mark.parametrize("kind", ["runs", "metrics"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:100]),
        lambda file: file.write_bytes(file.read_bytes()[:-9] + b"x" + file.read_bytes()[-8:]),
        lambda file: file.unlink(),
    ],
    ids=["empty", "cut", "one byte", "missing"],
)
def test_a_damaged_cache_heals_itself(fake_project, kind, damage):
    expected = frames(fake_project)
    (file,) = files(fake_project, kind)
    damage(file)
    assert_same(frames(fake_project), expected)
    shutil.rmtree(fake_project.cache)
    assert_same(frames(fake_project), expected)


def test_damage_while_a_reader_is_open_is_noticed(fake_project):
    log = RunLog(fake_project)
    runs, metrics = log.runs(), log.metrics()
    shutil.rmtree(fake_project.cache)
    assert_same((log.runs(), log.metrics()), (runs, metrics))


def test_an_unwritable_cache_is_a_problem_and_tried_once(fake_project, no_reading):
    fake_project.cache.write_text("a file where a directory should be")
    log = RunLog(fake_project)
    first = log.runs()
    assert first.height == 36
    assert log.metrics()["run_id"].n_unique() == 36
    assert str(fake_project.cache) in str(log.problems[0])
    no_reading()
    assert_frame_equal(log.runs(), first)


def test_readers_at_once_do_not_disturb_each_other(fake_project):
    expected = frames(fake_project, use_cache=False)
    found: list[tuple[pl.DataFrame, pl.DataFrame]] = []
    readers = [Thread(target=lambda: found.append(frames(fake_project))) for _ in range(4)]
    for thread in readers:
        thread.start()
    for thread in readers:
        thread.join()
    assert len(found) == 4
    for each in found:
        assert_same(each, expected)
    assert_same(frames(fake_project), expected)


def test_a_run_that_two_readers_cached_counts_once(project):
    late, early = RunLog(project), RunLog(project)
    write_run(project, fake_spec(seed=0), tables=False)
    late.runs()
    write_run(project, fake_spec(seed=1), tables=False)
    early.runs()
    write_run(project, fake_spec(seed=2), tables=False)
    late.runs()
    cached = pl.concat(pl.read_parquet(file) for file in files(project, "runs"))
    assert sorted(cached["seed"]) == [0, 0, 1, 1, 2]
    assert_same(frames(project), frames(project, use_cache=False))


def test_many_small_segments_become_one(project):
    log = RunLog(project)
    for seed in range(2 * cache._MOST_SMALL_SEGMENTS + 2):
        write_run(project, fake_spec(seed=seed), tables=False)
        log.runs()
    assert len(files(project, "runs")) == len(files(project, "metrics")) <= cache._MOST_SMALL_SEGMENTS + 1
    expected = frames(project, use_cache=False)
    assert_same((log.runs(), log.metrics()), expected)
    assert_same(frames(project), expected)


def test_merging_leaves_out_runs_that_are_gone_or_have_changed(project):
    log = RunLog(project)
    for seed in range(0, 20, 2):
        write_run(project, fake_spec(seed=seed), tables=False, accuracy=0.5)
        write_run(project, fake_spec(seed=seed + 1), tables=False, accuracy=0.5)
        if seed == 10:
            shutil.rmtree(project.run("digits", fake_spec(seed=0).run_id).directory)
            write_run(project, fake_spec(seed=1), tables=False, accuracy=0.9)
        log.runs()
    cached = pl.concat(pl.read_parquet(file) for file in files(project, "runs"))
    assert cached.filter(pl.col("seed") == 0).is_empty()
    assert cached.filter(pl.col("seed") == 1)["test_accuracy"].to_list() == [pytest.approx(0.9)]
    assert_same(frames(project), frames(project, use_cache=False))
