"""What the devices did in the last minutes, and who takes what of them now (`M`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import ClassVar, TypeAlias

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.screen import ModalScreen

from tui_datasize.jobs.queue.state import CPU
from tui_datasize.jobs.scheduler.device_history import HISTORY_S, INTERVAL_S, Load, Sample
from tui_datasize.jobs.scheduler.devices import DeviceReport, Gpu
from tui_datasize.text import fit, plural
from tui_datasize.tui.keys import KeyBar
from tui_datasize.tui.polling.machine import Machine, ProcessUse
from tui_datasize.tui.polling.snapshot import Snapshot
from tui_datasize.tui.widgets.line_view import LineView
from tui_datasize.tui.widgets.palette import Palette
from tui_datasize.tui.widgets.panel import Panel

_BARS = "▁▂▃▄▅▆▇█"
_LABEL, _VALUE = 12, 13
_MOST_COLUMNS = int(HISTORY_S / INTERVAL_S)
_GIB = 2**30
_USE_WIDTH = 9
_ROOM_FOR_PROCESSES = 6
_LEAST_WIDTH_OF_TWO = 60
_MOST_ROWS = 6
"""Of the minutes of one gauge."""
_HEADS = ("GPU mem", "CPU", "memory")

_Gauge: TypeAlias = tuple[str, str, Callable[[Load], float | None], float]
"""What it is called, its value now, where it is in a sample, and the top of its scale."""


class DevicesView(LineView):
    """Draws one look; scrolls where it is longer than the screen."""

    snapshot: Snapshot | None = None
    _first = 0

    def scroll_lines(self, lines: int) -> None:
        self._first += lines
        self.redraw()

    def draw(self, size: Size) -> Sequence[Text]:
        if self.snapshot is None:
            return []
        lines = device_lines(self.snapshot, size.width, size.height, self.palette)
        self._first = max(0, min(self._first, len(lines) - size.height))
        shown = lines[self._first : self._first + size.height]
        if left := len(lines) - self._first - len(shown):
            shown[-1] = Text(f" … {plural(left + 1, 'more line')}: j", self.palette.muted)
        return shown


class DevicesScreen(ModalScreen[None]):
    """Devices on the whole screen, drawn anew with every look at the project."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,M", "dismiss(None)", "back"),
        Binding("j,down", "scroll(1)", "Down", show=False),
        Binding("k,up", "scroll(-1)", "Up", show=False),
    ]

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self._view = DevicesView()
        self._view.snapshot = snapshot

    def compose(self) -> ComposeResult:
        yield Panel("Devices", self._view)
        yield KeyBar()

    def on_mount(self) -> None:
        minutes = f"the last {HISTORY_S / 60:.0f} minutes, now at the right"
        self.query_one(Panel).show_note(Text(minutes, self._view.palette.muted))

    def show(self, snapshot: Snapshot) -> None:
        self._view.snapshot = snapshot
        self._view.redraw()

    def action_scroll(self, lines: int) -> None:
        self._view.scroll_lines(lines)


