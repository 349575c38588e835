from __future__ import annotations

import polars as pl

from tests.fakes import fake_spec, write_run
from tui_datasize.runlog.reader import RunLog
from tui_datasize.stats.overlap import LEAKS, find_leaks


def test_distinct_images_do_not_leak(finished):
    log = RunLog(finished)
    leaks = find_leaks(log.table("subsets"), log.table("predictions"))
    assert leaks.schema == pl.Schema(LEAKS)
    assert leaks.is_empty()


def test_a_training_image_in_the_test_set_is_found_once_per_run(project):
    runs = [write_run(project, fake_spec(seed=seed, subset_seed=seed)) for seed in (0, 1)]
    tested = pl.read_parquet(runs[0].predictions)
    used = pl.read_parquet(runs[0].subset)
    same = used.with_columns(
        pl.when(pl.col("index") == used["index"][4]).then(tested["hash"][7]).otherwise("hash").alias("hash")
    )
    same.write_parquet(runs[0].subset)
    log = RunLog(project)
    expected = (runs[0].run_id, used["index"][4], used["label"][4], 7, tested["label"][7], tested["hash"][7])
    assert find_leaks(log.table("subsets"), log.table("predictions")).rows() == [expected]


def test_an_image_shared_between_different_runs_is_no_leak():
    train = pl.DataFrame({"run_id": ["a"], "index": [1], "label": [0], "hash": [5]})
    test = pl.DataFrame({"run_id": ["b"], "index": [1], "label": [0], "hash": [5]})
    assert find_leaks(train, test).is_empty()


def test_unknown_hashes_match_nothing():
    images = pl.DataFrame(
        {"run_id": ["a"], "index": [1], "label": [0], "hash": [None]}, schema_overrides={"hash": pl.UInt64}
    )
    assert find_leaks(images, images).is_empty()
