"""The dialogs of the Analysis tab, ready to be shown; what follows from an answer is the tab's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from tui_datasize.answers.answer import Asked
from tui_datasize.errors import ConfigError, DatasizeError
from tui_datasize.experiments.typed_values import without_commas
from tui_datasize.metric import METRICS_OFFERED
from tui_datasize.text import MOST_COUNT
from tui_datasize.tui.analysis.analyst import PAGES, experiment_names
from tui_datasize.tui.polling.snapshot import Cell, ExperimentPlan, Snapshot
from tui_datasize.tui.queue_dialog import QueueDialog, is_known
from tui_datasize.tui.widgets.dialogs import ChooseDialog, answers, field
from tui_datasize.tui.widgets.palette import palette_of
from tui_datasize.tui.widgets.plain import Words, titled

if TYPE_CHECKING:
    from tui_datasize.metric import Metric


class AskDialog(ModalScreen[Asked | None]):
    """What is asked on enter; None on escape."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "accept", "ask", priority=True),
        Binding("escape", "dismiss(None)", "back"),
    ]

    def __init__(self, metric: Metric, asked: Asked) -> None:
        super().__init__()
        self._metric = metric
        self._asked = asked

    def compose(self) -> ComposeResult:
        palette = palette_of(self.app)
        written = asked_as_written(self._asked, self._metric)
        fields = [
            field(name, Input(written[name], placeholder=example, name=name, compact=True))
            for name, example in examples(self._metric).items()
        ]
        keys = (("enter", "ask"), ("tab", "next"), ("esc", "back"))
        box = Vertical(*fields, Words("", classes="problem"), answers(keys, palette), classes="dialog")
        yield titled(box, f"Set a target: {self._metric.in_words}")

    def action_accept(self) -> None:
        written = {str(entry.name): entry.value for entry in self.query(Input)}
        try:
            asked = read_asked(written, self._metric)
        except DatasizeError as error:
            self.query_one(".problem", Words).update(error.line)
        else:
            self.dismiss(asked)


T = TypeVar("T")

FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "target": "how many images for this value? e.g. {target}",
        "fit from": "leave smaller sizes out of the fits, e.g. 1000",
        "worth it": "least gain that a doubling is worth, e.g. {delta}",
        "predict at": "e.g. 20000 (empty if a target is set)",
        "budget": "runs to plan, e.g. 20 (empty: as many again)",
    }
)
"""What may be written, and an example of each."""


def asked_as_written(asked: Asked, metric: Metric) -> dict[str, str]:
    """What is asked as it stands in the fields, by the names of `FIELDS`."""
    return {
        "target": "" if asked.target is None else metric.exact(asked.target),
        "fit from": str(asked.fit_from or ""),
        "worth it": "" if asked.delta is None else metric.exact_difference(asked.delta),
        "predict at": f"{asked.at:.0f}" if asked.at else "",
        "budget": str(asked.runs or ""),
    }


def examples(metric: Metric) -> dict[str, str]:
    """An example for each field, by the names of `FIELDS`."""
    target, delta = ("95", "0.5%") if metric.is_share else ("0.1", "0.02")
    return {name: text.format(target=target, delta=delta) for name, text in FIELDS.items()}


def read_asked(written: Mapping[str, str], metric: Metric) -> Asked:
    """What the fields say; raises ConfigError: a text is no number, or what is asked makes no sense."""
    asked = Asked(
        target=_value_of(written["target"], metric.read),
        fit_from=_read(written, "fit from", _count, "a number of images") or 0,
        delta=_value_of(written["worth it"], metric.read_difference),
        at=_read(written, "predict at", _count, "a number of images"),
        runs=_read(written, "budget", _count, "a number of runs"),
    )
    asked.check(metric)
    asked.check_plan(metric)
    return asked


def _value_of(text: str, read: Callable[[str], float]) -> float | None:
    return read(text) if text.strip() else None


def _read(written: Mapping[str, str], name: str, kind: Callable[[str], T], expected: str) -> T | None:
    text = written[name].strip()
    if not text:
        return None
    try:
        return kind(text)
    except ValueError:
        raise ConfigError(f"{name}: {text!r} is not {expected}") from None


def _count(text: str) -> int:
    number = int(without_commas(text).replace("_", "").replace(" ", ""))
    if not 1 <= number <= MOST_COUNT:
        raise ValueError(number)
    return number


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
    return ChooseDialog("Metric", [(one.name, one.title) for one in METRICS_OFFERED.values()], current)


def whether_to_queue(snapshot: Snapshot, plan: ExperimentPlan, cells: Sequence[Cell]) -> QueueDialog:
    """The runs that a page proposes, and on what terms."""
    return QueueDialog("Queue what is proposed?", snapshot, plan, cells, partial(is_known, snapshot))
