"""The frame of a selftest: limits, verdicts, the record and what is said of it; no step of it computes."""

from __future__ import annotations

import json
import os
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import tui_datasize
from tests.unit.fake_selftest_steps import CARD
from tui_datasize.cli import doctor
from tui_datasize.cli.dispatch import main
from tui_datasize.errors import EXIT_BAD_INPUT, EXIT_OK, EXIT_RUN_FAILED
from tui_datasize.jobs.scheduler.devices import DeviceReport, Gpu
from tui_datasize.training.selftest import catalogue, command, record, runner
from tui_datasize.training.selftest.catalogue import STEPS

PATIENCE_S = 60


@pytest.fixture(autouse=True)
def steps(tmp_path, monkeypatch):
    """Have steps do what they are told, on a machine with a card; returns how to tell them."""
    monkeypatch.setattr(runner, "_CHILD", "tests.unit.fake_selftest_steps")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("DATASIZE_SLOTS_DIR", str(tmp_path / "slots"))
    monkeypatch.setenv("FAKE_PIDS", str(tmp_path / "pids"))
    monkeypatch.setenv("FAKE_STEPS", "probe=good")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(command, "_TRACES", [str(tmp_path)])
    return lambda words: monkeypatch.setenv("FAKE_STEPS", words)


def kept(tmp_path):
    (file,) = (tmp_path / "state").rglob(record.NAME)
    return json.loads(file.read_text())


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_limits_of_all_steps_come_to_12_minutes():
    assert sum(step.limit_s for step in STEPS.values()) <= 12 * 60


def test_a_step_is_ended_at_its_limit_with_all_it_started_and_keeps_what_it_found(steps, tmp_path):
    pids = tmp_path / "pids"

    class LateOnceItHangs(runner.StepHost):
        def wait(self, limit_s):
            assert limit_s == 5
            deadline = time.monotonic() + PATIENCE_S
            while not pids.exists() or not pids.read_text():
                assert super().wait(0.01) is None
                assert time.monotonic() < deadline

    steps("bits=hangs")
    with closing(LateOnceItHangs()) as host:
        result = runner.run_step(replace(STEPS["bits"], limit_s=5.0), os.environ, host, tmp_path)
    assert (result.verdict, result.told) == ("fail", "not done after 5 s")
    assert [check["name"] for check in result.checks] == ["it computes"]
    own, orphan = map(int, pids.read_text().split())
    deadline = time.monotonic() + PATIENCE_S
    while is_alive(own) or is_alive(orphan):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_no_step_ends_the_rest_and_anything_wrong_is_exit_status_1(steps, tmp_path, capsys):
    steps("kernels=wrong,recording=dies,memory=away,packs=empty")
    assert main(["selftest", "kernels", "recording", "packs", "memory", "placement"]) == EXIT_RUN_FAILED
    told = capsys.readouterr().out
    lines = {line.split()[1]: line.split() for line in told.splitlines()[:6]}
    assert [lines[name][0] for name in ("probe", "kernels", "recording", "packs", "memory", "placement")] == [
        *("ok", "FAIL", "FAIL", "FAIL", "-", "ok")
    ]
    assert "bits: not equal: weights" in told
    assert "ended by signal 6" in told
    assert "it checked nothing" in told
    assert "not tested, no disk for it: memory" in told
    assert (
        "results are right: NO; updates are recorded: NO; fused packs agree: NO; images from disk: 2,900/s"
        in told
    )
    steps_kept = kept(tmp_path)["steps"]
    assert list(steps_kept) == [name for name in STEPS if name in steps_kept]
    assert steps_kept["kernels"]["checks"][1] == {"name": "bits", "good": False, "told": "not equal: weights"}


def test_a_step_that_takes_the_process_with_it_that_steps_are_forked_from_ends_no_other(steps, capsys):
    steps("bits=ends_its_host")
    assert main(["selftest", "bits", "packs"]) == EXIT_RUN_FAILED
    verdicts = [line.split()[:2] for line in capsys.readouterr().out.splitlines()[:3]]
    assert verdicts == [["ok", "probe"], ["FAIL", "bits"], ["ok", "packs"]]


def test_what_is_good_is_exit_status_0_and_each_step_is_written_when_it_ends(steps, tmp_path, monkeypatch):
    seen = []
    run_step = runner.run_step

    def look(step, *arguments):
        seen.append([list(json.loads(file.read_text())["steps"]) for file in tmp_path.rglob(record.NAME)])
        return run_step(step, *arguments)

    monkeypatch.setattr(command, "run_step", look)
    assert main(["selftest", "bits", "speed"]) == EXIT_OK
    assert seen == [[], [["probe"]], [["probe", "bits"]]]
    # The card that was probed, by the name that workers get.
    figures = kept(tmp_path)["steps"]["speed"]["figures"]
    assert figures["seen_device"] == CARD["device_uuid"]
    # What a step starts finds this code on a machine on which it is not installed.
    assert str(Path(tui_datasize.__file__).parents[1]) in figures["import_path"].split(os.pathsep)


