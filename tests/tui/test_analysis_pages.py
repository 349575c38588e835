"""Every page of the Analysis tab, on whole sweeps and on what is left of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache

import polars as pl
import pytest

from tests.fakes import fake_spec, fake_sweep, write_lines, write_run
from tests.tui.stage import NARROW, Stage
from tests.tui.test_charts import PALETTE
from tui_datasize.analysis.curve import metric_named
from tui_datasize.experiments.spec import ModelSpec, OptimizerSpec, RunSpec
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.schema import SCORES
from tui_datasize.tui.analysis.answer_lines import answer_lines
from tui_datasize.tui.analysis.pages.catalogue import PAGES
from tui_datasize.tui.analysis.pages.page import MOST_COMPARED, Content, Page, Request, bounded

PARTS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "all": lambda runs: runs,
    "one size": lambda runs: runs.filter(pl.col("train_size") == 160),
    "one run": lambda runs: runs.head(1),
    "one seed": lambda runs: runs.filter(seed=101, subset_seed=0),
    "no run": lambda runs: runs.head(0),
    "one seed more at each size": lambda runs: runs.filter(
        pl.col("run_id").rank("ordinal").over("train_size") <= pl.col("train_size").rank("dense")
    ),
    "repeats without a seed": lambda runs: runs.with_columns(
        seed=pl.lit(None, pl.Int64), repeat=pl.col("run_id").rank("ordinal").over("train_size").cast(pl.Int64)
    ),
    "values of diverged runs": lambda runs: runs.with_columns(
        test_accuracy=pl.when(pl.col("seed") == 0).then(float("nan")).otherwise("test_accuracy")
    ),
    "values missing": lambda runs: runs.with_columns(
        test_accuracy=pl.when(pl.col("seed") == 0).then(None).otherwise("test_accuracy"),
        test_loss=pl.when(pl.col("seed") == 0).then(float("nan")).otherwise("test_loss"),
    ),
}


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> RunLog:
    """A whole sweep, written once: pages only read it."""
    project = ProjectPaths(tmp_path_factory.mktemp("pages"))
    project.runs.mkdir()
    for spec in fake_sweep():
        write_run(project, spec)
    for spec in fake_sweep("diverged", sizes=(40, 80), subset_seeds=[0]):
        write = write_run if spec.seed == 202 else write_diverged
        write(project, spec)
    return RunLog(project)


def write_diverged(project: ProjectPaths, spec: RunSpec) -> None:
    """A run that has succeeded, and has no scores from half-way on: null, as they are written."""
    paths = write_run(project, spec)
    rows = [json.loads(line) for line in paths.metrics.read_text().splitlines()]
    lost = dict.fromkeys([*SCORES, "grad_norm"])
    kept = len(rows) // 2
    paths.metrics.write_text("")
    write_lines(paths.metrics, [*rows[:kept], *(row | lost for row in rows[kept:])])


@cache
def runs_of(log: RunLog, experiment: str) -> pl.DataFrame:
    """Read once: nothing is added to them."""
    return log.runs(experiment)


@pytest.fixture
def build(log: RunLog) -> Callable[..., Content]:
    def build_page(page: Page, part: str, metric: str, view: int = 0, size: int = 0) -> Content:
        chosen = PARTS[part](runs_of(log, "diverged" if "diverged" in part else "digits"))
        return page.build(Request(log, chosen, chosen, metric_named(metric), view, size))

    return build_page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.parametrize("part", PARTS)
def test_every_page_says_something_of_every_part(build, page, part):
    for metric in ("test_accuracy", "test_loss", "wall_s"):
        first = build(page, part, metric)
        for view in range(min(first.views, 4 if metric == "test_accuracy" else 2)):
            content = build(page, part, metric, view) if view else first
            for width, height in ((80, 11), (120, 40), (10, 3)):
                drawn = content.draw(width, height, PALETTE)
                assert drawn.plain.strip()
                assert all(len(line) <= width for line in drawn.plain.split("\n")) or width < 16
            if content.table is not None:
                assert content.table().width


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("spread", "Sizes differ"),
        ("courses", "1,280 images: best at the end."),
        ("gap", " points at 1,280 images: training "),
        ("best", "The best of 4 evaluations looks 0.00 points better than the last, on average."),
    ],
)
def test_what_the_pages_say_of_a_whole_sweep(build, name, words):
    (page,) = (page for page in PAGES if page.name == name)
    assert any(words in line for line in said(build(page, "all", "test_accuracy")))


def said(content: Content) -> list[str]:
    """Everything beside the chart, a line each."""
    return [line.plain for line in answer_lines(content.answer, PALETTE)] if content.answer else content.lines


def page_named(name: str) -> Page:
    (page,) = (page for page in PAGES if page.name == name)
    return page


def test_one_evaluation_a_run_is_no_course(project):
    for spec in fake_sweep(sizes=(40, 80), subset_seeds=[0], evaluations=1):
        write_run(project, spec, tables=False)
    log = RunLog(project)
    runs = log.runs("digits")
    content = page_named("courses").build(Request(log, runs, runs, metric_named("test_accuracy")))
    assert content.lines == ["There is one evaluation a run, and so no course."]


def test_single_runs_of_each_size(build):
    page = page_named("courses")
    means = build(page, "all", "test_accuracy")
    assert (means.views, means.sizes) == (2, 6)
    largest, smallest = (build(page, "all", "test_accuracy", 1, size) for size in (0, 1))
    assert largest.sizes == 6
    assert largest.note == "n 1,280 · 6 runs one by one"
    assert smallest.note == "n 40 · 6 runs one by one"
    assert "━a━ d0 s0" in largest.draw(100, 30, PALETTE).plain
    assert len(largest.lines) == 1 + 6
    repeats = build(page, "repeats without a seed", "test_accuracy", 1)
    assert "━a━ d0 repeat 1" in repeats.draw(100, 30, PALETTE).plain
    assert {line.split(":")[0] for line in repeats.lines[1:]} == {
        f"draw {draw}, repeat {number}" for number, draw in zip(range(1, 7), (0, 0, 0, 1, 1, 1), strict=True)
    }
    # After as many views as there are it begins anew.
    assert build(page, "all", "test_accuracy", 2).note == means.note


def test_six_surfaces_where_there_is_room_and_one_elsewhere(build):
    page = page_named("surface")
    content = build(page, "all", "test_accuracy")
    assert content.views == 7
    wide = content.draw(110, 40, PALETTE).plain
    for title in ("Test accuracy, %", "Train accuracy, %", "Test macro F1", "Train loss"):
        assert title in wide
    assert "accuracy" not in content.draw(80, 14, PALETTE).plain
    # A loss goes without its last digit where six maps leave no room for it.
    *_, losses = content.draw(60, 30, PALETTE).plain.partition("Test loss")
    assert all(len(text.split()) == 2 * (1 + 4) for text in losses.split("\n")[2:8])
    notes = [build(page, "all", "test_accuracy", view).note for view in range(7)]
    assert len(set(notes)) == 7
    assert notes[0].startswith("Test accuracy, %")
    # Another metric that has a course comes first, and the six stay.
    assert build(page, "all", "test_ece").views == 8


def test_the_gap_is_a_surface_behind_the_six(build):
    content = build(page_named("surface"), "all", "test_accuracy", 6)
    assert content.note.startswith("Train - test accuracy, %")
    # The fakes train to 0.05 above test, or to 1.
    assert content.table().filter(train_size=40)["mean"].to_list() == pytest.approx([0.05] * 4)
    assert "5.0" in content.draw(80, 14, PALETTE).plain


def test_the_range_is_shaded_at_the_size_that_n_has_come_to(build):
    page = page_named("courses")
    contents = [build(page, "all", "test_accuracy", 0, size) for size in (0, 1)]
    assert [content.note for content in contents] == [
        "means over runs · ░ range at n 1,280",
        "means over runs · ░ range at n 40",
    ]
    shaded = [content.draw(100, 30, PALETTE).plain.split("\n") for content in contents]
    rows = [next(row for row, text in enumerate(lines[1:]) if "░" in text) for lines in shaded]
    # The largest size stands highest.
    assert rows[0] < rows[1]


def test_bars_of_accuracy_stand_against_the_line_of_confidence(build):
    content = build(page_named("calibration"), "all", "test_accuracy")
    assert content.views == 2
    bins = content.table()
    known = bins.drop_nulls("accuracy")
    smallest, largest = known["images"].min(), known["images"].max()
    assert f"A bar holds {smallest:,} to {largest:,} predictions" in content.lines[1]
    assert known["images"].sum() == bins["images"].sum() > 0
    assert ((known["confidence"] > known["low"]) & (known["confidence"] <= known["high"])).all()
    lines = content.draw(80, 14, PALETTE).plain.split("\n")
    # The probabilities of the fakes lie in one bin or two: a bar from the axis up to 100 %.
    assert sum("░" in text for text in lines) >= 8
    assert any("●" in text for text in lines[1:])


def test_the_risk_against_coverage_is_a_curve(build):
    content = build(page_named("calibration"), "all", "test_accuracy", 1)
    assert content.note == "n 1,280 · risk against coverage, mean over runs"
    assert content.lines[-1].startswith("The surest 100 % answered: ")
    assert len(content.table()) == 20
    lines = content.draw(80, 14, PALETTE).plain.split("\n")
    assert lines[0].startswith("risk: wrong among them, %")
    assert lines[-1].strip() == "coverage: answered, %"
    assert sum(text.count("●") for text in lines[1:]) > 10


def test_a_swept_option_is_an_axis(project):
    for depth in (20, 32, 44):
        for rate in (0.1, 0.01):
            for size in (40, 80):
                write_run(
                    project,
                    fake_spec(
                        train_size=size,
                        model=ModelSpec("resnet", {"depth": depth}),
                        optimizer=OptimizerSpec(lr=rate),
                    ),
                    accuracy=depth / 100,
                    tables=False,
                )
    log = RunLog(project)
    runs = log.runs("digits")
    chosen = runs.filter(pl.col("variant") == "model.depth=20 optimizer.lr=0.1")
    page = page_named("options")
    content = page.build(Request(log, chosen, runs, metric_named("test_accuracy")))
    assert content.note == "against model.depth · optimizer.lr=0.1"
    assert content.views == 2
    assert content.lines[1] == "n 80: best 44 (44.00 %), worst 20 (24.00 points worse)"
    drawn = content.draw(80, 14, PALETTE).plain
    assert "n 40" in drawn
    assert drawn.rstrip().endswith("model.depth")
    rates = page.build(Request(log, chosen, runs, metric_named("test_accuracy"), 1))
    assert rates.note == "against optimizer.lr · model.depth=20"


def test_what_grows_with_the_square_is_bounded():
    runs = pl.DataFrame({"train_size": [10] * (MOST_COMPARED + 3) + [20], "seed": range(MOST_COMPARED + 4)})
    kept, words = bounded(runs)
    assert kept["seed"].to_list() == [*range(MOST_COMPARED), MOST_COMPARED + 3]
    assert words == ["Of each train size the first 40 runs are looked at: 41 of 44."]
    assert bounded(kept)[1] == []


async def test_pages_are_turned_and_chosen_and_lead_back(busy: Stage):
    async with busy.open(NARROW) as show:
        await show.press("3")
        await show.shows("Learning curve")
        for page in PAGES:
            await show.press("p")
            await show.shows(page.title)
        await show.press("p")
        await show.shows("Learning curve", "Fit")
        await show.press("w", "down", "enter")
        await show.shows(PAGES[0].title, "In words")
        await show.press("P")
        await show.shows("Learning curve", "Fit")


async def test_another_view_and_another_size_are_a_key_away(busy: Stage):
    async with busy.open(NARROW) as show:
        await show.press("3", "p", "p", "p", "p", "p")
        await show.shows("Courses of training", "range at n 80", "s switch")
        await show.press("n")
        await show.shows("range at n 40")
        await show.press("N")
        await show.press("s")
        await show.shows("runs one by one", "n size", "lie between the best and the worst run")
        await show.press("s")
        await show.shows("means over runs")
