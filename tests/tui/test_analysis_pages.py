"""Every page of the Analysis tab, on whole sweeps and on what is left of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache

import polars as pl
import pytest

from tests.fakes import fake_sweep, write_lines, write_run
from tests.tui.stage import NARROW, Stage
from tests.tui.test_charts import PALETTE
from tui_datasize.answers.answer import Answer, Asked
from tui_datasize.answers.catalogue import QUESTIONS, Entry
from tui_datasize.answers.record import Reading, Record
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.metric import metric_named
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.schema import SCORES
from tui_datasize.tui.analysis.analyst import PAGES
from tui_datasize.tui.analysis.answer_lines import answer_lines, draw_answer
from tui_datasize.tui.analysis.panels import page_note

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
    "means over runs": lambda runs: runs.filter(subset_seed=0, seed=101).with_columns(
        seed=pl.lit(None, pl.Int64),
        repeat=pl.lit(1, pl.Int64),
        subset_seed=pl.lit(None, pl.Int64),
        means_of=pl.lit(5, pl.Int64),
        spreads=pl.lit('{"test_accuracy": 0.01}'),
    ),
    "values of diverged runs": lambda runs: runs.with_columns(
        test_accuracy=pl.when(pl.col("seed") == 0).then(float("nan")).otherwise("test_accuracy")
    ),
    "values missing": lambda runs: runs.with_columns(
        test_accuracy=pl.when(pl.col("seed") == 0).then(None).otherwise("test_accuracy"),
        test_loss=pl.when(pl.col("seed") == 0).then(float("nan")).otherwise("test_loss"),
    ),
}


WITH_ALL_METRICS = ("all", "one run", "values missing")
"""Where a loss and a time, of which less is better, are asked for too."""


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


@cache
def reading_of(log: RunLog, part: str) -> Reading:
    """Of the runs of a part, as the app keeps it until they change."""
    return Reading(log, PARTS[part](runs_of(log, "diverged" if "diverged" in part else "digits")))


@pytest.fixture
def build(log: RunLog) -> Callable[..., Answer]:
    def build_page(page: Entry, part: str, metric: str, view: int = 0, size: int = 0) -> Answer:
        asked = Asked(variant="", view=view, size=size)
        return page.ask(Record(reading_of(log, part), metric_named(metric), asked))

    return build_page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.parametrize("part", PARTS)
def test_every_page_says_something_of_every_part(build, page, part):
    for metric in (
        ("test_accuracy", "test_loss", "wall_s") if part in WITH_ALL_METRICS else ("test_accuracy",)
    ):
        first = build(page, part, metric)
        for view in range(min(first.views, 4 if metric == "test_accuracy" else 2)):
            content = build(page, part, metric, view) if view else first
            # What a place of another size makes of a page is the same in each of its views, for any metric.
            is_first = not view and metric == "test_accuracy"
            for width, height in ((80, 11), (120, 40), (10, 3)) if is_first else ((80, 11),):
                drawn = draw_answer(content, width, height, PALETTE).text
                assert drawn.plain.strip()
                assert all(len(line) <= width for line in drawn.plain.split("\n")) or width < 16
            if content.rows is not None:
                assert content.rows().width


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("spread", " with each doubling of the train size (95 % "),
        ("training-curves", "No curve is better before its end"),
        ("gap", " points at 1,280 images: training "),
        ("best", "The last of 4 evaluations is as good as the best, on average."),
    ],
)
def test_what_the_pages_say_of_a_whole_sweep(build, name, words):
    lines = answer_lines(build(QUESTIONS[name], "all", "test_accuracy"), PALETTE)
    assert any(words in line.plain for line in lines)


def test_six_surfaces_where_there_is_room_and_one_elsewhere(build):
    page = QUESTIONS["surface"]
    content = build(page, "all", "test_accuracy")
    assert content.views == 7
    wide = draw_answer(content, 110, 40, PALETTE).text.plain
    for title in ("Test accuracy, %", "Train accuracy, %", "Test macro F1", "Train loss"):
        assert title in wide
    assert "accuracy" not in draw_answer(content, 80, 14, PALETTE).text.plain
    # A loss goes without its last digit where six maps leave no room for it.
    *_, losses = draw_answer(content, 60, 30, PALETTE).text.plain.partition("Test loss")
    assert all(len(text.split()) == 2 * (1 + 4) for text in losses.split("\n")[2:8])
    # Its axes do not say which metric the one is of.
    assert page_note(content) == "Test accuracy, % · mean over runs"
    assert (
        page_note(build(page, "all", "test_accuracy", 6)) == "Train - test accuracy, points · mean over runs"
    )


def test_the_range_is_shaded_at_the_size_that_n_has_come_to(build):
    page = QUESTIONS["training-curves"]
    contents = [build(page, "all", "test_accuracy", 0, size) for size in (0, 1)]
    shaded = [draw_answer(content, 100, 30, PALETTE).text.plain.split("\n") for content in contents]
    rows = [next(row for row, text in enumerate(lines[1:]) if "░" in text) for lines in shaded]
    # The largest size stands highest.
    assert rows[0] < rows[1]


NEEDY = ("variants", "conditions", "options", "tuned", "search", "levers", "groups", "starts")
OFFERED = [page for page in PAGES if page.name not in NEEDY]
"""Where nothing is transferred, swept or told apart."""


async def test_pages_are_turned_and_chosen_and_lead_back(busy: Stage):
    async with busy.open(NARROW) as show:
        await show.press("3")
        await show.shows("Learning curve")
        for page in OFFERED:
            await show.press("p")
            await show.shows(page.title)
        await show.press("p")
        await show.shows("Learning curve", "─ Answer")
        await show.press("w", "down", "enter")
        await show.shows(PAGES[0].title, "In words")
        await show.press("P")
        await show.shows("Learning curve", "─ Answer")


async def test_another_view_and_another_size_are_a_key_away(busy: Stage):
    async with busy.open(NARROW) as show:
        await show.press("3", *("p" * (1 + OFFERED.index(QUESTIONS["training-curves"]))))
        await show.shows("Training curves", "all runs of 80 images", "s switch")
        await show.press("n")
        await show.shows("all runs of 40 images")
        await show.press("N")
        await show.press("s")
        await show.shows("runs one by one", "n size", "between the best and the worst run")
        await show.press("s")
        await show.shows("mean over runs")
