"""A report stands alone: whole, escaped, well-formed, and with nothing to load."""

from __future__ import annotations

import base64
import math
import re
from xml.etree import ElementTree

import polars as pl
import pytest

from tests.fakes import fake_spec, fake_sweep, write_run
from tui_datasize.answers.answer import Answer, Axis, Band, Chart, Column, Line, Map, Table, does_not_apply
from tui_datasize.cli.dispatch import main
from tui_datasize.experiments.spec import ModelSpec
from tui_datasize.metric import METRICS_OFFERED
from tui_datasize.render.blocks import HeadingBlock, Paragraph, answer_blocks
from tui_datasize.render.cells import Written
from tui_datasize.render.page import to_html, to_markdown
from tui_datasize.render.svg import Frame, to_svg
from tui_datasize.render.svg_map import map_svg
from tui_datasize.runlog.reader import RunLog
from tui_datasize.stats import training_views
from tui_datasize.stats.groups import compare_sizes
from tui_datasize.stats.groups_table import sizes_table


def svgs(text: str) -> list[ElementTree.Element]:
    return [
        ElementTree.fromstring(svg)
        for svg in re.findall(r"<svg xmlns.*?</svg>\s*(?=<figcaption)", text, re.S)
    ]


def below(page: str, heading: str) -> str:
    """What stands below a heading of an HTML page."""
    return page.split(f"<h2>{heading}</h2>")[1].split("<h2>")[0]


SVG = "{http://www.w3.org/2000/svg}"


def texts_of(svg: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in svg.iter(f"{SVG}text")]


def write(project, name: str, *words: str) -> str:
    file = project.root / name
    assert main(["report", "digits", "-o", str(file), "--project", str(project.root), *words]) == 0
    # Numbers stand out in bold.
    return re.sub("</?b>", "", file.read_text())


ASKED = ("--target", "80%", "--delta", "1%")


@pytest.fixture(scope="module")
def page(finished):
    """The sweep in HTML."""
    return write(finished, "r.html", *ASKED)


@pytest.fixture(scope="module")
def text(finished):
    """The sweep in Markdown, asked the same."""
    return write(finished, "r.md", *ASKED)


