"""`s` on the Queue tab: the scheduler is shown, restarted with other options, and stopped."""

from __future__ import annotations

import asyncio
import threading

import pytest
from textual.widgets import Input

from tests.tui.fake_queue import TWO_GPUS
from tests.tui.stage import DEADLINE_S, Show, Stage
from tui_datasize.errors import StorageError
from tui_datasize.experiments.device_settings import DeviceOptions, DeviceSettings
from tui_datasize.jobs.queue.requests import Command, Outcome
from tui_datasize.jobs.scheduler.devices import DeviceReport
from tui_datasize.jobs.scheduler_client import SchedulerLook
from tui_datasize.tui.scheduler_dialog import SchedulerDialog


def is_open(show: Show) -> bool:
    return isinstance(show.app.screen, SchedulerDialog)


async def ask(show: Show) -> dict[str, Input]:
    """Open the dialog; its fields by name, in their order."""
    await show.press("s")
    await show.until(lambda: is_open(show))
    await show.settle()
    return {str(entry.name): entry for entry in show.app.screen.query(Input)}


async def test_the_dialog_shows_what_holds_and_where_it_comes_from(busy: Stage):
    said = DeviceOptions(pack_width=4)
    busy.queue.look = SchedulerLook(
        True, slots=2, options=DeviceOptions(cpu_slots=2), file=DeviceSettings(pack_width=4, said=said)
    )
    async with busy.open() as show:
        fields = await ask(show)
        async for _ in show.sizes():
            await show.shows(
                "running, 2 jobs at once",
                "no GPU: cpu_slots counts",
                "4 in experiments.toml",
                "auto by default (off, auto or always)",
                "1 by default; not for this machine",
                "Running jobs go on.",
                "others that this app starts",
                "enter restart",
                "ctrl+t stop",
                "esc back",
            )
        assert next(iter(fields)) == "cpu_slots"
        assert {name: entry.value for name, entry in fields.items() if entry.value} == {"cpu_slots": "2"}
        await show.press("escape")
        await show.until(lambda: not is_open(show))
        assert busy.queue.restarts == []


async def test_on_a_machine_with_gpus_their_slots_come_first(busy: Stage):
    busy.devices = TWO_GPUS
    async with busy.open() as show:
        assert list(await ask(show))[:2] == ["slots_per_gpu", "max_jobs_per_gpu"]
        await show.shows("2 GPUs: slots_per_gpu counts", "one per core by default; not for this machine")


async def test_a_machine_that_starts_nothing_is_told_with_what_ends_that(busy: Stage):
    busy.devices = DeviceReport((), 0, "NVML fails")
    async with busy.open() as show:
        await ask(show)
        await show.shows("0 slots: no GPU can be used; the CPU can, if cpu is yes")


async def test_enter_restarts_with_what_is_written(busy: Stage):
    async with busy.open() as show:
        await ask(show)
        await show.press(*"3", "down", *"yes", "down", *"off", "tab", "tab", *"yes", "enter")
        await show.until(lambda: busy.queue.restarts)
        assert busy.queue.restarts == [DeviceOptions(cpu_slots=3, cpu=True, packs="off", cold=True)]
        await show.shows("scheduler: restarted with cpu_slots 3, cpu true, packs off, cold true", "an app")


async def test_nothing_written_is_as_the_file_says(busy: Stage):
    busy.queue.look = SchedulerLook(True, options=DeviceOptions(cpu_slots=2))
    async with busy.open() as show:
        await ask(show)
        await show.press("ctrl+u", "enter")
        await show.shows("scheduler: restarted as experiments.toml says; running jobs go on")
        assert busy.queue.restarts == [DeviceOptions()]


