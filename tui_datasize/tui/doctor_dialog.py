"""`d`: what `datasize-tui doctor` finds, asked of it in a process of its own: the app never loads torch."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tui_datasize.errors import DatasizeError, StorageError
from tui_datasize.programs import python_module
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.text import plural
from tui_datasize.tui.widgets.dialogs import TextDialog
from tui_datasize.tui.widgets.palette import Palette, palette_of
from tui_datasize.tui.widgets.plain import Words, plain_text

_WAITING = "checking everything that a run needs; torch is loaded for it, which takes some seconds ..."
_STOPS = "fail"
_GLYPHS = {"ok": "✓", "warn": "!", _STOPS: "✗"}


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What came of one check."""

    name: str
    verdict: str
    """`ok`, `warn` for what may surprise later, `fail` for what would stop a run."""
    text: str


def doctor_command(project: ProjectPaths) -> Sequence[str]:
    """What looks at a project, and prints JSON."""
    return python_module("tui_datasize", "doctor", "--json", "--project", str(project.root.absolute()))


def read_results(printed: str) -> list[CheckResult]:
    """What `doctor --json` has printed; raises ValueError: it is something else."""
    try:
        rows = json.loads(printed)
        return [CheckResult(str(row["name"]), str(row["verdict"]), str(row["text"])) for row in rows]
    except (TypeError, KeyError) as error:
        raise ValueError(str(error)) from error


async def examine(command: Sequence[str]) -> list[CheckResult]:
    """Run the checks; a task that is cancelled meanwhile ends them.

    Raises StorageError: they did not come to an end.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise StorageError.of(error, "the checks cannot be started") from error
    try:
        printed, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    try:
        return read_results(printed.decode(errors="replace"))
    except ValueError:
        last = complaints.decode(errors="replace").strip().splitlines()[-1:]
        why = last[0] if last else f"exit status {process.returncode}"
        raise StorageError(f"the checks did not end: {why}") from None


class DoctorDialog(TextDialog):
    """The findings, as soon as they are there."""

    def __init__(self, project: ProjectPaths) -> None:
        super().__init__("Doctor", _WAITING)
        self._project = project

    def on_mount(self) -> None:
        self.run_worker(self._look(), exit_on_error=False)

    async def _look(self) -> None:
        palette = palette_of(self.app)
        content: RenderableType
        try:
            content = results_page(await examine(doctor_command(self._project)), palette)
        except DatasizeError as error:
            content = plain_text(error.line, palette.error)
        self.query_one(Words).update(content)


def results_page(findings: Sequence[CheckResult], palette: Palette) -> Group:
    """What would stop a run, then every finding in the order in which a run would meet it."""
    stopping = [finding.name for finding in findings if finding.verdict == _STOPS]
    warnings = sum(finding.verdict == "warn" for finding in findings)
    if stopping:
        names = ", ".join(dict.fromkeys(stopping))
        told = plain_text(f"{plural(len(stopping), 'error')}: {names}", f"bold {palette.error}")
    else:
        told = Text("No errors", f"bold {palette.success}")
    told.append(f", {plural(warnings, 'warning')}" if warnings else "", palette.foreground)
    styles = {"ok": palette.success, "warn": palette.accent, _STOPS: f"bold {palette.error}"}
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        style = styles.get(finding.verdict, palette.foreground)
        words = f"{_GLYPHS.get(finding.verdict, '?')} {finding.verdict}"
        is_bad = finding.verdict == _STOPS
        table.add_row(
            plain_text(words, style, no_wrap=True),
            plain_text(finding.name, palette.foreground if is_bad else palette.muted, no_wrap=True),
            plain_text(finding.text, f"bold {palette.foreground}" if is_bad else palette.foreground),
        )
    return Group(told, Text(), table)
