"""Every file of a project spoilt in every way, every command on it: no traceback, no hang, one clear line.

`python -m benchmarks.corruption` tries all cases once; `--rounds` with other random values again, `--only`
those whose file or way of spoiling holds a word, `--begin` and `--end` a stretch of them, `--commands` some
commands alone. Exit status 1 if an answer was wrong: a traceback, more than 5 s, more than 500 MB, a refusal
without a word. A case that was too slow is tried once more.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults.corruption import CaseRunner, is_of_time


def main(argv: Sequence[str] | None = None) -> int:
    """Try the cases and print what was wrong."""
    arguments = _parser().parse_args(argv)
    began_s, tried, again, wrong = time.monotonic(), 0, 0, 0
    with tempfile.TemporaryDirectory() as directory, CaseRunner(Path(directory)) as tester:
        for seed in range(arguments.seed, arguments.seed + arguments.rounds):
            for target, spoiler in tester.cases[arguments.begin : arguments.end : arguments.every]:
                if arguments.only not in f"{target} {spoiler}":
                    continue
                tried += 1
                problems = tester.try_case(seed, target, spoiler, arguments.commands)
                if problems and all(map(is_of_time, problems)):
                    # The machine may have done other work: what is slow again is wrong.
                    again += 1
                    problems = tester.try_case(seed, target, spoiler, arguments.commands)
                for problem in problems:
                    wrong += 1
                    print(f"seed {seed}: {target}, {spoiler}: {problem}", flush=True)
    took_s = time.monotonic() - began_s
    print(f"{tried} cases, {again} tried again for their time, {wrong} wrong answers, {took_s:.0f} s")
    return 1 if wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.corruption", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--every", type=int, default=1, help="only each n-th case")
    parser.add_argument("--begin", type=int, default=0, metavar="N", help="with case N (default: 0)")
    parser.add_argument("--end", type=int, metavar="N", help="before case N (default: the last one, too)")
    parser.add_argument("--only", default="", help="cases that hold this word")
    parser.add_argument("--commands", nargs="*", default=(), help="names of commands (default: all)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
