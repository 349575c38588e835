"""Views of pages of the Analysis tab that take runs made for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tests.fakes import fake_spec, write_lines, write_run
from tests.tui.test_analysis_pages import page_named
from tests.tui.test_charts import PALETTE
from tui_datasize.analysis.curve import metric_named
from tui_datasize.experiments.spec import ClassSplit, Transfer
from tui_datasize.runlog import writer
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.tui.analysis.pages.page import Content, Request


def test_boxes_of_last_and_best_values_on_both_splits(project):
    courses = {0: [0.5, 0.9, 0.6, 0.4], 101: [0.5, 0.8, 0.6, 0.2]}
    for seed, course in courses.items():
        paths = write_run(project, fake_spec(seed=seed), tables=False)
        rows = [json.loads(line) for line in paths.metrics.read_text().splitlines()]
        paths.metrics.write_text("")
        # Three rows an evaluation: of training, of the training split, of the test split.
        values = [course[index // 3] + 0.1 * (row["split"] == "train") for index, row in enumerate(rows)]
        changed = [row | {"accuracy": value} for row, value in zip(rows, values, strict=True)]
        write_lines(paths.metrics, changed)
    log = RunLog(project)
    runs = log.runs("digits")

    def build_view(metric: str, view: int) -> Content:
        return page_named("spread").build(Request(log, runs, runs, metric_named(metric), view))

    contents = [build_view("test_accuracy", view) for view in range(4)]
    assert {content.views for content in contents} == {4}
    assert [content.note for content in contents] == [
        "last value, test split",
        "best value, test split",
        "last value, train split",
        "best value, train split",
    ]
    heads = [content.draw(100, 30, PALETTE).plain.split("\n") for content in contents]
    assert [lines[0].split(", %")[0] for lines in heads] == [
        "test accuracy", "best test accuracy", "train accuracy", "best train accuracy",
    ]  # fmt: skip
    ranges = (20, 40), (80, 90), (30, 50), (90, 100)
    for lines, (low, high) in zip(heads, ranges, strict=True):
        ticks = [float(text.split("┤")[0]) for text in lines if "┤" in text]
        assert len(ticks) > 2
        assert low - 2 < min(ticks) < max(ticks) < high + 2
    assert (build_view("wall_s", 0).views, build_view("wall_s", 0).note) == (1, "one value a run")


def letters(project: ProjectPaths) -> Content:
    """The page of confusions of a run on 26 classes; `c` is taken for `d` most often."""
    paths = write_run(project, fake_spec(), tables=False)
    names = [chr(ord("a") + label) for label in range(26)]
    document = json.loads(paths.dataset.read_text())
    images = {"train_images_per_class": [100] * 26, "test_images_per_class": [100] * 26}
    paths.dataset.write_text(json.dumps(document | images | {"class_names": names}))
    counts = np.diag(np.full(26, 97)) + np.roll(np.diag(np.full(26, 3)), 1, axis=1)
    counts[2, 2:5] = 70, 25, 5
    writer.confusion_frame("last", 4, counts).write_parquet(paths.confusion)
    log = RunLog(project)
    runs = log.runs("digits")
    return page_named("confusions").build(Request(log, runs, runs, metric_named("test_accuracy")))


def test_where_a_matrix_is_not_legible_the_commonest_confusions_come_first(project):
    content = letters(project)
    drawn = content.draw(80, 11, PALETTE).plain.split("\n")
    assert len(drawn) == 11
    assert drawn[0].split() == ["true", "→", "predicted", "images", "share"]
    first = drawn[1].split()
    assert (first[:3], first[-3:]) == (["c", "→", "d"], ["25", "25.0", "%"])
    assert drawn[1].count("━") > 4 * drawn[3].count("━") > 0
    # The words below leave it the rows of ten classes.
    assert len(content.lines) == 5
    assert drawn[-1] == "… 18 more: ctrl+e"


def test_where_every_class_has_room_there_is_a_matrix(project):
    drawn = letters(project).draw(120, 30, PALETTE).plain.split("\n")
    assert drawn[0].split() == [chr(ord("a") + label) for label in range(26)]
    assert drawn[3].split()[:6] == ["c", "0", "0", "70", "25", "5"]
    assert len(drawn) == 27


def transfer_page(project: ProjectPaths, halves: Sequence[str]) -> Callable[[int], Content]:
    """Freezing 2 layers helps at 40 images and harms at 160, as much."""
    gains = {40: 0.04, 160: -0.04}
    conditions = {None: 0.0, 2: 1.0, 10: -0.5, "all": 0.5}
    for half in halves:
        for size, gain in gains.items():
            for layers, share in conditions.items():
                frozen = isinstance(layers, int)
                source = Transfer("r", layers if frozen else None, frozen) if layers else None
                spec = fake_spec(train_size=size, classes=ClassSplit(half), transfer=source)
                write_run(project, spec, accuracy=0.5 + gain * share, tables=False)
    log = RunLog(project)
    runs = log.runs("digits")
    metric = metric_named("test_accuracy")
    return lambda view: page_named("conditions").build(Request(log, runs, runs, metric, view))


@pytest.mark.parametrize("halves", [["source"], ["source", "target"]])
def test_transfer_conditions_are_an_axis_and_sizes_its_series(project, halves):
    build_view = transfer_page(project, halves)
    content = build_view(0)
    assert content.views == 2
    # The description of the fakes' data has 10 classes: 80 images.
    assert content.lines[0] == "Freezing 2 layers beats training from scratch until about 8 images per class."
    lines = content.draw(80, 13, PALETTE).plain.split("\n")
    assert lines[0].endswith("━b━ n 160  ━a━ n 40")
    assert lines[-2].split() == ["S2T", "S10T", "base", "FTall"]
    assert lines[-1].strip() == "transfer condition"
    # Each size has its letter at the end of its line, at base and at FTall; both share a place at base.
    assert sum(text.count("a") for text in lines[1:-3]) == 2
    assert sum(text.count("b") for text in lines[1:-3]) == 3
    assert "54.0" in build_view(1).draw(80, 13, PALETTE).plain


def test_halves_of_different_numbers_of_classes_are_told_in_images(project):
    build_view = transfer_page(project, ["source", "target"])
    for path in project.runs.glob("*/*/dataset.json"):
        if "target" in (path.parent / "spec.json").read_text():
            document = json.loads(path.read_text())
            short = {
                key: value[:-1]
                for key, value in document.items()
                if isinstance(value, list) and len(value) == 10
            }
            path.write_text(json.dumps(document | short))
    assert build_view(0).lines[0].endswith("until about 80 images.")
