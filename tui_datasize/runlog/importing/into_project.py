"""Foreign runs as run directories of a project: all of them, or none."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import tui_datasize
from tui_datasize.errors import ConfigError, StorageError
from tui_datasize.experiments.load import LONGEST_NAME
from tui_datasize.experiments.project_tables import is_shared
from tui_datasize.experiments.spec import NAME_PATTERN, SCHEMA_VERSION, Budget, RunSpec
from tui_datasize.files import open_regular
from tui_datasize.runlog.atomic import sync_directory
from tui_datasize.runlog.claim import ExitRecord, RunOutcome, utc_now
from tui_datasize.runlog.describe import TELLS
from tui_datasize.runlog.importing.collected import ForeignRun
from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.reading import ReadFiles, refusals, without_runs
from tui_datasize.runlog.importing.taking_back import IMPORTED_AT, has_grown, imported_specs, set_aside
from tui_datasize.runlog.locks import make_runs
from tui_datasize.runlog.paths import ProjectPaths, RunPaths
from tui_datasize.runlog.scan import Problem, object_or_problem
from tui_datasize.text import plural

_STAGING = ".import-"
"""Beginning of the name of the folder in which an import is put together; its process follows."""
_MOST_KEPT_BYTES = 2**27
"""Of texts of runs; others are made once more when they are written."""
MOST_AT_ONCE = 20_000
"""Runs that are put together before they are moved into place: each takes four files."""
_Specified: TypeAlias = tuple[ForeignRun, RunSpec]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that runs came from."""

    file: str
    sha256: str
    size_bytes: int

    @classmethod
    def of(cls, file: Path) -> SourceFile:
        """Describe a file by its content."""
        with open_regular(file) as stream:
            digest, size = hashlib.sha256(), 0
            while piece := stream.read(2**20):
                digest.update(piece)
                size += len(piece)
        return cls(str(file.absolute()), digest.hexdigest(), size)


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import has done."""

    new: int
    present: int
    """Runs that had been imported before, with the same values."""
    grown: int = 0
    """Runs of an earlier import that go on in the files, and take the place of what they were."""


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


def bring_in(
    project: ProjectPaths,
    experiment: str,
    runs: Sequence[ForeignRun],
    layout: Layout,
    sources: Sequence[SourceFile],
) -> dict[str, Imported]:
    """Write the runs that are not there yet; each directory appears whole, or not at all.

    By experiment what was done: of several in the files, each has their name behind that of the import.

    Raises ConfigError: the experiment is no name or holds runs that were trained here, or a run of the same
        cell is there with other values.
    Raises StorageError: the runs directory cannot be written.
    """
    done: dict[str, Imported] = {}
    plans: dict[str, tuple[list[_Specified], list[str]]] = {}
    for name, own in _by_experiment(experiment, runs).items():
        if not NAME_PATTERN.fullmatch(name) or len(name) > LONGEST_NAME:
            what = f"{name!r} is not a name of an experiment"
            raise ConfigError(what, fix="use letters, digits and . _ -")
        there = imported_specs(project, name)
        _refuse_told_later(project, name, own, there)
        missing, renewed = plans[name] = _not_there(project, name, _specified(own, name, layout), there)
        done[name] = Imported(len(missing) - len(renewed), len(own) - len(missing), len(renewed))
    facts = {"files": [asdict(source) for source in sources], IMPORTED_AT: utc_now()}
    for name, (missing, renewed) in plans.items():
        for start in range(0, len(missing), MOST_AT_ONCE):
            block = missing[start : start + MOST_AT_ONCE]
            _write(project, name, block, facts, [] if start else renewed)
    return done


def _specified(runs: Iterable[ForeignRun], experiment: str, layout: Layout) -> Iterator[_Specified]:
    kept_bytes = 0
    for run in runs:
        yield run, run.spec(experiment, layout)
        kept_bytes += len(run.text)
        if kept_bytes > _MOST_KEPT_BYTES:
            run.forget_text()


def _by_experiment(experiment: str, runs: Sequence[ForeignRun]) -> dict[str, list[ForeignRun]]:
    found: dict[str, list[ForeignRun]] = {}
    whose: dict[str, str] = {}
    for run in runs:
        group = run.cell.group
        words = re.sub(r"[^A-Za-z0-9._]+", "-", group).strip("-.")
        name = f"{experiment}-{words}" if words else experiment
        if whose.setdefault(name, group) != group:
            what = f"{whose[name]!r} and {group!r} would both be experiment {name}"
            raise ConfigError(what, fix="rename one of them in the file")
        found.setdefault(name, []).append(run)
    return found


def _not_there(
    project: ProjectPaths, experiment: str, runs: Iterable[_Specified], there: Iterable[RunSpec]
) -> tuple[list[_Specified], list[str]]:
    """The runs that are to be written, and the ids of those there that they go on from."""
    cells = {_cell(spec): spec.run_id for spec in there}
    missing, renewed = [], []
    for run, spec in runs:
        known = cells.get(_cell(spec))
        if known == spec.run_id:
            continue
        missing.append((run, spec))
        if known is None:
            continue
        renewed.append(known)
        if run.n_runs is not None or not has_grown(project.run(experiment, known), run.rows):
            raise ConfigError(
                f"{experiment} has other values for {run}",
                where=str(project.run(experiment, known).directory),
                fix=f"`import --remove {experiment}` removes them all, or import under another name; "
                "give files whose runs are numbered together",
            )
    return missing, renewed


def _refuse_told_later(
    project: ProjectPaths, experiment: str, runs: Sequence[ForeignRun], there: Sequence[RunSpec]
) -> None:
    """Refuse to bring the same runs in once more under the draws that are told of them now."""
    told = {
        (run.cell.train_size, run.cell.seed, run.cell.variant): run
        for run in runs
        if "draw" in run.tells and run.cell.draw
    }
    for spec in there:
        key = (spec.train_size, spec.seed, tuple(spec.model.options.items()))
        if spec.subset.seed or key not in told:
            continue
        paths = project.run(experiment, spec.run_id)
        facts = object_or_problem(paths.provenance)
        imported = {} if isinstance(facts, Problem) else facts.get("imported", {})
        if "draw" not in imported.get(TELLS, ()):
            what = f"{experiment} has {told[key]} already, imported without a draw"
            where = str(paths.directory)
            raise ConfigError(what, where=where, fix="import under another name, or remove these runs first")


def _cell(spec: RunSpec) -> RunSpec:
    return replace(spec, imported="", budget=Budget("updates", 1))


def _write(
    project: ProjectPaths,
    experiment: str,
    runs: Iterable[_Specified],
    facts: Mapping[str, Any],
    renewed: Collection[str],
) -> None:
    # What imports have left that were ended.
    for left in project.runs.glob(f"{_STAGING}*-*"):
        pid = left.name.removeprefix(_STAGING).partition("-")[0]
        if pid.isdecimal() and not Path("/proc", pid).exists():
            shutil.rmtree(left, ignore_errors=True)
    staging = project.runs / f"{_STAGING}{os.getpid()}-{threading.get_native_id()}"
    folder = project.runs / experiment
    try:
        make_runs(project.runs, shared=is_shared(project.root))
        staging.mkdir()
        for run, spec in runs:
            _write_run(RunPaths(staging / spec.run_id), run, spec, facts)
        # One wait for the disk instead of four for each run.
        os.sync()
        if not folder.exists():
            staging.rename(folder)
        else:
            set_aside(project, experiment, renewed, facts[IMPORTED_AT])
            for directory in sorted(staging.iterdir()):
                directory.rename(folder / directory.name)
            sync_directory(folder)
        sync_directory(project.runs)
    except OSError as error:
        fix = "make the folder writable and try again"
        raise StorageError.of(error, "cannot be written", where=str(folder), fix=fix) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write_run(paths: RunPaths, run: ForeignRun, spec: RunSpec, facts: Mapping[str, Any]) -> None:
    now = str(facts["imported_at"])
    paths.directory.mkdir()
    queued = {
        "schema_version": SCHEMA_VERSION,
        "package_version": tui_datasize.__version__,
        "git_commit": None,
        "git_dirty": None,
        "queued_at": now,
        "run_id": spec.run_id,
        "spec": spec.to_dict(),
    }
    paths.spec.write_text(_text_of(queued), encoding="utf-8")
    paths.provenance.write_text(_provenance(json.dumps({**facts, **run.facts})), encoding="utf-8")
    paths.metrics.write_bytes(run.text)
    run.forget_text()
    paths.exit.write_text(_exit(now), encoding="utf-8")


@lru_cache(maxsize=1)
def _exit(now: str) -> str:
    return _text_of(asdict(ExitRecord(1, RunOutcome.SUCCEEDED, "", now)))


@lru_cache(maxsize=64)
def _provenance(facts: str) -> str:
    """Text of the provenance of a run; most runs of an import have the same."""
    return _text_of({"imported": {**json.loads(facts), "package_version": tui_datasize.__version__}})


def _text_of(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
