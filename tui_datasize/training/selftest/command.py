"""The command: makes the steps one after the other, prints a line for each and what may be relied on."""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import signal
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TextIO

from tui_datasize.errors import EXIT_OK, EXIT_RUN_FAILED, ConfigError, DatasizeError
from tui_datasize.runlog.outputs import refuse_output, write_output
from tui_datasize.text import visible
from tui_datasize.training.selftest.catalogue import DEVICE_VARIABLE, FIRST, STEPS, Step
from tui_datasize.training.selftest.record import NAME, SelftestRecord, TestedMachine
from tui_datasize.training.selftest.runner import NOT_ON_A_CPU, StepHost, StepResult, run_step

EXIT_INTERRUPTED = 130

_FIRST_GPU = "0"
_TRACES = ("/dev/nvidia0", "/dev/dxg", "/proc/driver/nvidia/version")
_SUFFIXES = (".json",)
_MOST_PATIENCE = 20
_NARROWEST = 40


def add_arguments(parser: argparse._ActionsContainer) -> None:
    """The options of the command, for whichever parser they belong to."""
    parser.add_argument(
        "steps", nargs="*", metavar="STEP", help="which steps to make, beside the probe (default: all)"
    )
    parser.add_argument("--list", action="store_true", help="list the steps and make none")
    parser.add_argument(
        "--cpu", action="store_true", help="test the CPU, though there is a GPU (default: the first GPU)"
    )
    parser.add_argument(
        "--patience",
        type=_patience,
        default=1.0,
        metavar="N",
        help="multiply the time limits of all steps, on a machine that is busy (default: 1)",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=f"also write {NAME} there")
    parser.add_argument("--force", action="store_true", help="replace that file whatever its suffix is")
    parser.add_argument("--json", action="store_true", help="print the whole record as JSON, talk on stderr")


def main(argv: Sequence[str]) -> int:
    """Make a selftest without the rest of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tui_datasize.training.selftest",
        description="check in at most 12 minutes that this machine computes correctly",
        allow_abbrev=False,
    )
    add_arguments(parser)
    try:
        return make_selftest(parser.parse_args(argv))
    except DatasizeError as error:
        print(error.line, file=sys.stderr)
        return error.exit_status
    except OSError as error:
        print(visible(f"{error.filename}: {error.strerror}"), file=sys.stderr)
        return EXIT_RUN_FAILED


def make_selftest(arguments: argparse.Namespace) -> int:
    """Make the steps asked for.

    Returns:
        Exit status: 0 nothing is wrong, 1 something is, 130 interrupted.

    Raises ConfigError: there is no such step, or an option is wrong.
    Raises StorageError: the file that is to be written must not be replaced.
    """
    if arguments.list:
        for step in STEPS.values():
            print(f"{step.name:12} {step.what}{'' if step.on_cpu else ' (GPU)'}")
        return EXIT_OK
    unknown = [name for name in arguments.steps if name not in STEPS]
    if unknown:
        raise ConfigError(f"{unknown[0]}: no such step; expected some of {', '.join(STEPS)}")
    if arguments.output:
        refuse_output(arguments.output, suffixes=_SUFFIXES, force=arguments.force)
    screen = _Screen(sys.stderr if arguments.json else sys.stdout)
    try:
        with _interruptible():
            return _make(arguments, screen)
    except KeyboardInterrupt:
        screen.end()
        print("interrupted; what was done by then is kept", file=sys.stderr)
        return EXIT_INTERRUPTED


def _patience(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 1 <= number <= _MOST_PATIENCE:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to {_MOST_PATIENCE}, got {text}")
    return number


def _make(arguments: argparse.Namespace, screen: _Screen) -> int:
    environment = dict(os.environ) | {DEVICE_VARIABLE: _device_to_test(cpu=arguments.cpu)}
    with tempfile.TemporaryDirectory(prefix="datasize-selftest-") as scratch, closing(StepHost()) as host:
        environment["TMPDIR"] = scratch
        run = partial(_step, host=host, folder=Path(scratch), screen=screen, patience=arguments.patience)
        first = run(STEPS[FIRST], environment)
        machine = TestedMachine.of(first.figures)
        record, file = _open_record(machine)
        results = {FIRST: first}
        record.add(first, summary(results))
        if first.verdict == "ok" and environment[DEVICE_VARIABLE] == _FIRST_GPU:
            # By its own name, as workers get it, whatever the order of GPUs is elsewhere.
            environment[DEVICE_VARIABLE] = machine.device_uuid
        for name, step in STEPS.items():
            if name == FIRST or (arguments.steps and name not in arguments.steps):
                continue
            why_not = _why_not(step, first, is_gpu=bool(machine.device_uuid))
            if why_not:
                result = StepResult(name, "left out", why_not)
                screen.show(result)
            else:
                result = run(step, environment)
            results[name] = result
            record.add(result, summary(results))
    screen.conclude(summary(results), file)
    text = json.dumps(record.document, indent=2, ensure_ascii=False)
    if arguments.output:
        write_output(arguments.output, f"{text}\n".encode(), suffixes=_SUFFIXES, force=arguments.force)
    if arguments.json:
        print(text)
    is_wrong = any(result.verdict == "fail" for result in results.values())
    return EXIT_RUN_FAILED if is_wrong else EXIT_OK


def _open_record(machine: TestedMachine) -> tuple[SelftestRecord, Path]:
    """In the user's state directory, or where that cannot be written in the current one."""
    for file in (machine.folder / NAME, Path.cwd() / NAME):
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            if os.access(file.parent, os.W_OK):
                return SelftestRecord(machine, file), file
    file = Path(tempfile.mkdtemp(prefix="datasize-selftest-")) / NAME
    return SelftestRecord(machine, file), file


