"""`prune`: show, or remove, the checkpoints that nothing needs any more."""

from __future__ import annotations

import argparse

from tui_datasize.cli.basics import print_json, project_paths, talk
from tui_datasize.errors import EXIT_OK, UnknownRunError
from tui_datasize.experiments.project_tables import Keep
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.prune import Removal, remove, survey
from tui_datasize.render.console import data_console, plain_table
from tui_datasize.text import plural


def prune(arguments: argparse.Namespace) -> int:
    """Show what removing checkpoints would free; with --yes, remove them."""
    paths = project_paths(arguments)
    client = QueueClient(paths)
    experiment = arguments.experiment
    if experiment and not any(run.experiment == experiment for run in paths.all_runs()):
        raise UnknownRunError(f"no experiment {experiment!r} has runs here", where=str(paths.runs))
    found = survey(paths, client.jobs(), experiment=experiment)
    keep: Keep = arguments.keep or found.keep
    files = found.to_remove(keep)
    total_bytes = sum(file.size_bytes for file in files)
    removal = remove(paths, client.jobs, files, keep) if arguments.yes else None
    if arguments.json:
        listed = [{"path": str(file.path), "bytes": file.size_bytes} for file in files]
        removed = removal or Removal(0, 0, 0)
        result = {"removed": removed.files, "freed_bytes": removed.size_bytes, "needed": removed.needed}
        print_json({"keep": keep, "files": listed, "bytes": total_bytes} | result)
        return EXIT_OK
    is_configured = not arguments.keep and keep != "none"
    kept = f"keep = {keep}, from experiments.toml" if is_configured else f"keep = {keep}"
    if removal:
        talk(f"{_told(removal)} ({kept}); logs and tables stay")
        return EXIT_OK
    table = plain_table("checkpoint", "MB", right=("MB",))
    for file in files:
        table.add_row(str(file.path.relative_to(paths.runs)), f"{file.size_bytes / 10**6:.1f}")
    if files:
        data_console().print(table)
    still_there = f"{plural(len(files), 'checkpoint')}, {total_bytes / 10**6:.1f} MB, still there"
    talk(f"{still_there} ({kept}); --yes removes them")
    return EXIT_OK


def _told(removal: Removal) -> str:
    left = f", left {removal.needed:,} needed by now" if removal.needed else ""
    return f"removed {plural(removal.files, 'checkpoint')}, {removal.size_bytes / 10**6:.1f} MB freed{left}"
