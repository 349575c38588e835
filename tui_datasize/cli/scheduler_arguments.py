"""Arguments of the command that starts, restarts, stops and looks for the scheduler."""

from __future__ import annotations

import argparse

from tui_datasize.cli.argument_types import whole_number
from tui_datasize.experiments.device_settings import MOST_SLOTS, PACKS


def add_scheduler_arguments(scheduler: argparse.ArgumentParser) -> None:
    """What is to be done, and the options of a scheduler that starts."""
    scheduler.add_argument(
        "action",
        choices=("start", "restart", "stop", "status"),
        help="start: unless one runs; restart: end the one that runs, whose runs go on, and start one with "
        "exactly these options; status: whether one runs, what holds for the devices and where from",
    )
    slots = whole_number(1, MOST_SLOTS)
    start = scheduler.add_argument_group(
        "options of start and restart",
        "for this scheduler alone; [devices] in experiments.toml holds for every one",
    )
    start.add_argument("--slots-per-gpu", type=slots, metavar="N", help="jobs at once on a GPU")
    start.add_argument(
        "--max-jobs-per-gpu", type=slots, metavar="N", help="the same, jobs of others included"
    )
    start.add_argument(
        "--cpu-slots", type=slots, metavar="N", help="jobs at once on the CPU, where it takes them"
    )
    start.add_argument(
        "--cpu",
        action=argparse.BooleanOptionalAction,
        help="jobs on the CPU while no GPU of the machine can take them, or never; a machine that never had "
        "a GPU needs no such option",
    )
    start.add_argument(
        "--packs",
        choices=PACKS,
        help="where one process trains several runs that are alike: nowhere, on GPUs, or on the CPU too",
    )
    start.add_argument("--pack-width", type=slots, metavar="N", help="most runs that one process trains")
    start.add_argument(
        "--cold",
        action=argparse.BooleanOptionalAction,
        help="start every worker as a new process, or fork them from a warm one",
    )
