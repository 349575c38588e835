"""`b`: a sweep is filled in, shown as the lines that it becomes, written into experiments.toml and queued."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, ClassVar, TypeAlias

from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.events import DescendantFocus
from textual.screen import ModalScreen
from textual.widgets import Input

from tui_datasize.errors import DataError, DatasizeError, StorageError
from tui_datasize.experiments.draft import (
    LABELS,
    Draft,
    FolderImages,
    draft_of,
    folder_images,
    form_completions,
    meaning,
    told,
    with_wrong,
    wrong_images,
)
from tui_datasize.experiments.load import Project, load_project
from tui_datasize.experiments.project_tables import data_directory
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.experiments.sweep_form import HINTS, USUAL, SweepForm, form_of, free_name
from tui_datasize.experiments.toml import read_toml
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.project_file import FileChange, with_experiment
from tui_datasize.text import plural
from tui_datasize.tui.widgets.completing import FormInput
from tui_datasize.tui.widgets.dialogs import ConfirmDialog, answers, field
from tui_datasize.tui.widgets.palette import palette_of
from tui_datasize.tui.widgets.panel import is_tiny
from tui_datasize.tui.widgets.plain import Words, titled

_RESTS_S = 0.15
"""So long nothing has been typed when it is looked at."""
_STALE_S = 0.5
"""How long what was told of something else stands while it is looked at."""
TimeOf: TypeAlias = Callable[[Sequence[RunSpec]], str]
"""How long some runs take, in words."""


class BuilderDialog(ModalScreen[Draft | None]):
    """The draft on enter, once nothing is wrong with it; None on escape."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "accept", "show the lines", priority=True),
        # Before the box that scrolls, which takes them where it is too low for all.
        Binding("down", "app.focus_next", "next", show=False, priority=True),
        Binding("up", "app.focus_previous", "previous", show=False, priority=True),
        Binding("escape", "back", "back"),
    ]

    def __init__(
        self,
        project: Project,
        form: SweepForm,
        written: Mapping[str, Mapping[str, Any]],
        time_of: TimeOf,
        problem: str = "",
        *,
        is_changed: bool = False,
    ) -> None:
        """`written` are the tables that it changes, by their names; without one it is that of any other.

        `is_changed` where a person has changed a form before that this one goes on with.
        """
        super().__init__()
        self._project = project
        self._written = written
        self._time_of = time_of
        self._first, self._said = form, problem
        self._draft = Draft(form, problem=problem)
        self._draft_of: SweepForm | None = None
        self._time = ""
        self._images_at: FolderImages | None = None
        """Those that are being looked at."""
        self._wrong: dict[FolderImages, DataError | None] = {}
        self._is_looking = self._is_accepted = self._is_leaving = False
        self._was_changed = is_changed
        self._fields = {
            name: FormInput(
                partial(self._complete, name), value, placeholder=getattr(USUAL, name), id=f"form-{name}"
            )
            for name, value in asdict(form).items()
        }
        self._told, self._hint = Words("", classes="told"), Words("", classes="hint")
        self._problem = Words(problem, classes="problem")

    def compose(self) -> ComposeResult:
        keys = (("tab", "complete, next"), ("enter", "show the lines"), ("esc", "back"))
        rows = (field(LABELS.get(name, name), self._fields[name]) for name in HINTS)
        box = VerticalScroll(
            *rows,
            self._hint,
            self._told,
            self._problem,
            answers(keys, palette_of(self.app)),
            classes="dialog",
            can_focus=False,
        )
        yield box

    def on_mount(self) -> None:
        self._changed()

    @property
    def form(self) -> SweepForm:
        """What is written now."""
        return SweepForm(**{name: entry.value for name, entry in self._fields.items()})

    @property
    def is_changed(self) -> bool:
        """Whether a person would lose what they filled in."""
        return self._was_changed or self.form != self._first

    def _complete(self, name: str, text: str) -> list[str]:
        return form_completions(name, text, self.form, self._project)

    @on(Input.Changed)
    def _changed(self) -> None:
        self._show_hint()
        if not self._is_looking:
            self.run_worker(self._look(), exit_on_error=False)

    @on(DescendantFocus)
    def _show_hint(self) -> None:
        self._is_leaving = False
        name = next((name for name, entry in self._fields.items() if entry.has_focus), "")
        if not name:
            return
        value = self._fields[name].value
        term = value.rpartition(" ")[2]
        said = meaning(name, term, self.form)
        found = [text[len(value) - len(term) :] for text in self._complete(name, value)] if value else []
        self._hint.update(Text(said or "  ".join(found) or HINTS[name], palette_of(self.app).muted))

    async def _look(self) -> None:
        """Look at what is written until that is what was looked at."""
        self._is_looking = True
        try:
            while (form := self.form) != self._draft_of:
                await asyncio.sleep(_RESTS_S)
                if form == self.form:
                    written = self._written.get(form.name.strip(), self._written.get("", {}))
                    looking = asyncio.create_task(asyncio.to_thread(draft_of, form, self._project, written))
                    await asyncio.wait({looking}, timeout=_STALE_S)
                    if not looking.done():
                        # What stands there is of what was written before.
                        self._told.update("looking at what is written ...")
                        self._problem.update("")
                    self._draft = await looking
                    runs = self._draft.runs
                    self._time = await asyncio.to_thread(self._time_of, runs) if runs else ""
                    self._draft_of = form
                    self._show()
        finally:
            self._is_looking = False

    async def _look_at_images(self, images: FolderImages) -> None:
        self._images_at = images
        self._wrong[images] = await asyncio.to_thread(wrong_images, images)
        self._images_at = None
        self._show()

    def _show(self) -> None:
        """Show the draft, and what is known of its images; look at these where nothing is yet."""
        draft, lines = self._draft, told(self._draft)
        lines[-1:] = [" · ".join(filter(None, (*lines[-1:], self._time)))]
        if draft.form.name in self._project.names:
            lines.append(f"changes {draft.form.name}, which is there")
        images = folder_images(draft)
        if images and images not in self._wrong:
            lines.append(f"looking at {images.count:,} images ...")
            if self._images_at is None:
                self.run_worker(self._look_at_images(images), exit_on_error=False)
        elif images and (error := self._wrong[images]):
            self._draft = draft = with_wrong(draft, error)
        self._told.update("\n".join(filter(None, lines)))
        self._problem.update(draft.problem or (self._said if self.form == self._first else ""))
        for name, entry in self._fields.items():
            entry.placeholder = "" if name == "sizes" and not draft.info else getattr(draft.form, name)
        self.on_resize()
        if self._is_accepted:
            self.action_accept()

    def on_resize(self) -> None:
        """Say at the foot what a tiny terminal has below what is seen."""
        draft, foot = self._draft, ""
        if is_tiny(self.app.size):
            wrong, experiment = LABELS.get(draft.wrong, draft.wrong), draft.experiment
            foot = f"wrong: {wrong}" if wrong else plural(experiment.n_runs, "run") if experiment else ""
        titled(self.query_one(".dialog"), "Build a sweep", foot)

    def action_back(self) -> None:
        if self._is_leaving or not self.is_changed:
            self.dismiss(None)
        self._is_leaving = True
        self._hint.update("esc again gives up what you filled in; any other key goes on")

    def action_accept(self) -> None:
        images = folder_images(self._draft)
        # Enter may come before the images are known.
        self._is_accepted = self._draft_of != self.form or (images is not None and images not in self._wrong)
        if self._is_accepted:
            self._hint.update("one moment: the lines are shown once this has been looked at")
        elif self._draft.problem:
            self._fields[self._draft.wrong].focus(scroll_visible=False)
            # In a small terminal it may lie below what is seen.
            self._problem.scroll_visible(animate=False)
        else:
            self.dismiss(self._draft)


