"""`selftest`: whether this machine computes as it should."""

from __future__ import annotations

import argparse
from collections import Counter

from tui_datasize.errors import ConfigError
from tui_datasize.jobs.scheduler.slots import read_holders, slot_directory
from tui_datasize.training.selftest import command


def selftest(arguments: argparse.Namespace) -> int:
    """Make the steps asked for, where no run is at work: it would change the figures, or run out of memory.

    Raises:
        ConfigError: Runs are at work, or an option is wrong.
    """
    if not (arguments.list or arguments.busy):
        used = Counter(holder.project or "?" for holder in read_holders(slot_directory()))
        if used:
            by_whom = ", ".join(f"{project} ({count})" for project, count in used.items())
            raise ConfigError(
                f"runs are at work: {by_whom}",
                fix="`datasize-tui drain` and wait, or give --busy: figures are then of a busy machine",
            )
    return command.selftest(arguments)
