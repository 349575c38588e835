"""What the open app takes of a machine on which nothing happens: processor time and memory.

`python -m benchmarks.app_at_rest [--runs 6000] [--minutes 2] [--project DIR]` opens the app on a project of
finished runs in a terminal of its own, waits until it has read them and settled, and then leaves it alone.
Processor time is that of the process, of all its threads, as the kernel counts it, so that the share is the
same on a busy machine; memory is what is resident, at the start and at the end.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.fakes import fake_spec, write_run
from tests.terminal import opened
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.rebuild import repair
from tui_datasize.runlog.paths import ProjectPaths

_SCREEN = (120, 36)
_SETTLE_S = 25.0
"""What it takes to read and compact the runs, and to import in the background, is no rest."""
_MIB = 2**20


def main(argv: Sequence[str] | None = None) -> None:
    """Measure once and print one line a minute."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.app_at_rest", description=__doc__)
    parser.add_argument("--runs", type=int, default=6000, help="finished runs (default: 6000)")
    parser.add_argument("--minutes", type=float, default=2.0, help="how long it is left alone (default: 2)")
    parser.add_argument("--settle-s", type=float, default=_SETTLE_S, help="seconds before that (default: 25)")
    parser.add_argument("--project", type=Path, help="a project that exists, in the place of fake runs")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="at-rest.") as directory:
        project = ProjectPaths(arguments.project or Path(directory))
        if not arguments.project:
            _write(project, arguments.runs)
        try:
            _measure(project, arguments.settle_s, arguments.minutes)
        finally:
            QueueClient(project).stop_scheduler()


def _write(project: ProjectPaths, runs: int) -> None:
    """Finished runs of one experiment, and a queue that knows them."""
    project.experiments.write_text(
        '[experiments.sweep]\ndataset = "digits"\nmodel = { name = "mlp" }\nsizes = [100]\n'
        "budget = { samples = 6400 }\nbatch_size = 32\n"
    )
    for number in range(runs):
        spec = fake_spec("sweep", train_size=100 + 100 * (number % 11), seed=number // 11, evaluations=12)
        write_run(project, spec, tables=False)
    repair(project)


def _measure(project: ProjectPaths, settle_s: float, minutes: float) -> None:
    command = [sys.executable, "-m", "tui_datasize", "--project", str(project.root)]
    with opened(command, _SCREEN) as terminal:
        time.sleep(settle_s)
        began, bytes_before = look(terminal.pid), terminal.drawn
        for minute in range(1, round(minutes) + 1):
            time.sleep(60)
            cpu_s, resident = look(terminal.pid)
            used_s = cpu_s - began[0]
            print(
                f"minute {minute}: {used_s:.2f} s of processor time, {used_s / minute / 0.6:.2f} % of a "
                f"core; {began[1] / _MIB:.1f} MiB at first, {resident / _MIB:.1f} MiB now; "
                f"{terminal.drawn - bytes_before} bytes drawn",
                flush=True,
            )


def look(pid: int) -> tuple[float, int]:
    """Seconds of processor time so far, and resident bytes; see proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
