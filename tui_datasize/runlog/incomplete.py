"""Which runs were found to have succeeded without all of their evaluations, where the record is not read.

Reading ten thousand runs takes longer than looking at the queue, and a library; so readers leave a note.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import astuple, dataclass

from tui_datasize.files import known_object
from tui_datasize.runlog.atomic import write_json
from tui_datasize.runlog.paths import ProjectPaths

_FILE = "incomplete.json"


@dataclass(frozen=True, slots=True)
class LostRun:
    """A run that succeeded, and lacks evaluations for as long as its log is the file that was read."""

    experiment: str
    run_id: str
    metrics_ns: int
    """When its log last changed; 0 where it had none."""
    metrics_bytes: int


def note_incomplete(project: ProjectPaths, lost: Iterable[LostRun]) -> None:
    """Note all such runs in place of those noted before; a note that cannot be written is left out."""
    file, content = project.cache / _FILE, {"runs": [list(astuple(run)) for run in lost]}
    with suppress(OSError):
        if content["runs"] and content != known_object(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, content)
        elif not content["runs"]:
            file.unlink(missing_ok=True)


def noted_incomplete(project: ProjectPaths) -> frozenset[str]:
    """Ids of the runs that were incomplete when the record was last read, and whose logs are as they were."""
    runs = known_object(project.cache / _FILE).get("runs")
    listed = [fields for fields in runs if isinstance(fields, list)] if isinstance(runs, list) else []
    # Anybody may write there.
    found = [LostRun(*fields) for fields in listed if [*map(type, fields)] == [str, str, int, int]]
    return frozenset(run.run_id for run in found if _is_as_it_was(project, run))


def _is_as_it_was(project: ProjectPaths, run: LostRun) -> bool:
    changed_ns, size = 0, 0
    with suppress(OSError, ValueError):
        status = project.run(run.experiment, run.run_id).metrics.stat()
        changed_ns, size = status.st_mtime_ns, status.st_size
    return (changed_ns, size) == (run.metrics_ns, run.metrics_bytes)
