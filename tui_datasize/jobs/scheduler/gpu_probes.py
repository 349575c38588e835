"""Whether GPUs work: one takes runs once a short process has computed on it.

A probe is forked from the preloader, as a worker is, and holds every slot of its GPU meanwhile, so that no
run of any project of this user is on it. It ends by itself after 15 s, whatever becomes of the scheduler.
What it says of a GPU that cannot be used is a standing fault of the GPU and no run's; it is tried again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tui_datasize.jobs.queue.faults import FaultKind
from tui_datasize.jobs.queue.known_gpus import software
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.devices import VISIBLE_VARIABLE, DeviceReport, Gpu
from tui_datasize.jobs.workers.preloader import TAG_LENGTH, function_named
from tui_datasize.jobs.workers.process import describe_status
from tui_datasize.jobs.workers.spawn import ONE_THREAD, SpawnRequest, Worker
from tui_datasize.jobs.workers.warm import Spawner
from tui_datasize.programs import python_module
from tui_datasize.runlog.claim import TAG_VARIABLE
from tui_datasize.runlog.identity import boot_id

PROBE_CALL = "tui_datasize.training.accelerator.probe:main"
"""Computes on the GPU that `CUDA_VISIBLE_DEVICES` names, and says in a line of JSON what is wrong with it."""
_MODULE = "tui_datasize.jobs.scheduler.gpu_probes"
"""This one, whose `main` is the process of a probe."""
LIMIT_S = 15
"""Seconds that it may compute."""
_PATIENCE_S = 60.0
"""Seconds after which a probe that not even its alarm has ended is given up; cold, it imports torch first."""
_FIRST_S = 10.0
_LONGEST_S = 300.0
"""Pause before a GPU is tried again: it doubles from the first to the longest."""
_CALM_S = 600.0
"""A GPU that has worked for so long begins with the first pause again."""
_NO_ANSWER = "its driver does not answer; restart the machine"
_MOST_OUTPUT_BYTES = 1 << 16


@dataclass(slots=True)
class _Probe:
    """One probe that is under way."""

    worker: Worker
    output: int
    """A file in memory that has what it said."""
    gpu: Gpu
    since_s: float
    is_overdue: bool = False


@dataclass(slots=True)
class _Pause:
    """How long a GPU that did not work is left alone."""

    length_s: float
    until_s: float


class GpuProbes:
    """Has each GPU tried before it takes runs, and again after it has failed.

    That a GPU works is kept for as long as the driver, torch and the boot are the same. `call` is the
    `MODULE:FUNCTION` that computes on the GPU.
    """

    def __init__(self, store: Store, spawner: Spawner, call: str = PROBE_CALL) -> None:
        self._store = store
        self._spawner = spawner
        self._call = call
        self._found_with = dict(store.known_gpus.proven())
        """By UUID, the circumstances in which a GPU was found to work."""
        self._report = DeviceReport((), 0, "")
        self._circumstances = ""
        self._running: dict[str, _Probe] = {}
        self._pauses: dict[str, _Pause] = {}
        self._worked_since_s: dict[str, float] = {}
        self._forgettings = store.known_gpus.forgettings()

    def look(self, report: DeviceReport) -> bool:
        """Take in what the probes have found, and return whether any has ended."""
        if report is not self._report:
            self._report = report
            used_with = software(report.driver_version)
            self._circumstances = used_with and f"{used_with} {boot_id()}"
            self._forget_absent()
        # Once somebody had the queue forget all GPUs, nothing is known of any.
        forgettings = self._store.known_gpus.forgettings()
        if forgettings != self._forgettings:
            self._forgettings = forgettings
            for known in (self._found_with, self._pauses, self._worked_since_s):
                known.clear()
        ended = [device for device, probe in self._running.items() if self._settle(device, probe)]
        for device in ended:
            os.close(self._running.pop(device).output)
        return bool(ended)

    def is_proven(self, device: str) -> bool:
        is_known = self._found_with.get(device, "") == self._circumstances != ""
        return is_known and not self._is_at_fault(device)

    def is_due(self, device: str) -> bool:
        """Whether a GPU is to be tried now, or as soon as no run is on it."""
        if device in self._running or self.is_proven(device):
            return False
        pause = self._pauses.get(device)
        return pause is None or time.monotonic() >= pause.until_s

    def may_begin(self, device: str, *, is_in_use: bool) -> bool:
        """Whether a GPU takes runs: it was found to work, or is in use and nothing speaks against it."""
        return self.is_proven(device) or (is_in_use and not self._is_at_fault(device))

    def start(self, gpu: Gpu, slots: Sequence[int]) -> Worker:
        """Try a GPU; `slots` are descriptors of all that it has."""
        output = os.memfd_create("probe", os.MFD_CLOEXEC)
        try:
            worker = self._spawner.start(_request(self._call, gpu.uuid, slots, output))
        except BaseException:
            os.close(output)
            raise
        self._running[gpu.uuid] = _Probe(worker, output, gpu, time.monotonic())
        return worker

    def set_aside(self, device: str, why: str) -> None:
        """Note that a run could not use its GPU: it takes none until a probe finds that it works."""
        title = next((gpu.title for gpu in self._report.gpus if gpu.uuid == device), f"GPU {device}")
        self._fail(device, title, why)

    def close(self) -> None:
        """Wait for no probe any more; those that are under way end by themselves."""
        for probe in self._running.values():
            os.close(probe.output)
        self._running.clear()

    def _is_at_fault(self, device: str) -> bool:
        return self._store.faults.stands(FaultKind.GPU, device)

    def _settle(self, device: str, probe: _Probe) -> bool:
        """Take in what a probe has found, and end one that does not answer; whether it has ended."""
        worker = probe.worker
        if not worker.is_gone:
            if not probe.is_overdue and time.monotonic() >= probe.since_s + _PATIENCE_S:
                # It has the slots until it is gone, so that nothing else is started there.
                probe.is_overdue = True
                if worker.process and worker.process.is_alive():
                    os.kill(worker.process.pid, signal.SIGKILL)
                self._fail(device, probe.gpu.title, _NO_ANSWER)
            return False
        if worker.status is None:
            # Nobody knows: it was not started, or its preloader ended.
            before = self._pauses.get(device, _Pause(0.0, 0.0))
            self._pauses[device] = replace(before, until_s=time.monotonic() + _FIRST_S)
        elif not probe.is_overdue:
            if why := verdict(worker.status, _read(probe.output)):
                self._fail(device, probe.gpu.title, why)
            else:
                self._worked_since_s[device] = time.monotonic()
                self._note(device, self._circumstances)
                self._store.faults.clear(FaultKind.GPU, device)
        return True

    def _fail(self, device: str, title: str, why: str) -> None:
        worked_since_s = self._worked_since_s.pop(device, time.monotonic())
        was_calm = time.monotonic() - worked_since_s > _CALM_S
        before = self._pauses.get(device)
        doubled_s = 0.0 if before is None or was_calm else min(2 * before.length_s, _LONGEST_S)
        length_s = max(_FIRST_S, doubled_s)
        self._pauses[device] = _Pause(length_s, time.monotonic() + length_s)
        sentence = f"{title} takes no jobs: {why}; it is tried again automatically"
        self._store.faults.report(FaultKind.GPU, device, sentence)
        self._note(device, "")

    def _note(self, device: str, circumstances: str) -> None:
        if self._found_with.get(device, "") != circumstances:
            self._found_with[device] = circumstances
            with self._store.transaction():
                self._store.known_gpus.note_proven(device, circumstances)

    def _forget_absent(self) -> None:
        """Have GPUs tried again that were at fault or gone; one that is not there has no fault."""
        if not self._report.driver_version:
            return
        sound = {gpu.uuid for gpu in self._report.gpus if not gpu.fault}
        for device in self._found_with.keys() - sound:
            self._note(device, "")
        if not self._report.problem:
            for device in self._store.faults.subjects(FaultKind.GPU) - sound:
                self._store.faults.clear(FaultKind.GPU, device)


def probe_now(device: str, slots: Sequence[int], call: str = PROBE_CALL) -> str:
    """Try a GPU and wait for it: why it cannot be used, empty where it can.

    It is named by UUID; `slots` are descriptors of all that it has; `call` is as for `GpuProbes`.
    """
    # Not a pipe: what does not end keeps it open.
    output = os.memfd_create("probe", os.MFD_CLOEXEC)
    try:
        child = subprocess.Popen(
            [*python_module(_MODULE), call],
            env=os.environ | side_environment(device),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=slots,
            start_new_session=True,
        )
        try:
            status = child.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            return _NO_ANSWER
        return verdict(status, _read(output))
    finally:
        os.close(output)


def verdict(status: int, output: str) -> str:
    r"""Why a GPU cannot be used, from how its probe ended and what that said; empty where it can.

    >>> verdict(0, '{"usable": true}')
    ''
    >>> verdict(1, 'a warning\n{"usable": false, "what": "the driver is too old", "fix": "update it"}\n')
    'the driver is too old; update it'
    >>> verdict(-14, "")
    'a convolution did not end within 15 s'
    >>> verdict(1, "Traceback:\nModuleNotFoundError: No module named 'torch'\n")
    "its probe ended with status 1: ModuleNotFoundError: No module named 'torch'"
    """
    if status == 0:
        return ""
    if status == -signal.SIGALRM:
        return f"a convolution did not end within {LIMIT_S} s"
    lines = [line for line in output.splitlines() if line.strip()]
    for line in reversed(lines):
        with suppress(ValueError, KeyError, TypeError):
            told = json.loads(line)
            return "; ".join(" ".join(str(told[key]).split()) for key in ("what", "fix") if told[key])
    ending = f"its probe {'was ' if status < 0 else ''}{describe_status(status)}"
    return f"{ending}: {' '.join(lines[-1].split())}" if lines else ending


def main(argv: Sequence[str]) -> int:
    """Compute on the GPU, as the process of a probe; what computes is named by the only argument."""
    compute = function_named(argv[0])
    # Its default ends the process even where the driver does not return.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(LIMIT_S)
    return compute([])


def _request(call: str, device: str, slots: Sequence[int], output: int) -> SpawnRequest:
    return SpawnRequest(
        *((), side_environment(device), uuid.uuid4().hex, tuple(slots), Path("/")),
        module=_MODULE,
        words=(call,),
        output=Path(f"/proc/{os.getpid()}/fd/{output}"),
    )


def side_environment(device: str) -> dict[str, str]:
    """What a process that executes no run has beyond the scheduler's environment; no `device` but the CPU."""
    # The tag of a preloader, so that nobody takes it for a worker that was left over.
    return {**ONE_THREAD, VISIBLE_VARIABLE: device, TAG_VARIABLE: "0" * TAG_LENGTH}


def _read(output: int) -> str:
    return os.pread(output, _MOST_OUTPUT_BYTES, 0).decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
