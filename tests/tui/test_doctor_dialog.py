"""`d` on the Queue tab: the checks of `doctor`, asked of a process of their own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.tui.stage import Stage
from tui_datasize.cli.dispatch import main
from tui_datasize.cli.doctor import Check
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.tui.doctor_dialog import CheckResult, DoctorDialog, doctor_command, read_results

SOUND = [{"name": "torch", "verdict": "ok", "text": "torch 2.9 sees no GPU"}]
BROKEN = [
    {"name": "versions", "verdict": "ok", "text": "datasize-tui 1, Python 3.11"},
    {"name": "devices", "verdict": "warn", "text": "no GPU is visible: jobs run on the CPU"},
    {"name": "disk", "verdict": "fail", "text": "0.1 GB free for /data/runs; free some space"},
]

Doctor = Callable[[str], None]


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Makes lines of Python take the place of the checks."""

    def replace(code: str) -> None:
        def command(_project: ProjectPaths) -> Sequence[str]:
            return (sys.executable, "-c", code)

        monkeypatch.setattr("tui_datasize.tui.doctor_dialog.doctor_command", command)

    return replace


async def test_what_would_stop_a_run_stands_first_and_out(busy: Stage, doctor: Doctor):
    doctor(f"print({json.dumps(BROKEN)!r}); raise SystemExit(1)")
    async with busy.open() as show:
        await show.press("d")
        async for _ in show.sizes():
            await show.shows("1 error: disk, 1 warning")
            lines = show.lines
            (row,) = [line for line in lines if "✗ fail  disk" in line]
            assert "0.1 GB free" in row
            assert any("! warn" in line and "devices" in line for line in lines)
            assert any("✓ ok" in line and "versions" in line for line in lines)
        await show.press("escape")
        await show.until(lambda: not isinstance(show.app.screen, DoctorDialog))
        # A sound project is told in one line.
        doctor(f"print({json.dumps(SOUND)!r})")
        await show.press("d")
        await show.shows("No errors", "torch 2.9 sees no GPU")


async def test_a_line_waits_while_the_checks_run_and_leaving_ends_them(
    busy: Stage, doctor: Doctor, tmp_path: Path
):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    doctor(f"open({str(pipe)!r}, 'w').write('here'); import signal; signal.pause()")
    async with busy.open() as show:
        await show.press("d")
        await show.shows("checking everything that a run needs")
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        # The process has opened its end: it is there.
        await show.until(lambda: _read(reader) == b"here")
        await show.press("escape")
        await show.until(lambda: not isinstance(show.app.screen, DoctorDialog))
        await show.until(lambda: not _processes(str(pipe)))
        os.close(reader)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 100)
    except BlockingIOError:
        return b""


def _processes(word: str) -> list[str]:
    """The command lines that hold a word."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if word in command:
            found.append(command)
    return found


async def test_checks_that_do_not_begin_or_come_to_no_end_are_one_line(
    busy: Stage, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
):
    async with busy.open() as show:
        for code, told in (
            ("raise SystemExit('/nowhere: no such directory')", "/nowhere: no such directory"),
            ("print('[3]')", "exit status 0"),
            ("", "exit status 0"),
        ):
            doctor(code)
            await show.press("d")
            await show.shows("the checks did not end", told)
            await show.press("escape")
            await show.until(lambda: "the checks did not end" not in show.text)
        monkeypatch.setattr("tui_datasize.tui.doctor_dialog.doctor_command", lambda _: ("/nowhere/python",))
        await show.press("d")
        await show.shows("the checks cannot be started: No such file or directory")
        await show.press("escape")
        titles = {command.title for command in show.app.get_system_commands(show.app.screen)}
        assert {"Scheduler (s)", "Doctor (d)", "Free disk (F)"} <= titles


def test_what_doctor_prints_is_what_the_app_reads(
    busy: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    checks = [Check("torch", "ok", "2.9"), Check("disk", "fail", "full")]
    monkeypatch.setattr("tui_datasize.cli.doctor.run_checks", lambda _paths: checks)
    python, *options = doctor_command(busy.project)
    assert (python, options[:3]) == (sys.executable, ["-P", "-m", "tui_datasize"])
    assert main(options[3:]) == 1
    assert read_results(capsys.readouterr().out) == [
        CheckResult("torch", "ok", "2.9"),
        CheckResult("disk", "fail", "full"),
    ]