def device_lines(snapshot: Snapshot, width: int, height: int, palette: Palette) -> list[Text]:
    """Every device with its last minutes, then the processes; two gauges a line where rows are few."""
    machine, report = snapshot.machine, snapshot.devices
    if machine is None or report is None:
        return [Text(" Reading …", palette.muted)]
    processes = _process_lines(machine, {CPU: "CPU", **snapshot.device_names()}, width, palette)
    lines, n_titles = _gauge_lines(machine, report, 1, 1, width, palette), 1 + len(report.gpus)
    # By the devices alone: processes come and go.
    if len(lines) + _ROOM_FOR_PROCESSES > height and width >= _LEAST_WIDTH_OF_TWO:
        lines = _gauge_lines(machine, report, 2, 1, width, palette)
    elif (rows := min(_MOST_ROWS, (height - _ROOM_FOR_PROCESSES - n_titles) // (len(lines) - n_titles))) > 1:
        lines = _gauge_lines(machine, report, 1, rows, width, palette)
    return [*lines, *processes]


def _gauge_lines(
    machine: Machine, report: DeviceReport, columns: int, rows: int, width: int, palette: Palette
) -> list[Text]:
    lines = [Text(f" {report.problem}", palette.accent)] if report.problem and report.gpus else []
    groups = [(gpu.title, gpu.uuid, _of_gpu(gpu, machine.samples)) for gpu in report.gpus]
    groups.append((_cpu_title(machine, report), CPU, _of_cpu(machine)))
    each = (width - columns) // columns
    for title, name, gauges in groups:
        lines.append(Text(f" {title}", f"bold {palette.foreground}"))
        drawn = [_gauge(gauge, name, machine.samples, each, rows, palette) for gauge in gauges]
        for place in range(0, len(drawn), columns):
            beside = zip(*drawn[place : place + columns], strict=True)
            lines += [Text(" ").append_text(Text(" ").join(row)) for row in beside]
    return lines


def _cpu_title(machine: Machine, report: DeviceReport) -> str:
    if not report.cpu_slots:
        return "CPU" if report.gpus else f"CPU, takes no jobs: {report.problem}"
    taken = sum(CPU in one.devices for one in machine.processes if one.is_ours)
    return f"CPU, {plural(report.cpu_slots, 'slot')}, {taken} taken by this project"


def _of_gpu(gpu: Gpu, samples: Sequence[Sample]) -> Sequence[_Gauge]:
    used, total = gpu.memory_used_bytes, gpu.memory_total_bytes
    watts = [load.power_w for one in samples if (load := one.loads.get(gpu.uuid)) and load.power_w]
    return (
        ("utilisation", _told(gpu.utilisation_percent, "%"), lambda load: load.percent, 100.0),
        ("memory", _share(used, total), lambda load: load.memory_bytes, total),
        ("temperature", _told(gpu.temperature_c, "°C"), lambda load: load.temperature_c, 100.0),
        ("power", _told(gpu.power_w, "W"), lambda load: load.power_w, max(watts, default=1.0)),
    )


def _of_cpu(machine: Machine) -> Sequence[_Gauge]:
    last = next((one.loads[CPU] for one in reversed(machine.samples) if CPU in one.loads), Load())
    used = 0 if last.memory_bytes is None else last.memory_bytes
    return (
        ("load", _told(last.percent, "%"), lambda load: load.percent, 100.0),
        ("memory", _share(used, machine.memory_bytes), lambda load: load.memory_bytes, machine.memory_bytes),
    )


def _told(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.0f} {unit}"


def _share(used: int, total: int) -> str:
    return f"{used / _GIB:.0f} of {total / _GIB:.0f} GB"


def _gauge(
    gauge: _Gauge, name: str, samples: Sequence[Sample], width: int, rows: int, palette: Palette
) -> list[Text]:
    label, value, read, top = gauge
    columns = min(_MOST_COLUMNS, max(0, width - _LABEL - _VALUE - 1))
    points = [(one.time_s, read(one.loads[name])) for one in samples if name in one.loads]
    known = [(time_s, number) for time_s, number in points if number is not None]
    end_s = samples[-1].time_s if samples else 0.0
    lines = []
    for bars in sparkline(known, columns, top, end_s, rows):
        heads = (f"{label:<{_LABEL}}", palette.muted), (f"{value:>{_VALUE}} ", palette.foreground)
        lines.append(Text.assemble(*heads, (bars, palette.primary)))
        label = value = ""
    return lines


def sparkline(
    points: Sequence[tuple[float, float]], columns: int, top: float, end_s: float, rows: int
) -> list[str]:
    """Means over equal parts of the last minutes, the latest at the right; blank where nothing is known.

    Points are times in seconds and values. A full block in every row stands for `top`; the last part ends at
    `end_s`.

    >>> points = [(530.0, 0.0), (595.0, 50.0), (600.0, 100.0)]
    >>> sparkline(points, 10, 100.0, 600.0, 1), sparkline(points, 10, 100.0, 600.0, 2)
    (['        ▁▇'], ['         ▅', '        ▁█'])
    """
    parts: list[list[float]] = [[] for _ in range(columns)]
    for time_s, value in points:
        place = columns - 1 - int((end_s - time_s) / HISTORY_S * columns)
        if 0 <= place < columns and isfinite(value):
            parts[place].append(value)
    shares = [sum(part) / len(part) / (top or 1.0) if part else None for part in parts]
    return ["".join(_bar(share, rows, row) for share in shares) for row in reversed(range(rows))]


def _bar(share: float | None, rows: int, row: int) -> str:
    """What of a bar stands in a row, from the bottom; that of nothing is still to be seen."""
    if share is None:
        return " "
    filled = int((share * rows - row) * len(_BARS))
    return " " if row and filled < 1 else _BARS[max(0, min(len(_BARS) - 1, filled))]


def _process_lines(machine: Machine, names: Mapping[str, str], width: int, palette: Palette) -> list[Text]:
    heads = "".join(head.rjust(_USE_WIDTH) for head in _HEADS)
    room = max(10, width - len(heads) - 4)
    lines = [Text(f"   {fit('process', room)}{heads}", palette.muted)]
    for one in machine.processes:
        where = ", ".join(names.get(device, device) for device in one.devices)
        name = f"{one.name} on {where}" if where else one.name
        mark, style = ("●", palette.primary) if one.is_ours else ("·", palette.muted)
        line = Text.assemble((f" {mark} ", style), (fit(name, room), palette.foreground))
        lines.append(line.append("".join(use.rjust(_USE_WIDTH) for use in _uses(one)), palette.foreground))
    if not machine.processes:
        lines.append(Text("   no run is at work, and nothing else is busy", palette.muted))
    return lines


def _uses(process: ProcessUse) -> Sequence[str]:
    gpu = "" if process.gpu_bytes is None else f"{process.gpu_bytes / _GIB:.1f} GB"
    cpu = "" if process.cpu_percent is None else f"{process.cpu_percent:.0f} %"
    return gpu, cpu, f"{process.memory_bytes / _GIB:.1f} GB"
