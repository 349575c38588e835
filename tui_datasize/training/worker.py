"""The worker: claims a run, executes it and writes how it ended.

Nothing heavy is imported here: a worker claims its run in milliseconds, before torch takes seconds.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from tui_datasize.errors import EXIT_BAD_INPUT, EXIT_OK, EXIT_RUN_FAILED, DatasizeError, StorageError
from tui_datasize.runlog.claim import Claim, ClaimRefused, Outcome, acquire, observe
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.training import failures
from tui_datasize.training.stop import StopRequest, StopRequested

ATTEMPT_VARIABLE = "DATASIZE_ATTEMPT"

USAGE = f"""\
usage: python -m tui_datasize.training RUN_DIR [RUN_DIR ...]

Execute queued runs one after the other; each directory holds a spec.json.
Example: python -m tui_datasize.training runs/digits/digits-n40-d0-s0-1a2b3c4d

environment:
  CUDA_VISIBLE_DEVICES  the GPU to use; unset or empty: the CPU
  DATASIZE_DATA         where data sets lie (default: as experiments.toml says)
  {ATTEMPT_VARIABLE}      number of the attempt (default: one more than the newest)
exit status: 0 all succeeded or left when asked to, 1 a run failed, 2 usage"""


def main(argv: Sequence[str]) -> int:
    """Execute the runs whose directories are given, until done or asked to leave.

    Args:
        argv: Run directories; without them the usage is printed.

    Returns:
        Exit status: 0 all succeeded, were another worker's, or were left in order; 1 one failed;
        2 usage.
    """
    if list(argv) in (["-h"], ["--help"]):
        print(USAGE)
        return EXIT_OK
    runs = [RunPaths(Path(argument).absolute()) for argument in argv]
    problem = _usage_problem(runs)
    if problem:
        print(problem, file=sys.stderr)
        return EXIT_BAD_INPUT
    stop = StopRequest()
    with stop.listening():
        return _work_through(runs, stop)


def _usage_problem(runs: Sequence[RunPaths]) -> str:
    if not runs:
        return USAGE
    attempt = os.environ.get(ATTEMPT_VARIABLE, "1")
    if not attempt.isdecimal() or int(attempt) < 1:
        return f"{ATTEMPT_VARIABLE}: expected a whole number of at least 1, got {attempt!r}"
    missing = next((paths.spec for paths in runs if not paths.spec.is_file()), None)
    return f"{missing}: no such file; expected the directory of a queued run" if missing else ""


def _work_through(runs: Sequence[RunPaths], stop: StopRequest) -> int:
    status = EXIT_OK
    for paths in runs:
        # Runs that nobody claimed stay free for another worker.
        if stop.requested:
            break
        failure = _work(paths, stop)
        if failure is not None:
            status = EXIT_RUN_FAILED
            if failures.ruins_process(failure):
                break
    return status


def _work(paths: RunPaths, stop: StopRequest) -> Exception | None:
    """Claim, execute and finish one run; the failure where it failed."""
    try:
        claim = acquire(paths, _attempt(paths))
    except ClaimRefused as refusal:
        print(f"{paths.run_id}: left alone: {refusal.reason}", flush=True)
        return None
    except OSError as error:
        return _report(StorageError(f"cannot be written: {error.strerror}", where=str(paths.directory)))
    try:
        return _execute(claim, stop)
    except OSError as error:
        # Without an `exit.json` the attempt counts as interrupted, which is what it is.
        return _report(error)


def _execute(claim: Claim, stop: StopRequest) -> Exception | None:
    print(f"{claim.paths.run_id}: attempt {claim.attempt}, process {os.getpid()}", flush=True)
    try:
        with stop.at_once():
            from tui_datasize.training.prepare import prepare

            session = prepare(claim.paths, claim.attempt)
        session.run(stop)
    except StopRequested:
        claim.finish(Outcome.INTERRUPTED, "asked to leave")
        print(f"{claim.paths.run_id}: left when asked to", flush=True)
        return None
    except Exception as error:
        _report(error)
        claim.finish(Outcome.FAILED, failures.reason(error))
        return error
    claim.finish(Outcome.SUCCEEDED)
    print(f"{claim.paths.run_id}: succeeded", flush=True)
    return None


def _attempt(paths: RunPaths) -> int:
    given = os.environ.get(ATTEMPT_VARIABLE)
    return int(given) if given else observe(paths).newest_attempt + 1


def _report(error: Exception) -> Exception:
    """Tell the log; a traceback only where the reason leaves questions open."""
    if not isinstance(error, DatasizeError):
        traceback.print_exception(error)
    print(failures.reason(error), file=sys.stderr, flush=True)
    return error
