"""The runs of one experiment, and what is read and computed of them, each once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import polars as pl

from tui_datasize.answers.asked import NOTHING, Asked
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.metric import Metric, metric_named
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.schema import SCORES
from tui_datasize.stats.audit import AuditRecord, audit, runs_to_read
from tui_datasize.stats.findings import Finding
from tui_datasize.stats.overlap import DrawOverlap, find_draws, find_overlaps
from tui_datasize.stats.summary import Analysis, CurveAnalysis, analyse
from tui_datasize.stats.variance import VarianceSplit, split_variance

MOST_COMPARED = 40
"""Runs of one variant and size that are compared with each other; their pairs grow with the square."""
MOST_READ = 400
"""Runs in all whose predictions are read for one answer."""
NO_RUN = "No run has succeeded with this metric yet."
NOT_RECORDED = "No run that has succeeded has recorded this; imported runs may lack it."
ONE_VALUE = "This metric has one value a run. Choose another metric."
ONE_EVALUATION = (
    "Each run was evaluated once, at its end. "
    "evaluate = { times = 12 } in experiments.toml evaluates new runs more often."
)


@dataclass(frozen=True, eq=False)
class Record:
    """What questions are asked of."""

    log: RunLog
    all_runs: pl.DataFrame
    """Schema `RUNS`, of one experiment."""
    metric: Metric
    asked: Asked = NOTHING
    sweep: Sequence[RunSpec] = ()
    """All runs of the experiment in experiments.toml."""
    known_overlaps: Sequence[DrawOverlap] | None = None
    """What `overlaps` would find, where that is known."""

    @property
    def experiment(self) -> str:
        """Its name; empty without runs."""
        return str(self.all_runs["experiment"][0]) if self.all_runs.height else ""

    @cached_property
    def runs(self) -> pl.DataFrame:
        """Those of the variant that is asked for, or all."""
        variant = self.asked.variant
        return self.all_runs if variant is None else self.all_runs.filter(variant=variant)

    @cached_property
    def metrics(self) -> pl.DataFrame:
        """Schema `RUN_METRICS`, of `runs`."""
        return self.log.metrics(self.runs["run_id"])

    @cached_property
    def analysis(self) -> Analysis:
        """The learning curves of all variants.

        Raises:
            ConfigError: What is asked makes no sense for the metric.
        """
        return analyse(self.all_runs, self.metric.name, question=self.asked.question())

    @cached_property
    def curves(self) -> tuple[CurveAnalysis, ...]:
        """The learning curves that have runs, of the variant that is asked for or all."""
        wanted = self.asked.variant
        return tuple(
            curve for curve in self.analysis.curves if curve.curve.height and wanted in (None, curve.variant)
        )

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What the audit finds; it reads the images of a run per draw, predictions of one per data set."""
        images, tested = runs_to_read(self.all_runs)
        log = self.log
        return audit(
            AuditRecord(self.all_runs, log.subsets(images), log.datasets(images), log.predictions(tested))
        )

    @cached_property
    def scatter(self) -> tuple[VarianceSplit, ...]:
        """Sources of the variance of each curve; the test set is one where all runs share its size."""
        images, _ = runs_to_read(self.runs)
        per_run = self.log.datasets(images).group_by("run_id").agg(pl.col("test_images").sum())
        sizes = per_run["test_images"].unique().to_list()
        return split_variance(self.runs, self.metric.name, sizes[0] if len(sizes) == 1 else None)

    @cached_property
    def overlaps(self) -> Sequence[DrawOverlap]:
        """What the subset draws of each size have in common."""
        if self.known_overlaps is not None:
            return self.known_overlaps
        draws = find_draws(self.all_runs)
        return find_overlaps(draws, self.log.subsets(draws["run_id"]), self.log.datasets(draws["run_id"]))

    @property
    def split_and_score(self) -> tuple[str, str]:
        """Those of the metric, see `split_and_score`."""
        return split_and_score(self.metric)

    def of_variant(self, variant: str) -> Record:
        """The same of one variant."""
        return replace(self, asked=replace(self.asked, variant=variant))

    def of_metric(self, name: str) -> Record:
        """The same of another metric."""
        return replace(self, metric=metric_named(name))


def split_and_score(metric: Metric) -> tuple[str, str]:
    """Of a metric that evaluations measure, its split and score; empty strings for others."""
    split, _, score = metric.name.partition("_")
    return (split, score) if split in ("test", "train") and score in SCORES else ("", "")


def per_variant(runs: pl.DataFrame) -> Iterable[tuple[str, pl.DataFrame]]:
    """Variants in the order in which they come, each with its rows."""
    for group in runs.partition_by("variant", maintain_order=True):
        yield str(group["variant"][0]), group


def named(variant: str, text: str) -> str:
    """A sentence or title with whose it is."""
    return f"{variant}: {text}" if variant else text


def largest_size(runs: pl.DataFrame) -> pl.DataFrame:
    """The finished runs of the largest train size of each variant."""
    size = pl.col("train_size")
    return runs.filter(state="succeeded").filter(size == size.max().over("variant"))


def chosen_size(table: pl.DataFrame, asked: Asked) -> tuple[int, int]:
    """The train size that is asked for, counted from the largest, and how many there are.

    Args:
        table: Has `train_size` and at least one row.
        asked: What is asked.
    """
    sizes = table["train_size"].unique().sort()
    return int(sizes[(len(sizes) - 1 + asked.size) % len(sizes)]), len(sizes)


def bounded(runs: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """The runs whose predictions are read; a sentence, where others are left out."""
    kept = runs.group_by("variant", "train_size", maintain_order=True).head(MOST_COMPARED).head(MOST_READ)
    if kept.height == runs.height:
        return runs, []
    return kept, [
        f"{kept.height:,} of {runs.height:,} runs compared: the first {MOST_COMPARED} of each train size, "
        f"at most {MOST_READ}."
    ]


def numbers(values: Iterable[float | None], by: float = 1.0) -> list[float | None]:
    """Values times a factor; None where there is none."""
    return [None if value is None else value * by for value in values]
