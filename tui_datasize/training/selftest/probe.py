"""The first step: opens the device and tells what it is, with what it works, and what else uses it."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tui_datasize import __version__
from tui_datasize.errors import DeviceUnavailable
from tui_datasize.training.accelerator.probe import probe
from tui_datasize.training.selftest.record import Findings
from tui_datasize.training.selftest.subject import Subject

_PACKAGES = ("torch", "torchvision", "torchmetrics", "numpy", "polars", "nvidia-ml-py", "textual")
_ASKED = (
    "name", "uuid", "driver_version", "compute_mode", "mig.mode.current", "memory.total", "memory.used",
    "utilization.gpu", "temperature.gpu", "power.limit", "ecc.errors.uncorrected.volatile.total",
)  # fmt: skip
_PATIENCE_S = 15
_LONGEST = 200


def run(subject: Subject, findings: Findings) -> None:
    """Opens the device, after what can be told without it.

    Raises:
        DeviceUnavailable: It cannot be used.
    """
    findings.figure("host", _host())
    cards = _nvidia_smi(_ASKED)
    findings.figure("nvidia_smi", cards)
    refusal = "" if cards else _refusal()
    findings.figure("nvidia_smi_refuses", refusal)
    findings.figure("processes", _processes())
    if subject.is_card and len(cards) == 1:
        # So that the record of a card that cannot be used tells which one it is.
        for name, asked in (("device_name", "name"), ("device_uuid", "uuid"), ("driver", "driver_version")):
            findings.figure(name, cards[0][asked])
    try:
        found = probe(subject.accelerator)
    except DeviceUnavailable as error:
        # It may know better why: torch tells a driver that was updated under a system from none at all.
        told = f"{error.what}; nvidia-smi: {refusal}" if refusal else error.what
        raise DeviceUnavailable(told, where=error.where, fix=error.fix) from error
    findings.figure("facts", found)
    for name in ("device_name", "device_uuid"):
        findings.figure(name, found[name])
    findings.figure("driver", _driver(found["device_uuid"], cards) if subject.is_card else "")
    findings.check("a convolution forward and backward", True)
    free_bytes = int(found["free_bytes"])
    told = f"{found['device_name']}, torch {found['torch']}, {free_bytes / 2**30:.1f} GiB free"
    mode = next((card.get("compute_mode", "") for card in cards if card["uuid"] == found["device_uuid"]), "")
    if subject.is_card:
        findings.check("several processes at once", mode != "Prohibited", f"compute mode {mode}")
    findings.say(told)


def _host() -> dict[str, Any]:
    return {
        "datasize-tui": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _nvidia_smi(asked: tuple[str, ...]) -> list[dict[str, str]]:
    """What it says of each card; nothing where it is not there or fails."""
    lines = _lines(["nvidia-smi", f"--query-gpu={','.join(asked)}", "--format=csv,noheader,nounits"])
    values = [[value.strip() for value in line.split(",")] for line in lines]
    # Older ones answer in words where they do not know a field.
    return [dict(zip(asked, row, strict=True)) for row in values if len(row) == len(asked)]


def _refusal() -> str:
    """Why `nvidia-smi` tells of no card, in one line; empty where it is not there, or does not refuse."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, check=False, timeout=_PATIENCE_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return ", ".join(said)[:_LONGEST] if done.returncode else ""


def _processes() -> list[str]:
    return _lines(
        ["nvidia-smi", "--query-compute-apps=gpu_uuid,pid,process_name,used_memory", "--format=csv,noheader"]
    )


def _driver(uuid: str, cards: list[dict[str, str]]) -> str:
    named = [card["driver_version"] for card in cards if card["uuid"] == uuid] or [
        card["driver_version"] for card in cards
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
