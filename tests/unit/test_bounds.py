"""Nothing that a person may write makes a command run without end, or take all memory: it is one line."""

from __future__ import annotations

import json
import os
import time
import tracemalloc
from dataclasses import replace

import pytest

from tui_datasize.cli import doctor
from tui_datasize.cli.dispatch import main
from tui_datasize.cli.parser import build_parser
from tui_datasize.errors import ConfigError
from tui_datasize.experiments import sweep, variants
from tui_datasize.experiments.catalogue import DATASETS
from tui_datasize.experiments.device_settings import DeviceOptions, DeviceSettings
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.project_tables import device_settings, notify_command
from tui_datasize.experiments.sweep import check_runs, listed_runs, plan_runs, train_sizes
from tui_datasize.experiments.variants import variant_labels
from tui_datasize.jobs.scheduler import device_file
from tui_datasize.metric import metric_named
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.stats.question import Question
from tui_datasize.tui.analysis.dialogs import read_asked

BASE = {
    "dataset": '"digits"',
    "model": '"mlp"',
    "sizes": "[40, 80]",
    "seeds": "[0]",
    "budget": "{ updates = 10 }",
}
HUGE = "0x" + "f" * 6_000
"""More digits than Python writes out."""


def toml(**changed: str) -> str:
    return "[experiments.x]\n" + "\n".join(f"{key} = {value}" for key, value in (BASE | changed).items())


WHOLE = {
    "batch_size": "batch_size",
    "image_px": "image_px",
    "budget.updates": "budget",
    "budget.samples": "budget",
    "budget.epochs": "budget",
    "evaluate.times": "evaluate",
    "seeds.count": "seeds",
    "seeds.step": "seeds",
    "seeds.start": "seeds",
    "subset.seeds": "subset",
    "classes.seed": "classes",
    "augmentation.crop_px": "augmentation",
    "augmentation.crop_padding_px": "augmentation",
    "augmentation.repeats": "augmentation",
    "augmentation.flip": "augmentation",
    "augmentation.mixup": "augmentation",
    "optimizer.lr": "optimizer",
    "optimizer.weight_decay": "optimizer",
    "optimizer.momentum": "optimizer",
    "schedule.step": "schedule",
    "schedule.gamma": "schedule",
    "schedule.warmup": "schedule",
    "schedule.floor": "schedule",
    "clip_grad_norm": "clip_grad_norm",
    "label_smoothing": "label_smoothing",
    "label_noise": "label_noise",
    "ema_decay": "ema_decay",
    "imbalance": "imbalance",
    "transfer.layers": "transfer",
    "model.hidden": "model",
    "model.dropout": "model",
    "sizes": "sizes",
    "fractions": "sizes",
    "per_class": "sizes",
}
"""Every key that takes a number, and the key of the experiment's table that it stands in."""
BESIDE = {
    "seeds.step": "count = 2, ",
    "seeds.start": "count = 2, ",
    "schedule.step": 'name = "step", unit = "updates", ',
    "schedule.gamma": 'name = "step", step = 1, unit = "updates", ',
    "schedule.warmup": 'unit = "updates", ',
    "schedule.floor": 'name = "cosine", ',
    "optimizer.momentum": 'name = "sgd", ',
    "classes.seed": 'half = "source", ',
    "transfer.layers": 'from = "x", ',
    "model.hidden": 'name = "mlp", ',
    "model.dropout": 'name = "mlp", ',
}
LISTS = {"sizes", "fractions", "per_class", "subset.seeds"}


NUMBERS = ("1e308", "inf", "nan", "-1", HUGE, "9" * 5_000, "1000000000000000000000")


