"""Terminals that show no app, shells that complete commands, and exit statuses that scripts go by."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from tests.unit.queue_desk import FIRST, Queue
from tui_datasize.cli import status
from tui_datasize.cli.dispatch import main
from tui_datasize.errors import EXIT_BAD_INPUT, EXIT_TRY_AGAIN


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["ana"], ["analyze"]),
        (["queue", "--dr"], ["--dry-run"]),
        (["scheduler", "sto"], ["stop"]),
        (["--project", "here", "analyze", ""], ["alpha", "b-2"]),
        (["queue", "--project", "here", "al"], ["alpha"]),
        (["status", "--project", "here", "--experiment", "b"], ["b-2"]),
    ],
)
def test_bash_completes_commands_options_choices_and_experiments(typed, offered, capsys, tmp_path):
    lines = 'dataset = "digits"\nmodel = "mlp"\nsizes = [40]\nbudget = { updates = 1 }\n'
    (tmp_path / "experiments.toml").write_text(f"[experiments.alpha]\n{lines}[experiments.b-2]\n{lines}")
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "completion"
    script.write_text(capsys.readouterr().out)
    typed = [word.replace("here", str(tmp_path)) for word in typed]
    words = " ".join(["datasize-tui", *(word or "''" for word in typed)])
    asked = (
        f'datasize-tui() {{ {sys.executable} -m tui_datasize "$@"; }}; '
        f"source {script}; COMP_WORDS=({words}); COMP_CWORD={len(typed)}; "
        "$(complete -p datasize-tui | sed 's/.*-F \\([^ ]*\\).*/\\1/') datasize-tui; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.split() == offered


def test_a_terminal_that_cannot_move_its_cursor_gets_the_queue_as_text(queue: Queue, monkeypatch, capsys):
    project = queue.client.project
    project.experiments.write_text(
        '[experiments.base]\ndataset = "digits"\nmodel = "mlp"\nsizes = [40]\nbudget = { updates = 1 }\n'
    )
    queue.enqueue(FIRST)
    monkeypatch.setenv("TERM", "dumb")
    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    # Nobody is there to start it.
    assert main(["--project", str(project.root)]) == 1
    told = capsys.readouterr()
    assert told.out.split()[-6:-4] == [FIRST.experiment, "1"]
    assert "\x1b" not in told.out + told.err
    assert "datasize-tui status" in told.err
    assert "no experiments here yet" not in told.err
    project.experiments.unlink()
    monkeypatch.setenv("TERM", "")
    assert main(["--project", str(project.root)]) == 1
    told = capsys.readouterr()
    for offer in ("datasize-tui demo", "experiments --template", "import NAME FILE"):
        assert offer in told.err


@pytest.mark.parametrize(
    ("number", "exit_status"),
    [(errno.ENOSPC, EXIT_TRY_AGAIN), (errno.EMFILE, EXIT_TRY_AGAIN), (errno.ENOENT, EXIT_BAD_INPUT)],
)
def test_what_may_pass_has_an_exit_status_of_its_own(queue: Queue, number, exit_status, monkeypatch, capsys):
    def look(*_):
        raise OSError(number, os.strerror(number), "runs")

    monkeypatch.setattr(status, "_look", look)
    assert main(["status", "--project", str(queue.client.project.root)]) == exit_status
    assert capsys.readouterr().err == f"datasize-tui: runs: {os.strerror(number)}\n"
