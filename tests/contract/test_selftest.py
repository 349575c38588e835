"""A GPU server may have torch, torchvision, torchmetrics, NumPy and little else: a selftest needs no more."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NoReturn

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


def test_every_step_that_needs_torch_alone_is_imported_without_the_rest_and_one_is_made(tmp_path):
    # Loaded here once and forked: torch, torchvision and torchmetrics take ten seconds to import.
    import tui_datasize.training.evaluate

    assert tui_datasize.training.evaluate.__name__ in sys.modules
    entries = [step.entry for step in STEPS.values() if not step.packages]
    assert len(entries) == 9
    output = tmp_path / "output"
    pid = os.fork()
    if not pid:
        with output.open("w") as file, redirect_stdout(file), redirect_stderr(file):
            _end_with(lambda: _import_and_place(entries, tmp_path / "placement.json"))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, output.read_text()
    found = json.loads((tmp_path / "placement.json").read_text())
    assert all(check["good"] for check in found["checks"])
    assert found["figures"]["mapped_images_per_s"] > 0


def _end_with(work: Callable[[], None]) -> NoReturn:
    """Do it as the last thing of this process."""
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def _import_and_place(entries: Sequence[str], file: Path) -> None:
    own = [name for name in sys.modules if name.split(".")[0] in (*ABSENT, "tui_datasize")]
    for name in own:
        del sys.modules[name]
    sys.modules.update(dict.fromkeys(ABSENT))
    room = "tui_datasize.training.selftest"
    for module, function in (entry.split(":") for entry in entries):
        assert callable(getattr(importlib.import_module(f"{room}.{module}"), function))
    record, memory, subject = (
        importlib.import_module(f"{room}.{name}") for name in ("record", "memory", "subject")
    )
    memory.SMALL = (3 << 20, (3, 16, 16))
    memory.check_placement(subject.Subject.chosen(), record.Findings(file))


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
