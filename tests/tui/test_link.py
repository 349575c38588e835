"""A line of any speed, on a clock of its own: what the app takes for slow, and when a frame waits."""

from __future__ import annotations

import io
import itertools
import re
from collections import deque

import pytest

from tui_datasize.tui.link import QUESTION, Link

SMALL = "\x1b[3;5H\x1b[38;2;1;2;3m0.93\x1b[0m loss 0.41 epoch 12"
LARGE = "".join(f"\x1b[{row};1H\x1b[38;2;9;9;{row}m{'⣀' * 40} words and {row}\x1b[0m" for row in range(1, 25))
FRAMES = (LARGE, SMALL, SMALL, LARGE, SMALL, SMALL, SMALL, LARGE)


class Line(io.StringIO):
    """Carries so many bytes a second, and brings an answer back after a while; time passes in it alone."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        bytes_per_s: float,
        there_and_back_s: float,
        in_packets: bool = False,
        answers: bool = True,
    ) -> None:
        super().__init__()
        self._in_packets = in_packets
        self.now_s, self.bytes_per_s, self.there_and_back_s = 100.0, bytes_per_s, there_and_back_s
        monkeypatch.setattr("tui_datasize.tui.link.time.monotonic", lambda: self.now_s)
        self._free_s = 0.0
        self._frames = itertools.cycle(FRAMES)
        self._answers: deque[float] = deque()
        self.turned: list[float] = []
        self.answers = answers
        self.link = Link(self, lambda: self.turned.append(self.now_s))
        self.link.write("\x1b[?1049h")
        self.pass_time(1.0)

    def write(self, text: str) -> int:
        asked = 0
        for before, question in re.findall(f"(.*?)({re.escape(QUESTION)}|$)", text, re.DOTALL):
            self._free_s = (
                max(self._free_s, self.now_s) + len((before + question).encode()) / self.bytes_per_s
            )
            if question and self.answers:
                self._answers.append(self._free_s + self.there_and_back_s)
                asked += 1
        for place in range(-asked, 0) if self._in_packets else ():
            self._answers[place] = self._free_s + self.there_and_back_s
        return super().write(text)

    def stand_still(self, seconds: float) -> None:
        """Nothing arrives for a while; afterwards what was sent does at once."""
        self._free_s = self.now_s + seconds
        self._answers = deque(max(one, self._free_s) for one in self._answers)

    def pass_time(self, seconds: float) -> None:
        """Let answers come, in their time."""
        end_s = self.now_s + seconds
        while self._answers and self._answers[0] <= end_s:
            self.now_s = self._answers.popleft()
            self.link.answered()
        self.now_s = end_s

    def settle(self) -> None:
        """Wait until everything has arrived."""
        while self._answers:
            self.pass_time(0.1)

    def draw(self, count: int, every_s: float = 0.2) -> None:
        """Draw frames as soon as the link is ready for them."""
        for frame in itertools.islice(self._frames, count):
            while self.link.is_busy:
                self.pass_time(0.005)
            self.link.write(frame)
            self.pass_time(every_s)


@pytest.mark.parametrize("in_packets", [False, True])
@pytest.mark.parametrize("there_and_back_s", [0.001, 0.8])
@pytest.mark.parametrize("bytes_per_s", [10_000, 1e7])
def test_a_link_that_carries_a_screen_in_a_second_is_not_slow_however_far(
    monkeypatch: pytest.MonkeyPatch, bytes_per_s: float, there_and_back_s: float, in_packets: bool
):
    line = Line(monkeypatch, bytes_per_s, there_and_back_s, in_packets)
    line.draw(200)
    assert not line.link.is_slow
    assert not line.turned


@pytest.mark.parametrize("in_packets", [False, True])
@pytest.mark.parametrize("there_and_back_s", [0.001, 0.8])
@pytest.mark.parametrize("bytes_per_s", [400, 1_500])
def test_a_slow_link_is_known_before_the_first_frame_is_there_but_in_packets_and_a_fast_one_again_soon(
    monkeypatch: pytest.MonkeyPatch, bytes_per_s: float, there_and_back_s: float, in_packets: bool
):
    line = Line(monkeypatch, bytes_per_s, there_and_back_s, in_packets)
    began_s, screen_s = line.now_s, len(LARGE.encode()) / bytes_per_s
    while not line.link.is_slow:
        line.draw(1)
    # Of a single packet nobody knows whether it was late for other reasons.
    within_s = 2.2 * screen_s if in_packets else 4.0
    assert line.turned[0] - began_s < within_s + 2 * there_and_back_s
    line.settle()
    line.link.bytes_per_s()
    line.draw(20)
    assert line.link.is_slow
    assert bytes_per_s / 2 < line.link.bytes_per_s() < 1.1 * bytes_per_s
    line.settle()
    line.bytes_per_s = 1e6
    line.draw(8)
    assert not line.link.is_slow
    assert len(line.turned) == 2


def test_a_line_that_stands_still_for_a_moment_is_not_slow(monkeypatch: pytest.MonkeyPatch):
    line = Line(monkeypatch, 1e6, 0.05)
    line.draw(10)
    for _ in range(5):
        line.link.write(LARGE)
        line.stand_still(3.0)
        line.pass_time(4.0)
        line.draw(10)
    assert not line.turned


def test_a_frame_waits_for_what_is_under_way_but_not_for_answers_that_are_lost(
    monkeypatch: pytest.MonkeyPatch,
):
    line = Line(monkeypatch, 1_500, 0.01)
    line.draw(3)
    line.link.write(SMALL * 20)
    assert line.link.is_busy
    line.pass_time(5.0)
    assert not line.link.is_busy
    line.answers = False
    line.link.write(LARGE)
    line.pass_time(5.0)
    assert line.link.is_busy
    line.pass_time(56.0)
    assert not line.link.is_busy
    line.answers = True
    line.draw(1)
    assert line.link.awaits_answers(2.0)


def test_a_terminal_that_never_answers_is_asked_no_more_and_is_slow_when_a_write_waits(
    monkeypatch: pytest.MonkeyPatch,
):
    line = Line(monkeypatch, 1e6, 0.01, answers=False)
    line.draw(400)
    asked = line.getvalue().count(QUESTION)
    assert asked
    line.draw(100)
    assert line.getvalue().count(QUESTION) == asked
    assert not line.turned
    monkeypatch.setattr(line, "flush", lambda: line.pass_time(0.6))
    line.link.write(SMALL)
    assert line.link.is_slow


def test_what_is_drawn_stays_the_same_between_questions(monkeypatch: pytest.MonkeyPatch):
    line = Line(monkeypatch, 1e6, 0.01)
    line.link.asked = len(LARGE)
    assert line.link.is_busy
    line.link.write(LARGE)
    assert not line.link.is_busy
    written = line.getvalue().partition(QUESTION)[2]
    assert written.replace(QUESTION, "") == LARGE
    assert 5 < written.count(QUESTION) < 12
    assert all(not part or part.startswith("\x1b[") for part in written.split(QUESTION))
