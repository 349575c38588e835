"""What `doctor` finds, of this machine and of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: `fail` would stop a run, `warn` may surprise later."""

    name: str
    verdict: Verdict
    text: str
