"""Hostile text in everything that comes from outside, through every command and every tab of the app."""

from __future__ import annotations

import json
import os
import pty
import shlex
import sys
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tests.fakes import fake_spec, write_run
from tests.faults.forked import Scheduler, Server
from tests.tui.fake_queue import CPU_ONLY
from tests.tui.stage import NARROW, WIDE, Show, SteadyRecord, watched
from tui_datasize.cli import doctor, watch
from tui_datasize.cli.dispatch import main
from tui_datasize.cli.parser import build_parser
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.database import open_database
from tui_datasize.jobs.queue.faults import FaultKind, Faults
from tui_datasize.jobs.rebuild import repair
from tui_datasize.jobs.scheduler import launch
from tui_datasize.runlog.paths import ProjectPaths, RunPaths
from tui_datasize.tui import doctor_dialog as app_doctor
from tui_datasize.tui.app import DatasizeApp
from tui_datasize.tui.widgets.plain import PrintableOnly

HOSTILE = "x\x1b[2J\x1b]0;owned\x07\x9b31m[/nope][bold red]\u202e\u200bé\x7f\r\n=1+1:bomb:"
SURROGATE = HOSTILE + "\ud83d"
ACTING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def acting(text: str) -> set[str]:
    """Characters that do something to a terminal, or to those beside them."""
    return {c for c in set(text) if unicodedata.category(c) in ACTING} - {"\n"}


def change(file: Path, **values: Any) -> None:
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | values))


def spoil(paths: RunPaths, words: str = HOSTILE) -> None:
    """Write hostile words wherever a run directory holds words of others."""
    classes = json.loads(paths.dataset.read_text())
    hostile = [f"{words}{number}" for number in range(len(classes["class_names"]))]
    change(paths.dataset, class_names=hostile, normalisation=words, fingerprint=words)
    change(paths.provenance, hostname=words, gpu_name=words, python=words, argv=[words])
    change(paths.spec, git_commit=words, git_branch=words, package_version=words, tags=[words])
    for log in (paths.stdout, paths.stderr):
        log.write_bytes(f"{HOSTILE}\n{'y' * 5000}".encode() + b"\xff\x9b31m\n")
    with paths.metrics.open("a") as file:
        file.write(f"{HOSTILE}\n" + json.dumps({"event": words, "update": 1}) + "\n")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProjectPaths]:
    """Runs that succeeded, failed and were cancelled, in a directory whose own name is hostile.

    All tests share it: whatever one of them leaves is for the next one to bear.
    """
    place, server = tmp_path_factory.mktemp("hostile"), Server()

    def spawn(project: ProjectPaths, options: Sequence[str]) -> Scheduler:
        arguments = ["--project", str(project.root), *options]
        return server.start(arguments, project.root, project.scheduler_log)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "_spawn", spawn)
        patch.setenv("DATASIZE_SLOTS_DIR", str(place / "slots"))
        patch.setattr(launch, "ensure_scheduler", with_hostile_workers)
        # Importing torch takes seconds, whatever it says.
        patch.setattr(
            doctor, "_torch", lambda: doctor.Check("torch", "fail", f"{HOSTILE} cannot be imported")
        )
        patch.setattr(app_doctor, "doctor_command", hostile_findings)
        patch.setattr(watch, "LOOK_EVERY_S", 0.05)
        project = make_project(place)
        yield project
        QueueClient(project).stop_scheduler()
    server.close()


def hostile_findings(_project: ProjectPaths) -> Sequence[str]:
    """What takes the place of the process that looks for the app."""
    finding = {"name": "torch", "verdict": "fail", "text": SURROGATE}
    return sys.executable, "-c", f"print({json.dumps([finding])!r})"


_start = launch.ensure_scheduler


def with_hostile_workers(project: ProjectPaths, options: Sequence[str] = ()) -> int | None:
    return _start(project, ["--worker", WORKER, "--call", "", "--cpu-slots", "2", "--cpu", *options])


