"""The tables of a report that need the tables and predictions of single runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import polars as pl

from tui_datasize.analysis.confusions import top_confusions
from tui_datasize.analysis.curve import METRICS_OFFERED
from tui_datasize.analysis.ensembles import ensembles_table
from tui_datasize.analysis.reliability import Reliability, confidences, reliability, risk_coverage_table
from tui_datasize.report.framed import Column, View
from tui_datasize.report.views import N_RUNS, SIZE, Build, Source, of_page

MOST_COMPARED = 40
"""Runs of one variant and size whose predictions are read."""
MOST_READ = 400
"""Runs in all whose predictions are read."""
_CONFUSIONS = 12
_MEMBERS = (1, 2, 3, 5, 10, 20)
_SETS = 20
_ACCURACY = METRICS_OFFERED["test_accuracy"]


def confusions(source: Source) -> Iterator[View]:
    """The commonest confusions at the largest size."""
    runs, left_out = _bounded(_largest(source.runs))
    counts, datasets = source.log.confusion(runs["run_id"]), source.log.datasets(runs["run_id"].head(1))
    yield View(
        "What is taken for what",
        "The commonest confusions at the largest train size, summed over its runs.",
        top_confusions(runs, counts, datasets, _CONFUSIONS),
        [Column("class_name", "class", "text"), Column("predicted_name", "taken for", "text"), SIZE,
         Column("images", "images"), Column("share", "of the class, %", "share"),
         Column("back", "the other way, %", "share"), Column("n_runs", "in runs")],
        of_page("What is taken for what"),
        _ACCURACY,
        left_out,
    )  # fmt: skip


def calibration(source: Source) -> Iterator[View]:
    """Accuracy against confidence at the largest size, and the error if only the surest are answered."""
    runs, words = _bounded(_largest(source.runs))
    bins, risks = [], []
    for own in runs.partition_by("variant", maintain_order=True):
        scored = confidences(source.log.predictions(own["run_id"]))
        if scored.height:
            found = reliability(scored["confidence"], scored["is_correct"])
            variant = own["variant"][0]
            words = [*words, f"{variant}: {found.words}" if variant else found.words]
            bins.append(_bins(found, variant))
            risks.append(risk_coverage_table(scored, own))
    if not bins:
        return
    yield View(
        "Confidence against accuracy",
        "How often the answers of each confidence are right, at the largest train size, all runs together.",
        pl.concat(bins),
        [Column("low", "confidence from, %", "share"), Column("images", "answers"),
         Column("confidence", "mean confidence, %", "share"), Column("accuracy", "right, %", "share"),
         Column("off", "overconfident, points", "points")],
        of_page("Confidence against accuracy"),
        _ACCURACY,
        words,
    )  # fmt: skip
    yield View(
        "",
        "The share of wrong answers if only the surest are given, means over runs.",
        pl.concat(risks),
        [SIZE, N_RUNS, Column("coverage", "answered, %", "share"), Column("risk", "wrong, %", "share")],
        of_page("Confidence against accuracy"),
        _ACCURACY,
    )


def ensembles(source: Source) -> Iterator[View]:
    """Accuracy of the mean of several runs' probabilities, against their number."""
    runs, left_out = _bounded(source.runs)
    # Most of the time of a report goes here: fewer sets than elsewhere tell the mean as well as a page needs.
    table = ensembles_table(runs, source.log.predictions, most=_SETS)
    is_last = pl.col("members") == pl.col("n_runs")
    yield View(
        "Ensembles of runs",
        f"Test accuracy of the mean of several runs' probabilities, mean over at most {_SETS} sets of so "
        "many runs; `export --table ensembles` has every number of members, and more sets.",
        table.drop_nulls("accuracy").filter(pl.col("members").is_in(_MEMBERS) | is_last),
        [SIZE, Column("members", "members"), Column("n_ensembles", "sets"),
         Column("accuracy", "accuracy, %", "share"), Column("accuracy_min", "lowest, %", "share"),
         Column("accuracy_max", "highest, %", "share"), Column("gain", "over one, points", "points")],
        "`export --table ensembles`",
        _ACCURACY,
        left_out,
    )  # fmt: skip


FROM_PREDICTIONS: Mapping[str, Build] = MappingProxyType(
    {"confusions": confusions, "calibration": calibration, "ensembles": ensembles}
)
"""By the names of the app's pages."""


def _largest(runs: pl.DataFrame) -> pl.DataFrame:
    """The finished runs of the largest train size of each variant."""
    size = pl.col("train_size")
    return runs.filter(state="succeeded").filter(size == size.max().over("variant"))


def _bounded(runs: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """The runs whose predictions are read; words, where others are left out."""
    kept = runs.group_by("variant", "train_size", maintain_order=True).head(MOST_COMPARED).head(MOST_READ)
    if kept.height == runs.height:
        return runs, []
    looked_at = f"{kept.height:,} of {runs.height:,}"
    return kept, [
        f"Of each train size the first {MOST_COMPARED} runs are looked at, {MOST_READ} in all: {looked_at}."
    ]


def _bins(found: Reliability, variant: str) -> pl.DataFrame:
    columns = {"low": found.low, "images": found.images, "confidence": found.confidence}
    frame = pl.DataFrame({**columns, "accuracy": found.accuracy, "off": found.confidence - found.accuracy})
    return frame.with_columns(variant=pl.lit(variant)).filter(pl.col("images") > 0)