@pytest.mark.parametrize("key", WHOLE)
def test_every_number_of_the_file_has_bounds_and_the_line_names_its_key(tmp_path, key):
    outer, _, inner = key.partition(".")
    file = tmp_path / "experiments.toml"
    for number in NUMBERS:
        value = f"[{number}]" if key in LISTS else number
        value = f"{{ {BESIDE.get(key, '')}{inner} = {value} }}" if inner else value
        changed = BASE | {outer: value}
        if outer in ("fractions", "per_class"):
            del changed["sizes"]
        file.write_text("[experiments.x]\n" + "\n".join(f"{name} = {text}" for name, text in changed.items()))
        with pytest.raises(ConfigError) as caught:
            load_project(file)
        line = caught.value.line
        assert str(file) in line, number
        assert len(line) < 400, number
        assert outer in line or number == "9" * 5_000


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (toml(seeds="{ count = 1_000_000_000 }"), "x.seeds.count: expected a whole number of at most"),
        (toml(seeds="{ count = 40_000 }"), "experiments.x: 80,000 runs, and at most 50,000"),
        (toml(seeds=str(list(range(60_000)))), "experiments.x: 120,000 runs, and at most 50,000"),
        (toml(sizes=str(list(range(1, 60_000)))), "x.sizes: expected at most 50,000 whole numbers"),
        (
            toml() + "\n[experiments.x.sweep]\n" + "\n".join(
                f'"{key}" = {[i / 1000 for i in range(1, 100)]}' for key in ("ema_decay", "label_smoothing")
            ),
            "experiments.x.sweep: 9,801 combinations of swept values, and at most 5,000",
        ),
        (
            "\n".join(toml(seeds="{ count = 20_000 }").replace("x]", f"x{i}]") for i in range(7)),
            "experiments.x5: 240,000 runs in the experiments up to this one, and at most 200,000",
        ),
        ("\n".join(f"[experiments.x{i}]" for i in range(1_500)), ": 1,500 experiments, and at most 1,000"),
        ("#" * 3_000_000, "larger than 2 MB"),
        ("seeds = " + "[" * 5_000 + "]" * 5_000, "more than 20 levels"),
        ("seeds = " + "[" * 30 + "]" * 30, "more than 20 levels"),
        ("[" + ".".join(["a"] * 20_000) + "]", "more than 20 levels"),
        (f"a = {'9' * 5_000}", "a number or date in it is out of range"),
        ("a = 2024-99-99", "experiments.toml"),
    ],
)  # fmt: skip
def test_what_is_too_much_is_told_with_its_number_before_it_is_built(tmp_path, text, told):
    file = tmp_path / "experiments.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_project(file)
    assert told in caught.value.line
    assert caught.value.line.startswith(str(file))
    if "levels" in told:
        for read in (device_settings, notify_command):
            with pytest.raises(ConfigError, match="levels"):
                read(tmp_path)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_file_that_is_none_is_told_and_not_waited_for(tmp_path, make, capsys):
    make(tmp_path / "experiments.toml")
    assert main(["--project", str(tmp_path), "experiments"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_runs_that_are_only_counted_are_not_built(tmp_path, capsys):
    (tmp_path / "experiments.toml").write_text(
        "\n".join(toml(seeds="{ count = 25_000 }").replace("x]", f"x{i}]") for i in range(4))
    )
    paths = ProjectPaths(tmp_path)
    tracemalloc.start()
    assert main(["--project", str(tmp_path), "experiments"]) == 0
    checks = list(doctor._project(paths))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert capsys.readouterr().out.count("50000") == 4
    assert [check.verdict for check in checks] == ["ok", "ok"]
    assert peak < 40 * 2**20


def test_sizes_and_swept_values_are_counted_one_by_one_and_not_with_each_other(tmp_path, monkeypatch, capsys):
    file = tmp_path / "experiments.toml"
    file.write_text(
        toml(
            sizes=str(list(range(40, 540))),
            sweep=f"{{ label_smoothing = {[number / 1000 for number in range(1, 101)]} }}",
            budget="{ epochs = 2 }",
        )
    )
    project = load_project(file)
    experiment = project.experiment("x")
    ids = [run.run_id for run in plan_runs(replace(experiment, size_values=(40, 50, 600)), project)]
    made = []
    spec_of = sweep.spec_at
    monkeypatch.setattr(sweep, "spec_at", lambda *cell: made.append(cell) or spec_of(*cell))
    others = ["y-n40-d0-s0-00000000", "x-n40-d0-s7-00000000", "of no run"]
    assert listed_runs(experiment, project, [*ids[:3], *ids[100:102], *ids[200:], *others]) == {
        *ids[:3],
        *ids[100:102],
    }
    assert main(["--project", str(tmp_path), "experiments"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[:3] == ["x", "0", "50000"]
    assert [check.verdict for check in doctor._project(ProjectPaths(tmp_path))] == ["ok", "ok"]
    assert len(made) < 1_000


def test_what_fits_no_run_is_told_without_making_all(tmp_path):
    file = tmp_path / "experiments.toml"
    for text, told in (
        (
            toml(sizes="[400, 64]", budget="{ epochs = 2 }", schedule='{ name = "step", step = 0.3 }'),
            "64 images make 2",
        ),
        (
            toml(sweep="{ label_smoothing = [0.1, 0.2, 0.1] }"),
            "two combinations of swept values are the same run",
        ),
    ):
        file.write_text(text)
        project = load_project(file)
        for look in (check_runs, plan_runs):
            with pytest.raises(ConfigError, match=told):
                look(project.experiment("x"), project)


def test_many_sizes_and_many_seeds_are_a_matter_of_seconds(tmp_path, monkeypatch):
    """Nothing is looked up in a list of all, and what seeds have in common is worked out once."""
    file = tmp_path / "experiments.toml"
    file.write_text(toml(dataset='"mnist"', sizes=str(list(range(1, 40_000))), seeds="[0]"))
    began_s = time.process_time()
    train_sizes(load_project(file).experiment("x"), DATASETS["mnist"])
    assert time.process_time() - began_s < 2
    file.write_text(toml(seeds="{ count = 500 }", sweep='{ "optimizer.lr" = [0.1, 0.2] }'))
    project = load_project(file)
    looked_at = []
    complete = variants._complete
    monkeypatch.setattr(variants, "_complete", lambda spec: looked_at.append(spec) or complete(spec))
    labels = variant_labels(plan_runs(project.experiment("x"), project))
    assert set(labels.values()) == {"lr=0.1", "lr=0.2"}
    assert len(labels) == 2_000
    assert len(looked_at) == 2


@pytest.mark.parametrize(
    "words",
    [
        ["plan", "x", "--samples", "inf"],
        ["plan", "x", "--samples", "nan"],
        ["plan", "x", "--samples", "1e300"],
        ["plan", "x", "--samples", "-1"],
        ["plan", "x", "--at", "9" * 30],
        ["plan", "x", "--at", "9" * 5_000],
        ["plan", "x", "--runs", "9" * 30],
        ["plan", "x", "--fit-from", "-1"],
        ["analyze", "x", "--fit-from", "1e9"],
        ["queue", "x", "--sizes", "9" * 5_000],
        ["queue", "x", "--seeds", "-1"],
        ["queue", "x", "--seeds", str(2**63)],
        ["queue", "x", "--max-attempts", "9" * 30],
        ["priority", "x", "--by", "9" * 30],
        ["move", "x", "--by", "9" * 5_000],
        ["scheduler", "start", "--cpu-slots", "9" * 30],
        ["scheduler", "start", "--pack-width", "inf"],
        ["import", "x", "x.csv", "--size", "9" * 30],
        ["import", "x", "x.csv", "--seed", str(2**63)],
    ],
)
def test_every_number_of_the_command_line_is_finite_and_in_range(words, capsys):
    with pytest.raises(SystemExit) as caught:
        build_parser(words).parse_args(words)
    assert caught.value.code == 2
    assert f"argument {words[-2]}" in capsys.readouterr().err.splitlines()[-1]


def test_every_option_that_takes_a_number_reads_it_through_a_bound():
    commands = next(action for action in build_parser()._actions if action.dest == "command")
    unbounded = [
        (name, action.option_strings)
        for name, parser in commands.choices.items()
        for action in parser._actions
        if action.type in (int, float, complex)
    ]
    assert unbounded == []


@pytest.mark.parametrize("text", ["inf", "nan", "1e999", "-inf %"])
def test_a_share_is_finite(text):
    accuracy = metric_named("test_accuracy")
    for read in (accuracy.read, accuracy.read_difference):
        with pytest.raises(ConfigError):
            read(text)


@pytest.mark.parametrize("metric", ["test_accuracy", "test_loss"])
@pytest.mark.parametrize("name", ["target", "fit from", "worth it", "predict at", "budget"])
def test_every_field_of_the_question_has_bounds(metric, name):
    empty = dict.fromkeys(["target", "fit from", "worth it", "predict at", "budget"], "")
    for text in ("inf", "nan", "-1", "9" * 30, "9" * 5_000, "1e308"):
        with pytest.raises(ConfigError):
            read_asked(empty | {name: text}, metric_named(metric))


def test_a_plan_of_more_runs_than_can_be_placed_is_refused():
    with pytest.raises(ConfigError, match="a plan of 10,001 runs; give at most 10,000"):
        Question(runs=10_001).check_plan(metric_named("test_accuracy"))
    with pytest.raises(ConfigError):
        Question(delta=float("inf")).check(metric_named("test_loss"))


def test_a_file_without_bounds_leaves_a_scheduler_as_it_was(project, monkeypatch):
    monkeypatch.setattr(device_file, "_LOOK_INTERVAL_S", 0.0)
    file = device_file.DeviceFile(project, DeviceOptions())

    def looked(text: str) -> DeviceSettings | None:
        project.experiments.write_text(text)
        # What counts is what stays for a look.
        return [file.poll(), file.poll()][-1]

    limits = looked("[devices]\ncpu_slots = 2\n")
    assert limits is not None
    assert limits.cpu_slots == 2
    for text in ("x = " + "[" * 100_000, "x = " + "{a = " * 100_000, "[" + "a." * 100_000 + "b]\n"):
        assert looked(text) is None
    assert looked("[devices]\ncpu_slots = 3\n") is not None


UNNAMEABLE = ["~nobody-of-this-name/x", "a\0b", "a\udcffb", "x" * 5_000, "~nobody-of-this-name"]


@pytest.mark.parametrize("path", UNNAMEABLE)
@pytest.mark.parametrize(
    "words", [["status"], ["queue", "x"], ["demo", "--headless"], ["scheduler", "start"]]
)
def test_where_no_project_can_lie_is_one_line(path, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--project", path]) == 2
    assert list(tmp_path.iterdir()) == []
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "no project can be kept there: " in told
    assert len(told) < 500


@pytest.mark.parametrize("path", UNNAMEABLE)
@pytest.mark.parametrize("place", ["environment variable DATASIZE_DATA", "toml: paths.data", "x.dataset"])
def test_where_no_data_can_lie_is_told_before_anything_is_queued(path, place, capsys, tmp_path, monkeypatch):
    is_variable = place.startswith("environment")
    if ("\0" if is_variable else "\udcff") in path:
        pytest.skip("neither a variable holds a null character nor TOML half a character")
    if is_variable:
        monkeypatch.setenv("DATASIZE_DATA", path)
    text = toml(dataset=json.dumps(f"imagefolder:{path}" if place == "x.dataset" else "mnist"))
    text += f"\n[paths]\ndata = {json.dumps(path)}" if place.endswith("paths.data") else ""
    (tmp_path / "experiments.toml").write_text(text)
    assert main(["queue", "x", "--project", str(tmp_path)]) == 2
    assert not (tmp_path / "runs").exists()
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert place in told
    assert len(told) < 600
