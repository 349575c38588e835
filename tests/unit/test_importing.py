"""Results from elsewhere: every form becomes runs that the reader knows, and nothing comes in by halves."""

from __future__ import annotations

import json
import os
import subprocess
from errno import ENOSPC
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import fake_spec, write_run
from tests.unit.import_desk import event_file, message, record
from tui_datasize.cli.dispatch import main
from tui_datasize.errors import ConfigError
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.rebuild import repair
from tui_datasize.runlog.importing import delimited, events, into_project, staged
from tui_datasize.runlog.importing.events import masked_crc
from tui_datasize.runlog.reader import RunLog
from tui_datasize.stats.summary import analyse_curves

SIZES = [750, 800, 1000, 1200, 1500, 2000, 2400, 3000, 4000, 6000, 12000]


def test_a_share_of_single_precision_just_above_one_is_one(desk):
    file = desk.file("a.csv", "size,seed,test_f1_macro\n40,0,1.0000001192092896\n80,0,0.9\n")
    assert desk.bring(file) == 0
    assert desk.rows("test_f1_macro") == [(40, 0, 1.0), (80, 0, 0.9)]


def test_a_plan_for_imported_runs_names_no_recipe_to_put_back(desk, capsys):
    rows = "".join(
        f"{n},{s},{0.97 - 3 * n**-0.6 + s / 1000:.4f}\n" for n in (200, 400, 800, 1600) for s in (0, 1)
    )
    assert desk.bring(desk.file("a.csv", f"size,seed,test_accuracy\n{rows}")) == 0
    desk.file("experiments.toml", "")
    capsys.readouterr()
    assert main(["plan", "theirs", "--runs", "4", "--project", str(desk.project.root)]) == 0
    printed = capsys.readouterr()
    assert "train the further ones where they come from" in printed.err
    # How many samples such a run sees is not known, and is not told as 0.
    assert "to add" in printed.out
    assert "samples" not in printed.out


def test_a_table_of_means_gives_the_published_law(desk, capsys):
    lines = [f"B{i},{n},{43.44 + 11.88 * np.log10(n):.8f}" for i, n in enumerate(SIZES)]
    file = desk.file("a.csv", "\ufeffid,n_train,acc\n" + "\n".join(lines) + "\n")
    told = ("--column", "size=n_train", "--column", "test_accuracy=acc", "--percent", "--dataset", "EMNIST")
    assert desk.bring(file, *told) == 0
    assert "11 runs imported" in (said := capsys.readouterr().err)
    assert "not read: id" in said
    log = RunLog(desk.project)
    runs = log.runs()
    assert log.problems == ()
    (row,) = runs.filter(train_size=750).to_dicts()
    known = {"state": "succeeded", "dataset": "EMNIST", "model": "unknown", "optimizer": None, "variant": ""}
    assert row.items() >= known.items()
    fit = analyse_curves(runs, "test_accuracy")[0].fit
    assert fit.formula == "0.4344 + 0.1188*log10(n)"
    (provenance,) = {f.read_text() for f in desk.project.runs.rglob("provenance.json")}
    (source,) = json.loads(provenance)["imported"]["files"]
    assert source["file"].endswith("a.csv")
    assert len(source["sha256"]) == 64

    before = desk.tree()
    assert desk.bring(file, *told) == 0
    assert "0 runs imported, 11 were there" in capsys.readouterr().err
    assert desk.tree() == before


def test_evaluations_of_a_run_become_its_course(desk):
    desk.file(
        "map.toml",
        "test_split = 'val'\nvariant = ['opt']\nmodel = 'net'\n[columns]\naccuracy = 'acc'\nrun = 'id'\n",
    )
    rows = [
        f"cnn-n{n}-s7;{opt};{epoch};{split};{value}"
        for n in (40, 80)
        for opt in ("sgd", "adam")
        for epoch, split, value in ((0.5, "val", 0.2), (1, "train", 0.9), (1, "val", "nan"), (2, "val", 0.4))
    ]
    assert (
        desk.bring(
            desk.file("b.csv", "\n".join(["id;opt;epoch;split;acc", *rows])),
            "--map",
            desk.project.root / "map.toml",
        )
        == 0
    )
    assert desk.rows("variant", "updates", "total_updates", "best_test_accuracy", "train_accuracy")[0] == (
        40, 7, "opt=adam", 3, 3, 0.4, 0.9,
    )  # fmt: skip
    curve = RunLog(desk.project).metrics().filter(split="test").head(3)
    assert curve.select("update", "epoch", "accuracy").rows() == [
        (1, 0.5, 0.2),
        (2, 1.0, None),
        (3, 2.0, 0.4),
    ]


