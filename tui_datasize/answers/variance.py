"""Where the scatter between runs comes from: training seed, subset draw, what is left, and the test set."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from tui_datasize.answers.answer import Answer, Bar, Bars, Column, Sentence, Table, does_not_apply
from tui_datasize.answers.columns import interval_words, of_kind, share_axis
from tui_datasize.answers.record import NO_RUN, Record, named
from tui_datasize.stats.group_tests import SIGNIFICANT, p_words
from tui_datasize.stats.variance import TEST_SAMPLING, UNTOLD, Component, VarianceSplit, variance_table


def ask(record: Record) -> Answer:
    """How much of the variance between runs of a size each source makes."""
    if not record.scatter:
        return does_not_apply(record.left_out[0].text if record.left_out else NO_RUN)
    splits = [split for split in record.scatter if _sources(split)]
    if not splits:
        why = "The scatter between runs is unknown: no train size has two runs. Add seeds, or draws."
        return does_not_apply(why)
    table = variance_table(splits)
    columns = [
        *of_kind("text", source="source", design="design"),
        Column("sd", "SD", "spread"),
        *of_kind("spread", sd_low="95 % from", sd_high="to"),
        Column("share", "share of the variance", "share"),
        Column("p", "p", "p"),
    ]
    return Answer.of_each(
        (named(split.variant, _told(split)) for split in splits),
        [*_doubts(splits), *record.left_out],
        tables=[Table(table, columns, record.metric)],
        figures=[_bars(split) for split in splits],
        about="variance between runs of a size, pooled over sizes",
        rows=lambda: table,
    )


def _sources(split: VarianceSplit) -> Sequence[Component]:
    return [component for component in split.components if component.name != TEST_SAMPLING]


def _told(split: VarianceSplit) -> str:
    sources = _sources(split)
    largest = max(sources, key=lambda component: component.variance)
    ends = ""
    if not math.isnan(largest.sd_low):
        ends = f", {interval_words(largest.sd_low, largest.sd_high, split.metric)}"
    moves = f"{split.metric.difference(largest.sd)} (SD{ends})"
    if not largest.variance:
        return "All runs of a size have equal values."
    if len(sources) == 1:
        return f"{moves} between runs of a size: {_named(largest)}."
    doubt = ""
    if largest.p is not None:
        doubt = f"; {p_words(largest.p)}" + ("" if largest.p < SIGNIFICANT else ", not significant")
    share = f"{100 * largest.share:.0f} % of the variance"
    return f"{share} between runs is {_named(largest)}: it moves a run by {moves}{doubt}."


def _named(component: Component) -> str:
    return {
        UNTOLD: "training seed, subset draw, or both",
        "seed on draw": "the training seed acting differently on each subset draw",
    }.get(component.name, f"the {component.name}")


def _doubts(splits: Sequence[VarianceSplit]) -> Iterator[Sentence | str]:
    """What the table does not tell, each once."""
    sampling = [found for split in splits if (found := split.component(TEST_SAMPLING))]
    if sampling:
        most = splits[0].metric.difference(max(component.sd for component in sampling))
        yield f"Another test set of this size would move all runs together by {most} (SD)."
    if any(component.estimate < 0 for split in splits for component in split.components):
        yield Sentence("SD 0: too small to measure, its estimate is below 0.", "aside")
    designs = {split.design for split in splits}
    if any(split.component(UNTOLD) for split in splits):
        yield (
            "The files do not say whether runs of a size share their images, so seed and draw cannot be "
            "separated. Import them with --column draw=COLUMN, or with --draw 0 where all share them."
        )
    elif "none" in designs:
        yield "Seed and draw change together here and cannot be separated. Run some seeds on several draws."
    if "seeds only" in designs:
        yield (
            "All runs of a size share one subset draw. Add draws (subset.seeds) to see what a draw changes."
        )
    if "draws only" in designs:
        yield "All runs of a size share one training seed. Add seeds to see what a seed changes."


def _bars(split: VarianceSplit) -> Bars:
    bars = [Bar(one.name, 100 * one.share) for one in _sources(split) if math.isfinite(one.share)]
    return Bars(named(split.variant, "sources of the variance"), share_axis("share of the variance"), bars)