def test_a_device_that_cannot_be_used_is_told_once_and_nothing_is_tried_on_the_cpu(steps, tmp_path, capsys):
    steps("probe=wrong")
    assert main(["selftest"]) == EXIT_RUN_FAILED
    assert capsys.readouterr().out.count("FAIL") == 1
    assert {step["verdict"] for step in kept(tmp_path)["steps"].values()} == {"fail", "left out"}


def test_on_a_cpu_what_makes_no_sense_there_is_never_passed(steps, tmp_path, capsys):
    assert main(["selftest", "--cpu", "recording", "memory", "bits"]) == EXIT_OK
    found = {name: step["verdict"] for name, step in kept(tmp_path)["steps"].items()}
    assert found == {"probe": "ok", "bits": "ok", "recording": "left out", "memory": "left out"}
    assert "not tested, not on a CPU: recording, memory" in capsys.readouterr().out


def test_packages_that_are_missing_are_named(steps, monkeypatch, capsys):
    monkeypatch.setattr(catalogue, "_is_installed", lambda package: package not in ("polars", "rich"))
    assert main(["selftest", "end-to-end"]) == EXIT_OK
    assert "needs polars, rich, not installed here" in capsys.readouterr().out


def test_a_step_made_again_replaces_itself_alone(steps, tmp_path):
    steps("bits=wrong")
    assert main(["selftest", "bits", "packs"]) == EXIT_RUN_FAILED
    steps("bits=good")
    assert main(["selftest", "bits"]) == EXIT_OK
    assert {name: step["verdict"] for name, step in kept(tmp_path)["steps"].items()} == {
        "probe": "ok",
        "bits": "ok",
        "packs": "ok",
    }


def test_json_alone_is_on_stdout_and_a_file_gets_it_too(steps, tmp_path, capsys):
    output = tmp_path / "mine.json"
    assert main(["selftest", "bits", "--json", "-o", str(output)]) == EXIT_OK
    told = capsys.readouterr()
    assert json.loads(told.out) == json.loads(output.read_text()) == kept(tmp_path)
    assert "bits" in told.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["speeed"], "speeed: no such step; expected some of probe, kernels"),
        (["-o", "/nowhere/at/all.json"], "no folder /nowhere/at"),
        (["-o", "/dev/null"], "it is no regular file"),
    ],
)
def test_wrong_usage_is_one_line(words, expected, capsys):
    assert main(["selftest", *words]) == EXIT_BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line


@pytest.mark.parametrize("text", ["0", "nan", "1e9", "many"])
def test_patience_has_bounds(text, capsys):
    with pytest.raises(SystemExit):
        main(["selftest", "--patience", text])
    assert f"--patience: expected a number from 1 to 20, got {text}" in capsys.readouterr().err


def test_while_runs_are_at_work_it_waits_for_a_word(tmp_path, monkeypatch, capsys):
    from tui_datasize.jobs.scheduler.slots import SlotHolder

    monkeypatch.setattr(doctor, "read_holders", lambda _: [SlotHolder("cpu", "/a", 7)])
    assert main(["selftest", "bits"]) == EXIT_BAD_INPUT
    assert "runs are at work: /a (1); `datasize-tui drain`" in capsys.readouterr().err
    assert main(["selftest", "bits", "--busy"]) == EXIT_OK


def test_doctor_tells_when_it_was_made_on_this_card_driver_and_torch(steps, monkeypatch):
    def told(driver="580.1"):
        gpu = Gpu("GPU-1", 0, "NVIDIA H200", 2**37, 2**37, 0, 40)
        monkeypatch.setattr(doctor, "read_devices", lambda: DeviceReport((gpu,), 0, "", driver))
        (check,) = doctor._selftests()
        return check.verdict, check.text

    assert told() == (
        "warn",
        "not run yet on NVIDIA H200 with this driver and torch: `datasize-tui selftest` (12 minutes)",
    )
    assert main(["selftest", "bits", "speed"]) == EXIT_OK
    verdict, text = told()
    assert verdict == "ok"
    assert text.endswith("UTC: nothing wrong in 3 steps")
    assert told("590.2")[0] == "warn"
    steps("bits=wrong")
    main(["selftest", "bits"])
    verdict, text = told()
    assert verdict == "warn"
    assert "WRONG in bits: see /" in text
    monkeypatch.setattr(record, "installed_version", lambda _: "9.9")
    assert "not run yet" in told()[1]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 1}', '{"format": 1, "machine": {}, "steps": {"bits": 1}}']
)
def test_a_record_that_is_damaged_is_none(text, tmp_path):
    file = tmp_path / record.NAME
    file.write_text(text)
    assert record.read(file) is None


def test_the_list_tells_each_step(capsys):
    assert main(["selftest", "--list"]) == EXIT_OK
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(STEPS)


def test_lines_fit_the_terminal(monkeypatch):
    class Terminal:
        def __init__(self):
            self.text = ""

        def isatty(self):
            return True

        def write(self, text):
            self.text += text

        def flush(self):
            pass

    monkeypatch.setenv("COLUMNS", "80")
    terminal = Terminal()
    screen = command._Screen(terminal)
    screen.show(runner.StepResult("end-to-end", "fail", "12 runs succeed: 3 of 12 did; " * 8, 88.0))
    screen.conclude(["bits repeat: yes; " * 12], Path("/a"))
    assert max(map(len, terminal.text.splitlines())) <= 80
