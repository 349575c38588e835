"""The command line: examples that parse, and bad input that ends in one line, status 2 and nothing queued."""

import json
import os
import re
import subprocess
import sys

import pytest

from tui_datasize.cli.basics import print_json
from tui_datasize.cli.dispatch import main
from tui_datasize.cli.parser import build_parser
from tui_datasize.jobs.queue import cluster
from tui_datasize.jobs.queue.state import JobState

PROJECT = """
[experiments.small]
dataset = "digits"
model   = "mlp"
sizes   = [40, 80]
seeds   = [0, 1]
budget  = { updates = 10 }
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project directory that is the current one, with data and slots of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATASIZE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DATASIZE_SLOTS_DIR", str(tmp_path / "slots"))
    (tmp_path / "experiments.toml").write_text(PROJECT)
    return tmp_path


def commands() -> list[str]:
    parser = build_parser()
    (actions,) = (a for a in parser._actions if a.dest == "command")
    return sorted(actions.choices)


@pytest.mark.parametrize("command", commands())
def test_every_command_shows_an_example_that_parses(command, capsys):
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    example = re.search(r"example:  datasize-tui (.+)", capsys.readouterr().out)
    assert example
    assert build_parser().parse_args(example[1].split()).command == command


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batchsize = 3", "experiments.small: unknown key 'batchsize'; did you mean 'batch_size'?"),
        ("fractions = [2]", "expected exactly one of sizes, fractions, per_class"),
        (
            "[experiments.small]\ndataset = 'digits'",
            "the table [experiments.small] is defined twice (at line",
        ),
        ("x = [", "not valid TOML"),
        ("[experiments.'a b']", "'a b' is not a name"),
    ],
)
def test_a_wrong_file_is_one_line_and_queues_nothing(project, capsys, text, message):
    (project / "experiments.toml").write_text(PROJECT + text)
    assert main(["queue", "small"]) == 2
    assert_one_line(capsys, message)
    assert not (project / "runs" / "queue.db").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[40, 80]", "[40, 5000]", "experiments.small.sizes: 5000 images, but digits has 1437 to train on"),
        ('"digits"', '"imagefolder:none"', "data/none: no such image folder"),
        ('"digits"', '"digitz"', "unknown data set 'digitz'"),
    ],
)
def test_a_sweep_that_cannot_run_is_one_line_and_queues_nothing(project, capsys, old, new, message):
    (project / "experiments.toml").write_text(PROJECT.replace(old, new))
    assert main(["queue", "small"]) == 2
    assert_one_line(capsys, message)
    assert not (project / "runs" / "queue.db").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["queue", "smal"], "no experiment 'smal'; did you mean 'small'?"),
        (["queue", "small", "--sizes", "50"], "no size 50 in the sweep; it has 40, 80"),
        (["queue", "small", "--seeds", "0,7"], "no seed 7 in the sweep; it has 0, 1"),
        (["cancel", "nothing"], "nothing"),
        (["logs", "nothing"], "nothing"),
        (["analyze", "nothing"], "no experiment 'nothing'"),
        (["analyze", "small", "--target", "950"], "no target 950 % for test_accuracy"),
        (["analyze", "small", "--target", "high"], "no target for test_accuracy: 'high'"),
        (["analyze", "small", "--target", "1"], "target '1' is unclear; write 1% or 100%"),
        (["analyze", "small", "--delta=-1%"], "-1 points is no gain to look for"),
        (["analyze", "small", "--delta", "0.5"], "gain '0.5' is unclear; write it like 0.5% or 0.5 points"),
        (["--project", "elsewhere", "queue", "small"], "elsewhere: no such directory"),
        (["export", "--experiment", "nothing"], "no experiment 'nothing'"),
        (["export", "--table", "curve", "--metric", "test_acuracy"], "no metric 'test_acuracy'"),
        (
            ["export", "--output", "no/such/folder/runs.csv"],
            "runs.csv: cannot be written: no folder no/such/folder",
        ),
        (["status", "--experiment", "nothing"], "no experiment 'nothing' in the queue"),
    ],
)
def test_bad_arguments_are_one_line(project, capsys, arguments, message):
    assert main(arguments) == 2
    assert_one_line(capsys, message)


@pytest.mark.parametrize(
    "arguments",
    [
        ["quue"],
        ["queue"],
        ["queue", "small", "--sizes", "forty"],
        ["queue", "small", "--order", "by-hand"],
        ["run", "small", "--order", "by-hand"],
        ["export", "--format", "xls"],
    ],
)
def test_wrong_usage_exits_with_two(project, capsys, arguments):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert "usage: datasize-tui" in capsys.readouterr().err


def test_an_unwritable_runs_directory_is_one_line(project, capsys):
    (project / "runs").write_text("a file stands where the directory should be")
    assert main(["queue", "small"]) == 2
    assert_one_line(capsys, "runs")


def test_dry_run_lists_the_missing_runs_and_queues_nothing(project, capsys):
    assert main(["queue", "small", "--sizes", "80", "--dry-run"]) == 0
    output = capsys.readouterr()
    assert [line.split("-s")[0] for line in output.out.split()] == ["small-n80-d0"] * 2
    assert "2 of 2 runs would be queued, 20 updates; nothing was queued" in output.err
    assert not (project / "runs" / "queue.db").exists()


def test_dry_run_refuses_a_place_as_queueing_does_and_names_it_otherwise(project, capsys, monkeypatch):
    monkeypatch.setattr(cluster.shutil, "which", lambda name: f"/usr/bin/{name}")
    file = project / "experiments.toml"
    told = file.read_text()
    for table in ("", "[cluster]\nshared = '/nowhere'\n"):
        file.write_text(table + told)
        refused = []
        for options in ([], ["--dry-run"]):
            assert main(["queue", "small", "--on", "slurm", *options]) == 2
            refused.append(capsys.readouterr().err)
        assert refused[0] == refused[1] != ""
    file.write_text("[cluster]\n" + told)
    assert main(["queue", "small", "--on", "slurm", "--dry-run"]) == 0
    assert "runs would be queued on slurm, " in capsys.readouterr().err
    assert main(["queue", "small", "--on", "slurm", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["on"] == "slurm"


@pytest.mark.parametrize(
    ("options", "order"),
    [
        ([], ["n40-d0-s0", "n80-d0-s0", "n40-d0-s1", "n80-d0-s1"]),
        (["--order", "by-size"], ["n40-d0-s0", "n40-d0-s1", "n80-d0-s0", "n80-d0-s1"]),
        (["--order", "by-size", "--seeds", "1", "--force"], ["n40-d0-s1", "n80-d0-s1"]),
        (["--order", "by-seed", "--sizes", "80"], ["n80-d0-s0", "n80-d0-s1"]),
    ],
)
def test_runs_are_queued_in_the_order_that_is_asked_for(project, capsys, options, order):
    assert main(["queue", "small", *options, "--dry-run"]) == 0
    shown = [line.removeprefix("small-").rpartition("-")[0] for line in capsys.readouterr().out.split()]
    assert shown == order


@pytest.mark.parametrize(
    ("own", "asked", "second"), [("by-size", None, "n40"), ("by-size", "by-seed", "n80")]
)
def test_the_default_order_is_that_of_the_experiment(project, capsys, own, asked, second):
    (project / "experiments.toml").write_text(f'{PROJECT}order = "{own}"')
    assert main(["queue", "small", "--dry-run", *(["--order", asked] if asked else [])]) == 0
    assert capsys.readouterr().out.split()[1].startswith(f"small-{second}-")


def test_a_closed_pipe_is_no_error(project):
    done = subprocess.run(
        f"{sys.executable} -m tui_datasize experiments --json | head -c 1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""


def assert_one_line(capsys, message: str) -> None:
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert "Traceback" not in error


def test_a_project_whose_path_is_no_text_is_refused_in_one_line(project, capsys):
    folder = project / os.fsdecode(b"\xff")
    folder.mkdir()
    (folder / "experiments.toml").write_text(PROJECT)
    assert main(["--project", str(folder), "queue", "small"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("count", [0, 1, 2, 501])
@pytest.mark.parametrize("is_alike", [True, False])
def test_json_of_many_rows_is_what_it_is_as_a_whole(
    count: int, is_alike: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    one: dict[str, object] = {"% of": "100 %s", "name": "ä\n", "ids": (), "state": JobState.QUEUED, "n": None}
    others = one | {"ids": ("a", "b"), "n": 0, "name": "b, c"}, one | {"ids": ("d",), "n": False}
    rows = [one if is_alike else (one, *others)[place % 3] for place in range(count)]
    print_json({"a": 1}, rows={name: [row[name] for row in rows] for name in one}, none={})
    assert capsys.readouterr().out == json.dumps({"a": 1, "rows": rows, "none": []}) + "\n"
