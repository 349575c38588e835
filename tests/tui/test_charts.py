"""Charts as text."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.color import Color, ColorSystem
from rich.text import Text
from textual.app import App

from tui_datasize.answers.answer import Axis, Bar, Chart, Line, Map
from tui_datasize.tui.charts.bars import class_bars, ranked_bars
from tui_datasize.tui.charts.cells import Cells
from tui_datasize.tui.charts.figures import draw_figure
from tui_datasize.tui.charts.heat_map import legible_digits, side_by_side, surface_chart
from tui_datasize.tui.charts.lines import Drawing, Series, ShadedBand, line_chart
from tui_datasize.tui.charts.scale import Scale
from tui_datasize.tui.charts.window import WHOLE, ChartWindow, moved, panned, with_log, zoomed
from tui_datasize.tui.widgets.palette import _16_ON_DARK, THEME, Palette, palette_of

PALETTE = Palette(
    foreground="#d3d9e0",
    muted="#7c8894",
    faint="#3a424c",
    cursor="#25435a",
    cursor_passive="#1d242c",
    primary="#56b4e9",
    accent="#e69f00",
    success="#2fbf94",
    error="#f07b46",
    series=("#56b4e9", "#e69f00", "#2fbf94"),
)
UPDATE = Scale("update", start=0, room=0.0)
LOSS = Scale("loss", floor=0)
SIZE = Scale("train size", log=True, room=0.03)


def test_of_ten_thousand_points_those_are_drawn_that_stand_apart(monkeypatch: pytest.MonkeyPatch):
    put, calls = Cells.put, []
    monkeypatch.setattr(Cells, "put", lambda cells, *point: calls.append(point) or put(cells, *point))
    sizes = [40.0 + 40 * (place % 20) for place in range(10_000)]
    points = Series("runs", sizes, [(place % 37) / 37 for place in range(10_000)], "#ff0000", joined=False)
    drawn = chart(points).plain
    assert len(calls) <= 20 * 37
    monkeypatch.setattr("tui_datasize.tui.charts.lines._MANY", 100_000)
    assert chart(points).plain == drawn


def chart(*series: Series, width: int = 60, height: int = 14, **options: object) -> Text:
    x_scale = options.pop("x_scale", UPDATE)
    y_scale = options.pop("y_scale", LOSS)
    return line_chart(
        series,
        x_scale,
        y_scale,
        width=width,
        height=height,
        palette=PALETTE,
        **options,  # type: ignore[arg-type]
    ).text


def lines(text: Text) -> list[str]:
    return text.plain.split("\n")


def has_braille(text: Text) -> bool:
    return any("\u2800" < char <= "\u28ff" for char in text.plain)


def line(label: str, x: list[float], y: list[float], **options: object) -> Series:
    return Series(label, x, y, PALETTE.primary, **options)  # type: ignore[arg-type]


def test_a_chart_fills_its_size_and_names_its_axes():
    drawn = lines(chart(line("test", [0, 100, 200], [2.0, 1.0, 0.5], mark="●")))
    assert len(drawn) == 14
    assert max(map(len, drawn)) <= 60
    assert drawn[0].strip() == "loss"
    assert drawn[-1].strip() == "update"
    assert drawn[-2].split() == ["0", "50", "100", "150", "200"]
    assert sum(text.count("●") for text in drawn) == 3 + 1
    narrow = lines(chart(line("test", [0, 100, 200], [2.0, 1.0, 0.5], mark="●"), width=26))
    assert narrow[0].endswith("─●─ test")


def test_the_name_of_a_line_stands_in_the_row_of_its_end():
    upper, lower = line("upper", [0, 100], [0, 4], mark="●"), line("lower", [0, 100], [4, 0], mark="◆")
    drawn = lines(chart(upper, lower))
    assert [text.split("│")[-1].split("┤")[-1].split()[-2:] for text in drawn if "er" in text] == [
        ["●", "upper"],
        ["◆", "lower"],
    ]
    named = {text.split()[-1]: row for row, text in enumerate(drawn) if text.endswith("er")}
    assert "●" in drawn[named["upper"]][:-8]
    assert "◆" in drawn[named["lower"]][:-8]


def test_names_of_lines_that_end_together_stand_below_each_other():
    together = [line(f"run {place}", [0, 1], [0, 1 + place / 1000], mark="●") for place in range(5)]
    drawn = lines(chart(*together))
    rows = {text.split()[-1]: row for row, text in enumerate(drawn) if "run" in text}
    assert [rows[name] for name in "43210"] == list(range(min(rows.values()), min(rows.values()) + 5))


def test_marks_and_ticks_stand_on_the_line():
    x = [float(place) for place in range(0, 101, 25)]
    for height in (10, 14, 21):
        plain, marked = (lines(chart(line("", x, x, mark=mark), height=height)) for mark in ("", "●"))
        for bare, text in zip(plain, marked, strict=True):
            for column, character in enumerate(text):
                assert character != "●" or "\u2800" < bare[column] <= "\u28ff"
    level = lines(chart(line("", [0, 1], [2, 2]), line("", [0, 1], [0, 4])))
    row = next(text for text in level if text.strip().startswith("2") and "┤" in text)
    assert sum("\u2800" < character <= "\u28ff" for character in row) > 40


def test_a_line_without_a_value_has_a_gap_there():
    whole = lines(chart(line("", [0, 1, 2, 3], [1, 1, 1, 1])))
    broken = lines(chart(line("", [0, 1, math.nan, 2, 3], [1, 1, math.nan, 1, 1])))
    count = [sum("\u2800" < c <= "\u28ff" for c in "".join(text)) for text in (whole, broken)]
    assert count[1] == pytest.approx(count[0] * 2 / 3, abs=2)


def test_dashes_tell_lines_apart_without_colour():
    dots = []
    for dash in ("solid", "dashed", "dotted"):
        drawn = chart(line("a", [0, 1], [0, 1], dash=dash)).plain
        dots.append(sum(bin(ord(c) - 0x2800).count("1") for c in drawn if "\u2800" < c <= "\u28ff"))
    assert dots[0] > 1.3 * dots[1] > 1.3 * dots[2] > 0


CURVE = line("test", [10, 20, 30, 40], [4.0, 3.0, 2.0, 1.0], mark="◆")
RUNS = line("run", [10, 10, 20], [1.0, 2.0, 3.0], joined=False)


def drawing(window: ChartWindow, **options: object) -> Drawing:
    return line_chart(
        [CURVE, RUNS], UPDATE, LOSS, width=70, height=16, palette=PALETTE, window=window, **options
    )


def test_a_cursor_reads_every_series_off():
    drawn = lines(drawing(ChartWindow(cursor=10.0)).text)
    assert len(drawn) == 16
    assert drawn[-1] == "update 10  ● run 1 to 2 (2)  ◆ test 4"
    assert sum("│" in text[5:] for text in drawn) > 6
    assert lines(drawing(ChartWindow(cursor=25.0)).text)[-1] == "update 25  ◆ test 2.5"


def test_the_cursor_goes_from_point_to_point_and_stays_on_the_chart():
    extent = drawing(WHOLE).extent
    assert extent.stops == [10, 20, 30, 40]
    last = moved(WHOLE, extent, 0)
    assert last.cursor == 40
    assert moved(last, extent, -1).cursor == 30
    assert moved(last, extent, 1).cursor == 40
    assert moved(last, extent, -10).cursor == 10
    between = ChartWindow(cursor=25.0)
    assert [moved(between, extent, step).cursor for step in (-1, 1)] == [20, 30]


def test_a_part_of_the_axes_fills_the_chart():
    first = drawing(ChartWindow(cursor=20.0))
    closer = zoomed(ChartWindow(cursor=20.0), first.extent, x=0.25)
    assert closer.x[0] < 20 < closer.x[1]
    assert closer.x[1] - closer.x[0] == pytest.approx((first.extent.x[1] - first.extent.x[0]) / 4)
    drawn = drawing(closer)
    assert drawn.extent.stops == [20]
    assert len(lines(drawn.text)) == 16
    assert first.extent.height == pytest.approx(3.0)
    higher = zoomed(ChartWindow(cursor=20.0), first.extent, y=0.25).y
    low, high = first.extent.y
    assert (3.0 - higher[0]) / (higher[1] - higher[0]) == pytest.approx((3.0 - low) / (high - low))
    beyond = panned(closer, drawn.extent, x=2.0)
    assert "test" not in drawing(beyond).text.plain.split("\n")[0]
    for _ in range(60):
        closer = zoomed(closer, drawing(closer).extent, x=0.25, y=0.25)
    assert len(lines(drawing(closer).text)) == 16


def test_the_other_kind_of_axis_is_one_key_away():
    extent = drawing(WHOLE).extent
    for axis, words in (("y", "loss (log)"), ("x", "update (log)")):
        drawn = drawing(with_log(WHOLE, extent, axis))
        assert words in drawn.text.plain
        assert words not in drawing(with_log(with_log(WHOLE, extent, axis), drawn.extent, axis)).text.plain


def test_training_curves_alone_are_smoothed_and_the_logged_values_stay_behind():
    x = [float(place) for place in range(60)]
    rough = line("train", x, [place % 2 for place in range(60)], is_training=True)
    window = ChartWindow(smoothing=0.9, cursor=59.0)
    drawn = chart(rough, window=window)
    assert any(span.style == PALETTE.faint for span in drawn.spans)
    assert lines(drawn)[0].strip() == "loss, smoothed 0.9"
    # What is read off is what was logged.
    assert drawn.plain.endswith("train 1")
    assert chart(replace(rough, is_training=False), window=window).plain.endswith("train 1")
    assert line_chart([rough], UPDATE, LOSS, width=60, height=14, palette=PALETTE).can_be_smoothed


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_no_numbers_are_left_out(bad: float):
    apart = chart(line("test", [0, 0, 100, 100], [1.0, 1.0, 0.5, 0.5]))
    assert chart(line("test", [0, 50, 100], [1.0, bad, 0.5])).plain.count("∙") == 2
    assert "∙" not in apart.plain


@pytest.mark.parametrize("values", [[], [math.nan, math.nan]])
def test_nothing_to_draw_is_a_sentence(values: list[float]):
    drawn = chart(line("test", [0.0] * len(values), values), empty="No evaluation yet.")
    assert drawn.plain.strip() == "No evaluation yet."


def test_an_empty_series_beside_a_full_one_is_no_trouble():
    drawn = chart(line("empty", [], []), line("full", [0, 1], [0, 1]))
    assert has_braille(drawn)


def test_a_single_point_is_a_mark():
    drawn = chart(line("test", [100], [0.5]))
    assert "∙" in drawn.plain


def test_ten_thousand_points_are_reduced_to_the_same_picture():
    x = [float(i) for i in range(10_000)]
    y = [2 * math.exp(-i / 2000) for i in range(10_000)]
    drawn = chart(line("train", x, y))
    assert has_braille(drawn)
    assert "8k" in drawn.plain


def test_a_logarithmic_axis_is_the_same_at_every_build():
    series = line("mean", [40, 160, 640], [60, 70, 80], mark="●")
    scale = Scale("accuracy, %", floor=0, ceiling=100)
    builds = {chart(series, x_scale=SIZE, y_scale=scale).plain for _ in range(4)}
    assert len(builds) == 1
    ticks = next(iter(builds)).split("\n")[-2].split()
    assert ticks == ["50", "100", "200", "500"]


def test_a_chart_does_not_remember_the_one_before():
    chart(line("wide", [0, 1e6], [0, 1e6]))
    drawn = chart(line("small", [0, 1], [0, 1]))
    assert "1M" not in drawn.plain
    assert "1.0" in drawn.plain


def test_zero_on_a_logarithmic_axis_is_left_out():
    drawn = chart(line("loss", [0, 1, 2], [0.0, 0.1, 0.01]), y_scale=Scale("loss (log)", log=True))
    assert has_braille(drawn)
    assert "0.1" in drawn.plain


def test_the_band_is_shaded_between_its_edges():
    band = ShadedBand([0, 100], [0.4, 0.4], [0.6, 0.6], PALETTE.faint)
    drawn = lines(chart(line("", [0, 100], [0.0, 1.0]), bands=[band], width=40, height=20))
    shaded = [row for row, text in enumerate(drawn) if text.count("░") > 20]
    assert shaded
    assert min(shaded) > 5
    assert max(shaded) < 15


def test_of_many_points_the_last_alone_is_marked():
    drawn = chart(line("", list(range(100)), list(range(100)), mark="◆"))
    assert drawn.plain.count("◆") == 1


@pytest.mark.parametrize("size", [(10, 14), (60, 3), (1, 1)])
def test_too_small_is_said(size: tuple[int, int]):
    drawn = chart(line("test", [0, 1], [0, 1]), width=size[0], height=size[1])
    assert not has_braille(drawn)


def test_a_long_legend_goes_on_in_further_lines_and_counts_what_is_left_out():
    names = [line(f"a rather long name {i}", [1], [i], joined=False) for i in range(9)]
    drawn = lines(chart(*names, height=18))
    assert len(drawn) == 18
    assert max(map(len, drawn)) <= 60
    assert drawn[0].endswith("a rather long name 8  ● a rather long name 7")
    assert drawn[1].endswith("a rather long name 6  ● a rather long name 5")
    assert drawn[2].endswith("a rather long name 4  ● a rather long name 3  +3 more")
    low = lines(chart(*names, height=9))
    assert low[0].endswith("a rather long name 8  +8 more")
    assert not any("long name" in text for text in low[1:])


@pytest.mark.parametrize("colourless", [False, True])
def test_a_matrix_too_large_for_digits_fills_the_canvas(colourless: bool):
    count = 30
    matrix = [[1.0 if i == j else 0.1 for j in range(count)] for i in range(count)]
    palette = replace(PALETTE, colourless=colourless)
    names = [f"d{place}" for place in range(count)]
    drawn = draw_figure(Map("30 draws", "", "draw", names, names, matrix), 60, 20, palette).text
    rows = drawn.plain.rstrip("\n").split("\n")
    assert len(rows) == 20
    assert {len(row) for row in rows} == {60}


def class_bar(name: str, value: float, expected: float, low: float = math.nan, high: float = math.nan) -> Bar:
    return Bar(name, 100 * value, "", 100 * expected, 100 * low, 100 * high)


def test_bars_keep_their_order_and_show_what_is_expected():
    bars = [class_bar("seven", 0.5, 0.4), class_bar("two", 0.3, 0.4), class_bar("none", math.nan, 0.4)]
    drawn = lines(class_bars(bars, width=60, height=10, palette=PALETTE))
    assert [text.split()[0] for text in drawn] == ["seven", "two"]
    assert [text.split()[-1] for text in drawn] == ["50.0", "30.0"]
    positions = {text.index("┃") for text in drawn}
    assert len(positions) == 1
    assert drawn[0].count("━") > drawn[1].count("━")


def test_bars_outside_of_what_chance_gives_are_marked():
    bars = [
        class_bar("far", 0.5, 0.3, 0.2, 0.4),
        class_bar("near", 0.35, 0.3, 0.2, 0.4),
        class_bar("low", 0.1, 0.3, 0.2, 0.4),
    ]
    drawn = lines(class_bars(bars, width=60, height=10, palette=PALETTE))
    assert [text.rstrip()[-1] for text in drawn] == ["▲", "0", "▼"]
    for mark in "[┃]":
        assert len({text.index(mark) for text in drawn}) == 1
    many = class_bars(
        [replace(bar, name=str(i)) for bar in bars for i in range(70)], width=78, height=13, palette=PALETTE
    )
    assert "outside" in many.plain
    assert "░" in many.plain


def test_bars_without_an_expectation_have_no_mark():
    drawn = class_bars([class_bar("a", 0.5, math.nan)], width=60, height=10, palette=PALETTE)
    assert "┃" not in drawn.plain


def test_many_classes_stand_in_several_blocks_and_very_many_in_one_chart():
    letters = [class_bar(chr(97 + i), 0.5, 0.4) for i in range(26)]
    drawn = lines(class_bars(letters, width=78, height=13, palette=PALETTE))
    assert len(drawn) == 13
    assert drawn[0].split()[0] == "a"
    assert " n " in drawn[0]
    many = [class_bar(str(i), 0.5, 0.4) for i in range(200)]
    assert "200 classes" in class_bars(many, width=78, height=13, palette=PALETTE).plain


def test_a_map_that_is_too_high_says_how_much_is_left_out():
    rows = [str(size) for size in range(12)]
    options = {"digits": 1, "width": 40, "palette": PALETTE}
    whole = lines(surface_chart(rows, ["1"], [[float(i)] for i in range(12)], height=13, **options))
    assert [text.split()[0] for text in whole[1:]] == rows
    cut = lines(surface_chart(rows, ["1"], [[float(i)] for i in range(12)], height=9, **options))
    assert len(cut) == 9
    assert cut[-1] == "… 5 more rows in a higher window"


def test_charts_stand_side_by_side():
    drawn = lines(side_by_side([Text("ab\nc"), Text("x\ny\nz")], [4, 2]))
    assert drawn == ["ab  x", "c   y", "    z"]


def test_no_bars_are_a_sentence():
    drawn = class_bars([], width=60, height=10, palette=PALETTE, empty="One draw alone.")
    assert drawn.plain.strip() == "One draw alone."


def ranking(count: int, width: int, height: int, label: str = "a → b") -> list[str]:
    bars = [Bar(f"{label}{place}", float(count - place), f"{place} %") for place in range(count)]
    drawn = ranked_bars(bars, ("pair", "share"), width=width, height=height, palette=PALETTE, empty="None.")
    return lines(drawn)


def test_a_ranking_shows_as_many_as_fit_and_counts_the_rest():
    drawn = ranking(9, 60, 6)
    assert len(drawn) == 6
    assert drawn[0].split() == ["pair", "share"]
    assert [text.split()[-2] for text in drawn[1:5]] == ["0", "1", "2", "3"]
    assert [text.count("━") for text in drawn[1:5]] == sorted(
        (text.count("━") for text in drawn[1:5]), reverse=True
    )
    assert drawn[-1] == "… 5 more: ctrl+e"
    assert len(ranking(5, 60, 6)) == 6
    assert not any("more" in text for text in ranking(5, 60, 6))


def test_a_ranking_without_room_cuts_labels_and_leaves_bars_out():
    drawn = ranking(2, 20, 6, label="a rather long name → another")
    assert max(map(len, drawn)) <= 20
    assert "…" in drawn[1]
    assert "━" not in "".join(drawn)
    assert ranking(0, 60, 6)[-1].strip() == "None."


@pytest.mark.parametrize(
    ("width", "height", "digits"),
    [(62, 11, 1), (61, 11, 0), (42, 11, 0), (41, 11, None), (62, 10, None), (1, 1, None)],
)
def test_a_map_has_as_many_digits_as_its_cells_have_room_for(width, height, digits):
    values = [[100.0] * 10 for _ in range(10)]
    assert legible_digits([str(row) for row in range(10)], values, 1, width, height) == digits


@pytest.mark.parametrize("palette", [PALETTE, replace(PALETTE, colourless=True)], ids=["colour", "none"])
@pytest.mark.parametrize(
    ("width", "cells"),
    [
        (4 + 4 * 6, ["96.5", "99.9", "100.0", "9.5"]),
        (4 + 4 * 5, ["96.5", "99.9", "100", "9.5"]),
        (4 + 4 * 4, ["96", "100", "100", "9.5"]),
        (4 + 4 * 3, ["96", "▒▒", "▒▒", "9"]),
    ],
)
def test_no_cell_of_a_map_that_has_numbers_is_blank(palette, width, cells):
    values = [[96.49, 99.9, 100.0, 9.49]]
    drawn = surface_chart(["one"], list("abcd"), values, digits=1, width=width, height=2, palette=palette)
    assert lines(drawn)[1].split() == ["one", *cells]


def test_a_narrow_range_on_a_logarithmic_axis_has_marks():
    drawn = chart(line("", [3.25, 3.75], [1, 2]), x_scale=Scale("s", log=True, room=0.03))
    marks = [float(text) for text in lines(drawn)[-2].split()]
    assert len(marks) > 1
    assert all(3 < mark < 4 for mark in marks)


def test_an_axis_of_names_has_as_many_as_stand_apart():
    names = ["S1T", "S2T", "S3T", "S4T", "base", "FTall"]
    series = line("", [float(place) for place in range(6)], [1.0] * 6, mark="●")
    for width, shown in ((60, names), (24, names[::2]), (16, ["S1T", "S4T"])):
        drawn = lines(chart(series, width=width, x_scale=Scale("condition", names=names)))
        assert drawn[-2].split() == shown


@pytest.mark.parametrize("system", [ColorSystem.STANDARD, ColorSystem.EIGHT_BIT, ColorSystem.TRUECOLOR])
@pytest.mark.parametrize("theme", ["datasize", "textual-light", "ansi-dark", "ansi-light"])
async def test_things_keep_colours_of_their_own_on_every_terminal(
    monkeypatch: pytest.MonkeyPatch, system: ColorSystem, theme: str
):
    monkeypatch.setattr("textual.constants.COLOR_SYSTEM", system.name.lower().replace("eight_bit", "256"))
    app = App[None]()
    async with app.run_test() as pilot:
        app.register_theme(THEME)
        app.theme = theme
        await pilot.pause()
        palette, background = palette_of(app), app.theme_variables["background"]

    def shown(colour: str) -> str | int | None:
        found = Color.parse(colour).downgrade(system)
        return found.get_truecolor().hex if system is ColorSystem.TRUECOLOR else found.number

    series = [shown(colour) for colour in palette.series]
    assert len(set(series)) == len(series)
    words = [shown(colour) for colour in (palette.foreground, palette.muted, palette.faint)]
    assert len(set(words)) == len(words)
    assert not set(words) & set(series[:7])
    if background.startswith("#"):
        assert shown(background) not in {*words, *series}
    else:
        assert (palette.foreground == "#ffffff") == (theme == "ansi-dark")


def test_a_map_in_16_colours_is_told_by_its_characters():
    shades = surface_chart(
        ["a", "b"], ["1", "2"], [[0.0, 1.0], [2.0, 3.0]], digits=0, width=4, height=4, palette=_16_ON_DARK
    )
    assert len(set(shades.plain) & set("░▒▓█")) >= 2


def test_points_without_a_name_are_explained_by_that_of_their_line():
    figure = Chart(
        "",
        Axis("size"),
        Axis("accuracy"),
        [
            Line("forecast", [1, 2, 3], [1, 2, 3], "forecast"),
            Line("", [2, 3], [2, 3], "forecast", "diamond", is_joined=False),
        ],
    )
    for width, sign in ((60, "╌◇ forecast"), (30, "╌◇╌ forecast")):
        assert sign in draw_figure(figure, width, 12, PALETTE).text.plain


def test_wide_characters_in_names_leave_the_columns_where_they_are():
    names, bars = (
        ["猫", "cat", "非常長的名字"],
        [Bar(name, 3.0, words="3 of 9") for name in ("猫", "cat", "非常長")],
    )
    drawn = ranked_bars(bars, ("class", "runs"), width=60, height=9, palette=PALETTE, empty="").plain
    table = surface_chart(names, names, [[1.0] * 3] * 3, digits=0, width=50, height=12, palette=PALETTE).plain
    curve = chart(*(line(name, [0, 100], [0, end], mark="●") for end, name in enumerate(names)))
    for text in (drawn, table):
        whole = [row for row in text.splitlines() if row.strip()]
        assert len({cell_len(row.rstrip()) for row in whole}) == 1, text
    assert all(cell_len(row) <= 60 for row in lines(curve))


def test_lines_of_one_ink_are_told_apart_without_colour():
    inks = {"all runs": "law", "law": "law", "average": "muted", "pow3": "muted", "forecast": "forecast"}
    figure = Chart("", Axis("size"), Axis("accuracy"), [Line(n, [1, 2], [1, 2], k) for n, k in inks.items()])
    drawn = lines(draw_figure(figure, 60, 14, PALETTE).text)
    signs = {
        name: next(row for row in drawn if row.endswith(f" {name}")).split()[-len(name.split()) - 1]
        for name in inks
    }
    assert signs["all runs"] != signs["law"]
    assert signs["average"] != signs["pow3"]


def test_sizes_of_one_mark_are_told_apart_without_colour():
    figure = Chart(
        "",
        Axis("update"),
        Axis("margin"),
        [
            Line(f"{size} {side}", [0, 100], [0, size * height], ink, mark)
            for ink, size in enumerate((40, 160, 1280))
            for side, mark, height in (("right", "dot", 1), ("wrong", "ring", 0.5))
        ],
    )
    drawn = lines(draw_figure(figure, 80, 20, PALETTE).text)
    signs = [row.split()[-3] for row in drawn if row.endswith((" right", " wrong"))]
    assert len(set(signs)) == len(figure.lines)
