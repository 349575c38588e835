"""The app: a header, three tabs, and the traffic between them, the queue and the polling thread."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import App, ComposeResult, ScreenStackError, SystemCommand
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widgets import ContentSwitcher
from textual.worker import Worker, WorkerState

from tui_datasize.errors import DatasizeError
from tui_datasize.runlog.notes import read_remarks
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.tui.frames import WholeFrames
from tui_datasize.tui.key_order import COLLECTS_EVERY_S, loaded
from tui_datasize.tui.keys import (
    LIST_KEYS,
    KeyBar,
    KeyGroup,
    commands_of,
    help_text,
    keys_of,
    without_taken,
)
from tui_datasize.tui.news import NewsReader, farewell, new_mistakes, terminal_signal
from tui_datasize.tui.pane import Pane
from tui_datasize.tui.polling.poller import INTERVAL_S, Poller, open_look
from tui_datasize.tui.polling.snapshot import EMPTY, ExperimentPlan, Interest, Snapshot
from tui_datasize.tui.preferences import AS_USUAL, Preferences
from tui_datasize.tui.preferred import SLOW_S, PreferredApp
from tui_datasize.tui.queue.actions import experiment_facts
from tui_datasize.tui.queue.tab import QueuePane
from tui_datasize.tui.requests import Requests, SchedulerKeeper
from tui_datasize.tui.terminal import SparingDriver
from tui_datasize.tui.view_state import load_view_state, save_view_state
from tui_datasize.tui.widgets.dialogs import Copied, FollowingDialog, TextDialog, facts_table
from tui_datasize.tui.widgets.header_strip import TABS, HeaderStrip
from tui_datasize.tui.widgets.palette import THEME, palette_of
from tui_datasize.tui.widgets.status_line import StatusLine

if TYPE_CHECKING:
    from tui_datasize.jobs.client import QueueClient
    from tui_datasize.jobs.queue.requests import Outcome, RestartScheduler, StopScheduler
    from tui_datasize.jobs.scheduler.devices import DeviceReport
    from tui_datasize.tui.analysis.tab import AnalysisPane
    from tui_datasize.tui.devices_screen import DevicesScreen
    from tui_datasize.tui.live.tab import LivePane
    from tui_datasize.tui.polling.record import ProjectRecord


_FIRST_FRAME_S = 0.5
"""So long nothing is drawn, unless the project has been read before."""
_FREE_DISK = "Free disk: remove checkpoints that nothing needs"


class DatasizeApp(PreferredApp):
    """The whole screen; everything it talks to comes from outside.

    `open_record` and `read_devices` are called on the polling thread.
    """

    TITLE = "datasize"
    CSS_PATH: ClassVar[list[str]] = ["app.tcss", "queue/tab.tcss", "live/tab.tcss", "analysis/tab.tcss"]  # type: ignore[assignment]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "open_tab('queue')", "Queue", show=False, tooltip="Queue: experiments, cells, jobs"),
        Binding("2", "open_tab('live')", "Live", show=False, tooltip="Live: training curves"),
        Binding("3", "open_tab('analysis')", "Analysis", show=False, tooltip="Analysis: learning curve"),
        Binding("ctrl+e", "export", "export CSV", show=False, tooltip="Write the table in view as CSV"),
        Binding(
            "M", "devices", "devices", show=False, tooltip="Devices in the last minutes, and who takes them"
        ),
        Binding("ctrl+n", "note", "note", show=False, tooltip="Write a remark on the experiment"),
        Binding("F", "prune", "free disk", show=False, tooltip=_FREE_DISK),
        Binding("question_mark,f1", "help", "keys", tooltip="This page"),
        Binding("ctrl+l", "redraw", "redraw", show=False, tooltip="Draw the whole screen again"),
        Binding("ctrl+z", "suspend_process", "shell", show=False, tooltip="Back to the shell; fg returns"),
        Binding("q", "leave", "leave", tooltip="Leave; queued and running jobs go on"),
    ]

    @dataclass
    class SnapshotArrived(Message):
        """The polling thread saw something new."""

        snapshot: Snapshot

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, DatasizeApp.SnapshotArrived)

    @dataclass
    class PollingFailed(Message):
        """A look at the project failed as a whole."""

        text: str

    def __init__(
        self,
        project: ProjectPaths,
        queue: QueueClient,
        open_record: Callable[[], ProjectRecord],
        read_devices: Callable[[], DeviceReport],
        interval_s: float = INTERVAL_S,
        preferences: Preferences = AS_USUAL,
    ) -> None:
        # Without this Textual takes NO_COLOR for shades of grey.
        super().__init__(SparingDriver, ansi_color="NO_COLOR" in os.environ or None, preferences=preferences)
        self.register_theme(THEME)
        # Set before the app runs: afterwards every style would be computed a second time.
        self.set_reactive(App.theme, preferences.theme)
        self.paint_as(self.current_theme)
        self.stylesheet.set_variables(self.get_css_variables())
        self._project = project
        self._queue = queue
        self.snapshot = EMPTY
        self._header = HeaderStrip(project.root)
        self._status = StatusLine(project.root)
        self._requests = Requests(queue, self._tell)

        collector = partial(open_look, project, queue, open_record, read_devices)
        self._interval_s = max(interval_s, SLOW_S) if preferences.slow else interval_s
        self._poller = self._poll(collector)
        self._files = Path.home() if self.is_read_only else project.root
        # They are shown what is new until the last moment, when they may be gone from the screen already.
        self._switcher = ContentSwitcher(initial=TABS[0][0])
        self._queue_pane = QueuePane(project, id="queue")
        # The other two are loaded when the first frame has been drawn.
        self._live: LivePane | None = None
        self._analysis: AnalysisPane | None = None
        self._devices: DevicesScreen | None = None
        self._chosen_run = self._chosen_experiment = ""
        self._news = NewsReader()
        self._restored = load_view_state(project)
        self._keeper = SchedulerKeeper()
        self._before_first_frame = ExitStack()

    def _poll(self, open_collector: Callable[[], Callable[[Interest], Snapshot]]) -> Poller:
        return Poller(
            open_collector,
            lambda snapshot: self.post_message(self.SnapshotArrived(snapshot)),
            lambda text: self.post_message(self.PollingFailed(text)),
            self._interval_s,
        )

    def get_default_screen(self) -> Screen[None]:
        return WholeFrames(self.size)

    def compose(self) -> ComposeResult:
        yield self._header
        with self._switcher:
            yield self._queue_pane
        yield self._status
        yield KeyBar()

    async def on_mount(self) -> None:
        self._before_first_frame.enter_context(self.batch_update())
        self._first_frame = self.set_timer(_FIRST_FRAME_S, self._draw_first_frame)
        self.set_interval(COLLECTS_EVERY_S, self.collect_garbage)
        # What others wrote meanwhile is all that the terminal shows then.
        self.app_resume_signal.subscribe(self, lambda _: self.action_redraw())
        self._poller.start()
        self.run_worker(self._requests.work(), group="requests", exit_on_error=False)
        await self.action_open_tab(self._restored.tab)

    def on_resize(self) -> None:
        if isinstance(self._driver, SparingDriver):
            self._driver.forget()

    def action_redraw(self) -> None:
        self.on_resize()
        self.screen.refresh()

    def draw_seldom(self, seldom: bool) -> None:
        self._poller.interval_s = max(self._interval_s, SLOW_S if seldom else 0.0)

    def show_rate(self, bytes_per_s: float | None) -> None:
        self._header.show_rate(bytes_per_s)

    def say(self, text: str, *, error: bool = False) -> None:
        self._status.say(text, error=error)

    def on_unmount(self) -> None:
        self._poller.stop()

    async def _live_pane(self) -> LivePane:
        if self._live is None:
            await loaded("tui_datasize.tui.live.tab")
        if self._live is None:
            from tui_datasize.tui.live.columns import columns_of
            from tui_datasize.tui.live.tab import LivePane

            self._live = LivePane(id="live")
            self._live.is_grid = self._restored.is_live_grid
            self._live.choose_columns(columns_of(self._restored.columns))
            await self._mount_hidden(self._live)
        return self._live

    async def _analysis_pane(self) -> AnalysisPane:
        if self._analysis is None:
            await loaded("tui_datasize.tui.analysis.tab")
        if self._analysis is None:
            from tui_datasize.tui.analysis.analyst import Analyst
            from tui_datasize.tui.analysis.tab import AnalysisPane

            self._analysis = AnalysisPane(Analyst(self._project), id="analysis")
            self._analysis.targets.update(self._restored.targets)
            await self._mount_hidden(self._analysis)
        return self._analysis

    async def _mount_hidden(self, pane: Pane) -> None:
        pane.display = False
        await self._switcher.mount(pane)

    @property
    def pane(self) -> Pane:
        current = {"live": self._live, "analysis": self._analysis}.get(self._switcher.current or "")
        return current or self._queue_pane

    @on(SnapshotArrived)
    def _show_snapshot(self, event: SnapshotArrived) -> None:
        before, self.snapshot = self.snapshot, event.snapshot
        first = before is EMPTY
        with self.batch_update():
            self._header.show(event.snapshot)
            self._status.show_problems(event.snapshot.problems)
            self._show_in(self.pane)
            if self._devices:
                self._devices.show(event.snapshot)
            if isinstance(self.screen, FollowingDialog):
                self.screen.show(event.snapshot)
            if first:
                self._after_first_look(event.snapshot)
        if first:
            self._draw_first_frame()
        if not self.is_read_only and self._keeper.needs_scheduler(before, event.snapshot):
            self._keeper.note_wake()
            self._begin("waking the scheduler", self._wake_scheduler(gone=before.scheduler_alive))
        if before.is_ready and (mistakes := new_mistakes(before, event.snapshot)):
            self._status.say(mistakes, error=True)
        self._tell_news(event.snapshot)
        self._follow_interest()
        if event.snapshot.unread:
            self.call_after_refresh(self._poller.read_on)
        elif not before.is_ready:
            self.run_worker(self._load_ahead(), name="loading", exit_on_error=False)

    async def _load_ahead(self) -> None:
        """What the first look at the other tabs needs: modules and widgets."""
        for load in (self._live_pane, partial(loaded, "plotext"), self._analysis_pane):
            await self.until_nobody_types()
            await load()
        self.keep_what_is_there()

    def _show_in(self, pane: Pane) -> None:
        """What is shown of the queue alone at first, the Queue tab has all room for."""
        is_enough = self.snapshot.table is not None or pane is self._queue_pane
        pane.show(self.snapshot if is_enough else EMPTY)

    def _draw_first_frame(self) -> None:
        self._first_frame.stop()
        self._before_first_frame.close()
        with suppress(ScreenStackError):
            self.screen.refresh()

    def _tell_news(self, snapshot: Snapshot) -> None:
        news = self._news.read(snapshot)
        if not news:
            return
        text = " · ".join(one.text for one in news)
        self._status.say(text, error=any(one.is_bad for one in news))
        if self.preferences.bell:
            self._send(terminal_signal(text))

    def _after_first_look(self, snapshot: Snapshot) -> None:
        self._queue_pane.show(snapshot)
        self._queue_pane.select_experiment(self._restored.experiment or snapshot.liveliest_experiment())
        self._queue_pane.offer_beginning()

    async def _wake_scheduler(self, *, gone: bool) -> str:
        try:
            is_started = await asyncio.to_thread(self._queue.keep_scheduler)
        finally:
            self._poller.look_now()
        return "Scheduler exited; restarting. Runs unaffected." if gone and is_started else ""

    def _begin(self, what: str, work: Coroutine[Any, Any, str]) -> None:
        """Do something in the background and say what came of it, where it has words for that."""
        self.run_worker(self._say_outcome(work), name=what, exit_on_error=False)

    async def _say_outcome(self, work: Coroutine[Any, Any, str]) -> None:
        try:
            if text := await work:
                self._status.say(text)
        except DatasizeError as error:
            self._status.say(error.line, error=True)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR:
            error = event.worker.error
            self._status.say(f"{event.worker.name} failed: {type(error).__name__}: {error}", error=True)

    @on(PollingFailed)
    def _show_failure(self, event: PollingFailed) -> None:
        self._status.show_problems([event.text])

    def _tell(self, outcome: Outcome) -> None:
        self._status.say(outcome.sentence, error=outcome.is_bad)
        self._poller.look_now()

    @on(Pane.Begun)
    def _begin_for_pane(self, event: Pane.Begun) -> None:
        self._begin(event.what, event.work)

    @on(Pane.Requested)
    def _request(self, event: Pane.Requested) -> None:
        self._requests.add(event.command)

    @on(QueuePane.RunChosen)
    def _watch_run(self, event: QueuePane.RunChosen) -> None:
        self._chosen_run = event.run_id
        # Not here: keys would wait for what is imported.
        self.call_after_refresh(self.run_worker, self._choose_run, exit_on_error=False)

    async def _choose_run(self) -> None:
        (await self._live_pane()).choose(self._chosen_run)

    @on(QueuePane.ExperimentChosen)
    def _analyse_experiment(self, event: QueuePane.ExperimentChosen) -> None:
        self._chosen_experiment = event.name
        self.call_after_refresh(self.run_worker, self._choose_experiment, exit_on_error=False)

    async def _choose_experiment(self) -> None:
        (await self._analysis_pane()).choose_experiment(self._chosen_experiment)

    @on(QueuePane.ExperimentAsked)
    def _show_experiment(self, event: QueuePane.ExperimentAsked) -> None:
        self._begin("reading the experiment", self._explain(event.plan))

    async def _explain(self, plan: ExperimentPlan) -> str:
        used = {usage.experiment: usage for usage in await asyncio.to_thread(self._queue.usage)}
        facts = experiment_facts(self.snapshot, plan, used.get(plan.name))
        facts += [("note", one) for one in await asyncio.to_thread(read_remarks, self._project, plan.name)]
        self.push_screen(TextDialog("Experiment", facts_table(facts, palette_of(self).muted)))
        return ""

    def action_scheduler(self) -> None:
        self._begin("reading the scheduler", self._offer_scheduler())

    async def _offer_scheduler(self) -> str:
        look = await asyncio.to_thread(self._queue.look_at_scheduler)
        from tui_datasize.tui.scheduler_dialog import SchedulerDialog

        self.push_screen(SchedulerDialog(look, self.snapshot.devices), self._reschedule)
        return ""

    def _reschedule(self, command: StopScheduler | RestartScheduler | None) -> None:
        if command is not None:
            from tui_datasize.jobs.queue.requests import StopScheduler

            doing = "stopping" if isinstance(command, StopScheduler) else "restarting"
            self._status.say(f"{doing} the scheduler")
            self._requests.add(command)

    @on(Pane.Remarked)
    def _remark(self, event: Pane.Remarked) -> None:
        self._status.say(event.text)

    @on(Pane.InterestChanged)
    def _follow_interest(self) -> None:
        # What a key has changed is drawn first, and tells what is in view.
        self.call_after_refresh(self._tell_interest)

    def _tell_interest(self) -> None:
        self._poller.look_at(replace(self.pane.interest(), machine=self._devices is not None))

    @on(HeaderStrip.TabChosen)
    async def _tab_chosen(self, event: HeaderStrip.TabChosen) -> None:
        await self.action_open_tab(event.tab)

    async def action_open_tab(self, tab: str) -> None:
        tab = tab if tab in dict(TABS) else TABS[0][0]
        self._header.show_tab(tab)
        opened = {"live": self._live_pane, "analysis": self._analysis_pane}.get(tab)
        pane = await opened() if opened else self._queue_pane
        self._switcher.current = pane.id
        if not pane.outer_size and isinstance(self.screen, WholeFrames):
            # Where keys that come at once shall find something, and a frame is not there yet.
            self.screen.lay_out()
        self._show_in(pane)
        first = pane.first_focus
        if first.is_attached:
            # At once: the next key may be waiting to be read.
            first.screen.set_focus(first)
        else:
            first.focus()
        self._follow_interest()

    async def action_export(self) -> None:
        await self._say_outcome(self._export())

    async def _export(self) -> str:
        from tui_datasize.tui.exports import save_table

        return await save_table(self.pane.table_in_view(), self._files)

    @on(Pane.ChartSaved)
    def _save_chart(self, event: Pane.ChartSaved) -> None:
        from tui_datasize.tui.exports import save_chart

        arguments = (event.title, event.lines, event.form, self._files)
        send = partial(self.call_from_thread, self._send)
        self._begin("saving the chart", save_chart(*arguments, send))

    @on(Copied)
    def _take_copy(self, event: Copied) -> None:
        from tui_datasize.tui.exports import copy

        self._begin("copying", copy(event.text, partial(self.call_from_thread, self._send)))

    def _send(self, codes: str) -> None:
        if self._driver is not None:
            self._driver.write(codes)

    def action_note(self) -> None:
        from tui_datasize.tui.notes import ask_for_remark

        self._begin("noting", ask_for_remark(self, self._project, self.pane.experiment_in_view))

    def action_devices(self) -> None:
        from tui_datasize.tui.devices_screen import DevicesScreen

        self._devices = DevicesScreen(self.snapshot)
        self.push_screen(self._devices, self._leave_devices)
        self._follow_interest()

    def _leave_devices(self, _: None) -> None:
        self._devices = None
        self._follow_interest()

    def action_prune(self) -> None:
        from tui_datasize.tui.prune_dialog import offer_prune

        self._begin("freeing the disk", offer_prune(self, self._project, self._queue.jobs))

    def action_help(self) -> None:
        self.push_screen(TextDialog("Keys", help_text(self._key_groups(), LIST_KEYS, palette_of(self))))

    def _key_groups(self) -> Sequence[KeyGroup]:
        own = self.pane.key_groups()
        return (*own, without_taken(keys_of("Everywhere", self), own))

    def action_help_quit(self) -> None:
        """Tell the way out; Textual calls this for ctrl+c."""
        self._status.say("press q to leave; jobs run on")

    async def action_leave(self) -> None:
        try:
            await self._requests.finish()
        except TimeoutError:
            self._status.say("the queue has not answered yet; press ctrl+q to leave all the same", error=True)
            return
        state = replace(
            self._restored, tab=self._switcher.current or "", experiment=self._queue_pane.experiment
        )
        if self._live:
            state = replace(state, is_live_grid=self._live.is_grid, columns=asdict(self._live.columns))
        if self._analysis:
            state = replace(state, targets=self._analysis.targets)
        if not self.is_read_only:
            save_view_state(self._project, state)
        self.exit(message=farewell(self.snapshot))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:  # noqa: ARG002
        yield from commands_of(self._key_groups(), self.run_action)
        yield SystemCommand("Theme", "Change the colours", self.action_change_theme)
