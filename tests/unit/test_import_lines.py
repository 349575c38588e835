"""Lines of a table: what stands before, between and behind the rows that count.

What belongs to the kind: what Excel, NumPy and people write before the column names; comments, zeros and the
names once more among the rows; a row of the end of a run, that tells no epoch; a line that a person skips.
Numbers of lines in messages are those of the file. Nothing of it is left out or read without a word but what
holds no value.
"""

from __future__ import annotations

import pytest

from tui_datasize.errors import ConfigError
from tui_datasize.runlog.importing import lines
from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.reading import read_all

TABLE = "n;seed;test_acc\n500;0;0.75\n1000;0;0.8\n"
ROWS = [(500, 0, 0.75), (1000, 0, 0.8)]


@pytest.mark.parametrize(
    "before",
    [
        "sep=;\n",
        '"sep=;"\r\n',
        "SEP=;\n\n",
        "\n\n",
        ";;\n  \n",
        "# exported, 2024; by me\n#\n",
        "\ufeffsep=;\n# n, seed\n\n",
        "# n;seed;test_acc\n",
    ],
)
def test_what_stands_before_the_column_names_is_passed_over(desk, capsys, before):
    for number, text in enumerate((before + TABLE, before + TABLE.replace("\n", "\r\n"))):
        assert desk.bring(desk.file("a.csv", text), experiment=f"e{number}") == 0
    assert desk.bring(desk.file("a.csv", (before + TABLE).lstrip("\ufeff").encode("utf-16"))) == 0
    assert desk.rows("test_accuracy") == ROWS * 3
    capsys.readouterr()
    # Five lines of the table, the last of them wrong.
    line = before.count("\n") + 4
    assert desk.bring(desk.file("b.csv", before + TABLE + "x;0;0.9\n"), experiment="bad") == 2
    assert f"b.csv, line {line}: the size: 'x' is not" in (error := capsys.readouterr().err)
    assert f"--skip-line {line} leaves the line out" in error


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("# n;seed;test_acc\n500;0;0.75\n1000;0;0.8\n", ()),
        ("# my table\n#n,seed,test_acc\n500,0,0.75\n1000,0,0.8\n", ()),
        ("sep=|\nn|seed|test_acc\n500|0|0.75\n1000|0|0.8\n", ()),
        ("#,n,seed,test_acc\n1,500,0,0.75\n2,1000,0,0.8\n", ()),
        ("sep=\t\nn\tseed\tacc, test\n500\t0\t0.75\n1000\t0\t0.8\n", ()),
    ],
)
def test_column_names_in_a_comment_and_other_separators(desk, text, columns):
    assert desk.bring(desk.file("a.csv", text), *columns) == 0
    assert desk.rows("test_accuracy") == ROWS


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "n;seed;test_acc\n500;0;0.75\n#600;0;0.1\n# end\n1000;0;0.8\n",
            "lines 3 and 4 left out: # begins a",
        ),
        (TABLE.replace("1000", "n;seed;test_acc\n1000"), "line 3 left out: the column names once more"),
        (
            TABLE.replace("1000", "\0\0\0\n600;0;0.\0\0700;1;2\n1000"),
            "zero bytes in lines 3 and 4: left out",
        ),
        (TABLE + "1100;0;0.\0\0\0", "ends in 3 bytes of zeros, after a row without a line end: left out"),
        ("n;seed;test_acc\n500;0;0.75;;\n1000;0;0.8;\n", ""),
    ],
)
def test_what_stands_between_the_rows_is_told(desk, capsys, text, says):
    assert desk.bring(desk.file("a.csv", text)) == 0
    assert desk.rows("test_accuracy") == ROWS
    assert says in capsys.readouterr().err
    is_damaged = "zero" in says
    assert desk.bring(desk.file("a.csv", text), "--strict", experiment="strict") == (2 if is_damaged else 0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "n;seed;test_acc\n500;0;0.75\n1000;0;0.8",
            "a.csv: line 3, the last, has no line end; without --strict",
        ),
        (
            "n;seed;test_acc\n500;0;0.75\n1000;0",
            "a.csv: line 3, the last, has no line end and was cut off (2 cells",
        ),
    ],
)
def test_a_strict_refusal_names_its_line_once(desk, capsys, text, says):
    assert desk.bring(desk.file("a.csv", text), "--strict") == 2
    assert says in (error := capsys.readouterr().err)
    assert error.count("line 3") == 1


