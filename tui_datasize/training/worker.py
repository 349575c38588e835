"""The worker: claims runs, executes them and writes how each ended.

Nothing heavy is imported here: a worker claims its runs in milliseconds, before torch takes seconds.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from tui_datasize.errors import EXIT_BAD_INPUT, EXIT_OK, EXIT_RUN_FAILED, EXIT_TRY_AGAIN, StorageError
from tui_datasize.programs import private_caches
from tui_datasize.runlog.claim import ATTEMPT_VARIABLE, ClaimRefused, Lack, acquire, next_attempt, observe
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.training.lane import Lane, forgiving, tell_log
from tui_datasize.training.stop import StopRequest, StopRequested

PACK_OPTION = "--pack"

USAGE = f"""\
usage: python -m tui_datasize.training [{PACK_OPTION}] RUN_DIR [RUN_DIR ...]

Execute queued runs one after the other; each directory holds a spec.json.
Example: python -m tui_datasize.training runs/digits/digits-n40-d0-s0-1a2b3c4d

  {PACK_OPTION}                train the runs at the same time; they must fit into one pack: one model,
                        data set, batch size, optimiser, precision and augmentation

environment:
  CUDA_VISIBLE_DEVICES  the GPU to use; unset or empty: the CPU
  DATASIZE_DATA         where data sets lie (default: as experiments.toml says)
  {ATTEMPT_VARIABLE}      number of the attempt (default: one more than the newest); with {PACK_OPTION}
                        one for each directory in their order, as 2,1,1
exit status: 0 all succeeded or left when asked to, 1 a run failed or has no device, 2 usage, 3 its end
could not be written"""


Assignment: TypeAlias = tuple[RunPaths, int | None]
"""A run to execute, and the number of its attempt; None for one more than the newest."""


def main(argv: Sequence[str]) -> int:
    """Execute the runs whose directories are given, behind `--pack` together, until done or asked to leave.

    Returns:
        Exit status: 0 all succeeded, were another worker's, or were left in order; 1 one failed, or
        its device cannot be used; 2 usage; 3 how one ended could not be written, which this then tells.
    """
    if list(argv) in (["-h"], ["--help"]):
        print(USAGE)
        return EXIT_OK
    is_pack = list(argv[:1]) == [PACK_OPTION]
    runs = [RunPaths(Path(argument).absolute()) for argument in argv[1 if is_pack else 0 :]]
    given = os.environ.get(ATTEMPT_VARIABLE, "")
    attempts = given.split(",") if is_pack and given else [given] * len(runs)
    problem = _usage_problem(runs, attempts)
    if problem:
        print(problem, file=sys.stderr)
        return EXIT_BAD_INPUT
    assignments = [
        (paths, int(number) if number else None) for paths, number in zip(runs, attempts, strict=True)
    ]
    stop = StopRequest()
    with stop.listening(), forgiving():
        return _work_through([assignments] if is_pack else [[one] for one in assignments], stop)


def _usage_problem(runs: Sequence[RunPaths], attempts: Sequence[str]) -> str:
    if not runs:
        return USAGE
    wrong = next((n for n in attempts if n and not (n.isdecimal() and int(n) >= 1)), None)
    if wrong is not None:
        return f"{ATTEMPT_VARIABLE}: expected a whole number of at least 1, got {wrong!r}"
    if len(attempts) != len(runs):
        return f"{ATTEMPT_VARIABLE}: expected {len(runs)} numbers with commas between, got {len(attempts)}"
    missing = next((paths.spec for paths in runs if not _is_file(paths.spec)), None)
    return f"{missing}: no such file; expected the directory of a queued run" if missing else ""


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _work_through(packs: Sequence[Sequence[Assignment]], stop: StopRequest) -> int:
    status = EXIT_OK
    for assignments in packs:
        # Runs that nobody claimed stay free for another worker.
        if stop.requested:
            break
        ended, ruins_process = _work(assignments, stop)
        status = max(status, ended)
        if ruins_process:
            break
    return status


def _work(assignments: Sequence[Assignment], stop: StopRequest) -> tuple[int, bool]:
    """Claim and execute runs together; the exit status, and whether the process can execute no other."""
    status = EXIT_OK
    lanes: list[Lane] = []
    for paths, attempt in assignments:
        try:
            lane = _claim(paths, attempt, is_one_of_several=len(assignments) > 1)
        except OSError as error:
            tell_log(StorageError.of(error, "cannot be written", where=str(paths.directory)))
            status = EXIT_RUN_FAILED
            continue
        if lane:
            lanes.append(lane)
    if lanes:
        _execute(lanes, stop)
    if any(lane.has_failed for lane in lanes):
        status = EXIT_TRY_AGAIN if any(lane.is_lost for lane in lanes) else EXIT_RUN_FAILED
    return status, any(lane.ruins_process for lane in lanes)


def _claim(paths: RunPaths, attempt: int | None, *, is_one_of_several: bool) -> Lane | None:
    try:
        before = observe(paths)
        attempt = attempt or next_attempt(paths)
        lane = Lane(acquire(paths, attempt), is_one_of_several=is_one_of_several)
    except ClaimRefused as refusal:
        print(f"{paths.run_id}: left alone: {refusal}", flush=True)
        return None
    if before.newest_attempt and not before.final_exit:
        anew = "" if paths.checkpoint.exists() else "; it left no checkpoint: begun anew"
        lane.say(f"attempt {before.newest_attempt} was killed, or its machine went down{anew}")
    lane.say(f"attempt {attempt}, process {os.getpid()}")
    return lane


def _execute(lanes: Sequence[Lane], stop: StopRequest) -> None:
    lack = Lack.LIBRARIES
    try:
        os.environ.update(private_caches())
        with stop.at_once():
            from tui_datasize.training.packs.training import train_lanes
        lack = Lack.NOTHING
        train_lanes(lanes, stop)
    except StopRequested:
        for lane in lanes:
            if lane.is_open:
                lane.leave()
    except Exception as error:
        for lane in lanes:
            if lane.is_open:
                lane.fail(error, lack)
    finally:
        for lane in lanes:
            lane.write_end()
