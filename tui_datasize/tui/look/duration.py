"""Durations as text."""

from __future__ import annotations


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


def time_left(seconds: float | None) -> str:
    """A duration that is still to come: of a run that should be done by now it says `soon`.

    >>> [time_left(s) for s in (None, 0.0, 8.4)]
    ['-', 'soon', '8 s']
    """
    return "soon" if seconds == 0 else duration(seconds)
