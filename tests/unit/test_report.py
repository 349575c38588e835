"""A report stands alone: whole, escaped, well-formed, and with nothing to load."""

from __future__ import annotations

import base64
import math
import re
from xml.etree import ElementTree

import polars as pl
import pytest

from tests.fakes import fake_spec, fake_sweep, write_run
from tui_datasize.cli.dispatch import main
from tui_datasize.report.axis import Axis, axis_around
from tui_datasize.report.blocks import Heading, Table, Words
from tui_datasize.report.chart import Band, Chart, Line, to_svg
from tui_datasize.report.heat import HeatMap, heat_svg
from tui_datasize.report.render import to_html, to_markdown


def svgs(text: str) -> list[ElementTree.Element]:
    return [
        ElementTree.fromstring(svg)
        for svg in re.findall(r"<svg xmlns.*?</svg>\s*(?=<figcaption)", text, re.S)
    ]


SVG = "{http://www.w3.org/2000/svg}"


def texts_of(svg: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in svg.iter(f"{SVG}text")]


def write(project, name: str, *words: str) -> str:
    file = project.root / name
    assert main(["report", "digits", "-o", str(file), "--project", str(project.root), *words]) == 0
    return file.read_text()


def test_a_whole_sweep_on_a_page(fake_project):
    page = write(fake_project, "r.html", "--target", "99%")
    heads = re.findall(r"<h2>(.*?)</h2>", page)
    assert heads == [
        "Can these numbers be trusted?", "Learning curve", "Spread over runs", "Courses of training",
        "Metrics over size and training", "Classes", "Overlap of subset draws", "Runs", "Provenance",
    ]  # fmt: skip
    curve, spread, courses, *inside = svgs(page)
    legend = {text.text for text in curve.iter("{http://www.w3.org/2000/svg}text")}
    assert {"run", "mean", "log-linear", "average of laws", "90 % band beyond"} <= legend
    assert len(list(curve.iter("{http://www.w3.org/2000/svg}circle"))) >= 36
    assert spread is not None
    assert len(list(courses.iter("{http://www.w3.org/2000/svg}polyline"))) == 6
    surfaces, classes, matrices, of_classes = inside[:6], inside[6], inside[7:-1], inside[-1]
    # Six sizes and four evaluations, and the background.
    assert [len(list(one.iter(f"{SVG}rect"))) for one in surfaces] == [1 + 6 * 4] * 6
    assert "share of the training done" in texts_of(surfaces[0])
    assert len(list(classes.iter(f"{SVG}polyline"))) == 8
    assert [texts_of(one)[:4] for one in matrices] == [["d0", "d1", "d0", "d1"]] * 6
    assert {"expected", "95 % by chance"} <= set(texts_of(of_classes))
    for words in (
        "classes lie outside of the band",
        "99.00 % needs",
        "The log-linear law: ",
        "Pooled SE: the standard error of each mean is drawn towards the scatter of all sizes together.",
        "Independent draws would share",
        "command of this page",
        "fingerprint",
        "-m tui_datasize.training",
    ):
        assert words in page
    # Nothing is fetched, and nothing runs: the only address is the name of SVG.
    assert set(re.findall(r"https?://[^\"' <]+", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<script|<link|<img|src=|url\(|@import", page.replace("img-src", ""))


def test_the_same_in_markdown(fake_project):
    text = write(fake_project, "r.md")
    pictures = re.findall(r"\(data:image/svg\+xml;base64,([^)]+)\)", text)
    assert [ElementTree.fromstring(base64.b64decode(picture)).tag[-3:] for picture in pictures] == [
        "svg"
    ] * 17
    assert "## Provenance" in text


def test_a_curve_that_the_laws_miss_has_no_forecast_on_its_page(project):
    for spec in fake_sweep(subset_seeds=[0]):
        accuracy = 0.97 - 0.02 * math.log2(spec.train_size / 40) + spec.seed / 1e5
        write_run(project, spec, accuracy=accuracy, tables=False)
    page = write(project, "r.html", "--target", "99%")
    assert "No forecast: it does not follow the laws: their average misses the largest size, 1,280" in page
    assert "Beyond the runs" not in page


def test_a_page_of_one_run_and_of_none_that_count(project, capsys):
    spec = fake_spec()
    write_run(project, spec)
    assert "No log-linear fit: it needs three sizes" in write(project, "r.html")
    (project.run("digits", spec.run_id).exit).unlink()
    assert "No run has succeeded with test accuracy." in write(project, "r.html")
    assert main(["report", "digits", "-o", str(project.root / "r.pdf"), "--project", str(project.root)]) == 2
    assert "name it .html or .md" in capsys.readouterr().err


def test_a_map_leaves_out_what_is_unknown_and_writes_digits_where_they_fit():
    values = [[1.0, None, float("nan")], [3.0, 2.0, 2.5]]
    drawn = ElementTree.fromstring(
        heat_svg(HeatMap("m", "rows", "columns", ["a", "b"], ["x", "y", "z"], values))
    )
    fills = [rect.get("fill") for rect in drawn.iter(f"{SVG}rect")]
    assert len(fills) == 1 + 4
    assert fills[2] == "#0072b2"
    assert {"1.0", "3.0", "2.0", "2.5"} <= set(texts_of(drawn))
    many = HeatMap("m", "", "", ["a"], [str(i) for i in range(200)], [[float(i) for i in range(200)]])
    assert "199.0" not in texts_of(ElementTree.fromstring(heat_svg(many)))


def test_every_text_is_escaped():
    evil = '<script>alert("x")</script>|*&'
    axis = axis_around(evil, [1.0, 2.0])
    chart = Chart(evil, axis, axis, [Line(evil, [1, 2], [1, 2], "#000")])
    blocks = [Heading(evil), Words(evil, "note"), Table(evil, [evil], [[evil]])]
    assert ElementTree.fromstring(to_svg(chart)).get("aria-label") == evil
    assert "<script" not in to_html(evil, blocks) + to_svg(chart)
    assert "\\<script\\>" in to_markdown(blocks)
    assert "<script" not in to_markdown(blocks).replace("\\<", "")


def test_gaps_and_values_without_range_are_drawn():
    axis = axis_around("same", [0.5, 0.5, None, float("nan")])
    line = Line("", [1, 2, 3, 4], [0.5, None, float("nan"), 0.5], "#000", "dot")
    svg = to_svg(
        Chart("", axis_around("n", [1, 4], is_log=True), axis, [line], [Band("", [1], [0], [1], "#000")])
    )
    assert svg.count("<circle") == 2
    assert "nan" not in svg.lower()


@pytest.mark.parametrize(("low", "high"), [(90.1, 90.2), (100, 1e6), (750, 760), (3, 4)])
def test_axes_have_marks_within_their_range(low, high):
    for is_log in (False, True):
        marks = Axis("", low, high, is_log).marks()
        assert len(marks) > 1
        assert all(low <= value <= high for value, _ in marks)
        assert len({text for _, text in marks}) == len(marks)


def test_variants_have_charts_of_their_own(fake_project):
    runs = pl.Series([40, 80, 160])
    for size in runs:
        write_run(fake_project, fake_spec("digits", train_size=size, batch_size=16))
    # Curve, spread, courses, one surface and the classes of each; the overlap of each size, and by class.
    assert len(svgs(write(fake_project, "r.html"))) == 2 * 5 + 6 + 1
