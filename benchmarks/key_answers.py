"""How long the app takes to answer keys: what is pressed, and the frame that answers."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

import pyte

from tests.terminal import Terminal

_UNANSWERED_S = 10.0
_UP, _DOWN, _PAGE_UP, _PAGE_DOWN, _TAB, _ESC = "\x1b[A", "\x1b[B", "\x1b[5~", "\x1b[6~", "\t", "\x1b"
_QUEUE, _LIVE, _ANALYSIS = ("1", r"[─━] Jobs "), ("2", r"[─━] Runs "), ("3", r"[─━] Learning curve ")
_NO_FILTER = (_ESC, r"^(?!.*(size>=|acc<90))(?=.*10,000|.*one at a time)")
Strokes: TypeAlias = Sequence[tuple[str, Sequence[str | tuple[str, str]]]]
STROKES: Strokes = (
    ("the list of experiments", (_TAB, _TAB)),
    ("Queue, arrows", (*[_DOWN] * 10, *[_UP] * 5)),
    ("Queue, pages", (*[_PAGE_DOWN] * 6, *[_PAGE_UP] * 3)),
    ("Queue, mark", (" ",) * 5),
    ("Queue, filter", ("/", *"size>=400", _NO_FILTER)),
    ("to Live and back", (_LIVE, _QUEUE, _LIVE)),
    ("Live, arrows", (*[_DOWN] * 10, *[_UP] * 5)),
    ("Live, pages", (*[_PAGE_DOWN] * 6, *[_PAGE_UP] * 3)),
    ("Live, sort", ("o", "o", "O", "o")),
    ("Live, mark and group", (" ", " ", " ", "b", "b")),
    ("Live, filter", ("/", *"acc<90%", _NO_FILTER)),
    ("to Analysis and back", (_ANALYSIS, _LIVE, _ANALYSIS, _QUEUE, _ANALYSIS)),
    ("Analysis, pages", ("p", "p", "p", "P")),
)
"""What is pressed with 10,000 runs, one key after the other; where not the first frame answers, what does."""


def _filter(text: str, jobs: str) -> tuple[str, Sequence[str | tuple[str, str]]]:
    """A filter of the queue is typed, of which so many jobs are left at the end, and dropped."""
    kept, all_jobs = (rf"[─━] Jobs  {count} " for count in (jobs, "10,000"))
    return f"filter {text}", ("/", *text[:-1], (text[-1], kept), (_ESC, all_jobs))


FILTERS: Strokes = (
    _filter("size>=400", "5,500 of 10,000"),
    _filter("seed<50", "4,000 of 10,000"),
    _filter("draw:1", "5,000 of 10,000"),
    _filter("lr=0.01", "5,000 of 10,000"),
)
"""What is pressed with 10,000 jobs of two rates."""


def answers_to(
    strokes: Strokes, shown: Callable[[], AbstractContextManager[Terminal]], rounds: int
) -> Mapping[str, Sequence[list[tuple[float, float]]]]:
    """Milliseconds to the answer to each key, and of processor time, by what the keys do.

    The app is started anew for every round.
    """
    answers: dict[str, list[list[tuple[float, float]]]] = {what: [[] for _ in keys] for what, keys in strokes}
    for _ in range(rounds):
        with shown() as terminal:
            terminal.settle(10.0)
            watch = _Watch(terminal)
            for what, keys in strokes:
                for key, found in zip(keys, answers[what], strict=True):
                    found.append(watch.answer(*((key, "") if isinstance(key, str) else key)))
                terminal.settle(3.0)
    return answers


class _Watch:
    """What a terminal shows, read on from where it was left."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._screen = pyte.Screen(*terminal.size)
        self._stream = pyte.ByteStream(self._screen)
        self._seen = 0

    def answer(self, key: str, shows: str) -> tuple[float, float]:
        """Milliseconds from a key to the frame that shows it, by default the first, and of processor time.

        NaN where no frame does.
        """
        self._terminal.settle(0.3)
        self._moment_of("")
        began, spent_ms = time.perf_counter(), _spent_ms(self._terminal.pid)
        self._terminal.press(key)
        while math.isnan(moment := self._moment_of(shows)) and time.perf_counter() - began < _UNANSWERED_S:
            time.sleep(0.0005)
        return 1e3 * (moment - began), _spent_ms(self._terminal.pid) - spent_ms

    def _moment_of(self, shows: str) -> float:
        """When the screen first matched a pattern, of what has not been read yet; NaN if it did not."""
        found = math.nan
        for moment, data in self._terminal.chunks[self._seen :]:
            self._stream.feed(data)
            self._seen += 1
            if math.isnan(found) and re.search(shows, "\n".join(self._screen.display), re.DOTALL):
                found = moment
        return found


def _spent_ms(pid: int) -> float:
    """Processor time of all threads of a process, finer than proc_pid_stat(5) tells it."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6
