"""What a step finds, written to its file at once: a step that is ended leaves what it had."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, TypeAlias

from tui_datasize.runlog.atomic import write_json

Figure: TypeAlias = "bool | int | float | str | list[Any] | dict[str, Any] | None"


class NotHere(Exception):  # noqa: N818 - an answer, no mistake
    """A step has nothing to say of this machine; its text is why."""


class Findings:
    """Checks that hold or do not, and figures.

    Args:
        file: Where they are written, each time one is added.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._checks: list[dict[str, Any]] = []
        self._figures: dict[str, Any] = {}
        self._said: dict[str, str] = {}
        self._write()

    def check(self, name: str, good: bool, told: str = "") -> None:
        """Add a check: what should hold, whether it does, and if not what is instead."""
        self._checks.append({"name": name, "good": bool(good), "told": "" if good else told})
        self._write()

    def figure(self, name: str, value: Figure) -> None:
        """Add a figure, or replace it; numbers that are none become null."""
        self._figures[name] = _plain(value)
        self._write()

    def say(self, words: str) -> None:
        """The line of a step in which all is good."""
        self._said["said"] = words
        self._write()

    def fail(self, why: str) -> None:
        """The step could not be made to its end."""
        self._said["error"] = why
        self._write()

    def leave_out(self, why: str) -> None:
        """The step has nothing to say here."""
        self._said["not_here"] = why
        self._write()

    def _write(self) -> None:
        write_json(self._file, {"checks": self._checks, "figures": self._figures, **self._said})


def _plain(value: Any) -> Any:
    """The same for JSON."""
    if isinstance(value, float):
        # Four digits tell all that a measurement can.
        return float(f"{value:.4g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
