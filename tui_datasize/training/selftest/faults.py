"""Names of GPUs that are not there: nothing may be computed on the CPU instead, and no run may fail of it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

from tui_datasize.experiments.spec import SCHEMA_VERSION, ModelSpec
from tui_datasize.programs import python_module
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.training.selftest import subject as subjects
from tui_datasize.training.selftest.catalogue import STEPS
from tui_datasize.training.selftest.findings import Findings
from tui_datasize.training.selftest.subject import Subject

_NAMES = ("MIG-00000000-0000-0000-0000-000000000000", "GPU-00000000-0000-0000-0000-000000000000")
_PATIENCE_S = 20
_PROBE = "tui_datasize.training.accelerator.probe"


def run(_subject: Subject, findings: Findings) -> None:
    """Probes each name, and has a worker claim a run for the first."""
    for name in _NAMES:
        kind = name.partition("-")[0]
        done = _python(name, _PROBE)
        try:
            answer = json.loads(done.stdout.splitlines()[-1])
        except (ValueError, IndexError):
            answer = {"usable": None, "what": done.stderr.strip()[-200:]}
        findings.figure(f"{kind} that is not there", answer)
        told = f"the probe answers {answer.get('what') or answer.get('device_name')}"
        findings.check(f"a {kind} that is not there is refused", answer.get("usable") is False, told)
    missing = STEPS["end-to-end"].missing
    if missing:
        findings.figure("worker", f"needs {', '.join(missing)}")
        findings.say("a GPU that is not there is refused; a worker was not tried")
        return
    _check_worker(findings)
    findings.say("a GPU or MIG name that is not there: refused, the run waits and none is on the CPU")


def _check_worker(findings: Findings) -> None:
    """A run that is given to a worker for a GPU that is not there."""
    with tempfile.TemporaryDirectory() as folder:
        spec = subjects.spec(ModelSpec("mlp"), dataset="digits", train_size=64)
        paths = ProjectPaths(Path(folder)).run(spec.experiment, spec.run_id)
        paths.directory.mkdir(parents=True)
        document = {"schema_version": SCHEMA_VERSION, "run_id": spec.run_id, "spec": spec.to_dict()}
        paths.spec.write_text(json.dumps(document), encoding="utf-8")
        _python(_NAMES[0], "tui_datasize.training", str(paths.directory))
        try:
            end = json.loads(paths.exit.read_bytes())
        except (OSError, ValueError):
            end = {"outcome": "none", "reason": "no exit.json was written"}
        findings.figure("worker", end)
        told = f"it ended as {end['outcome']}: {end['reason']}"
        findings.check("its run is interrupted, not failed", end["outcome"] == "interrupted", told)
        findings.check("nothing was trained", not paths.metrics.exists(), "metrics were written")


def _python(device: str, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        python_module(module, *arguments),
        env=os.environ | {"CUDA_VISIBLE_DEVICES": device},
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_S,
    )
