"""What stands in for the process that steps are forked from: `python -m tests.unit.fake_selftest_steps`.

What a step does is told by `FAKE_STEPS`, as `probe=good,bits=hangs`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tui_datasize.training.selftest.child import serve_steps
from tui_datasize.training.selftest.record import Findings, NotHere

CARD = {"device_name": "NVIDIA H200", "device_uuid": "GPU-1", "driver": "580.1"}


def good(findings: Findings) -> None:
    findings.check("it computes", True)
    findings.figure("mapped_images_per_s", 2900.0)
    findings.say("all is well")


def wrong(findings: Findings) -> None:
    findings.check("it computes", True)
    findings.check("bits", False, "not equal: weights")


def hangs(findings: Findings) -> None:
    """With a child in a session of its own, as a scheduler is."""
    findings.check("it computes", True)
    orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    Path(os.environ["FAKE_PIDS"]).write_text(f"{os.getpid()} {orphan.pid}")
    time.sleep(600)


def dies(_findings: Findings) -> None:
    os.abort()


def away(_findings: Findings) -> None:
    raise NotHere("no disk for it")


def ends_its_host(_findings: Findings) -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)


def empty(_findings: Findings) -> None:
    """Checks nothing."""


def make_step(arguments: Sequence[str]) -> int:
    name, file, _limit_s = arguments
    does = dict(pair.split("=") for pair in os.environ["FAKE_STEPS"].split(","))
    findings = Findings(Path(file))
    if name == "probe":
        for key, value in CARD.items():
            on_cpu = os.environ["CUDA_VISIBLE_DEVICES"] == ""
            findings.figure(key, "" if on_cpu and key != "device_name" else value)
    if name == "speed":
        findings.figure("seen_device", os.environ["CUDA_VISIBLE_DEVICES"])
        findings.figure("import_path", os.environ["PYTHONPATH"])
    try:
        globals()[does.get(name, "good")](findings)
    except NotHere as reason:
        findings.say(str(reason), "not_here")
    return 0


if __name__ == "__main__":
    serve_steps(make_step, lambda: print("a library begins to talk"))