def test_a_whole_sweep_on_a_page(page):
    heads = re.findall(r"<h2>(.*?)</h2>", page)
    assert heads == [
        "Answer", "Which runs to queue next", "Can these numbers be trusted?", "Learning curve",
        "Beyond the largest size", "Spread between runs", "Sources of the spread", "Training curves",
        "Metrics over size and training", "Training against test", "Best evaluation against the last",
        "Learning curve of each class", "Confusion matrix", "Calibration",
        "Margins of right and wrong answers", "Overlap of subset draws", "Agreement of runs",
        "Levers beside more images", "Metric against training time", "Ensembles of runs", "Laws", "Runs",
        "Provenance",
    ]  # fmt: skip
    assert len(page) < 2 * 2**20
    assert ">target<" in page
    (courses,), surfaces, (classes,), (largest, of_classes, *others), (laws,) = (
        svgs(below(page, heading))
        for heading in (
            "Training curves", "Metrics over size and training", "Learning curve of each class",
            "Overlap of subset draws", "Laws",
        )
    )  # fmt: skip
    curve = svgs(page)[0]
    legend = {text.text for text in curve.iter("{http://www.w3.org/2000/svg}text")}
    assert {"run", "mean", "forecast", "90 % band of the forecast"} <= legend
    assert {"log-linear", "log-linear, all runs"} <= set(texts_of(laws))
    assert len(list(curve.iter("{http://www.w3.org/2000/svg}circle"))) >= 36
    assert len(list(courses.iter("{http://www.w3.org/2000/svg}polyline"))) == 6
    matrices = [largest, *others]
    # Six sizes and four evaluations, and the background.
    assert [len(list(one.iter(f"{SVG}rect"))) for one in surfaces] == [1 + 6 * 4] * 6
    assert "share of the training done" in texts_of(surfaces[0])
    assert len(list(classes.iter(f"{SVG}polyline"))) == 8
    assert [texts_of(one)[:4] for one in matrices] == [["d0", "d1", "d0", "d1"]] * 6
    assert {"expected", "95 % by chance"} <= set(texts_of(of_classes))
    for words in (
        "outside the 95 % interval of chance",
        "80 %: about 1,200 images, between your sizes 640",
        "a doubling by the log-linear law",
        "the standard error of each mean is drawn towards the scatter of all sizes together.",
        "The log-linear law is not rejected (lack of fit F(4,",
        "adjusted r²",
        "independent draws would have",
        "command of this page",
        "fingerprint",
        "-m tui_datasize.training",
    ):
        assert words in page
    # Nothing is fetched, and nothing runs: the only address is the name of SVG.
    assert set(re.findall(r"https?://[^\"' <]+", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<script|<link|<img|src=|url\(|@import", page.replace("img-src", ""))


def tables_of(markdown: str, heading: str) -> list[list[list[str]]]:
    """Cells of the tables below a heading, their heads first."""
    below = markdown.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    blocks = [block.splitlines() for block in below.split("\n\n") if block.startswith("| ")]
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in (rows[0], *rows[2:])]
        for rows in blocks
    ]


def test_tables_hold_what_the_analysis_finds(text, finished):
    log = RunLog(finished)
    runs = log.runs("digits")
    (gap,) = tables_of(text, "Training against test")
    expected = training_views.train_test_gap(runs, log.metrics(runs["run_id"]))
    last = expected.group_by("train_size", maintain_order=True).last()
    assert [row[4] for row in gap[1:]] == [f"{100 * one:+.2f}" for one in last["gap"]]
    sizes, tests, pairs = tables_of(text, "Spread between runs")
    assert [row[1] for row in sizes[1:]] == ["6"] * 6
    assert len(tests) + len(pairs) - 2 == sizes_table(compare_sizes(runs, "test_accuracy")).height
    assert pairs[1][:2] == ["40", "80"]
    (sources,) = tables_of(text, "Sources of the spread")
    assert [row[0] for row in sources[1:4]] == ["training seed", "subset draw", "seed on draw"]
    (confusions,) = tables_of(text, "Confusion matrix")
    assert len(confusions) == 11
    bins, risks = tables_of(text, "Calibration")
    assert (
        sum(int(row[1].replace(",", "")) for row in bins[1:])
        == log.table("predictions", runs.filter(train_size=1280)["run_id"]).filter(evaluation="last").height
    )
    assert risks[-1][2] == "100.00"
    (planned,) = tables_of(text, "Which runs to queue next")
    # The target lies where the data set can measure it: one size tells all.
    assert [row[2] for row in planned[1:]] == ["10"]
    _, ensembles = tables_of(text, "Ensembles of runs")
    assert [row[:2] for row in ensembles[1:6]] == [["40", str(count)] for count in (1, 2, 3, 5, 6)]
    (agreement,) = tables_of(text, "Agreement of runs")
    assert [row[1:3] for row in agreement[1:]] == [["6", "2"]] * 6
    residuals = next(one for one in tables_of(text, "Laws") if "residuals" in one[0][0])
    assert [row[:2] for row in residuals[1:]] == [["means", "6"], ["means, weighted", "6"], ["runs", "36"]]


def test_options_have_tables(project):
    for hidden in (16, 32):
        for spec in fake_sweep(seeds=[0], subset_seeds=[0], model=ModelSpec("mlp", {"hidden": hidden})):
            write_run(project, spec, accuracy=0.5 + hidden / 100, tables=False)
    text = write(project, "r.md")
    best, every = tables_of(text, "Swept options")
    assert [row[1] for row in best[1:]] == ["32"] * 6
    assert every[1] == ["hidden", "16", "40", "1", "66.00"]
    assert "Transfer conditions" not in text


def test_imported_runs_have_no_table_of_what_they_do_not_tell(project):
    rows = "".join(
        f"{n},{s},{0.97 - 3 * n**-0.6 + s / 1000:.4f}\n" for n in (200, 400, 800, 1600) for s in (0, 1)
    )
    file = project.root / "a.csv"
    file.write_text(f"size,seed,test_accuracy\n{rows}")
    assert main(["import", "digits", str(file), "--project", str(project.root)]) == 0
    # A target that no law reaches leaves the plan as it is without one: here it would change nothing.
    text = write(project, "r.md", "--target", "100%")
    assert "More runs would not change the answer: 6,400 images: " in text
    assert tables_of(text, "Which runs to queue next") == []
    for heading in ("Metric against training time", "Ensembles", "Best evaluation", "Confusion matrix"):
        assert f"## {heading}" not in text


def test_a_long_table_says_how_many_rows_are_left_out():
    frame = pl.DataFrame({"variant": "", "train_size": range(100), "p": None}, schema_overrides={"p": float})
    columns = [Column("train_size", "size"), Column("p", "p", "p")]
    answer = Answer("One.", tables=[Table(frame, columns, METRICS_OFFERED["test_accuracy"])])
    *_, table, words = answer_blocks("t", answer, set())
    assert (len(table.rows), table.heads) == (60, ["size"])
    assert words.text == "40 more rows in `export`."
    assert list(answer_blocks("t", does_not_apply("No."), set())) == []


def test_the_same_in_markdown(page, text):
    assert "less than 1 points" in text
    pictures = re.findall(r"\(data:image/svg\+xml;base64,([^)]+)\)", text)
    tags = [ElementTree.fromstring(base64.b64decode(picture)).tag[-3:] for picture in pictures]
    assert tags == ["svg"] * len(svgs(page))
    assert len(tags) > 20
    assert "## Provenance" in text


def test_a_curve_that_the_laws_miss_has_no_forecast_on_its_page(project):
    for spec in fake_sweep(subset_seeds=[0]):
        accuracy = 0.97 - 0.02 * math.log2(spec.train_size / 40) + spec.seed / 1e5
        write_run(project, spec, accuracy=accuracy, tables=False)
    page = write(project, "r.html", "--target", "99%")
    assert (
        "no forecast. The curve does not follow the laws: their average misses the largest size, 1,280"
        in page
    )
    assert "<h2>Beyond the largest size</h2>" not in page
    assert "Beyond the largest size: No forecast. The curve does not follow the laws" in below(
        page, "Not answered"
    )


def test_a_page_of_one_run_and_of_none_that_count(project, capsys):
    spec = fake_spec()
    write_run(project, spec)
    assert "No log-linear law. Needs three sizes" in write(project, "r.html")
    (project.run("digits", spec.run_id).exit).unlink()
    assert "<h2>Runs</h2>" in write(project, "r.html")
    assert main(["report", "digits", "-o", str(project.root / "r.pdf"), "--project", str(project.root)]) == 2
    assert "name it .html or .md" in capsys.readouterr().err


def test_a_map_leaves_out_what_is_unknown_and_writes_digits_where_they_fit():
    values = [[1.0, None, float("nan")], [3.0, 2.0, 2.5]]
    drawn = ElementTree.fromstring(map_svg(Map("m", "rows", "columns", ["a", "b"], ["x", "y", "z"], values)))
    fills = [rect.get("fill") for rect in drawn.iter(f"{SVG}rect")]
    assert len(fills) == 1 + 4
    assert fills[2] == "#0072b2"
    assert {"1.0", "3.0", "2.0", "2.5"} <= set(texts_of(drawn))
    many = Map("m", "", "", ["a"], [str(i) for i in range(200)], [[float(i) for i in range(200)]])
    assert "199.0" not in texts_of(ElementTree.fromstring(map_svg(many)))


def test_every_text_is_escaped():
    evil = '<script>alert("x")</script>|*&'
    axis = Axis(evil)
    chart = Chart(evil, axis, axis, [Line(evil, [1, 2], [1, 2], 0)])
    blocks = [HeadingBlock(evil), Paragraph(evil, "note"), Written(evil, [evil], [[evil]], 1)]
    assert ElementTree.fromstring(to_svg(chart)).get("aria-label") == evil
    assert "<script" not in to_html(evil, blocks) + to_svg(chart)
    assert "\\<script\\>" in to_markdown(blocks)
    assert "<script" not in to_markdown(blocks).replace("\\<", "")


def test_gaps_and_values_without_range_are_drawn():
    axis = Axis("same")
    line = Line("", [1, 2, 3, 4], [0.5, None, float("nan"), 0.5], 0, "dot")
    svg = to_svg(Chart("", Axis("n", is_log=True), axis, [line], [Band([1], [0], [1], 0)]))
    assert svg.count("<circle") == 2
    assert "nan" not in svg.lower()


@pytest.mark.parametrize(("low", "high"), [(90.1, 90.2), (100, 1e6), (750, 760), (3, 4)])
def test_axes_have_marks_within_their_range(low, high):
    for is_log in (False, True):
        marks = Frame("", low, high, is_log).marks()
        assert len(marks) > 1
        assert all(low <= value <= high for value, _ in marks)
        assert len({text for _, text in marks}) == len(marks)


def test_variants_have_charts_of_their_own(fake_project):
    runs = pl.Series([40, 80, 160])
    for size in runs:
        write_run(fake_project, fake_spec("digits", train_size=size, batch_size=16))
    page = write(fake_project, "r.html")
    per_heading = {name: len(svgs(below(page, name))) for name in re.findall(r"<h2>(.*?)</h2>", page)}
    assert {name for name, count in per_heading.items() if count == 2} >= {
        "Spread between runs", "Training curves", "Metrics over size and training", "Confusion matrix",
        "Learning curve of each class", "Training against test", "Best evaluation against the last",
        "Margins of right and wrong answers",
    }  # fmt: skip
