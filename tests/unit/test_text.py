"""One is one run: sentences that count."""

from __future__ import annotations

import re

import pytest

from tests.fakes import fake_sweep, write_run
from tui_datasize.cli.dispatch import main
from tui_datasize.cli.queueing import describe
from tui_datasize.jobs.queue.commands import Acknowledgement

SLIP = re.compile(r"(?<![\d,.])1 (runs|jobs|findings|rows|sizes|images|updates|checkpoints)\b")


@pytest.mark.parametrize(
    ("new", "present", "words"),
    [
        (1, 0, "digits: 1 run queued, 0 were there already"),
        (12, 1, "digits: 12 runs queued, 1 was there already"),
    ],
)
def test_what_was_queued(new, present, words):
    assert describe("digits", Acknowledgement((1,), new=new, present=present)) == words


@pytest.mark.parametrize(
    ("present", "kept"),
    [
        (0, "0 were there already"),
        (1, "1 was there already and keeps its terms and place"),
        (2, "2 were there already and keep their terms and places"),
    ],
)
def test_runs_that_do_not_get_the_terms_are_counted(present, kept):
    told = describe("digits", Acknowledgement((1,), new=3, present=present), has_terms=True)
    assert told == f"digits: 3 runs queued, {kept}"


def test_no_command_on_single_things_slips(project, monkeypatch, capsys):
    monkeypatch.chdir(project.root)
    for spec in fake_sweep(sizes=(40, 80, 160, 320), seeds=(0,), subset_seeds=(0,)):
        write_run(project, spec)
    write_run(project, fake_sweep(sizes=(640,), seeds=(0,), subset_seeds=(0,))[0], state="failed")
    project.experiments.write_text("")
    said = ""
    for words in (
        ["analyze", "digits"],
        ["plan", "digits", "--runs", "1"],
        ["export", "--table", "audit", "--format", "csv", "-o", "audit.csv"],
        ["report", "digits", "-o", "report.md"],
        ["prune"],
    ):
        assert main(words) == 0
        printed = capsys.readouterr()
        said += printed.out + printed.err
    said += (project.root / "report.md").read_text() + (project.root / "audit.csv").read_text()
    assert "1 unfinished or without this metric" in said
    assert not SLIP.findall(said)
