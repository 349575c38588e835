"""Some spoilt files and the commands that are quick; `python -m benchmarks.corruption` tries all with all."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.corruption import UNTRIED, CaseRunner, commands
from tui_datasize.cli.parser import build_parser
from tui_datasize.runlog.paths import ProjectPaths

pytestmark = pytest.mark.faults

QUICK = ("status", "experiments", "logs", "hold", "scheduler")
CASES = 5


def test_every_command_is_among_those_that_are_tried(tmp_path: Path) -> None:
    known = next(action for action in build_parser()._actions if action.dest == "command").choices
    assert known is not None
    tried = {words[0] for words in commands(ProjectPaths(tmp_path / "project"))}
    assert tried | UNTRIED.keys() == set(known)
    assert not tried & UNTRIED.keys()


def test_every_command_answers_whatever_one_file_holds(tmp_path: Path) -> None:
    with CaseRunner(tmp_path) as tester:
        chosen = random.Random(11).sample(tester.cases, CASES)
        problems = {
            (target, spoiler): found
            for seed, (target, spoiler) in enumerate(chosen)
            if (found := tester.try_case(seed, target, spoiler, QUICK))
        }
    assert not problems
