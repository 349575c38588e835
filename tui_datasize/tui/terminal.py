"""The way to the terminal and back: it ends with it, and the escape key is known soon."""

from __future__ import annotations

import os
import re
import select
import signal
import threading
import time
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterable
from typing import Any

from textual import events
from textual._parser import Read1
from textual._xterm_parser import BRACKETED_PASTE_END, BRACKETED_PASTE_START, XTermParser
from textual.constants import ESCAPE_DELAY
from textual.drivers.linux_driver import LinuxDriver
from textual.keys import Keys
from textual.message import Message

from tui_datasize.errors import EXIT_RUN_FAILED
from tui_datasize.tui.link import ANSWER, Link
from tui_datasize.tui.screen_diff import ScreenDiff

_ESCAPE_S = ESCAPE_DELAY if "ESCDELAY" in os.environ else 0.025
"""So long the rest of a sequence may take; what comes later follows an escape key.

A terminal writes a sequence at once, ssh and tmux carry it as a whole. Neovim waits 0.05 s, tmux 0.01 s.
"""
_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~])?")
_ENDED_WITHIN_S = 0.1
_END_COMES_WITHIN = 20
"""Looks without anything new, of 0.1 s each, after which the end of a paste is lost."""
_ANSWERS_WITHIN_S, _LOOKS_AGAIN_S = 2.0, 0.005


def _cut_start(data: str) -> int:
    """How many characters at the end may be the first of the sequence that begins a paste.

    An escape alone is a key, too.
    """
    lengths = range(2, len(BRACKETED_PASTE_START))
    return next((n for n in lengths if data.endswith(BRACKETED_PASTE_START[:n])), 0)


class LinkTurned(Message):
    """What leads to the terminal has turned slow, or fast again."""


class _Keys(XTermParser):
    """Textual's reader of keys, which would wait 0.1 s for what may follow an escape key, with answers."""

    def __init__(self, debug: bool, answered: Callable[[], None]) -> None:
        self._answered = answered
        self._held = ""
        """Of a paste that has not ended, or what may begin one."""
        self._waits = 0
        super().__init__(debug)

    def feed(self, data: str) -> Iterable[Message]:
        """As the base class, which would take what follows an escape within a paste for keys."""
        data, self._held, self._waits = self._held + data, "", 0
        while data:
            before, start, rest = data.partition(BRACKETED_PASTE_START)
            pasted, end, data = rest.partition(BRACKETED_PASTE_END)
            if start and not end:
                self._held = start + rest
                start = ""
            elif not start and (cut := _cut_start(before)):
                self._held, before = before[-cut:], before[:-cut]
            if text := before + (start and start + _SEQUENCE.sub("", pasted) + end):
                yield from super().feed(text)

    def release(self) -> Iterable[Message]:
        """While nothing comes: what was held back; a paste whose end does not come has ended."""
        self._waits += bool(self._held)
        if not self._held.startswith(BRACKETED_PASTE_START):
            data, self._held = self._held, ""
            yield from super().feed(data) if data else ()
        elif self._waits > _END_COMES_WITHIN:
            yield from self.feed(BRACKETED_PASTE_END)

    @staticmethod
    def read1(timeout: float | None = None) -> Read1:  # type: ignore[override]
        return Read1(timeout and _ESCAPE_S)

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[events.Key]:
        if sequence == ANSWER:
            self._answered()
            return [events.Key(Keys.Ignore, sequence)]
        return super()._sequence_to_key_events(sequence, alt)


class SparingDriver(LinuxDriver):
    """Textual's driver, with a memory of what the terminal shows."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._screen = ScreenDiff()
        assert self._file is not None
        self.link = Link(self._file, self._tell_link)
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
            # Where that is ignored, as behind nohup.
            os._exit(EXIT_RUN_FAILED)

    def run_input_thread(self) -> None:
        """Hand on what is typed; called by Textual, whose own looks at an escape key only every 0.1 s."""
        keys = _Keys(self._debug, self.link.answered)
        # Nothing that comes may end this thread.
        decode = getincrementaldecoder("utf-8")("replace").decode
        typed = select.poll()
        typed.register(self.fileno, select.POLLIN)
        looks_soon = 0
        while not self.exit_event.is_set():
            ready = typed.poll(1e3 * (_ESCAPE_S if looks_soon else _ENDED_WITHIN_S))
            try:
                data = os.read(self.fileno, 4096) if ready else b""
            except OSError:
                # Its other end has closed: another thread ends the app.
                return
            if ready and not data:
                return
            text = decode(data)
            # Twice: the first may come just before the time is over.
            looks_soon = 2 if "\x1b" in text else max(0, looks_soon - 1)
            for message in (*(keys.feed(text) if text else keys.release()), *keys.tick()):
                self.process_message(message)

    def _tell_link(self) -> None:
        self.send_message(LinkTurned())

    def disable_input(self) -> None:
        """Read no more, once all answers are there: the shell would take them for typed."""
        while not self.exit_event.is_set() and self.link.awaits_answers(_ANSWERS_WITHIN_S):
            time.sleep(_LOOKS_AGAIN_S)
        super().disable_input()

    def write(self, data: str) -> None:
        data = self._screen.shorten(data)
        self.link.asked += len(data)
        super().write(data)

    def forget(self) -> None:
        """The next frame is written whole."""
        self._screen.forget()
