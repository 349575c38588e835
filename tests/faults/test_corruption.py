"""Some spoilt files and the commands that are quick; `python -m benchmarks.corruption` tries all with all."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.corruption import CaseRunner

pytestmark = pytest.mark.faults

QUICK = ("status", "experiments", "logs", "hold", "scheduler")
CASES = 5


def test_every_command_answers_whatever_one_file_holds(tmp_path: Path) -> None:
    with CaseRunner(tmp_path) as tester:
        chosen = random.Random(11).sample(tester.cases, CASES)
        problems = {
            (target, spoiler): found
            for seed, (target, spoiler) in enumerate(chosen)
            if (found := tester.try_case(seed, target, spoiler, QUICK))
        }
    assert not problems