def test_the_chart_export_of_weights_and_biases(desk):
    head = (
        '"Step","net-n40-s0 - test/accuracy","net-n40-s0 - test/accuracy__MIN","net-n80-s1 - test/accuracy"'
    )
    assert desk.bring(desk.file("w.csv", f'{head}\n"10","0.25","0.2",""\n"20","0.5","0.4","0.75"\n')) == 0
    assert desk.rows("updates", "test_accuracy") == [(40, 0, 20, 0.5), (80, 1, 20, 0.75)]


@pytest.mark.parametrize("as_tensor", [False, True])
def test_tensorboard_event_files(desk, as_tensor):
    # CRC-32C of "123456789" is E3069283 (RFC 3720); TFRecord rotates it and adds a constant.
    crc = 0xE3069283
    assert masked_crc(b"123456789") == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    for n in (40, 80):
        values = ((100, "acc", 0.25), (200, "acc", n / 160), (200, "lr", 0.1))
        desk.file(f"logs/n{n}_s3/events.out.tfevents.1.host", event_file(*values, as_tensor=as_tensor))
    assert desk.bring(desk.project.root / "logs", "--column", "test_accuracy=acc") == 0
    assert desk.rows("updates", "test_accuracy") == [(40, 3, 200, 0.25), (80, 3, 200, 0.5)]


def test_a_file_that_tensorboard_itself_wrote(desk):
    """By torch.utils.tensorboard, with a histogram and a text among the scalars."""
    assert desk.bring(Path(__file__).parents[1] / "contract" / "tensorboard") == 0
    assert desk.rows("updates", "test_accuracy", "test_loss") == [(40, 7, 100, 0.75, 1.25)]


GOOD = "size,seed,test_accuracy\n40,0,0.5\n80,0,0.6\n"
EVENTS = event_file((100, "test_accuracy", 0.5), (200, "test_accuracy", 0.75))


@pytest.mark.parametrize(
    ("content", "words", "says"),
    [
        (GOOD + "160,0,oops\n", (), "line 4: test_accuracy is 'oops', not a number"),
        (GOOD + '160,0,"85,1"\n', (), "line 4: test_accuracy is '85,1', not a number; decimals are written"),
        (GOOD + "160,0,61.5\n", (), "line 4: test_accuracy is 61.5, in percent as it seems, but 0.5"),
        (GOOD + "160,0\n", (), "line 4: 2 cells, expected 3"),
        (GOOD + "160.5,0,0.7\n", (), "line 4: the size: '160.5' is not a whole number"),
        (GOOD + "160,x,0.7\n", (), "line 4: the seed: 'x' is not a whole number of 0 or more; --column"),
        (GOOD + "0,0,0.7\n", (), "line 4: the train size is 0"),
        (GOOD + "80,0,0.7\n", (), "line 4: a second test_accuracy of size 80, seed 0; if"),
        (GOOD + '160,0,"0.7\n', (), "unexpected end of data"),
        (GOOD.encode() + b"160,0,\xff\n", (), "not UTF-8 text"),
        ("", (), "line 1: it has no line of column names"),
        ("size,seed,test_accuracy\n", (), "line 1: there are no rows below the column names"),
        (GOOD + "160,0,0_7\n", (), "line 4: test_accuracy is '0_7', not a number; --ignore test_accuracy"),
        ("a,b\n1,2\n", (), "line 1: no column of a metric among a, b"),
        (GOOD, ("--column", "size=n"), "line 1: no column 'n'; there are size, seed, test_accuracy"),
        (GOOD, ("--column", "sizes=n"), "no field or metric 'sizes'"),
        (GOOD, ("--run-pattern", "("), "the run pattern is no regular expression"),
        ("run,test_accuracy\nx,0.5\n", (), "line 2: no train size is given for run 'x'"),
        ("n,test_accuracy,split\n40,0.5,odd\n", (), "line 2: the split is 'odd', expected train"),
        (EVENTS[:-3], ("--size", "40"), "the file ends within the record at byte"),
        (EVENTS[:-6] + b"xxxxxx", ("--size", "40"), "is damaged: its checksum is wrong"),
    ],
)  # fmt: skip
def test_a_broken_file_is_told_in_one_line_and_leaves_nothing(desk, capsys, content, words, says):
    name = "events.out.tfevents.1" if content in (EVENTS[:-3], EVENTS[:-6] + b"xxxxxx") else "broken.csv"
    assert (
        desk.bring(desk.file("good.csv", "n,loss\n20,2.5\n"), desk.file(name, content), "--strict", *words)
        == 2
    )
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert list(desk.project.runs.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "limit", "most", "says"),
    [
        (delimited, "MOST_ROWS", 1, ", line 3: more than 1 rows"),
        (delimited, "MOST_COLUMNS", 2, ", line 1: more than 2 columns"),
        (staged, "MOST_RUNS", 1, ", line 3: more than 1 runs"),
        (staged, "MOST_VALUES", 1, ", line 3: more than 1 values"),
    ],
)
def test_a_file_beyond_the_limits_is_told_in_one_line(desk, capsys, monkeypatch, module, limit, most, says):
    monkeypatch.setattr(module, limit, most)
    assert desk.bring(file := desk.file("a.csv", GOOD)) == 2
    assert f"{file}{says}" in (error := capsys.readouterr().err)
    assert error.count("\n") == 1
    assert list(desk.project.runs.iterdir()) == []
    monkeypatch.setattr(module, limit, max(most + 1, len(SIZES)))
    assert desk.bring(file) == 0


