"""The end of a log file as lines that are safe to draw."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tui_datasize.files import read_end
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.text import visible

SHORT_BYTES = 4096
LONG_BYTES = 262_144
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-_]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class LogTail:
    """The end of a run's log."""

    run_id: str
    name: str
    """Which of its files: `stdout.log` or `stderr.log`; empty where neither has a line."""
    lines: tuple[str, ...]


def read_tail(path: Path, limit_bytes: int) -> tuple[str, ...]:
    """Last lines of a text file, at most `limit_bytes` of it; empty where there is no file.

    Terminal escapes are removed, what else would act is written out, and of a line that was rewritten by
    carriage returns the last state is kept, as a terminal would show it.
    """
    try:
        data, is_cut = read_end(path, limit_bytes)
    except OSError:
        return ()
    lines = data.decode("utf-8", errors="replace").split("\n")
    return tuple(filter(None, map(_clean, lines[1:] if is_cut else lines)))


def _clean(line: str) -> str:
    shown = line.rstrip("\r").rsplit("\r", 1)[-1]
    return visible(_CONTROLS.sub("", _ESCAPES.sub("", shown)).expandtabs(4).rstrip())


def run_log_tail(paths: RunPaths, *, prefer_errors: bool, limit_bytes: int = SHORT_BYTES) -> LogTail:
    """The end of a run's log: standard output, or standard error where that is asked for and not empty.

    In a worker of several runs each line begins with whose it is, which is left out of the run's own.
    """
    for path in (paths.stderr, paths.stdout) if prefer_errors else (paths.stdout, paths.stderr):
        if lines := read_tail(path, limit_bytes):
            own = tuple(line.removeprefix(f"{paths.run_id}: ") for line in lines)
            return LogTail(paths.run_id, path.name, own)
    return LogTail(paths.run_id, "", ())
