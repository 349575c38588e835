"""What the app shows at one moment: frozen values, built off the screen's thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar

from tui_datasize.jobs.queue.state import Job, JobState
from tui_datasize.jobs.queue.time_left import NOTHING_KNOWN, TimeLeft
from tui_datasize.text import plural
from tui_datasize.tui.widgets.palette import INCOMPLETE, STATE_LOOKS, STATES_BY_WORD, CellState, Incomplete

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.experiments.cluster_settings import Place
    from tui_datasize.experiments.load import Order as SweepOrder
    from tui_datasize.experiments.search import Rung
    from tui_datasize.experiments.spec import RunSpec
    from tui_datasize.jobs.queue.faults import Fault
    from tui_datasize.jobs.scheduler.devices import DeviceReport
    from tui_datasize.tui.polling.log_tail import LogTail
    from tui_datasize.tui.polling.machine import Machine
    from tui_datasize.tui.polling.trouble import Trouble


T = TypeVar("T")

Part: TypeAlias = Literal["test", "train", "validation", "batches", "generator"]
"""Whole passes over the splits, and means over the batches since the last row."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a sweep."""

    run_id: str
    spec: RunSpec
    variant: str
    """What differs beside size, draw and seed; empty where nothing is swept."""
    updates: int
    """Updates that the run takes in all."""


@dataclass(frozen=True, slots=True)
class ExperimentPlan:
    """An experiment and all its cells, as `experiments.toml` gives them."""

    name: str
    title: str
    dataset: str
    cells: tuple[Cell, ...]
    """In queue order; empty where there is a problem, or where they are not listed yet."""
    problem: str = ""
    """Why its cells are not known; one line."""
    told: str = ""
    """What else is to be known of it, such as runs that do not count as its cells; one line."""
    sources: tuple[RunSpec, ...] = ()
    """Runs of other experiments that its runs take weights from."""
    order: SweepOrder = "curve-first"
    """In which its cells stand, and are queued unless another is asked for."""
    n_runs: int = 0
    """How many cells it has."""
    is_listed: bool = True
    """Whether they are in `cells`; those of large projects are only counted until they are shown."""
    on: Place = "local"
    """Where its runs are made, unless another place is asked for."""
    has_cluster: bool = False
    """Whether there is another."""
    rungs: Mapping[str, Rung] = field(default_factory=dict)
    """By run id, where cells stand that a search begins with."""
    later: tuple[Cell, ...] = ()
    """One cell of each recipe that the search may go on with, of any size, draw and seed."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the record says of one run."""

    run_id: str
    experiment: str
    state: JobState
    reason: str
    dataset: str
    model: str
    batch_size: int
    updates: int
    total_updates: int
    """Of both trainings where it trains anew; until that begins the most that it may take."""
    missing_evaluations: int
    """Those of its specification that are not in its record (yet); 0 where nobody knows."""
    test_accuracy: float | None
    """In [0, 1]; like the next three of the last evaluation."""
    test_loss: float | None
    train_accuracy: float | None
    train_loss: float | None
    wall_s: float
    device: str
    attempt: int
    directory: str

    @property
    def is_incomplete(self) -> bool:
        """Whether it ended well, as its directory says, but its evaluations are not all there."""
        return self.state is JobState.SUCCEEDED and self.missing_evaluations > 0


@dataclass(frozen=True, slots=True)
class JobRow:
    """One line of the job table: the queue's entry and what the record adds."""

    run_id: str
    experiment: str
    variant: str
    """What sets it apart in a swept experiment, see `sweep.variant_labels`; may be empty."""
    short_variant: str
    """The same in few words, see `variants.on_screen`."""
    state: JobState
    reason: str
    device: str
    attempts: int
    max_attempts: int
    priority: int
    fraction: float
    """Updates made, in [0, 1]."""
    remaining_s: float | None
    """Seconds it still takes once it runs; None where nobody knows."""
    waits_for: tuple[str, ...]
    """Runs that must succeed before it starts and have not yet."""
    pack: tuple[str, ...]
    """The runs that its worker trains together; empty where it has its own."""
    finished_at: str
    """When its last attempt ended, in UTC; empty where none did or the queue does not know the run."""
    loss: float | None
    accuracy: float | None
    """Of the last evaluation of the test split, in [0, 1]."""
    lost_evaluations: int = 0
    """Those that its record lacks though it succeeded."""
    interrupted_by: str = ""
    """What ended the attempt before, of a run that has begun again."""
    shape: int = 0
    """The number of what it does, as `Job` has it."""

    @property
    def shown_state(self) -> JobState | Incomplete:
        """The queue's word, but for a run that succeeded and is incomplete."""
        return INCOMPLETE if self.state is JobState.SUCCEEDED and self.lost_evaluations else self.state

    @property
    def remark(self) -> str:
        """Words that say more than numbers would; empty where numbers do."""
        if self.waits_for:
            more = f" and {len(self.waits_for) - 1} more" if len(self.waits_for) > 1 else ""
            return f"waits for {self.waits_for[0]}{more}"
        if self.lost_evaluations:
            return f"{plural(self.lost_evaluations, 'evaluation')} lost; a reruns it"
        return self.reason if self.state in _TOLD else ""


