"""The way to the terminal and back: it ends with it, and the escape key is known soon."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from codecs import getincrementaldecoder
from typing import IO, Any

from textual._parser import Read1
from textual._xterm_parser import XTermParser
from textual.constants import ESCAPE_DELAY
from textual.drivers.linux_driver import LinuxDriver

from tui_datasize.tui.screen_diff import ScreenDiff

_ESCAPE_S = ESCAPE_DELAY if "ESCDELAY" in os.environ else 0.025
"""So long the rest of a sequence may take; what comes later follows an escape key.

A terminal writes a sequence at once, ssh and tmux carry it as a whole. Neovim waits 0.05 s, tmux 0.01 s.
"""
_ENDED_WITHIN_S = 0.1


class _Keys(XTermParser):
    """Textual's reader of keys, which would wait 0.1 s for what may follow an escape key."""

    @staticmethod
    def read1(timeout: float | None = None) -> Read1:  # type: ignore[override]
        return Read1(timeout and _ESCAPE_S)


_BEHIND_S = 0.5
"""A terminal that has not taken what was written for so long does not keep up."""


class Link:
    """The file that is the terminal, with a count of what it has taken."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.falls_behind = False
        self.asked = self.taken = 0
        """Characters that were handed on, and those that have gone."""
        self._told = 0, time.monotonic()

    def fileno(self) -> int:
        return self._file.fileno()

    def write(self, text: str) -> None:
        """Write and wait until it has gone; called by a thread of Textual's."""
        began_s = time.monotonic()
        self._file.write(text)
        self._file.flush()
        self.falls_behind |= time.monotonic() - began_s > _BEHIND_S
        self.taken += len(text)

    def flush(self) -> None:
        """Nothing is kept back."""

    @property
    def is_busy(self) -> bool:
        """Whether something has not gone yet, so that whatever else is drawn would only wait behind it."""
        return self.asked > self.taken

    def characters_per_s(self) -> float:
        """Characters a second since this was asked last."""
        (taken, then_s), self._told = self._told, (self.taken, time.monotonic())
        return (self.taken - taken) / max(time.monotonic() - then_s, 1e-3)


class SparingDriver(LinuxDriver):
    """Textual's driver, with a memory of what the terminal shows."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._screen = ScreenDiff()
        assert self._file is not None
        self.link = Link(self._file)
        self._file = self.link  # type: ignore[assignment]

    def start_application_mode(self) -> None:
        super().start_application_mode()  # type: ignore[no-untyped-call]
        threading.Thread(target=self._end_with_terminal, name="hang-up", daemon=True).start()

    def _end_with_terminal(self) -> None:
        """End as by the signal that the kernel sends to those whose controlling terminal has gone.

        Of any other that has gone, Textual would read nothing for ever, as fast as it can.
        """
        terminal = select.poll()
        terminal.register(self.fileno, 0)
        if any(state & select.POLLHUP for _, state in terminal.poll()):
            signal.raise_signal(signal.SIGHUP)

    def run_input_thread(self) -> None:
        """Hand on what is typed; called by Textual, whose own looks at an escape key only every 0.1 s."""
        keys, decode = _Keys(self._debug), getincrementaldecoder("utf-8")().decode
        typed = select.poll()
        typed.register(self.fileno, select.POLLIN)
        looks_soon = 0
        while not self.exit_event.is_set():
            ready = typed.poll(1e3 * (_ESCAPE_S if looks_soon else _ENDED_WITHIN_S))
            data = os.read(self.fileno, 4096) if ready else b""
            if ready and not data:
                return
            text = decode(data)
            # Twice: the first may come just before the time is over.
            looks_soon = 2 if "\x1b" in text else max(0, looks_soon - 1)
            for message in (*(keys.feed(text) if text else ()), *keys.tick()):
                self.process_message(message)

    def write(self, data: str) -> None:
        data = self._screen.shorten(data)
        self.link.asked += len(data)
        super().write(data)

    def forget(self) -> None:
        """The next frame is written whole."""
        self._screen.forget()
