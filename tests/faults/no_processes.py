"""A machine that has no more processes for workers, for as long as the file `no-processes` is there.

`... no_processes MODULE ARGUMENTS` runs a scheduler that cannot start one; a preloader that imports this
module cannot fork one. Pauses after such starts are short.
"""

from __future__ import annotations

import errno
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

from tui_datasize.jobs.scheduler import pause

MARK = "no-processes"
"""In the project directory, where schedulers and preloaders work."""
_fork = os.fork


class ScarcePopen(subprocess.Popen[bytes]):
    """A `Popen` that may fail as under `ulimit -u`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        _look()
        super().__init__(*arguments, **options)


def _look() -> None:
    if Path(MARK).exists():
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _scarce_fork() -> int:
    _look()
    return _fork()


def main() -> None:
    subprocess.Popen = ScarcePopen  # type: ignore[misc]
    pause._LONGEST_S = 0.05
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
else:
    os.fork = _scarce_fork
