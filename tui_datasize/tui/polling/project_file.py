"""From `experiments.toml` to the cells that the map shows, read again only when the file changes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypedDict

from tui_datasize.errors import DatasizeError
from tui_datasize.experiments.budget import total_updates
from tui_datasize.experiments.cluster_settings import Place
from tui_datasize.experiments.device_settings import DeviceSettings
from tui_datasize.experiments.load import Experiment, Project, load_project
from tui_datasize.experiments.project_tables import data_directory
from tui_datasize.experiments.rungs import later_runs, rungs_of
from tui_datasize.experiments.sweep import check_runs, further_runs, plan_runs, source_runs
from tui_datasize.experiments.variants import recipe_of, variant_labels
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.image_files import rules_of
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.tui.polling.snapshot import Cell, ExperimentPlan

_MOST_LISTED = 20_000
"""Runs of a project that are listed at once."""
_MOST_AT_FIRST = 1_000
"""The same before anything is shown: 10,000 take a second."""


@dataclass(frozen=True, slots=True)
class ProjectPlan:
    """The experiments of a project with their cells."""

    experiments: tuple[ExperimentPlan, ...] = ()
    data_dir: Path | None = None
    devices: DeviceSettings = field(default_factory=DeviceSettings)


@dataclass(eq=False)
class Planner:
    """Reads a project's file when it has changed; keeps what was planned when it has not."""

    _file: Path
    _stamp: tuple[int, int] | None = field(default=None, init=False)
    _project: Project | None = field(default=None, init=False)
    _plans: Mapping[str, ExperimentPlan] = field(default_factory=dict, init=False)
    _planned: ProjectPlan | None = field(default=None, init=False)
    _listed: frozenset[str] = field(default_factory=frozenset, init=False)

    def plan(self, shown: str = "") -> ProjectPlan:
        """The experiments as the file gives them now; the very same object while they are the same.

        The cells of the one `shown` are listed however many they are.

        Without a file there are none, as in an empty directory.

        Raises ConfigError: the file is wrong, or missing where there are runs.
        """
        stamp, is_first = self._read_stamp(), self._project is None
        if stamp is None and not self._file.exists() and not ProjectPaths(self._file.parent).has_runs:
            self._project, self._stamp = None, None
            if self._planned is None or self._planned.experiments:
                self._planned = ProjectPlan(data_dir=data_directory(self._file.parent))
            return self._planned
        if self._project is None or stamp != self._stamp:
            self._project = load_project(self._file)
            most = min(_MOST_AT_FIRST, _MOST_LISTED) if is_first else _MOST_LISTED
            self._listed = _few(self._project, most) | {shown}
            self._plans = self._replan(self._project, self._project.experiments)
            self._stamp, self._planned = stamp, None
        # A missing data set may have been put in its place since.
        unplanned = [name for name, plan in self._plans.items() if plan.problem]
        wanted = {shown} if is_first else {shown} | _few(self._project, _MOST_LISTED)
        if unlisted := {name for name in wanted & self._plans.keys() if not self._plans[name].is_listed}:
            self._listed |= unlisted
            unplanned += unlisted
        if unplanned:
            before, self._plans = self._plans, self._replan(self._project, unplanned)
            if any(self._plans[name] is not before[name] for name in unplanned):
                self._planned = None
        if self._planned is None:
            plans = tuple(self._plans.values())
            self._planned = ProjectPlan(plans, self._project.data_dir, self._project.devices)
        return self._planned

    def _read_stamp(self) -> tuple[int, int] | None:
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size

    def _replan(self, project: Project, names: Collection[str]) -> Mapping[str, ExperimentPlan]:
        """Plan some experiments afresh; one that comes out as before stays the same object."""
        plans = {}
        for name, experiment in project.experiments.items():
            before = self._plans.get(name)
            after = _plan_experiment(experiment, project, name in self._listed) if name in names else before
            plan = before if before == after else after
            if plan is not None:
                plans[name] = plan
        return MappingProxyType(plans)


def _few(project: Project, most: int) -> frozenset[str]:
    """The first experiments, as long as they have so many runs together at most."""
    total, few = 0, []
    for experiment in project.experiments.values():
        total += experiment.n_runs
        if total <= most:
            few.append(experiment.name)
    return frozenset(few)


def _plan_experiment(experiment: Experiment, project: Project, is_listed: bool) -> ExperimentPlan:
    name, title, dataset, order = experiment.name, experiment.title, experiment.dataset, experiment.order
    place: _Where = {"on": experiment.on, "has_cluster": project.cluster is not None}
    try:
        if not is_listed:
            check_runs(experiment, project)
            n_runs = experiment.n_runs
            return ExperimentPlan(
                *(name, title, dataset, ()), order=order, n_runs=n_runs, is_listed=False, **place
            )
        specs = plan_runs(experiment, project)
        sources = source_runs(specs, project)
    except DatasizeError as error:
        return ExperimentPlan(name, title, dataset, (), error.line)
    further = later_runs(experiment)
    labels = variant_labels((*specs, *further))
    cells, later = (
        tuple(Cell(run_id, spec, labels[run_id], total_updates(spec)) for run_id, spec in named)
        for named in ([(spec.run_id, spec) for spec in runs] for runs in (specs, further))
    )
    return ExperimentPlan(
        *(name, title, dataset, cells),
        sources=sources,
        order=order,
        n_runs=experiment.n_runs if later else len(cells),
        rungs=rungs_of(experiment, specs),
        later=later,
        **place,
    )


class _Where(TypedDict):
    """Where the runs of an experiment are made."""

    on: Place
    has_cluster: bool


def with_further(
    plans: tuple[ExperimentPlan, ...], unlisted: frozenset[str], *, queue: QueueClient
) -> tuple[ExperimentPlan, ...]:
    """Experiments with those of some queued runs that differ from a cell in size, draw and seed alone."""
    if not unlisted:
        return plans
    shapes = queue.shapes()
    shape_of = {run_id: n for run_id, n in queue.runs_of_shapes(shapes.keys()).items() if run_id in unlisted}
    found = []
    for plan in plans:
        variants = {cell.variant: cell.spec for cell in (*plan.cells, *plan.later)}
        runs = further_runs(variants.values(), shapes, shape_of)
        labels = {recipe_of(spec): variant for variant, spec in variants.items()}
        new = [Cell(run.run_id, run, labels[recipe_of(run)], total_updates(run)) for run in runs]
        cells, own = (*plan.cells, *new), {recipe_of(cell.spec) for cell in plan.later}
        n_runs = plan.n_runs + sum(recipe_of(cell.spec) not in own for cell in new)
        told = queue.mixed_rules(rules_of([cell.spec for cell in plan.cells]))
        changed = replace(plan, cells=cells, n_runs=n_runs, told=told)
        found.append(changed if new or told else plan)
    return tuple(found)
