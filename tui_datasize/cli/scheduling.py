"""The command that starts, restarts, stops and looks for the scheduler."""

from __future__ import annotations

import argparse

from tui_datasize.cli.basics import project_paths, talk, tell
from tui_datasize.errors import EXIT_OK, EXIT_RUN_FAILED, ConfigError
from tui_datasize.experiments.device_settings import DeviceOptions
from tui_datasize.experiments.project_tables import device_settings
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.requests import Answered, RestartScheduler, StopScheduler
from tui_datasize.jobs.scheduler_client import SchedulerLook
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.text import plural


def scheduler(arguments: argparse.Namespace) -> int:
    """Start, restart, stop or look for the scheduler; `status` exits with 1 when there is none."""
    paths, options = project_paths(arguments), DeviceOptions.of(arguments)
    if arguments.action == "start":
        return _start(paths, options)
    if arguments.action == "restart":
        return tell(QueueClient(paths).request(RestartScheduler(options)))
    if options.said:
        what = f"{options.arguments()[0]} is for a scheduler that starts"
        raise ConfigError(what, fix="`scheduler start` and `scheduler restart` take it")
    client = QueueClient(paths)
    return _stop(client) if arguments.action == "stop" else _show(client.look_at_scheduler())


def _start(paths: ProjectPaths, options: DeviceOptions) -> int:
    client = QueueClient(paths, scheduler_options=options.arguments())
    if options.said:
        if client.scheduler_alive():
            what = f"{options.arguments()[0]} is for a scheduler that starts, and one runs"
            fix = "`datasize-tui scheduler restart` takes the same options; running jobs go on"
            raise ConfigError(what, fix=fix)
        options.check(device_settings(paths.root))
    client.ensure_scheduler()
    alive = client.scheduler_alive()
    talk(f"scheduler: {'running' if alive else 'not running'}")
    return EXIT_OK if alive else EXIT_RUN_FAILED


def _stop(client: QueueClient) -> int:
    outcome = client.request(StopScheduler())
    return tell(outcome) or (EXIT_OK if outcome.answered is Answered.DONE else EXIT_RUN_FAILED)


def _show(look: SchedulerLook) -> int:
    from tui_datasize.render.console import data_console, plain_table

    off = "stopped" if look.stopped else "not running"
    at_once = f", {plural(look.slots, 'job')} at once now" if look.slots is not None else ""
    talk(f"scheduler: {'running' if look.alive else off}{at_once}")
    if look.file_problem:
        kept = "the scheduler keeps its settings of the devices" if look.alive else "no scheduler can start"
        talk(f"{kept}: {look.file_problem}")
    settings = list(look.in_force())
    if look.alive and not settings:
        talk("its settings are unknown; after `datasize-tui scheduler restart` they are shown")
    if settings:
        table = plain_table("setting", "value" if look.alive else "next", "from")
        for setting in settings:
            table.add_row(setting.name, setting.value, setting.source)
        data_console().print(table)
    return EXIT_OK if look.alive else EXIT_RUN_FAILED
