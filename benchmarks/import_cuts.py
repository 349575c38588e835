"""Files as trainers write them, cut at random bytes: no wrong number is imported without a word.

`python -m benchmarks.import_cuts` makes files of sixteen forms (logs of Keras, fastai, Lightning, timm,
torchvision, detectron2 and Hugging Face, JSON lines, tables of runs and of means, workbooks, charts of
Weights & Biases, event files, confusion matrices) with random values, separators, line ends and encodings,
cuts each at random bytes, some with zeros behind, and reads what is left. Exit status 1 if a number came
that the whole file does not give, with no note that the whole file does not give, or if a strict import
took what is damaged.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.unit.import_cuts import problems, random_case


def main(argv: Sequence[str] | None = None) -> int:
    """Cut the files and print what was wrong."""
    arguments = _parser().parse_args(argv)
    began_s, wrong = time.monotonic(), 0
    forms: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as directory:
        for seed in range(arguments.seed, arguments.seed + arguments.files):
            rng = random.Random(seed)
            case = random_case(rng)
            forms[case.name] += arguments.cuts
            for problem in problems(case, rng, arguments.cuts, Path(directory)):
                wrong += 1
                print(f"seed {seed}: {problem}", flush=True)
    print(", ".join(f"{name} {count:,}" for name, count in sorted(forms.items())))
    print(
        f"{forms.total():,} cuts of {arguments.files:,} files, {wrong} wrong, "
        f"{time.monotonic() - began_s:.0f} s"
    )
    return 1 if wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.import_cuts", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--cuts", type=int, default=50, help="of each file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
