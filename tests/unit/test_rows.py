from __future__ import annotations

import gzip
import json
import zlib

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_datasize.runlog.rows import complete_lines, drop_voided, parse_rows
from tui_datasize.runlog.schema import METRICS

GOOD = b'{"event": "train", "update": 1, "loss": 0.5}\n'


def lines(*rows: dict[str, object]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def test_an_unterminated_line_is_not_read_yet():
    assert complete_lines(GOOD + b'{"event": "tr') == GOOD
    assert complete_lines(b'{"event": "tr') == b""
    assert complete_lines(b"") == b""


def test_rows_have_the_declared_columns_and_types():
    rows = parse_rows([GOOD]).rows
    assert rows.schema == pl.Schema({"source": pl.UInt32, **METRICS})
    assert rows.select("event", "update", "loss", "accuracy").row(0) == ("train", 1, 0.5, None)


def test_no_text_gives_an_empty_frame():
    for pieces in ([], [b""], [b"\n\n"]):
        parsed = parse_rows(pieces)
        assert parsed.rows.is_empty()
        assert parsed.broken_lines == (0,) * len(pieces)


@pytest.mark.parametrize(
    "broken",
    [
        b'{"event": "train", "upd\n',
        b"\0\0\0\0\n",
        b"\xff\xfe\n",
        b"null\n",
        b"[1]\n",
        b"{}\n",
        b'{"event": "train"}\n',
        b'{"event": null, "update": 3}\n',
        b'{"event": "train", "update": "three"}\n',
        b'{"event": "train", "update": 1.5}\n',
        b'{"event": "train", "update": 2, "loss": [1]}\n',
        b'{"event": "train", "update": 2}{"event": "train", "update": 3}\n',
        b'{"event": "train", "update": 2, "loss": NaN}\n',
        b'"\n',
        b"\x1f\x8b\x08\0\0\n",
        gzip.compress(GOOD, mtime=0).replace(b"\n", b"") + b"\n",
        zlib.compress(GOOD).replace(b"\n", b"") + b"\n",
        b"\x28\xb5\x2f\xfd\n",
    ],
)
def test_a_broken_line_in_the_middle_costs_only_itself(broken):
    after = GOOD.replace(b"1", b"2")
    parsed = parse_rows([GOOD, GOOD + broken + after, GOOD])
    assert parsed.rows.select("source", "update").rows() == [(0, 1), (1, 1), (1, 2), (2, 1)]
    assert parsed.broken_lines == (0, 1, 0)
    alone = parse_rows([broken])
    assert (alone.rows.is_empty(), alone.broken_lines) == (True, (1,))


def test_blank_lines_and_unknown_columns_and_events_are_no_fault():
    text = (
        GOOD
        + b"\n  \r\n"
        + lines({"event": "note", "update": 2}, {"event": "train", "update": 3, "new": [1]})
    )
    parsed = parse_rows([text])
    assert parsed.rows["update"].to_list() == [1, 3]
    assert parsed.broken_lines == (0,)


@given(
    st.lists(
        st.lists(
            st.one_of(
                st.binary(max_size=20).filter(lambda line: b"\n" not in line),
                st.integers(0, 10**6).map(lambda u: json.dumps({"event": "train", "update": u}).encode()),
            ),
            max_size=12,
        ),
        max_size=4,
    )
)
def test_every_line_is_a_row_or_counted(pieces):
    parsed = parse_rows([b"".join(line + b"\n" for line in piece) for piece in pieces])
    for source, piece in enumerate(pieces):
        expected = [json.loads(line)["update"] for line in piece if line.startswith(b'{"event": "train"')]
        assert parsed.rows.filter(pl.col("source") == source)["update"].to_list() == expected
        written = sum(1 for line in piece if line.strip())
        assert parsed.broken_lines[source] == written - len(expected)


def voided(*events: tuple[str, int], run: str = "a") -> list[tuple[str, int]]:
    frame = pl.DataFrame(
        [(run, event, update) for event, update in events],
        schema={"run": pl.String, "event": pl.String, "update": pl.Int64},
        orient="row",
    )
    return drop_voided(frame, "run").select("event", "update").rows()


def test_a_resume_voids_earlier_rows_beyond_it():
    assert voided(("train", 10), ("train", 20), ("resume", 10), ("train", 15), ("evaluation", 20)) == [
        ("train", 10),
        ("train", 15),
        ("evaluation", 20),
    ]


def test_a_second_resume_may_reach_back_behind_the_first():
    events = [("train", 10), ("train", 20), ("resume", 20), ("train", 30), ("resume", 5), ("train", 8)]
    assert voided(*events) == [("train", 8)]


def test_a_resume_leaves_other_runs_alone():
    frame = pl.DataFrame(
        {"run": ["a", "b", "a"], "event": ["train", "train", "resume"], "update": [10, 10, 0]},
    )
    assert drop_voided(frame, "run").rows() == [("b", "train", 10)]


@given(st.lists(st.tuples(st.sampled_from(["train", "resume"]), st.integers(0, 9)), max_size=30))
def test_voiding_agrees_with_replaying_the_file(events):
    kept: list[tuple[str, int]] = []
    for event, update in events:
        if event == "resume":
            kept = [row for row in kept if row[1] <= update]
        else:
            kept.append((event, update))
    assert voided(*events) == kept
