"""The line to the terminal: what it has taken, and how fast it carries by what the terminal answers.

A pseudo-terminal takes 20 kB before a write waits, ssh more, and neither says how much has arrived. So every
few hundred bytes the terminal is asked how it is, which each has answered since the VT100. Over ssh, whose
packets arrive whole, the answers of one come together.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import IO, NamedTuple

QUESTION, ANSWER = "\x1b[5n", "\x1b[0n"
_BEFORE_A_SEQUENCE = re.compile(r"(?=\x1b\[[\d;]+[Hm])")
_PIECE_BYTES = 512
_LEAST_BYTES = 32
"""What is shorter takes no time that could be told from chance."""
_TOGETHER_S = 0.005
_SLOW_BYTES_PER_S, _FAST_BYTES_PER_S = 3e3, 8e3
"""Slow: a screen of 80x24, some 5 kB, takes seconds. Fast again: it takes less than one."""
_LONG_S, _SHORT_S = 0.25, 0.05
_PIECES, _FAST_PIECES = 8, 3
_SLOW_FOR_S, _SLOW_BYTES, _FAST_BYTES = 1.0, 1000, 500
"""Of as many pieces; a line that stood still once makes one piece slow and says nothing."""
_WAITS_S = 0.25
"""A frame is drawn as soon as those before it are there in so many seconds."""
_LOST_S = 60.0
"""An answer that has not come in so long does not come."""
_BLOCKED_S = 0.5
"""A terminal that never answers is slow when a write waits for so long."""


class _Question(NamedTuple):
    asked_s: float
    size: int
    """Bytes since the one before."""
    on_idle_line: bool


class _Piece(NamedTuple):
    """What came together."""

    asked_s: float
    seconds: float
    size: int

    @property
    def is_slow(self) -> bool:
        return self.seconds > _LONG_S and self.size < _SLOW_BYTES_PER_S * self.seconds

    @property
    def is_fast(self) -> bool:
        return self.seconds < _SHORT_S or self.size > _FAST_BYTES_PER_S * self.seconds


class Link:
    """The file that is the terminal, with a count of what it has taken and what has been answered.

    Written to by one thread, told of answers by another, and looked at by a third.
    """

    def __init__(self, file: IO[str], tell: Callable[[], object] = lambda: None) -> None:
        self._file = file
        self._tell = tell
        self.is_slow = False
        self.asked = self.taken = 0
        """Characters that were handed on, and those that have gone."""
        self._unanswered: deque[_Question] = deque()
        self._asks, self._answers = True, False
        self._moved_s = 0.0
        """When an answer came, or was first waited for."""
        self._there_and_back_s = float("inf")
        """The least that an answer has taken."""
        self._pieces: deque[_Piece] = deque(maxlen=_PIECES)
        self._arrived = 0
        self._told = 0, time.monotonic()

    def fileno(self) -> int:
        return self._file.fileno()

    def write(self, text: str) -> None:
        """Write and wait until it has gone; called by a thread of Textual's."""
        began_s = time.monotonic()
        self._file.write("".join(self._with_questions(text, began_s)))
        self._file.flush()
        self.taken += len(text)
        if not self._answers and time.monotonic() - began_s > _BLOCKED_S:
            self._turn(slow=True)

    def flush(self) -> None:
        """Nothing is kept back."""

    def _with_questions(self, text: str, now_s: float) -> Iterator[str]:
        """The text with a question after every piece of it."""
        if self._unanswered and not self.awaits_answers(_LOST_S):
            self._asks = self._answers
            self._unanswered.clear()
        size, is_first = 0, self._there_and_back_s == float("inf")
        for part in _BEFORE_A_SEQUENCE.split(text):
            yield part
            size += len(part.encode())
            if size >= _PIECE_BYTES and self._asks:
                yield self._ask(now_s, size)
                size = 0
        if self._asks and (size >= _LEAST_BYTES or (is_first and not self._unanswered)):
            yield self._ask(now_s, size)
        else:
            self._arrived += size

    def _ask(self, now_s: float, size: int) -> str:
        is_idle = not self._unanswered
        if is_idle:
            self._moved_s = now_s
        self._unanswered.append(_Question(now_s, size, is_idle))
        return QUESTION

    def answered(self) -> None:
        """The terminal has shown what came before the oldest question."""
        if not self._unanswered:
            return
        question, before_s, now_s = self._unanswered.popleft(), self._moved_s, time.monotonic()
        self._answers, self._moved_s = True, now_s
        self._arrived += question.size
        if question.on_idle_line:
            self._there_and_back_s = min(self._there_and_back_s, now_s - question.asked_s)
        took_s = now_s - max(before_s, question.asked_s + self._there_and_back_s)
        if took_s < _TOGETHER_S and self._pieces and self._pieces[-1].asked_s == question.asked_s:
            last = self._pieces.pop()
            self._pieces.append(_Piece(last.asked_s, last.seconds + took_s, last.size + question.size))
        elif question.size >= _LEAST_BYTES:
            self._pieces.append(_Piece(question.asked_s, max(0.0, took_s), question.size))
        self._judge()

    def _judge(self) -> None:
        if self.is_slow:
            last = [*self._pieces][-_FAST_PIECES:]
            if (
                len(last) == _FAST_PIECES
                and all(piece.is_fast for piece in last)
                and sum(piece.size for piece in last) > _FAST_BYTES
            ):
                self._pieces.clear()
                self._turn(slow=False)
            return
        slow = [piece for piece in self._pieces if piece.is_slow]
        seconds, size = sum(piece.seconds for piece in slow), sum(piece.size for piece in slow)
        if len(slow) > 1 and seconds > _SLOW_FOR_S and size > _SLOW_BYTES:
            self._turn(slow=True)

    def _turn(self, *, slow: bool) -> None:
        if self.is_slow is not slow:
            self.is_slow = slow
            self._tell()

    @property
    def is_busy(self) -> bool:
        """Whether whatever else is drawn would only wait for long behind what has not arrived yet."""
        if self.asked > self.taken:
            return True
        if self.awaits_answers(_LOST_S):
            pieces, unanswered = [*self._pieces], [*self._unanswered]
            seconds, size = sum(piece.seconds for piece in pieces), sum(piece.size for piece in pieces)
            return seconds * sum(question.size for question in unanswered) > size * _WAITS_S
        return False

    def awaits_answers(self, within_s: float) -> bool:
        """Whether answers are to come, and the last one came within a while."""
        return bool(self._unanswered) and time.monotonic() - self._moved_s < within_s

    def bytes_per_s(self) -> float:
        """Bytes a second that have arrived since this was asked last."""
        (arrived, then_s), self._told = self._told, (self._arrived, time.monotonic())
        return (self._arrived - arrived) / max(self._told[1] - then_s, 1e-3)