async def test_what_makes_no_sense_is_told_and_the_dialog_stays(busy: Stage):
    async with busy.open() as show:
        fields = await ask(show)
        await show.press(*"99", "enter")
        async for _ in show.sizes():
            await show.shows("cpu_slots: expected a whole number from 1 to 64, got 99", "esc back")
        await show.press("ctrl+u", "tab", *"never", "enter")
        await show.shows("cpu: expected true or false, got 'never'")
        await show.press("ctrl+u", "tab", *"never", "enter")
        await show.shows("packs: expected one of off, auto, always, got 'never'")
        await show.press("ctrl+u")
        fields["slots_per_gpu"].focus()
        await show.press(*"3", "tab", *"2", "enter")
        await show.shows("max_jobs_per_gpu: expected at least slots_per_gpu, which is 3, got 2")
        assert show.app.screen.focused is fields["max_jobs_per_gpu"]
        assert busy.queue.restarts == []
        await show.press("ctrl+u", *"4", "enter")
        await show.until(lambda: busy.queue.restarts)
        assert busy.queue.restarts == [DeviceOptions(slots_per_gpu=3, max_jobs_per_gpu=4)]


async def test_ctrl_t_stops_the_scheduler_and_s_starts_one_again(busy: Stage):
    async with busy.open() as show:
        await ask(show)
        await show.press("ctrl+t")
        await show.shows("scheduler: stopped; running jobs go on", "scheduler stopped")
        assert busy.queue.started == 0
        await ask(show)
        await show.shows("stopped; none is started before a job is queued or changed", "enter start")
        await show.press("enter")
        await show.shows("scheduler on")
        assert busy.queue.restarts == [DeviceOptions()]


async def test_a_scheduler_that_does_not_end_is_said(busy: Stage):
    busy.queue.hangs = True
    async with busy.open() as show:
        await ask(show)
        await show.press("ctrl+t")
        await show.shows("scheduler: has not ended yet")


async def test_what_cannot_be_told_or_done_is_said(busy: Stage):
    busy.queue.look = SchedulerLook(True, slots=2, options=None, devices=None)
    async with busy.open() as show:
        fields = await ask(show)
        await show.shows("running, 2 jobs at once; its options are unknown")
        assert not any(entry.value for entry in fields.values())
        await show.press("escape")
        busy.queue.look = SchedulerLook(True, file_problem="devices.cpu_slots: expected a whole number")
        await ask(show)
        await show.shows("devices.cpu_slots: expected a whole number")
        await show.press("escape")
        busy.queue.error = StorageError("is damaged", where="/data/runs/queue.db", fix="repair it")
        await show.press("s")
        await show.shows("/data/runs/queue.db: is damaged; repair it")
        busy.queue.error = None
        await ask(show)
        busy.queue.error = StorageError("the scheduler did not start: no space", where="scheduler.log")
        await show.press("enter")
        await show.shows("scheduler.log: the scheduler did not start: no space")


async def test_a_restart_is_not_lost_when_one_leaves_at_once(busy: Stage, monkeypatch: pytest.MonkeyPatch):
    has_begun, may_go_on = threading.Event(), threading.Event()
    request = busy.queue.request

    def take_long(command: Command) -> Outcome:
        has_begun.set()
        may_go_on.wait(DEADLINE_S)
        return request(command)

    monkeypatch.setattr(busy.queue, "request", take_long)
    async with busy.open() as show:
        await ask(show)
        await show.press("enter")
        await show.until(has_begun.is_set)
        leaving = asyncio.create_task(show.pilot.press("q"))
        # The screen goes on while the restart takes its time, and leaving waits for it.
        await show.settle()
        assert show.app.is_running
        may_go_on.set()
        await leaving
        await show.until(lambda: not show.app.is_running)
    assert busy.queue.restarts == [DeviceOptions()]


async def test_a_key_typed_behind_enter_does_not_end_in_a_field_of_the_dialog(busy: Stage):
    async with busy.open() as show:
        await ask(show)
        await show.pilot.press("enter", "q")
        await show.until(lambda: not show.app.is_running)
        assert len(busy.queue.restarts) == 1
