"""How long the devices wait between jobs, workers started warm against cold, and what else costs time.

`python -m benchmarks.warm_start [--rounds 3] [--jobs 8] [--cold-jobs 4] [--slots N] [--samples 12800]`
runs real sweeps on the digits under real schedulers in a temporary directory, warm and cold in turn.
Per model it prints the time from a job's end (its `exit.json`) to the first update of the next job in
the same slot, and per phase the share of the slots' time. "hand-over" is the end of the old process,
the scheduler's part and the start of the new one up to its first line; the time before the very first
worker (loading torch once) is told apart. Times are wall times: other load on the machine counts.

`python -m benchmarks.warm_start --sweep PROJECT EXPERIMENT` takes an experiment of a project instead, with
the project's data, and ends with the share of the whole sweep's slot time that was no training.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import quantiles
from types import MappingProxyType
from typing import Any

from benchmarks.timed_worker import FILE, PHASES, TRAINING
from tui_datasize.experiments.load import Project, load_project
from tui_datasize.experiments.project_tables import DATA_VARIABLE
from tui_datasize.experiments.spec import Budget, ModelSpec, OptimizerSpec, RunSpec
from tui_datasize.experiments.sweep import plan_runs
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.scheduler.devices import VISIBLE_VARIABLE, cpu_count
from tui_datasize.runlog.paths import ProjectPaths

MODELS: Mapping[str, ModelSpec] = MappingProxyType(
    {
        "cnn3 width 16": ModelSpec("cnn3", MappingProxyType({"width": 16})),
        "mlp": ModelSpec("mlp", MappingProxyType({})),
    }
)
KINDS = ("warm", "cold")
SIZES = (40, 160, 640, 1280)
DEADLINE_S = 900.0
GOAL_S = 0.3
GOAL_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Execution:
    """One job as its worker timed it; moments on the machine's monotonic clock."""

    began_s: float
    first_update_s: float
    first_update_cpu_s: float
    """CPU seconds of the worker until then."""
    ended_s: float
    phases: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Sweep:
    """All jobs of one sweep."""

    queued_s: float
    slots: tuple[tuple[Execution, ...], ...]
    """The jobs of each slot, one after the other."""

    def handovers(self) -> Iterator[tuple[Execution, Execution]]:
        """Each job that followed another in its slot, behind the one it followed."""
        for jobs in self.slots:
            yield from pairwise(jobs)

    @property
    def slot_s(self) -> float:
        """Seconds of all slots between their first job's begin and their last job's end."""
        return sum(jobs[-1].ended_s - jobs[0].began_s for jobs in self.slots)


def main() -> None:
    """Measure and print the tables."""
    arguments = _parser().parse_args()
    print(f"{arguments.slots} slots, load {os.getloadavg()[0]:.1f} before", flush=True)
    given = load_project(ProjectPaths(Path(arguments.sweep[0])).experiments) if arguments.sweep else None
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        os.environ |= _environment(root)
        # An installed program has its bytecode; compiling torch at every start takes three times as long.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        if given:
            _measure_sweep(root / "sweep", given, arguments.sweep[1], arguments.slots)
        else:
            _compare(root, arguments)


def _compare(root: Path, arguments: argparse.Namespace) -> None:
    """Run sweeps warm and cold in turn, and print the tables."""
    sweeps: dict[tuple[str, str], list[Sweep]] = {}
    # The first of all decodes the data set.
    _sweep(root / "first", "warm", [_spec("mlp", 0, 320)], arguments.slots)
    for round_ in range(arguments.rounds):
        for model in MODELS:
            for kind in KINDS:
                jobs = arguments.jobs if kind == "warm" else arguments.cold_jobs
                specs = [_spec(model, seed, arguments.samples) for seed in range(jobs)]
                project = root / f"{round_} {model} {kind}".replace(" ", "-")
                sweeps.setdefault((model, kind), []).append(_sweep(project, kind, specs, arguments.slots))
    print(f"load {os.getloadavg()[0]:.1f} after\n")
    _print_gaps(sweeps)
    _print_shares(sweeps)


