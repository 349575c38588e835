"""Which runs to queue next, and what they buy."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from rich.text import Text

from tui_datasize.tui.analysis.pages.page import Content, Request, only_words
from tui_datasize.tui.charts.lines import sentence
from tui_datasize.tui.widgets.palette import Palette
from tui_datasize.words import plural

if TYPE_CHECKING:
    from tui_datasize.analysis.planner import Plan, PlannedSize

_COLUMNS = ("train size", "there", "add", "to check")
_WIDTHS = (11, 7, 6, 10)
_GAP = 2


def plan(request: Request) -> Content:
    """The runs that narrow the answer most within the budget, and those that check the law."""
    from tui_datasize.analysis.fits import FitFailure
    from tui_datasize.analysis.plan_table import plans_table
    from tui_datasize.analysis.planner import plan_next_runs
    from tui_datasize.analysis.proposal import cells_alike, propose, samples_per_run
    from tui_datasize.errors import ConfigError

    runs, metric = request.runs, request.metric.name
    cells = cells_alike(runs, request.sweep)
    try:
        made = plan_next_runs(runs, metric, request.asked.plan_question(), samples_per_run(cells))
    except ConfigError as error:
        return replace(only_words(error.line), proposed=())
    if isinstance(made, FitFailure):
        return replace(only_words(f"No plan: it {made.reason}."), proposed=())
    proposal = propose(made, cells, runs)
    specs = proposal.specs
    by_key = f"a queues {plural(len(specs), 'run')}, after a question." if specs else ""
    lines = [by_key, made.words[0], *proposal.words.split("\n"), *made.words[1:]]
    table = partial(plans_table, {(made.experiment, made.variant): made}, metric)
    note = f"{plural(made.n_added, 'run')} to add"
    return Content(partial(_draw, made), [line for line in lines if line], note, table, proposed=specs)


def _draw(made: Plan, width: int, height: int, palette: Palette) -> Text:
    """A row for each train size: runs there are, to add, and those of them that only check the law."""
    longest = max(size.runs + size.add for size in made.sizes)
    room = width - sum(_WIDTHS) - _GAP
    if room < 1 or height < 2:
        return sentence("The window is too small for the plan.", width, height, palette)
    head = "".join(f"{name:>{wide}}" for name, wide in zip(_COLUMNS, _WIDTHS, strict=True))
    legend = "  █ there  ▓ to add  ░ to check"
    rows = [Text(head + (legend if len(legend) <= room + _GAP else ""), palette.muted)]
    shown = made.sizes if len(made.sizes) < height else _with_most_to_add(made, height - 2)
    rows += [_row(size, longest, room, palette) for size in shown]
    if len(shown) < len(made.sizes):
        left_out = plural(len(made.sizes) - len(shown), "more train size")
        rows.append(Text(f"  … {left_out} in a higher window"[:width], palette.muted))
    return Text("\n").join(rows)


def _with_most_to_add(made: Plan, count: int) -> list[PlannedSize]:
    """As many sizes as there is room for, those with most to add, in their order."""
    chosen = sorted(made.sizes, key=lambda size: -size.add)[:count]
    return [size for size in made.sizes if size in chosen]


def _row(size: PlannedSize, longest: int, room: int, palette: Palette) -> Text:
    values = (f"{size.train_size:,}", str(size.runs), str(size.add or ""), str(size.check or ""))
    cells = "".join(f"{value:>{wide}}" for value, wide in zip(values, _WIDTHS, strict=True))
    ends = [
        round(room * runs / longest)
        for runs in (0, size.runs, size.runs + size.add - size.check, size.runs + size.add)
    ]
    there, add, check = (after - before for before, after in pairwise(ends))
    return Text.assemble(
        (cells, palette.foreground),
        " " * _GAP,
        ("█" * there, palette.muted),
        ("▓" * add, palette.accent),
        ("░" * check, palette.accent),
    )