class DifferenceDialog(ConfirmDialog):
    """Whether a change of the project's file is to be written."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "scroll(1)", "down", show=False),
        Binding("k,up", "scroll(-1)", "up", show=False),
    ]

    def __init__(self, change: FileChange) -> None:
        super().__init__(f"Write this into {change.file.name}?", [], "write it")
        self._change = change

    def compose(self) -> ComposeResult:
        palette = palette_of(self.app)
        colours = {"+": palette.success, "-": palette.error, "@": palette.muted}
        lines = Text()
        for line in self._change.difference:
            lines.append(f"{line}\n", colours.get(line[:1], palette.foreground))
        lines.rstrip()
        box = VerticalScroll(Words(lines), classes="dialog reading", can_focus=False)
        yield titled(box, self._title, f"enter {self._yes}   esc back   j k")

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)


async def build_sweep(
    app: App[None], paths: ProjectPaths, source: str, time_of: TimeOf
) -> tuple[str, FileChange | None]:
    """Fill a sweep in, from an experiment that is there or from nothing, and write it.

    Its name, empty where it was given up, and what was written; None where it was there already.

    Raises DatasizeError: the project's file is wrong, or cannot be written.
    """
    refuse_read_only(paths)
    project = await asyncio.to_thread(project_of, paths)
    form, written = await asyncio.to_thread(_beginning, paths, project, source)
    dialog = BuilderDialog(project, form, written, time_of)
    while draft := await app.push_screen_wait(dialog):
        problem = ""
        try:
            change = await asyncio.to_thread(
                with_experiment, paths.experiments, draft.form.name, dict(draft.table), draft.paths
            )
            if not change.difference:
                return draft.form.name, None
            if await app.push_screen_wait(DifferenceDialog(change)):
                await asyncio.to_thread(change.write)
                return draft.form.name, change
        except DatasizeError as error:
            problem = error.line.replace(f"{paths.root}/", "")
        changed = dialog.is_changed
        # As the person sees it: what was empty stands there in grey.
        dialog = BuilderDialog(project, draft.form, written, time_of, problem, is_changed=changed)
    return "", None


def refuse_read_only(paths: ProjectPaths) -> None:
    """Raises StorageError: nothing can be written into the project."""
    there = [path for path in (paths.root, paths.experiments) if path.exists()]
    if not all(os.access(path, os.W_OK) for path in there):
        raise StorageError("project is read-only", where=str(paths.root))


def project_of(paths: ProjectPaths) -> Project:
    """The project; one without experiments where there is no file."""
    if paths.experiments.exists():
        return load_project(paths.experiments)
    return Project(paths.experiments, {}, data_directory(paths.root))


def _beginning(
    paths: ProjectPaths, project: Project, source: str
) -> tuple[SweepForm, Mapping[str, Mapping[str, Any]]]:
    """What stands in the form at first, and the tables that are there, as `BuilderDialog` has them."""
    if not source:
        return SweepForm(), {}
    values = read_toml(paths.experiments)["experiments"][source]
    copied = {key: value for key, value in values.items() if key not in ("also", "title")}
    form = replace(form_of(values), name=free_name(source, project.names), title="")
    return form, {source: values, "": copied}
