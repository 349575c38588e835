"""Commands that wait: a sweep with progress bars, why runs do not go on, and a run's log as it grows."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TextIO

import polars as pl
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tui_datasize.cli.basics import find_run, project_paths, promoted_to, selected_runs, talk, tell
from tui_datasize.cli.queueing import enqueue
from tui_datasize.errors import EXIT_OK, EXIT_RUN_FAILED
from tui_datasize.experiments.budget import total_updates
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.files import open_regular
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.requests import Answered
from tui_datasize.jobs.queue.state import Job, JobState
from tui_datasize.render.console import PlainConsole
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.tail import MetricsTail
from tui_datasize.text import visible

LOOK_EVERY_S = 0.5
_MOST_LOG_BYTES = 2**24
"""Of a log, that are printed at once."""


def run(arguments: argparse.Namespace) -> int:
    """Queue the missing runs of an experiment and wait until all are done; not where any is refused."""
    paths = project_paths(arguments)
    client = QueueClient(paths)
    project, specs = selected_runs(client, arguments)
    command = enqueue(client, specs, project, arguments)
    outcome = client.request(command)
    status = tell(outcome)
    # Until it is answered, a run that is to begin afresh stands there as it ended before.
    while outcome.answered is Answered.NOT_YET and not outcome.error:
        outcome = client.answer_to(command, outcome.acknowledgement)
        if outcome.answered is not Answered.NOT_YET:
            status = tell(outcome)
    if status:
        return status
    experiment = project.experiments[arguments.experiment]
    found = partial(promoted_to, client, experiment) if experiment.search else None
    return EXIT_OK if wait_for(client, [*command.sources, *specs], found) else EXIT_RUN_FAILED


def wait_for(
    client: QueueClient, specs: Sequence[RunSpec], promoted: Callable[[], Sequence[RunSpec]] | None = None
) -> bool:
    """Show the progress of runs on stderr until all have ended; an interrupt leaves them running.

    Runs that their search goes on with are waited for, too: `promoted` tells them.

    What keeps them waiting is told, such as that one of them, or one before them, is held.

    True where every one of them succeeded.
    """
    board = _Board(client.project, specs)
    try:
        with board.bars:
            while not board.show(jobs := client.jobs()) or (promoted and board.add(promoted())):
                client.keep_scheduler()
                kept = obstacles(jobs, board.run_ids, draining=client.settings().draining)
                board.tell(client.waits_for_slots(), *(fault.sentence for fault in client.faults()), *kept)
                time.sleep(LOOK_EVERY_S)
    except KeyboardInterrupt:
        talk("the runs go on; `datasize-tui status` shows them, the same command waits again")
        raise
    for job in board.unsuccessful:
        logs = f"; `datasize-tui logs {job.run_id}`" if job.attempts else ""
        talk(f"{job.run_id}: {job.state.value}: {job.reason}{logs}")
    return not board.unsuccessful


class _Board:
    """Progress on stderr: bars on a terminal, one line per finished run elsewhere."""

    def __init__(self, project: ProjectPaths, specs: Sequence[RunSpec]) -> None:
        self._project = project
        self._specs = {spec.run_id: spec for spec in specs}
        self._console = PlainConsole(stderr=True)
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}", markup=False),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._whole = self.bars.add_task("all runs", total=len(specs), unit="runs")
        self._bar_of: dict[str, TaskID] = {}
        self._tail = MetricsTail()
        self._ended: dict[str, Job] = {}
        self._told: frozenset[str] = frozenset()

    @property
    def run_ids(self) -> Collection[str]:
        return self._specs.keys()

    def add(self, specs: Iterable[RunSpec]) -> bool:
        """Show these runs too; whether any is new."""
        before = len(self._specs)
        self._specs |= {spec.run_id: spec for spec in specs}
        self.bars.update(self._whole, total=len(self._specs))
        return len(self._specs) > before

    @property
    def unsuccessful(self) -> list[Job]:
        return [job for job in self._ended.values() if job.state is not JobState.SUCCEEDED]

    def show(self, jobs: Iterable[Job]) -> bool:
        """Draw the state of the jobs; True once all of ours have ended."""
        ours = [job for job in jobs if job.run_id in self._specs]
        for job in ours:
            if job.state.is_final and job.run_id not in self._ended:
                self._end(job)
        active = [job for job in ours if job.state.is_active]
        for job in active:
            if job.run_id not in self._bar_of:
                spec = self._specs[job.run_id]
                total = total_updates(spec) * (1 + spec.refit)
                task = self.bars.add_task(visible(job.run_id), total=total, unit="updates")
                self._bar_of[job.run_id] = task
        for run_id, update in self._updates(active).items():
            self.bars.update(self._bar_of[run_id], completed=update)
        self.bars.update(self._whole, completed=len(self._ended))
        return len(self._ended) == len(self._specs)

    def tell(self, *texts: str) -> None:
        """Say above the bars what is to be said, each once for as long as it holds."""
        for text in texts:
            if text and text not in self._told:
                # Not cut into lines: it may hold a command to be copied.
                self._console.print(text, soft_wrap=True)
        self._told = frozenset(texts)

    def _end(self, job: Job) -> None:
        self._ended[job.run_id] = job
        if job.run_id in self._bar_of:
            self.bars.remove_task(self._bar_of.pop(job.run_id))
        if not self._console.is_terminal:
            talk(f"{len(self._ended):4} of {len(self._specs)}  {job.run_id}  {job.state.value}")

    def _updates(self, active: Sequence[Job]) -> Mapping[str, int]:
        new = self._tail.read(self._project.run(job.experiment, job.run_id) for job in active)
        reached = new.rows.group_by("run_id").agg(pl.col("update").last())
        return dict(reached.iter_rows())


def logs(arguments: argparse.Namespace) -> int:
    """Print a run's output, then its errors; with --follow, until the run ends."""
    client = QueueClient(project_paths(arguments))
    found = find_run(client, arguments.job)
    files = (found.stdout, found.stderr)
    offsets = {file: _start_of(file) for file in files}
    job = next((job for job in client.jobs() if job.run_id == found.run_id), None)
    if job and not job.attempts and not any(file.exists() for file in files):
        waits = f", and waits for {', '.join(job.waits_for)}" if job.waits_for else ""
        talk(f"{found.run_id}: has not started; it is {job.state}{waits}")
    elif not arguments.follow:
        shown = [_copy_from(file, offset, sys.stdout) for file, offset in offsets.items()]
        if not any(shown):
            talk(f"{found.run_id}: its worker wrote nothing")
    if not arguments.follow:
        return EXIT_OK
    ended = False
    while not ended:
        # Looked at first, so that what was written before the end is still printed.
        ended = all(job.state.is_final for job in client.jobs() if job.run_id == found.run_id)
        offsets = {file: _copy_from(file, offset, sys.stdout) for file, offset in offsets.items()}
        sys.stdout.flush()
        time.sleep(0 if ended else LOOK_EVERY_S)
    return EXIT_OK


