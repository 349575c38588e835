from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from tests.fakes import fake_sweep, write_run
from tests.unit.record_desk import record_of
from tui_datasize.answers.prices import _hours
from tui_datasize.cli.dispatch import main
from tui_datasize.errors import ConfigError
from tui_datasize.experiments.costs import Costs
from tui_datasize.experiments.project_tables import project_costs
from tui_datasize.stats.run_costs import RunCosts

COSTS = '[costs]\nlabel = 0.08\ngpu_hour = 1.2\ncurrency = "EUR"\n'


def imported(root: Path, costs: str, seconds: float | None = 3600) -> Path:
    """A curve from elsewhere up to 1,600 images, each training as long."""
    (root / "experiments.toml").write_text(costs)
    rows = "".join(
        f"{n},{s},{0.97 - 3 * n**-0.6 + s / 1000:.4f}{'' if seconds is None else f',{seconds}'}\n"
        for n in (200, 400, 800, 1600)
        for s in (0, 1, 2)
    )
    time = "" if seconds is None else ",wall_s"
    file = root / "a.csv"
    file.write_text(f"size,seed,test_accuracy{time}\n{rows}")
    assert main(["import", "e", str(file), "--project", str(root)]) == 0
    return root


def said(root: Path, *words: str, capsys: pytest.CaptureFixture[str], experiment: str = "e") -> str:
    capsys.readouterr()
    assert main([words[0], experiment, *words[1:], "--project", str(root)]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_doubling_target_and_plan_say_what_they_cost(tmp_path, capsys):
    root = imported(tmp_path, COSTS)
    text = said(root, "analyze", "--target", "95", capsys=capsys)
    assert "1,600 more labels, about EUR 128 and 1 hour of training (EUR 1.20 on a GPU), likely +" in text
    assert " 95 %: about " in text
    # The target's once, that of the doubling beside each of its forecasts.
    assert text.count("more labels, about EUR ") == 3
    plan = said(root, "plan", "--runs", "6", capsys=capsys)
    assert "6 runs: about 6 hours of training (EUR 7.20 on a GPU)." in plan
    assert "%: 1,600 more labels, about EUR 128 and 3 hours of training (EUR 3.60 on a GPU)." in plan
    words = json.loads(said(root, "plan", "--runs", "6", "--json", capsys=capsys))["words"]
    assert "6 runs: about 6 hours of training (EUR 7.20 on a GPU)." in words


def test_a_price_that_is_missing_is_left_out(tmp_path, capsys):
    text = said(imported(tmp_path, '[costs]\nlabel = 2\ncurrency = "kr"\n'), "analyze", capsys=capsys)
    assert "1,600 more labels, about kr 3,200 and 1 hour of training, likely +" in text


def test_without_prices_nothing_is_said_of_costs(tmp_path, capsys):
    root = imported(tmp_path, "")
    for words in (["analyze", "--target", "95"], ["plan"]):
        text = said(root, *words, capsys=capsys)
        assert "labels" not in text
        assert "hours" not in text


@pytest.mark.parametrize(
    ("devices", "says"),
    [
        (["GPU-1", "GPU-2"], "2 GPU-hours (EUR 2.40)"),
        (["cpu", "cpu"], "2 CPU-hours"),
        (["cpu", "GPU-1"], "2 hours of training (EUR 2.40 on a GPU)"),
        (["GPU-1", None], "2 hours of training (EUR 2.40 on a GPU)"),
    ],
)
def test_hours_are_those_of_the_device_that_runs_had(devices, says):
    runs = pl.DataFrame({"state": ["succeeded"] * 2 + ["queued"], "device": [*devices, None]})
    record = replace(record_of(pl.DataFrame()), costs=Costs(0.08, 1.2, "EUR"))
    assert _hours(record, runs, 7200) == says


def test_a_run_on_a_busy_machine_does_not_make_all_of_its_size_dear():
    runs = pl.DataFrame(
        {"train_size": [100] * 4, "state": ["succeeded"] * 4, "wall_s": [60.0, 60.0, 61.0, 600.0],
         "total_updates": [10] * 4, "batch_size": [10] * 4}
    )  # fmt: skip
    assert RunCosts.of(runs, {}).seconds_at(100) == 60


def test_nobody_knows_how_long_runs_took_and_labels_are_priced_alone(tmp_path, capsys):
    text = said(imported(tmp_path, COSTS, seconds=None), "analyze", capsys=capsys)
    assert "1,600 more labels, about EUR 128, likely +" in text


def test_images_that_the_data_set_has_are_told_and_a_processor_has_no_gpu_hours(project, monkeypatch, capsys):
    for spec in fake_sweep(subset_seeds=[0]):
        write_run(project, spec)
    project.experiments.write_text(COSTS)
    text = said(project.root, "analyze", capsys=capsys, experiment="digits")
    assert "1,280 more labels (157 of them in the data set), about EUR 102 and " in text
    assert " on a CPU, likely" in text


@pytest.mark.parametrize(
    ("costs", "says"),
    [
        ("label = -1", "costs.label: expected a number of at least 0, got -1"),
        ("gpu_hour = 'x'", "costs.gpu_hour: expected a number of at least 0, got 'x'"),
        ("labels = 1", "costs: unknown key 'labels'; did you mean 'label'?"),
        ("label = 1", 'costs.currency: expected one such as "EUR", of at most 8 letters, got nothing'),
        ("label = 1\ncurrency = 5", "costs.currency: expected a string, got 5"),
        ("label = nan\ncurrency = 'EUR'", "costs.label: expected a number of at least 0, got nan"),
        ('label = 1\ncurrency = "a\\n"', 'costs.currency: expected one such as "EUR", of at most 8 letters'),
    ],
)
def test_what_is_no_price_is_one_line_with_its_place(tmp_path, costs, says):
    (tmp_path / "experiments.toml").write_text(f"[costs]\n{costs}\n")
    with pytest.raises(ConfigError) as refused:
        project_costs(tmp_path)
    (line,) = str(refused.value).splitlines()
    assert says in line


def test_prices_are_read(tmp_path):
    (tmp_path / "experiments.toml").write_text(COSTS)
    assert project_costs(tmp_path) == Costs(0.08, 1.2, "EUR")
