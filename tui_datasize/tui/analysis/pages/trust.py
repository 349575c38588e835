"""Whether the tables can be trusted, what the scatter is made of, and whether overlap explains agreement."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rich.text import Text

from tui_datasize.tui.analysis.pages.page import Content, Request, bounded, numbers, only_words
from tui_datasize.tui.charts.lines import Series, line_chart
from tui_datasize.tui.charts.overlap import Bar, class_bars
from tui_datasize.tui.charts.scale import Scale
from tui_datasize.tui.widgets.palette import Palette
from tui_datasize.words import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from tui_datasize.analysis.findings import Finding


def audit(request: Request) -> Content:
    """Every reason not to trust a table, the gravest first."""
    from tui_datasize.analysis.audit import AuditRecord, runs_to_read
    from tui_datasize.analysis.audit import audit as find
    from tui_datasize.analysis.findings import findings_table

    runs, log = request.all_runs, request.log
    drawn, tested = runs_to_read(runs)
    record = AuditRecord(runs, log.subsets(drawn), log.datasets(drawn), log.predictions(tested))
    findings = find(record)
    return Content(
        partial(_write_findings, findings),
        [f"{plural(len(findings), 'finding')} in {plural(runs.height, 'run')}."],
        table=lambda: findings_table(findings),
    )


def variance(request: Request) -> Content:
    """How much of the scatter is the training seed, the subset draw and the test sample."""
    from tui_datasize.analysis.variance import split_variance, variance_table

    splits = split_variance(request.runs, request.metric.name, _test_images(request))
    bars = [
        Bar(component.name, component.share, float("nan"))
        for split in splits
        for component in split.components
    ]
    return Content(
        partial(_draw_shares, bars),
        [words for split in splits for words in split.words]
        or ["No run has succeeded with this metric yet."],
        "share of the variance between runs, %",
        lambda: variance_table(splits),
    )


def _test_images(request: Request) -> int | None:
    datasets = request.log.datasets(request.runs["run_id"].head(1))
    return None if datasets.is_empty() else int(datasets["test_images"].sum())


def _draw_shares(bars: Sequence[Bar], width: int, height: int, palette: Palette) -> Text:
    empty = "The scatter cannot be split: that takes several seeds, or draws, at a size."
    return class_bars(bars, width=width, height=height, palette=palette, empty=empty)


def agreement(request: Request) -> Content:
    """Whether runs on more alike subsets are more alike."""
    from tui_datasize.analysis.agreement import overlap_and_agreement, pairs_of_runs
    from tui_datasize.analysis.overlap import find_draws, find_overlaps

    runs, left_out = bounded(request.runs)
    draws = find_draws(runs)
    overlaps = find_overlaps(
        draws, request.log.subsets(draws["run_id"]), request.log.datasets(draws["run_id"])
    )
    predictions = request.log.predictions(runs["run_id"])
    pairs = pairs_of_runs(runs, request.metric.name, overlaps, predictions)
    table = overlap_and_agreement(runs, pairs)
    if pairs.is_empty():
        return only_words("Two runs of one size are needed to compare any.")
    return Content(
        partial(_draw_pairs, pairs),
        [*left_out, *table["words"]],
        "a mark per pair of runs",
        lambda: pairs,
    )


def _write_findings(findings: Sequence[Finding], width: int, height: int, palette: Palette) -> Text:
    import textwrap

    from tui_datasize.analysis.findings import Severity

    if not findings:
        return Text("Nothing found that speaks against these tables.", style=palette.success)
    colours = {
        Severity.ERROR: palette.error,
        Severity.WARNING: palette.accent,
        Severity.NOTE: palette.foreground,
    }
    lines: list[Text] = []
    for finding in findings:
        wrapped = textwrap.wrap(finding.words, max(10, width - 10))
        heads = [str(finding.severity), *[""] * (len(wrapped) - 1)]
        lines += [
            Text.assemble((f"{head:<9}", colours[finding.severity]), (text, palette.foreground))
            for head, text in zip(heads, wrapped, strict=True)
        ]
    if len(lines) > height:
        lines = [*lines[: height - 1], Text("… all of them: ctrl+e", style=palette.muted)]
    return Text("\n").join(lines)


def _draw_pairs(pairs: pl.DataFrame, width: int, height: int, palette: Palette) -> Text:
    known = pairs.drop_nulls("agreement")
    if known.is_empty():
        return only_words("No predictions to compare.").draw(width, height, palette)
    marks = Series(
        "", numbers(known["overlap"], 100), numbers(known["agreement"], 100), palette.primary, False, "∙"
    )
    return line_chart(
        [marks],
        Scale("shared training images, %"),
        Scale("equal predictions, %", ceiling=100),
        width=width,
        height=height,
        palette=palette,
    )
