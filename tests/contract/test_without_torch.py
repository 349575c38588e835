"""Everything that analyses runs where no torch is installed, on frozen runs and on a whole sweep."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.test_imports import TORCH

SCRIPT = """
import sys
for name in {torch}:
    sys.modules[name] = None  # An import of it fails, as where it is not installed.
from pathlib import Path
from tests.tui.test_charts import PALETTE
from tui_datasize.metric import metric_named
from tui_datasize.cli.dispatch import main
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.answers.record import Reading, Record
from tui_datasize.tui.analysis.answer_lines import draw_answer

project = ProjectPaths(Path(sys.argv[1]))
log = RunLog(project)
for experiment in ("shapes", "digits"):
    runs = log.runs(experiment)
    record = Record(Reading(log, runs), metric_named("test_accuracy"))
    for entry in QUESTIONS.values():
        assert draw_answer(entry.ask(record), 80, 20, PALETTE).text.plain.strip(), entry.name
        print(experiment, entry.name)
for command in (["analyze"], ["report", "-o", str(project.root / "r.html")]):
    assert main([*command, "shapes", "--project", str(project.root)]) == 0
assert all(sys.modules[name] is None for name in {torch})
"""


@pytest.mark.long
def test_every_view_works_with_no_torch_installed(fake_project):
    frozen = Path(__file__).with_name("runs_v1") / "shapes"
    shutil.copytree(frozen, fake_project.runs / "shapes")
    script = SCRIPT.format(torch=TORCH)
    done = subprocess.run(
        [sys.executable, "-c", script, str(fake_project.root)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "digits ensembles" in done.stdout
    assert "Learning curve" in done.stdout