LOG = "epoch,train_loss,val_acc,test_acc\n1,0.9,0.5,\n2,0.4,0.7,\n"


@pytest.mark.parametrize("word", ["", "final", "Last", "end", "NA"])
def test_a_row_behind_the_epochs_is_of_the_end_of_its_run(desk, capsys, word):
    for name in ("n500_s0", "n1000"):
        assert desk.bring(desk.file(f"{name}.csv", f"{LOG}{word},,,0.75\n"), experiment=name) == 0
        assert "1 row behind the others of a run without an epoch or update: read as of its end" in (
            capsys.readouterr().err
        )
    assert desk.rows("test_accuracy", "train_loss", "updates") == [
        (1000, 0, 0.75, 0.4, 2),
        (500, 0, 0.75, 0.4, 2),
    ]


def test_a_row_behind_the_epochs_that_says_something_else_is_asked_about(desk, capsys):
    log = "epoch,val_acc\n1,0.5\n2,0.7\n"
    assert desk.bring(desk.file("n500_s0.csv", f"{log},0.75\n")) == 2
    error = capsys.readouterr().err
    assert (
        "n500_s0.csv, line 4: a row behind the others of size 500, seed 0 tells no epoch or update" in error
    )
    assert "its test_accuracy is 0.75, and that of epoch 2 0.7" in error
    assert "--skip-line 4 leaves the line out" in error
    assert desk.bring(desk.file("n500_s0.csv", f"{log},0.75\n"), "--skip-line", "4") == 0
    assert desk.bring(desk.file("n500_s0.csv", f"{log},0.7\n"), experiment="same") == 0
    assert desk.rows("test_accuracy") == [(500, 0, 0.7)] * 2
    assert desk.bring(desk.file("n500_s0.csv", f"{log}best,0.75\n"), experiment="best") == 2
    assert "line 4: the epoch is 'best'" in (error := capsys.readouterr().err)
    assert "--skip-line 4 leaves the line out" in error


def test_lines_are_skipped_of_the_file_that_is_named(desk, capsys):
    a, b = (desk.file(f"{name}.csv", "My; 7\n" + TABLE.replace("0.8", "x")) for name in "ab")
    assert desk.bring(a) == 2
    assert "if the column names are below, --skip-line 1" in capsys.readouterr().err
    assert desk.bring(a, "--skip-line", "1", "--skip-line", "4") == 0
    assert "lines 1 and 4 left out: --skip-line" in capsys.readouterr().err
    assert desk.rows("test_accuracy") == ROWS[:1]
    c = desk.file("ca.csv", "n;seed;test_acc\n4000;0;0.9\n")
    words = ("--skip-line", "a.csv:1", "--skip-line", f"{a}:4")
    assert desk.bring(a, c, *words, experiment="both") == 0
    assert desk.rows("test_accuracy") == [(500, 0, 0.75), (4000, 0, 0.9), (500, 0, 0.75)]
    assert desk.bring(a, b, "--skip-line", "1", experiment="two") == 2
    assert "--skip-line does not say of which file; write it like runs.csv:12" in capsys.readouterr().err
    assert desk.bring(a, "--skip-line", "first", experiment="two") == 2
    assert "--skip-line 'first'; write it like 12, or runs.csv:12" in capsys.readouterr().err


def test_all_names_of_runs_that_are_not_clear_are_told_at_once(desk, capsys):
    names = ["n=50pct_s0", "n=60pct_s0", "n=500_s1", "n=10.000", "x", "n=5k-7k", "x"]
    rows = "".join(f"{name},0.5\n" for name in names)
    assert desk.bring(desk.file("a.csv", f"run,test_acc\n{rows}")) == 2
    error = capsys.readouterr().err
    assert (
        "a.csv, line 2: '50pct' is a share, not a number of images (run 'n=50pct_s0'); line 3: '60pct'"
        in error
    )
    assert (
        "line 5: '10.000' may be 10 or 10,000 (run 'n=10.000'); and 2 names more of such runs; name" in error
    )
    assert error.count("\n") == 1
    chart = '"Step","n=5pct - val_acc","n500 - val_acc","odd - val_acc"\n1,0.5,0.5,0.5\n'
    assert desk.bring(desk.file("b.csv", chart)) == 2
    error = capsys.readouterr().err
    assert "line 1: '5pct' is a share, not a number of images (run 'n=5pct'); no train size is given" in error
    assert "no train size is given for run 'odd'" in error


