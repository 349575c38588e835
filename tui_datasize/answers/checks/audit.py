"""Can these numbers be trusted? Everything in the record that speaks against it, in words.

Most checks answer to a mistake that was found in a published study: metrics of the last mini-batch alone,
micro-averaged F1, budgets that differ between sizes, a schedule of another fraction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from tui_datasize.answers.checks import images, measured, sweep
from tui_datasize.answers.checks.finding import Finding, Severity
from tui_datasize.runlog.schema import PREDICTIONS, SUBSET, classifying
from tui_datasize.runlog.tables import DATASETS
from tui_datasize.stats.curve import COUNTED_STATES
from tui_datasize.stats.overlap import find_draws

_ORDER = (Severity.ERROR, Severity.WARNING, Severity.NOTE)


@dataclass(frozen=True)
class AuditRecord:
    """What an audit looks at; frames that are left empty are checks that are not made."""

    runs: pl.DataFrame
    """Schema `RUNS`."""
    subsets: pl.DataFrame
    """Schema `SUBSET` behind `run_id`, of the runs of `runs_to_read`."""
    datasets: pl.DataFrame
    """Schema `DATASETS`, of the same."""
    predictions: pl.DataFrame
    """At least `run_id`, `index`, `label` and `hash` of `PREDICTIONS`, of one run per data set."""

    @staticmethod
    def of_runs(runs: pl.DataFrame) -> AuditRecord:
        """A record of the frame `runs` alone: nothing is read beyond it."""
        run_id = {"run_id": pl.String}
        return AuditRecord(
            runs,
            pl.DataFrame(schema={**run_id, **SUBSET}),
            pl.DataFrame(schema=dict(DATASETS)),
            pl.DataFrame(schema={**run_id, **PREDICTIONS}),
        )


def runs_to_read(runs: pl.DataFrame) -> tuple[list[str], list[str]]:
    """Which runs' files an audit needs: those for subsets and data sets, and those for predictions.

    One per subset draw, and one finished run per data set and class half, however many runs there are.
    """
    # As published a run may have measured a part of the test set alone.
    ended = (
        classifying(runs)
        .filter(pl.col("state").is_in(COUNTED_STATES))
        .sort("as_published", maintain_order=True)
    )
    tested = ended.unique(["dataset", "classes"], keep="first", maintain_order=True)
    draws = find_draws(runs)["run_id"].to_list()
    # A class half has draws of its own under the name of the whole.
    of_half = ["dataset", "classes", "train_size", "subset_seed"]
    halves = ended.unique(of_half, keep="first", maintain_order=True)
    return list(dict.fromkeys([*draws, *halves["run_id"]])), tested["run_id"].to_list()


def audit(record: AuditRecord) -> tuple[Finding, ...]:
    """All findings, errors first, then in order of experiment and variant.

    >>> from tui_datasize.runlog.schema import RUNS
    >>> audit(AuditRecord.of_runs(pl.DataFrame(schema=dict(RUNS))))
    ()
    """
    found = [
        found
        for (_,), runs in record.runs.group_by("experiment", maintain_order=True)
        for found in _audit_experiment(runs, record)
    ]
    return tuple(sorted(found, key=lambda one: (_ORDER.index(one.severity), one.experiment, one.variant)))


def _audit_experiment(runs: pl.DataFrame, record: AuditRecord) -> Iterator[Finding]:
    starts, runs = runs.join(classifying(runs), on="run_id", how="anti"), classifying(runs)
    yield from measured.check_incomplete(starts)
    yield from images.check_twins(starts, record.subsets, record.datasets)
    counted = runs.filter(pl.col("state").is_in(COUNTED_STATES))
    yield from images.check_missing_classes(runs, record.subsets, record.datasets)
    yield from images.check_leaks(runs, record.subsets, record.predictions)
    yield from images.check_twins(runs, record.subsets, record.datasets)
    yield from images.check_further_tests(runs)
    yield from images.check_changed_data(runs, record.datasets)
    yield from images.check_generated(runs)
    yield from sweep.check_duplicates(counted)
    yield from sweep.check_one_draw(counted)
    yield from sweep.check_means(counted)
    yield from sweep.check_choosing(counted)
    yield from sweep.check_best(counted)
    yield from sweep.check_one_recipe(counted)
    for _, curve in runs.group_by("variant", maintain_order=True):
        yield from measured.check_incomplete(curve)
        yield from measured.check_not_finite(curve)
        yield from sweep.check_missing_cells(curve)
        counted = curve.filter(pl.col("state").is_in(COUNTED_STATES))
        if counted.height:
            yield from _audit_curve(counted, _test_classes(counted, record))


def _audit_curve(runs: pl.DataFrame, test_classes: Sequence[int]) -> Iterator[Finding]:
    test_images = sum(test_classes) or None
    yield from measured.check_chance(runs, test_classes)
    yield from measured.check_measured_part(runs, test_images)
    yield from measured.check_odd_sizes(runs)
    yield from measured.check_sampling_noise(runs, test_images)
    yield from measured.check_equal_metrics(runs)
    yield from sweep.check_updates(runs)
    yield from sweep.check_schedule(runs)
    yield from sweep.check_mixed_conditions(runs)


def _test_classes(runs: pl.DataFrame, record: AuditRecord) -> Sequence[int]:
    """Test images per class of some runs, from any run on the same data; empty where none was described."""
    data = ["dataset", "classes"]
    alike = record.runs.join(runs.select(data).unique(), on=data, how="semi")
    classes = record.datasets.join(alike.select("run_id"), on="run_id", how="semi").drop_nulls("test_images")
    per_run = classes.group_by("run_id", maintain_order=True).agg("test_images")["test_images"].to_list()
    return max(per_run, key=sum, default=())
