"""A worker without torch: the real claim, then whatever its run's model options ask for.

Every execution is noted in `executions.jsonl` of its run directory, so that tests can count them and
see whether two ever overlapped.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tui_datasize.errors import EXIT_TRY_AGAIN
from tui_datasize.runlog.claim import (
    ATTEMPT_VARIABLE,
    LEFT_WITH_PACK,
    Claim,
    ClaimRefused,
    Lack,
    RunOutcome,
    acquire,
)
from tui_datasize.runlog.identity import ProcessIdentity
from tui_datasize.runlog.paths import RunPaths

EXECUTIONS = "executions.jsonl"
REFUSAL = "refusal"
_PATIENCE_S = 120.0
_LOOK_S = 0.015


def main(argv: Sequence[str]) -> int:
    if argv[0] == "--pack":
        return _train_pack([RunPaths(Path(directory)) for directory in argv[1:]])
    paths = RunPaths(Path(argv[0]))
    options = _options(paths)
    if options.get("die_before_claim"):
        os.kill(os.getpid(), signal.SIGSEGV)
    _wait_for(options.get("claim_gate"))
    try:
        claim = acquire(paths, int(os.environ[ATTEMPT_VARIABLE]))
    except ClaimRefused:
        return 0
    _note(paths, claim, "begin", overlaps=_others_alive(paths))
    signal.signal(signal.SIGTERM, lambda *_: _stop(paths, claim, options))
    _BEHAVIOURS[options.get("behaviour", "work")](claim, options)
    if "validation" in options:
        _validate(paths, float(options["validation"]))
    try:
        _note(paths, claim, "end")
        claim.finish(RunOutcome.SUCCEEDED)
    except OSError:
        # As a real one tells it.
        return EXIT_TRY_AGAIN
    return 0


def probe(_argv: Sequence[str]) -> int:
    """A GPU that works unless the file of the slots' directory that tells what is wrong with it is there."""
    refusal = Path(os.environ["DATASIZE_SLOTS_DIR"]) / REFUSAL
    if not refusal.exists():
        return 0
    print("a warning of some library", file=sys.stderr)
    print(refusal.read_text())
    return 1


def hang(_argv: Sequence[str]) -> int:
    """A GPU whose driver does not answer."""
    while True:
        signal.pause()


def _options(paths: RunPaths) -> dict[str, Any]:
    """What the run asks for; runs that differ in their seed alone may have gates of their own."""
    spec = json.loads(paths.spec.read_text())["spec"]
    options = spec["model"]["options"]
    return options | {k: options[k].format(seed=spec["seed"]) for k in ("gate", "claim_gate") if k in options}


