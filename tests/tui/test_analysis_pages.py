"""Every page of the Analysis tab, on whole sweeps and on what is left of them."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from tests.tui.stage import NARROW, Stage
from tests.tui.test_charts import PALETTE
from tui_datasize.analysis.curve import metric_named
from tui_datasize.runlog.reader import RunLog
from tui_datasize.tui.analysis.pages.catalogue import PAGES
from tui_datasize.tui.analysis.pages.page import Content, Page, Request

PARTS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "all": lambda runs: runs,
    "one size": lambda runs: runs.filter(pl.col("train_size") == 160),
    "one run": lambda runs: runs.head(1),
    "one seed": lambda runs: runs.filter(seed=101, subset_seed=0),
    "no run": lambda runs: runs.head(0),
    "values missing": lambda runs: runs.with_columns(
        test_accuracy=pl.when(pl.col("seed") == 0).then(None).otherwise("test_accuracy"),
        test_loss=pl.when(pl.col("seed") == 0).then(float("nan")).otherwise("test_loss"),
    ),
}


@pytest.fixture
def build(fake_project) -> Callable[[Page, str, str], Content]:
    log = RunLog(fake_project)
    runs = log.runs("digits")

    def build_page(page: Page, part: str, metric: str) -> Content:
        chosen = PARTS[part](runs)
        return page.build(Request(log, chosen, chosen, metric_named(metric)))

    return build_page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.parametrize("part", PARTS)
def test_every_page_says_something_of_every_part(build, page, part):
    for metric in ("test_accuracy", "test_loss", "wall_s"):
        content = build(page, part, metric)
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
        ("gap", "training - test +"),
    ],
)
def test_what_the_pages_say_of_a_whole_sweep(build, name, words):
    (page,) = (page for page in PAGES if page.name == name)
    assert any(words in line for line in build(page, "all", "test_accuracy").lines)


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
