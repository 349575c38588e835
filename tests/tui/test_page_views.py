"""Views of pages of the Analysis tab that take runs made for them."""

from __future__ import annotations

import json

from tests.fakes import fake_spec, write_lines, write_run
from tests.tui.test_charts import PALETTE
from tui_datasize.answers.answer import Answer, Asked
from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.answers.record import Reading, Record
from tui_datasize.metric import metric_named
from tui_datasize.runlog.reader import RunLog
from tui_datasize.tui.analysis.answer_lines import draw_answer


def test_boxes_of_last_and_best_values_on_both_splits(project):
    curves = {0: [0.5, 0.9, 0.6, 0.4], 101: [0.5, 0.8, 0.6, 0.2]}
    for seed, curve in curves.items():
        paths = write_run(project, fake_spec(seed=seed), tables=False)
        rows = [json.loads(line) for line in paths.metrics.read_text().splitlines()]
        paths.metrics.write_text("")
        # Three rows an evaluation: of training, of the training split, of the test split.
        values = [curve[index // 3] + 0.1 * (row["split"] == "train") for index, row in enumerate(rows)]
        changed = [row | {"accuracy": value} for row, value in zip(rows, values, strict=True)]
        write_lines(paths.metrics, changed)
    log = RunLog(project)
    runs = log.runs("digits")

    def build_view(metric: str, view: int) -> Answer:
        return QUESTIONS["spread"].ask(Record(Reading(log, runs), metric_named(metric), Asked(view=view)))

    contents = [build_view("test_accuracy", view) for view in range(4)]
    assert {content.views for content in contents} == {4}
    assert [content.about for content in contents] == [
        "last value, test split",
        "best value, test split",
        "last value, train split",
        "best value, train split",
    ]
    heads = [draw_answer(content, 100, 30, PALETTE).text.plain.split("\n") for content in contents]
    assert [lines[0].split(", %")[0] for lines in heads] == [
        "test accuracy", "best test accuracy", "train accuracy", "best train accuracy",
    ]  # fmt: skip
    ranges = (20, 40), (80, 90), (30, 50), (90, 100)
    for lines, (low, high) in zip(heads, ranges, strict=True):
        ticks = [float(text.split("┤")[0]) for text in lines if "┤" in text]
        assert len(ticks) > 2
        assert low - 2 < min(ticks) < max(ticks) < high + 2
    assert (build_view("wall_s", 0).views, build_view("wall_s", 0).about) == (1, "one value a run")
