"""The two lines at the top: tabs and queue counts, devices and time left."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text
from textual import events
from textual.geometry import Size
from textual.message import Message

from tui_datasize.jobs.queue.state import JobState
from tui_datasize.text import fit, time_left, visible
from tui_datasize.tui.polling.snapshot import EMPTY, Snapshot
from tui_datasize.tui.widgets.line_view import LineView
from tui_datasize.tui.widgets.palette import INCOMPLETE, STATE_LOOKS, Palette, state_style

if TYPE_CHECKING:
    from tui_datasize.jobs.scheduler.devices import DeviceReport, Gpu

TABS = (("queue", "Queue"), ("live", "Live"), ("analysis", "Analysis"))
_COUNTED = (
    *(JobState.RUNNING, JobState.QUEUED, JobState.HELD, JobState.INTERRUPTED, JobState.SUCCEEDED),
    *(INCOMPLETE, JobState.FAILED, JobState.CANCELLED),
)
_ALWAYS_COUNTED = (JobState.RUNNING, JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED)
_GIB = 2**30
_LEAST_DEVICES = 16
"""Columns below which the devices are left out beside what jobs wait for."""
_HOT_C = 85
_MOST_ROWS = 3
"""Of what is wrong with the machine."""


class HeaderStrip(LineView):
    """Tabs, queue counts, devices, time left and the scheduler."""

    DEFAULT_CSS = "HeaderStrip { height: 2; }"

    @dataclass
    class TabChosen(Message):
        """A tab was clicked."""

        tab: str

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._project = root.name
        self._root = f"{root}/"
        self._tab = TABS[0][0]
        self._snapshot: Snapshot = EMPTY
        self._rate = ""

    def show(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.redraw()

    def show_rate(self, bytes_per_s: float | None) -> None:
        """Tell how much a slow link carries; nothing of a fast one."""
        self._rate = "" if bytes_per_s is None else f"{bytes_per_s / 1000:.1f} kB/s "
        self.redraw()

    def show_tab(self, tab: str) -> None:
        self._tab = tab
        self.redraw()

    def redraw(self) -> None:
        """Take as many rows as the words on what is wrong need, then draw."""
        self.styles.height = 1 + (len(self._wrong(self.app.size.width)) or 1)
        super().redraw()

    def _wrong(self, width: int) -> list[str]:
        """What is wrong with the machine, and what to do."""
        if not (faults := self._snapshot.faults):
            return []
        more = f" (+{len(faults) - 1} more: `status`)" if len(faults) > 1 else ""
        # Everyone knows which project this is.
        sentence = faults[0].sentence.replace(self._root, "")
        lines = textwrap.wrap(f"{visible(sentence)}{more}", max(10, width - 2))
        return lines[:_MOST_ROWS]

    def draw(self, size: Size) -> Sequence[Text]:
        palette, width = self.palette, size.width
        tabs, counts = self._tabs(palette), count_text(self._snapshot, palette, width - 32)
        is_tight = tabs.cell_len + counts.cell_len > width
        room = width - tabs.cell_len - counts.cell_len - 4
        if room >= len(self._project):
            tabs.append(f"  {self._project}", palette.muted)
        first = tabs if is_tight else _spread(tabs, counts, width)
        if wrong := self._wrong(width):
            return [first, *(Text(fit(f" {line}", width), f"bold reverse {palette.error}") for line in wrong)]
        if is_tight:
            return [
                first,
                _spread(Text(" ").append_text(counts), self._state(palette, few_words=True), width),
            ]
        state = self._state(palette)
        line = self._waiting(width - state.cell_len - 3, palette)
        room = width - state.cell_len - 3 - line.cell_len
        if room >= _LEAST_DEVICES or not line:
            line.append_text(device_text(self._snapshot.devices, room, palette))
        return [first, _spread(Text(" ").append_text(line), state, width)]

    def _waiting(self, width: int, palette: Palette) -> Text:
        """Which project has the slots that jobs wait for."""
        text = self._snapshot.waiting
        if not text:
            return Text()
        if len(text) > width and " used by " in text:
            text = f"waits for {text.partition(' used by ')[2]}"
        return Text(fit(text, width).rstrip() + "  ", style=palette.accent)

    def _tabs(self, palette: Palette) -> Text:
        line = Text()
        for index, (tab, title) in enumerate(TABS, start=1):
            chosen = tab == self._tab
            style = f"bold reverse {palette.primary}" if chosen else palette.muted
            line.append(f" {index} {title} ", style)
        return line

    def _state(self, palette: Palette, *, few_words: bool = False) -> Text:
        snapshot = self._snapshot
        if not snapshot.is_ready:
            read = len(snapshot.facts)
            count = f"runs: {read:,} of {read + snapshot.unread:,}" if read else "…"
            return Text(f"reading {count} ", style=palette.muted)
        left_s = snapshot.time_left.ends_in_s
        line = Text()
        if left_s is not None and (words := time_left(left_s)) != "soon":
            line = Text.assemble((words, palette.foreground), (" left ", palette.muted))
        alive = snapshot.scheduler_alive
        off = "scheduler stopped" if snapshot.stopped else "scheduler off"
        line.append(self._rate, palette.muted)
        if snapshot.draining:
            line.append("‖ draining ", f"bold {palette.accent}")
            return line if alive else line.append(f"○ {off} ", palette.muted)
        glyph, word, style = ("●", "scheduler on", palette.success) if alive else ("○", off, palette.muted)
        word = word.removeprefix("scheduler ") if few_words else word
        return line.append(f"{glyph} ", style).append(f"{word} ", palette.muted)

    def on_click(self, event: events.Click) -> None:
        if event.y == 0:
            start = 0
            for index, (tab, title) in enumerate(TABS, start=1):
                end = start + len(f" {index} {title} ")
                if start <= event.x < end:
                    self.post_message(self.TabChosen(tab))
                start = end


def _spread(left: Text, right: Text, width: int) -> Text:
    return left.append(" " * max(1, width - left.cell_len - right.cell_len)).append_text(right)


def count_text(snapshot: Snapshot, palette: Palette, width: int) -> Text:
    """`◐ 2 running  ○ 12 queued  ● 20 done`; where it does not fit without zeros, at last without words."""
    counts = snapshot.counts()
    counts[JobState.RUNNING] += counts.pop(JobState.STARTING, 0)
    found = [state for state in _COUNTED if counts[state]]
    usual = [state for state in _COUNTED if counts[state] or state in _ALWAYS_COUNTED]
    for shown, gap, with_words in (
        *((usual, "  ", True), (found or usual, "  ", True), (found or usual, " ", True)),
        (usual, " ", False),
    ):
        line = Text()
        for state in shown:
            look = STATE_LOOKS[state]
            style = state_style(state, palette) if counts[state] else palette.muted
            word = f" {look.word}" if with_words else ""
            line.append(f"{look.glyph} {counts[state]:,}{word}", style).append(gap)
        line.rstrip()
        line.append(" ")
        if line.cell_len <= width:
            break
    return line


def device_text(report: DeviceReport | None, width: int, palette: Palette) -> Text:
    """The devices in as much detail as fits into `width` columns."""
    if report is None:
        return Text()
    if not report.gpus:
        return Text(fit(_cpu_line(report), width).rstrip(), style=palette.muted)
    for detail in (2, 1, 0):
        line = Text("  ").join(_gpu_text(gpu, detail, palette) for gpu in report.gpus)
        if line.cell_len <= width:
            return line
    return _all_together(report.gpus, palette)


def _cpu_line(report: DeviceReport) -> str:
    # What the monitor says around the reason stands here already.
    reason = report.problem.removeprefix("NVML: ").partition(": jobs run on the CPU")[0]
    if not report.cpu_slots:
        return reason or "no device"
    slots = f"{report.cpu_slots} CPU slot{'' if report.cpu_slots == 1 else 's'}"
    return f"no GPU · {slots}" if reason else slots


def _gpu_text(gpu: Gpu, detail: int, palette: Palette) -> Text:
    """Number and load; from detail 1 on memory in use and temperature, from 2 on name and all memory."""
    name = f"{gpu.name.removeprefix('NVIDIA ').split()[0]} " if detail > 1 else ""
    line = Text.assemble((f"{gpu.index} {name}", palette.muted), _load(gpu, palette))
    if detail:
        used, total = (size / _GIB for size in (gpu.memory_used_bytes, gpu.memory_total_bytes))
        memory = f" {used:.0f}/{total:.0f} GB " if detail > 1 else f" {used:.0f}G "
        line.append(memory, palette.foreground).append_text(_temperature(gpu, palette))
    return line


def _load(gpu: Gpu, palette: Palette) -> Text:
    if gpu.fault:
        return Text("fault", style=f"bold {palette.error}")
    if gpu.utilisation_percent is None:
        return Text("–", style=palette.muted)
    return Text(f"{gpu.utilisation_percent}%", style=palette.foreground)


def _temperature(gpu: Gpu, palette: Palette) -> Text:
    if gpu.temperature_c is None:
        return Text()
    colour = palette.error if gpu.temperature_c >= _HOT_C else palette.muted
    return Text(f"{gpu.temperature_c}°C", style=colour)


def _all_together(gpus: Sequence[Gpu], palette: Palette) -> Text:
    loads = [gpu.utilisation_percent for gpu in gpus if gpu.utilisation_percent is not None]
    mean = f"{sum(loads) / len(loads):.0f}% mean" if loads else "load unknown"
    return Text(f"{len(gpus)} GPUs, {mean}", style=palette.foreground)
