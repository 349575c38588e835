"""Twelve runs of the digits through the queue; the tests that need a GPU, where they are at hand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import tui_datasize
from tui_datasize.files import known_object, parse_object
from tui_datasize.programs import python_module
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.training.selftest.record import Findings, NotHere
from tui_datasize.training.selftest.subject import Subject

_EXPERIMENT = "digits"
_RUNS = 12
_DOCTOR_PATIENCE_S = 15
_TOML = """\
[experiments.digits]
dataset    = "digits"
model      = { name = "cnn3", width = 8, dropout = 0.25 }
sizes      = [40, 80, 160, 320]
seeds      = { count = 3, step = 101 }
budget     = { samples = 3200 }
batch_size = 32
evaluate   = { times = 4 }
optimizer  = { name = "adamw", lr = 1e-3, weight_decay = 0.01 }
clip_grad_norm = 1.0
"""
_ON_CPU = """
[devices]
cpu = true
"""


def check_end_to_end(subject: Subject, findings: Findings) -> None:
    """Queues them in a project of its own, waits, and reads what they left."""
    with tempfile.TemporaryDirectory() as folder:
        project = ProjectPaths(Path(folder) / "project")
        project.root.mkdir()
        project.experiments.write_text(_TOML + _ON_CPU * (not subject.is_gpu), encoding="utf-8")
        # Slots of its own: waiting for other projects of the machine would tell nothing of it.
        environment = os.environ | {"DATASIZE_SLOTS_DIR": f"{folder}/slots"}
        began_s = time.time()
        try:
            status = _command(project, environment, "run", _EXPERIMENT)
            findings.check("the command succeeds", status == 0, f"exit status {status}")
            _look(subject, findings, project, began_s)
            findings.figure("doctor", _doctor(project, environment))
        finally:
            _command(project, environment, "scheduler", "stop")


def _look(subject: Subject, findings: Findings, project: ProjectPaths, began_s: float) -> None:
    folders = sorted((project.runs / _EXPERIMENT).iterdir())
    ends = [known_object(folder / "exit.json").get("outcome", "none") for folder in folders]
    succeeded = ends.count("succeeded")
    findings.check(
        f"{_RUNS} runs succeed", succeeded == len(ends) == _RUNS, f"{succeeded} of {len(ends)} did"
    )
    facts = [known_object(folder / "provenance.json") for folder in folders]
    claims = [known_object(folder / "claim.json") for folder in folders]
    rows = [_first_row(folder / "metrics.jsonl") for folder in folders]
    widths = sorted({int(fact.get("pack_width", 0)) for fact in facts})
    replays = sum(int(fact.get("updates_replayed", 0)) for fact in facts)
    findings.figure("devices", sorted({str(fact.get("device_name")) for fact in facts}))
    findings.figure("pack_widths", widths)
    findings.figure("updates_replayed", replays)
    findings.figure("wall_s", time.time() - began_s)
    starts = []
    for claim, row in zip(claims, rows, strict=True):
        with suppress(ValueError):
            begin, end = (
                datetime.fromisoformat(str(at)) for at in (claim.get("started_at"), row.get("time"))
            )
            starts.append((end - begin).total_seconds())
    findings.figure("claim_to_first_row_s", starts)
    uuid = str(subject.accelerator.facts()["device_uuid"]) if subject.is_gpu else ""
    strangers = sorted({str(fact.get("device_uuid")) for fact in facts} - {uuid})
    findings.check("all on this device", not strangers, f"some on {', '.join(strangers)}")
    if subject.is_gpu:
        findings.check("updates are replays", replays > 0, "none is")
        findings.check("runs are packed", max(widths, default=0) > 1, "each was alone")
    packed = f"in packs of {widths[-1]}" if widths and widths[-1] > 1 else "one by one"
    findings.say(
        f"{succeeded} runs of the digits {packed}, {time.time() - began_s:.0f} s with the scheduler's start"
    )


def _command(project: ProjectPaths, environment: dict[str, str], *words: str) -> int:
    command = python_module("tui_datasize", *words, "--project", str(project.root))
    return subprocess.run(command, env=environment, check=False).returncode


def _doctor(project: ProjectPaths, environment: dict[str, str]) -> Any:
    command = python_module("tui_datasize", "doctor", "--json", "--project", str(project.root))
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, check=False, timeout=_DOCTOR_PATIENCE_S
        )
        return json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        return f"it said nothing: {type(error).__name__}"


def _first_row(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as rows:
            return parse_object(rows.readline())
    except (OSError, ValueError):
        return {}


def check_gpu_tests(_subject: Subject, findings: Findings) -> None:
    """Runs them in one process; raises NotHere: they did not come with the package."""
    root = Path(tui_datasize.__file__).resolve().parents[1]
    if not (root / "tests" / "training").is_dir():
        raise NotHere("the tests are not installed; run it from a checkout")
    command = python_module("pytest", "-n", "0", "-q", "-m", "gpu", "tests")
    done = subprocess.run(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    print(done.stdout)
    counts = {
        word: int(count) for count, word in re.findall(r"(\d+) (passed|failed|errors?|skipped)", done.stdout)
    }
    findings.figure("counts", counts)
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    findings.figure("failed", failed)
    passed = counts.get("passed", 0)
    findings.check("some run", passed > 0, "none did" if not failed else f"{len(failed)} fail")
    findings.check(
        "all pass", done.returncode == 0, ", ".join(failed[:5]) or f"exit status {done.returncode}"
    )
    findings.check("none is skipped", not counts.get("skipped"), f"{counts.get('skipped', 0)} are")
    findings.say(f"{passed} tests pass")
