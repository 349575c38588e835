from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tests.fakes import fake_spec, write_run
from tui_datasize.errors import StorageError
from tui_datasize.runlog.export import FORMATS, export_frame, render
from tui_datasize.runlog.reader import RunLog

FRAME = pl.DataFrame(
    {
        "run_id": ["a", "=1+1", None],
        "size": [40, -80, None],
        "accuracy": [0.5, float("nan"), -1.25],
        "classes": [[1, 2], [], None],
        "done": [True, None, False],
    }
)


def csv_rows(frame: pl.DataFrame) -> list[list[str]]:
    return list(csv.reader(io.StringIO(render(frame, "csv").decode(), newline="")))


def test_csv():
    assert render(FRAME, "csv").decode() == (
        'run_id,size,accuracy,classes,done\na,40,0.5,"[1,2]",true\n\'=1+1,-80,,[],\n,,-1.25,,false\n'
    )


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), max_size=6))
def test_no_csv_text_begins_like_a_formula_and_none_is_lost(texts):
    # csv cannot tell an empty text in a single column from a missing row, hence the second column.
    rows = csv_rows(
        pl.DataFrame({"text": texts, "n": range(len(texts))}, schema_overrides={"text": pl.String})
    )
    found = [row[0] for row in rows[1:]]
    for text, cell in zip(texts, found, strict=True):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
        assert cell in (text, f"'{text}")
        assert cell == text or text[0] in "=+-@\t\r\n"


def test_a_column_named_like_a_formula_is_made_harmless_too():
    assert csv_rows(pl.DataFrame({"=cmd": [-1]})) == [["'=cmd"], ["-1"]]


def test_categories_and_structs_in_csv():
    frame = pl.DataFrame(
        {
            "kind": pl.Series(["@x", "y"], dtype=pl.Categorical),
            "at": [{"lr": 0.5, "note": "}"}, {"lr": float("nan"), "note": None}],
        }
    )
    rows = csv_rows(frame)
    assert [row[0] for row in rows] == ["kind", "'@x", "y"]
    assert [json.loads(row[1]) for row in rows[1:]] == [{"lr": 0.5, "note": "}"}, {"lr": None, "note": None}]


def test_json():
    assert json.loads(render(FRAME, "json")) == [
        {"run_id": "a", "size": 40, "accuracy": 0.5, "classes": [1, 2], "done": True},
        {"run_id": "=1+1", "size": -80, "accuracy": None, "classes": [], "done": None},
        {"run_id": None, "size": None, "accuracy": -1.25, "classes": None, "done": False},
    ]


@given(st.lists(st.text(st.characters(codec="utf-8"))), st.lists(st.floats()))
def test_json_is_always_valid(texts, numbers):
    assert [row["t"] for row in json.loads(render(pl.DataFrame({"t": texts}), "json"))] == texts
    document = render(pl.DataFrame({"x": numbers}, schema={"x": pl.Float64}), "json")
    assert "nan" not in document.decode().lower()
    assert [row["x"] for row in json.loads(document)] == [
        number if abs(number) < float("inf") else None for number in numbers
    ]


def test_parquet_keeps_the_frame():
    assert_frame_equal(pl.read_parquet(io.BytesIO(render(FRAME, "parquet"))), FRAME)


def test_markdown_is_aligned_and_escaped():
    frame = pl.DataFrame({"name": ["a|b", "line\nbreak"], "accuracy": [0.123456789, None], "n": [7, 1200]})
    assert render(frame, "markdown").decode().splitlines() == [
        "| name       | accuracy |    n |",
        "| ---------- | -------: | ---: |",
        "| a\\|b       | 0.123457 |    7 |",
        "| line break |          | 1200 |",
    ]


@pytest.mark.parametrize("format_", FORMATS)
def test_empty_frames(format_):
    assert render(FRAME.clear(), format_)
    assert render(pl.DataFrame(), format_) is not None


@pytest.mark.parametrize("format_", FORMATS)
def test_every_frame_of_the_record_can_be_exported(project, format_):
    write_run(project, fake_spec())
    log = RunLog(project)
    for frame in (log.runs(), log.metrics(), log.table("subsets"), log.table("predictions"), log.datasets()):
        assert render(frame, format_)


def test_a_file_is_replaced_whole(tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("old")
    export_frame(FRAME, "csv", file)
    assert file.read_bytes() == render(FRAME, "csv")
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("force", [False, True])
def test_nothing_but_an_own_file_is_replaced(tmp_path, force):
    target = tmp_path / "target.csv"
    target.write_text("old")
    (tmp_path / "link.csv").symlink_to(target)
    (tmp_path / "broken.csv").symlink_to(tmp_path / "new.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    theirs = tmp_path / "theirs.csv"
    theirs.write_text("old")
    if os.geteuid() == 0:
        os.chown(theirs, 12_345, 12_345)
    (tmp_path / "experiments.toml").write_text("")
    (tmp_path / "runs" / "e" / "r").mkdir(parents=True)
    names = ["link.csv", "broken.csv", "pipe.csv", "folder.csv", "experiments.toml", "queue.db", "runs/x.csv"]
    names += ["runs/queue.db", "runs/e/r/spec.json", "runs/../runs/x.csv"] + ["theirs.csv"] * (
        os.geteuid() == 0
    )
    before = sorted(tmp_path.rglob("*"))
    for name in [*names, "/dev/null", "/dev/stdout"]:
        with pytest.raises(StorageError) as raised:
            export_frame(FRAME, "csv", tmp_path / name, force=force)
        assert "name another file" in raised.value.line
    assert sorted(tmp_path.rglob("*")) == before
    assert target.read_text() == theirs.read_text() == "old"


def test_a_file_of_another_kind_is_replaced_only_by_force(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("old")
    with pytest.raises(StorageError, match=r"is no \.csv file; --force replaces it"):
        export_frame(FRAME, "csv", file)
    assert file.read_text() == "old"
    export_frame(FRAME, "csv", file, force=True)
    assert file.read_bytes() == render(FRAME, "csv")
    export_frame(FRAME, "csv", tmp_path / "new.txt")
    export_frame(FRAME, "csv", tmp_path / "new.CSV")
    export_frame(FRAME, "csv", tmp_path / "new.CSV")


@pytest.mark.parametrize("name", ["missing/table.csv", "directory", "file/table.csv"])
def test_an_unwritable_file_is_one_clear_line(tmp_path, name):
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(StorageError) as raised:
        export_frame(FRAME, "csv", tmp_path / name)
    assert str(tmp_path / name) in raised.value.line
    assert "cannot be written" in raised.value.line


def test_standard_output_takes_bytes(tmp_path):
    code = (
        "import polars as pl; from tui_datasize.runlog.export import export_frame;"
        "export_frame(pl.DataFrame({'n': [1]}), 'csv', None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    assert done.stdout == b"n\n1\n"
