"""`doctor --cluster`: whether runs can be handed to Slurm, by asking it and by a job that looks around."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from tui_datasize.cli.checks import Check
from tui_datasize.errors import DatasizeError
from tui_datasize.experiments.cluster_settings import ClusterSettings, seconds
from tui_datasize.experiments.project_tables import cluster_settings
from tui_datasize.files import fault_of, known_object
from tui_datasize.jobs.queue.file_systems import file_system
from tui_datasize.jobs.scheduler.slurm.arrays import HandedDirectory, sbatch, script
from tui_datasize.jobs.scheduler.slurm.calls import (
    ClusterTask,
    Reply,
    SlurmCommands,
    read_most_tasks,
    read_sbatch,
    read_squeue,
    squeue,
)
from tui_datasize.jobs.scheduler.slurm.probe import ANSWER, HELD, SEEN
from tui_datasize.jobs.scheduler.slurm.words import waits
from tui_datasize.programs import python_module
from tui_datasize.runlog.lease import file_system_time
from tui_datasize.runlog.locks import lock_file
from tui_datasize.runlog.paths import ProjectPaths

_COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo")
_PATIENCE_S = 120.0
"""For which the probe job is waited for."""
_DISK_S = 20.0
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
    slurm = _answers()
    yield slurm
    if slurm.verdict == "fail":
        return
    yield _partition(settings)
    yield _limits(settings)
    place = Path(settings.shared) if settings.shared else paths.runs
    try:
        yield _shared(place)
        yield from _on_a_node(settings, place, patience_s)
    except OSError as error:
        yield Check("shared disk", "fail", f"{place} cannot be used: {fault_of(error)}")


def _answers() -> Check:
    """Whether each command of Slurm gives an answer that can be read."""
    said = []
    for words in (["sbatch", "--version"], ["scontrol", "ping"], squeue([])):
        answer = _ask(*words)
        lines = answer.out.strip().splitlines()
        if answer.problem or (words[0] != "squeue" and not lines):
            return Check("slurm", "fail", f"{words[0]} does not answer: {answer.problem or 'nothing came'}")
        said += lines[:1]
        if words[0] == "scontrol" and not any("UP" in line.split() for line in lines):
            return Check("slurm", "fail", f"no controller of Slurm is up: {'; '.join(lines)}")
    if _tasks(answer) is None:
        return Check("slurm", "fail", f"squeue gives an answer that cannot be read: {said[-1][:80]}")
    return Check("slurm", "ok", "; ".join(said[:2]))


def _ask(*words: str, text: str = "") -> Reply:
    with closing(SlurmCommands().start(words, text)) as call:
        while (reply := call.poll()) is None:
            time.sleep(_LOOK_S)
    return reply


def _partition(settings: ClusterSettings) -> Check:
    """Whether Slurm would take such a job, and where."""
    named = (f"--partition={settings.partition}",) if settings.partition else ()
    told = _ask("sinfo", "--noheader", "--format=%P|%a|%l|%D|%T|%G", *named)
    if told.problem:
        return Check("partition", "fail", f"sinfo does not answer: {told.problem}")
    lines = [line.split("|") for line in told.out.splitlines()]
    if any(len(line) != 6 for line in lines) or told.out[-1:] not in ("", "\n"):
        return Check("partition", "fail", "the answer of sinfo is torn: ask again")
    # Without a name it is the default one that gets the runs.
    lines = [line for line in lines if settings.partition or line[0].endswith("*")]
    if not lines:
        what = (
            f"no partition {settings.partition}" if settings.partition else "no default partition: name one"
        )
        return Check("partition", "fail", f"there is {what}")
    shown = "; ".join(
        f"{name.rstrip('*')}: {state}, {nodes} nodes {how}, at most {limit}"
        for name, state, limit, nodes, how, _ in lines
    )
    if all(seconds(line[2]) < seconds(settings.time) for line in lines):
        return Check("partition", "fail", f"{shown}, and time = {settings.time}")
    if settings.gpus and not any("gpu" in line[5] for line in lines):
        return Check("partition", "fail", f"{shown}; no GPU in it, and gpus = {settings.gpus}")
    words = [*sbatch("ds-doctor", 1, settings, Path(os.devnull)), "--test-only"]
    tried = _ask(*words, text="#!/bin/bash\ntrue\n")
    if tried.problem:
        # A guess of Slurm's, which has been seen to be wrong: the probe job tells.
        return Check("partition", "warn", f"{shown}; Slurm takes no such job now: {tried.problem}")
    is_up = any(line[1] == "up" for line in lines)
    return Check("partition", "ok" if is_up else "warn", shown)


def _limits(settings: ClusterSettings) -> Check:
    config = _ask("scontrol", "show", "config")
    most = read_most_tasks(config.out)
    if config.problem or not most:
        return Check("limits", "warn", f"cannot be read: {config.problem or 'MaxArraySize is not told'}")
    width = f", {settings.array_width} of one at once" if settings.array_width else ""
    return Check("limits", "ok", f"arrays of at most {most:,} runs{width}")


def _shared(place: Path) -> Check:
    """The directory that the nodes are to see; raises OSError: it cannot be used, or does not answer."""
    found: list[Check | OSError] = []

    def look() -> None:
        try:
            found.append(_look_at(place))
        except OSError as error:
            found.append(error)

    # Nobody can be kept from waiting for a server of files that has gone.
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(_DISK_S)
    answer = found[0] if found else TimeoutError(f"does not answer within {_DISK_S:.0f} s")
    if isinstance(answer, OSError):
        raise answer
    return answer


def _look_at(place: Path) -> Check:
    if not place.is_dir():
        raise NotADirectoryError("no such directory; make it, or name another as `shared`")
    free = shutil.disk_usage(place).free
    return Check("shared disk", "ok", f"{place}: {file_system(place)}, {free / 10**9:.1f} GB free")


def _on_a_node(settings: ClusterSettings, place: Path, patience_s: float) -> Iterator[Check]:
    """What a job sees: the directory, the locks of this host, the environment, the time.

    Raises OSError: the directory cannot be written.
    """
    # A job that comes late may write there while it is removed.
    with tempfile.TemporaryDirectory(prefix=".doctor-", dir=place, ignore_cleanup_errors=True) as name:
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
            try:
                answer, tasks = _wait(directory, array, patience_s)
            finally:
                # Also of one who does not wait any longer.
                _ask("scancel", job_id)
            if not answer:
                yield _no_answer(directory, tasks, settings, patience_s)
            elif missing := [name for name in SEEN if name not in answer]:
                text = f"the nodes have another version of datasize-tui: it does not tell {missing[0]}"
                yield Check("probe job", "fail", text)
            else:
                yield from _seen_there(answer, settings, lock_fault, directory)


def _lock_fault(descriptor: int) -> str:
    try:
        lock_file(descriptor)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _wait(
    directory: Path, array: str, patience_s: float
) -> tuple[Mapping[str, Any], Sequence[ClusterTask] | None]:
    """What the job has written, and what squeue has told of it last, None where it has not.

    No answer of squeue says that it has ended, nor does one without it: it may be from before it came.
    """
    deadline_s, asked_s, tasks = time.monotonic() + patience_s, time.monotonic(), None
    while time.monotonic() < deadline_s and not (answer := _read(directory)):
        if time.monotonic() > asked_s + _SQUEUE_S:
            asked_s = time.monotonic()
            tasks = _tasks(_ask(*squeue([array])))
            if tasks and all(task.is_over for task in tasks):
                break
        time.sleep(_LOOK_S)
    return answer or _read(directory), tasks


def _read(directory: Path) -> Mapping[str, Any]:
    # By the way: what another host has written is seen at once.
    file_system_time(directory)
    return known_object(directory / ANSWER)


def _tasks(reply: Reply) -> Sequence[ClusterTask] | None:
    """What squeue tells; None where it does not."""
    if reply.problem:
        return None
    try:
        return read_squeue(reply.out)
    except ValueError:
        return None


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
    # Each clock beside that of the disk: an answer may be seen long after it was written.
    there_s, here_s = answer["time_s"] - answer["file_system_s"], time.time() - file_system_time(directory)
    apart_s = max(abs(there_s), abs(here_s), abs(there_s - here_s))
    text = f"{host}, the shared disk and this host are at most {apart_s:.0f} s apart"
    yield Check("clocks", "warn" if apart_s > _LARGE_OFFSET_S else "ok", text)


def _no_answer(
    directory: Path, tasks: Sequence[ClusterTask] | None, settings: ClusterSettings, patience_s: float
) -> Check:
    name, waited = "probe job", f"within {patience_s:.0f} s"
    if pending := next((task for task in tasks or () if task.is_pending), None):
        why = waits(pending, settings, datetime.now())
        return Check(name, "warn", f"not begun {waited}: {why}; it is cancelled")
    said = [
        line
        for file in (directory / "job.log", directory / "stderr.log")
        if file.exists()
        for line in file.read_text(errors="replace").splitlines()
        if line.strip()
    ]
    told = said[-1] if said else f"no node has written to {directory.parent}: do they see it?"
    if tasks is None:
        return Check(name, "fail", f"no answer {waited}, and none of squeue: {told}")
    return Check(name, "fail", f"{tasks[0].state.lower() if tasks else 'gone'} without an answer: {told}")