@pytest.mark.parametrize(
    ("module", "limit", "most", "says"),
    [
        (staged, "MOST_BYTES", len(EVENTS) - 1, "larger than 0 MB"),
        (events, "MOST_RECORD_BYTES", 10, "the record at byte 0 is larger than 0 MiB"),
        (staged, "MOST_VALUES", 1, "more than 1 values"),
    ],
)
def test_an_event_file_beyond_the_limits_is_told_in_one_line(
    desk, capsys, monkeypatch, module, limit, most, says
):
    monkeypatch.setattr(module, limit, most)
    assert desk.bring(file := desk.file("events.out.tfevents.1", EVENTS), "--size", "40") == 2
    error = capsys.readouterr().err
    assert str(file) in error
    assert says in error
    assert error.count("\n") == 1
    assert list(desk.project.runs.iterdir()) == []


def test_images_between_scalars_are_passed_over_without_a_look_at_their_bytes(desk, monkeypatch):
    event = message((2, 9), (5, message((1, message((1, b"samples"), (4, bytes(4_000_000)))))))
    checked = []
    monkeypatch.setattr(events, "masked_crc", lambda data: checked.append(len(data)) or masked_crc(data))
    file = desk.file("events.out.tfevents.1", EVENTS + record(event, checksum=0) + EVENTS)
    assert desk.bring(file, "--size", "40") == 0
    assert max(checked) < 1000


