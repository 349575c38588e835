"""`doctor --cluster`: whether runs can be handed to Slurm, by asking it and by a job that looks around."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from tui_datasize.cli.checks import Check
from tui_datasize.errors import DatasizeError
from tui_datasize.experiments.cluster_settings import ClusterSettings
from tui_datasize.experiments.load import cluster_settings
from tui_datasize.files import known_object
from tui_datasize.jobs.queue.file_systems import file_system
from tui_datasize.jobs.scheduler.slurm.arrays import HandedDirectory, sbatch, script
from tui_datasize.jobs.scheduler.slurm.calls import (
    Reply,
    SlurmCommands,
    read_most_tasks,
    read_sbatch,
    read_squeue,
    squeue,
)
from tui_datasize.jobs.scheduler.slurm.probe import ANSWER, HELD
from tui_datasize.jobs.scheduler.slurm.words import waits
from tui_datasize.programs import python_module
from tui_datasize.runlog.lease import file_system_time
from tui_datasize.runlog.locks import lock_file
from tui_datasize.runlog.paths import ProjectPaths

_COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo")
_PATIENCE_S = 120.0
"""For which the probe job is waited for."""
_LOOK_S = 0.1
_SQUEUE_S = 5.0
_LARGE_OFFSET_S = 5.0


def cluster_checks(paths: ProjectPaths, patience_s: float = _PATIENCE_S) -> Iterator[Check]:
    """Everything that a run on the cluster needs, in the order in which it would meet it."""
    try:
        settings = cluster_settings(paths.root)
    except DatasizeError as error:
        yield Check("cluster", "fail", error.line)
        return
    if settings is None:
        yield Check("cluster", "fail", f'{paths.experiments} has no table [cluster]: add kind = "slurm"')
        return
    if missing := [name for name in _COMMANDS if shutil.which(name) is None]:
        yield Check(
            "slurm", "fail", f"{', '.join(missing)} cannot be found: jobs cannot be submitted from here"
        )
        return
    version, ping = _ask("sbatch", "--version"), _ask("scontrol", "ping")
    if ping.problem:
        yield Check("slurm", "fail", f"Slurm does not answer: {ping.problem}")
        return
    yield Check("slurm", "ok", f"{version.out.strip()}; {ping.out.strip().splitlines()[0]}")
    yield _partition(settings)
    yield _limits(settings)
    place = Path(settings.shared) if settings.shared else paths.runs
    shared = _shared(place)
    yield shared
    if shared.verdict != "fail":
        yield from _on_a_node(settings, place, patience_s)


def _ask(*words: str, text: str = "") -> Reply:
    with closing(SlurmCommands().start(words, text)) as call:
        while (reply := call.poll()) is None:
            time.sleep(_LOOK_S)
    return reply


def _partition(settings: ClusterSettings) -> Check:
    """Whether Slurm would take such a job, and where."""
    named = (f"--partition={settings.partition}",) if settings.partition else ()
    told = _ask("sinfo", "--noheader", "--format=%P|%a|%l|%D|%T|%G", *named)
    lines = [line.split("|") for line in told.out.splitlines() if line.count("|") == 5]
    if not lines:
        return Check("partition", "fail", f"there is no partition {settings.partition or 'at all'}")
    shown = "; ".join(
        f"{name.rstrip('*')}: {state}, {nodes} nodes {how}, at most {limit}"
        for name, state, limit, nodes, how, _ in lines
    )
    if settings.gpus and not any("gpu" in gres for *_, gres in lines):
        return Check("partition", "fail", f"{shown}; no GPU in it, and gpus = {settings.gpus}")
    words = [*sbatch("ds-doctor", 1, settings, Path(os.devnull)), "--test-only"]
    tried = _ask(*words, text="#!/bin/bash\ntrue\n")
    if tried.problem:
        # A guess of Slurm's, which has been seen to be wrong: the probe job tells.
        return Check("partition", "warn", f"{shown}; Slurm takes no such job now: {tried.problem}")
    is_up = any(state == "up" for _, state, *_ in lines)
    return Check("partition", "ok" if is_up else "warn", shown)


def _limits(settings: ClusterSettings) -> Check:
    config = _ask("scontrol", "show", "config")
    if config.problem:
        return Check("limits", "warn", f"cannot be read: {config.problem}")
    width = f", {settings.array_width} of one at once" if settings.array_width else ""
    return Check("limits", "ok", f"arrays of at most {read_most_tasks(config.out):,} runs{width}")


def _shared(place: Path) -> Check:
    """The directory that the nodes are to see."""
    if not place.is_dir():
        return Check("shared disk", "fail", f"{place} is no directory; make it, or name another as `shared`")
    if not os.access(place, os.W_OK | os.X_OK):
        return Check("shared disk", "fail", f"{place} cannot be written")
    free = shutil.disk_usage(place).free
    return Check("shared disk", "ok", f"{place}: {file_system(place)}, {free / 10**9:.1f} GB free")


def _on_a_node(settings: ClusterSettings, place: Path, patience_s: float) -> Iterator[Check]:
    """What a job sees: the directory, the locks of this host, the environment, the time."""
    with tempfile.TemporaryDirectory(prefix=".doctor-", dir=place) as name:
        directory = Path(name).resolve()
        directory.chmod(0o755)
        with (directory / HELD).open("w") as held:
            lock_fault = _lock_fault(held.fileno())
            probe = python_module("tui_datasize.jobs.scheduler.slurm.probe")
            array = f"ds-{directory.name.removeprefix('.')}"
            told = script(array, [HandedDirectory(directory, 1)], settings, probe)
            log = directory / "job.log"
            submitted = _ask(*sbatch(array, 1, settings, log), text=told)
            job_id = read_sbatch(submitted.out)
            if submitted.problem or not job_id:
                yield Check(
                    "probe job", "fail", f"Slurm takes none: {submitted.problem or submitted.out.strip()}"
                )
                return
            answer = _wait(directory, array, patience_s)
            if answer:
                yield from _seen_there(answer, settings, lock_fault, directory)
            else:
                yield _no_answer(directory, array, job_id, settings, patience_s)


def _lock_fault(descriptor: int) -> str:
    try:
        lock_file(descriptor)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _wait(directory: Path, array: str, patience_s: float) -> Mapping[str, Any]:
    """What the job has written; nothing where it has ended without, or is not there in time."""
    deadline_s, asked_s = time.monotonic() + patience_s, time.monotonic()
    while time.monotonic() < deadline_s:
        if answer := _read(directory):
            return answer
        if time.monotonic() > asked_s + _SQUEUE_S:
            asked_s = time.monotonic()
            reply = _ask(*squeue([array]))
            if not reply.problem and all(task.is_over for task in _tasks(reply)):
                return _read(directory)
        time.sleep(_LOOK_S)
    return {}


def _read(directory: Path) -> Mapping[str, Any]:
    # By the way: what another host has written is seen at once.
    file_system_time(directory)
    return known_object(directory / ANSWER)


def _tasks(reply: Reply) -> Sequence[Any]:
    try:
        return read_squeue(reply.out)
    except ValueError:
        return []


def _seen_there(
    answer: Mapping[str, Any], settings: ClusterSettings, lock_fault: str, directory: Path
) -> Iterator[Check]:
    host = answer["host"]
    if answer["torch_fault"]:
        yield Check("probe job", "fail", f"torch cannot be imported on {host}: {answer['torch_fault']}")
    elif settings.gpus and "no GPU" in answer["torch"]:
        yield Check("probe job", "fail", f"torch {answer['torch']} on {host}, and gpus = {settings.gpus}")
    else:
        yield Check("probe job", "ok", f"{host}: Python {answer['python']}, torch {answer['torch']}")
    if answer["sees_lock"]:
        yield Check("locks", "ok", f"a lock that is held here is seen on {host}; leases are kept as well")
    else:
        why = lock_fault or answer["lock_fault"] or "a lock that is held here is not seen there"
        yield Check("locks", "ok", f"{host}: {why}; runs are claimed by leases alone")
    apart_s = max(
        abs(answer["time_s"] - time.time()), abs(answer["file_system_s"] - file_system_time(directory))
    )
    text = f"{host}, the shared disk and this host are at most {apart_s:.0f} s apart"
    yield Check("clocks", "warn" if apart_s > _LARGE_OFFSET_S else "ok", text)


def _no_answer(
    directory: Path, array: str, job_id: str, settings: ClusterSettings, patience_s: float
) -> Check:
    tasks = _tasks(_ask(*squeue([array])))
    _ask("scancel", job_id)
    pending = next((task for task in tasks if task.is_pending), None)
    if pending:
        why = waits(pending, settings, datetime.now())
        return Check("probe job", "warn", f"not begun within {patience_s:.0f} s: {why}; it is cancelled")
    said = [
        line
        for file in (directory / "job.log", directory / "stderr.log")
        if file.exists()
        for line in file.read_text(errors="replace").splitlines()
        if line.strip()
    ]
    state = tasks[0].state.lower() if tasks else "gone"
    told = said[-1] if said else f"no node has written to {directory.parent}: do they see it?"
    return Check("probe job", "fail", f"{state} without an answer: {told}")
