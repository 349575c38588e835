"""The keys of all tabs: no key means two things on one tab, and docs/keys.md has them all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from itertools import chain
from pathlib import Path
from pkgutil import walk_packages

import pytest
from textual.binding import Binding
from textual.dom import DOMNode
from textual.widgets import OptionList

from tui_datasize import tui
from tui_datasize.tui.analysis.dialogs import AskDialog
from tui_datasize.tui.analysis.tab import AnalysisPane
from tui_datasize.tui.app import DatasizeApp
from tui_datasize.tui.beginning import BeginDialog
from tui_datasize.tui.devices_screen import DevicesScreen
from tui_datasize.tui.keys import key_name
from tui_datasize.tui.live.column_dialog import ColumnDialog, ColumnList
from tui_datasize.tui.live.tab import LivePane
from tui_datasize.tui.live.table import LiveTable
from tui_datasize.tui.pane import Pane
from tui_datasize.tui.queue.builder import BuilderDialog, DifferenceDialog
from tui_datasize.tui.queue.cell_map import CellMap
from tui_datasize.tui.queue.experiment_list import ExperimentList
from tui_datasize.tui.queue.job_table import JobTable
from tui_datasize.tui.queue.tab import QueuePane
from tui_datasize.tui.queue_dialog import QueueDialog
from tui_datasize.tui.scheduler_dialog import SchedulerDialog
from tui_datasize.tui.widgets.chart_view import ChartView
from tui_datasize.tui.widgets.completing import CompletingInput
from tui_datasize.tui.widgets.dialogs import (
    ChooseDialog,
    ConfirmDialog,
    CycleField,
    FieldsDialog,
    FollowingDialog,
    TextDialog,
    _Choices,
)
from tui_datasize.tui.widgets.filter_box import _Entry
from tui_datasize.tui.widgets.line_view import RowList
from tui_datasize.tui.widgets.log_screen import LogScreen, _Term

ROOT = Path(__file__).parents[2]
TABS = {
    "everywhere": (DatasizeApp,),
    "Queue": (QueuePane, JobTable),
    "Live": (LivePane, LiveTable),
    "Analysis": (AnalysisPane,),
    "examined chart": (ChartView,),
}

PARTS = {
    "lists": (RowList,),
    "experiments": (ExperimentList,),
    "map of cells": (CellMap,),
    "filter": (_Entry, CompletingInput),
    "queueing": (QueueDialog, CycleField),
    "how to begin": (BeginDialog,),
    "sweep builder": (BuilderDialog,),
    "lines to be written": (DifferenceDialog,),
    "notes, import": (FieldsDialog,),
    "scheduler": (SchedulerDialog,),
    "columns": (ColumnDialog, ColumnList),
    "target": (AskDialog,),
    "choices": (ChooseDialog, _Choices, OptionList),
    "questions": (ConfirmDialog,),
    "texts": (TextDialog,),
    "details of a run": (FollowingDialog,),
    "log": (LogScreen,),
    "search in a log": (_Term,),
    "devices": (DevicesScreen,),
    "40x10": (Pane,),
}
"""Dialogs and parts of a tab, which have keys while they are in use."""


def keys_of(*owners: type) -> list[tuple[str, str]]:
    """Names and meanings of the keys that classes bind themselves."""
    bindings = (Binding.make_bindings(owner.__dict__["BINDINGS"]) for owner in owners)
    return [(key_name(one.key), one.description) for one in chain.from_iterable(bindings)]


@pytest.mark.parametrize("tab", ["Live", "Analysis"])
def test_no_key_means_two_things_on_a_tab(tab: str):
    lists = (RowList,) if tab == "Live" else ()
    keys = [key for key, _ in keys_of(DatasizeApp, *TABS[tab], ChartView, *lists) if key != "esc"]
    assert sorted(keys) == sorted(set(keys))


def with_keys(kind: type = DOMNode) -> Iterator[type]:
    """Classes of the app that bind keys."""
    for one in kind.__subclasses__():
        if one.__module__.startswith(tui.__name__) and "BINDINGS" in one.__dict__:
            yield one
        yield from with_keys(one)


def test_every_key_that_is_bound_is_pressed_in_a_test_that_waits_for_its_effect():
    for module in walk_packages(tui.__path__, f"{tui.__name__}."):
        import_module(module.name)
    groups = TABS | PARTS
    assert {*with_keys()} <= {owner for owners in groups.values() for owner in owners}
    tests = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    # Each of these blocks fails for a key of its group that it does not press.
    assert sorted(re.findall(r'with every_key\(show, "(.+?)"\)', tests)) == sorted(groups)


def test_the_documentation_lists_every_key():
    by_key: dict[str, dict[str, str]] = {}
    for tab, owners in TABS.items():
        for key, what in keys_of(*owners):
            by_key.setdefault(key, {})[tab] = what
    rows = [
        f"| `{key}` | " + " | ".join(by_key[key].get(tab, "") for tab in TABS) + " |"
        for key in sorted(by_key, key=lambda key: (not key.isalpha(), key.lower(), key))
    ]
    parts = []
    for part, owners in PARTS.items():
        actions: dict[str, list[str]] = {}
        for key, what in keys_of(*owners):
            actions.setdefault(what.lower(), []).append(f"`{key}`")
        parts.append(
            f"| {part} | " + " · ".join(f"{' '.join(keys)} {what}" for what, keys in actions.items()) + " |"
        )
    table = "\n".join(["| key | " + " | ".join(TABS) + " |", "|" + "---|" * (len(TABS) + 1), *rows])
    assert table in (ROOT / "docs/keys.md").read_text(), f"docs/keys.md should hold\n{table}"
    parts_table = "\n".join(["| in use | keys |", "|---|---|", *parts])
    assert parts_table in (ROOT / "docs/keys.md").read_text(), f"docs/keys.md should hold\n{parts_table}"
