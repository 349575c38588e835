"""A worker of Slurm without torch: the real claim, then so many steps as its run's options ask for.

It notes what it has done as `tests.faults.fake_worker` does, and saves the step that it has reached; when it
is asked to leave it does, and the next attempt goes on from there.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults.fake_worker import _note, _options, _others_alive
from tui_datasize.runlog.claim import ClaimRefused, RunOutcome, acquire, next_attempt
from tui_datasize.runlog.paths import RunPaths


def main(argv: Sequence[str]) -> int:
    """Be the worker of one run."""
    paths = RunPaths(Path(argv[0]))
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, lambda which, _: asked.append(which))
    try:
        claim = acquire(paths, next_attempt(paths))
    except ClaimRefused as refusal:
        print(refusal, flush=True)
        return 0
    options = _options(paths)
    told = {"gpu": os.environ.get("CUDA_VISIBLE_DEVICES", ""), "job": os.environ["SLURM_ARRAY_JOB_ID"]}
    step = int(paths.checkpoint.read_text()) if paths.checkpoint.exists() else 0
    _note(paths, claim, "begin", overlaps=_others_alive(paths), step=step, **told)
    while step < int(options.get("steps", 1)) or not _is_open(options.get("gate")):
        if asked:
            _note(paths, claim, "end left", step=step, signal=asked[0])
            claim.finish(RunOutcome.INTERRUPTED, "asked to leave")
            return 0
        time.sleep(float(options.get("step_s", 0.02)))
        step += 1
        paths.checkpoint.write_text(str(step))
    _note(paths, claim, "end", step=step)
    claim.finish(RunOutcome.SUCCEEDED)
    return 0


def _is_open(gate: str | None) -> bool:
    return gate is None or Path(gate).exists()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
