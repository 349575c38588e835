"""What an audit finds: one plain sentence per finding, and where it applies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

import polars as pl

from tui_datasize.runlog.schema import Schema, schema


class Severity(StrEnum):
    """How far a finding goes."""

    ERROR = "error"
    """What is shown is not what it seems: do not use it."""
    WARNING = "warning"
    """A conclusion may fail for this reason."""
    NOTE = "note"
    """Worth knowing when reading the numbers."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason not to trust a table as it stands."""

    severity: Severity
    check: str
    """Name of the check, such as `part-of-split`."""
    experiment: str
    variant: str
    """Empty where the experiment has one, or where all are concerned."""
    train_sizes: tuple[int, ...]
    """Sizes concerned, ascending; empty for the whole curve."""
    run_ids: tuple[str, ...]
    what: str
    """A sentence, its point included."""
    to_do: str

    @property
    def words(self) -> str:
        where = f"{self.experiment}, {self.variant}" if self.variant else self.experiment
        return f"{where}: {self.what} {self.to_do}".rstrip()


AUDIT: Schema = schema(
    (pl.String, "severity", "check", "experiment", "variant"),
    (pl.List(pl.Int64), "train_sizes"),
    (pl.Int64, "runs"),
    (pl.List(pl.String), "run_ids"),
    (pl.String, "what", "to_do"),
)
"""One finding a row, errors first; see `Finding`."""


def findings_table(findings: Iterable[Finding]) -> pl.DataFrame:
    """Findings as a frame, schema `AUDIT`."""
    rows = [asdict(one) | {"severity": str(one.severity), "runs": len(one.run_ids)} for one in findings]
    return pl.DataFrame(rows, schema=dict(AUDIT))


def sizes_words(sizes: Sequence[int]) -> str:
    """Train sizes in words, shortened where there are many.

    >>> sizes_words([40]), sizes_words([40, 80]), sizes_words([1000, 2000, 3000, 4000, 5000])
    ('40 images', '40 and 80 images', '5 sizes from 1,000 to 5,000 images')
    """
    if len(sizes) > 3:
        return f"{len(sizes)} sizes from {sizes[0]:,} to {sizes[-1]:,} images"
    *rest, last = (f"{size:,}" for size in sizes)
    return f"{', '.join(rest)} and {last} images" if rest else f"{last} images"


def finding(
    severity: Severity, check: str, runs: pl.DataFrame, what: str, to_do: str, *, names_sizes: bool = False
) -> Finding:
    """A finding about some runs of one experiment.

    Of several variants it is about the experiment; `names_sizes` where it is about the sizes of these runs,
    not the whole curve.
    """
    variants = runs["variant"].unique()
    return Finding(
        severity,
        check,
        experiment=str(runs["experiment"][0]),
        variant=str(variants[0]) if len(variants) == 1 else "",
        train_sizes=tuple(runs["train_size"].unique().sort()) if names_sizes else (),
        run_ids=tuple(runs["run_id"]),
        what=what,
        to_do=to_do,
    )
