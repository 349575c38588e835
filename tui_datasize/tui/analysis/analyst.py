"""What of an analysis is asked for, and the thread that computes it, beside screen and polling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, get_args

from tui_datasize.answers.answer import NOTHING, Answer, Asked
from tui_datasize.answers.catalogue import QUESTIONS, Entry
from tui_datasize.errors import ConfigError
from tui_datasize.metric import metric_named
from tui_datasize.runlog.paths import ProjectPaths

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.answers.record import Reading, Record
    from tui_datasize.experiments.spec import RunSpec
    from tui_datasize.runlog.reader import RunLog
    from tui_datasize.tui.polling.snapshot import Snapshot

FitTo: TypeAlias = Literal["answer", "forecast", "laws"]
FITS: tuple[FitTo, ...] = get_args(FitTo)
"""Questions of the catalogue that are shown beside the learning curve."""
PAGES: tuple[Entry, ...] = tuple(entry for entry in QUESTIONS.values() if entry.has_page)
"""Questions that have a page behind the learning curve, in the order in which `p` walks through them."""


@dataclass(frozen=True, slots=True)
class AnalysisChoice:
    """What of an analysis is shown."""

    variant: int = 0
    """Index of the variant in the foreground; of several, 0 stands for all."""
    fit_to: FitTo = "answer"
    size: int = 0
    """Which train size is shown, where one is: steps from the largest."""
    view: int = 0
    """Which view of a page is shown, or how overlap is measured."""
    asked: Asked = NOTHING
    """What is asked of the curve."""


def chosen_variant(variants: Sequence[str], choice: AnalysisChoice) -> str | None:
    """The variant in the foreground; None for all of several, or without any.

    >>> chosen_variant(["a", "b"], AnalysisChoice()), chosen_variant(["a", "b"], AnalysisChoice(variant=2))
    (None, 'b')
    """
    if len(variants) < 2:
        return None
    place = choice.variant % (len(variants) + 1)
    return variants[place - 1] if place else None


def experiment_names(snapshot: Snapshot) -> list[str]:
    """Experiments of the file, then those of which only runs are left."""
    planned = [plan.name for plan in snapshot.experiments]
    recorded = set() if snapshot.runs is None else set(snapshot.runs["experiment"].unique())
    return planned + sorted(recorded - set(planned))


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a page is wanted of."""

    experiment: str
    metric: str
    """A key of `METRICS_OFFERED`."""
    asked: Asked = NOTHING
    """What is asked of the runs, and of whose."""
    sweep: Sequence[RunSpec] = ()
    """All runs of the experiment in experiments.toml."""
    unlisted: str = ""
    """Why they are not known."""


@dataclass(frozen=True)
class Analysed:
    """The learning curves of one experiment, answered."""

    experiment: str
    metric: str
    variants: Sequence[str]
    """In the order of their names."""
    answers: Mapping[str, Answer]
    """By the names of `FITS`, and of the learning curve."""


class Analyst:
    """Asks questions of one experiment at a time on a thread of its own; keeps what it read of it last."""

    def __init__(self, project: ProjectPaths) -> None:
        self._project = project
        # One thread, since a run log is for one.
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="analyst")
        self._log: RunLog | None = None
        self._reading: Reading | None = None

    async def missing(self, runs: pl.DataFrame) -> Sequence[str]:
        """What the runs of an experiment lack for the learning curve and each page, see `Entry.missing`."""
        return await self._run(lambda: ("", *(page.missing(runs) for page in PAGES)))

    async def analyse(self, runs: pl.DataFrame, wish: Wish) -> Analysed:
        """Answer the questions beside the learning curve.

        Raises ConfigError: there is no such metric, or what is asked makes no sense for it.
        """
        return await self._run(lambda: self._analyse(runs, wish))

    async def ask(self, entry: Entry, runs: pl.DataFrame, wish: Wish) -> Answer:
        """Answer one question; raises DatasizeError: these runs cannot be asked it."""
        return await self._run(lambda: entry.ask(self._record(runs, wish)))

    def close(self) -> None:
        """End the thread once its work is done; wait for nothing."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _analyse(self, runs: pl.DataFrame, wish: Wish) -> Analysed:
        record = self._record(runs, wish)
        variants = [curve.variant for curve in record.all_curves]
        answers = {name: QUESTIONS[name].ask(record) for name in (*FITS, "curve")}
        return Analysed(wish.experiment, wish.metric, variants, answers)

    def _record(self, runs: pl.DataFrame, wish: Wish) -> Record:
        from tui_datasize.answers.record import Reading, Record
        from tui_datasize.experiments.costs import NO_COSTS
        from tui_datasize.experiments.project_tables import project_costs
        from tui_datasize.runlog.reader import RunLog

        own = runs.filter(runs["experiment"] == wish.experiment)
        self._log = self._log or RunLog(self._project)
        self._log.runs(wish.experiment)
        self._reading = self._reading.renewed(own) if self._reading else Reading(self._log, own)
        costs = NO_COSTS
        # What is wrong with the file is told elsewhere.
        with suppress(ConfigError):
            costs = project_costs(self._project.root)
        return Record(self._reading, metric_named(wish.metric), wish.asked, wish.sweep, wish.unlisted, costs)
