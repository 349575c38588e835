"""The process that steps are forked from: `python -m tui_datasize.training.selftest.child`.

It has imported what they all need and has touched no device, as the process that workers are forked from.
Each line on its input asks for a step: JSON with `arguments` (name, file, seconds), `environment` and `log`.
It answers with a line `begun NUMBER`, of the step's process, and a line `ended STATUS`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tui_datasize.errors import EXIT_OK, EXIT_RUN_FAILED, DatasizeError
from tui_datasize.training.selftest.catalogue import BEGUN, ENDED, STEPS
from tui_datasize.training.selftest.record import Findings, NotHere

if TYPE_CHECKING:
    from tui_datasize.training.selftest.subject import Subject

Make: TypeAlias = "Callable[[Subject, Findings], None]"

_LONGEST = 300
_GRACE_S = 15
"""Beyond the limit of its step, for a process whose parent is gone."""


def serve_steps(make: Callable[[Sequence[str]], int], prepare: Callable[[], object] = lambda: None) -> None:
    """Prepare, then fork a process for each step that the input asks for, until it ends."""
    answers = os.dup(1)
    # Whatever a library prints is no answer.
    os.dup2(2, 1)
    prepare()
    for line in sys.stdin:
        asked = json.loads(line)
        _answer(answers, ENDED, in_fork(partial(_make_as_asked, make, asked, answers)))


def in_fork(work: Callable[[], int]) -> int:
    """Work in a process that is forked off; how it ended, as `subprocess` tells it."""
    child = os.fork()
    if child == 0:
        status = EXIT_RUN_FAILED
        try:
            status = work()
            sys.stdout.flush()
        except BaseException as error:
            traceback.print_exception(error)
        finally:
            # Nothing of what the parent has still to do is done twice.
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def make_step(arguments: Sequence[str]) -> int:
    """Make a step and write what it finds; whatever goes wrong stands in its file, too."""
    name, file, limit_s = arguments
    signal.alarm(int(limit_s) + _GRACE_S)
    findings = Findings(Path(file))
    try:
        from tui_datasize.training.selftest.subject import Subject

        module, function = STEPS[name].entry.split(":")
        make: Make = getattr(import_module(f"tui_datasize.training.selftest.{module}"), function)
        make(Subject.chosen(), findings)
    except NotHere as reason:
        findings.say(str(reason), "not_here")
    except DatasizeError as error:
        findings.say(error.line, "error")
    except Exception as error:
        traceback.print_exception(error)
        findings.say(f"{type(error).__name__}: {' '.join(str(error).split())[:_LONGEST]}", "error")
    return EXIT_OK


def _make_as_asked(make: Callable[[Sequence[str]], int], asked: Mapping[str, Any], answers: int) -> int:
    """Make a step with a group, an environment and a log of its own."""
    os.setsid()
    _answer(answers, BEGUN, os.getpid())
    os.close(answers)
    os.environ.clear()
    os.environ.update(asked["environment"])
    log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    return make(asked["arguments"])


def _answer(answers: int, word: str, number: int) -> None:
    os.write(answers, f"{word} {number}\n".encode())


def _import() -> None:
    try:
        import_module("tui_datasize.training.selftest.subject")
    except Exception as error:
        # Each step tells it in its own file.
        traceback.print_exception(error)


if __name__ == "__main__":
    serve_steps(make_step, _import)
