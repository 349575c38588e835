"""What reaches the terminal: the same screen, by fewer bytes."""

from __future__ import annotations

import pyte
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tui_datasize.tui.screen_diff import ScreenDiff

COLUMNS, ROWS = 12, 3
STYLES = (
    "",
    "31",
    "1;38;2;1;2;3;48;2;4;5;6",
    "38;2;9;9;9;48;2;4;5;6",
    "7;38;5;20",
    "4;92;104",
    "48;2;4;5;6",
)
LETTERS = ("a", "b", " ", " ", "⣀", "日", "e\u0301")
Row = list[tuple[str, str]]
"""Of cells: style and character."""

rows = st.lists(
    st.tuples(st.sampled_from(STYLES[:4]), st.sampled_from(LETTERS)), min_size=1, max_size=COLUMNS
)
changes = st.lists(
    st.tuples(
        st.integers(1, ROWS), st.integers(0, COLUMNS - 1), st.sampled_from(STYLES), st.sampled_from("ab ⣀")
    ),
    max_size=4,
)


def sequence(screen: list[Row]) -> str:
    """A frame as Textual writes it: whatever fits into a row."""
    written = []
    for number, row in enumerate(screen, 1):
        written.append(f"\x1b[{number};1H")
        column = 0
        for style, character in row:
            column += cell_len(character)
            if column <= COLUMNS:
                written.append(f"\x1b[{style}m{character}\x1b[0m" if style else character)
    return "".join(written) + "\x1b[1;1H"


class Window:
    """What a terminal shows."""

    def __init__(self) -> None:
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.Stream(self.screen)
        # Lines do not wrap, as in any terminal that Textual has opened.
        self._stream.feed("\x1b[?7l")

    def take(self, data: str) -> None:
        self._stream.feed(data)

    def cells(self) -> list[object]:
        """Characters with their looks; of a blank only what shows on one."""
        return [
            cell._replace(fg="", bold=False)
            if cell.data == " " and not (cell.reverse or cell.underscore)
            else cell
            for row in range(ROWS)
            for cell in (self.screen.buffer[row][column] for column in range(COLUMNS))
        ]


@given(st.lists(rows, min_size=ROWS, max_size=ROWS), st.lists(changes, max_size=5))
def test_the_screen_is_the_same_after_every_frame(
    screen: list[Row], later: list[list[tuple[int, int, str, str]]]
):
    diff, plain, spared = ScreenDiff(), Window(), Window()
    for made in ([], *later):
        for row, place, style, character in made:
            narrow = [cell for cell in screen[row - 1] if cell_len(cell[1]) == 1]
            # The row stays as long as it was: what Textual leaves out of a frame has not changed.
            if len(narrow) == len(screen[row - 1]):
                screen[row - 1][place % len(narrow)] = (style, character)
        data = sequence(screen)
        plain.take(data)
        spared.take(diff.shorten(data))
        assert spared.cells() == plain.cells()


def test_what_stands_there_already_costs_nothing():
    diff = ScreenDiff()
    frame = "\x1b[1;1H\x1b[38;2;1;2;3mloss 0.5\x1b[0m\x1b[1;1H"
    diff.shorten(frame)
    assert diff.shorten(frame) == ""
    assert diff.shorten(frame.replace("0.5", "0.4")) == "\x1b[1;8H\x1b[38;2;1;2;3m4\x1b[1;1H\x1b[0m"
    diff.forget()
    assert "loss" in diff.shorten(frame)


def test_modes_and_notices_pass_and_a_new_screen_is_unknown():
    diff = ScreenDiff()
    frame = "\x1b[2;1Hword"
    diff.shorten(frame)
    assert diff.shorten("\x1b[?25l\x1b]9;run failed\x07\x07") == "\x1b[?25l\x1b]9;run failed\x07\x07"
    assert diff.shorten(frame) == ""
    for unknown in ("\x1b[?1049h", "\x1b[2J", "\x1b]8;;http://x\x1b\\here\x1b]8;;\x1b\\", "\x1b[3A"):
        assert diff.shorten(unknown).endswith(unknown)
        assert "word" in diff.shorten(frame)


def test_what_is_passed_on_whole_leaves_a_plain_pen():
    diff = ScreenDiff()
    diff.shorten("\x1b[1;1H\x1b[31mred\x1b[0m\x1b[2J")
    assert diff.shorten("\x1b[1;1H\x1b[31mred\x1b[0m") == "\x1b[1;1H\x1b[31mred\x1b[0m"
