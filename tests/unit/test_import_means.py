"""Tables of means over runs: read with their SD and their number, and never taken for single runs.

What belongs to the kind: mean, SD and n in columns of their own, the spread named after its mean or alone; a
cell of both (`0.71 ± 0.02`, brackets, TeX); standard errors; percent; means over epochs; means and single
runs in one experiment. Refused: a mean over nobody knows how many runs, intervals, spreads that no such runs
can have, brackets that may hold last digits. Rows whose seed is told are runs, whatever stands beside them.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_datasize.answers.checks.sweep import means_told
from tui_datasize.cli.dispatch import main
from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.reading import read_all
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.stats.curve import learning_curve

FIVE = ("--n-runs", "5")


def means(desk) -> list[tuple]:
    rows = RunLog(desk.project).runs().select("train_size", "test_accuracy", "spreads", "means_of").rows()
    return [(n, mean, json.loads(sd).get("test_accuracy"), of) for n, mean, sd, of in rows]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("n,test_accuracy_mean,test_accuracy_std,n_seeds\n500,.7,.02,5\n900,.8,.01,5\n", ()),
        ("n,test_acc,std,count\n500,.7,.02,5\n900,.8,.01,5\n", ()),
        ("n,Test acc (mean),Test acc (std. dev.)\n500,.7,.02\n900,.8,.01\n", FIVE),
        ("n,test_acc\n500,0.70 ± 0.02\n900,0.80 ± 0.01\n", FIVE),
        ("n,Test acc (mean ± std)\n500,0.70 ± 0.02\n900,0.80 ± 0.01\n", FIVE),
        ("n,test_acc ± SEM,n_seeds\n500,70 ± 0.89442719,5\n900,80 ± 0.447213595,5\n", ()),
        ("n,test_acc\n500,.7 +- .02\n900,.8 +/- .01\n", FIVE),
        ("n\ttest_acc\n500\t70.0 (2.0)\n900\t80 (1)\n", FIVE),
        ("n;runs;test_acc\n500;5;70,0 ± 2,0\n900;5;80,0 ± 1,0\n", ()),
        ("| n | test_acc |\n|---|---|\n| 500 | $70.0\\% \\pm 2.0$ |\n| 900 | $80\\% \\pm 1$ |\n", FIVE),
        ("n,test_acc,±\n500,70,2\n900,80,1\n", (*FIVE, "--column", "test_accuracy_sd=±")),
        ("n,score,band\n500,70,2\n900,80,1\n",
         (*FIVE, "--column", "test_accuracy=score", "--column", "test_accuracy_sd=band")),
        ("n,epoch,test_acc,test_acc_std\n500,1,.1,.05\n500,2,.7,.02\n900,1,.2,.04\n900,2,.8,.01\n", FIVE),
    ],
)  # fmt: skip
def test_means_with_their_spread_are_read_in_any_form(desk, capsys, text, words):
    assert desk.bring(desk.file("a.csv", text), *words) == 0, capsys.readouterr().err
    assert means(desk) == [(500, 0.7, pytest.approx(0.02), 5), (900, 0.8, pytest.approx(0.01), 5)]
    assert "2 rows of means over 5 runs: no single runs are known" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["n,test_acc,sem\n500,.7,.01\n", "n,test_acc,std_err\n500,.7,.01\n"])
def test_a_standard_error_is_that_of_its_runs(desk, text):
    assert desk.bring(desk.file("a.csv", text), "--n-runs", "4") == 0
    assert desk.bring(
        desk.file("b.csv", "n,test_acc\n500,.7±.01\n"), "--n-runs", "4", "--spread", "se", experiment="b"
    ) == 0  # fmt: skip
    assert means(desk) == [(500, 0.7, pytest.approx(0.02), 4)] * 2


def test_an_error_rate_and_a_loss_keep_their_spread(desk):
    text = "n,n_runs,test_err,test_err_std,test_loss,test_loss_std\n500,3,30,2,1.5,0.25\n"
    assert desk.bring(desk.file("a.csv", text)) == 0
    (run,) = RunLog(desk.project).runs().select("test_accuracy", "test_loss", "spreads").rows()
    assert run == (0.7, 1.5, '{"test_accuracy": 0.02, "test_loss": 0.25}')


@pytest.mark.parametrize(
    ("text", "words", "says"),
    [
        ("n,test_acc,test_acc_std\n500,.7,.02\n", (), "nothing tells over how many; --column n_runs=COLUMN"),
        ("n,test_acc\n500,.7 ± .02\n", (), "test_acc is a mean over runs, and nothing tells over how many"),
        ("n,test_acc,test_acc_ci\n500,.7,.02\n", FIVE, "'test_acc_ci' is an interval of a mean"),
        ("n,test_acc,train_acc,std\n500,.7,.9,.02\n", FIVE, "'std' may be the spread of 'test_acc' and"),
        ("n,test_acc\n500,0.712(4)\n", FIVE, "may mean 4 or 4 in the last digit; write it with ±"),
        ("n,test_acc,std\n500,.7,2\n", FIVE, "line 2: runs with a mean test_accuracy of 0.7 cannot scatter"),
        ("n,test_acc,std\n500,.7,-.1\n", FIVE, "and no spread is below 0"),
        ("n,test_acc,std\n500,.7,.1\n", ("--n-runs", "1"), "though the mean is over one run"),
        ("n,test_acc,std,n_runs\n500,.7,.1,0\n", (), "a mean over 0 runs"),
    ],
)
def test_what_is_no_mean_of_known_runs_is_refused(desk, capsys, text, words, says):
    assert desk.bring(desk.file("a.csv", text), *words) == 2
    assert says in (error := capsys.readouterr().err)
    assert error.count("\n") == 1


def test_rows_with_a_seed_are_runs_and_a_mean_without_a_count_is_told(desk, capsys):
    assert desk.bring(desk.file("a.csv", "n,seed,test_acc,test_acc_std\n500,1,.7,.02\n")) == 0
    assert "whose seed is told is not read" in capsys.readouterr().err
    named = desk.file("b.csv", "n,mean_acc\n500,.7\n")
    assert desk.bring(named, "--column", "test_accuracy=mean_acc", experiment="b") == 0
    assert "mean_acc is a mean by its name, over runs that nobody counts" in capsys.readouterr().err
    assert RunLog(desk.project).runs()["means_of"].to_list() == [None, None]


def test_means_count_as_the_runs_behind_them_and_show_no_single_run(desk, capsys):
    sds = {200: 0.02, 400: 0.015, 800: 0.01, 1600: 0.01}
    rows = "".join(f"{n},{0.9 - 2 * n**-0.5:.4f},{sd},5\n" for n, sd in sds.items())
    assert desk.bring(desk.file("a.csv", f"n,test_acc,std,n_runs\n{rows}")) == 0
    runs = RunLog(desk.project).runs()
    curve = learning_curve(runs, "test_accuracy")
    assert curve["n_runs"].to_list() == [5] * 4
    assert curve["sd"].to_list() == pytest.approx([*sds.values()])
    assert curve["se"].to_list() == pytest.approx([sd / 5**0.5 for sd in sds.values()])
    assert curve["mean"].to_list() == pytest.approx(runs["test_accuracy"].to_list())
    assert curve["min"].to_list() == curve["max"].to_list() == [None] * 4
    capsys.readouterr()
    project = ("--project", str(desk.project.root))
    assert main(["analyze", "theirs", "--json", *project]) == 0
    found = json.loads(capsys.readouterr().out)
    (told,) = [one for one in found["audit"] if one["check"] == "means-of-runs"]
    assert "4 rows are means of 5 runs, SD given; no single runs." in told["what"]
    assert found["diagnostics_on_runs"] is None
    assert found["comparisons"][0].startswith("These are means over runs")
    assert main(["analyze", "theirs", *project]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "4 rows are means of 5 runs, SD given; no single runs." in printed
    page = desk.project.root / "a.html"
    assert main(["report", "theirs", "-o", str(page), *project]) == 0
    assert "4 means of 20 runs used" in page.read_text()


def test_means_beside_single_runs_and_without_an_sd_are_told(desk, capsys):
    means = desk.file("a.csv", "n,test_acc,std,n_runs\n200,.70,.02,5\n400,.8,,5\n")
    runs = desk.file("b.csv", "n,seed,test_acc\n200,0,.71\n200,1,.73\n")
    assert desk.bring(means, runs) == 0
    assert "may be means" not in capsys.readouterr().err
    curve = learning_curve(RunLog(desk.project).runs(), "test_accuracy")
    assert curve["n_runs"].to_list() == [7, 1]
    assert curve["mean"].to_list() == pytest.approx([(5 * 0.7 + 0.71 + 0.73) / 7, 0.8])
    squares = 4 * 0.02**2 + 2 * 0.01**2 + 5 * 2 / 7 * 0.02**2
    assert curve["sd"][0] == pytest.approx((squares / 6) ** 0.5)
    (told,) = means_told(RunLog(desk.project).runs())
    assert told == (
        "2 rows are means of 5 runs, SD given of 1 of them: those without it count as one run each; "
        "no single runs."
    )


_MEANS = st.lists(
    st.tuples(st.integers(1, 99_999), st.integers(2000, 8000), st.integers(0, 900), st.integers(2, 30)),
    min_size=1,
    max_size=5,
    unique_by=lambda row: row[0],
)


@given(
    rows=_MEANS,
    form=st.sampled_from(["columns", "±", "+-", "(", "percent"]),
    between=st.sampled_from(",;\t|"),
)
def test_a_table_of_means_is_read_back(tmp_path_factory, rows, form, between):
    by = 100 if form == "percent" else 10_000
    lines = [["n", "runs", "test_acc", *(["sd"] if form in ("columns", "percent") else [])]]
    for n, mean, sd, runs in rows:
        pair = [f"{mean / by:.4f}", f"{sd / by:.4f}"]
        close = ")" if form == "(" else ""
        cells = pair if len(lines[0]) == 4 else [f"{pair[0]} {form} {pair[1]}{close}"]
        lines.append([str(n), str(runs), *cells])
    project = ProjectPaths(tmp_path_factory.mktemp("means"))
    file = project.root / "a.csv"
    file.write_text("".join(between.join(line) + "\n" for line in lines))
    found = read_all([file], Layout(), is_strict=True).runs
    read = {r.cell.train_size: (r.end["test_accuracy"], r.spreads["test_accuracy"], r.n_runs) for r in found}
    assert read.keys() == {row[0] for row in rows}
    for n, mean, sd, runs in rows:
        assert read[n] == (pytest.approx(mean / 10_000), pytest.approx(sd / 10_000), runs)
