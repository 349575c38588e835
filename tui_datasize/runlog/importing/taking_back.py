"""Imported runs that go again: of an experiment, of the last import, or of a run whose file has grown."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tui_datasize.errors import ConfigError, StorageError
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.files import parse_object
from tui_datasize.runlog.atomic import sync_directory
from tui_datasize.runlog.paths import ProjectPaths, RunPaths
from tui_datasize.runlog.scan import Problem, object_or_problem
from tui_datasize.runlog.schema import SCORES

IMPORTED_AT = "imported_at"
"""Key in the provenance of an imported run: when, the same for all runs of one import."""


def imported_specs(project: ProjectPaths, experiment: str) -> list[RunSpec]:
    """The specifications of an experiment's runs; none where there is no run.

    Raises ConfigError: one was trained here.
    """
    specs = []
    for file in sorted((project.runs / experiment).glob("[!.]*/spec.json")):
        document = object_or_problem(file)
        try:
            spec = None if isinstance(document, Problem) else RunSpec.from_dict(document["spec"])
        except (KeyError, TypeError, ValueError, AttributeError):
            spec = None
        if spec is None or not spec.imported:
            what = f"{experiment} holds runs that were not imported"
            raise ConfigError(what, where=str(file.parent), fix="import under another name")
        specs.append(spec)
    return specs


def remove_imported(project: ProjectPaths, experiment: str) -> int:
    """Remove all runs of an imported experiment; their number.

    Raises ConfigError: it has none, or holds runs that were trained here.
    Raises StorageError: they cannot be removed.
    """
    n_runs = len(imported_specs(project, experiment))
    if not n_runs:
        what = f"there are no imported runs of {experiment}"
        raise ConfigError(what, where=str(project.runs), fix=_imported_are(project))
    _remove([project.runs / experiment], project.runs)
    return n_runs


def undo_last(project: ProjectPaths, experiment: str = "") -> dict[str, tuple[int, int]]:
    """Take back the last import, of an experiment or of all: runs removed and runs put back, by experiment.

    Raises ConfigError: nothing was imported.
    Raises StorageError: the runs cannot be moved.
    """
    imports: dict[str, dict[str, list[Path]]] = {}
    for name in [experiment] if experiment else _imported_experiments(project):
        for spec in imported_specs(project, name):
            paths = project.run(name, spec.run_id)
            when = str(_facts(paths).get(IMPORTED_AT, ""))
            imports.setdefault(when, {}).setdefault(name, []).append(paths.directory)
    if not imports:
        what = f"nothing was imported{f' as {experiment}' * bool(experiment)}"
        raise ConfigError(what, where=str(project.runs), fix=_imported_are(project))
    last = max(imports)
    done = {}
    for name, directories in imports[last].items():
        old = sorted(project.superseded(name).glob(f"*.{_tag(last)}"))
        _remove(directories, project.runs)
        for directory in old:
            directory.rename(project.runs / name / directory.name.removesuffix(f".{_tag(last)}"))
        if not any((project.runs / name).glob("[!.]*")):
            _remove([project.runs / name], project.runs)
        done[name] = len(directories), len(old)
    return done


def _imported_experiments(project: ProjectPaths) -> Iterator[str]:
    """Those whose first run is imported: no experiment holds both."""
    for folder in sorted(project.runs.glob("[!.]*")):
        first = next(folder.glob("[!.]*/spec.json"), None)
        document = object_or_problem(first) if first else {}
        spec = {} if isinstance(document, Problem) else document.get("spec")
        if isinstance(spec, Mapping) and spec.get("imported"):
            yield folder.name


def _imported_are(project: ProjectPaths) -> str:
    names = [*_imported_experiments(project)]
    return f"imported are {', '.join(names)}" if names else "give the --project into which was imported"


def _facts(paths: RunPaths) -> Mapping[str, Any]:
    document = object_or_problem(paths.provenance)
    found = {} if isinstance(document, Problem) else document.get("imported")
    return found if isinstance(found, Mapping) else {}


def set_aside(project: ProjectPaths, experiment: str, run_ids: Collection[str], imported_at: str) -> None:
    """Move runs aside that an import renews, until the next one; raises OSError: they cannot be moved."""
    aside = project.superseded(experiment)
    if aside.exists():
        shutil.rmtree(aside)
    for run_id in run_ids:
        aside.mkdir(exist_ok=True)
        project.run(experiment, run_id).directory.rename(aside / f"{run_id}.{_tag(imported_at)}")


def _tag(imported_at: str) -> str:
    return re.sub(r"\W", "", imported_at)


def has_grown(paths: RunPaths, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the rows of a run go on from those of an earlier import, and change none.

    The last row of a split may hold scores of moments before it, which it has not in a longer run.
    """
    try:
        old = [parse_object(line.encode()) for line in paths.metrics.read_text().splitlines()]
    except (OSError, ValueError):
        return False
    new = {(row["split"], row["update"]): row for row in rows}
    last = {row.get("split"): row.get("update") for row in old}
    for row in old:
        same = new.get((row.get("split"), row.get("update")))
        if same is None:
            return False
        is_last = last[row["split"]] == row["update"]
        for score in SCORES:
            if row.get(score) != same[score] and not (is_last and same[score] is None):
                return False
    return len(new) > len(old)


def _remove(directories: Collection[Path], runs: Path) -> None:
    """Let directories vanish at once, and then their files."""
    gone = runs / ".cache" / "removed"
    try:
        for directory in directories:
            gone.mkdir(parents=True, exist_ok=True)
            directory.rename(gone / directory.name)
        sync_directory(runs)
        shutil.rmtree(gone, ignore_errors=True)
    except OSError as error:
        fix = "make the folder writable and try again"
        raise StorageError.of(error, "cannot be removed", where=str(runs), fix=fix) from None
