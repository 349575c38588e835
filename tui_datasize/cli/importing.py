"""`import`: results of runs that were trained elsewhere, as read-only runs of the project."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tui_datasize.cli.basics import print_json, project_paths, talk, without_collection
from tui_datasize.errors import EXIT_BAD_INPUT, EXIT_OK, ConfigError
from tui_datasize.render.console import data_console, plain_table
from tui_datasize.runlog.importing.collected import ForeignRun
from tui_datasize.runlog.importing.into_project import bring_read
from tui_datasize.runlog.importing.layout import Layout, read_layout
from tui_datasize.runlog.importing.reading import ReadFiles, read_all, refusals
from tui_datasize.runlog.importing.taking_back import remove_imported, undo_last
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.text import plural

_IGNORED_TOLD = 8


@without_collection()
def import_runs(arguments: argparse.Namespace) -> int:
    """Read all files, then write the runs that are not there yet; or take imported runs back."""
    paths = project_paths(arguments)
    if arguments.remove is not None or arguments.undo is not None:
        return _take_back(arguments, paths)
    layout = _layout(arguments)
    reading = read_all(arguments.files, layout, is_strict=arguments.strict)
    if arguments.dry_run:
        _show(reading, as_json=arguments.json)
        return EXIT_BAD_INPUT if reading.refused else EXIT_OK
    for line in bring_read(paths, arguments.experiment, reading, layout):
        talk(line)
    names = list(dict.fromkeys(c for one in reading.files for c, why in one.passed.items() if c and not why))
    if names:
        more = f" and {len(names) - _IGNORED_TOLD} more" if len(names) > _IGNORED_TOLD else ""
        talk(f"not read: {', '.join(names[:_IGNORED_TOLD])}{more}")
    return EXIT_BAD_INPUT if reading.refused else EXIT_OK


def _take_back(arguments: argparse.Namespace, paths: ProjectPaths) -> int:
    if arguments.files or arguments.experiment or None not in (arguments.remove, arguments.undo):
        raise ConfigError("--remove and --undo take the name of an experiment alone")
    if arguments.remove is not None:
        talk(f"{arguments.remove}: {plural(remove_imported(paths, arguments.remove), 'run')} removed")
        return EXIT_OK
    for name, (removed, back) in undo_last(paths, arguments.undo).items():
        put_back = f", {plural(back, 'run')} as before" if back else ""
        talk(f"{name}: {plural(removed, 'run')} of the last import removed{put_back}")
    return EXIT_OK


def _show(reading: ReadFiles, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "files": [{"file": str(one.file), "form": one.form} for one in reading.files],
                "refused": [error.line for error in reading.refused],
                "columns": [asdict(column) for column in reading.columns],
                "runs": [
                    {**asdict(run.cell), "variant": dict(run.cell.variant), "name": run.name}
                    | {"told": list(run.tells), "rows": len(run.evaluations)}
                    | ({} if run.n_runs is None else {"means_of": run.n_runs, "spreads": dict(run.spreads)})
                    | ({} if run.repeat is None else {"seed": None, "repeat": run.repeat})
                    | {metric: value for metric, value in run.end.items() if value is not None}
                    for run in reading.runs
                ],
                "notes": list(reading.notes),
            }
        )
        return
    console = data_console()
    columns = plain_table("column", "read as", "why", "file")
    for column in reading.columns:
        columns.add_row(column.column, column.read_as or "-", column.why, Path(column.file).name)
    metrics = sorted({m for run in reading.runs for m, value in run.end.items() if value is not None})
    numbers = ("size", "seed", "draw")
    runs = plain_table(*numbers, "variant", "run", *metrics, right=(*numbers, *metrics))
    for run in reading.runs:
        cell = run.cell
        seed = str(cell.seed) if run.repeat is None else f"repeat {run.repeat}"
        seed = seed if run.n_runs is None else f"mean of {run.n_runs}"
        values = (_shown(run, m) for m in metrics)
        group = [cell.group] if cell.group else []
        variant = " ".join([*group, *(f"{name}={value}" for name, value in cell.variant)])
        draw = str(cell.draw) if "draw" in run.tells else "not told"
        runs.add_row(f"{cell.train_size:,}", seed, draw, variant, run.name, *values)
    console.print(columns, "", runs)
    for line in (*refusals(reading), *reading.notes):
        talk(line)
    talk(f"{plural(len(reading.runs), 'run')} would be imported; nothing was written")


def _shown(run: ForeignRun, metric: str) -> str:
    value, spread = run.end.get(metric), run.spreads.get(metric)
    return "" if value is None else f"{value:.6g}{'' if spread is None else f' ± {spread:.3g}'}"


def _layout(arguments: argparse.Namespace) -> Layout:
    """What the TOML file says, options before it."""
    told: dict[str, Any] = read_layout(arguments.map) if arguments.map else {}
    given: Mapping[str, Any] = {
        "variant": tuple(arguments.variant),
        "run_pattern": arguments.run_pattern,
        "ignore": tuple(arguments.ignore),
        "percent": arguments.percent,
        "any_state": arguments.any_state or None,
        "draw": arguments.draw,
        "test_split": arguments.test_split,
        "train_size": arguments.size,
        "seed": arguments.seed,
        "n_runs": arguments.n_runs,
        "spread": arguments.spread,
        "sheet": arguments.sheet,
        "experiment_column": arguments.experiment_column,
        "dataset": arguments.dataset,
        "model": arguments.model,
        "skip_lines": tuple(arguments.skip_line),
    }
    told |= {key: value for key, value in given.items() if value is not None and value != ()}
    return Layout(**{**told, "columns": {**told.get("columns", {}), **_columns(arguments.column)}})


def _columns(pairs: Sequence[str]) -> dict[str, str]:
    columns = {}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if not equals or not column:
            raise ConfigError(f"--column {pair!r}", fix="write it like --column size=n_train")
        columns[name.strip()] = column.strip()
    return columns
