"""Opens the device and tells what it is; what comes of GPUs that are not there or do not fit the driver."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tui_datasize import __version__
from tui_datasize.errors import DeviceUnavailable
from tui_datasize.experiments.spec import ModelSpec
from tui_datasize.programs import installed_version, python_module
from tui_datasize.training.accelerator import probe
from tui_datasize.training.selftest import subject as subjects
from tui_datasize.training.selftest.catalogue import DEVICE_VARIABLE, STEPS
from tui_datasize.training.selftest.child import in_fork
from tui_datasize.training.selftest.record import Findings
from tui_datasize.training.selftest.subject import Subject

_PACKAGES = ("torch", "torchvision", "torchmetrics", "numpy", "polars", "nvidia-ml-py", "textual")
_ASKED = (
    "name", "uuid", "driver_version", "compute_mode", "mig.mode.current", "memory.total", "memory.used",
    "utilization.gpu", "temperature.gpu", "power.limit", "ecc.errors.uncorrected.volatile.total",
)  # fmt: skip
_PATIENCE_S = 15
_LONGEST = 200


def check_probe(subject: Subject, findings: Findings) -> None:
    """Opens the device, after what can be told without it; raises DeviceUnavailable: it cannot be used."""
    python, system = platform.python_version(), platform.platform()
    packages = {name: installed_version(name) for name in _PACKAGES}
    host = {"datasize-tui": __version__, "python": python, "system": system, "packages": packages}
    findings.figure("host", host)
    gpus = _nvidia_smi(_ASKED)
    findings.figure("nvidia_smi", gpus)
    refusal = "" if gpus else _refusal()
    findings.figure("nvidia_smi_refuses", refusal)
    query = "--query-compute-apps=gpu_uuid,pid,process_name,used_memory"
    findings.figure("processes", _lines(["nvidia-smi", query, "--format=csv,noheader"]))
    if subject.is_gpu and len(gpus) == 1:
        # So that the record of a GPU that cannot be used tells which one it is.
        for name, asked in (("device_name", "name"), ("device_uuid", "uuid"), ("driver", "driver_version")):
            findings.figure(name, gpus[0][asked])
    try:
        found = probe.probe(subject.accelerator)
    except DeviceUnavailable as error:
        # It may know better why: torch tells a driver that was updated under a system from none at all.
        told = f"{error.what}; nvidia-smi: {refusal}" if refusal else error.what
        raise DeviceUnavailable(told, where=error.where, fix=error.fix) from error
    findings.figure("facts", found)
    for name in ("device_name", "device_uuid"):
        findings.figure(name, found[name])
    findings.figure("driver", _driver(found["device_uuid"], gpus) if subject.is_gpu else "")
    findings.check("a convolution forward and backward", True)
    free_bytes = int(found["free_bytes"])
    told = f"{found['device_name']}, torch {found['torch']}, {free_bytes / 2**30:.1f} GiB free"
    mode = next((gpu.get("compute_mode", "") for gpu in gpus if gpu["uuid"] == found["device_uuid"]), "")
    if subject.is_gpu:
        findings.check("several processes at once", mode != "Prohibited", f"compute mode {mode}")
    findings.say(told)


def _nvidia_smi(asked: tuple[str, ...]) -> list[dict[str, str]]:
    """What it says of each GPU; nothing where it is not there or fails."""
    lines = _lines(["nvidia-smi", f"--query-gpu={','.join(asked)}", "--format=csv,noheader,nounits"])
    values = [[value.strip() for value in line.split(",")] for line in lines]
    # Older ones answer in words where they do not know a field.
    return [dict(zip(asked, row, strict=True)) for row in values if len(row) == len(asked)]


def _refusal() -> str:
    """Why `nvidia-smi` tells of no GPU, in one line; empty where it is not there, or does not refuse."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, check=False, timeout=_PATIENCE_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return ", ".join(said)[:_LONGEST] if done.returncode else ""


def _driver(uuid: str, gpus: list[dict[str, str]]) -> str:
    named = [gpu["driver_version"] for gpu in gpus if gpu["uuid"] == uuid] or [
        gpu["driver_version"] for gpu in gpus
    ]
    if named:
        return named[0]
    try:
        first = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        return ""
    return next((word for word in first.split() if word[0].isdigit() and "." in word), "")


def _lines(command: list[str]) -> list[str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE_S)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line for line in done.stdout.splitlines() if line.strip()]


_NAMES = ("MIG-00000000-0000-0000-0000-000000000000", "GPU-00000000-0000-0000-0000-000000000000")
_FOREIGN = "libm.so.6"
"""A library of the system, in the place of the driver's: what is looked for in it is not there."""


def check_faults(subject: Subject, findings: Findings) -> None:
    """Probes each, and has a worker claim a run for the first."""
    for name in _NAMES:
        _check_probe(findings, f"a {name.partition('-')[0]} that is not there", name)
    if subject.is_gpu:
        with tempfile.TemporaryDirectory() as folder:
            # None of a driver's functions is in it, as one of another version lacks some.
            ctypes.CDLL(_FOREIGN)
            mapped = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
            file = next(line.split()[-1] for line in mapped if line.endswith(_FOREIGN))
            for name in ("libcuda.so.1", "libnvidia-ml.so.1"):
                shutil.copy(file, Path(folder, name))
            # The name of the GPU that is tested, which the driver of the system has.
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


def _check_worker(findings: Findings) -> None:
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
