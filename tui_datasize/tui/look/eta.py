"""How long the rest will take, learned from what has been executed. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

Kind: TypeAlias = tuple[str, str, int]
"""What decides the seconds of an update: data set, model with its options, batch size."""


@dataclass(frozen=True, slots=True)
class Work:
    """One run's share of the work."""

    kind: Kind
    updates: int
    """Updates made."""
    total_updates: int
    wall_s: float
    """Seconds spent on the updates made."""

    @property
    def remaining_updates(self) -> int:
        """Updates still to make, at least 0."""
        return max(0, self.total_updates - self.updates)


def seconds_per_update(executed: Iterable[Work]) -> dict[Kind, float]:
    """Mean seconds per update of each kind, over all updates made.

    >>> seconds_per_update([Work(("digits", "mlp", 32), 100, 100, 2.0)])
    {('digits', 'mlp', 32): 0.02}
    """
    seconds: dict[Kind, float] = defaultdict(float)
    updates: dict[Kind, int] = defaultdict(int)
    for work in executed:
        if work.updates > 0 and work.wall_s > 0:
            seconds[work.kind] += work.wall_s
            updates[work.kind] += work.updates
    return {kind: seconds[kind] / updates[kind] for kind in seconds}


def run_remaining_s(work: Work, rates: Mapping[Kind, float]) -> float | None:
    """Seconds that one run still takes once it has a slot; None where its kind was never executed."""
    rate = rates.get(work.kind)
    return None if rate is None else rate * work.remaining_updates


def queue_remaining_s(pending: Iterable[Work], rates: Mapping[Kind, float], slots: int) -> float | None:
    """Seconds until all pending runs are done on `slots` devices at once; None where that is unknown.

    No estimate is shorter than the longest single run.
    """
    each = [run_remaining_s(work, rates) for work in pending]
    known = [seconds for seconds in each if seconds is not None]
    if not known or len(known) < len(each):
        return None
    return max(max(known), sum(known) / max(1, slots))


def duration(seconds: float | None) -> str:
    """A duration in at most seven characters, `-` where it is unknown.

    >>> [duration(s) for s in (None, 8.4, 75, 3700, 90_000, 900_000)]
    ['-', '8 s', '1:15', '1 h 01', '1 d 01', '10 d']
    """
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d}"
    days = whole // 86_400
    return f"{days} d" if days >= 10 else f"{days} d {whole % 86_400 // 3600:02d}"
