"""An array of runs: its name, what is asked of Slurm for it, and the script that each of its tasks is."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tui_datasize.experiments.cluster_settings import ClusterSettings
from tui_datasize.experiments.project_tables import DATA_VARIABLE
from tui_datasize.jobs.workers.spawn import ONE_THREAD
from tui_datasize.runlog.claim import ATTEMPT_VARIABLE, TAG_VARIABLE
from tui_datasize.runlog.lease import FIRST_VARIABLE

WARNING_S = 120
"""Seconds before the time limit at which a worker is told to leave."""


@dataclass(frozen=True, slots=True)
class HandedDirectory:
    """One run of an array."""

    directory: Path
    """As the nodes see it."""
    first: int
    """The attempt that its first worker makes."""
    data_dir: str = ""


def name_of(runs: Sequence[HandedDirectory]) -> str:
    """The name of an array: the digest of its list, so that it is the same whoever hands it over again.

    Attempts are part of it: a list that is handed over once more, after its end, is another one.
    """
    told = "\n".join(f"{run.first} {run.directory}" for run in runs)
    return f"ds-{hashlib.sha256(told.encode()).hexdigest()[:20]}"


def sbatch(
    name: str, tasks: int, settings: ClusterSettings, log: Path, avoided: Sequence[str] = ()
) -> list[str]:
    """The command that hands an array over, to nodes that are not to be `avoided`; it reads the script."""
    width = f"%{settings.array_width}" if settings.array_width else ""
    words = {
        "job-name": name,
        "array": f"0-{tasks - 1}{width}",
        "open-mode": "append",
        "signal": f"B:USR2@{WARNING_S}",
        # What Slurm puts in for signs belongs into the name alone.
        "output": f"{str(log.parent).replace('%', '%%')}/{log.name}",
        "nodes": "1",
        "ntasks": "1",
        "cpus-per-task": str(settings.cpus),
        "mem": settings.mem,
        "time": settings.time,
        "partition": settings.partition or "",
        "account": settings.account or "",
        "gres": f"gpu:{settings.gpus}" if settings.gpus else "",
        "exclude": ",".join(avoided),
    }
    options = [f"--{option}={value}" for option, value in words.items() if value]
    return ["sbatch", "--parsable", "--requeue", *options]


def script(
    name: str, runs: Sequence[HandedDirectory], settings: ClusterSettings, command: Sequence[str]
) -> str:
    """The script of an array: each task becomes the worker of the run that has its number.

    The worker takes the place of the shell, so that it gets the signals. Without a GPU of Slurm's it is to
    use none; otherwise it finds the one that Slurm names.
    """
    variables: Mapping[str, str] = {**ONE_THREAD, "PYTHONUNBUFFERED": "1"}
    lists = {
        "runs": [str(run.directory) for run in runs],
        "firsts": [str(run.first) for run in runs],
        "data": [run.data_dir for run in runs],
    }
    told = [f"{one}=(\n{chr(10).join(map(shlex.quote, values))}\n)" for one, values in lists.items()]
    task = "$SLURM_ARRAY_TASK_ID"
    return "\n".join(
        [
            "#!/bin/bash",
            # Once, and to whom it can save nothing yet: TERM follows at the limit.
            "trap '' USR2",
            # In front of what it could take the names of.
            settings.setup or "",
            *told,
            *(f"export {variable}={value}" for variable, value in variables.items()),
            "" if settings.gpus else 'export CUDA_VISIBLE_DEVICES=""',
            f"unset {ATTEMPT_VARIABLE}",
            f'export {TAG_VARIABLE}="{name}-{task}" {FIRST_VARIABLE}="${{firsts[{task}]}}"',
            f'if [ -n "${{data[{task}]}}" ]; then export {DATA_VARIABLE}="${{data[{task}]}}"; fi',
            f'run="${{runs[{task}]}}"',
            'cd "$run" || exit 1',
            f'exec {shlex.join(command)} "$run" >>"$run/stdout.log" 2>>"$run/stderr.log"',
            "",
        ]
    )
