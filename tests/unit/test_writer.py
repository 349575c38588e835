"""The worker's side of the record."""

from __future__ import annotations

import json
import math
import os
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tui_datasize.runlog import schema, writer
from tui_datasize.runlog.writer import MetricsWriter


def lines(path):
    return path.read_bytes().decode().split("\n")


def test_a_row_has_all_columns_in_order_and_ends_at_once(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with closing(MetricsWriter(path)) as metrics:
        metrics.write("train", 3, split="train", loss=0.5)
        # Nothing is held back until the file is closed.
        first, rest = lines(path)
    row = json.loads(first)
    assert rest == ""
    assert tuple(row) == tuple(schema.METRICS)
    assert (row["event"], row["update"], row["loss"], row["accuracy"]) == ("train", 3, 0.5, None)
    assert datetime.fromisoformat(row["time"]).tzinfo == UTC


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_becomes_null(value, tmp_path):
    path = tmp_path / "metrics.jsonl"
    with closing(MetricsWriter(path)) as metrics:
        metrics.write("evaluation", 1, split="test", loss=value)
    assert json.loads(lines(path)[0])["loss"] is None


def test_an_unknown_column_is_an_error(tmp_path):
    with closing(MetricsWriter(tmp_path / "m")) as metrics, pytest.raises(ValueError, match="val_accuracy"):
        metrics.write("evaluation", 1, val_accuracy=0.5)


def test_resuming_ends_a_torn_row_first(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"event": "train", "update": 5}\n{"event": "tra')
    with closing(MetricsWriter(path)) as metrics:
        metrics.resume(5)
        metrics.write("train", 6)
    found = lines(path)
    assert found[1] == '{"event": "tra'
    assert json.loads(found[2]) == {"event": "resume", "update": 5}
    assert json.loads(found[3])["update"] == 6


def test_resuming_after_a_whole_row_adds_one_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"event": "train", "update": 5}\n')
    with closing(MetricsWriter(path)) as metrics:
        metrics.resume(4)
    assert [json.loads(line)["event"] for line in lines(path)[:-1]] == ["train", "resume"]


def test_a_first_start_has_nothing_to_resume(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with closing(MetricsWriter(path)) as metrics:
        metrics.resume(0)
    assert path.read_bytes() == b""


def test_tables_have_their_schemas(tmp_path):
    confusion = np.array([[3, 1, 0], [0, 0, 0], [0, 2, 4]])
    probabilities = np.array([[0.25, 0.5, 0.25], [1, 0, 0]], dtype=np.float16)
    classes = np.broadcast_to(np.arange(3), (2, 3))
    hashes = np.array([1, 2**64 - 1], dtype=np.uint64)
    frames = {
        "SUBSET": writer.subset_frame(np.array([4, 2]), np.array([0, 1]), hashes),
        "PER_CLASS": writer.per_class_frame("last", 9, "test", confusion, ["a", "b", "c"]),
        "CONFUSION": writer.confusion_frame("best", 9, confusion),
        "PREDICTIONS": writer.predictions_frame(
            "last", np.array([4, 9]), np.array([1, 0]), hashes, classes, probabilities
        ),
    }
    for name, frame in frames.items():
        path = tmp_path / f"{name}.parquet"
        writer.write_table(path, frame)
        read = pl.read_parquet(path)
        assert dict(read.schema) == dict(getattr(schema, name))
        assert read.equals(frame)
    assert frames["PER_CLASS"]["accuracy"].to_list() == [0.75, None, pytest.approx(4 / 6)]
    assert frames["CONFUSION"].select("label", "predicted", "images").rows() == [
        (0, 0, 3),
        (0, 1, 1),
        (2, 1, 2),
        (2, 2, 4),
    ]
    assert frames["PREDICTIONS"]["probabilities"].to_list() == [[0.25, 0.5, 0.25], [1, 0, 0]]
    assert frames["SUBSET"]["hash"].to_list() == [1, 2**64 - 1]


def test_a_new_file_and_its_rows_are_made_to_last(synced, tmp_path):
    path = tmp_path / "metrics.jsonl"
    with closing(MetricsWriter(path)) as metrics:
        metrics.write("evaluation", 1)
        metrics.sync()
        # The name of the new file first, then its content.
        assert synced == [tmp_path, path]
        metrics.write("evaluation", 2)
    # The end of the run is written next.
    assert synced == [tmp_path, path, path]


@pytest.fixture
def synced(monkeypatch):
    paths: list[Path] = []

    def fsync(descriptor, sync=os.fsync):
        paths.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return paths
