"""Arguments of the command that starts, restarts, stops and looks for the scheduler."""

from __future__ import annotations

import argparse

from tui_datasize.experiments.device_settings import add_device_options


def add_scheduler_arguments(scheduler: argparse.ArgumentParser) -> None:
    """What is to be done, and the options of a scheduler that starts."""
    scheduler.add_argument(
        "action",
        choices=("start", "restart", "stop", "status"),
        help="start: unless one runs; restart: end the one that runs, whose runs go on, and start one with "
        "exactly these options; status: whether one runs, what holds for the devices and where from",
    )
    start = scheduler.add_argument_group(
        "options of start and restart",
        "for this scheduler alone; [devices] in experiments.toml holds for every one",
    )
    add_device_options(start)
