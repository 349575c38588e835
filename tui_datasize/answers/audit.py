"""Whether the numbers can be trusted: everything on record that speaks against them, the gravest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tui_datasize.answers.answer import Answer, Column, Sentence, Table, Tone, does_not_apply
from tui_datasize.answers.checks.finding import Finding, findings_table
from tui_datasize.answers.columns import of_kind
from tui_datasize.answers.record import Record
from tui_datasize.stats.curve import COUNTED_STATES
from tui_datasize.text import listed, plural

_MOST_NAMED = 3
_TONES: dict[str, Tone] = {"error": "error", "warning": "warning", "note": "note"}


def ask(record: Record) -> Answer:
    """How many problems there are, then each: what several variants share is told once."""
    findings = record.reading.findings
    if not findings and not record.all_runs["state"].is_in(COUNTED_STATES).any():
        return does_not_apply("No run has succeeded yet: there is nothing to check.")
    problems = _problems(findings)
    table = findings_table(findings)
    columns = [
        *of_kind("text", severity="severity", check="check", what="what", to_do="what to do"),
        Column("runs", "runs"),
    ]
    detail = Table(table, columns, record.metric, "Each variant by itself", is_detail=True)
    n_variants = record.all_runs["variant"].n_unique()
    return Answer(
        _headline(problems),
        [
            Sentence(" ".join(filter(None, _parts(problem, n_variants))), _TONES[str(problem[0].severity)])
            for problem in problems
        ],
        [detail] if len(findings) > len(problems) else [],
        about=plural(record.all_runs.height, "run"),
        rows=lambda: table,
    )


def _problems(findings: Sequence[Finding]) -> Sequence[Sequence[Finding]]:
    grouped: dict[tuple[str, int], list[Finding]] = {}
    seen: Counter[tuple[str, str]] = Counter()
    for finding in findings:
        check = f"{finding.severity} {finding.check}"
        grouped.setdefault((check, seen[check, finding.variant]), []).append(finding)
        seen[check, finding.variant] += 1
    return list(grouped.values())


def _headline(problems: Sequence[Sequence[Finding]]) -> str:
    if not problems:
        return "No problems found."
    counts = Counter(str(found[0].severity) for found in problems)
    checks = dict.fromkeys(found[0].check.replace("-", " ") for found in problems)
    return f"{', '.join(plural(count, name) for name, count in counts.items())}: {', '.join(checks)}."


def _parts(problem: Sequence[Finding], n_variants: int) -> Iterator[str]:
    """Whose it is, unless it is everyone's, what it is, and where else it is with other numbers."""
    first = problem[0]
    alike = [found.variant for found in problem if (found.what, found.to_do) == (first.what, first.to_do)]
    if any(alike) and len(alike) < n_variants:
        yield f"{_few(alike)}:"
    yield first.what
    yield first.to_do
    others = [found.variant for found in problem if found.variant not in alike]
    if others:
        yield f"Likewise in {_few(others)}, with other numbers."


def _few(variants: Sequence[str]) -> str:
    named = [variant or "the base variant" for variant in variants]
    if len(named) > _MOST_NAMED + 1:
        named = [*named[:_MOST_NAMED], f"{len(named) - _MOST_NAMED} more"]
    return listed(named)
