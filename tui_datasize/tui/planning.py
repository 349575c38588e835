"""From `experiments.toml` to the cells that the map shows, read again only when the file changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tui_datasize.errors import DatasizeError
from tui_datasize.experiments.budget import total_updates
from tui_datasize.experiments.load import Experiment, load_project
from tui_datasize.experiments.sweep import plan_runs, variant_labels
from tui_datasize.tui.snapshot import Cell, ExperimentPlan


@dataclass(frozen=True, slots=True)
class ProjectPlan:
    """The experiments of a project with their cells."""

    experiments: tuple[ExperimentPlan, ...]
    data_dir: Path


class Planner:
    """Reads a project's file when it has changed; keeps what was planned when it has not."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp: tuple[int, int] | None = None
        self._plan: ProjectPlan | None = None

    def plan(self) -> ProjectPlan:
        """The experiments as the file gives them now.

        Raises:
            ConfigError: The file is missing or wrong.
        """
        stamp = self._read_stamp()
        if self._plan is None or stamp != self._stamp:
            self._plan = self._read()
            self._stamp = stamp
        elif any(plan.problem for plan in self._plan.experiments):
            # A missing data set may have been put in its place since.
            self._plan = self._read()
        return self._plan

    def _read_stamp(self) -> tuple[int, int] | None:
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size

    def _read(self) -> ProjectPlan:
        project = load_project(self._file)
        known = {plan.name: plan for plan in self._plan.experiments} if self._plan else {}
        plans = [
            _keep_equal(_plan_experiment(experiment, project.data_dir), known)
            for experiment in project.experiments.values()
        ]
        return ProjectPlan(tuple(plans), project.data_dir)


def _plan_experiment(experiment: Experiment, data_dir: Path) -> ExperimentPlan:
    try:
        specs = plan_runs(experiment, data_dir)
    except DatasizeError as error:
        return ExperimentPlan(experiment.name, experiment.title, experiment.dataset, (), error.line)
    labels = variant_labels(specs)
    cells = []
    for spec in specs:
        run_id = spec.run_id
        cells.append(Cell(run_id, spec, labels[run_id], total_updates(spec)))
    return ExperimentPlan(experiment.name, experiment.title, experiment.dataset, tuple(cells))


def _keep_equal(plan: ExperimentPlan, known: Mapping[str, ExperimentPlan]) -> ExperimentPlan:
    """The earlier object where nothing changed, so that the map need not be laid out again."""
    before = known.get(plan.name)
    return before if before == plan else plan