def _measure_sweep(root: Path, project: Project, experiment: str, slots: int) -> None:
    """Run one experiment of a project in a directory of its own, and print what its time went into."""
    os.environ[DATA_VARIABLE] = str(project.data_dir)
    specs = plan_runs(project.experiment(experiment), project)
    sweep = _sweep(root, "warm", specs, slots)
    print(f"load {os.getloadavg()[0]:.1f} after\n")
    sweeps = {(experiment, "warm"): [sweep]}
    _print_gaps(sweeps)
    _print_shares(sweeps)
    jobs = [job for chain in sweep.slots for job in chain]
    # The first update is one, however long it takes to begin.
    trained_s = sum(job.phases.get(phase, 0.0) for job in jobs for phase in (*TRAINING, "first update"))
    ended_s = max(job.ended_s for job in jobs)
    for since, began_s in (
        ("queueing, torch loaded once", sweep.queued_s),
        ("the first worker", min(job.began_s for job in jobs)),
    ):
        share = 1 - trained_s / (slots * (ended_s - began_s))
        print(
            f"since {since}: {ended_s - began_s:,.0f} s, {100 * share:.1f} % of the slots' time no training"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.warm_start")
    parser.add_argument("--rounds", type=int, default=3, help="sweeps per model and kind")
    parser.add_argument("--jobs", type=int, default=8, help="jobs of a warm sweep")
    parser.add_argument("--cold-jobs", type=int, default=4, help="jobs of a cold sweep")
    parser.add_argument("--slots", type=int, default=cpu_count(), help="jobs at once")
    parser.add_argument("--sweep", nargs=2, metavar=("PROJECT", "EXPERIMENT"), help="a sweep of a project")
    parser.add_argument("--samples", type=int, default=12_800, help="images trained on in each run")
    return parser


def _environment(root: Path) -> dict[str, str]:
    """The CPU, data and slots of this benchmark's own, and workers that find it."""
    return {
        DATA_VARIABLE: str(root / "data"),
        "DATASIZE_SLOTS_DIR": str(root / "slots"),
        VISIBLE_VARIABLE: "",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }


def _spec(model: str, seed: int, samples: int) -> RunSpec:
    return RunSpec(
        experiment="digits",
        dataset="digits",
        model=MODELS[model],
        train_size=SIZES[seed % len(SIZES)],
        seed=seed,
        budget=Budget("samples", samples),
        batch_size=32,
        evaluations=8,
        optimizer=OptimizerSpec("adamw", lr=1e-3, weight_decay=0.01),
        clip_grad_norm=1.0,
    )


def _sweep(root: Path, kind: str, specs: Sequence[RunSpec], slots: int) -> Sweep:
    """Run a sweep to its end under a scheduler of its own."""
    worker = shlex.join([sys.executable, "-m", "benchmarks.timed_worker"])
    options = (
        "--worker",
        worker,
        "--call",
        "benchmarks.timed_worker:main",
        "--cpu",
        "--cpu-slots",
        str(slots),
    )
    project = ProjectPaths(root)
    client = QueueClient(project, scheduler_options=(*options, *(["--cold"] if kind == "cold" else [])))
    queued_s = time.monotonic()
    client.enqueue(specs)
    client.ensure_scheduler()
    try:
        while not all(job.state.is_final for job in client.jobs()):
            if time.monotonic() > queued_s + DEADLINE_S * max(1, len(specs) / slots):
                sys.exit(f"{root}: the sweep did not end; see {project.scheduler_log}")
            time.sleep(0.25)
    finally:
        client.stop_scheduler()
    executions = [_read(project.run(spec.experiment, spec.run_id).directory / FILE) for spec in specs]
    return Sweep(queued_s, _by_slot(executions, slots))


def _read(file: Path) -> Execution:
    facts: dict[str, Any] = json.loads(file.read_text())
    return Execution(**facts)


def _by_slot(executions: Sequence[Execution], slots: int) -> tuple[tuple[Execution, ...], ...]:
    """The k-th job to begin beyond the first ones took the slot of the k-th to end."""
    chains: list[list[Execution]] = []
    for execution in sorted(executions, key=lambda execution: execution.began_s):
        if len(chains) < slots:
            chains.append([execution])
        else:
            min(chains, key=lambda chain: chain[-1].ended_s).append(execution)
    return tuple(map(tuple, chains))


def _print_gaps(sweeps: Mapping[tuple[str, str], Sequence[Sweep]]) -> None:
    print(f"seconds from a job's end to the next job's first update (goal {GOAL_S} warm): median [quartiles]")
    for (model, kind), repeats in sweeps.items():
        gaps = [new.first_update_s - old.ended_s for sweep in repeats for old, new in sweep.handovers()]
        cpu = [new.first_update_cpu_s for sweep in repeats for _, new in sweep.handovers()]
        starts = [min(chain[0].began_s for chain in sweep.slots) - sweep.queued_s for sweep in repeats]
        runs = [job.ended_s - job.began_s for sweep in repeats for chain in sweep.slots for job in chain]
        print(
            f"  {model:14} {kind}  {_spread(gaps)}  of {len(gaps):3}; CPU of the new worker {_spread(cpu)}\n"
            f"{'':20}a job {_spread(runs)}; from queueing to the first worker {_spread(starts)}"
        )


def _spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:7.3f}" if values else "-"
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return f"{middle:7.3f} [{low:.3f} {high:.3f}]"


def _print_shares(sweeps: Mapping[tuple[str, str], Sequence[Sweep]]) -> None:
    """Milliseconds a job and percent of the slots' time, by phase."""
    tables = [_phases(repeats) for repeats in sweeps.values()]
    outside = [phase for phase in tables[0] if phase not in TRAINING]
    sums = [tuple(sum(table[phase][i] for phase in outside) for i in (0, 1)) for table in tables]
    print("\nper job, ms (and percent of the slots' time)")
    _print_row("", [f"{model} {kind}" for model, kind in sweeps])
    for phase in tables[0]:
        _print_row(phase, [_cell(*table[phase]) for table in tables])
    _print_row("all but " + " and ".join(TRAINING), [_cell(*both) for both in sums])
    needed = [f"{per_job_s / GOAL_SHARE:.1f} s" for per_job_s, _ in sums]
    _print_row(f"is {100 * GOAL_SHARE:.0f} % of a job of", needed)


def _cell(per_job_s: float, share: float) -> str:
    return f"{1000 * per_job_s:.1f} ({100 * share:4.1f} %)"


def _print_row(name: str, cells: Sequence[str]) -> None:
    print(f"{name:32}" + "".join(f"{cell:>20}" for cell in cells))


def _phases(repeats: Sequence[Sweep]) -> dict[str, tuple[float, float]]:
    """Per phase the mean seconds of a job, and the share of the slots' time."""
    jobs = [job for sweep in repeats for chain in sweep.slots for job in chain]
    handovers = [new.began_s - old.ended_s for sweep in repeats for old, new in sweep.handovers()]
    slot_s = sum(sweep.slot_s for sweep in repeats)
    table = {"hand-over": (sum(handovers) / max(1, len(handovers)), sum(handovers) / slot_s)}
    for phase in PHASES:
        total_s = sum(job.phases.get(phase, 0.0) for job in jobs)
        table[phase] = (total_s / len(jobs), total_s / slot_s)
    return table


if __name__ == "__main__":
    main()
