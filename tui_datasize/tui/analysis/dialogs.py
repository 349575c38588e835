"""The questions of the Analysis tab, ready to be asked; what follows from an answer is the tab's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from tui_datasize.metric import METRICS_OFFERED
from tui_datasize.text import plural
from tui_datasize.tui.analysis.choice import PAGES, experiment_names
from tui_datasize.tui.enqueueing import is_known, queue_facts
from tui_datasize.tui.look.snapshot import Cell, ExperimentPlan, Snapshot
from tui_datasize.tui.queue_dialog import QueueDialog
from tui_datasize.tui.widgets.dialogs import ChooseDialog


def which_experiment(snapshot: Snapshot, current: str) -> ChooseDialog:
    """Of the names that the file or the runs have."""
    names = experiment_names(snapshot)
    titles = {plan.name: plan.title for plan in snapshot.experiments}
    width = max((len(name) for name in names), default=0)
    choices = [(name, f"{name:<{width}}  {titles.get(name, '')}") for name in names]
    return ChooseDialog("Experiment", choices, current)


def which_page(current: int, is_offered: Callable[[int], bool]) -> ChooseDialog:
    """Of the learning curve and the pages behind it, by number."""
    titles = ["Learning curve, fit and overlap", *(page.title for page in PAGES)]
    choices = [(str(index), title) for index, title in enumerate(titles) if is_offered(index)]
    return ChooseDialog("Show", choices, str(current))


def which_metric(current: str) -> ChooseDialog:
    """Of all that can be analysed, by name."""
    choices = [(metric.name, metric.title) for metric in METRICS_OFFERED.values()]
    return ChooseDialog("Metric", choices, current)


def whether_to_queue(snapshot: Snapshot, plan: ExperimentPlan, cells: Sequence[Cell]) -> QueueDialog:
    """The runs that a page proposes, and on what terms."""
    facts = queue_facts(snapshot, plan, cells)
    yes = f"queue {plural(len(cells), 'run')}"
    return QueueDialog("Queue what is proposed?", facts, yes, partial(is_known, snapshot))