WORKER = shlex.join(
    [
        *("sh", "-c"),
        'printf \'{"attempt": %d, "outcome": "failed", "reason": "%s %s", "finished_at": ""}\' '
        f"$(($(date +%s%N) / 10000000 % 1000000000)) $(echo $$ | tr 0-9 a-j) '{json.dumps(HOSTILE)[1:-1]}' "
        '> "$0/new" && mv -f "$0/new" "$0/exit.json"; '
        f"printf %s '{HOSTILE}' >&2",
    ]
)
"""Fails with hostile words, which letters tell apart: runs that die alike would pause the queue."""


def make_project(tmp_path: Path) -> ProjectPaths:
    project = ProjectPaths(tmp_path / "p\x1b[31m[bold]\u202e")
    project.root.mkdir()
    title = json.dumps(HOSTILE.replace("\x7f", ""))
    project.experiments.write_text(
        f'[experiments.digits]\ntitle = {title}\ndataset = "digits"\nmodel = {{ name = "mlp" }}\n'
        "sizes = [40, 80, 160]\nseeds = [0, 1, 2, 3]\nbudget = { samples = 6400 }\nbatch_size = 32\n"
        "evaluate = { times = 4 }\n"
        '[experiments.folder]\ndataset = "imagefolder:no\\u001b[31m[/x]where"\nmodel = { name = "cnn3" }\n'
        "sizes = [40]\nbudget = { updates = 1 }\nbatch_size = 32\n"
    )
    for size in (40, 80, 160):
        for seed in range(2):
            spoil(write_run(project, fake_spec("digits", train_size=size, seed=seed)))
    for seed, state in ((7, "failed"), (8, "cancelled")):
        spec = fake_spec("digits", train_size=40, seed=seed)
        spoil(write_run(project, spec, state=state, reason=HOSTILE))
    # Half a character makes a file unreadable.
    spoil(write_run(project, fake_spec("digits", train_size=40, seed=9)), SURROGATE)
    strange = project.runs / "digits" / "strange\x1b[31m[bold]\udcff"
    strange.mkdir()
    (strange / "spec.json").write_text(HOSTILE)
    repair(project)
    states = Counter(job.state for job in QueueClient(project).jobs())
    assert states == {"succeeded": 6, "failed": 1, "cancelled": 1}
    with_faults = open_database(project.queue)
    Faults(with_faults, project.queue).report(FaultKind.SLOTS, HOSTILE, f"{HOSTILE} cannot be used")
    with_faults.close()
    table(project).write_text(
        f"train_size,seed,test_accuracy,{HOSTILE.strip()!r}\n40,0,0.5,{HOSTILE.strip()!r}\n80,1,0.6,x\n"
    )
    return project


def table(project: ProjectPaths) -> Path:
    """Results from elsewhere, in a file of a hostile name."""
    return project.root / "t\x1b[31m[bold]\u202e.csv"


FIRST = fake_spec("digits", train_size=40, seed=7).run_id
TABLE = "TABLE"
"""Stands for the file of results from elsewhere."""
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
    ("analyze", HOSTILE),
    ("plan", "digits", "--variant", HOSTILE),
    ("report", "digits", "-o", f"/nowhere/{HOSTILE}.html"),
    ("export", "--table", "runs", "-o", f"/nowhere/{HOSTILE}.csv"),
    ("export", "--table", HOSTILE),
    ("prune",),
    ("move", FIRST, "--by", "-1"),
    ("move", HOSTILE, "--by", "1"),
    ("release", FIRST),
    ("release", HOSTILE),
    ("drain",),
    ("run", HOSTILE),
    ("run", "folder"),
    ("drain", "--off"),
    ("run", "digits", "--sizes", "40", "--seeds", "3"),
    ("demo", "--headless"),
    ("import", "other", TABLE, "--dry-run"),
    ("import", "other", TABLE),
    ("import", HOSTILE, TABLE),
    ("import", "other", TABLE, "--column", f"size={HOSTILE}"),
    ("import", "other", f"/nowhere/{HOSTILE}"),
    ("experiments",),
    ("config", "show"),
    ("note", HOSTILE, HOSTILE),
    ("note", "digits", HOSTILE),
    ("note", "digits"),
    ("status",),
    ("selftest", HOSTILE),
    ("scheduler", "status"),
    ("scheduler", "start", "--packs", HOSTILE),
    ("scheduler", "start"),
    ("scheduler", "restart", "--cpu-slots", "1"),
    ("scheduler", "stop"),
    ("undo",),
    ("completion", "bash"),
    (HOSTILE,),
)