_TOLD = (JobState.QUEUED, JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED)
"""States of which the reason says more than numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingCurve:
    """The metric rows of one run; the same object as long as they are the same."""

    run_id: str
    rows: pl.DataFrame
    """Schema `METRICS`, none of them void."""

    def column(self, part: Part, name: str) -> pl.Series:
        """Numbers of one column, NaN where a row has none; empty where the run has no such rows."""
        event, split = self.rows["event"], self.rows["split"]
        if own := {"batches": "train", "generator": "generator"}.get(part):
            is_part = event == own
        else:
            is_part = (event == "evaluation") & (split == part)
        numbers = self.rows.get_column(name).filter(is_part).to_numpy().astype(float)
        return type(event)(name, numbers)

    def holds(self, name: str) -> bool:
        return bool(self.rows.get_column(name).drop_nulls().is_finite().any())

    @property
    def judged_by(self) -> Part:
        """The split that stands for the run; one without labels has no test."""
        is_untested = not len(self.column("test", "update")) and len(self.column("validation", "update"))
        return "validation" if is_untested else "test"

    def last(self, part: Part, name: str) -> float:
        """The newest value of a column; NaN where there is none."""
        column = self.column(part, name)
        return float(column[-1]) if len(column) else float("nan")


@dataclass(frozen=True, slots=True)
class Interest:
    """What the screen shows in depth, so that only that is read in depth."""

    curves: tuple[str, ...] = ()
    """Run ids whose training curves are drawn."""
    log: str = ""
    """Run id whose log is shown."""
    experiment: str = ""
    """Whose cells are shown."""
    listed: tuple[str, ...] = ()
    """Run ids that a table shows with what went wrong in them."""
    machine: bool = False
    """Whether the last minutes of the devices and the processes on them are shown."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that the panes draw from."""

    experiments: tuple[ExperimentPlan, ...] = ()
    jobs: tuple[JobRow, ...] = ()
    """Those at work first, then the waiting in queue order, then those that ended."""
    states: Mapping[str, JobState] = field(default_factory=lambda: MappingProxyType({}))
    """State by run id, of all runs that were ever queued or executed; `state_of` knows the record, too."""
    facts: Mapping[str, RunFacts] = field(default_factory=lambda: MappingProxyType({}))
    """What the record says, by run id."""
    devices: DeviceReport | None = None
    machine: Machine | None = None
    """As long as `Interest.machine` asks for it."""
    scheduler_alive: bool = False
    stopped: bool = False
    """Whether somebody asked the scheduler to end, and nobody for another since."""
    draining: bool = False
    """Whether what runs is finished and nothing is started."""
    faults: tuple[Fault, ...] = ()
    """What is wrong with the machine, oldest first."""
    waiting: str = ""
    """Who has the slots that jobs wait for, in one line; empty where they wait for none of others."""
    searches: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """By experiment, where its searches stand and what they wait for."""
    time_left: TimeLeft = NOTHING_KNOWN
    """When what is queued ends."""
    data_dir: Path | None = None
    """Where the project's data sets lie; None while that is not known."""
    curves: Mapping[str, TrainingCurve] = field(default_factory=lambda: MappingProxyType({}))
    """Training curves of the runs in `Interest.curves` that have any."""
    troubles: Mapping[str, tuple[Trouble, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """What went wrong within runs whose curves were looked at, by run id."""
    log: LogTail | None = None
    problems: tuple[str, ...] = ()
    """What could not be read, one line each."""
    file_problem: str = ""
    """What is wrong with experiments.toml; the experiments are then those of its last good state."""
    runs: pl.DataFrame | None = field(default=None, compare=False)
    """The frame `runs`; equal snapshots hold equal frames, since `facts` and `runs_version` follow it."""
    runs_version: int = 0
    """Counts up whenever the frame changes."""
    table: pl.DataFrame | None = field(default=None, compare=False)
    """The jobs as a frame, see `runs_of_jobs`; it follows from `jobs` and `runs`."""
    counted: Mapping[str, Counter[CellState]] = field(default_factory=dict, compare=False)
    """See `cell_counts`, by the names of experiments: counting 10,000 takes longer than a key may."""
    unread: int = 0
    """Runs whose directories have not been looked at yet: of them `jobs` says what the queue knows."""
    is_ready: bool = False
    """False until all of the project has been looked at."""

    def state_of(self, run_id: str) -> CellState:
        """State of a run; None where it was never queued or executed."""
        state, fact = self.states.get(run_id), self.facts.get(run_id)
        return INCOMPLETE if state is JobState.SUCCEEDED and fact and fact.is_incomplete else state

    def counts(self) -> Counter[CellState]:
        if self.table is None:
            return Counter(row.shown_state for row in self.jobs)
        return Counter(
            {STATES_BY_WORD[word]: count for word, count in self.table["state"].value_counts().iter_rows()}
        )

    def experiment(self, name: str) -> ExperimentPlan | None:
        return next((plan for plan in self.experiments if plan.name == name), None)

    def cell_counts(self, plan: ExperimentPlan) -> Counter[CellState]:
        """How many cells of an experiment are in each state; of one that is not listed all its runs count."""
        if (known := self.counted.get(plan.name)) is not None:
            return Counter(known)
        if plan.is_listed:
            return Counter(self.state_of(cell.run_id) for cell in plan.cells)
        own = (row.shown_state for row in self.jobs if row.experiment == plan.name)
        counts: Counter[CellState] = Counter(own)
        counts[None] = max(0, plan.n_runs - counts.total())
        return counts

    def liveliest_experiment(self) -> str:
        """The first experiment at work, else the first with a finished run; empty where there is none."""
        at_work = {row.experiment for row in self.jobs if not row.state.is_final}
        finished = {row.experiment for row in self.jobs if row.state is JobState.SUCCEEDED}
        names = [plan.name for plan in self.experiments]
        return next((name for lively in (at_work, finished) for name in names if name in lively), "")

    def missing(self, plan: ExperimentPlan) -> list[Cell]:
        """The cells of an experiment that were never queued or executed, in queue order."""
        return [cell for cell in plan.cells if cell.run_id not in self.states]

    def device_names(self) -> Mapping[str, str]:
        """What to write for a GPU, by UUID."""
        gpus = self.devices.gpus if self.devices else ()
        return {gpu.uuid: f"GPU {gpu.index}" for gpu in gpus}

    def running(self) -> list[JobRow]:
        # They come first.
        return list(takewhile(lambda row: row.state.is_active, self.jobs))


EMPTY = Snapshot()
"""Shown until the first look at the project."""


class Kept(Generic[T]):
    """What follows from other values, made again only once one of them is another object."""

    _kept: tuple[tuple[object, ...], T] | None = None

    def of(self, make: Callable[..., T], *values: object) -> T:
        if self._kept is None or any(old is not new for old, new in zip(self._kept[0], values, strict=True)):
            self._kept = values, make(*values)
        return self._kept[1]


_GROUPS: Mapping[JobState, int] = MappingProxyType(
    {
        JobState.RUNNING: 0,
        JobState.STARTING: 0,
        JobState.INTERRUPTED: 1,
        JobState.QUEUED: 2,
        JobState.HELD: 2,
        JobState.FAILED: 3,
        JobState.CANCELLED: 4,
        JobState.SUCCEEDED: 5,
    }
)


def display_order(jobs: Sequence[Job]) -> list[Job]:
    """Jobs as the table lists them: at work, waiting in queue order, failed, cancelled, newest done first."""
    by_end = sorted(jobs, key=lambda job: job.finished_at, reverse=True)
    return sorted(by_end, key=_rank)


def _rank(job: Job) -> tuple[int, ...]:
    group = _GROUPS[job.state]
    # Ended jobs keep the order of their end; sorting is stable.
    return (group,) if job.state.is_final else (group, -job.priority, job.position)


def legend_counts(counts: Mapping[CellState, int]) -> list[tuple[CellState, int]]:
    """States that occur with their counts, in the order of the legend."""
    return [(state, counts[state]) for state in STATE_LOOKS if counts.get(state)]
