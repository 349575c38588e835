"""What steps find, each in its file at once; one `selftest.json` for each GPU, driver and torch."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from tui_datasize import __version__
from tui_datasize.files import read_object
from tui_datasize.programs import installed_version
from tui_datasize.runlog.atomic import write_json
from tui_datasize.training.selftest.catalogue import STEPS
from tui_datasize.training.selftest.runner import StepResult

FORMAT = 1
NAME = "selftest.json"
_LONGEST_FILE = 4 << 20


@dataclass(frozen=True, slots=True)
class TestedMachine:
    """What the results of a selftest depend on."""

    device_name: str
    device_uuid: str
    """Empty for a CPU."""
    driver: str
    """Of the GPU; empty for a CPU."""
    torch: str
    """Version of the installed package."""
    package: str = __version__

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> TestedMachine:
        """As the first step tells it; the words "unknown" where it does not."""
        name, uuid, driver = (
            str(facts.get(key, "unknown")) for key in ("device_name", "device_uuid", "driver")
        )
        return cls(name, uuid, driver, installed_version("torch"))

    @property
    def folder(self) -> Path:
        """Where its file is kept."""
        key = json.dumps([self.device_uuid, self.device_name, self.driver, self.torch, self.package])
        name = re.sub(r"[^a-z0-9]+", "-", self.device_name.lower()).strip("-")[:40]
        return folder() / f"{name}-{hashlib.blake2b(key.encode(), digest_size=4).hexdigest()}"


def folder() -> Path:
    """All selftests of this user: below `XDG_STATE_HOME`, else `~/.local/state`, as platformdirs has it."""
    given = os.environ.get("XDG_STATE_HOME", "")
    state = Path(given) if given.strip() else Path.home() / ".local" / "state"
    return state / "datasize-tui" / "selftest"


class SelftestRecord:
    """The document of a selftest, whole on the disk after each step.

    Steps of an earlier selftest of the same machine stay until they are made again.
    """

    def __init__(self, machine: TestedMachine, file: Path) -> None:
        self._file = file
        earlier = read(file)
        self.document: dict[str, Any] = {
            "format": FORMAT,
            "machine": asdict(machine),
            "summary": [],
            "steps": {},
        }
        if earlier and earlier["machine"] == self.document["machine"]:
            self.document["steps"] = earlier["steps"]

    def add(self, result: StepResult, summary: Sequence[str] = ()) -> None:
        """Take in a step and what the steps so far come to, and write.

        Raises OSError: the file cannot be written.
        """
        made = self.document["steps"] | {result.name: result.to_dict()}
        self.document["steps"] = {name: made[name] for name in STEPS if name in made}
        self.document["summary"] = list(summary)
        write_json(self._file, self.document)


def read(file: Path) -> dict[str, Any] | None:
    """A document as it was written; None where there is none, or none that makes sense."""
    try:
        document = read_object(file, _LONGEST_FILE)
        if document["format"] != FORMAT or not isinstance(document["machine"], dict):
            return None
        steps = {str(name): dict(step) for name, step in document["steps"].items() if name in STEPS}
        if any(not {"verdict", "at", "told"} <= step.keys() for step in steps.values()):
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return document | {"steps": steps}


def last_of(device_uuid: str, driver: str) -> tuple[Path, dict[str, Any]] | None:
    """The newest selftest of this GPU, driver, torch and package; None where there is none.

    GPU and driver are empty for the CPU.
    """
    wanted = {
        "device_uuid": device_uuid,
        "driver": driver,
        "torch": installed_version("torch"),
        "package": __version__,
    }
    found = [
        (max(str(step["at"]) for step in document["steps"].values()), file, document)
        for file in sorted(folder().glob(f"*/{NAME}"))
        if (document := read(file)) is not None
        and document["steps"]
        and all(document["machine"].get(key) == value for key, value in wanted.items())
    ]
    return max(found, key=lambda one: one[0])[1:] if found else None


Figure: TypeAlias = "bool | int | float | str | list[Any] | dict[str, Any] | None"


class NotHere(Exception):  # noqa: N818 - an answer, no mistake
    """A step has nothing to say of this machine; its text is why."""


class Findings:
    """Checks that hold or do not, and figures, in a file that is written each time one is added."""

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

    def say(self, words: str, what: Literal["said", "error", "not_here"] = "said") -> None:
        """The line of a step in which all is good, which failed, or which has nothing to say here."""
        self._said[what] = words
        self._write()

    def _write(self) -> None:
        write_json(self._file, {"checks": self._checks, "figures": self._figures, **self._said})


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        # Four digits tell all that a measurement can.
        return float(f"{value:.4g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
