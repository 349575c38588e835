"""Remarks on experiments, and project files to begin with."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.fakes import fake_sweep, write_run
from tui_datasize.cli.dispatch import main
from tui_datasize.experiments.load import load_project
from tui_datasize.runlog.notes import read_remarks
from tui_datasize.runlog.paths import ProjectPaths


def test_remarks_are_kept_printed_and_part_of_the_report(
    project: ProjectPaths, capsys: pytest.CaptureFixture[str]
):
    for spec in fake_sweep(sizes=(40, 80)):
        write_run(project, spec)
    root = ("--project", str(project.root))
    assert main(["note", "digits", *root]) == 0
    assert capsys.readouterr().out.strip() == ""
    assert main(["note", *root, "digits", "draw 1", "is  odd\udcff"]) == 0
    project.note("digits").write_text(project.note("digits").read_text() + "\nby hand <b>\n")
    assert main(["note", "digits", *root]) == 0
    first, second = capsys.readouterr().out.strip().split("\n")[-2:]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC: draw 1 is odd\?", first)
    assert second == "by hand <b>"
    page = project.root / "page.html"
    assert main(["report", "digits", "-o", str(page), *root]) == 0
    text = page.read_text()
    assert text.index(">Notes</p>") < text.index("draw 1 is odd") < text.index("by hand &lt;b&gt;")


@pytest.mark.parametrize("words", [["digit", "x"], ["digits", " "], ["../digits", "x"]])
def test_a_remark_that_nobody_would_find_is_refused(
    words: list[str], project: ProjectPaths, capsys: pytest.CaptureFixture[str]
):
    project.run("digits", "x").directory.mkdir(parents=True)
    assert main(["note", *words, "--project", str(project.root)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert read_remarks(project, words[0]) == []


def test_the_template_is_right_as_it_is_and_without_its_marks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["experiments", "--template"]) == 0
    text, file = capsys.readouterr().out, tmp_path / "experiments.toml"
    file.write_text(text)
    assert not load_project(file).experiments
    head, _, rest = text.partition("# [paths]")
    file.write_text(head + re.sub(r"(?m)^# ", "", f"# [paths]{rest}"))
    assert load_project(file).experiments["mine"].n_runs == 32


def test_a_pipe_in_the_place_of_notes_is_waited_for_by_nobody(
    project: ProjectPaths, capsys: pytest.CaptureFixture[str]
):
    project.run("digits", "x").directory.mkdir(parents=True)
    project.notes.mkdir()
    os.mkfifo(project.note("digits"))
    assert read_remarks(project, "digits") == []
    assert main(["note", "digits", "x", "--project", str(project.root)]) != 0
    assert capsys.readouterr().err.count("\n") == 1