def _start_of(file: Path) -> int:
    """Where printing a log begins: of a very long one with its last lines."""
    try:
        left_out = file.stat().st_size - _MOST_LOG_BYTES
    except FileNotFoundError:
        return 0
    if left_out > 0:
        talk(f"{file}: the first {left_out / 10**6:,.0f} MB are left out")
    return max(0, left_out)


def _copy_from(file: Path, offset: int, out: TextIO) -> int:
    """Print a file from an offset on; the offset of its end."""
    try:
        with open_regular(file) as stream:
            stream.seek(offset)
            text = stream.read(_MOST_LOG_BYTES)
    except FileNotFoundError:
        return offset
    words = text.decode("utf-8", errors="replace")
    # A terminal would act on it; a file or a pipe gets it as it is.
    out.write(visible(words, lines=True) if out.isatty() else words)
    return offset + len(text)


DRAINING = "waiting: the queue is draining and starts no jobs; `datasize-tui drain --off` ends that"


def obstacles(jobs: Iterable[Job], run_ids: Collection[str], *, draining: bool) -> list[str]:
    """What some runs wait for that is no free slot, one line each; empty where nothing keeps them.

    A line stays the same for as long as what it tells of holds.
    """
    unfinished = {job.run_id: job for job in jobs if not job.state.is_final}
    ours = [unfinished[run_id] for run_id in run_ids if run_id in unfinished]
    ahead = _ahead(ours, unfinished)
    lines = [f"waiting: runs of {', '.join(_experiments(ahead))} have to succeed first"] if ahead else []
    held = [job for job in (*ours, *ahead) if job.state is JobState.HELD]
    if len(held) == 1:
        run_id = held[0].run_id
        lines.append(f"waiting: {run_id} is held; `datasize-tui release {run_id}` lets it start")
    elif held:
        names = " ".join(_experiments(held))
        lines.append(f"waiting: {len(held)} runs are held; `datasize-tui release {names}` lets them start")
    if draining and any(not job.state.is_active for job in ours):
        lines.append(DRAINING)
    return lines


def _ahead(ours: Sequence[Job], unfinished: Mapping[str, Job]) -> list[Job]:
    """Other unfinished runs that ours wait for, directly or not."""
    reached = {job.run_id: job for job in ours}
    to_follow = list(ours)
    for job in to_follow:
        sources = [unfinished[run_id] for run_id in job.waits_for if run_id in unfinished]
        to_follow += [source for source in sources if source.run_id not in reached]
        reached |= {source.run_id: source for source in sources}
    return list(reached.values())[len(ours) :]


def _experiments(jobs: Iterable[Job]) -> list[str]:
    return list(dict.fromkeys(job.experiment for job in jobs))