@pytest.mark.long
def test_no_command_lets_a_character_act(project: ProjectPaths, capsys: pytest.CaptureFixture[str]):
    for words in COMMANDS:
        command = [str(table(project)) if word == TABLE else word for word in words]
        with suppress(SystemExit):
            main([*command, "--project", str(project.root)])
        told = capsys.readouterr()
        assert told.out + told.err, words
        assert not acting(told.out + told.err), (words, told)
        assert "Traceback" not in told.err, (words, told)
    failed = [job for job in QueueClient(project).jobs() if "owned" in job.reason]
    # What the workers said was told by whoever waited for them.
    assert len(failed) > 2


def test_every_command_is_tried_with_hostile_text():
    (commands,) = (action for action in build_parser()._actions if isinstance(action.choices, dict))
    assert {words[0] for words in COMMANDS} >= set(commands.choices or ()) - {"app"}


@pytest.mark.parametrize(
    "words",
    [("export", "--table", "runs", "--format", "csv"), ("logs", FIRST)],
)
def test_data_to_a_terminal_let_no_character_act(
    project: ProjectPaths, words: Sequence[str], monkeypatch: pytest.MonkeyPatch
):
    """What is data to a file or a program is text to a terminal."""
    leader, follower = pty.openpty()
    told = bytearray()

    def read() -> None:
        # It ends with an error once the other end is closed.
        with suppress(OSError):
            while data := os.read(leader, 65536):
                told.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(follower, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        assert main([*words, "--project", str(project.root)]) == 0
    reader.join()
    os.close(leader)
    assert told
    # The terminal itself puts a return before each end of a line.
    assert not acting(told.decode().replace("\r\n", "\n"))


@pytest.mark.long
async def test_no_tab_lets_a_character_act(project: ProjectPaths):
    queue = QueueClient(project)
    queue.stop_scheduler()
    before = set(project.root.glob("*.csv"))
    app = DatasizeApp(project, queue, lambda: SteadyRecord(project), lambda: CPU_ONLY, interval_s=5)
    # The last door is open: what another one let through would stand on the screen.
    is_open = patch.object(PrintableOnly, "apply", lambda _, segments, background: segments)  # noqa: ARG005
    with watched(), is_open:
        async with app.run_test(size=WIDE) as pilot:
            show = Show(app, pilot)
            await show.until(lambda: app.snapshot.is_ready)
            for keys in KEYS:
                await show.press(*keys)
                await show.settle()
                if keys == ("s",):
                    # It opens once the scheduler has been looked at.
                    await show.shows("pack_width")
                assert not acting(show.text), (keys, show.text)
                if keys == ("d",):
                    await show.shows("1 error: torch", "owned")
                    assert not acting(show.text), show.text
                if keys == ("ctrl+e",):
                    await show.until(lambda: set(project.root.glob("*.csv")) > before)
                    await show.settle()
                    assert not acting(show.text), show.text
            await pilot.resize_terminal(*NARROW)
            await show.settle()
            assert not acting(show.text)
    assert app.return_code in (None, 0)


KEYS: Sequence[Sequence[str]] = (
    *(("i",), ("escape",), ("tab",), ("i",), ("escape",), ("tab",), ("i",), ("escape",), ("l",), ("escape",)),
    *(("slash", *"fail", "enter"), ("i",), ("escape",), ("escape",), ("question_mark",), ("escape",)),
    *(("ctrl+e",), ("2",), ("j",), ("i",), ("escape",), ("3",), ("e",), ("escape",)),
    *[("p",)] * 5,
    *(("1",), ("s",), ("escape",), ("d",), ("escape",)),
)
"""Every tab and dialog, and some pages: all are drawn by one widget."""
