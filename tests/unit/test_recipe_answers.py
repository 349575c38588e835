"""What is said of recipes: transfer conditions, swept options, training time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import polars as pl
import pytest

from tests.fakes import fake_spec, write_run
from tests.unit.asking import ask
from tests.unit.record_desk import record_of
from tests.unit.test_inside_runs import drawn_transfers
from tui_datasize.answers.answer import Asked, Chart, Map
from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.answers.provenance import provenance_tables
from tui_datasize.experiments.spec import ClassSplit, ModelSpec, OptimizerSpec, Transfer
from tui_datasize.render.cells import written
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.stats.trade_offs import option_against_metric, swept_options
from tui_datasize.tui.polling.snapshot import Cell
from tui_datasize.tui.queue.actions import _spec_facts


def transfers(project: ProjectPaths, halves: Sequence[str] = ("source",)) -> RunLog:
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
    return RunLog(project)


def sentences(answer) -> list[str]:
    return [sentence.text for sentence in answer.sentences]


def test_levers_and_plans_say_a_transfer_in_words_and_plan_the_baseline_first(project):
    source = fake_spec("letters", train_size=1280)
    for size in (40, 80, 160, 320):
        for seed in (0, 101):
            for transfer in (None, Transfer(source.run_id, None, freeze=False)):
                spec = fake_spec(train_size=size, seed=seed, transfer=transfer)
                write_run(project, spec, accuracy=0.5 + size / 1000 + seed / 1e4, tables=False)
    log, words = RunLog(project), "all layers fine-tuned from letters"
    assert words in ask(log, "levers").tables[0].frame["variant"].to_list()
    plan = ask(log, "plan", runs=8)
    assert [line.partition(":")[0] for line in (plan.headline, *sentences(plan))] == ["base", words]


def test_a_plan_says_why_the_file_lists_no_runs(project):
    for size in (40, 80, 160, 320):
        for seed in (0, 101):
            write_run(project, fake_spec(train_size=size, seed=seed), tables=False)
    record = record_of(RunLog(project).runs(), asked=Asked(runs=4))
    why = "experiments.pics.dataset: /data/pics: no such image folder"
    told = QUESTIONS["plan"].ask(replace(record, unlisted=why))
    assert f"Further runs cannot be listed: {why}." in sentences(told)


@pytest.mark.parametrize("halves", [["source"], ["source", "target"]])
def test_transfer_conditions_are_an_axis_and_sizes_its_series(project, halves):
    log = transfers(project, halves)
    answer = ask(log, "conditions")
    assert answer.headline == (
        "4.00 points better than training from scratch: S2T at 40 images gains most, not tested."
    )
    # The description of the fakes' data has 10 classes: 80 images.
    assert (
        sentences(answer)[0]
        == "Freezing 2 layers beats training from scratch until about 8 images per class."
    )
    chart, cells = answer.figures
    assert isinstance(chart, Chart)
    assert chart.x.names == ["S2T", "S10T", "base", "FTall"]
    assert [line.name for line in chart.lines if line.name] == ["n 40", "n 160"]
    assert isinstance(cells, Map)
    assert cells.values == [pytest.approx([54, 48, 50, 52]), pytest.approx([46, 52, 50, 48])]
    assert [type(figure) for figure in ask(log, "conditions", view=1).figures] == [Map, Chart]
    best, every = (table.frame for table in answer.tables)
    assert best["name"].to_list() == ["base", "FTall", "S2T", "S10T"]
    # Of one run each, none is told to be the best.
    assert not any(cell["is_best"] for size in ("40", "160") for cell in best[size])
    assert every.height == 8 * (len(halves) + (len(halves) == 2))


def test_halves_of_different_numbers_of_classes_are_told_in_images(project):
    log = transfers(project, ["source", "target"])
    for path in project.runs.glob("*/*/dataset.json"):
        if "target" in (path.parent / "spec.json").read_text():
            document = json.loads(path.read_text())
            short = {
                key: value[:-1]
                for key, value in document.items()
                if isinstance(value, list) and len(value) == 10
            }
            path.write_text(json.dumps(document | short))
    assert sentences(ask(log, "conditions"))[0].endswith("until about 80 images.")


def test_of_what_else_is_swept_a_gain_has_only_what_runs_with_transfer_have(project):
    source = Transfer("r", None, freeze=False)
    for transfer, accuracies in ((None, (0.5, 0.52)), (source, (0.6, 0.62))):
        for seed, accuracy in enumerate(accuracies):
            write_run(project, fake_spec(seed=seed, transfer=transfer), accuracy=accuracy, tables=False)
    log, gain = (
        RunLog(project),
        "10.00 points (95 % 3.92 to 16.08 points; p = 0.019 after correction) better",
    )
    assert ask(log, "answer").headline == ask(log, "conditions").headline
    assert ask(log, "answer").headline.startswith(gain)
    for seed in (0, 1):
        write_run(project, fake_spec(seed=seed, clip_grad_norm=1.0), accuracy=0.9, tables=False)
    assert ask(log := RunLog(project), "conditions").headline.startswith(gain)
    # Of one size nothing is known of the images that it saves.
    assert ask(log, "answer").headline.startswith("base clip_grad_norm=1.0 has the best mean of 3 variants")


@pytest.mark.parametrize("higher", [True, False])
def test_what_is_beyond_chance_is_told_before_what_gains_most_by_chance(higher):
    runs = drawn_transfers().with_columns(test_loss=1 - pl.col("test_accuracy"))
    record = record_of(runs, "test_accuracy" if higher else "test_loss")
    answer = QUESTIONS["conditions"].ask(record)
    lost, gained = ("39.25 points", "0.17 points") if higher else ("0.3925", "0.0017")
    assert answer.headline == (
        f"{lost} worse than training from scratch: SallT at 50 images (p = 4.1e-05 after correction)."
    )
    assert sentences(answer)[0].startswith(
        f"None beats training from scratch beyond chance: at best FTall at 50 images, by {gained} ("
    )
    assert "; p = " in sentences(answer)[0]


def test_without_runs_from_scratch_the_best_mean_is_told(project):
    for layers, accuracy in ((1, 0.5), (2, 0.6)):
        write_run(project, fake_spec(transfer=Transfer("r", layers, True)), accuracy=accuracy, tables=False)
    answer = ask(RunLog(project), "conditions")
    assert answer.headline == "60.00 % is the best mean: S2T at 40 images."
    assert sentences(answer)[0] == "A gain needs runs of the same train size without transfer (base)."


def test_runs_without_transfer_or_sweep_say_what_would_make_them_apply(project):
    write_run(project, fake_spec(), tables=False)
    log = RunLog(project)
    assert "transfer = {" in ask(log, "conditions").why_not
    assert "[experiments.NAME.sweep]" in ask(log, "options").why_not


def test_what_some_runs_have_is_offered_of_those_alone(project):
    write_run(project, fake_spec(), tables=False)
    runs = RunLog(project).runs("digits")
    of_some = [name for name, entry in QUESTIONS.items() if not entry.is_offered(runs)]
    assert of_some == ["variants", "groups", "conditions", "options", "tuned", "search", "levers", "starts"]
    transfers(project)
    runs = RunLog(project).runs("digits")
    assert [name for name, entry in QUESTIONS.items() if not entry.is_offered(runs)] == [
        "groups",
        "tuned",
        "search",
        "starts",
    ]


def test_what_the_record_lacks_for_a_question_is_told(project):
    write_run(project, fake_spec(evaluations=1), tables=False)
    runs = RunLog(project).runs("digits")
    missing = {name: entry.missing(runs) for name, entry in QUESTIONS.items() if entry.missing(runs)}
    assert missing["training-curves"] == missing["best"] == "several evaluations of a run"
    assert missing["classes"] == "accuracies of classes"
    assert not missing.keys() & {"gap", "cost", "spread", "margins"}
    write_run(project, fake_spec(seed=1))
    runs = RunLog(project).runs("digits")
    assert [name for name, entry in QUESTIONS.items() if entry.missing(runs)] == [
        "groups",
        "conditions",
        "tuned",
        "search",
        "starts",
    ]


def swept(project: ProjectPaths) -> RunLog:
    for depth in (20, 32, 44):
        for rate in (0.1, 0.01):
            for size in (40, 80):
                spec = fake_spec(
                    train_size=size,
                    model=ModelSpec("resnet", {"depth": depth}),
                    optimizer=OptimizerSpec(lr=rate),
                )
                write_run(project, spec, accuracy=depth / 100, tables=False)
    return RunLog(project)


def test_a_swept_option_is_an_axis(project):
    log = swept(project)
    variant = "depth=20 lr=0.1"
    answer = ask(log, "options", variant=variant)
    assert answer.about == "lr=0.1, mean over runs"
    assert answer.views == 2
    assert answer.headline == (
        "lr=0.1: 44.00 % with depth = 44 at 80 images, the best mean of 3 values; that of 20 is 24.00 points "
        "worse."
    )
    (chart,) = answer.figures
    assert (chart.x.title, chart.x.is_log) == ("depth", False)
    assert [line.name for line in chart.lines] == ["n 40", "n 80"]
    assert chart.lines[0].x == [20, 32, 44]
    assert ask(log, "options", variant=variant, view=1).about == "depth=20, mean over runs"


def test_of_all_variants_every_option_is_told(project):
    answer = ask(swept(project), "options")
    best, every = (table.frame for table in answer.tables)
    assert every["option"].unique().sort().to_list() == ["depth", "lr"]
    assert best.filter(option="depth")["label"].to_list() == ["44"] * 4
    assert len(answer.figures) == 2 + 3


def test_options_that_came_along_with_a_model_were_not_swept(project):
    for model, accuracy in ((ModelSpec("mlp"), 0.5), (ModelSpec("cnn3"), 0.7)):
        write_run(project, fake_spec(model=model), accuracy=accuracy, tables=False)
    log = RunLog(project)
    assert log.runs("digits")["variant"].to_list() == ["cnn3", "mlp"]
    assert swept_options(log.runs("digits")) == ("model",)
    answer = ask(log, "options", variant="mlp")
    assert answer.headline == (
        "70.00 % with model = cnn3 at 40 images, the best mean of 2 values; that of mlp is 20.00 points "
        "worse."
    )
    (figure,) = answer.figures
    assert isinstance(figure, Map)
    assert (figure.columns, figure.values) == (["cnn3", "mlp"], [pytest.approx([70, 50])])


def test_an_option_of_one_model_beside_another_model_is_swept_within_the_one(project):
    for model in (ModelSpec("mlp", {"hidden": 16}), ModelSpec("mlp", {"hidden": 32}), ModelSpec("cnn3")):
        write_run(project, fake_spec(model=model), accuracy=0.5, tables=False)
    runs = RunLog(project).runs("digits")
    assert runs["variant"].to_list() == ["cnn3", "mlp hidden=16", "mlp hidden=32"]
    assert swept_options(runs) == ("hidden", "model")
    names = option_against_metric(runs, "test_accuracy", "model")
    assert names.select("others", "label").rows() == [
        ("", "cnn3"),
        ("hidden=16", "mlp"),
        ("hidden=32", "mlp"),
    ]


def test_what_is_best_for_its_time(project):
    for size, accuracy in ((40, 0.6), (80, 0.5), (160, 0.7)):
        write_run(project, fake_spec(train_size=size), accuracy=accuracy, tables=False)
    log = RunLog(project)
    answer = ask(log, "cost")
    seconds = dict(answer.rows().select("train_size", "wall_s").iter_rows())
    front, every = (table.frame for table in answer.tables)
    assert every.height == 3
    assert 160 in front["train_size"].to_list()
    assert answer.headline.startswith(f"70.00 % in {seconds[160]:,.1f} s a run is the best mean: 160 images")
    (chart,) = answer.figures
    assert chart.lines[0].y == pytest.approx([60, 50, 70])


def test_variants_of_few_sizes_open_with_their_means_by_size_and_by_length_of_training(project):
    for depth, accuracy in ((20, 0.6), (32, 0.7)):
        for seed in range(2 if depth == 20 else 3):
            model = ModelSpec("resnet", {"depth": depth})
            for size in (40, 80):
                spec = fake_spec(train_size=size, seed=seed, model=model)
                write_run(project, spec, accuracy=accuracy + size / 800 + 0.001 * seed, tables=False)
    by_size, by_updates, _ = (written(table) for table in ask(RunLog(project), "answer").tables)
    assert by_size.title == "Test accuracy, % (± 95 %, runs in brackets, * best)"
    assert [[cell[:5] for cell in row[1:]] for row in by_size.rows] == [
        ["65.05", "70.05"],
        ["75.10", "80.10"],
    ]
    assert [[cell[-4:] for cell in row[1:]] for row in by_size.rows] == [["(2) "] * 2, ["(3)*"] * 2]
    assert by_updates.title.startswith("By updates at 80 images (")
    # A tenth and a fifth of four evaluations are the first.
    assert [row[0] for row in by_updates.rows] == ["50", "100", "200"]
    assert [cell[-4:] for cell in by_updates.rows[-1]] == ["200", "(2) ", "(3) "]


def test_a_report_and_the_details_of_a_run_name_every_key_that_is_not_at_its_default(project):
    spec = fake_spec(label_smoothing=0.1, ema_decay=0.99, classes=ClassSplit("source"))
    write_run(project, spec, accuracy=0.5, tables=False)
    record = record_of(RunLog(project).runs("digits"))
    facts = dict(next(iter(provenance_tables(record, {}))).frame.iter_rows())
    assert (facts["label smoothing"], facts["classes"]) == ("0.1", "half=source")
    assert "imbalance" not in facts
    details = dict(_spec_facts(Cell(spec.run_id, spec, "", 1)))
    assert (details["label smoothing"], details["ema decay"]) == ("0.1", "0.99")
    assert details["classes"] == "half=source"
    assert "schedule" not in details
