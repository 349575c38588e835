"""Hostile text in everything that comes from outside, through every command and every tab of the app."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import fake_spec, write_run
from tests.tui.fake_queue import CPU_ONLY
from tests.tui.stage import NARROW, WIDE, Show
from tui_datasize.cli.dispatch import main
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.database import open_database
from tui_datasize.jobs.faults import FaultKind, Faults
from tui_datasize.jobs.rebuild import repair
from tui_datasize.runlog.paths import ProjectPaths, RunPaths
from tui_datasize.tui.app import DatasizeApp
from tui_datasize.tui.look.record import ProjectRecord

HOSTILE = "x\x1b[2J\x1b]0;owned\x07\x9b31m[/nope][bold red]\u202e\u200bé\x7f\r\n=1+1:bomb:"
SURROGATE = HOSTILE + "\ud83d"
ACTING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def acting(text: str) -> set[str]:
    """Characters that do something to a terminal, or to those beside them."""
    return {c for c in text if unicodedata.category(c) in ACTING} - {"\n"}


def change(file: Path, **values: Any) -> None:
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | values))


def spoil(paths: RunPaths) -> None:
    """Write hostile words wherever a run directory holds words of others."""
    classes = json.loads(paths.dataset.read_text())
    hostile = [f"{HOSTILE}{number}" for number in range(len(classes["class_names"]))]
    change(paths.dataset, class_names=hostile, normalisation=SURROGATE, fingerprint=SURROGATE)
    change(paths.provenance, hostname=SURROGATE, gpu_name=SURROGATE, python=SURROGATE, argv=[SURROGATE])
    change(paths.spec, git_commit=SURROGATE, git_branch=SURROGATE, package_version=HOSTILE, tags=[SURROGATE])
    for log in (paths.stdout, paths.stderr):
        log.write_bytes(f"{HOSTILE}\n{'y' * 5000}".encode() + b"\xff\x9b31m\n")
    with paths.metrics.open("a") as file:
        file.write(f"{HOSTILE}\n" + json.dumps({"event": HOSTILE, "update": 1}) + "\n")


@pytest.fixture
def project(tmp_path: Path) -> ProjectPaths:
    """Runs that succeeded, failed and were cancelled, in a directory whose own name is hostile."""
    project = ProjectPaths(tmp_path / "p\x1b[31m[bold]\u202e")
    project.root.mkdir()
    title = json.dumps(HOSTILE.replace("\x7f", ""))
    project.experiments.write_text(
        f'[experiments.digits]\ntitle = {title}\ndataset = "digits"\nmodel = {{ name = "mlp" }}\n'
        "sizes = [40, 80, 160]\nseeds = [0, 1, 2, 3]\nbudget = { samples = 6400 }\nbatch_size = 32\n"
        '[experiments.folder]\ndataset = "imagefolder:no\\u001b[31m[/x]where"\nmodel = { name = "cnn3" }\n'
        "sizes = [40]\nbudget = { updates = 1 }\nbatch_size = 32\n"
    )
    for size in (40, 80, 160):
        for seed in range(3):
            spoil(write_run(project, fake_spec("digits", train_size=size, seed=seed)))
    for seed, state in ((7, "failed"), (8, "cancelled")):
        paths = write_run(
            project, fake_spec("digits", train_size=40, seed=seed), state=state, reason=SURROGATE
        )
        spoil(paths)
    strange = project.runs / "digits" / "strange\x1b[31m[bold]\udcff"
    strange.mkdir()
    (strange / "spec.json").write_text(HOSTILE)
    repair(project)
    with_faults = open_database(project.queue)
    Faults(with_faults, project.queue).report(FaultKind.SLOTS, HOSTILE, f"{HOSTILE} cannot be used")
    with_faults.close()
    return project


FIRST = fake_spec("digits", train_size=40, seed=7).run_id
COMMANDS: Sequence[Sequence[str]] = (
    ("experiments",),
    ("experiments", "--json"),
    ("status",),
    ("status", "--json"),
    ("status", "--experiment", HOSTILE),
    ("doctor",),
    ("logs", HOSTILE),
    ("hold", HOSTILE),
    ("cancel", "digits"),
    ("retry", FIRST),
    ("priority", FIRST, "--by", "1"),
    ("queue", HOSTILE),
    ("queue", "folder", "--dry-run"),
    ("queue", "digits", "--dry-run"),
    ("queue", "digits", "--after", HOSTILE, "--dry-run"),
    ("analyze", "digits"),
    ("analyze", "digits", "--json"),
    ("analyze", HOSTILE),
    ("plan", "digits", "--variant", HOSTILE),
    ("report", "digits", "-o", f"/nowhere/{HOSTILE}.html"),
    ("export", "--table", "runs", "-o", f"/nowhere/{HOSTILE}.csv"),
    ("prune",),
    ("scheduler", "status"),
    (HOSTILE,),
)


def test_no_command_lets_a_character_act(project: ProjectPaths, capsys: pytest.CaptureFixture[str]):
    for words in COMMANDS:
        with suppress(SystemExit):
            main([*words, "--project", str(project.root)])
        told = capsys.readouterr()
        assert not acting(told.out + told.err), (words, told)
        assert "Traceback" not in told.err, (words, told)


@pytest.mark.parametrize(
    "words",
    [("export", "--table", "runs", "--format", "csv"), ("logs", FIRST)],
)
def test_data_to_a_terminal_let_no_character_act(project: ProjectPaths, words: Sequence[str]):
    """What is data to a file or a program is text to a terminal."""
    leader, follower = pty.openpty()
    command = [*words, "--project", str(project.root)]
    with subprocess.Popen([sys.executable, "-m", "tui_datasize", *command], stdout=follower) as process:
        os.close(follower)
        told = b""
        # It ends with an error once the other end is closed.
        with suppress(OSError):
            while data := os.read(leader, 65536):
                told += data
        os.close(leader)
    assert process.returncode == 0
    assert told
    # The terminal itself puts a return before each end of a line.
    assert not acting(told.decode().replace("\r\n", "\n"))


async def test_no_tab_lets_a_character_act(project: ProjectPaths):
    queue = QueueClient(project, scheduler_options=["--worker", "true"])
    queue.stop_scheduler(timeout_s=0)
    app = DatasizeApp(project, queue, lambda: ProjectRecord(project), lambda: CPU_ONLY, interval_s=0.1)
    async with app.run_test(size=WIDE) as pilot:
        show = Show(app, pilot)
        await show.until(lambda: app.snapshot.is_ready)
        for keys in KEYS:
            await show.press(*keys)
            await show.settle()
            assert not acting(show.text), (keys, show.text)
        await pilot.resize_terminal(*NARROW)
        await show.settle()
        assert not acting(show.text)
    assert app.return_code in (None, 0)


KEYS: Sequence[Sequence[str]] = (
    *(("i",), ("escape",), ("tab",), ("i",), ("escape",), ("tab",), ("i",), ("escape",), ("l",), ("escape",)),
    *(("slash", *"failed", "enter"), ("i",), ("escape",), ("escape",), ("question_mark",), ("escape",)),
    *(("2",), ("j",), ("i",), ("escape",), ("3",)),
    *[("p",)] * 14,
    *(("1",), ("s",), ("escape",), ("d",), ("escape",)),
)
"""Every tab, page and dialog."""
