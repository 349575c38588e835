"""Where the numbers of a report come from: recipe, data, versions, devices, files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl

from tui_datasize.answers.answer import Column, Table
from tui_datasize.answers.columns import DRAW_AND_SEED, SIZE, of_kind
from tui_datasize.answers.record import Record
from tui_datasize.experiments.recipe_columns import recipe_defaults
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.runlog.scan import Problem, object_or_problem

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


def runs_table(record: Record) -> Table:
    """Every run with its value."""
    metric = record.metric
    columns = (
        *of_kind("text", run_id="run", state="state"),
        SIZE,
        *DRAW_AND_SEED,
        Column("updates", "updates"),
        Column(metric.name, metric.in_words, "value"),
        Column("wall_s", "s", "number"),
    )
    return Table(record.all_runs, columns, metric)


def provenance_tables(record: Record, page: Mapping[str, str]) -> Iterator[Table]:
    """Tables of recipe, data, and files that runs were imported from."""
    runs, datasets, metric = record.all_runs, record.reading.datasets, record.metric
    read = (object_or_problem(RunPaths(Path(path)).provenance) for path in runs["path"])
    documents = [document for document in read if not isinstance(document, Problem)]
    rows = [(title, _told(runs[name])) for name, title in _OF_RUNS.items()]
    for name, default in recipe_defaults().items():
        if name not in _OF_RUNS and runs.filter(pl.col(name) != default).height:
            rows.append((name.replace("_", " "), _told(runs[name])))
    for name, title in _OF_FILES.items():
        rows.append((title, _told(document.get(name) for document in documents)))
    rows.append(("command of the worker", _told(_commands(runs, documents))))
    ends = runs.select(pl.col("queued_at").min(), pl.col("finished_at").max()).row(0)
    rows += [("first queued", ends[0] or ""), ("last finished", ends[1] or ""), *page.items()]
    told = [(title, value) for title, value in rows if value]
    frame = pl.DataFrame(told, ["fact", "value"], orient="row")
    yield Table(frame, _FACTS, metric, "Runs")
    if datasets.height:
        own = datasets.group_by("run_id", "dataset", "fingerprint", maintain_order=True)
        per_run = own.agg(pl.len().alias("classes"), pl.col("train_images", "test_images").sum())
        yield Table(per_run.drop("run_id").unique(maintain_order=True), _DATA, metric, "Data")
    if imported := list(_imported(documents)):
        yield Table(pl.DataFrame(imported), _IMPORTED, metric, "Imported from")


_FACTS = of_kind("text", fact="", value="value (runs that have it, where they differ)")
_DATA = (
    *of_kind("text", dataset="data set", fingerprint="fingerprint"),
    *of_kind("count", classes="classes", train_images="training images", test_images="test images"),
)
_IMPORTED = (
    *of_kind("text", file="file", sha256="SHA-256", size_bytes="bytes", imported_at="imported"),
    Column("runs", "runs"),
)


def _commands(runs: pl.DataFrame, documents: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The workers' commands, with a word in the place of their run directories."""
    run_ids = set(runs["run_id"])
    for document in documents:
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


def _imported(documents: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, object]]:
    counts: Counter[tuple[tuple[str, object], ...]] = Counter()
    for facts in (document.get("imported") for document in documents):
        if isinstance(facts, dict) and isinstance(facts.get("files"), list):
            when = ("imported_at", str(facts.get("imported_at")))
            for file in facts["files"]:
                named = tuple((name, str(file.get(name))) for name in ("file", "sha256", "size_bytes"))
                counts[(*named, when)] += 1
    yield from (dict(key) | {"runs": count} for key, count in counts.items())
