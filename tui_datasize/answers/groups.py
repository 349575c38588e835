"""Where it fails: groups of test images, and further test sets, each with its learning curve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import polars as pl

from tui_datasize.answers.answer import Answer, Chart, Column, Line, Sentence, Table, does_not_apply
from tui_datasize.answers.columns import (
    INTERVAL,
    SIZE_AND_RUNS,
    SIZE_AXIS,
    interval_words,
    metric_axis,
    of_kind,
)
from tui_datasize.answers.record import Record, bounded, named, per_variant
from tui_datasize.errors import ConfigError, DatasizeError
from tui_datasize.experiments.groups import groups_of
from tui_datasize.experiments.load import read_project
from tui_datasize.metric import METRICS_OFFERED, Metric
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.schema import SPLITS, Schema, schema
from tui_datasize.stats.agreement import predicted_classes
from tui_datasize.stats.curve import learning_curve
from tui_datasize.stats.pairwise import difference

PARTS: Schema = schema(
    (pl.String, "experiment", "variant", "kind", "part"),
    (pl.Int64, "train_size", "n_runs", "images"),
    (pl.Float64, "mean", "low", "high"),
)
"""A part of what is measured on at a train size a row: a `group` of test images by its accuracy, or a `test
set` by the metric asked for, the test set itself among them; `images` are those of a group."""

_ACCURACY = METRICS_OFFERED["test_accuracy"]
_NONE = (
    'Nothing is told apart. groups = "groups.csv" in [experiments.NAME] of experiments.toml names a file of '
    'lines `file name,group`; tests = { sketch = "imagefolder:PATH" } measures new runs on further images.'
)
_OVER_RUNS = "Intervals are over runs: what other images of a group or test set would change is not in them."


def is_offered(runs: pl.DataFrame) -> bool:
    """Whether the file of the project names groups or further test sets of the experiment."""
    if runs.height and runs["path"][0]:
        file = ProjectPaths(Path(runs["path"][0]).parents[2]).experiments
        with suppress(OSError):
            status = file.stat()
            return runs["experiment"][0] in _having_parts(file, status.st_mtime_ns, status.st_size)
    return False


@lru_cache(8)
def _having_parts(file: Path, _changed_ns: int, _size: int) -> frozenset[str]:
    """Experiments with groups or further test sets; read once per change of the file."""
    with suppress(ConfigError):
        project, _ = read_project(file)
        return frozenset(
            name
            for name, one in project.experiments.items()
            if one.groups or any(own.spec.tests for own in one.recipes)
        )
    return frozenset()


@dataclass(frozen=True, slots=True)
class _Parts:
    """The runs of a record, once for each part of one kind, whose value stands for their metric."""

    kind: str
    metric: Metric
    runs: pl.DataFrame
    """Schema `RUNS`, and `part` and `images`."""

    def curves(self) -> pl.DataFrame:
        """Schema `PARTS`."""
        found = [pl.DataFrame(schema=dict(PARTS))]
        for own in self.runs.partition_by("part", maintain_order=True):
            facts = {"kind": self.kind, "part": own["part"][0], "images": own["images"].max()}
            curve = learning_curve(own, self.metric.name)
            literals = {name: pl.lit(value, PARTS[name]) for name, value in facts.items()}
            found.append(curve.with_columns(**literals).select(*PARTS))
        return pl.concat(found).sort("variant", "part", "train_size")


def ask(record: Record) -> Answer:
    """Accuracy of each group of test images, and the metric on each further test set, against train size."""
    runs, left_out = bounded(record.runs)
    notes = [Sentence(text, "note") for text in left_out]
    kinds: list[_Parts] = []
    try:
        kinds += _groups(record, runs)
    except DatasizeError as error:
        notes.append(Sentence(f"No groups: {error.line}.", "warning"))
    kinds += _further(record)
    if not kinds:
        return does_not_apply(notes[-1].text if notes else _NONE)
    told, tables, figures = [], [], []
    for parts in kinds:
        curves = parts.curves()
        tables.append(Table(curves, _columns(parts), parts.metric))
        for variant, rows in per_variant(curves):
            tell = _gap if parts.kind == "group" else _apart
            told.append(named(variant, tell(rows, parts)))
            figures.append(_chart(named(variant, f"{parts.kind}s"), rows, parts.metric))
    return Answer.of_each(
        told,
        [*notes, Sentence(_OVER_RUNS, "aside")],
        tables=tables,
        figures=figures,
        about="last evaluation, mean over runs",
        rows=lambda: pl.concat([table.frame for table in tables]),
    )


def _groups(record: Record, runs: pl.DataFrame) -> Iterator[_Parts]:
    """Raises DatasizeError: they cannot be read."""
    ended = runs.filter(state="succeeded")
    known: dict[str, pl.DataFrame] = {}
    found = []
    # Size by size: the predictions of all runs at once may not fit into memory.
    for own in ended.partition_by("variant", "train_size", "classes", maintain_order=True):
        of = str(own["classes"][0])
        groups = known[of] if of in known else _of_images(record, own["run_id"][0])
        known[of] = groups
        if groups.is_empty():
            continue
        given = record.log.table("predictions", own["run_id"])
        labels = given.filter(evaluation="last").select("run_id", "index", "label")
        for run_id, predicted in predicted_classes(given).items():
            both = predicted.join(labels.filter(run_id=run_id), on="index").join(groups, on="index")
            right = (pl.col("predicted") == pl.col("label")).mean()
            found.append(
                both.filter(pl.col("part") != "").group_by("run_id", "part").agg(value=right, images=pl.len())
            )
    if found:
        yield _Parts("group", _ACCURACY, _with_values(ended, pl.concat(found), _ACCURACY))


def _of_images(record: Record, run_id: str) -> pl.DataFrame:
    """The groups of the test images of a run, by `index`."""
    classes = record.log.datasets([run_id]).sort("label")
    images = dict(classes.select("class_name", "test_images").iter_rows())
    of_images = groups_of(record.log.project.experiments, record.experiment, images) if images else ()
    return pl.DataFrame(
        {"index": range(len(of_images)), "part": of_images}, schema_overrides={"index": pl.Int64}
    )


def _further(record: Record) -> Iterator[_Parts]:
    split, score = record.metric.split_and_score
    rows = record.metrics.filter(pl.col("event") == "evaluation", ~pl.col("split").is_in(SPLITS))
    if split != "test" or rows.is_empty():
        return
    last = rows.group_by("run_id", part="split", maintain_order=True).agg(value=pl.col(score).last())
    own = record.runs.join(last, on="run_id", how="semi")
    tested = own.select("run_id", part=pl.lit("test"), value=record.metric.name)
    values = pl.concat([tested, last.select("run_id", "part", "value")])
    yield _Parts(
        "test set", record.metric, _with_values(own, values.with_columns(images=None), record.metric)
    )


def _with_values(runs: pl.DataFrame, values: pl.DataFrame, metric: Metric) -> pl.DataFrame:
    joined = runs.drop(metric.name).join(values, on="run_id", maintain_order="left")
    return joined.rename({"value": metric.name}).sort("part", maintain_order=True)


def _gap(rows: pl.DataFrame, parts: _Parts) -> str:
    """The worst group at the largest size, and how far it lies below the best, at the smallest size too."""
    metric, sizes = parts.metric, rows["train_size"].unique().sort()
    ranked = {size: rows.filter(train_size=size).sort("mean", "part") for size in sizes}
    worst, best = (ranked[sizes[-1]].row(place, named=True) for place in (0, -1))
    size = f"{sizes[-1]:,} images"
    if worst["part"] == best["part"]:
        return f"{metric.text(worst['mean'])} for group {worst['part']} at {size}; there is no other."
    told = f"{metric.text(worst['mean'])} for group {worst['part']}, the worst at {size}"
    own = parts.runs.filter(variant=worst["variant"], train_size=sizes[-1])
    told += f", {_below(own, worst['part'], best['part'], metric)} group {best['part']}, the best"
    if len(sizes) == 1:
        return f"{told}."
    first = ranked[sizes[0]]["mean"]
    return f"{told}; at {sizes[0]:,} images the gap is {metric.difference(first[-1] - first[0])}."


def _below(runs: pl.DataFrame, worst: str, best: str, metric: Metric) -> str:
    """Run by run, with its interval."""
    value = pl.col(metric.name)
    values = [value.filter(pl.col("part") == part).first() for part in (best, worst)]
    gaps = runs.group_by("run_id", "experiment", "variant", "train_size", "subset_seed", "seed", "state").agg(
        (values[0] - values[1]).alias(metric.name)
    )
    gap = learning_curve(gaps, metric.name).row(0, named=True)
    if gap["df"] is None or not gap["se"]:
        return f"{metric.difference(gap['mean'])} below"
    found = difference((worst, best), gap["mean"], gap["se"], gap["df"])
    return f"{metric.difference(found.value)} ({interval_words(found.low, found.high, metric)}) below"


def _apart(rows: pl.DataFrame, parts: _Parts) -> str:
    """Each further test set at the largest size against the test set."""
    metric, sizes = parts.metric, rows["train_size"].unique().sort()
    means: Mapping[str, float] = dict(rows.filter(train_size=sizes[-1]).select("part", "mean").iter_rows())
    others = [
        f"{metric.text(mean)} on {part} ({metric.change(mean - means['test'])})"
        for part, mean in means.items()
        if part != "test"
    ]
    return (
        f"{', '.join(others)} at {sizes[-1]:,} images, against {metric.text(means['test'])} on the test set."
    )


def _columns(parts: _Parts) -> list[Column]:
    return [
        Column("part", parts.kind, "text"),
        *SIZE_AND_RUNS,
        Column("images", "its images"),
        *of_kind("value", mean=parts.metric.in_words, **INTERVAL),
    ]


def _chart(title: str, rows: pl.DataFrame, metric: Metric) -> Chart:
    lines = [
        Line.of(own, "train_size", "mean", metric.scale, str(own["part"][0]), place)
        for place, own in enumerate(rows.partition_by("part", maintain_order=True))
    ]
    return Chart(title, SIZE_AXIS, metric_axis(metric), lines)
