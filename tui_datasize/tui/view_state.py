"""Which tab and experiment were open, remembered per project; losing it loses nothing."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tui_datasize.files import read_object
from tui_datasize.runlog.atomic import write_json
from tui_datasize.runlog.paths import ProjectPaths


@dataclass(frozen=True, slots=True)
class ViewState:
    """What is restored when the app opens again."""

    tab: str = ""
    experiment: str = ""
    metric: str = ""


def _file(project: ProjectPaths) -> Path:
    return project.cache / "app.json"


def load_view_state(project: ProjectPaths) -> ViewState:
    """What was saved last; the defaults where that cannot be read."""
    try:
        values = read_object(_file(project))
        known = {key: values[key] for key in ViewState.__dataclass_fields__ if isinstance(values[key], str)}
    except (OSError, ValueError, KeyError, TypeError):
        return ViewState()
    return ViewState(**known)


def save_view_state(project: ProjectPaths, state: ViewState) -> None:
    """Remember; a project without runs, or one that is read-only, is left alone."""
    if project.runs.is_dir():
        with suppress(OSError):
            project.cache.mkdir(exist_ok=True)
            write_json(_file(project), asdict(state))
