"""What is said of images that strategies chose: per class, against each other, and what is left out."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from PIL import Image

from tests.fakes import fake_dataset, fake_spec, write_run
from tests.unit.record_desk import said
from tui_datasize.answers import agreement, levers, overlap, plan, spread, variance
from tui_datasize.answers.answer import Asked, Map, Sheet
from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.answers.record import Reading, Record
from tui_datasize.experiments.sources import needed
from tui_datasize.experiments.spec import SubsetSpec
from tui_datasize.experiments.subsets import draw
from tui_datasize.experiments.synthetic import Synthetic
from tui_datasize.files import read_object
from tui_datasize.metric import metric_named
from tui_datasize.render.blocks import answer_blocks
from tui_datasize.render.page import to_html, to_markdown
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.writer import subset_frame, with_steps_chosen
from tui_datasize.stats.levers import baseline_of
from tui_datasize.stats.variance import split_variance

PATH = (40, 80, 160)
LABELS = fake_dataset("digits").train_labels


def chosen(strategy: str, size: int, seed: int) -> np.ndarray:
    """After the first draw, the images of class 0, or all classes alike; half of them differ by seed."""
    order = draw(LABELS, len(LABELS), SubsetSpec("random"))
    first, rest = order[:40], order[40:]
    if strategy == "random":
        return order[:size]
    favoured = rest[LABELS[rest] == 0]
    others = rest[LABELS[rest] == 1 + seed]
    half = (size - 40) // 2
    return np.concatenate(
        [first, favoured[:half] if strategy == "margin" else rest[len(rest) - half :], others[:half]]
    )


@pytest.fixture
def record(project: ProjectPaths) -> Record:
    """Three strategies, three draws of two seeds; margin is worth twice its images."""
    for strategy, worth in (("random", 1), ("margin", 2), ("badge", 1)):
        for size in PATH:
            for seed in range(2):
                for number in range(3):
                    subset = SubsetSpec(strategy, seed=number, path=PATH).up_to(size)
                    spec = fake_spec(train_size=size, seed=seed, subset=subset)
                    noise = 0.002 * np.sin(7 * seed + 3 * number + size)
                    run = write_run(project, spec, accuracy=1 - 3 * (size * worth + 80) ** -0.5 + noise)
                    index = chosen(strategy, size, seed)
                    table = subset_frame(index, LABELS[index], index.astype(np.uint64))
                    if strategy != "random":
                        steps = np.where(np.arange(size) < 40, 40, size)
                        table = with_steps_chosen(table, steps, np.where(steps == 40, np.nan, 0.5))
                        sheet = Image.fromarray(np.full((18, 34), 200, dtype=np.uint8))
                        sheet.save(run.chosen, "PNG")
                    table.write_parquet(run.subset)
    reading = Reading(RunLog(project), RunLog(project).runs())
    return Record(reading, metric_named("test_accuracy"), Asked())


def test_strategies_are_levers_against_random_with_classes_overlap_and_sheets(record):
    assert baseline_of(record.all_runs) == "strategy=random"
    answer = levers.ask(record)
    rows = {row["variant"]: row for row in answer.rows().iter_rows(named=True)}
    assert set(rows) == {"baseline", "strategy=badge", "strategy=margin"}
    assert rows["strategy=margin"]["ratio"] > 1.3
    # Trained at all three sizes, of equal updates.
    assert rows["strategy=margin"]["wall_s"] == pytest.approx(3 * rows["baseline"]["wall_s"])
    slower = "With strategy=margin as many updates as the baseline's and the runs before on the path take"
    assert f"{slower} 3.0 times as long; with strategy=badge 3.0 times." in said(answer)
    tables = {table.title: table.frame for table in answer.tables}
    classes = tables["Chosen images of each class"]
    (margin,) = classes.filter(strategy="margin", class_name=fake_dataset("digits").class_names[0]).rows(
        named=True
    )
    pool = np.mean(LABELS == 0)
    assert (margin["share"], margin["pool"]) == (pytest.approx(0.5), pytest.approx(pool))
    assert margin["ratio"] == pytest.approx(0.5 / pool)
    assert (
        classes.group_by("strategy").agg(pl.col("share").sum())["share"].to_list() == [pytest.approx(1)] * 3
    )
    extreme = classes.filter(pl.col("share") > 0, strategy="badge").sort(pl.col("ratio").log().abs())[-1]
    (share,), (name,) = extreme["share"], extreme["class_name"]
    assert f"{100 * share:.1f} % of what badge adds up to 160 images are of class {name}, of" in said(answer)
    shared = tables["What two strategies both chose"]
    (pair,) = shared.filter(first="badge", second="margin").rows(named=True)
    # The same images of one class; those that end the order are of margin's class now and then.
    alike = [np.intersect1d(chosen("badge", 160, s)[40:], chosen("margin", 160, s)[40:]).size for s in (0, 1)]
    assert (pair["share"], pair["n_runs"]) == (pytest.approx(np.mean(alike) / 120), 6)
    assert pair["by_chance"] == pytest.approx(120 / (len(LABELS) - 40))
    (drawn,) = (figure for figure in answer.figures if isinstance(figure, Map))
    assert drawn.rows == ["badge", "margin", "random"]
    sheets = [figure for figure in answer.figures if isinstance(figure, Sheet)]
    assert [sheet.title.partition(":")[0] for sheet in sheets] == ["badge", "margin"]
    blocks = [*answer_blocks("levers", answer, set())]
    page = to_html("levers", blocks)
    assert page.count("data:image/png;base64,iVBOR") == 2
    assert "badge: first and last images chosen of 160" in page
    assert to_markdown(blocks).count("data:image/svg+xml") == len(answer.figures)


def test_runs_that_chose_are_left_out_of_the_variance_and_the_overlap_and_it_is_said(record):
    told = "Runs of badge and margin are left out: which images they have depends on the training seed."
    answer = variance.ask(record)
    assert told in said(answer)
    drawn = record.all_runs.filter(subset_strategy="random")
    splits = split_variance(drawn, "test_accuracy")
    assert answer.rows()["sd"].drop_nulls().to_list()[:1] == [splits[0].components[0].sd]
    assert {row["variant"] for row in answer.rows().iter_rows(named=True)} == {"strategy=random"}
    answer = overlap.ask(record)
    assert told in said(answer)
    assert {*answer.rows()["draw_a"]} <= {f"random nested d{n}" for n in range(3)}
    answer = agreement.ask(record)
    assert told in said(answer)
    assert {*answer.rows()["variant"]} == {"strategy=random"}
    assert answer.rows()["overlap"].null_count() == 0


def test_no_seed_of_a_strategy_is_called_better_than_others(record):
    tests = {row["variant"]: row for row in record.comparisons.table.filter(asks="seed").to_dicts()}
    assert (tests["strategy=random"]["failure"], tests["strategy=random"]["p"] is None) == (None, False)
    why = "needs images that do not depend on the training seed"
    assert (tests["strategy=margin"]["failure"], tests["strategy=margin"]["p"]) == (why, None)
    assert f"Seeds are not compared over sizes: that {why}." in said(
        spread.ask(record.of_variant("strategy=margin"))
    )


def test_where_all_runs_chose_nothing_is_said_of_draws_but_why(record):
    alone = record.all_runs.filter(subset_strategy="margin")
    record = replace(record, reading=Reading(record.log, alone))
    for question in (variance, overlap, agreement):
        assert question.ask(record).why_not.startswith("Runs of margin are left out")


@pytest.mark.parametrize("variant", [None, "strategy=random"])
def test_a_plan_names_no_size_that_the_path_does_not_have(record, variant):
    sweep = [
        fake_spec(train_size=size, seed=seed, subset=SubsetSpec(strategy, seed=number, path=PATH).up_to(size))
        for strategy in ("random", "margin")
        for size in PATH
        for seed in range(2)
        for number in range(3)
    ]
    answer = plan.ask(replace(record, sweep=sweep, asked=Asked(variant=variant, runs=6)))
    assert answer.proposed
    assert {spec.train_size for spec in answer.proposed} <= {*PATH}
    assert said(answer).count("No new sizes are planned: each would be a point of the path.") == 1
    assert " runs at " not in said(answer)
    # Of new seeds nothing is there, and those before them are not planned, but needed.
    links = needed([spec for spec in answer.proposed if spec.subset.path], {})
    there = set(record.all_runs["run_id"])
    missing = len([run for run in links if run.run_id not in there])
    assert (missing > 0) == (variant is None)
    assert (f"{missing} runs before them on the path would be queued too." in said(answer)) == (missing > 0)


def test_a_sheet_that_is_no_picture_is_none(record):
    run = next(run for run in record.log.project.all_runs() if run.chosen.is_file())
    assert record.log.sheet(run.experiment, run.run_id).startswith(b"\x89PNG")
    assert Image.open(io.BytesIO(run.chosen.read_bytes())).size == (34, 18)
    for damage in (b"", b"\x89PNG\r\n\x1a\n", b"<svg onload='x'/>" * 9):
        run.chosen.write_bytes(damage)
        assert record.log.sheet(run.experiment, run.run_id) == b""


def test_generated_images_are_told_with_their_time_and_shown(project):
    """A lever as others are, with what the run spent on its generator, and a picture from its directory."""
    for synthetic, worth in ((Synthetic(), 1), (Synthetic("cvae", ratio=2.0), 2)):
        for size in PATH:
            for number in range(3):
                spec = fake_spec(train_size=size, subset=SubsetSpec(seed=number), synthetic=synthetic)
                write_with(project, spec, 2 * size, 1 - 3 * (size * worth + 80) ** -0.5 + 0.001 * number)
    answer = levers.ask(asked_of(project))
    assert "ratio=2.0: 320 generated images beside 160 real ones, made in 25 % of the time of a run." in said(
        answer
    )
    (sheet,) = (figure for figure in answer.figures if isinstance(figure, Sheet))
    assert sheet.png.startswith(b"\x89PNG")
    assert "generated images, a class a row, beside 160 real ones" in sheet.title
    blocks = [*answer_blocks("levers", answer, set())]
    assert "beside 160 real ones" in to_html("levers", blocks)


def test_what_an_experiment_generates_by_itself_is_told_and_shown(project):
    """One recipe, one run: there is nothing to compare it with."""
    write_with(project, fake_spec(train_size=100, validation=0.1, synthetic=Synthetic("cvae")), 90, 0.5)
    record = asked_of(project)
    assert QUESTIONS["levers"].is_offered(record.all_runs)
    answer = QUESTIONS["levers"].ask(record)
    assert answer.applies
    beside = "90 generated images beside 90 real ones (10 held out)"
    assert f"{beside}, made in 25 % of the time of a run." in said(answer)
    assert answer.figures[0].title.endswith("beside 90 real ones (10 held out)")
    assert not QUESTIONS["levers"].is_offered(record.all_runs.with_columns(generated_images=None))


def write_with(project, spec, made, accuracy):
    """A run that has spent a quarter of its time on a generator, where it has one."""
    run = write_run(project, spec, accuracy=accuracy)
    if spec.synthetic.is_on:
        noted = {"generated_images": made, "generator_s": 0.25 * told_wall_s(run)}
        run.provenance.write_text(json.dumps(read_object(run.provenance) | noted))
        Image.fromarray(np.full((18, 34), 200, dtype=np.uint8)).save(run.generated, "PNG")


def asked_of(project):
    return Record(Reading(RunLog(project), RunLog(project).runs()), metric_named("test_accuracy"), Asked())


def told_wall_s(run):
    return max(json.loads(line)["wall_s"] for line in run.metrics.read_text().splitlines())
