"""What one round of faults is to be, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

DISK = "disk"


@dataclass(frozen=True, slots=True)
class Plan:
    """One bounded round of faults."""

    seed: int
    jobs: int = 300
    limit_s: float = 20.0
    """Seconds after which the faults end, however many jobs are left; longer on a busy machine, up to twice
    as long where hardly a worker has come late, a minute longer where some kind of process was not killed."""
    mutant: str = ""
    """What is broken on purpose, one of `MUTANTS`; empty for nothing."""
    app: bool = False
    """Whether one of the clients is the app, whose keys are pressed at random."""
    packs: Literal["off", "always", "mixed"] = "off"
    """Which schedulers let runs share workers: none, all, or the first and most of the later ones."""
    disk: bool = False
    """Whether the disk of the projects is full or read-only at times; `DISK` in the round's
    directory is that disk."""
    late: int = 3
    """Late workers that are waited for beyond its time: a busy machine may have done little until then."""
    probes: bool = True
    """Whether each command is asked for once more when all is quiet."""


@dataclass(slots=True)
class Report:
    """What happened, and what should not have."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    pauses: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    """Faults of the machine."""
    cuts: int = 0
    """Power cuts."""
    duration_s: float = 0.0
    states: Mapping[str, int] = field(default_factory=dict)
    commands: int = 0
    executions: int = 0
    packs: int = 0
    """Workers that were started for several runs."""
    taken_back: int = 0
    """Starts that one scheduler committed and its successor took back, since no worker was to be seen."""
    late: int = 0
    """Times that workers came, or were to come, after that."""
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        killed = ", ".join(f"{count} {kind}s" for kind, count in sorted(self.kills.items()))
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()))
        return (
            f"seed {self.seed}: {self.duration_s:.0f} s, killed {killed or 'nothing'}, "
            f"stopped {self.pauses.total()} for a while, {self.cuts} power cuts, "
            f"{self.troubles.total()} faults of the machine; {self.commands} acknowledged commands, "
            f"{self.executions} executions, {self.packs} packs, "
            f"{self.taken_back} starts taken back, late workers {self.late} times; "
            f"{states}; {len(self.violations)} violations"
        )
