"""Random kills of schedulers, workers, preloaders and clients: nothing is lost, nothing runs twice.

`python -m benchmarks.chaos --jobs 2000` prints one line per round, and every violation of the queue's
promise; exit status 1 if there was any. `--packs` lets runs share workers, `--app` presses the app's
keys beside the other clients; `--disk` fills the disk of the projects, and makes it read-only, which is
mounted for this in a namespace of its own. `--mutant NAME` breaks something on purpose: then every round
has to notice.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from tests.disks import SmallDisk
from tests.faults.chaos.mutants import MUTANTS
from tests.faults.chaos.plan import DISK, Plan, Report
from tests.faults.chaos.turmoil import Turmoil
from tui_datasize.jobs.scheduler.slots import DIRECTORY_VARIABLE

_REPOSITORY = Path(__file__).parents[1]
_VIOLATIONS_SHOWN = 20
_S_PER_JOB = 0.15
_OWN_MOUNTS = "DATASIZE_CHAOS_MOUNTS"
_DISK_MIB = 32
_JOBS_PER_MIB = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Run the rounds and say how they went."""
    arguments = _parser().parse_args(argv)
    if arguments.disk and not os.environ.get(_OWN_MOUNTS):
        os.environ[_OWN_MOUNTS] = "1"
        own = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-m", "benchmarks.chaos"]
        os.execvp(own[0], [*own, *(sys.argv[1:] if argv is None else argv)])
    seed = random.SystemRandom().getrandbits(24) if arguments.seed is None else arguments.seed
    limit_s = arguments.jobs * _S_PER_JOB if arguments.limit_s is None else arguments.limit_s
    failed = []
    for number in range(seed, seed + arguments.rounds):
        packs: Literal["off", "mixed"] = "mixed" if arguments.packs else "off"
        plan = Plan(
            *(number, arguments.jobs, limit_s, arguments.mutant),
            app=arguments.app,
            packs=packs,
            disk=arguments.disk,
        )
        with _directory(arguments.keep, number) as directory:
            report = play(plan, directory)
        print(report, flush=True)
        for violation in report.violations[:_VIOLATIONS_SHOWN]:
            print(f"    {violation}", flush=True)
        if report.violations:
            failed.append(number)
    print(f"{arguments.rounds - len(failed)} of {arguments.rounds} rounds without a violation", end="")
    print(f"; failed seeds: {failed}" if failed else "")
    return 1 if failed else 0


def play(plan: Plan, directory: Path) -> Report:
    """One round in an empty directory, on slots that no other queue uses."""
    os.environ |= {
        DIRECTORY_VARIABLE: str(directory / "slots"),
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(_REPOSITORY),
    }
    small = SmallDisk()
    if plan.disk:
        small.mount(directory / DISK, f"{_DISK_MIB + plan.jobs // _JOBS_PER_MIB}m")
    try:
        return Turmoil(plan, directory).run()
    finally:
        small.close()


@contextmanager
def _directory(keep: Path | None, seed: int) -> Iterator[Path]:
    """An empty directory, gone afterwards unless it is to be kept."""
    if keep:
        directory = keep / f"seed{seed}"
        directory.mkdir(parents=True)
        yield directory
    else:
        with tempfile.TemporaryDirectory(prefix="chaos.") as name:
            yield Path(name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000, help="runs per round (default: 2000)")
    parser.add_argument("--rounds", type=int, default=1, help="rounds, with consecutive seeds (default: 1)")
    parser.add_argument("--seed", type=int, help="seed of the first round (default: a random one)")
    parser.add_argument("--limit-s", type=float, help="faults of a round end after this (default: by jobs)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the projects of all rounds in DIR")
    parser.add_argument("--packs", action="store_true", help="most schedulers let runs share workers")
    parser.add_argument("--app", action="store_true", help="one of the clients is mostly the app")
    parser.add_argument(
        "--disk", action="store_true", help="the projects' disk is full or read-only at times"
    )
    parser.add_argument("--mutant", choices=MUTANTS, default="", help="break this on purpose")
    return parser


if __name__ == "__main__":
    sys.exit(main())
