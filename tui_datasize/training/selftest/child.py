"""The process of one step: `python -m tui_datasize.training.selftest.child STEP FILE SECONDS`."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from tui_datasize.errors import EXIT_OK, DatasizeError
from tui_datasize.training.selftest.catalogue import STEPS
from tui_datasize.training.selftest.findings import Findings, NotHere

if TYPE_CHECKING:
    from tui_datasize.training.selftest.subject import Subject

Make: TypeAlias = "Callable[[Subject, Findings], None]"

_LONGEST = 300
_GRACE_S = 15
"""Beyond the limit of its step, for a process whose parent is gone."""


def main(argv: Sequence[str]) -> int:
    """Make a step and write what it finds; whatever goes wrong stands in its file, too."""
    name, file, limit_s = argv
    signal.alarm(int(limit_s) + _GRACE_S)
    findings = Findings(Path(file))
    try:
        from tui_datasize.training.selftest.subject import Subject

        make: Make = import_module(f"tui_datasize.training.selftest.{STEPS[name].entry}").run
        make(Subject.chosen(), findings)
    except NotHere as reason:
        findings.leave_out(str(reason))
    except DatasizeError as error:
        findings.fail(error.line)
    except Exception as error:
        traceback.print_exception(error)
        findings.fail(f"{type(error).__name__}: {' '.join(str(error).split())[:_LONGEST]}")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
