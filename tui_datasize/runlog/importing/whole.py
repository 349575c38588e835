"""What was read of files as runs of the project, and what is to be told of it."""

from __future__ import annotations

from collections.abc import Iterator

from tui_datasize.runlog.importing.into_project import SourceFile, bring_in
from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.reading import ReadFiles, refusals, without_runs
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.text import plural


def bring_read(project: ProjectPaths, experiment: str, reading: ReadFiles, layout: Layout) -> Iterator[str]:
    """Write the runs that are not there yet, and say so, a line an experiment; then what was refused.

    Raises ConfigError: no file holds a run, or as of `bring_in`; nothing was written.
    """
    if not any(run.evaluations for run in reading.runs):
        yield from (*refusals(reading), *reading.notes)
        raise without_runs(reading)
    sources = [SourceFile.of(one.file) for one in reading.files]
    for name, done in bring_in(project, experiment, reading.runs, layout, sources).items():
        there = f"{done.present} {'was' if done.present == 1 else 'were'} there with the same values"
        grown = f"{plural(done.grown, 'run')} went on, " if done.grown else ""
        yield f"{name}: {plural(done.new, 'run')} imported, {grown}{there}"
    yield from (*refusals(reading), *reading.notes)
