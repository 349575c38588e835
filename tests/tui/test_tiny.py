"""In 40 columns and 10 lines a tab shows one part at a time, and every part in turn."""

from __future__ import annotations

from tests.tui.stage import NARROW, Show, Stage
from tests.tui.test_every_key import every_key

TINY = (40, 10)


async def test_a_tiny_terminal_shows_every_part_of_every_tab_in_turn(busy: Stage):
    async with busy.open(TINY) as show:
        await show.shows("◐ 2 ○ 4 ‖ 1 ● 6", "Experiments", "6/16", "tab more")
        await turn(show, "tab", "·missing", "━ Cells")
        await turn(show, "tab", "running", "━ Jobs  14")
        await turn(show, "tab", "last line", "─ Log")
        await turn(show, "shift+tab", "running", "━ Jobs  14")
        await turn(show, "2", "epoch", "━ Runs")
        with every_key(show, "40x10") as keyboard:
            await keyboard.does("tab", lambda: "─ Accuracy" in show.text)
            await keyboard.does("shift+tab", lambda: "━ Runs" in show.text)
        await turn(show, "3", "images", "─ Answer")
        await turn(show, "tab", "train size, images", "─ Learning curve")
        await turn(show, "o", "Overlap", "─ Overlap")
        await turn(show, "tab", "classes", "─ Per class")
        await show.pilot.resize_terminal(*NARROW)
        await turn(show, "1", "─ Log", "─ Jobs")
        await show.press("tab", "tab")
        assert all(f" {title}" in show.text for title in ("Experiments", "Cells", "Jobs", "Log"))
        await show.pilot.resize_terminal(*TINY)
        await show.shows("tab more")
        assert sum(line.startswith(("─ ", "━ ")) for line in show.lines) == 1


async def test_a_tiny_terminal_says_why_there_is_no_answer(empty: Stage):
    async with empty.open(TINY) as show:
        await turn(show, "3", "─ Answer", "No run of this experiment has")
        await turn(show, "tab", "─ Learning curve", "No run of this experiment has")


async def turn(show: Show, key: str, *words: str) -> None:
    """Press a key; what it shows has the words, and fills no more lines than there are."""
    await show.press(key)
    await show.shows(*words)
