"""A program in a pseudo-terminal: what it draws is kept with its time, and read as a screen by pyte."""

from __future__ import annotations

import fcntl
import math
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import pyte

PATIENCE_S = 60.0
_ANSWERS = {b"\x1b[5n": "\x1b[0n", b"\x1b[6n": "\x1b[1;1R", b"\x1b[c": "\x1b[?62;22c"}
_QUESTION = re.compile(b"|".join(map(re.escape, _ANSWERS)))


class Terminal:
    """One program; a thread takes what it draws."""

    def __init__(
        self, command: Sequence[str], size: tuple[int, int], environment: Mapping[str, str] | None = None
    ) -> None:
        self.size = size
        self.bytes_per_s = math.inf
        """What the link to the terminal carries."""
        self.chunks: list[tuple[float, bytes]] = []
        self._fed, self._now = 0, self._blank()
        self._leader, follower = pty.openpty()
        self.resize(size)
        mine = {k: v for k, v in os.environ.items() if not k.startswith(("TMUX", "NO_COLOR"))}
        mine |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"} | dict(environment or {})
        self.began = time.perf_counter()
        self._program = subprocess.Popen(
            command, stdin=follower, stdout=follower, stderr=follower, start_new_session=True, env=mine
        )
        os.close(follower)
        self._ended = threading.Event()
        self._reader = threading.Thread(target=self._take, daemon=True)
        self._reader.start()
        self.pid = self._program.pid

    def _take(self) -> None:
        unread = b""
        try:
            while data := self._read():
                self.chunks.append((time.perf_counter(), data))
                unread += data
                end = 0
                for question in _QUESTION.finditer(unread):
                    self.press(_ANSWERS[question[0]])
                    end = question.end()
                unread = unread[end:][-3:]
        except OSError:
            # The program has ended.
            return

    def _read(self) -> bytes:
        while not self._ended.is_set():
            if select.select([self._leader], [], [], 0.1)[0]:
                at_once = int(min(65536, 1 + self.bytes_per_s / 50))
                data = os.read(self._leader, at_once)
                self._ended.wait(len(data) / self.bytes_per_s)
                return data
        return b""

    def resize(self, size: tuple[int, int]) -> None:
        """Give the window so many columns and rows."""
        fcntl.ioctl(self._leader, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))

    def press(self, keys: str) -> None:
        """Type `keys`, as bytes of a terminal."""
        os.write(self._leader, keys.encode())

    @property
    def drawn(self) -> int:
        """Bytes so far."""
        return sum(len(data) for _, data in self.chunks)

    @property
    def text(self) -> str:
        """What stands on the screen now."""
        # What was drawn before stands there already: to draw all of it again takes long.
        self._fed, count = len(self.chunks), self._fed
        self._feed(self._now, b"".join(data for _, data in self.chunks[count : self._fed]))
        return "\n".join(self._now[0].display)

    def row(self, number: int) -> list[pyte.screens.Char]:
        """The cells of a row as they look now."""
        assert self.text
        return [self._now[0].buffer[number][column] for column in range(self.size[0])]

    def first(self, shows: str) -> tuple[float, int]:
        """Seconds until the screen first matched a pattern, and the bytes until then; NaN if it never did."""
        count = 0
        for (moment, data), screen in zip(
            self.chunks, self._screens(*(d for _, d in self.chunks)), strict=False
        ):
            count += len(data)
            if re.search(shows, screen):
                return moment - self.began, count
        return math.nan, count

    def _screens(self, *pieces: bytes) -> Iterator[str]:
        drawn = self._blank()
        for piece in pieces:
            self._feed(drawn, piece)
            yield "\n".join(drawn[0].display)

    def _blank(self) -> tuple[pyte.Screen, pyte.ByteStream]:
        screen = pyte.Screen(*self.size)
        return screen, pyte.ByteStream(screen)

    def _feed(self, drawn: tuple[pyte.Screen, pyte.ByteStream], piece: bytes) -> None:
        # pyte takes the `u` of this notice of Kitty's keyboard for text.
        drawn[1].feed(re.sub(rb"\x1b\[[<>]\d*u", b"", piece))

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.text
            time.sleep(0.02)

    def shows(self, *texts: str) -> None:
        """Wait until all texts stand on the screen."""
        self.until(lambda: all(text in self.text for text in texts))

    def draws(self, keys: str, text: str) -> None:
        """Type keys, and wait until a text is drawn that may have stood there before."""
        count = len(self.chunks)
        self.press(keys)
        self.until(lambda: text.encode() in b"".join(data for _, data in self.chunks[count:]))

    def settle(self, quiet_s: float) -> None:
        """Wait until nothing has been drawn for a while, from the first byte on."""
        self.until(lambda: self.chunks and time.perf_counter() - self.chunks[-1][0] > quiet_s)

    def exit_status(self) -> int:
        """Wait for the end."""
        return self._program.wait(PATIENCE_S)

    def hang_up(self) -> None:
        """Take the terminal away."""
        if self._leader >= 0:
            # A reader keeps it open.
            self._ended.set()
            self._reader.join()
            os.close(self._leader)
            self._leader = -1

    def close(self) -> None:
        """End the program where it still runs, and what it has started in its session."""
        self._program.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._program.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._program.wait()
        self.hang_up()


@contextmanager
def opened(
    command: Sequence[str], size: tuple[int, int], environment: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    """A terminal that is closed at the end."""
    terminal = Terminal(command, size, environment)
    try:
        yield terminal
    finally:
        terminal.close()
