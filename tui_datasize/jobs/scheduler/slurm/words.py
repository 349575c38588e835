"""What Slurm says of a task, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from tui_datasize.experiments.cluster_settings import ClusterSettings
from tui_datasize.jobs.scheduler.slurm.calls import ClusterTask

_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "Priority": "waits behind jobs of higher priority",
        "Dependency": "waits for another job of the cluster",
        "JobHeldUser": "held on the cluster",
        "JobHeldAdmin": "held by the cluster's administrators",
        "BeginTime": "waits a moment before it is started again",
        "JobArrayTaskLimit": "waits: array_width allows no more at once",
        "Licenses": "waits for a licence",
        "Reservation": "waits for a reservation",
        "ReqNodeNotAvail": "waits for nodes that are down or reserved",
        "PartitionDown": "waits: the partition is down",
        "PartitionInactive": "waits: the partition is inactive",
        "PartitionNodeLimit": "waits: the partition allows no job like this",
        "PartitionTimeLimit": "waits: the partition allows less time",
        "BadConstraints": "waits: no node is like this",
        "NodeDown": "waits: its node is down",
        "Prolog": "its node is being prepared",
        "Cleaning": "waits for its end before to be cleaned up",
    }
)
_LIMITS = ("QOS", "Assoc", "AssociationJobLimit", "MaxGRES", "MaxCpu", "MaxMem")

_TOO_MANY = (
    ("maxsubmit", "your account may have no more jobs at once"),
    ("job queue full", "it has as many jobs as it takes, of all users together"),
    ("unable to accept job", "it has as many jobs as it takes, of all users together"),
    ("parameter too long", "the script of {tasks:,} runs is too long for it"),
    ("job array", "an array of {tasks:,} runs is too long for it"),
    ("policy", "a limit of your account is reached"),
)
"""Signs of a refusal that a smaller array may escape, or a later one."""


def waits(task: ClusterTask, settings: ClusterSettings, now: datetime) -> str:
    """Why a task waits, and until when Slurm expects it to."""
    what = "a GPU" if settings.gpus else "a free node"
    reason = task.reason.strip("() ").partition(",")[0]
    if task.state == "CONFIGURING":
        why = f"{task.node or 'its node'} is being started"
    elif task.is_held_by_slurm:
        why = "Slurm could not start it, or too often; it is released to be tried again"
    elif reason in ("Resources", "None", ""):
        why = f"waits for {what}"
    elif reason.startswith(_LIMITS):
        why = f"waits: a limit of the account is reached ({reason})"
    else:
        why = _REASONS.get(reason, f"waits on the cluster: {reason}")
    start = when(task.starts, now)
    return f"{why}; Slurm expects {start}" if start and task.is_pending else why


def when(starts: str, now: datetime) -> str:
    """A time of Slurm for a person; empty where there is none.

    >>> now = datetime(2026, 11, 30, 9, 0)
    >>> when("2026-11-30T14:20:00", now), when("2026-12-02T07:00:00", now), when("N/A", now)
    ('14:20', 'Wed 2 Dec 07:00', '')
    """
    try:
        moment = datetime.fromisoformat(starts)
    except ValueError:
        return ""
    return f"{moment:%H:%M}" if moment.date() == now.date() else f"{moment:%a} {moment.day} {moment:%b %H:%M}"


def limit(problem: str, tasks: int) -> str:
    """Which limit keeps Slurm from taking an array of so many tasks; empty where it is something else.

    >>> limit("QOSMaxSubmitJobPerUserLimit: Batch job submission failed: Job violates policy", 8)
    'your account may have no more jobs at once'
    """
    said = problem.lower()
    return next((words.format(tasks=tasks) for sign, words in _TOO_MANY if sign in said), "")
