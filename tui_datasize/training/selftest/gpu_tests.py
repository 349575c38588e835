"""The tests that need a GPU, where the tests are at hand."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import tui_datasize
from tui_datasize.programs import python_module
from tui_datasize.training.selftest.record import Findings, NotHere
from tui_datasize.training.selftest.subject import Subject

_MARKER = "gpu"


def run(_subject: Subject, findings: Findings) -> None:
    """Runs them in one process.

    Raises:
        NotHere: They did not come with the package.
    """
    root = Path(tui_datasize.__file__).resolve().parents[1]
    if not (root / "tests" / "training").is_dir():
        raise NotHere("the tests are not installed; run it from a checkout")
    command = python_module("pytest", "-n", "0", "-q", "-m", _MARKER, "tests")
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
