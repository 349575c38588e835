"""A run's log on the whole screen, following its end."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Log
from textual.worker import get_current_worker

from tui_datasize.runlog.paths import RunPaths
from tui_datasize.tui.keys import KeyBar
from tui_datasize.tui.polling.log_tail import LONG_BYTES, LogTail, run_log_tail
from tui_datasize.tui.widgets.panel import Panel

_INTERVAL_S = 1.0


class LogScreen(ModalScreen[None]):
    """Shows standard output or standard error of one run, at most the last 256 KiB."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,l", "leave", "back"),
        Binding("e", "switch", "output/errors", tooltip="Switch between standard output and standard error"),
        Binding("j", "scroll(1)", "Down", show=False),
        Binding("k", "scroll(-1)", "Up", show=False),
        Binding("G", "end", "end", show=False),
    ]

    def __init__(self, paths: RunPaths, *, prefer_errors: bool) -> None:
        super().__init__()
        self._paths = paths
        self._prefer_errors = prefer_errors
        self._shown: tuple[str, ...] | None = None

    def compose(self) -> ComposeResult:
        yield Panel(self._paths.run_id, Log(auto_scroll=True, max_lines=20_000))
        yield KeyBar()

    def on_mount(self) -> None:
        self._read()
        self.set_interval(_INTERVAL_S, self._read)

    def _read(self) -> None:
        self.run_worker(self._read_in_thread, thread=True, exclusive=True, group="log")

    def _read_in_thread(self) -> None:
        worker = get_current_worker()
        tail = run_log_tail(self._paths, prefer_errors=self._prefer_errors, limit_bytes=LONG_BYTES)
        if not worker.is_cancelled:
            self.app.call_from_thread(self._show, tail)

    def _show(self, tail: LogTail) -> None:
        if not self.is_attached or tail.lines == self._shown:
            return
        self.query_one(Panel).show_note(Text(tail.name or "nothing written yet"))
        log = self.query_one(Log)
        before = self._shown or ()
        if before and tail.lines[: len(before)] == before:
            log.write_lines(tail.lines[len(before) :])
        else:
            log.clear()
            log.write_lines(tail.lines)
        self._shown = tail.lines

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_switch(self) -> None:
        self._prefer_errors = not self._prefer_errors
        self._shown = None
        self._read()

    def action_scroll(self, lines: int) -> None:
        self.query_one(Log).scroll_relative(y=lines, animate=False)

    def action_end(self) -> None:
        self.query_one(Log).scroll_end(animate=False)
