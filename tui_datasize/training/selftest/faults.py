"""GPUs that are not there, a driver that does not fit: nothing is computed on the CPU, and no run fails."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tui_datasize.experiments.spec import ModelSpec
from tui_datasize.programs import python_module
from tui_datasize.training.accelerator import probe
from tui_datasize.training.selftest import subject as subjects
from tui_datasize.training.selftest.catalogue import DEVICE_VARIABLE, STEPS
from tui_datasize.training.selftest.child import in_fork
from tui_datasize.training.selftest.record import Findings
from tui_datasize.training.selftest.subject import Subject

_NAMES = ("MIG-00000000-0000-0000-0000-000000000000", "GPU-00000000-0000-0000-0000-000000000000")
_FOREIGN = "libm.so.6"
"""A library of the system, in the place of the driver's: what is looked for in it is not there."""


def run(subject: Subject, findings: Findings) -> None:
    """Probes each, and has a worker claim a run for the first."""
    for name in _NAMES:
        _check_probe(findings, f"a {name.partition('-')[0]} that is not there", name)
    if subject.is_card:
        with tempfile.TemporaryDirectory() as folder:
            _put_foreign_driver(Path(folder))
            # The name of the card that is tested, which the driver of the system has.
            _check_probe(findings, "a driver that does not fit", os.environ[DEVICE_VARIABLE], folder)
    missing = STEPS["end-to-end"].missing
    if missing:
        findings.figure("worker", f"needs {', '.join(missing)}")
        findings.say("a GPU that is not there is refused; a worker was not tried")
        return
    _check_worker(findings)
    findings.say("a GPU or MIG name that is not there: refused, the run waits and none is on the CPU")


def _check_probe(findings: Findings, what: str, device: str, libraries: str = "") -> None:
    said = _with_libraries(device, libraries) if libraries else _said(device, probe.main)
    try:
        answer = json.loads(said.splitlines()[-1])
    except (ValueError, IndexError):
        answer = {"usable": None, "what": said.strip()[-200:]}
    findings.figure(what, answer)
    told = f"the probe answers {answer.get('what') or answer.get('device_name')}"
    findings.check(f"{what} is refused", answer.get("usable") is False, told)


def _put_foreign_driver(folder: Path) -> None:
    """A folder whose driver has none of a driver's functions, as one of another version lacks some."""
    ctypes.CDLL(_FOREIGN)
    mapped = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    file = next(line.split()[-1] for line in mapped if line.endswith(_FOREIGN))
    for name in ("libcuda.so.1", "libnvidia-ml.so.1"):
        shutil.copy(file, folder / name)


def _check_worker(findings: Findings) -> None:
    """A run that is given to a worker for a GPU that is not there."""
    with tempfile.TemporaryDirectory() as folder:
        spec = subjects.spec(ModelSpec("mlp"), dataset="digits", train_size=64)
        paths = subjects.queued(Path(folder), spec)
        from tui_datasize.training.worker import main as work

        _said(_NAMES[0], work, str(paths.directory))
        try:
            end = json.loads(paths.exit.read_bytes())
        except (OSError, ValueError):
            end = {"outcome": "none", "reason": "no exit.json was written"}
        findings.figure("worker", end)
        told = f"it ended as {end['outcome']}: {end['reason']}"
        findings.check("its run is interrupted, not failed", end["outcome"] == "interrupted", told)
        findings.check("nothing was trained", not paths.metrics.exists(), "metrics were written")


def _said(device: str, work: Callable[[Sequence[str]], int], *arguments: str) -> str:
    """Have a process that is forked off, as those of the queue are, work for a device; what it printed."""
    with tempfile.TemporaryFile() as output:

        def work_for_it() -> int:
            for stream in (1, 2):
                os.dup2(output.fileno(), stream)
            os.environ[DEVICE_VARIABLE] = device
            return work(arguments)

        in_fork(work_for_it)
        output.seek(0)
        return output.read().decode(errors="replace")


def _with_libraries(device: str, folder: str) -> str:
    """What the probe prints in a process that finds the libraries of a folder before those of the system."""
    path = f"{folder}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    done = subprocess.run(
        python_module(probe.__name__),
        env=os.environ | {DEVICE_VARIABLE: device, "LD_LIBRARY_PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout
