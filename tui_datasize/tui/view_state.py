"""What the app remembers of a project between two times that it is open."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path

from tui_datasize.files import read_object
from tui_datasize.runlog.atomic import write_json
from tui_datasize.runlog.paths import ProjectPaths


@dataclass(frozen=True, slots=True)
class ViewState:
    """What is restored when the app opens again; losing it loses nothing."""

    tab: str = ""
    experiment: str = ""
    targets: Mapping[str, float] = field(default_factory=dict)
    """By experiment and metric, with a space between."""
    is_live_grid: bool = False
    """Whether the Live tab shows as many charts as the window holds."""
    columns: object = None
    """Of the table of the Live tab."""


def _view_state_file(project: ProjectPaths) -> Path:
    return project.cache / "app.json"


def load_view_state(project: ProjectPaths) -> ViewState:
    """What was saved last; the defaults where that cannot be read."""
    try:
        values = read_object(_view_state_file(project))
        tab, experiment, targets = values["tab"], values["experiment"], values.get("targets", {})
        known = {str(name): float(target) for name, target in targets.items() if isfinite(target)}
        if not (isinstance(tab, str) and isinstance(experiment, str)):
            return ViewState()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return ViewState()
    return ViewState(tab, experiment, known, values.get("is_live_grid") is True, values.get("columns"))


def save_view_state(project: ProjectPaths, state: ViewState) -> None:
    """Remember; a project without runs, or one that is read-only, is left alone."""
    with suppress(OSError):
        if project.runs.is_dir():
            project.cache.mkdir(exist_ok=True)
            write_json(_view_state_file(project), asdict(state))
