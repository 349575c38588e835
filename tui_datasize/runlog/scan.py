"""One pass over the runs directory: which runs there are and when their files last changed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import polars as pl

from tui_datasize import files
from tui_datasize.runlog.paths import ProjectPaths, RunPaths
from tui_datasize.runlog.schema import Schema, schema

STAMP: Schema = schema(
    (pl.Int64, "spec_ns", "claim_ns", "exit_ns", "exit_bytes", "metrics_ns", "metrics_bytes")
)
"""Modification times in ns and sizes of the files that decide a row of the frame `runs`; 0 where a
file is missing. Rows read under an equal stamp are equal, except that a running run may have died."""

SCANNED: Schema = MappingProxyType({"experiment": pl.String, "run_id": pl.String, **STAMP})


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the record that could not be read and was left out."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


_TEMPLATE = RunPaths(Path())
_STAMPED = tuple(path.name for path in (_TEMPLATE.spec, _TEMPLATE.claim, _TEMPLATE.exit, _TEMPLATE.metrics))


def scan_runs(project: ProjectPaths) -> tuple[pl.DataFrame, tuple[Problem, ...]]:
    """All run directories with their stamps, schema `SCANNED` by name, and those that cannot be listed."""
    problems: list[Problem] = []
    rows: list[tuple[str | int, ...]] = []
    for experiment in _subdirectories(project.runs, problems):
        directory = project.runs / experiment
        names = _subdirectories(directory, problems)
        rows += [(experiment, run_id, *_stamp(f"{directory}/{run_id}")) for run_id in names]
    return pl.DataFrame(rows, schema=dict(SCANNED), orient="row"), tuple(problems)


Stamp: TypeAlias = tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]
"""Two that are equal were read of directories in which nothing has changed in between."""

_TICK_NS = 2 * 10**9
"""A file may change again under the same time as long as that is so recent."""


def read_stamp(project: ProjectPaths, runs: Iterable[RunPaths]) -> Stamp | None:
    """What shows whether a run came or went, or one of some runs has changed, in a look at few files.

    None where something changed so recently that the times of files cannot tell.
    """
    # By their names: the files of the queue come and go beside them.
    experiments = _subdirectories(project.runs, [])
    stamps = [_identity(f"{project.runs}/{name}") for name in experiments]
    now_ns = time.time_ns()
    if any(abs(now_ns - changed_ns) < _TICK_NS for changed_ns, _ in stamps):
        return None
    return tuple(experiments), (*stamps, *(_stamp(str(run.directory)) for run in runs))


def object_or_problem(file: Path) -> dict[str, Any] | Problem:
    """A JSON object, or why there is none."""
    try:
        return files.read_object(file)
    except FileNotFoundError:
        return Problem(str(file), "is missing")
    except OSError as error:
        return Problem(str(file), f"cannot be read: {error.strerror}")
    except ValueError as error:
        return Problem(str(file), str(error))


def _subdirectories(directory: Path, problems: list[Problem]) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            names = sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append(Problem(str(directory), f"cannot be listed: {error.strerror}"))
        return []
    problems += [
        Problem(f"{directory}/{name}", "has a name that is not UTF-8")
        for name in names
        if not files.is_utf8(name)
    ]
    return [name for name in names if files.is_utf8(name)]


def _stamp(directory: str) -> tuple[int, ...]:
    spec, claim, end, metrics = (_identity(f"{directory}/{name}") for name in _STAMPED)
    return (spec[0], claim[0], *end, *metrics)


def _identity(file: str) -> tuple[int, int]:
    try:
        # Path.stat takes four times as long, and this runs four times per run at every look.
        status = os.stat(file)  # noqa: PTH116
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
