"""Whether runs that share more training images agree more: in accuracy, and answer by answer."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from tui_datasize.answers.answer import Answer, Axis, Chart, Column, Line, Sentence, Table, does_not_apply
from tui_datasize.answers.columns import SIZE_AND_RUNS, of_kind
from tui_datasize.answers.record import Record, bounded, named, numbers, per_variant
from tui_datasize.metric import Metric
from tui_datasize.runlog.schema import drawn_runs
from tui_datasize.stats.agreement import PAIRS_OF_RUNS, overlap_and_agreement, pairs_of_runs
from tui_datasize.stats.group_tests import SIGNIFICANT
from tui_datasize.stats.overlap import find_draws
from tui_datasize.text import plural

_COLUMNS = (
    *SIZE_AND_RUNS,
    Column("n_draws", "draws"),
    *of_kind("share", agreement="equal answers", overlap_min="shared from", overlap_max="to"),
    Column("r_agreement", "r with equal answers", "number"),
    Column("p_agreement", "p", "p"),
    Column("r_difference", "r with difference", "number"),
    *of_kind("p", p_difference="p", p_least="least p possible"),
)


def ask(record: Record) -> Answer:
    """Correlations of overlap with agreement over the pairs of runs of each size."""
    runs, left_out = bounded(drawn_runs(record.runs))
    frames = [pl.DataFrame(schema=dict(PAIRS_OF_RUNS))]
    draws = find_draws(record.all_runs)
    # Size by size: the predictions of all runs at once may not fit into memory.
    for own in runs.partition_by("variant", "train_size", maintain_order=True):
        predictions = record.log.table("predictions", own["run_id"])
        frames.append(pairs_of_runs(own, record.metric.name, record.reading.overlaps, predictions, draws))
    pairs = pl.concat(frames)
    if pairs.is_empty():
        why = "No size has two finished runs to compare. Add seeds, or draws."
        return does_not_apply(" ".join([*(one.text for one in record.left_out), why]))
    table = overlap_and_agreement(runs, pairs)
    drawn = pairs.drop_nulls(["overlap", "agreement"])
    return Answer.of_each(
        (named(variant, _told(rows, record.metric)) for variant, rows in per_variant(table)),
        [*relations(table), *(Sentence(text, "note") for text in left_out), *record.left_out],
        tables=[Table(table, _COLUMNS, record.metric)],
        figures=[_chart(variant, rows) for variant, rows in per_variant(drawn)],
        about="pairs of runs of one size; p by permutation of runs, one-sided",
        rows=lambda: pairs,
    )


def _told(table: pl.DataFrame, metric: Metric) -> str:
    known = table.drop_nulls("agreement").sort("train_size")
    row = (known if known.height else table.sort("train_size")).row(-1, named=True)
    two_runs = f"two runs of {row['train_size']:,} images"
    if known.is_empty():
        apart = metric.difference(row["difference"])
        return f"{apart} between {two_runs}, on average. No predictions on record."
    return f"{100 * row['agreement']:.1f} % of test images get the same answer from {two_runs}."


def relations(table: pl.DataFrame) -> Iterator[str]:
    """Whether overlap goes with agreement, by schema `AGREEMENT`; what cannot be told is said once."""
    several = table.filter(pl.col("n_draws") > 1)
    if several.is_empty():
        yield (
            "Each size has one subset draw on record. Add draws (subset.seeds) to see whether overlap "
            "explains agreement."
        )
        return
    is_blind = pl.col("p_least") > SIGNIFICANT
    for column, what in (("agreement", "more equal answers"), ("difference", "closer values")):
        tested = several.drop_nulls(f"p_{column}").filter(~is_blind)
        if tested.height:
            found = tested.filter(pl.col(f"p_{column}") < SIGNIFICANT).height
            sizes = plural(tested.height, "tested size")
            yield f"More shared images go with {what} at {found} of {sizes} (p < {SIGNIFICANT})."
    tested = several.filter(pl.col("p_agreement").is_not_null() | pl.col("p_difference").is_not_null())
    blind = tested.filter(is_blind)["p_least"].to_list()
    if blind:
        yield (
            f"{plural(len(blind), 'size')} with too few runs to test whether overlap explains agreement: "
            f"no p below {min(blind):.2g} is possible. Add seeds."
        )
    if untested := several.height - tested.height:
        yield f"{plural(untested, 'size')} without a correlation: runs, or their overlaps, are all alike."


def _chart(variant: str, pairs: pl.DataFrame) -> Chart:
    shared = (100 * pairs["overlap"]).to_list()
    return Chart(
        named(variant, "a mark per pair of runs"),
        Axis("shared training images, %"),
        Axis("equal answers, %", ceiling=100),
        [Line("", shared, numbers(pairs["agreement"], 100), 0, "small", is_joined=False)],
    )
