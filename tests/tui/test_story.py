"""From an empty directory to an exported table, as a person does it: by keys alone, with real trainings."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.terminal import opened
from tui_datasize.jobs.client import QueueClient
from tui_datasize.runlog.paths import ProjectPaths

ENTER, TAB, DOWN, CTRL_E, CTRL_N = "\r", "\t", "\x1b[B", "\x05", "\x0e"

pytestmark = [pytest.mark.faults, pytest.mark.long]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A directory with 60 images of two kinds, and nothing else."""
    monkeypatch.setenv("DATASIZE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DATASIZE_SLOTS_DIR", str(tmp_path / "slots"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    root = tmp_path / "mine"
    noise = np.random.default_rng(0)
    for label, level in (("dark", 60), ("light", 190)):
        (root / "pets" / label).mkdir(parents=True)
        for number in range(30):
            pixels = noise.normal(level, 60, (8, 8)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / "pets" / label / f"{number}.png")
    paths = ProjectPaths(root)
    yield paths
    QueueClient(paths).stop_scheduler()


def test_from_an_empty_directory_to_an_exported_table(project: ProjectPaths):
    command = (sys.executable, "-P", "-m", "tui_datasize", "--project", str(project.root))
    with opened(command, (80, 24)) as terminal:
        terminal.shows("How to begin")
        terminal.press("b")
        terminal.shows("Build a sweep", "name one, or the folder of your images")
        terminal.press("pe")
        terminal.shows("data set  pets")
        terminal.press(TAB + DOWN + "mlp" + DOWN + "6, 12, 24" + DOWN + "1" + DOWN + "1" + DOWN + "8 updates")
        terminal.press(DOWN + "batch_size=6 evaluate.times=2")
        terminal.shows("pets: 2 classes, 48 images to train on, 12 to test", "3 runs = 3 sizes")
        terminal.press(ENTER)
        terminal.shows("Write this into experiments.toml?", "+[experiments.pets]")
        terminal.press(ENTER)
        terminal.shows("Queue pets?", "queue 3 runs")
        terminal.press(ENTER)
        terminal.shows("3 done", "3/3")
        terminal.press(CTRL_N)
        terminal.shows("No notes yet")
        terminal.press("first try" + ENTER)
        terminal.shows("noted in notes/pets.md")
        terminal.press("3")
        terminal.shows("Learning curve", "24 images: ")
        terminal.press(CTRL_E)
        terminal.shows("wrote ")
        terminal.press("q")
        assert terminal.exit_status() == 0
    (table,) = project.root.glob("*.csv")
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["train_size"]) for row in rows] == [6, 12, 24]
