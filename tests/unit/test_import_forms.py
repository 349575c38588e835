"""Tables in the forms that people keep them in: read alike, or refused.

What belongs to the kinds: cells with commas, semicolons, tabs, pipes or spaces between; decimal commas;
thousands apart; encodings; titles above, names that come again, footnotes and sums below; a column per run or
per size; sizes as shares of a whole set. All of them together, in tables of any length, are one property.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.import_desk import Desk
from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.reading import read_all
from tui_datasize.runlog.paths import ProjectPaths


@pytest.fixture
def desk(project) -> Desk:
    return Desk(project)


ROWS = [(500, 1, 0.8), (1000, 2, 0.825)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("n|seed|test acc\n500|1|0.8\n1000|2|0.825\n", ""),
        ("| n | seed | test acc |\n|---|---:|:---:|\n| 500 | 1 | 0.8 |\n| 1000 | 2 | 0.825 |\n", ""),
        ("n     seed  test_acc\n500   1     0.8\n1000  2     0.825\n", ""),
        ("   n seed test_acc\n 500    1      0.8\n1000    2    0.825\n", ""),
        ("Table 2. Ours\n\nn,seed,test_acc\n500,1,0.8\n1000,2,0.825\n", "line 1 left out: a title above"),
        ("Ours\nof 2026\nn,seed,test_acc\n500,1,0.8\n1000,2,0.825\n", "lines 1 and 2 left out: a title"),
        ("n;seed;test_acc\n500;1;0,8\n1000;2;0,825\n", "numbers have decimal commas: 0,8 is 0.8"),
        ('n;seed;test_acc\n"500";1;"0,8"\n1.000;2;0,825\n', "numbers have decimal commas"),
        ("n\tseed\ttest_acc\n500\t1\t80,0 %\n1000\t2\t82,5 %\n", "numbers have decimal commas"),
        (
            "n;seed;test_acc;größe\n500;1;0.8;ä\n1000;2;0.825;ü\n".encode("latin-1"),
            "read as Latin-1",
        ),
        (
            "n,seed,test_acc\n500,1,0.8\n1000,2,0.825\nmean,,0.8125\nstd,,0.01\n",
            "lines 4 and 5 left out",
        ),
        ("n,seed,test_acc\n500,1,0.8\n1000,2,0.825\n1000,Mean,0.81\n", "line 4 left out: it sums up"),
        (
            "run,n,seed,test_acc\na,500,1,0.8\nb,1000,2,0.825\naverage,1000,3,0.81\n",
            "line 4 left out: it sums up",
        ),
    ],
)
def test_the_same_table_in_another_form_is_the_same_runs(desk, capsys, text, says):
    assert desk.bring(desk.file("a.csv", text)) == 0
    assert desk.rows("test_accuracy") == ROWS
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("n;seed;test_acc\n500;1;1,000\n", "'1,000', not a number; decimals are written with a point"),
        ("n;seed;test_acc;loss\n500;1;0,8;0.5\n", "'0,8', not a number"),
        ("n;seed;test_acc\n10.000;1;0.8\n", "10.000"),
        ("n seed test_acc\n500 0.8\n", "2 cells, expected 3"),
        (b"n,seed,test_acc,note\n500,1,0.8,\x81\n", "not UTF-8 text"),
    ],
)
def test_what_may_be_read_in_two_ways_is_refused(desk, capsys, text, says):
    assert desk.bring(desk.file("a.csv", text)) == 2
    assert says in capsys.readouterr().err


def test_a_word_for_a_sum_may_be_a_variant(desk):
    text = "pooling,n,seed,test_acc\nmean,500,1,0.8\nmax,500,1,0.9\n"
    assert desk.bring(desk.file("a.csv", text), "--variant", "pooling") == 0
    assert desk.rows("test_accuracy") == [(500, 1, 0.9), (500, 1, 0.8)]


def test_whole_numbers_between_commas_are_no_decimals(desk, capsys):
    assert desk.bring(desk.file("a.csv", "n,test_acc\n500,0\n600,1\n")) == 0
    assert "decimal" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "column", "told"),
    [
        ("n,seed0,seed7\n500,0.8,0.9\n600,,0.7\n", "seed#", [(500, 0, 0.8), (500, 7, 0.9), (600, 7, 0.7)]),
        ("n,acc_1,acc_2\n500,0.8,0.9\n", "acc_#", [(500, 0, 0.8), (500, 1, 0.9)]),
        ("seed,500,1000\n3,0.8,0.9\n4,0.7,\n", "#", [(500, 3, 0.8), (500, 4, 0.7), (1000, 3, 0.9)]),
        ("epoch,n500 acc,n900 acc\n1,0.2,0.3\n2,0.8,0.9\n", "n# acc", [(500, 0, 0.8), (900, 0, 0.9)]),
    ],
)
def test_a_column_per_run_is_told_by_its_number(desk, text, column, told):
    assert desk.bring(desk.file("a.csv", text), "--column", f"test_accuracy={column}") == 0
    assert desk.rows("test_accuracy") == told


def test_two_metrics_of_a_number_are_of_one_run(desk, capsys):
    file = desk.file("a.csv", "n,acc_1,acc_2,loss_1,loss_2\n500,0.8,0.9,0.5,0.4\n")
    assert desk.bring(file) == 2
    assert "all with # in place of the number" in capsys.readouterr().err
    columns = ("--column", "test_accuracy=acc_#", "--column", "test_loss=loss_#")
    assert desk.bring(file, *columns) == 0
    assert desk.rows("test_accuracy", "test_loss") == [(500, 0, 0.8, 0.5), (500, 1, 0.9, 0.4)]
    assert desk.bring(file, "--column", "test_accuracy=top_#", experiment="none") == 2
    assert "no column 'top_#'" in capsys.readouterr().err


_RUNS = st.lists(
    st.tuples(st.integers(1, 99_999), st.integers(0, 999), st.none() | st.integers(101, 9999)),
    min_size=1,
    max_size=55,
    unique_by=lambda run: run[:2],
).filter(lambda runs: any(run[2] for run in runs))
_BETWEEN = [",", ";", "\t", "|", " ", "   "]
"""A title above cells with spaces between is one more row of cells."""
_ENCODINGS = ["utf-8", "utf-8-sig", "utf-16"]
_BLANKS = ["NA", "n/a", "-", "None", "nan"]


@given(data=st.data(), runs=_RUNS, between=st.sampled_from(_BETWEEN), encoding=st.sampled_from(_ENCODINGS))
def test_a_table_in_any_form_is_read_back(tmp_path_factory, data, runs, between, encoding):
    has_commas, in_percent, has_title, has_footnote, is_repeated, is_grouped = (
        data.draw(st.booleans()) for _ in range(6)
    )
    comma = has_commas and between != ","
    is_grouped &= between in (";", "\t", "|")
    lines = [["size", "seed", "test_accuracy"]]
    for n, seed, value in runs:
        number = data.draw(st.sampled_from(_BLANKS)) if value is None else f"{value / 10_000:.4f}"
        if value is not None and in_percent:
            number = f"{value / 100:.2f}%"
        number = number.replace(".", ",") if comma else number
        lines.append([f"{n:,}".replace(",", "\u202f") if is_grouped else str(n), str(seed), number])
    lines.insert(data.draw(st.integers(1, len(lines))), lines[0]) if is_repeated else None
    above = ["Our results of spring"] if has_title and between.strip() else []
    below = ["* one seed each"] if has_footnote and between.strip() else []
    text = "".join(line + "\n" for line in [*above, *map(between.join, lines), *below])
    file = ProjectPaths(tmp_path_factory.mktemp("form")).root / "a.csv"
    file.write_bytes(text.encode(encoding))
    found = read_all([file], Layout(), is_strict=True).runs
    read = {(run.cell.train_size, run.cell.seed): run.end.get("test_accuracy") for run in found}
    told = {(n, seed): None if value is None else value / 10_000 for n, seed, value in runs}
    assert read == pytest.approx(told)


SHARES = [(500, 1, 0.8), (1000, 2, 0.825)]


@pytest.mark.parametrize(
    "text",
    [
        "Fraction,seed,test_acc\n0.05,1,0.8\n0.1,2,0.825\n",
        "train %,seed,test_acc\n5,1,0.8\n10,2,0.825\n",
        "n,seed,test_acc\n5%,1,0.8\n10 %,2,0.825\n",
        "run,test_acc\nnet_n=5pct_s1,0.8\nnet_n=10%_s2,0.825\n",
        "data_frac;seed;test_acc\n0,05;1;0,8\n0,1;2;0,825\n",
    ],
)
def test_shares_of_a_whole_set_that_is_told_are_sizes(desk, capsys, text):
    file = desk.file("a.csv", text)
    assert desk.bring(file, experiment="untold") == 2
    assert "--size" in (error := capsys.readouterr().err) or "is a share" in error
    assert desk.bring(file, "--size", "10000") == 0
    assert desk.rows("test_accuracy") == SHARES
    ratio = desk.file("b.csv", "dropout_ratio,GPU %,test_acc\n0.5,90,0.8\n")
    assert desk.bring(ratio, "--size", "10000", experiment="b") == 0
    assert (10000, 0, 0.8) in desk.rows("test_accuracy")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Fraction,test_acc\n10,0.8\n", "'10' is no share of a data set, expected 0 to 1"),
        ("train %,test_acc\n110,0.8\n", "'110' is no share of a data set, expected 0 to 100 %"),
        ("Fraction,test_acc\n0.00001,0.8\n", "'0.00001' of 10,000 is not one image"),
    ],
)
def test_what_is_no_share_is_refused(desk, capsys, text, says):
    assert desk.bring(desk.file("a.csv", text), "--size", "10000") == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "thousand", ["1 000", "1\u202f000", "1\u00a0000", "1'000", "1\u2019000", "1_000", "1,000"]
)
def test_thousands_apart_are_one_size(desk, thousand):
    assert desk.bring(desk.file("a.csv", f"n;seed;test_acc\n500;1;0.8\n{thousand};2;0.825\n")) == 0
    assert desk.rows("test_accuracy") == SHARES


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("n,seed0,seed1\n500,.7,.8\n", "--column 'test_accuracy=seed#' reads them all"),
        ("seed,500,1000\n0,.7,.8\n", "--column 'test_accuracy=#' reads them all"),
        ("seed,n=500,n=1000\n0,.7,.8\n", "--column 'test_accuracy=n=#' reads them all"),
    ],
)
def test_columns_that_a_number_tells_apart_name_the_option_that_reads_them(desk, capsys, text, says):
    assert desk.bring(desk.file("a.csv", text)) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("above", "below", "says"),
    [
        ("Table 1: ours,,\n", "Source: our lab,,\n", "line 1 left out: a title"),
        ("Results of spring, ours\n", "* p < 0.05\n", "line 5 left out: words in one cell, and no values"),
        ("# comment\n", "\nmean of all\nNote: one seed each\n", "lines 6 and 7 left out: words in one cell"),
    ],
)
def test_titles_and_footnotes_are_left_out_and_told(desk, capsys, above, below, says):
    text = f"{above}n,seed,test_acc\n500,1,0.8\n1000,2,0.825\n{below}"
    assert desk.bring(desk.file("a.csv", text)) == 0
    assert desk.rows("test_accuracy") == SHARES
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "CIFAR 10\nn,seed,test_acc\n500,0,.7\n\nThe digits\nn,seed,test_acc\n600,0,.9\n",
        "n,seed,test_acc\nCIFAR 10,,\n500,0,.7\nThe digits,,\n600,0,.9\n",
        "n,seed,test_acc\n500,0,.7\nThe digits\n600,0,.9\n",
        "CIFAR\nn,seed,test_acc\n500,0,.7\nMNIST\nn,seed,test_acc\n600,0,.9\n",
    ],
)
def test_a_table_below_another_is_not_taken_for_the_same(desk, capsys, text):
    assert desk.bring(desk.file("a.csv", text)) == 2
    error = capsys.readouterr().err
    assert "; if another table begins there, save each in a file of its own" in error
    assert error.count("\n") == 1