def _train_pack(runs: Sequence[RunPaths]) -> int:
    """Claim all runs, then end each one as its gate says, until none is left or TERM comes."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    options = {paths: _options(paths) for paths in runs}
    lanes = []
    for paths, attempt in zip(runs, os.environ[ATTEMPT_VARIABLE].split(","), strict=True):
        _wait_for(options[paths].get("claim_gate"))
        with suppress(ClaimRefused):
            lanes.append(acquire(paths, int(attempt)))
            _note(paths, lanes[-1], "begin", overlaps=_others_alive(paths), lanes=len(runs))
    while lanes:
        for claim in list(lanes):
            ending = _ending(options[claim.paths], bool(asked), len(runs))
            if ending:
                lanes.remove(claim)
                _note(claim.paths, claim, "end")
                claim.finish(*ending)
                claim.release()
        time.sleep(_LOOK_S)
    return 0


def _ending(options: Mapping[str, Any], is_asked: bool, lanes: int) -> tuple[RunOutcome, str] | None:
    """How a lane ends now: a gate that holds words fails it for this reason."""
    gate = Path(options["gate"])
    if gate.exists():
        reason = gate.read_text()
        return (RunOutcome.FAILED, reason) if reason else (RunOutcome.SUCCEEDED, "")
    if is_asked and not options.get("stubborn"):
        return RunOutcome.INTERRUPTED, LEFT_WITH_PACK if lanes > 1 else "asked to stop"
    return None


def _work(_claim: Claim, options: Mapping[str, Any]) -> None:
    """Wait for a gate, if there is one, then be busy for a while."""
    _wait_for(options.get("gate"))
    time.sleep(float(options.get("work_s", 0)))


def _wait_for(gate: str | None) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while gate and not os.path.exists(gate) and time.monotonic() < deadline:  # noqa: PTH110 - of many looks
        time.sleep(_LOOK_S)


def _is_mended(options: Mapping[str, Any]) -> bool:
    """Whether what made runs end is over."""
    return "until" in options and Path(options["until"]).exists()


def _die(claim: Claim, options: Mapping[str, Any]) -> None:
    """Be killed, for the first `deaths` attempts."""
    if _is_mended(options):
        _work(claim, options)
    elif claim.attempt <= int(options["deaths"]):
        os.kill(os.getpid(), int(options.get("signal", signal.SIGKILL)))


def _fail(claim: Claim, options: Mapping[str, Any]) -> None:
    """Report a failure, on the first `failures` attempts or on all."""
    if claim.attempt > int(options.get("failures", claim.attempt)) or _is_mended(options):
        _work(claim, options)
        return
    _note(claim.paths, claim, "end")
    lack = Lack(options.get("lack", ""))
    is_machines = lack not in (Lack.NOTHING, Lack.DEVICE_MEMORY)
    outcome = RunOutcome.INTERRUPTED if is_machines else RunOutcome.FAILED
    claim.finish(outcome, str(options["reason"]), lack=lack)
    sys.exit(0)


def _lose_gpu(claim: Claim, options: Mapping[str, Any]) -> None:
    """Find its GPU gone on the first attempt, once the gate is there."""
    _work(claim, options)
    if claim.attempt == 1:
        _note(claim.paths, claim, "left")
        reason = "the GPU has fallen off the bus"
        claim.finish(RunOutcome.INTERRUPTED, reason, device_fault=reason)
        sys.exit(1)


def _leave_child(claim: Claim, options: Mapping[str, Any]) -> None:
    """Die on the first attempt, and leave a forked child behind that keeps the lock."""
    if claim.attempt > 1:
        return
    if os.fork() == 0:
        if options.get("escape"):
            os.setsid()
        (claim.paths.directory / "child.pid").write_text(str(os.getpid()))
        time.sleep(_PATIENCE_S)
        os._exit(0)
    while not (claim.paths.directory / "child.pid").exists():
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGKILL)


def _parent(claim: Claim, options: Mapping[str, Any]) -> None:
    """Have two children, one in a session of its own, and wait."""
    for number in range(2):
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if number:
                os.setsid()
            (claim.paths.directory / f"child{number}.pid").write_text(str(os.getpid()))
            time.sleep(_PATIENCE_S)
            os._exit(0)
    _work(claim, options)


_BEHAVIOURS: Mapping[str, Callable[[Claim, Mapping[str, Any]], None]] = {
    "work": _work,
    "die": _die,
    "fail": _fail,
    "lose GPU": _lose_gpu,
    "leave child": _leave_child,
    "parent": _parent,
}


def _stop(paths: RunPaths, claim: Claim, options: Mapping[str, Any]) -> None:
    if options.get("stubborn"):
        return
    _note(paths, claim, "end")
    claim.finish(RunOutcome.INTERRUPTED, "asked to stop")
    sys.exit(0)


def _note(paths: RunPaths, claim: Claim, event: str, **facts: Any) -> None:
    if event == "begin" and not _options(paths).get("early"):
        with paths.metrics.open("a") as file:
            file.write('{"event": "train", "update": 1}\n')
    me = ProcessIdentity.current()
    row = {"event": event, "attempt": claim.attempt, "pid": me.pid, "ticks": me.start_ticks} | facts
    with (paths.directory / EXECUTIONS).open("a") as file:
        file.write(json.dumps(row) + "\n")


def _validate(paths: RunPaths, accuracy: float) -> None:
    """Write the row of an evaluation of the images held out."""
    row = {"event": "evaluation", "update": 1, "split": "validation", "accuracy": accuracy, "loss": 1.0}
    with paths.metrics.open("a") as file:
        file.write(json.dumps(row) + "\n")


def _others_alive(paths: RunPaths) -> bool:
    """Whether a process that began this run earlier and noted no end is still there."""
    try:
        rows = [json.loads(line) for line in (paths.directory / EXECUTIONS).read_text().splitlines()]
    except FileNotFoundError:
        return False
    ended = {row["pid"] for row in rows if row["event"] == "end"}
    boot = ProcessIdentity.current().boot_id
    return any(
        ProcessIdentity(row["pid"], row["ticks"], boot).is_alive() for row in rows if row["pid"] not in ended
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
