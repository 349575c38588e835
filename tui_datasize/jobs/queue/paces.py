"""How long runs will take, learned from those that have finished: seconds = a + b * updates. Pure."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from tui_datasize.text import plural

_Key: TypeAlias = tuple[str | int, ...]


class Kind(NamedTuple):
    """What runs that take the same time have in common."""

    experiment: str
    dataset: str
    model: str
    """Name with the options that differ from its defaults."""
    batch_size: int
    device: str
    """What it runs on, in words such as `cpu` or `NVIDIA H100`."""
    total_updates: int


class Work(NamedTuple):
    """One run, as far as its time is concerned; a tuple, since there are tens of thousands."""

    run_id: str
    kind: Kind
    used_s: float = 0.0
    """Seconds spent on it so far; all of them where it has finished."""
    updates: int | None = None
    """Updates made; None where that is not known."""
    is_running: bool = False
    after: tuple[str, ...] = ()
    """Runs that must end before it starts."""
    worker: str = ""
    """Names the worker that has it, and maybe others: its seconds are then its part of the worker's."""
    is_away: bool = False
    """Whether a cluster makes it, and decides when: it takes no slot."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What a run takes of time, and how that is known."""

    start_s: float
    """Seconds that a run takes whatever its length."""
    update_s: float
    """Seconds of one update, its share of the evaluations included."""
    basis: str
    """Such as `12 finished runs of cnn3 on cpu`."""
    is_akin: bool = True
    """Whether it is of the same model on the same device: otherwise a run's own pace tells more."""

    def seconds(self, updates: int) -> float:
        return self.start_s + self.update_s * updates


class TimeEstimate(NamedTuple):
    """When one unfinished run will be done."""

    run_id: str
    experiment: str
    remaining_s: float | None
    """Seconds that it takes, or still takes, on its device; None where nobody knows."""
    ends_in_s: float | None
    """Seconds from now to its end, its waiting for a device included; None where nobody knows."""
    basis: str
    """How the time is known, see `Pace`; empty where it is not."""
    awaits_cluster: bool = False
    """Whether a cluster decides when it begins, so that nobody knows when it ends."""
    waits_here: bool = False
    """Whether it is to begin on this machine."""


class Paces:
    """The paces of finished runs: of the same work if there is any, otherwise of the most similar."""

    def __init__(self, finished: Iterable[Work]) -> None:
        points: dict[_Key, list[tuple[float, float]]] = defaultdict(list)
        for work in finished:
            if work.kind.total_updates > 0 and work.used_s > 0:
                for key, _ in _levels(work.kind):
                    points[key].append((work.kind.total_updates, work.used_s))
        self._fits: Mapping[_Key, tuple[float, float, int]] = MappingProxyType(
            {key: (*fit_line(group), len(group)) for key, group in points.items()}
        )
        # Thousands of runs are of a few kinds.
        self.pace = cache(self._most_similar)
        """The pace of the most similar finished runs by kind; None where none has finished.

        Same data set, model, batch size and device; else other data; else the same model; else any.
        """

    def _most_similar(self, kind: Kind) -> Pace | None:
        for key, words in _levels(kind):
            if key in self._fits:
                start_s, update_s, runs = self._fits[key]
                basis = f"{plural(runs, 'finished run')}{words}"
                return Pace(start_s, update_s, basis, is_akin=len(key) > 1)
        return None

    def remaining(self, work: Work) -> tuple[float | None, str]:
        """Seconds that a run still takes on its device, and how that is known; (None, "") if it is not."""
        pace = self.pace(work.kind)
        if work.updates and work.used_s > 0 and (pace is None or not pace.is_akin):
            pace = Pace(0.0, work.used_s / work.updates, f"its own first {work.updates:,} updates")
        if pace is None:
            return None, ""
        if work.updates:
            return pace.update_s * max(0, work.kind.total_updates - work.updates), pace.basis
        return max(0.0, pace.seconds(work.kind.total_updates) - work.used_s), pace.basis


