"""`import`: results of runs that were trained elsewhere, as read-only runs of the project."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tui_datasize.cli.basics import project_paths, talk
from tui_datasize.errors import EXIT_OK, ConfigError
from tui_datasize.runlog.importing.collected import Collected, ForeignRun
from tui_datasize.runlog.importing.events import event_files, is_event_file, read_events
from tui_datasize.runlog.importing.into_project import Source, bring_in
from tui_datasize.runlog.importing.layout import Layout, read_layout
from tui_datasize.runlog.importing.tables import read_table
from tui_datasize.words import plural

_IGNORED_TOLD = 8


def import_runs(arguments: argparse.Namespace) -> int:
    """Read all files, then write the runs that are not there yet.

    Raises:
        ConfigError: A file is broken or not understood: nothing is imported.
    """
    paths = project_paths(arguments)
    layout = _layout(arguments)
    collected = Collected()
    files = _files(arguments.files)
    for file, run in files:
        if is_event_file(file):
            read_events(file, run, layout, collected)
        else:
            read_table(file, layout, collected)
    try:
        runs = collected.runs()
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if not any(run.rows for run in runs):
        if runs:
            raise ConfigError("no run there has a value of a metric: all cells are blank")
        ignored = ", ".join(collected.ignored)
        raise ConfigError(
            f"no value of a metric is known there{f'; {ignored} were not read' if ignored else ''}",
            fix="name one like --column test_accuracy=NAME",
        )
    done = bring_in(paths, arguments.experiment, runs, layout, [Source.of(file) for file, _ in files])
    there = f"{done.present} {'was' if done.present == 1 else 'were'} there with the same values"
    talk(f"{arguments.experiment}: {plural(done.new, 'run')} imported, {there}")
    for sentence in _missing(runs):
        talk(sentence)
    if not paths.experiments.exists():
        talk(f"the app opens a project with an {paths.experiments.name}; an empty one will do")
    if collected.ignored:
        names = list(collected.ignored)
        more = f" and {len(names) - _IGNORED_TOLD} more" if len(names) > _IGNORED_TOLD else ""
        talk(f"not read: {', '.join(names[:_IGNORED_TOLD])}{more}")
    return EXIT_OK


def _missing(runs: Sequence[ForeignRun]) -> Iterator[str]:
    """For each metric that the files tell of some runs, how many others end without a value of it."""
    ends = [run.end for run in runs]
    told = {metric for end in ends for metric, value in end.items() if value is not None}
    for metric in sorted(told):
        lacking = sum(end.get(metric) is None for end in ends)
        if lacking:
            who = f"{lacking:,} of {plural(len(runs), 'run')} {'has' if lacking == 1 else 'have'}"
            yield f"{who} no {metric} at the end (blank or not finite)"


def _files(given: Sequence[Path]) -> list[tuple[Path, str]]:
    """Every file with the name of its run: for an event file the folders that it lies in."""
    found: list[tuple[Path, str]] = []
    for path in given:
        if not path.exists():
            raise ConfigError("no such file", where=str(path))
        if not path.is_dir():
            found.append((path, path.absolute().parent.name))
            continue
        inside = event_files(path)
        if not inside:
            raise ConfigError("no TensorBoard event file there", where=str(path))
        top = path.absolute().parent
        found += [(file, file.absolute().parent.relative_to(top).as_posix()) for file in inside]
    return found


def _layout(arguments: argparse.Namespace) -> Layout:
    """What the TOML file says, options before it."""
    told: dict[str, Any] = read_layout(arguments.map) if arguments.map else {}
    given: Mapping[str, Any] = {
        "variant": tuple(arguments.variant),
        "run_pattern": arguments.run_pattern,
        "percent": arguments.percent,
        "test_split": arguments.test_split,
        "train_size": arguments.size,
        "seed": arguments.seed,
        "dataset": arguments.dataset,
        "model": arguments.model,
    }
    told |= {key: value for key, value in given.items() if value not in (None, (), False, "")}
    return Layout(**{**told, "columns": {**told.get("columns", {}), **_columns(arguments.column)}})


def _columns(pairs: Sequence[str]) -> dict[str, str]:
    columns = {}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if not equals or not column:
            raise ConfigError(f"--column {pair!r}", fix="write it like --column size=n_train")
        columns[name.strip()] = column.strip()
    return columns
