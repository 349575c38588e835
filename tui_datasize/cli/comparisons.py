"""What `analyze` says around the curves: the audit, sizes and variants compared, where scatter comes from."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import polars as pl
from rich.console import Console

from tui_datasize.analysis.document import finite
from tui_datasize.analysis.findings import Finding, Severity
from tui_datasize.analysis.groups import SizeComparison, VariantComparison, compare_sizes, compare_variants
from tui_datasize.analysis.groups_table import groups_table
from tui_datasize.cli.console import print_words, styled
from tui_datasize.report.evidence import find_faults, split_of
from tui_datasize.runlog.reader import RunLog

_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}


def print_findings(console: Console, findings: tuple[Finding, ...]) -> None:
    """One paragraph per finding, errors first; nothing where there is none."""
    for finding in findings:
        style = _STYLES[finding.severity]
        words = styled((f"{finding.severity}:", style), f" {finding.words}")
        console.print(words, soft_wrap=not console.is_terminal)
    if findings:
        console.print()


def print_comparisons(console: Console, log: RunLog, runs: pl.DataFrame, metric: str) -> None:
    """Sizes against each other, variants at equal sizes, and the sources of scatter, in sentences."""
    for sizes in compare_sizes(runs, metric):
        _print_words(console, f"Sizes compared{_named(sizes.variant)}", sizes.words)
    variants = [found for found in compare_variants(runs, metric) if found.train_size is None]
    for found in variants:
        _print_words(console, "Variants compared at equal sizes", found.words)
    for split in split_of(log, runs, metric):
        _print_words(console, f"Where the scatter comes from{_named(split.variant)}", split.words)


def comparison_dict(log: RunLog, runs: pl.DataFrame, metric: str) -> dict[str, Any]:
    """The same for JSON: under `audit`, `groups`, `comparisons` (sentences) and `variance`."""
    comparisons: list[SizeComparison | VariantComparison] = [
        *compare_sizes(runs, metric),
        *compare_variants(runs, metric),
    ]
    document = {
        "audit": [{**asdict(finding), "words": finding.words} for finding in find_faults(log, runs)],
        "groups": groups_table(runs, metric).to_dicts(),
        "comparisons": [sentence for comparison in comparisons for sentence in comparison.words],
        "variance": [
            {
                "variant": split.variant,
                "design": split.design,
                "components": [asdict(component) | {"sd": component.sd} for component in split.components],
                "words": list(split.words),
            }
            for split in split_of(log, runs, metric)
        ],
    }
    plain: dict[str, Any] = finite(document)
    return plain


def _print_words(console: Console, title: str, words: tuple[str, ...]) -> None:
    if words:
        console.print(title, style="bold")
        print_words(console, "\n".join(words) + "\n")


def _named(variant: str) -> str:
    return f", {variant}" if variant else ""
