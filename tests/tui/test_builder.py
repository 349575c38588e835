"""The sweep builder, notes, and what an empty directory begins with."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.tui.fake_queue import FakeQueue
from tests.tui.stage import NARROW, WIDE, Show, Stage
from tests.tui.test_every_dialog_key import closes, moves, opened
from tests.tui.test_every_key import every_key
from tui_datasize.experiments.draft import Draft, draft_of
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.sweep import plan_runs
from tui_datasize.experiments.sweep_form import HINTS
from tui_datasize.runlog.notes import read_remarks
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.tui.beginning import BeginDialog
from tui_datasize.tui.queue import builder
from tui_datasize.tui.queue.builder import BuilderDialog, DifferenceDialog
from tui_datasize.tui.queue_dialog import QueueDialog
from tui_datasize.tui.widgets.dialogs import FieldsDialog


@pytest.fixture
def nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """An empty directory."""
    monkeypatch.setenv("DATASIZE_DATA", str(tmp_path / "data"))
    root = tmp_path / "new"
    root.mkdir()
    return Stage(ProjectPaths(root), FakeQueue())


def write_images(folder: Path, per_class: int = 12) -> None:
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for number in range(per_class):
            Image.new("L", (8, 8), number * 9).save(folder / label / f"{number}.png")


async def is_open(show: Show, dialog: type) -> None:
    await show.until(lambda: isinstance(show.app.screen, dialog) and show.app.screen.is_mounted)
    await show.settle()


async def write(show: Show, **texts: str) -> None:
    """Fill fields of the form in, and wait until the draft is what they say."""
    form = show.app.screen
    assert isinstance(form, BuilderDialog)
    for name, text in texts.items():
        form._fields[name].value = text
    await show.until(lambda: form._draft_of == form.form and form._images_at is None)


async def test_a_sweep_of_own_images_is_filled_in_written_and_queued(nothing: Stage):
    write_images(nothing.project.root / "pets")
    async with nothing.open(NARROW) as show:
        await is_open(show, BeginDialog)
        await show.press("enter")
        await is_open(show, BuilderDialog)
        await show.press(*"pe", "tab")
        form = show.app.screen
        assert isinstance(form, BuilderDialog)
        assert form.form.dataset == "pets"
        await write(show, seeds="2", draws="1", budget="20 updates", options="batch_size=8")
        await show.shows("2 classes, 20 images to train on, 4 to test", "a fifth of each class is kept")
        await show.shows("4 sizes x 2 seeds x 1 draw", "1,280 images trained on · time not known yet")
        await write(show, sizes="5, 10, 21", sweep="optimizer.lr=1e-3,1e-2")
        await show.shows("sizes: 21 images, but", "has 20 to train on")
        await show.press("enter")
        assert form.focused is form._fields["sizes"]
        await write(show, sizes="5..10")
        await show.shows("8 runs = 2 sizes x 2 seeds x 1 draw x 2 variants")
        await show.press("enter")
        await show.shows("Write this into experiments.toml?", "+[experiments.pets]", '+"optimizer.lr" = ')
        await show.press("enter")
        await is_open(show, QueueDialog)
        await show.shows("Queue pets?")
        await show.press("enter")
        await show.until(lambda: nothing.queue.enqueued)
        assert [spec.train_size for spec in nothing.queue.enqueued[0]][:4] == [5, 5, 10, 10]
        assert load_project(nothing.project.experiments).experiments["pets"].n_runs == 8


SEARCH = "count=8 model.width=8..64 optimizer.lr=1e-4..0.1,log halving.keep=0.5 default.model.width=32"


async def test_a_search_is_filled_in_beside_levers_and_stays_what_it_is(nothing: Stage):
    file = nothing.project.experiments
    file.write_text(
        '# Mine.\n[experiments.a]\ndataset = "digits"\nmodel = "cnn3"\nsizes = [40, 80]\non = "local"\n'
    )
    file.write_text(f"{file.read_text()}budget = {{ updates = 20 }}\n\n# Of the next.\n[devices]\n")
    async with nothing.open(NARROW) as show:
        await opened(show, "B", BuilderDialog)
        await show.press(*["down"] * 9)
        assert form_of(show).focused is form_of(show)._fields["search"]
        for name, typed, completed in (
            ("search", "cou", "count="),
            ("search", " default.model.wi", " default.model.width="),
            ("levers", "synthetic=c", "synthetic=cvae"),
            ("options", "task=ro", "task=rotation"),
            ("options", "transfer.from=", "transfer.from=a"),
        ):
            form_of(show)._fields[name].focus()
            await write(show, **{name: typed})
            await show.press("tab")
            assert getattr(form_of(show).form, name) == completed
        await write(show, options="on=local")
        await write(show, name="a", search=SEARCH, levers="augmentation.flip=0.5 synthetic=cvae")
        await show.shows("a fifth of each subset is held out to choose by (validation=0.2)", "changes a")
        await show.shows("34 runs = 2 sizes x 1 seed x 1 draw x (default + 2 levers + 8 + 4 + 2)")
        # Levers and the default for 20 updates each, rungs of 8 for 5, 4 for 10 and 2 for 20.
        await show.shows(f"{2 * 64 * (3 * 20 + 8 * 5 + 4 * 10 + 2 * 20):,} images trained on", "esc back")
        await show.press("enter")
        await show.shows("+[experiments.a.search]", "+halving = { keep = 0.5 }", "enter write it")
        await show.press("enter")
        await is_open(show, QueueDialog)
        await show.shows("34 runs, 12 of them on later rungs")
        await show.press("escape")
        before = file.read_text()
        assert "# Of the next.\n[devices]" in before
        assert load_project(file).experiments["a"].n_runs == 34
        # What the form shows of it means the same again.
        await opened(show, "B", BuilderDialog)
        await write(show, name="a")
        assert form_of(show).form.search == SEARCH.replace("1e-4", "0.0001")
        await show.press("enter")
        await is_open(show, QueueDialog)
    assert file.read_text() == before


MISTAKES = (
    ({"dataset": "digitz"}, "data set: unknown data set 'digitz'"),
    ({"model": "cnn4"}, "model: expected one of cnn3"),
    ({"seeds": "two"}, "seeds: expected how many"),
    ({"budget": "3 weeks"}, "budget: expected updates, samples, epochs"),
    ({"options": "optimizer.lr=0"}, "options: optimizer.lr: expected a number above 0, got 0"),
    ({"options": "dataset=mnist"}, "options: dataset is no option: it has a field of its own"),
    ({"sweep": "model.width=0,8"}, "sweep: model.width: expected a whole number of at least 1"),
    ({"search": "model.width=8..64"}, "search: how many combinations are to be drawn?; such as count=20"),
    ({"search": "count=9 model.width=64..8"}, "search: model.width: low is 64, which is not below 8"),
    ({"search": "count=9 model.width=8.."}, "search: model.width: expected numbers, low..high, got 8.."),
    ({"search": "count=9 model.width=8,16"}, "search: count: 9 candidates, and there are 2 combinations"),
    ({"levers": "synthetic=gan"}, "levers: synthetic: expected one of none, cvae, got 'gan'"),
    ({"budget": "0 updates"}, "budget: expected a whole number of at least 1, got 0"),
    ({"name": "-"}, "name: '-' is not a name"),
    ({"sizes": "5000"}, "sizes: 5000 images, but digits has 1437"),
    ({"dataset": "pets"}, "options: cat/10.png: 8x8 pixels, but cat/0.png has 9x8; set image_px"),
)


async def test_each_mistake_is_told_in_its_field(nothing: Stage):
    pets = nothing.project.root / "pets"
    write_images(pets)
    Image.new("L", (9, 8)).save(pets / "cat" / "0.png")
    nothing.project.experiments.write_text("")
    async with nothing.open(NARROW) as show:
        await opened(show, "b", BuilderDialog)
        for texts, says in MISTAKES:
            await write(show, **(dict.fromkeys(HINTS, "") | {"dataset": "digits"} | texts))
            await show.shows(says)


async def test_what_was_filled_in_is_given_up_by_a_second_esc(nothing: Stage):
    nothing.project.experiments.write_text("")
    async with nothing.open(NARROW) as show:
        await opened(show, "b", BuilderDialog)
        await write(show, dataset="digits", model="mlp", sizes="40, 80")
        await show.press("escape")
        await show.shows("esc again gives up what you filled in")
        await show.press("down", "escape")
        assert form_of(show).form.sizes == "40, 80"
        # Seen as lines it is no less what somebody filled in.
        await show.press("enter")
        await is_open(show, DifferenceDialog)
        await show.press("escape")
        await is_open(show, BuilderDialog)
        await show.press("escape")
        assert form_of(show).form.sizes == "40, 80"
        await show.press("escape")
        await show.until(lambda: not isinstance(show.app.screen, BuilderDialog))
        await opened(show, "b", BuilderDialog)
        await show.press("escape")
        await show.until(lambda: not isinstance(show.app.screen, BuilderDialog))


async def test_help_that_is_too_long_for_its_line_says_so(nothing: Stage):
    nothing.project.experiments.write_text("")
    assert max(map(len, HINTS.values())) <= 70
    async with nothing.open(NARROW) as show:
        await opened(show, "b", BuilderDialog)
        for name, hint in HINTS.items():
            form_of(show)._fields[name].focus()
            await show.shows(hint)
        await write(show, dataset="digits", options="on_bad_image=skip")
        form_of(show)._fields["options"].focus()
        await show.shows("an image file that cannot be read")
        line = next(one for one in show.lines if "an image file that" in one)
        assert line.rstrip(" │").endswith("…")


async def test_completions_keep_what_is_written(nothing: Stage):
    nothing.project.experiments.write_text("")
    async with nothing.open(NARROW) as show:
        await opened(show, "b", BuilderDialog)
        field = form_of(show)._fields["options"]
        field.focus()
        for typed, completed in ((" opt", " optimizer.name="), ("split=0.2  bat", "split=0.2  batch_size=")):
            field.value = typed
            await show.press("tab")
            await show.until(lambda completed=completed: field.value == completed)


async def test_a_folder_is_written_without_dots(nothing: Stage):
    nothing.project.experiments.write_text("")
    outside = nothing.project.root.parent
    write_images(outside / "far" / "pets")
    write_images(outside / "pets")
    (nothing.project.root / "link").symlink_to(outside / "far" / "pets")
    async with nothing.open(NARROW) as show:
        await opened(show, "b", BuilderDialog)
        for typed, folder in (("../pets", outside / "pets"), ("link/../pets", None), ("./link/.", "link")):
            await write(show, dataset=typed)
            named = form_of(show)._draft.table["dataset"]
            place = nothing.project.root / (folder or typed)
            assert named == f"imagefolder:{place}"


@pytest.mark.parametrize("data", ["", "images"])
async def test_a_project_with_its_own_images_may_be_moved(
    data: str, nothing: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("DATASIZE_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    root = nothing.project.root
    write_images(root / "pets")
    if data:
        (root / data).mkdir()
        nothing.project.experiments.write_text(f"[paths]\ndata = {data!r}\n")
    async with nothing.open(NARROW) as show:
        if not data:
            await is_open(show, BeginDialog)
        await opened(show, "b", BuilderDialog)
        await write(show, dataset="pets", sizes="10", draws="1")
        await show.shows("2 runs = 1 size x 2 seeds x 1 draw")
        await show.press("enter")
        await is_open(show, DifferenceDialog)
        assert ('+data = "."' in show.text) is not bool(data)
        await show.press("enter")
        await is_open(show, QueueDialog)
    before = load_project(nothing.project.experiments)
    (sweep,) = before.experiments.values()
    assert sweep.dataset == ("imagefolder:../pets" if data else "imagefolder:pets")
    root.rename(tmp_path / "moved")
    after = load_project(tmp_path / "moved" / "experiments.toml")
    runs = plan_runs(after.experiments["pets"], after)
    assert len({run.run_id for run in runs}) == 2
    assert {run.dataset for run in runs} == {sweep.dataset}


def form_of(show: Show) -> BuilderDialog:
    assert isinstance(show.app.screen, BuilderDialog)
    return show.app.screen


async def test_a_tiny_terminal_counts_the_runs_while_they_are_written(nothing: Stage):
    nothing.project.experiments.write_text("")
    async with nothing.open((40, 10)) as show:
        await opened(show, "b", BuilderDialog)
        await write(show, dataset="digits", sizes="40, 80")
        await show.shows("8 runs")
        assert "8 runs =" not in show.text
        await show.press(*["down"] * 10, "up")
        assert form_of(show).focused is form_of(show)._fields["search"]
        await write(show, model="cnn4")
        await show.shows("wrong: model")
        await write(show, model="mlp", seeds="1")
        await show.shows("4 runs")
        await show.pilot.resize_terminal(*WIDE)
        await show.shows("4 runs = ")
        assert show.text.count("4 runs") == 1


async def test_enter_shows_the_mistake_in_a_tiny_terminal(nothing: Stage):
    nothing.project.experiments.write_text("")
    async with nothing.open((40, 10)) as show:
        await opened(show, "b", BuilderDialog)
        await write(show, dataset="digits", model="cnn4")
        assert "expected one of" not in show.text
        await show.press("enter")
        await show.shows("model: expected one of")
        form = show.app.screen
        assert isinstance(form, BuilderDialog)
        assert form.focused is form._fields["model"]


async def test_a_mistake_is_not_told_of_what_was_mended_meanwhile(
    nothing: Stage, monkeypatch: pytest.MonkeyPatch
):
    nothing.project.experiments.write_text("")
    going_on = threading.Event()
    async with nothing.open(NARROW) as show:
        await opened(show, "b", BuilderDialog)
        await write(show, dataset="digits", model="cnn4")
        await show.shows("model: expected one of cnn3")

        def slow_draft(*arguments: Any) -> Draft:
            going_on.wait(60)
            return draft_of(*arguments)

        monkeypatch.setattr(builder, "draft_of", slow_draft)
        form = show.app.screen
        assert isinstance(form, BuilderDialog)
        form._fields["model"].value = "mlp"
        await show.shows("looking at what is written ...")
        assert "model: expected" not in show.text
        going_on.set()
        await show.shows("24 runs = 6 sizes x 2 seeds x 2 draws")


async def test_every_key_of_the_builder_and_of_the_lines(busy: Stage, tmp_path: Path):
    before = busy.project.experiments.read_text()
    async with busy.open(NARROW) as show:
        with every_key(show, "sweep builder") as keyboard:
            await opened(show, "B", BuilderDialog)
            await moves(keyboard, "↓ ↑", lambda: show.app.screen.focused)
            await closes(show, keyboard, "esc", "B", BuilderDialog)
            await opened(show, "B", BuilderDialog)
            await write(show, sizes="40..160", options="order=by-seed batch_size=16")
            await show.shows("12 runs = 3 sizes x 2 seeds x 2 draws", "about")
            await keyboard.does("enter", lambda: isinstance(show.app.screen, DifferenceDialog))
        await show.pilot.resize_terminal(40, 10)
        with every_key(show, "lines to be written") as keyboard:
            await is_open(show, DifferenceDialog)
            box = show.app.screen.query_one(".dialog")
            await show.until(lambda: box.max_scroll_y > 1)
            await show.shows("enter write it   esc back   j k")
            await moves(keyboard, "↓ ↑ j k", lambda: box.scroll_offset)
        await show.press("escape")
        await is_open(show, BuilderDialog)
        assert busy.project.experiments.read_text() == before
        # An editor saves between the difference and the answer to it.
        await write(show, name="digits", sizes="40, 80")
        await show.press("enter")
        await is_open(show, DifferenceDialog)
        busy.project.experiments.write_text(before + "# mine\n")
        await show.press("enter")
        await is_open(show, BuilderDialog)
        await show.pilot.resize_terminal(*WIDE)
        await show.shows("experiments.toml: was changed just now, and is left as it is")
        await show.press("enter")
        await is_open(show, DifferenceDialog)
        await show.press("enter")
        await show.until(lambda: "sizes   = [40, 80]" in busy.project.experiments.read_text())
        assert busy.project.experiments.read_text().endswith("# mine\n")


async def test_every_key_of_the_beginning_and_of_notes(nothing: Stage):
    async with nothing.open(NARROW) as show:
        with every_key(show, "how to begin") as keyboard:
            for key in ("esc", "q"):
                await begin(show)
                await keyboard.does(key, lambda: len(show.app.screen_stack) == 1)
            for key in ("b", "enter"):
                await begin(show)
                await keyboard.does(key, lambda: isinstance(show.app.screen, BuilderDialog))
                await show.press("escape")
            await begin(show)
            await keyboard.does("i", lambda: isinstance(show.app.screen, FieldsDialog))
            (nothing.project.root / "a.csv").write_text("size,seed,test_accuracy\n40,0,0.5\n80,0,0.6\n")
            await show.press("tab", *"a.", "tab", "enter")
            await show.shows("imported: 2 runs imported")
            await begin(show)
            await keyboard.does("t", nothing.project.experiments.exists)
            assert not load_project(nothing.project.experiments).experiments
            nothing.project.experiments.unlink()
            await begin(show)
            await keyboard.does("d", lambda: isinstance(show.app.screen, QueueDialog))
        await show.press("escape")
        with every_key(show, "notes, import") as keyboard:
            await closes(show, keyboard, "esc", "ctrl+n", FieldsDialog)
            await opened(show, "ctrl+n", FieldsDialog)
            await show.press(*"odd")
            await keyboard.does("enter", lambda: read_remarks(nothing.project, "digits"))
        await show.press("i")
        await show.shows("UTC: odd")


async def test_an_empty_directory_asks_how_to_begin_until_it_is_not_empty(nothing: Stage):
    async with nothing.open((40, 10)) as show:
        for key in ("b", "B", "enter"):
            await is_open(show, BeginDialog)
            await show.press("i")
            await is_open(show, FieldsDialog)
            await show.press("escape")
            await show.shows("yet: b, then", "d runs a demo", "t writes a template", "i imports")
            await show.press(key)
        await is_open(show, BeginDialog)
        await show.press("t")
        await show.shows("b builds a sweep.")
        await show.press("b")
        await is_open(show, BuilderDialog)


async def begin(show: Show) -> None:
    await show.settle()
    if not isinstance(show.app.screen, BeginDialog):
        show.app._queue_pane._snapshot = type(show.app.snapshot)()
        show.app._queue_pane.offer_beginning()
    await is_open(show, BeginDialog)


async def test_a_project_that_cannot_be_written_is_told_in_one_line(
    busy: Stage, nothing: Stage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("os.access", lambda *_: False)
    async with nothing.open(NARROW) as show:
        await show.shows("project is read-only")
        assert len(show.app.screen_stack) == 1
    async with busy.open(NARROW) as show:
        for key in ("b", "B", "ctrl+n"):
            await show.press(key)
            await show.shows("project is read-only")
            assert len(show.app.screen_stack) == 1
