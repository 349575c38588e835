"""What is asked of a curve, and the runs that are proposed and queued by a key."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.events import Key

from tests.fakes import write_run
from tests.tui.fake_queue import job
from tests.tui.stage import NARROW, WIDE, Show, Stage, empty_stage
from tui_datasize.answers.answer import NOTHING, Asked
from tui_datasize.errors import ConfigError
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.metric import metric_named
from tui_datasize.tui.analysis.dialogs import FIELDS, asked_as_written, read_asked

ACCURACY, LOSS = metric_named("test_accuracy"), metric_named("test_loss")


@pytest.fixture
def half(tmp_path: Path) -> Stage:
    """A project in which the runs of the first seed have succeeded, those of the second were never queued."""
    stage = empty_stage(tmp_path / "project")
    for position, spec in enumerate(spec for spec in stage.specs() if spec.seed == 0):
        write_run(stage.project, spec)
        stage.queue.entries.append(job(spec, JobState.SUCCEEDED, position))
    return stage


def write(**written: str) -> dict[str, str]:
    return {name: written.get(name.replace(" ", "_"), "") for name in FIELDS}


def test_what_is_written_is_read_and_written_again():
    asked = Asked(target=0.955, fit_from=1000, delta=0.005, runs=20)
    texts = write(target="95.5 %", fit_from="1,000", worth_it="0.5%", budget="20")
    assert read_asked(texts, ACCURACY) == asked
    assert read_asked(asked_as_written(asked, ACCURACY), ACCURACY) == asked
    assert read_asked(write(), ACCURACY) == NOTHING
    loss = Asked(target=0.25)
    assert read_asked(asked_as_written(loss, LOSS), LOSS) == loss
    assert asked.of_other_metric() == Asked(fit_from=1000, runs=20)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (write(target="lots"), "no target for test_accuracy: 'lots'"),
        (write(target="950"), "no target 950 % for test_accuracy"),
        (write(fit_from="-3"), "fit from: '-3' is not a number of images"),
        (write(worth_it="0%"), "0 points is no gain to look for"),
        (write(worth_it="0.5"), "gain '0.5' is unclear"),
        (write(target="90 %", predict_at="1000"), "both a size and a target"),
        (write(fit_from="1,2"), "fit from: '1,2' is not a number of images"),
        (write(budget="1.5"), "budget: '1.5' is not a number of runs"),
    ],
)
def test_what_makes_no_sense_is_refused(written: dict[str, str], says: str):
    with pytest.raises(ConfigError, match=says):
        read_asked(written, ACCURACY)


async def test_a_target_and_the_first_size_to_fit_are_asked_by_key(half: Stage):
    async with half.open(WIDE) as show:
        await show.press("3")
        await show.shows("640 images: likely")
        await show.press("t")
        await show.shows("Set a target: test accuracy", "how many images for this value?")
        await show.press(*"lots", "enter")
        await show.shows("no target for test_accuracy: 'lots'")
        await show.press(*["backspace"] * 4, *"81%", "tab", *"80", "enter")
        await show.shows("target", "n ≥ 80", "81 %: ")
        await show.press("t")
        await show.shows("81 %")
        await show.press("escape", "m", "down", "enter")
        await show.until(lambda: "76 %" not in show.text)


async def test_keys_that_come_at_once_reach_the_dialog_that_the_first_of_them_opens(half: Stage):
    async with half.open(WIDE) as show:
        await at_once(show, *"3t95", "enter")
        await show.shows("95 %: ")
        await at_once(show, "t", "backspace", *["backspace"] * 3, *"86", "backspace", *"12", "left", "left")
        await at_once(show, "8", ".", "delete", "enter")
        await show.shows("88.2 %: ")
        await at_once(show, "t", "tab", *"80", "enter")
        await show.shows("n ≥ 80")


async def at_once(show: Show, *keys: str) -> None:
    """Keys as a slow connection brings them, all before the first is read."""
    for key in keys:
        show.app.post_message(Key(key, key if len(key) == 1 else None))


async def test_a_target_is_remembered_of_its_experiment_and_metric(half: Stage):
    async with half.open(WIDE) as show:
        await show.press("3", "t", *"76", "enter")
        await show.shows("76 %: about")
        await show.press("m", "down", "enter")
        await show.until(lambda: "76 %" not in show.text)
        await show.press("m", "up", "enter")
        await show.shows("76 %: about")
        await show.press("q")
        await show.until(lambda: not show.app.is_running)
    async with half.open(WIDE) as show:
        await show.shows("76 %: about")


async def test_the_plan_is_a_page_and_a_key_queues_it(half: Stage):
    async with half.open(NARROW) as show:
        await show.press("3", "p")
        await show.shows("Which runs to queue next", "train size", "to add", "8 runs to add", "a queue")
        await show.press("t", "tab", "tab", "tab", "tab", *"3", "enter")
        await show.shows("3 runs to add")
        await show.shows(": press i")
        await show.press("i")
        await show.shows("╭─ Which runs to queue next", "the forecast is better known then.")
        await show.press("escape", "a")
        await show.shows("Queue what is proposed?", "there already  8 done", "queue 3 runs", "attempts")
        # The plan has an order of its own, that of what its runs are worth.
        assert "curve-first" not in show.text
        assert "by-size" not in show.text
        await show.press("enter")
        await show.until(lambda: half.queue.enqueued)
    (specs,) = half.queue.enqueued
    assert len(specs) == 3
    # The data set has images enough for twice the largest size, which tells more than any seed.
    assert {spec.train_size for spec in specs} == {2 * max(spec.train_size for spec in half.specs())}
    assert {spec.seed for spec in specs} <= {spec.seed for spec in half.specs()}


async def test_a_page_is_shown_after_the_overlap_and_its_key_says_why_it_does_nothing(half: Stage):
    async with half.open(NARROW) as show:
        await show.press("3", "o")
        await show.shows("Overlap")
        await show.press("p")
        await show.shows("Which runs to queue next", "to add")
        await show.press("t", "tab", *"300", "enter")
        await show.shows("No plan. Needs 3 sizes, has 1")
        await show.press("a")
        await show.shows("nothing to queue: the plan says what is missing")


async def test_runs_beyond_the_sweep_are_queued_and_seen_on_the_map_and_in_the_list(half: Stage):
    for spec in half.specs():
        write_run(half.project, spec)
    largest = max(spec.train_size for spec in half.specs())
    async with half.open(WIDE) as show:
        await show.press("1")
        await show.until(lambda: f"{2 * largest}" not in show.text)
        await show.press("3", "p")
        await show.shows("Which runs to queue next", "16 runs to add", ".also]]", "seeds = ")
        await show.press("a", "enter")
        await show.until(lambda: half.queue.enqueued)
        await show.press("1")
        await show.shows(f"{2 * largest}", f"/{len(half.specs()) + 16}")
    (specs,) = half.queue.enqueued
    assert len(specs) == 16
    assert not {spec.run_id for spec in specs} & {spec.run_id for spec in half.specs()}
