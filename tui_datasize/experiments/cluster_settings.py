"""`[cluster]` of `experiments.toml`: what each run asks of the cluster, and where its directory lies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Literal, TypeAlias

from tui_datasize.experiments.keys import key, rows
from tui_datasize.experiments.settings import read_setting
from tui_datasize.experiments.toml import Problems, TomlTable

Place: TypeAlias = Literal["local", "slurm"]
"""Where runs are made: by this machine, or by the cluster."""

LEAST_S = 180
"""The longest time that is too short: workers are told to leave 120 s before it, and up to a minute early."""
_TIME = re.compile(r"\d+-\d+(:\d{1,2}){0,2}|\d+(:\d{1,2}){2}", re.ASCII)
"""Those that people and Slurm read alike: to it `4:00` is 4 minutes, and `4` as well."""
_SHELL = re.compile(r"[^\x00-\x08\x0b-\x1f\x7f]*")
_MEMORY = re.compile(r"\d+[KMGT]?", re.ASCII)
_NAMES = re.compile(r"\w[\w.+@-]*(,\w[\w.+@-]*)*", re.ASCII)


def seconds(limit: str) -> float:
    """The seconds of a time as Slurm writes it; infinite where it is none.

    >>> seconds("1-12"), seconds("4:00:30"), seconds("30:00"), seconds("infinite")
    (129600.0, 14430.0, 1800.0, inf)
    """
    days, _, clock = limit.rpartition("-")
    try:
        told = [int(part) for part in (days or "0", *clock.split(":"))]
    except ValueError:
        return inf
    # After days it names hours first, otherwise seconds last.
    hours, minutes, rest = [*told[1:], 0, 0][:3] if days else [0, 0, *told[1:]][-3:]
    return float(((24 * told[0] + hours) * 60 + minutes) * 60 + rest)


def _is_time(text: str) -> bool:
    return bool(_TIME.fullmatch(text)) and seconds(text) > LEAST_S


def _is_absolute(text: str) -> bool:
    return text.isprintable() and Path(text).is_absolute()


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """`[cluster]`: how runs are handed over to Slurm."""

    kind: Literal["slurm"] = key("slurm", "what schedules the cluster")
    partition: str | None = key(
        None, "partition of the runs", unset="the cluster's", expected="a name", holds=_NAMES.fullmatch
    )
    account: str | None = key(
        None,
        "account that they are charged to",
        unset="the user's",
        expected="a name",
        holds=_NAMES.fullmatch,
    )
    gpus: int = key(1, "GPUs of each run; 0 trains on the CPU", at_most=1)
    cpus: int = key(2, "CPUs of each run", at_least=1, at_most=1024)
    mem: str = key("8G", "memory of each run", expected='an amount such as "8G"', holds=_MEMORY.fullmatch)
    time: str = key(
        "4:00:00",
        "time after which Slurm ends a run, which then goes on from its checkpoint as another job",
        expected='hours, minutes and seconds such as "4:00:00", or days before them, "1-12:00:00", and '
        f"more than {LEAST_S // 60} minutes",
        holds=_is_time,
    )
    array_width: int | None = key(
        None, "most runs of an array at once", unset="no limit", at_least=1, at_most=100_000
    )
    setup: str | None = key(
        None,
        'shell commands before a run, such as "module load cuda"',
        unset="none",
        expected="shell commands without control characters",
        holds=_SHELL.fullmatch,
    )
    shared: str | None = key(
        None,
        "directory that all nodes see; runs/EXPERIMENT becomes a link to it; without it they must see runs/",
        unset="runs/",
        expected="an absolute path",
        holds=_is_absolute,
    )


def read_cluster_settings(table: TomlTable | None) -> ClusterSettings | None:
    """Read `[cluster]`; None of a file without it.

    Raises ConfigError: a key is unknown, or not what was expected.
    """
    if table is None:
        return None
    problems = Problems()
    said: dict[str, Any] = {}
    for row in rows(ClusterSettings):
        with problems.part():
            if table.has(row.name):
                said[row.name] = read_setting(row, table)
    with problems.part():
        table.finish()
    problems.raise_all()
    return ClusterSettings(**said)
