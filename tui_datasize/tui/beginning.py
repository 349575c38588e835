"""How a directory without experiments begins: a sweep by form, the demonstration, a template, an import."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar, Literal

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from tui_datasize.errors import ConfigError, DatasizeError
from tui_datasize.experiments.draft import folders
from tui_datasize.experiments.samples import text_of_file
from tui_datasize.files import named_path
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.project_file import FileChange
from tui_datasize.tui.queue.builder import TimeOf, build_sweep, refuse_read_only
from tui_datasize.tui.widgets.completing import FormInput
from tui_datasize.tui.widgets.dialogs import FieldsDialog, answers, facts_table
from tui_datasize.tui.widgets.palette import palette_of
from tui_datasize.tui.widgets.plain import Words, titled

Beginning = Literal["build", "demo", "template", "import"]


class BeginDialog(ModalScreen[Beginning | None]):
    """What to begin with in a directory without experiments; None on escape."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("b,enter", "begin('build')", "build a sweep"),
        Binding("d", "begin('demo')", "demo"),
        Binding("t", "begin('template')", "template"),
        Binding("i", "begin('import')", "import"),
        Binding("escape,q", "dismiss(None)", "back"),
    ]

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def compose(self) -> ComposeResult:
        palette = palette_of(self.app)
        offers = [
            ("", f"{self._root} has no experiments yet."),
            ("", ""),
            ("b", "build a sweep: fill in data set, model and sizes"),
            ("d", "demo: 36 runs on scikit-learn's digits, about a minute"),
            ("t", "template: an experiments.toml to be filled in by an editor"),
            ("i", "import results that were trained elsewhere"),
        ]
        box = Vertical(
            Words(facts_table(offers, f"bold {palette.primary}")),
            answers((("esc", "just look"),), palette),
            classes="dialog",
        )
        yield titled(box, "How to begin")

    def action_begin(self, choice: Beginning) -> None:
        self.dismiss(choice)


async def begin(app: App[None], paths: ProjectPaths, time_of: TimeOf) -> tuple[str, str]:
    """Ask what to begin with and do it; the experiment to be queued, and what is to be told.

    Raises DatasizeError: it cannot be written or read.
    """
    refuse_read_only(paths)
    choice = await app.push_screen_wait(BeginDialog(paths.root))
    if choice == "build":
        return (await build_sweep(app, paths, "", time_of))[0], ""
    if choice == "import":
        return "", await _import(app, paths)
    if choice is None:
        return "", "b asks again"
    text = text_of_file("demo.toml" if choice == "demo" else "template.toml")
    await asyncio.to_thread(FileChange(paths.experiments, None, text.encode()).write)
    return ("digits", "") if choice == "demo" else ("", f"{paths.experiments.name} is written; edit it, or b")


async def _import(app: App[None], paths: ProjectPaths) -> str:
    name, place, problem = "imported", "", ""
    while True:
        rows = [
            ("experiment", Input(name, compact=True)),
            ("file", FormInput(lambda text: folders(text, paths.root, with_files=True), place)),
        ]
        told = "A table, a log or a folder of them: a row or a file a run."
        dialog = FieldsDialog("Import results", told, rows, "import", problem)
        answered = await app.push_screen_wait(dialog)
        if answered is None:
            return ""
        name, place = (text.strip() for text in answered)
        try:
            return await asyncio.to_thread(_bring_in, paths, name, place)
        except DatasizeError as error:
            problem = f"{error.line}; more is told by `datasize-tui import --help`"


def _bring_in(paths: ProjectPaths, experiment: str, place: str) -> str:
    from tui_datasize.runlog.importing.into_project import bring_read
    from tui_datasize.runlog.importing.layout import Layout
    from tui_datasize.runlog.importing.reading import read_all

    if not place:
        raise ConfigError("name a file")
    try:
        file = named_path(place, paths.root)
    except ValueError as error:
        raise ConfigError(str(error), where=place) from None
    layout = Layout()
    return "; ".join(bring_read(paths, experiment, read_all([file], layout, is_strict=False), layout))