def test_a_large_record_with_a_scalar_is_checked(desk, capsys):
    scalar = message((1, b"test_accuracy"), (2, b"\x05" + np.float32(0.25).tobytes()))
    event = message((2, 300), (5, message((1, message((4, bytes(70_000)))), (1, scalar))))
    whole = record(event)
    torn = whole[:500] + b"x" + whole[501:]
    assert desk.bring(desk.file("events.out.tfevents.1", EVENTS + torn), "--size", "40") == 0
    assert "is damaged: its checksum is wrong" in capsys.readouterr().err
    assert desk.rows("updates", "test_accuracy")[0][2:] == (200, 0.75)


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (bytes(17_000_000), "the record at byte 0 is larger than 16 MiB"),
        (bytes([1 << 3, 1]) * 2_001, "record 1: a record of more than 2,000 fields"),
        (message((5, message((1, bytes([1 << 3, 1]) * 1_999)))), "a record of more than 2,000 fields"),
    ],
)
def test_an_event_that_would_fill_the_memory_is_told_in_one_line(desk, capsys, monkeypatch, event, says):
    monkeypatch.setattr(events, "MOST_FIELDS", events.MOST_FIELDS // 100)
    file = desk.file("events.out.tfevents.1", record(event, None if len(event) < 2**20 else 0))
    assert desk.bring(file, "--size", "40") == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("name", ["a.csv", "events.out.tfevents.1", "folder/a.csv"])
def test_what_is_no_regular_file_is_refused_in_one_line_and_not_waited_for(desk, capsys, make, name):
    path = desk.project.root / name
    path.parent.mkdir(exist_ok=True)
    make(path)
    asked = path.parent if name.startswith("folder") else path
    for words in ([asked], [asked, "--dry-run"], [desk.file("b.csv", GOOD), "--map", path]):
        assert desk.bring(*words) == 2
        error = capsys.readouterr().err
        assert str(asked) in error
        assert error.count("\n") == 1
    assert list(desk.project.runs.iterdir()) == []


def test_a_full_disk_leaves_nothing_half_imported(desk, capsys, monkeypatch):
    desk.bring(desk.file("a.csv", GOOD))
    before, write = desk.tree(), into_project._write_run

    def fails_at_the_last(paths, run, spec, facts):
        if run.cell.train_size == 320:
            raise OSError(ENOSPC, "No space left on device")
        write(paths, run, spec, facts)

    monkeypatch.setattr(into_project, "_write_run", fails_at_the_last)
    assert desk.bring(desk.file("b.csv", GOOD + "160,0,0.7\n320,0,0.8\n")) == 3
    assert "theirs: cannot be written: No space left on device; make room" in capsys.readouterr().err
    assert desk.tree() == before
    assert [entry.name for entry in desk.project.runs.iterdir() if "import" in entry.name] == []


def test_what_a_killed_import_has_left_goes_with_the_next(desk):
    killed = subprocess.Popen(["true"])
    killed.wait()
    left, going_on = (desk.project.runs / f".import-{pid}-1" for pid in (killed.pid, os.getppid()))
    for folder in (left, going_on):
        (folder / "theirs-n10-s0").mkdir(parents=True)
    assert desk.bring(desk.file("a.csv", GOOD)) == 0
    assert [entry.name for entry in desk.project.runs.glob(".import-*")] == [going_on.name]


def test_other_values_for_a_run_and_names_of_own_runs_are_refused(desk, capsys):
    assert desk.bring(desk.file("a.csv", GOOD)) == 0
    before = desk.tree()
    assert desk.bring(desk.file("b.csv", GOOD.replace("0.6", "0.7"))) == 2
    assert "theirs has other values for size 80, seed 0" in capsys.readouterr().err
    assert desk.bring(desk.file("c.csv", GOOD + "160,0,0.7\n")) == 0
    assert "1 run imported, 2 were there" in capsys.readouterr().err
    assert before.items() < desk.tree().items()
    write_run(desk.project, fake_spec("digits"))
    assert desk.bring(desk.file("a.csv", GOOD), experiment="digits") == 2
    assert "holds runs that were not imported" in capsys.readouterr().err


def test_the_queue_never_takes_up_what_was_imported(desk):
    desk.bring(desk.file("a.csv", GOOD))
    assert repair(desk.project).added == {}
    assert QueueClient(desk.project).jobs() == []
    document = json.loads(next(desk.project.all_runs()).spec.read_text())
    spec = RunSpec.from_dict(document["spec"])
    assert spec.run_id == document["run_id"]
    with pytest.raises(ConfigError, match="imported: it cannot be run"):
        QueueClient(desk.project).enqueue([spec])


def test_runs_without_a_value_are_counted_aloud(desk, capsys):
    file = desk.file("a.csv", "n,test_accuracy,test_loss\n40,0.51,1.5\n80,,1.25\n160,-inf,inf\n")
    assert desk.bring(file) == 0
    said = capsys.readouterr().err
    assert "2 of 3 runs have no value of test_accuracy" in said
    assert "1 of 3 runs has no value of test_loss" in said
    assert desk.bring(desk.file("b.csv", "n,test_accuracy\n40,\n"), experiment="blank") == 2
    said = capsys.readouterr().err
    assert "all cells are blank" in said
    assert "--test-split" not in said
    # Of repeats that nothing tells apart too.
    repeats = desk.file("c.csv", "n,test_accuracy\n40,0.5\n40,\n40,#N/A\n40,0.6\n")
    assert desk.bring(repeats, experiment="repeats") == 0
    assert "2 of 4 runs have no value of test_accuracy" in capsys.readouterr().err


def test_an_audit_does_not_blame_imported_runs_for_what_was_not_measured(desk, capsys):
    desk.bring(desk.file("a.csv", "n,test_accuracy\n40,0.512345\n80,0.623456\n160,0.701234\n"))
    assert RunLog(desk.project).runs()["missing_evaluations"].null_count() == 3
    capsys.readouterr()
    assert main(["analyze", "theirs", "--json", "--project", str(desk.project.root)]) == 0
    assert json.loads(capsys.readouterr().out)["audit"] == []
    desk.bring(
        desk.file("b.csv", "n,seed,test_accuracy\n40,0,0.5123\n40,1,0.6234\n80,0,0.7012\n"), experiment="b"
    )
    assert main(["analyze", "b", "--json", "--project", str(desk.project.root)]) == 0
    (missing,) = [f for f in json.loads(capsys.readouterr().out)["audit"] if f["check"] == "missing-seeds"]
    assert "queue" not in json.dumps(missing)