def _step(
    step: Step,
    environment: Mapping[str, str],
    *,
    host: StepHost,
    folder: Path,
    screen: _Screen,
    patience: float,
) -> StepResult:
    screen.begin(step, patience * step.limit_s)
    result = run_step(step, environment, host, folder, patience)
    screen.show(result)
    return result


def _why_not(step: Step, first: StepResult, *, is_gpu: bool) -> str:
    if first.verdict != "ok":
        return "the device cannot be used"
    if not is_gpu and not step.on_cpu:
        return NOT_ON_A_CPU
    if step.missing:
        return f"needs {', '.join(step.missing)}, not installed here"
    return ""


def _device_to_test(*, cpu: bool) -> str:
    """What `CUDA_VISIBLE_DEVICES` has to be: a machine with any trace of a GPU is tested on it."""
    given = os.environ.get(DEVICE_VARIABLE)
    if cpu:
        return ""
    if given is not None:
        return given
    return _FIRST_GPU if any(Path(trace).exists() for trace in _TRACES) else ""


@contextmanager
def _interruptible() -> Iterator[None]:
    """Have requests to end leave by way of what ends the step's processes."""

    def leave(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Screen:
    """Lines on a stream, as wide as its terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._is_open = False
        self._began_s = time.monotonic()

    def begin(self, step: Step, limit_s: float) -> None:
        """Say what is being done, where that can be taken back."""
        if self._is_terminal:
            self._write(f"...   {step.name:10}  at most {limit_s:.0f} s")
            self._is_open = True

    def end(self) -> None:
        if self._is_open:
            self._write("\r\x1b[2K")
            self._is_open = False

    def show(self, result: StepResult) -> None:
        self.end()
        mark = {"ok": "ok", "fail": "FAIL", "left out": "-"}[result.verdict]
        took = f"{result.took_s:.0f} s" if result.took_s else ""
        self._paragraph(f"{mark:4}  {result.name:10} {took:>5} ", visible(result.told))

    def conclude(self, sentences: Sequence[str], file: Path) -> None:
        self._write("\n")
        for sentence in sentences:
            self._paragraph("", sentence)
        took_s = time.monotonic() - self._began_s
        self._write(f"{took_s / 60:.1f} min; for a report of a fault attach\n{visible(str(file))}\n")

    def _paragraph(self, head: str, text: str) -> None:
        # What is no terminal gets each line whole.
        width = max(_NARROWEST, shutil.get_terminal_size().columns) if self._is_terminal else 100_000
        lines = textwrap.wrap(
            head + text,
            width,
            subsequent_indent=" " * len(head),
            drop_whitespace=True,
            break_on_hyphens=False,
            replace_whitespace=False,
        )
        self._write("\n".join(lines) + "\n")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def summary(results: Mapping[str, StepResult]) -> list[str]:
    """What they come to: first what holds, then what is not known and why."""
    made = [result for result in results.values() if result.verdict != "left out"]
    told = "; ".join(words for name in _TOLD for r in made if r.name == name for words in _words(r))
    unknown: dict[str, list[str]] = {}
    for result in results.values():
        if result.verdict == "left out":
            unknown.setdefault(result.told, []).append(result.name)
    return [told, *(f"not tested, {why}: {', '.join(names)}" for why, names in unknown.items())]


def _words(result: StepResult) -> Iterator[str]:
    told = _TOLD[result.name]
    if callable(told):
        yield from told(result)
    else:
        what, detail = told
        yield f"{what}: yes{detail}" if result.verdict == "ok" else f"{what}: NO"


def _speeds(result: StepResult) -> Iterator[str]:
    figures = result.figures
    if gain := figures.get("pack_gain"):
        yield f"packs: {gain:.1f}x ({figures.get('pack_width')} runs, {figures.get('pack_way')})"
    if start_s := figures.get("process_start_s"):
        yield f"process start: {start_s:.1f} s"
    if fork_s := figures.get("fork_to_first_update_s"):
        yield f"forked: {fork_s:.1f} s"
    if result.verdict == "fail":
        yield "speed: NOT measured to its end"


def _images(result: StepResult) -> Iterator[str]:
    if rate := result.figures.get("mapped_images_per_s"):
        yield f"images from disk: {rate:,.0f}/s"
    if result.verdict == "fail":
        yield "images from disk and in memory alike: NO"


_TOLD: Mapping[str, tuple[str, str] | Callable[[StepResult], Iterator[str]]] = {
    "probe": ("the device computes", ""),
    "kernels": ("results are right", " (within rounding, against float64)"),
    "bits": ("bits repeat", ""),
    "recording": ("updates are recorded", ""),
    "packs": ("fused packs agree", ""),
    "memory": ("memory that runs out is survived", ""),
    "placement": _images,
    "speed": _speeds,
    "faults": ("no run drifts to the CPU", ""),
    "end-to-end": ("the queue works", ""),
    "tests": ("tests of the GPU pass", ""),
}
"""Of each step what it tells, yes or no, and what is added to a yes; or what says it."""
