"""Where it fails: groups of test images by a table, and further test sets, by runs that a test makes up."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import polars as pl
import pytest

from tests.fakes import fake_dataset, fake_sweep, write_run
from tests.unit.record_desk import said
from tui_datasize.answers import groups
from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.answers.record import Reading, Record
from tui_datasize.errors import ConfigError, DatasizeError
from tui_datasize.experiments.groups import groups_of
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.spec import ClassSplit
from tui_datasize.experiments.sweep import check_file, plan_runs
from tui_datasize.metric import metric_named
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.writer import predictions_frame, write_table

LABELS = fake_dataset("digits").test_labels
IS_RARE = np.arange(len(LABELS)) % 4 == 3
EXPERIMENT = """[experiments.digits]
dataset = "digits"
model = "mlp"
sizes = [40]
budget = { updates = 9 }
{further}"""
TESTS = (("sketch", "digits"),)
WRONG = {40: (0.2, 0.6), 80: (0.1, 0.3)}
"""Shares that are taken for the next class at a size: of most images, and of the rare ones."""


def record(project: ProjectPaths, metric: str = "test_accuracy", further: str = "") -> Record:
    project.experiments.write_text(EXPERIMENT.replace("{further}", further), encoding="utf-8")
    log = RunLog(project)
    return Record(Reading(log, log.runs("digits")), metric_named(metric))


@pytest.fixture
def project(tmp_path: Path) -> ProjectPaths:
    """Six runs of two sizes, whose predictions and evaluations on a further test set are known."""
    paths, draws = ProjectPaths(tmp_path), np.random.default_rng(1)
    for spec in fake_sweep(sizes=(40, 80), seeds=(0, 1, 2), subset_seeds=(0,), tests=TESTS):
        run = write_run(paths, spec, accuracy=0.8)
        common, rare = WRONG[spec.train_size]
        is_wrong = draws.random(len(LABELS)) < np.where(IS_RARE, rare, common)
        predicted = (LABELS + is_wrong) % 10
        index, hashes = np.arange(len(LABELS)), np.arange(len(LABELS), dtype=np.uint64)
        told = predictions_frame(
            "last", index, LABELS, hashes, predicted[:, None], np.ones((len(LABELS), 1), np.float16)
        )
        write_table(run.predictions, told)
        text = run.metrics.read_text(encoding="utf-8")
        sketch = [
            line.replace('"test"', '"sketch"').replace("0.8", "0.5")
            for line in text.splitlines()
            if '"test"' in line
        ]
        run.metrics.write_text(text + "\n".join(sketch) + "\n", encoding="utf-8")
    rows = [f"{place},{'rare' if one else 'common'}" for place, one in enumerate(IS_RARE)]
    (tmp_path / "groups.csv").write_text("file,group\n" + "\n".join(rows), encoding="utf-8")
    return paths


def test_each_group_has_a_curve_and_the_worst_is_told_with_its_gap(project: ProjectPaths) -> None:
    answer = groups.ask(record(project, further='groups = "groups.csv"'))
    table = answer.tables[0].frame
    assert table.select("part", "train_size", "images").rows() == [
        ("common", 40, 270),
        ("common", 80, 270),
        ("rare", 40, 90),
        ("rare", 80, 90),
    ]
    expected = [1 - WRONG[size][place] for place in (0, 1) for size in (40, 80)]
    assert table["mean"].to_list() == pytest.approx(expected, abs=0.06)
    common, rare = (table.filter(part=part)["mean"].to_list() for part in ("common", "rare"))
    assert answer.headline.startswith(f"{100 * rare[1]:.2f} % for group rare, the worst at 80 images, ")
    assert f"{100 * (common[1] - rare[1]):.2f} points (95 % " in answer.headline
    assert answer.headline.endswith(f"at 40 images the gap is {100 * (common[0] - rare[0]):.2f} points.")
    assert [line.name for line in answer.figures[0].lines] == ["common", "rare"]  # type: ignore[union-attr]


def test_further_test_sets_stand_beside_the_test_set(project: ProjectPaths) -> None:
    answer = groups.ask(record(project))
    assert (
        answer.headline == "50.00 % on sketch (-30.00 points) at 80 images, against 80.00 % on the test set."
    )
    assert answer.tables[0].frame.select("part", "train_size", "n_runs", pl.col("mean").round(9)).rows() == [
        ("sketch", 40, 3, 0.5),
        ("sketch", 80, 3, 0.5),
        ("test", 40, 3, 0.8),
        ("test", 80, 3, 0.8),
    ]
    losses = groups.ask(record(project, "test_loss"))
    assert "on the test set" in losses.headline
    runs = record(project).all_runs
    assert set(runs["state"]) == {"succeeded"}


def test_what_is_wrong_with_the_groups_is_said_and_the_rest_answered(project: ProjectPaths) -> None:
    answer = groups.ask(record(project, further='groups = "none.csv"'))
    assert "on the test set" in answer.headline
    assert re.search("No groups: .*'none.csv' cannot be read", said(answer))


def test_it_is_asked_where_the_file_names_groups_or_test_sets(project: ProjectPaths) -> None:
    def missing(further: str) -> str:
        return QUESTIONS["groups"].missing(record(project, further=further).all_runs)

    assert missing("") == "groups or tests in experiments.toml"
    assert missing('groups = "groups.csv"') == missing('tests = { a = "digits" }') == ""


def test_the_file_is_read_once_until_it_changes(
    project: ProjectPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = record(project, further='groups = "groups.csv"').all_runs
    read = Mock(side_effect=groups.read_project)
    monkeypatch.setattr(groups, "read_project", read)
    groups._having_parts.cache_clear()
    assert groups.is_offered(runs)
    assert groups.is_offered(runs)
    assert read.call_count == 1
    project.experiments.write_text(EXPERIMENT.replace("{further}", ""), encoding="utf-8")
    assert not groups.is_offered(runs)


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[str], list[str]]:
    """The groups that a table gives to an image folder of three test images."""
    for name in ("train/a/1.png", "train/b/1.png", "test/a/1.png", "test/a/2.png", "test/b/1.png"):
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_bytes(b"")
    file = tmp_path / "experiments.toml"
    file.write_text(
        f'paths.data = "{tmp_path}"\n'
        + EXPERIMENT.replace('"digits"', '"imagefolder:own"').replace("{further}", 'groups = "g.csv"'),
        encoding="utf-8",
    )

    def read(table: str) -> list[str]:
        (tmp_path / "g.csv").write_text(table, encoding="utf-8")
        return [*groups_of(file, "digits", {"a": 2, "b": 1})]

    return read


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("test/a/1.png,x\ntest/a/2.png,y\ntest/b/1.png,z", ["x", "y", "z"]),
        ("file,group\na/1.png,x\n\nb/1.png,z", ["x", "", "z"]),
        # A name that two images have is nobody's.
        ('1.png,x\n2.png,"y, z"\ntrain/a/1.png,q', ["", "y, z", ""]),
        ("./a\\1.png , x ", ["x", "", ""]),
    ],
)
def test_images_are_found_by_as_much_of_their_path_as_is_given(
    folder: Callable[[str], list[str]], table: str, expected: list[str]
) -> None:
    assert folder(table) == expected


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("", "names no image; write lines: file name,group"),
        ("3.png,x", "names no test image, such as test/a/1.png; write lines: file name,group"),
        ("a/1.png", "line 1: expected a file name and a group"),
        ("a/1.png,x\na/1.png,y", "line 2: one file has two groups"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(
    folder: Callable[[str], list[str]], table: str, told: str
) -> None:
    with pytest.raises(ConfigError) as error:
        folder(table)
    assert told in error.value.line


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a/1.png,\xff", "cannot be read: not UTF-8 text; save it as UTF-8"),
        (b'a/1.png,"' + b"x" * 200_000, "cannot be read: field larger than field limit"),
    ],
)
def test_what_is_no_table_is_one_line(
    folder: Callable[[str], list[str]], tmp_path: Path, content: bytes, told: str
) -> None:
    folder("a/1.png,x")
    (tmp_path / "g.csv").write_bytes(content)
    with pytest.raises(ConfigError) as error:
        groups_of(tmp_path / "experiments.toml", "digits", {"a": 2, "b": 1})
    assert told in error.value.line


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (None, "experiments.digits.groups: 'g.csv' cannot be read: No such file or directory; correct the"),
        ("a/1.png", "g.csv: line 1: expected a file name and a group"),
        ("a/1.png,x", ""),
    ],
)
def test_a_check_of_the_file_looks_at_the_groups(
    folder: Callable[[str], list[str]], tmp_path: Path, table: str | None, told: str
) -> None:
    folder("a/1.png,x")
    (tmp_path / "g.csv").unlink()
    if table:
        (tmp_path / "g.csv").write_text(table, encoding="utf-8")
    found = [error.line for error in check_file(tmp_path / "experiments.toml").errors]
    assert [told in line for line in found if "groups" in line or "g.csv" in line] == [True] * bool(told)


NAMED = {
    "groups": ('groups = "g.csv"', "experiments.e.groups: 'g.csv' cannot be read: No such file"),
    "tests": ('tests = { far = "imagefolder:far" }', "tests.far: DIR/far: is not there; correct the path"),
    "weights": (
        'model = { name = "timm:resnet10t", weights = "DIR/w.pth" }',
        "experiments.e.model.weights: 'DIR/w.pth' cannot be read: No such file or directory; correct",
    ),
    "swept weights": (
        'sweep.model = [{ name = "timm:resnet10t", weights = "DIR" }, "mlp"]',
        "experiments.e.model.weights: 'DIR' cannot be read: is a directory",
    ),
}


@pytest.mark.parametrize("dataset", ["digits", "imagefolder:gone"])
@pytest.mark.parametrize("named", NAMED)
def test_each_file_that_an_experiment_names_is_looked_at(tmp_path: Path, named: str, dataset: str) -> None:
    """By a check of the file, wherever its own images are, and before anything is queued."""
    key, told = (words.replace("DIR", str(tmp_path)) for words in NAMED[named])
    model = "" if "model" in key else 'model = "mlp"'
    file = tmp_path / "experiments.toml"
    rest = f'dataset = "{dataset}"\n{model}\nsizes = [40]\nbudget = {{ updates = 1 }}\n'
    file.write_text(f'paths.data = "{tmp_path}"\n[experiments.e]\n{rest}{key}\n', encoding="utf-8")
    found = check_file(file)
    assert [told in one.line for one in found.errors] == [True], found.errors
    assert [*found.unchecked] == [dataset] * (dataset != "digits")
    project = load_project(file)
    with pytest.raises(DatasizeError) as error:
        plan_runs(project.experiment("e"), project)
    assert (told if dataset == "digits" else "no such image folder") in error.value.line


def test_each_half_of_the_classes_has_the_groups_of_its_own_images(project: ProjectPaths) -> None:
    spec = replace(next(iter(fake_sweep(sizes=(20,), seeds=(0,)))), classes=ClassSplit("target"))
    run = write_run(project, spec, accuracy=0.8)
    told = run.dataset.read_text(encoding="utf-8")
    described = json.loads(told)
    described["class_names"] = described["class_names"][:5]
    for split in ("train_images_per_class", "test_images_per_class"):
        described[split] = described[split][:5]
    run.dataset.write_text(json.dumps(described), encoding="utf-8")
    whole = record(project, further='groups = "groups.csv"')
    half_first = whole.reading.runs.sort("train_size")
    answer = groups.ask(replace(whole, reading=replace(whole.reading, every=half_first)))
    images = answer.tables[0].frame.group_by("part").agg(pl.col("images").max()).sort("part")
    assert images.rows() == [("common", 270), ("rare", 90)]


def test_images_that_have_changed_since_are_told(folder: Callable[[str], list[str]], tmp_path: Path) -> None:
    (tmp_path / "own/test/a/3.png").write_bytes(b"")
    with pytest.raises(ConfigError, match="not those that the runs were measured on"):
        folder("a/1.png,x")


def test_parts_are_exported_with_their_kind(project: ProjectPaths) -> None:
    answer = groups.ask(record(project, further='groups = "groups.csv"'))
    assert answer.rows is not None
    assert answer.rows().group_by("kind").len().sort("kind").rows() == [("group", 4), ("test set", 4)]
    assert isinstance(answer.rows(), pl.DataFrame)
