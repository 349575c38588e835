"""The Analysis tab: the curve, the fit and the overlap of the experiment that is chosen."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.text import Text
from textual.events import Key

from tests.fakes import write_run
from tests.tui.fake_queue import job
from tests.tui.stage import NARROW, WIDE, Show, Stage, empty_stage
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.tui.analysis.analyst import PAGES
from tui_datasize.tui.analysis.answer_lines import WordsView, _without_cut_columns
from tui_datasize.tui.analysis.tab import AnalysisPane
from tui_datasize.tui.widgets.chart_view import ChartView


@pytest.fixture
def finished(tmp_path: Path) -> Stage:
    """A project in which two experiments have succeeded."""
    stage = empty_stage(tmp_path / "project")
    for experiment in ("digits", "depth"):
        for position, spec in enumerate(stage.specs(experiment)):
            write_run(stage.project, spec)
            stage.queue.entries.append(job(spec, JobState.SUCCEEDED, position))
    return stage


async def open_analysis(show: Show) -> None:
    await show.press("3")
    await show.shows("320 images: ")


async def test_curve_fit_and_sentence_at_80_columns(finished: Stage):
    async with finished.open(NARROW) as show:
        await open_analysis(show)
        await show.shows(
            "Learning curve  digits · 16 runs used",
            "test accuracy, %",
            "mean",
            "forecast",
            "train size, images",
            "Answer",
            "320 images: 73.",
            "640 images: likely +2.",
        )
        await show.press("f")
        await show.shows("Beyond the largest size")
        await show.press("f")
        await show.shows("Laws", "a doubling by the log-linear law")


async def test_every_page_has_twelve_rows_of_chart_and_its_answer_on_a_low_screen(finished: Stage):
    async with finished.open(NARROW) as show:
        await open_analysis(show)
        pane = show.app.query_one(AnalysisPane)
        for place in range(len(PAGES)):
            await show.until(lambda: pane.is_settled)
            chart, words = pane.query(ChartView).first().view_size, pane.query_one(WordsView).view_size
            name = PAGES[place - 1].name if place else "curve"
            assert chart.height >= 12, name
            assert words.height >= 1, name
            await show.press("p")
            if not pane._page:
                break


async def test_levers_have_the_baseline_of_the_question_until_one_is_chosen(tmp_path: Path):
    stage = empty_stage(tmp_path / "project")
    rest = 'dataset = "digits"\nmodel = "mlp"\nsizes = [40, 80]\nbudget = { updates = 9 }\n'
    noise = "[experiments.noise.sweep]\nlabel_noise = [0.0, 0.2]\n"
    stage.project.experiments.write_text(f"[experiments.noise]\n{rest}{noise}", encoding="utf-8")
    for position, spec in enumerate(stage.specs("noise")):
        write_run(stage.project, spec, tables=False)
        stage.queue.entries.append(job(spec, JobState.SUCCEEDED, position))
    async with stage.open(WIDE) as show:
        pane = show.app.query_one(AnalysisPane)
        await show.press("3")
        await show.until(lambda: pane.is_settled)
        while not (page := pane._shown_page) or page.name != "levers":
            await show.press("P")
        # Of labels the worst, though it is not the first by name.
        await show.shows("label_noise=0.0 at ")
        await show.press("v")
        await show.shows("label_noise=0.2 at ")


async def test_overlap_on_a_low_screen_is_a_key_away(finished: Stage):
    async with finished.open(NARROW) as show:
        await open_analysis(show)
        await show.press("o")
        await show.shows("Overlap  320 images", "d0", "d1", "would have 22.", "Per class  320 images · ┃")
        await show.press("n")
        await show.shows("Overlap  40 images")
        await show.press("N")
        await show.shows("Overlap  320 images")
        await show.press("N")
        await show.shows("Overlap  160 images", "would have 11.")
        await show.press("s")
        await show.shows("Overlap  160 images · Jaccard index", "5.3 % Jaccard index", "outside")
        await show.press("s")
        await show.shows("Overlap  160 images · shared", "o overlap")
        await show.press("o")
        await show.shows("Learning curve")


async def test_of_one_draw_there_is_no_overlap_to_see(finished: Stage):
    async with finished.open(WIDE) as show:
        await open_analysis(show)
        await show.shows("Overlap", "Per class")
        await show.press("e", "j", "enter")
        await show.shows("depth · 4 runs used")
        await show.until(lambda: "Overlap" not in show.text and "Per class" not in show.text)
        assert " size " not in show.lines[-1]


async def test_a_wide_window_lists_the_questions(finished: Stage):
    async with finished.open(WIDE) as show:
        await open_analysis(show)
        await show.shows("Questions", "› Learning curve and answer", "Margins of right and wrong answers")
        await show.press("tab", "j", "j")
        await show.shows("▸ Can these numbers be trusted?", "─ Can these numbers be trusted?")
        await show.press("p")
        await show.shows("▸ Spread between runs", "─ Spread between runs")
        await show.press("k")
        await show.shows(
            "Variants compared needs two variants; this experiment has none", "─ Spread between runs"
        )


async def test_questions_that_the_record_cannot_answer_are_grey_and_say_why(tmp_path: Path):
    stage = empty_stage(tmp_path / "project")
    for spec in stage.specs():
        write_run(stage.project, spec, tables=False)
    async with stage.open(WIDE) as show:
        await open_analysis(show)
        await show.shows(
            "Confusion matrix · needs", "Calibration · needs predictions", "How much data is enough?"
        )
        pane = show.app.query_one(AnalysisPane)
        for _ in PAGES:
            await show.press("p")
            assert not pane._questions.missing[pane._page]
        await show.press("w")
        await show.shows("Spread between runs")
        assert "│ Calibration" not in show.text


async def test_what_was_chosen_stays_when_the_question_changes(finished: Stage):
    async with finished.open(WIDE) as show:
        await open_analysis(show)
        await show.press("m", "j", "enter", "t", *"0.9", "enter")
        pane = show.app.query_one(AnalysisPane)
        await show.until(lambda: pane.targets)
        chosen = (pane.experiment, pane._metric, pane._choice.asked.target)
        assert chosen == ("digits", "test_loss", 0.9)
        for keys in (("p",), ("P",), ("w", "j", "j", "j", "enter"), ("n",), ("s",), ("p", "p"), ("1", "3")):
            await show.press(*keys)
            assert (pane.experiment, pane._metric, pane._choice.asked.target) == chosen, keys
        await show.press("w", "g", "enter")
        await show.shows("Learning curve  digits", "How much data is enough?")


async def test_the_filter_says_which_runs_count_whatever_is_asked(finished: Stage):
    async with finished.open(NARROW) as show:
        await open_analysis(show)
        pane = show.app.query_one(AnalysisPane)
        await show.press("slash", *"size<=160 draw:1", "enter")
        await show.shows("digits · only size<=160 draw:1 · 6 runs used", "160 images: ")
        assert pane.filter_text == "size<=160 draw:1"
        for keys in (("p",), ("p", "p"), ("o",), ("m", "j", "enter"), ("w", "g", "enter")):
            await show.press(*keys)
            await show.until(lambda: pane.is_settled)
            await show.shows("only size<=160 draw:1")
        await show.press("slash", *" seed:5", "enter")
        await show.shows("No run of digits matches the filter; esc drops it.")
        await show.press("escape", "escape")
        await show.shows("digits · 16 runs used")


async def test_what_a_filter_leaves_out_is_not_proposed_again(finished: Stage):
    async with finished.open(WIDE) as show:
        await open_analysis(show)
        pane = show.app.query_one(AnalysisPane)
        await show.press("slash", *"seed:0", "enter", "p")
        await show.shows("─ Which runs to queue next", "Learning curve  digits · only seed:0")
        await show.until(lambda: pane.is_settled and pane._content)
        assert {spec.seed for spec in pane._wish.sweep} == {0}


async def test_below_a_page_that_is_short_stands_the_learning_curve(finished: Stage):
    async with finished.open(WIDE) as show:
        await open_analysis(show)
        pane = show.app.query_one(AnalysisPane)
        is_brief = {"plan": True, "audit": True, "spread": False, "variance": True}
        for place, page in enumerate(PAGES, 1):
            if page.name in is_brief:
                pane._turn_to(place)
                await show.shows(f"─ {page.title}  digits", "● mean" if is_brief[page.name] else "━ median")
                await show.until(lambda: sum(not line[39:].strip() for line in show.lines) < 12)
                assert ("─ Learning curve" in show.text) is is_brief[page.name]
        pane._turn_to(0)
        await show.shows("─ Overlap  320 images")


def test_a_table_without_room_ends_with_the_last_whole_column():
    table = [
        Text(f" {a:>6}  {b:>6}  {c:>6}", no_wrap=True) for a, b, c in (("size", "runs", "SD"), (40, 6, 0.75))
    ]
    words = Text(" words", no_wrap=True)
    shown = [line.plain for line in _without_cut_columns([words, *table, Text(" a sentence")], 20)]
    assert shown == [" words", "   size    runs …", "     40       6 …", " a sentence"]
    assert [line.plain for line in _without_cut_columns(table, 23)] == [line.plain for line in table]


async def test_keys_are_shown_where_they_do_something_and_say_elsewhere_why_not(finished: Stage):
    async with finished.open(WIDE) as show:
        await open_analysis(show)
        await show.until(lambda: " . examine " in show.lines[-1])
        assert " + smooth " not in show.lines[-1]
        await show.press("+")
        await show.shows("only training curves are smoothed")
        pages = [page.name for page in PAGES]
        pane = show.app.query_one(AnalysisPane)
        pane._turn_to(1 + pages.index("training-curves"))
        await show.until(lambda: " + smooth " in show.lines[-1])
        pane._turn_to(1 + pages.index("confusions"))
        await show.until(lambda: " . examine " not in show.lines[-1])
        await show.press(".")
        await show.shows("no chart to examine here")


async def test_keys_typed_in_one_breath_all_count(finished: Stage):
    async with finished.open(NARROW) as show:
        # As a terminal hands them over: the second before the first has been dealt with.
        for key in ("3", "p", "p"):
            show.app.post_message(Key(key, key))
        await show.shows(PAGES[1].title)


async def test_variants_are_told_apart_at_80_columns(finished: Stage):
    async with finished.open(NARROW) as show:
        await show.press("3", "e", "j", "enter")
        await show.shows("depth · 4 runs used", "● layers=1", "◆ layers=2", "All 2 variants are the same")
        assert " v variant " in show.lines[-1]
        # Each size has one draw.
        await show.until(lambda: " o overlap " not in show.lines[-1])


async def test_a_large_screen_shows_everything_at_once(finished: Stage):
    async with finished.open(WIDE) as show:
        await open_analysis(show)
        await show.shows("Learning curve", "Answer", "Overlap  320 images", "Per class", "640 images: likely")
        assert " overlap " not in show.lines[-1]


async def test_the_experiment_and_the_metric_are_chosen(finished: Stage):
    async with finished.open(WIDE) as show:
        await open_analysis(show)
        await show.press("e")
        await show.shows("Experiment", "More layers")
        await show.press("j", "enter")
        await show.shows("depth · 4 runs used", "no forecast")
        await show.press("v", "v")
        await show.shows("depth · layers=2")
        await show.press("m", "down", "enter")
        await show.shows("test loss")
        await show.press("m", "escape")
        await show.shows("test loss")


async def test_without_results_it_says_what_to_do(empty: Stage):
    async with empty.open() as show:
        await show.press("3")
        async for _ in show.sizes():
            await show.shows("No run of this experiment has succeeded")
        await show.press("ctrl+e")
        await show.shows("nothing to export yet")


async def test_a_new_result_changes_the_curve(finished: Stage):
    *_, last = finished.specs()
    paths = finished.project.run("digits", last.run_id)
    end = paths.exit.read_bytes()
    paths.exit.unlink()
    async with finished.open(WIDE) as show:
        await open_analysis(show)
        await show.shows("digits · 15 runs used")
        paths.exit.write_bytes(end)
        await show.shows("digits · 16 runs used")


async def test_the_curve_and_the_pairs_are_exported(finished: Stage):
    async with finished.open(NARROW) as show:
        await open_analysis(show)
        await show.press("ctrl+e")
        await show.shows("wrote 4 rows to")
        await show.press("o")
        await show.shows("Overlap  320 images", "would have 22.")
        await show.press("ctrl+e")
        await show.until(lambda: len(list(finished.project.root.glob("*.csv"))) == 2)
    curve, pairs = sorted(finished.project.root.glob("*.csv"))
    assert curve.name.startswith("digits-curve-test_accuracy-")
    assert "mean" in curve.read_text().splitlines()[0]
    assert pairs.name.startswith("digits-overlap-")
    # A pair of draws at each of 4 sizes, as a whole and in 10 classes.
    assert len(pairs.read_text().splitlines()) == 1 + 4 * 11


async def test_an_analysis_that_fails_is_a_sentence(finished: Stage):
    async with finished.open(WIDE) as show:
        analyst = (await show.app._analysis_pane())._analyst

        def fail(*_: object) -> None:
            raise ValueError("a frame nobody foresaw")

        analyst._analyse = fail  # type: ignore[method-assign, assignment]
        await show.press("3")
        await show.shows("The analysis failed: ValueError: a frame nobody foresaw")
