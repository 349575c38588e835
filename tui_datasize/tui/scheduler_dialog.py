"""The scheduler in the app: when one is started by itself, and the dialog that restarts or stops it."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from tui_datasize.errors import DatasizeError
from tui_datasize.experiments.device_settings import FOR_GPUS, DeviceSettings, as_in_file, read_written
from tui_datasize.experiments.keys import Row, rows
from tui_datasize.jobs.queue.requests import RestartScheduler, StopScheduler
from tui_datasize.jobs.scheduler.devices import DeviceReport
from tui_datasize.jobs.scheduler_client import SchedulerLook
from tui_datasize.text import plural
from tui_datasize.tui.widgets.dialogs import Facts, answers, facts_table, field
from tui_datasize.tui.widgets.palette import palette_of
from tui_datasize.tui.widgets.plain import Words, titled

_GOES_ON = (
    "Running jobs go on. Empty: as experiments.toml says. What is written holds for this scheduler, and for "
    "others that this app starts."
)


class SchedulerDialog(ModalScreen[StopScheduler | RestartScheduler | None]):
    """A restart with the options as they stand on enter, a stop on ctrl+t; None on escape."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "accept", "restart", priority=True),
        # Not ctrl+s: where a terminal minds flow control, that freezes it.
        Binding("ctrl+t", "stop", "stop", priority=True),
        Binding("down", "app.focus_next", "next", show=False),
        Binding("up", "app.focus_previous", "previous", show=False),
        Binding("escape", "dismiss(None)", "back"),
    ]

    def __init__(self, look: SchedulerLook, devices: DeviceReport | None) -> None:
        super().__init__()
        self._look = look
        self._has_gpus = bool(devices and devices.gpus)
        self._machine = _machine(devices)

    def compose(self) -> ComposeResult:
        palette = palette_of(self.app)
        said = self._look.options.said if self._look.options else {}
        fields = []
        for row in sorted(rows(DeviceSettings), key=self._place):
            text, hint = as_in_file(said[row.name]) if row.name in said else "", self._placeholder(row)
            fields.append(field(row.name, Input(text, hint, name=row.name, compact=True)))
        yes = "restart" if self._look.alive else "start"
        keys = (("enter", yes), ("ctrl+t", "stop"), ("tab", "next"), ("esc", "back"))
        box = Vertical(
            Words(facts_table(self._facts(), palette.muted), classes="facts"),
            *fields,
            Words(self._look.file_problem, classes="problem"),
            Words(_GOES_ON, classes="remark"),
            answers(keys, palette),
            classes="dialog",
        )
        yield titled(box, "Scheduler")

    def _facts(self) -> Facts:
        look = self._look
        at_once = f", {plural(look.slots, 'job')} at once" if look.slots is not None else ""
        state = "not running; starts when a job waits"
        if look.alive:
            state = f"running{at_once}" + ("" if look.options else "; its options are unknown")
        elif look.stopped:
            state = "stopped; none is started before a job is queued or changed"
        return [("now", state), ("machine", self._machine)]

    def _place(self, row: Row) -> int:
        """What counts on this machine alone comes first, what does not count there last."""
        if not row.key.only_for:
            return 1
        return 0 if (FOR_GPUS in row.key.only_for) == self._has_gpus else 2

    def _placeholder(self, row: Row) -> str:
        otherwise = self._look.otherwise(row.name)
        if self._place(row) == 2:
            # Other machines may share the project.
            return f"{otherwise}; not for this machine"
        return f"{otherwise} ({row.key.hint})" if row.key.hint else otherwise

    def action_accept(self) -> None:
        texts = {str(entry.name): entry.value for entry in self.query(Input)}
        try:
            options = read_written(texts, self._look.file)
        except DatasizeError as error:
            self.query_one(".problem", Words).update(error.line)
            wrong = next((entry for entry in self.query(Input) if entry.name == error.where), None)
            if wrong is not None:
                wrong.focus()
        else:
            self.dismiss(RestartScheduler(options))

    def action_stop(self) -> None:
        self.dismiss(StopScheduler())


def _machine(devices: DeviceReport | None) -> str:
    if devices is None:
        return "not looked at yet"
    if devices.gpus:
        return f"{plural(len(devices.gpus), 'GPU')}: slots_per_gpu counts, the CPU takes no jobs"
    if not devices.cpu_slots:
        return "0 slots: no GPU can be used; the CPU can, if cpu is yes"
    return "no GPU: cpu_slots counts"