def fit_line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Intercept and slope of seconds over updates by least squares, neither below 0.

    Where all runs are of one length, or longer ones took no longer, all time is the updates'. It takes at
    least one point of (updates above 0, seconds).

    >>> fit_line([(100, 12.0), (200, 22.0), (300, 32.0)])
    (2.0, 0.1)
    >>> fit_line([(100, 10.0), (100, 14.0)])
    (0.0, 0.12)
    >>> fit_line([(100, 9.0), (200, 20.0)])
    (0.0, 0.098)
    """
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
    if slope <= 0:
        return 0.0, mean_y / mean_x
    intercept = mean_y - slope * mean_x
    if intercept < 0:
        return 0.0, sum(x * y for x, y in points) / sum(x * x for x, _ in points)
    return intercept, slope


def estimate_ends(unfinished: Iterable[Work], paces: Paces, slots: int) -> list[TimeEstimate]:
    """Tell when each run that runs or will ends, as if the queue started them now in this order.

    `slots` are the workers that the devices take at once; with 0 nothing that waits begins.
    """
    works = sorted(unfinished, key=lambda work: not work.is_running)
    packs = _packs((work for work in works if not work.is_away), paces)
    free_at_s = sorted(sum(pack) for pack in packs.values())
    ends_s: dict[str, float | None] = {}
    estimates = []
    for work in works:
        remaining_s, basis = paces.remaining(work)
        if work.is_away:
            ends_s[work.run_id] = remaining_s if work.is_running else None
        elif work.worker:
            if remaining_s is not None:
                # Until it ends, all that are not done have the same part of the worker.
                remaining_s = sum(min(remaining_s, other_s) for other_s in packs[work.worker])
            ends_s[work.run_id] = remaining_s
        else:
            ends_s[work.run_id] = _end(work, remaining_s, ends_s, free_at_s, slots)
        waits = not work.is_running
        where = (work.is_away and waits, not work.is_away and waits)
        told = (work.run_id, work.kind.experiment, remaining_s, ends_s[work.run_id], basis, *where)
        estimates.append(TimeEstimate._make(told))
    return estimates


def _packs(works: Iterable[Work], paces: Paces) -> Mapping[str, Sequence[float]]:
    """By worker, the seconds that each of its runs still takes, as far as they are known."""
    packs: dict[str, list[float]] = defaultdict(list)
    for work in works:
        if work.worker and (seconds := paces.remaining(work)[0]) is not None:
            packs[work.worker].append(seconds)
    return packs


def latest(estimates: Iterable[TimeEstimate]) -> float | None:
    """Seconds until the last of some runs ends; None where one is not known, 0 without any."""
    ends = [estimate.ends_in_s for estimate in estimates]
    known = [end for end in ends if end is not None]
    return max(known, default=0.0) if len(known) == len(ends) else None


def _end(
    work: Work,
    remaining_s: float | None,
    ends_s: Mapping[str, float | None],
    free_at_s: list[float],
    slots: int,
) -> float | None:
    """When a run ends that takes the next free slot; `free_at_s` is a heap, one entry per slot used."""
    if remaining_s is None or not (slots or work.is_running):
        return None
    sources = [ends_s[source] for source in work.after if source in ends_s]
    known = [end for end in sources if end is not None]
    if len(known) < len(sources):
        return None
    is_slot_unused = len(free_at_s) < slots or work.is_running
    start_s = 0.0 if is_slot_unused else heapq.heappop(free_at_s)
    end_s = max(start_s, *known, 0.0) + remaining_s
    heapq.heappush(free_at_s, end_s)
    return end_s


def _levels(kind: Kind) -> tuple[tuple[_Key, str], ...]:
    """What a run has in common with others, from all to nothing, each with its words."""
    same = f" of {kind.model} on {kind.device}"
    return (
        ((kind.model, kind.batch_size, kind.device, kind.dataset), same),
        ((kind.model, kind.batch_size, kind.device), f"{same}, other data"),
        ((kind.model,), f" of {kind.model}, other device or batch size"),
        ((), " of other models"),
    )
