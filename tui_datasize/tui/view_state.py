"""What was open and asked for, remembered per project; losing it loses nothing."""

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
    """What is restored when the app opens again."""

    tab: str = ""
    experiment: str = ""
    targets: Mapping[str, float] = field(default_factory=dict)
    """By experiment and metric, with a space between."""


def _file(project: ProjectPaths) -> Path:
    return project.cache / "app.json"


def load_view_state(project: ProjectPaths) -> ViewState:
    """What was saved last; the defaults where that cannot be read."""
    try:
        values = read_object(_file(project))
        tab, experiment, targets = values["tab"], values["experiment"], values.get("targets", {})
        known = {str(name): float(target) for name, target in targets.items() if isfinite(target)}
        if not (isinstance(tab, str) and isinstance(experiment, str)):
            return ViewState()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return ViewState()
    return ViewState(tab, experiment, known)


def save_view_state(project: ProjectPaths, state: ViewState) -> None:
    """Remember; a project without runs, or one that is read-only, is left alone."""
    if project.runs.is_dir():
        with suppress(OSError):
            project.cache.mkdir(exist_ok=True)
            write_json(_file(project), asdict(state))