def test_columns_of_one_name_are_refused_where_they_are_read(desk, capsys):
    table = "n,seed,test_acc,{0},{0}\n500,0,0.75,0.1,0.2\n1000,0,0.8,0.1,0.2\n"
    assert desk.bring(desk.file("a.csv", table.format("note"))) == 0
    assert desk.bring(desk.file("b.csv", table.format("train_acc")), experiment="b") == 2
    assert (
        "the column 'train_acc' is there 2 times; rename one, or --ignore train_acc"
        in capsys.readouterr().err
    )
    assert (
        desk.bring(desk.file("b.csv", table.format("train_acc")), "--ignore", "train_acc", experiment="b")
        == 0
    )
    assert desk.rows("test_accuracy") == ROWS * 2


def test_charts_with_runs_of_one_name_of_groups_and_over_sizes(desk, capsys):
    twice = '"Step","n500 - val_acc","n500 - val_acc__MIN","n500 - val_acc"\n1,0.5,0.5,0.6\n2,0.7,0.7,0.8\n'
    assert desk.bring(desk.file("a.csv", twice), experiment="a") == 0
    assert "no seed is given: up to 2 runs of a size are repeats" in capsys.readouterr().err
    sizes = '"n_train","sunny-1 - val_acc","rainy-2 - val_acc"\n"500","0.5",""\n"1000","","0.6"\n'
    assert desk.bring(desk.file("b.csv", sizes), experiment="b") == 0
    assert desk.rows("test_accuracy") == [(500, 0, 0.7), (500, 1, 0.8), (500, 0, 0.5), (1000, 0, 0.6)]
    group = '"Step","n_train: 500 - val_acc"\n1,0.5\n'
    assert desk.bring(desk.file("c.csv", group), experiment="c") == 0
    assert "'n_train: 500' may be an average over a group of runs" in capsys.readouterr().err
    when = '"Relative Time (Process)","n500 - val_acc"\n1.5,0.5\n'
    assert desk.bring(desk.file("d.csv", when), experiment="d") == 2
    assert "export the chart with Step on its x axis" in capsys.readouterr().err


def test_a_table_of_comments_says_so(desk, capsys):
    assert desk.bring(desk.file("a.csv", "run,test_acc\n#1_n500,0.5\n#2_n500,0.6\n")) == 2
    assert "there are no rows below the column names but 2 comments (#); give" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"PK\x03\x04\x14\0\x06\0", b"\0\0\0\0a,b\n"])
def test_a_file_of_another_form_is_said_to_be_one(desk, capsys, content):
    assert desk.bring(desk.file("a.csv", content)) == 2
    assert "unknown format; expected TensorBoard event file" in (error := capsys.readouterr().err)
    assert "save its table as CSV" in error


@pytest.mark.parametrize("n_rows", [1, 48, 49, 50, 51, 52, 200])
@pytest.mark.parametrize("above", ["", "A title\n", "# a comment\n\nOurs,,\n"])
def test_no_row_is_lost_however_many_there_are(desk, n_rows, above):
    rows = "".join(f"{n},1,0.5\n" for n in range(1, n_rows + 1))
    reading = read_all([desk.file("a.csv", f"{above}n,seed,test_acc\n{rows}")], Layout(), is_strict=True)
    assert [run.cell.train_size for run in reading.runs] == [*range(1, n_rows + 1)]


@pytest.mark.parametrize(
    "note",
    ["", '"a, b"', '"two\nlines"', "#1", *("x" * (lines._SHORT + more) for more in (-12, -11, -10, 4_000))],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_that_are_read_many_at_once_are_those_read_one_by_one(desk, monkeypatch, note, end):
    """An odd row, or one as long as the piece in which lines are looked at, after and before plain ones."""
    monkeypatch.setattr(lines, "_AT_ONCE", 10)
    rows = [f"{n},1,0.5,{note if n in (103, 162, 163, 170) else ''}{end}" for n in range(100, 190)]
    begun = "".join(["n,seed,test_acc,note" + end, *rows])
    file = desk.file("a.csv", begun + "1100,1,oops," + end)
    with pytest.raises(ConfigError) as told:
        read_all([file], Layout(), is_strict=True)
    assert f", line {begun.count(end[-1]) + 1}: test_acc is 'oops'" in told.value.line
    reading = read_all([desk.file("b.csv", begun)], Layout(), is_strict=True)
    assert [run.cell.train_size for run in reading.runs] == [*range(100, 190)]
