"""Charts that leave the screen: as pictures, as text, to the clipboard."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET
from datetime import datetime
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from rich.text import Text

from tests.tui.stage import NARROW, WIDE, Stage
from tui_datasize.tui.charts.lines import Series, ShadedBand, line_chart
from tui_datasize.tui.charts.picture import png_picture, svg_picture
from tui_datasize.tui.charts.scale import Scale
from tui_datasize.tui.exports import copy_text, export_chart
from tui_datasize.tui.widgets.chart_view import ChartView
from tui_datasize.tui.widgets.palette import ON_PAPER

NOW = datetime(2026, 1, 2, 3, 4, 5)
SVG = "{http://www.w3.org/2000/svg}"


def chart() -> list[Text]:
    x = [0.0, 50.0, 100.0]
    drawn = line_chart(
        [
            Series("größe <1>", x, [1.0, 2.0, 4.0], ON_PAPER.series[0], mark="◆"),
            Series("forecast", x, [4.0, 4.0, 1.0], ON_PAPER.series[1], mark="○", dash="dashed"),
        ],
        Scale("update"),
        Scale("loss"),
        width=70,
        height=16,
        palette=ON_PAPER,
        bands=[ShadedBand(x, [0.5, 1.0, 1.0], [1.0, 1.5, 2.0], ON_PAPER.faint)],
    )
    return list(drawn.text.split("\n", allow_blank=True))


def test_an_svg_has_every_mark_as_a_shape_and_every_word_as_text():
    root = ET.fromstring(svg_picture(chart()))
    texts = [one.text or "" for one in root.iter(f"{SVG}text")]
    assert {"loss", "update", "größe <1>", "forecast"} <= set(texts)
    assert not any(character in text for text in texts for character in "◆○│─░⠉")
    colours = [one.get("fill") for one in root.iter(f"{SVG}polygon")]
    # Three points and the sign before the name.
    assert colours.count(ON_PAPER.series[0]) == 4
    rings = [one for one in root.iter(f"{SVG}circle") if one.get("stroke") == ON_PAPER.series[1]]
    assert len(rings) == 4
    assert all("http" not in value for one in root.iter() for value in one.attrib.values())


@pytest.mark.parametrize("has_font", [True, False])
def test_a_png_shows_lines_and_words_with_any_fonts(monkeypatch: pytest.MonkeyPatch, has_font: bool):
    if not has_font:
        monkeypatch.setattr("tui_datasize.tui.charts.picture._SYSTEM_FONT", "there-is-none.ttf")
    lines = chart()
    image = Image.open(BytesIO(png_picture(lines))).convert("RGB")
    assert image.size == (2 * (70 * 10 + 32), 2 * (16 * 20 + 32))
    for colour in ON_PAPER.series[:2]:
        wanted = tuple(bytes.fromhex(colour[1:]))
        assert sum(count for count, found in image.getcolors(1 << 24) if found == wanted) > 500
    # The word at the left of the first row.
    row = image.crop((32, 32, 32 + 4 * 20, 32 + 40)).convert("L")
    assert sum(row.histogram()[:128]) > 100


@pytest.mark.parametrize("form", ["png", "svg", "txt"])
def test_a_chart_takes_the_place_of_no_other(tmp_path: Path, form: str):
    lines = chart()
    said = [export_chart("Loss · 2 runs / a", lines, form, tmp_path, NOW) for _ in range(2)]
    files = [tmp_path / f"loss-2-runs-a-20260102-030405{end}.{form}" for end in ("", "-2")]
    assert said == [f"wrote the chart to {file}" for file in files]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_outside_of_tmux_the_terminal_is_asked():
    sent: list[str] = []
    assert "do not say" in copy_text("größe", sent.append, {})
    assert base64.b64decode(sent[0].removeprefix("\x1b]52;c;").removesuffix("\a")).decode() == "größe"
    copy_text("x" * 2000, sent.append, {"STY": "1.pts"})
    pieces = sent[1].removesuffix("\x1b\\").split("\x1b\\")
    assert len(pieces) > 4
    whole = "".join(piece.removeprefix("\x1bP") for piece in pieces)
    assert base64.b64decode(whole[len("\x1b]52;c;") : -1]) == b"x" * 2000


def test_tmux_takes_the_text_by_its_own_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program, sent = tmp_path / "tmux", list[str]()
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\ncat > {tmp_path}/text\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert "copied to tmux" in copy_text("größe", sent.append, {"TMUX": "/tmp/tmux-0"})
    assert (tmp_path / "text").read_text() == "größe"
    assert (tmp_path / "arguments").read_text() == "load-buffer -w -\n"
    program.write_text("#!/bin/sh\nexit 1\n")
    assert "do not say" in copy_text("größe", sent.append, {"TMUX": "/tmp/tmux-0"})
    assert sent[0].startswith("\x1bPtmux;\x1b\x1b]52;c;")


async def test_a_key_saves_the_chart_that_is_examined(busy: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TMUX", raising=False)
    async with busy.open(WIDE) as show:
        await show.press("2")
        await show.until(lambda: sum(chart.can_be_smoothed for chart in show.app.query(ChartView)) == 2)
        await show.press("+", "full_stop", "full_stop")
        examined = next(chart for chart in show.app.query(ChartView) if chart.has_focus)
        await show.press("S")
        await show.shows("Save or copy the chart")
        await show.press("j", "j", "enter")
        await show.shows("wrote the chart to")
        (file,) = busy.project.root.glob("*.txt")
        text = file.read_text()
        assert text.startswith(examined.caption)
        assert "smoothed" in show.text
        assert "smoothed" not in text
        await show.press("S", "enter")
        await show.until(lambda: list(busy.project.root.glob("*.png")))
        await show.press("S", "escape", "S", "j", "j", "j", "enter")
        await show.shows("sent to the terminal's clipboard")
        await show.pilot.resize_terminal(*NARROW)
        await show.press("3", "S", "j", "enter")
        await show.until(lambda: list(busy.project.root.glob("learning-curve*.svg")))
