"""One is one run: sentences that count."""

from __future__ import annotations

import re

from tests.fakes import fake_sweep, write_run
from tui_datasize.cli.dispatch import main

SLIP = re.compile(r"(?<![\d,.])1 (runs|jobs|findings|rows|sizes|images|updates|checkpoints)\b")


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
