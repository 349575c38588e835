"""A GPU server may have torch, torchvision, torchmetrics, NumPy and little else: a selftest needs no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tui_datasize.training.selftest.catalogue import STEPS
from tui_datasize.training.selftest.record import NAME

pytestmark = pytest.mark.long

ABSENT = ("polars", "textual", "plotext", "platformdirs", "tomli", "rich", "sklearn", "pynvml", "pytest")
QUEUE = "polars, platformdirs, tomli, rich, sklearn"


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment in which every process, however it is started, lacks these packages."""
    held_back = f"import sys\nfor name in {ABSENT}:\n    sys.modules[name] = None\n"
    (tmp_path / "sitecustomize.py").write_text(held_back)
    own = {"PYTHONPATH": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state"), "CUDA_VISIBLE_DEVICES": ""}
    return os.environ | own


def test_every_step_that_needs_torch_alone_is_imported_without_the_rest_and_one_is_made(bare, tmp_path):
    modules = [f"tui_datasize.training.selftest.{step.entry}" for step in STEPS.values() if not step.packages]
    assert len(modules) == 9
    code = f"""
import importlib, pathlib
modules = [importlib.import_module(module) for module in {modules}]
print([bool(module.run) for module in modules])
from tui_datasize.training.selftest import placement, record, subject
placement.SMALL = (3 << 20, (3, 16, 16))
placement.run(subject.Subject.chosen(), record.Findings(pathlib.Path("{tmp_path}/placement.json")))
"""
    done = subprocess.run([sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=False)
    assert done.stdout == f"{[True] * 9}\n", done.stderr
    found = json.loads((tmp_path / "placement.json").read_text())
    assert all(check["good"] for check in found["checks"])
    assert found["figures"]["mapped_images_per_s"] > 0


def test_steps_are_made_without_the_rest_and_others_name_what_is_missing(bare, tmp_path):
    command = [sys.executable, "-m", "tui_datasize.training.selftest", "--patience", "20"]
    done = subprocess.run(
        [*command, "recording", "end-to-end"], env=bare, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = tmp_path.rglob(NAME)
    steps = json.loads(file.read_text())["steps"]
    assert {name: (step["verdict"], step["told"]) for name, step in steps.items() if name != "probe"} == {
        "recording": ("left out", "not on a CPU"),
        "end-to-end": ("left out", f"needs {QUEUE}, not installed here"),
    }
    assert steps["probe"]["verdict"] == "ok"
