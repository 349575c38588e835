"""Text from outside is text: no character of it acts on a terminal, and no markup is read in it."""

from __future__ import annotations

import ast
import io
import sys
import unicodedata
from pathlib import Path

import pytest
from rich.segment import Segment
from textual.color import Color
from textual.widget import Widget

import tui_datasize
from tui_datasize.errors import ConfigError
from tui_datasize.render.blocks import HeadingBlock, Paragraph
from tui_datasize.render.console import PlainConsole, plain_table, styled
from tui_datasize.render.page import to_html, to_markdown
from tui_datasize.text import LONGEST_LINE, fit, visible
from tui_datasize.tui.widgets.plain import PrintableOnly, Words, plain_text, titled, visible_segments

HOSTILE = "a\x1b]0;owned\x07\x9b31m[/nope][bold]\u202e\u200b\ud83d\x7f:bomb:"
ACTING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def acting(text: str) -> set[str]:
    """Characters that do something to a terminal, or to the characters beside them."""
    return {c for c in set(text) if unicodedata.category(c) in ACTING} - {"\n"}


def test_every_character_that_acts_is_written_out_and_every_other_stays():
    # Every character of the two planes with controls, and of the others one in eleven.
    codes = (*range(0x11000), *range(0x11000, 0xE0000, 11), *range(0xE0000, 0xE1000), sys.maxunicode)
    shown = {c: visible(c) for c in map(chr, codes)}
    assert not acting("".join(shown.values()))
    changed = {unicodedata.category(c) for c in shown if shown[c] != c}
    assert changed == {*ACTING, "Cn", "Co"}
    assert visible("Größe é 日本 \u00a0½") == "Größe é 日本 \u00a0½"


def test_a_line_without_end_is_cut_and_the_rest_is_counted():
    shown = visible("x" * 3_000_000 + "\nnext", lines=True).split("\n")
    assert shown[0].endswith(f"… ({3_000_000 - LONGEST_LINE:,} characters more)")
    assert shown[1] == "next"


def test_a_console_shows_what_it_is_given():
    out = io.StringIO()
    console = PlainConsole(file=out, force_terminal=False, width=200)
    table = plain_table(HOSTILE)
    table.add_row(HOSTILE)
    table.title = HOSTILE
    console.print(HOSTILE, table, styled((HOSTILE, "bold"), HOSTILE), style="bold")
    assert not acting(out.getvalue())
    assert out.getvalue().count("[/nope][bold]") == 6
    assert ":bomb:" in out.getvalue()


def content_after(words: Words) -> str:
    """What is said once it is said anew."""
    words.update(HOSTILE)
    return str(words.content)


def title_and_hint(box: Widget) -> str:
    return "".join(str(one and one.plain) for one in (box._border_title, box._border_subtitle))


@pytest.mark.parametrize(
    "shown",
    [
        lambda: fit(HOSTILE, 300),
        lambda: str(Words(HOSTILE).content),
        lambda: content_after(Words()),
        lambda: plain_text(HOSTILE).plain,
        lambda: title_and_hint(titled(Widget(), HOSTILE)),
        lambda: title_and_hint(titled(Widget(), "", HOSTILE)),
        lambda: "".join(one.text for one in visible_segments([Segment("a"), Segment(HOSTILE)])),
        lambda: styled(HOSTILE).plain,
        lambda: styled((HOSTILE, "bold")).plain,
    ],
)
def test_every_door_writes_out_what_acts_and_reads_no_markup(shown):
    assert not acting(shown())
    assert "[/nope][bold]\\u202e" in shown()


def test_the_last_door_leaves_out_what_nobody_wrote_out_and_no_column_moves():
    passed = PrintableOnly().apply([Segment(HOSTILE), Segment("b")], Color(0, 0, 0))
    assert not acting("".join(one.text for one in passed))
    assert [one.cell_length for one in passed] == [Segment(HOSTILE).cell_length, 1]


def test_an_error_is_one_line():
    assert not acting(ConfigError(HOSTILE, where=HOSTILE, fix=f"{HOSTILE}\n").line)


@pytest.mark.parametrize("page", [lambda blocks: to_html(HOSTILE, blocks), to_markdown])
def test_a_page_can_be_written_and_read(page):
    assert not acting(page([HeadingBlock(HOSTILE), Paragraph(HOSTILE)]).encode().decode())


DOORS = {"Console": "render/console.py", "Static": "tui/widgets/plain.py", "Label": "", "from_markup": ""}
"""What takes strings for markup, and the one file that may use it."""
SET_ONCE = {"border_title", "border_subtitle"}


def _slips(file: Path) -> list[str]:
    name = str(file.relative_to(Path(tui_datasize.__file__).parent))
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        used = ""
        match node:
            case ast.Call(func=ast.Name(id=used) | ast.Attribute(attr=used)) if used in DOORS:
                found += [used] if DOORS[used] != name else []
            case ast.ClassDef(bases=[ast.Name(id=used)]) if used in DOORS:
                found += [used] if DOORS[used] != name else []
            case ast.Attribute(attr=used, ctx=ast.Store()) if used in SET_ONCE:
                found += [used] if name != "tui/widgets/plain.py" else []
            case ast.Call(func=ast.Name(id="TextColumn"), keywords=keywords):
                found += [] if any(keyword.arg == "markup" for keyword in keywords) else ["TextColumn"]
            case ast.Call(func=ast.Attribute(attr="notify")):
                found.append("notify")
    return [f"{name}: {one}" for one in found]


def test_markup_is_read_nowhere():
    package = Path(tui_datasize.__file__).parent
    slips = [
        slip
        for room in ("cli", "tui", "render")
        for f in sorted((package / room).rglob("*.py"))
        for slip in _slips(f)
    ]
    assert slips == []
