"""Where the numbers of a report come from: recipe, data, versions, devices, files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl

from tui_datasize.report.blocks import Block, Table
from tui_datasize.report.evidence import Evidence

_OF_RUNS: Mapping[str, str] = MappingProxyType(
    {
        "dataset": "data set",
        "model": "model",
        "batch_size": "batch size",
        "total_updates": "updates",
        "optimizer": "optimiser",
        "lr": "learning rate",
        "weight_decay": "weight decay",
        "schedule": "schedule",
        "augmentation": "augmentation",
        "git_commit": "commit of the project",
        "git_dirty": "with uncommitted changes",
        "torch": "torch",
        "device": "device",
        "precision": "precision",
        "threads": "threads",
        "hostname": "host",
    }
)
_OF_FILES: Mapping[str, str] = MappingProxyType(
    {"python": "Python", "cuda": "CUDA", "device_uuid": "device's UUID"}
)
_MOST_VALUES = 6


def provenance_blocks(evidence: Evidence, page: Mapping[str, str]) -> Iterator[Block]:
    """Tables of recipe, data, and files that runs were imported from.

    Args:
        evidence: What the report is of.
        page: Facts of the page itself, such as the command that wrote it.
    """
    runs = evidence.runs
    rows = [(title, _told(runs[name])) for name, title in _OF_RUNS.items()]
    for name, title in _OF_FILES.items():
        rows.append((title, _told(document.get(name) for document in evidence.provenance)))
    rows.append(("command of the worker", _told(_commands(evidence))))
    ends = runs.select(pl.col("queued_at").min(), pl.col("finished_at").max()).row(0)
    rows += [("first queued", ends[0] or ""), ("last finished", ends[1] or ""), *page.items()]
    told = [(title, value) for title, value in rows if value]
    yield Table("Runs", ("", "value (runs that have it, where they differ)"), told, left=2)
    if evidence.datasets.height:
        yield _data_table(evidence.datasets)
    if imported := list(_imported(evidence.provenance)):
        yield Table("Imported from", ("file", "SHA-256", "bytes", "imported", "runs"), imported, left=2)


def _commands(evidence: Evidence) -> Iterator[str]:
    """The workers' commands, with a word in the place of their run directories."""
    run_ids = set(evidence.runs["run_id"])
    for document in evidence.provenance:
        if isinstance(words := document.get("argv"), list):
            yield " ".join("RUN_DIR" if Path(str(word)).name in run_ids else str(word) for word in words)


def _told(values: Iterable[object]) -> str:
    """The values that there are, the commonest first; with their number where there are several."""
    counts = Counter(_text(value) for value in values if value is not None).most_common()
    if len(counts) == 1:
        return counts[0][0]
    shown = "; ".join(f"{value} ({count})" for value, count in counts[:_MOST_VALUES])
    return f"{shown}; and {len(counts) - _MOST_VALUES} more" if len(counts) > _MOST_VALUES else shown


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _data_table(datasets: pl.DataFrame) -> Table:
    per_run = datasets.group_by("run_id", "dataset", "fingerprint", maintain_order=True).agg(
        pl.len().alias("classes"), pl.col("train_images", "test_images").sum()
    )
    columns = ("dataset", "fingerprint", "classes", "train_images", "test_images")
    rows = [
        [_text(value) for value in row] for row in per_run.select(columns).unique(maintain_order=True).rows()
    ]
    return Table(
        "Data", ("data set", "fingerprint", "classes", "training images", "test images"), rows, left=2
    )


def _imported(documents: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """A row per file that runs were imported from, and how many."""
    counts: Counter[tuple[str, ...]] = Counter()
    for facts in (document.get("imported") for document in documents):
        if isinstance(facts, dict) and isinstance(facts.get("files"), list):
            when = facts.get("imported_at")
            for file in facts["files"]:
                named = (file.get("file"), file.get("sha256"), file.get("size_bytes"), when)
                counts[tuple(map(str, named))] += 1
    yield from ((*key, str(count)) for key, count in counts.items())
