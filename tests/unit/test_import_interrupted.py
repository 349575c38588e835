"""Runs that were interrupted: what is whole counts, what is not is told.

What belongs to the kind: a file that ends within a record or row, at any byte; one that ends in zeros; a
record that is damaged among whole ones; a run that was resumed, whose steps come back in the same file or
the next; a file among others that cannot be read. Nothing of it gives a wrong number without a word.
"""

from __future__ import annotations

import random

import pytest

from tests.unit.import_cuts import Case, problems, random_case
from tests.unit.import_desk import event_file
from tui_datasize.errors import ConfigError
from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.reading import read_all
from tui_datasize.runlog.importing.staged import Staged

ROWS = ((1, "test_accuracy", 0.5), (2, "test_accuracy", 0.625), (3, "test_accuracy", 0.75))
EVENTS = event_file(*ROWS)


def _events(desk, *last: bytes) -> None:
    for number, name in enumerate(("n500_s0", "n500_s1", "n2000_s0")):
        desk.file(f"logs/{name}/events.out.tfevents.{number}", EVENTS)
    for number, content in enumerate(last):
        desk.file(f"logs/n2000_s1/events.out.tfevents.{number}", content)


@pytest.mark.parametrize(
    ("last", "value", "says"),
    [
        (EVENTS[:-3], 0.625, "the file ends within the record at byte"),
        (EVENTS + EVENTS[:7], 0.75, "the file ends within the record at byte"),
        (EVENTS + bytes(64), 0.75, "ends in 64 bytes of zeros: left out"),
        (EVENTS[:-6] + b"xxxxxx", 0.625, "is damaged: its checksum is wrong: left out"),
        (EVENTS[: len(EVENTS) // 3 * 2 - 5] + b"x" + EVENTS[len(EVENTS) // 3 * 2 - 4 :], 0.75, "is damaged"),
    ],
)
def test_a_record_that_is_not_whole_is_lost_alone(desk, capsys, last, value, says):
    _events(desk, last)
    assert desk.bring(desk.project.root / "logs") == 0
    assert desk.rows("test_accuracy") == [(500, 0, 0.75), (500, 1, 0.75), (2000, 0, 0.75), (2000, 1, value)]
    assert says in capsys.readouterr().err
    assert desk.bring(desk.project.root / "logs", "--strict", experiment="strict") == 2
    assert len(desk.rows()) == 4


def test_one_bad_file_refuses_itself_and_strictly_everything(desk, capsys):
    _events(desk, b"no event file at all")
    assert desk.bring(desk.project.root / "logs") == 2
    said = capsys.readouterr().err
    assert "3 runs imported" in said
    assert "not read: " in said
    assert "n2000_s1" in said
    assert [row[:2] for row in desk.rows()] == [(500, 0), (500, 1), (2000, 0)]
    assert desk.bring(desk.project.root / "logs", "--strict", experiment="strict") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert len(desk.rows()) == 3


@pytest.mark.parametrize(
    "parts",
    [
        ((1, 0.5), (2, 0.9), (3, 0.9), (2, 0.625), (3, 0.75)),
        ((1, 0.5), (2, 0.9), (4, 0.9), (2, 0.625), (3, 0.75)),
        ((1, 0.5), (4, 0.9), (2, 0.625), (3, 0.75)),
    ],
)
@pytest.mark.parametrize("n_files", [1, 2])
def test_later_values_of_a_resumed_run_count(desk, capsys, parts, n_files):
    scalars = [(step, "test_accuracy", value) for step, value in parts]
    at = next(i for i, (step, _) in enumerate(parts) if i and step < parts[i - 1][0])
    files = [event_file(*scalars)] if n_files == 1 else [event_file(*scalars[:at]), event_file(*scalars[at:])]
    _events(desk, *files)
    assert desk.bring(desk.project.root / "logs") == 0
    assert desk.rows("test_accuracy", "best_test_accuracy", "updates")[3] == (2000, 1, 0.75, 0.75, 3)
    assert "1 run resumed, as steps come back: later values count" in capsys.readouterr().err


def test_a_resumed_run_in_csv(desk, capsys):
    rows = "n,seed,epoch,val_acc\n40,0,1,0.5\n40,0,2,0.9\n40,0,4,0.95\n40,0,2,0.625\n40,0,3,0.75\n"
    assert desk.bring(desk.file("a.csv", rows)) == 0
    assert desk.rows("test_accuracy", "best_test_accuracy") == [(40, 0, 0.75, 0.75)]
    assert "resumed" in capsys.readouterr().err
    # Rows in another order than that of their epochs are none of a resumed run.
    unsorted = "n,seed,epoch,val_acc\n80,0,3,0.75\n80,0,1,0.5\n80,0,2,0.6\n"
    assert desk.bring(desk.file("b.csv", unsorted), experiment="unsorted") == 0
    assert "resumed" not in capsys.readouterr().err
    assert (80, 0, 0.75, 0.75) in desk.rows("test_accuracy", "best_test_accuracy")


def test_two_folders_of_one_cell_are_not_taken_for_a_resumed_run(desk, capsys):
    for name in ("a", "b"):
        desk.file(
            f"logs/n40_s0_{name}/events.out.tfevents.1", event_file((1, "test_accuracy", ord(name) / 200))
        )
    assert desk.bring(desk.project.root / "logs") == 2
    assert "have other values of test_accuracy for size 40, seed 0" in capsys.readouterr().err


def test_a_last_row_without_a_line_end_is_read_and_told(desk, capsys):
    file = desk.file("a.csv", "n,seed,test_accuracy\n40,0,0.5\n80,0,0.75")
    assert desk.bring(file) == 0
    assert desk.rows("test_accuracy") == [(40, 0, 0.5), (80, 0, 0.75)]
    assert "line 3, the last, has no line end: read" in capsys.readouterr().err
    assert desk.bring(file, "--strict", experiment="strict") == 2
    assert "line 3, the last, has no line end" in capsys.readouterr().err


TABLE = (
    'run,seed,epoch,"test, accuracy",é\r\n"n=40",0,1,0.5125,x\r\n'
    '"n=40",0,2,0.6125,"y ""é"""\r\n"n=1,200",1,1,12.75e-2,z\r\n'
)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", TABLE.encode(), {"test_accuracy": "test, accuracy"}),
        ("b.csv", b"n,seed,test_loss,test_accuracy\n500,12,1.25,0.55\n1000,13,1.125,0.65\n", {}),
        ("events.out.tfevents.1", event_file(*ROWS, (4, "test_loss", 1.25)), {}),
    ],
)
def test_a_cut_at_any_byte_gives_no_wrong_number_without_a_word(desk, name, content, told):
    layout = Layout(columns=told, train_size=40 if "tfevents" in name else None)

    def read(data: bytes) -> tuple[set, tuple[str, ...]]:
        reading = read_all([desk.file(f"cut/{name}", data)], layout, is_strict=False)
        rows = {
            (run.cell, r["update"], r["split"], r["accuracy"], r["loss"])
            for run in reading.runs
            for r in run.rows
        }
        return rows, tuple(note for note in reading.notes if "left out" in note or "no line end" in note)

    whole, notes = read(content)
    assert whole
    assert not notes
    silent = 0
    for end in range(len(content)):
        try:
            rows, notes = read(content[:end])
        except ConfigError:
            continue
        if not notes:
            assert rows <= whole
            silent += 1
    # Only where a row or record ends nothing can be seen of a cut.
    assert silent <= content.count(b"\n") * 2 + 4


@pytest.mark.parametrize("seed", range(12))
def test_a_random_cut_of_what_trainers_write_gives_no_wrong_number_without_a_word(tmp_path, seed):
    rng = random.Random(seed)
    assert list(problems(random_case(rng), rng, 12, tmp_path)) == []


def test_a_cut_that_says_nothing_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(Staged, "torn", lambda *_: None)
    case = Case("n500_s0.csv", b"epoch,val_loss,val_acc\n1,1.5,0.5125\n2,1.25,0.6125\n")
    found = problems(case, random.Random(1), 40, tmp_path)
    assert any("without a word" in problem for problem in found)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'n,seed,note,test_accuracy\n500,0,"a\nb",0.8125\n'[:-3], "has no line end: read"),
        ("n,seed,test_accuracy\n500,0,0.8125\n".encode("utf-16")[:-5], "has no line end: read"),
        ("n,seed,test_accuracy\n500,0,0.8125\n5".encode("utf-16")[:-1], "ends within a character: left out"),
        ("n,seed,test_accuracy\n500,0,0.8125\né".encode()[:-1], "ends within a character: left out"),
    ],
)
def test_a_last_row_over_lines_or_within_a_character_is_told(desk, capsys, content, said):
    assert desk.bring(desk.file("a.csv", content)) == 0
    assert said in capsys.readouterr().err
    assert desk.bring(desk.file("a.csv", content), "--strict", experiment="strict") == 2


def test_event_files_that_are_numbered_come_in_the_order_of_their_numbers(desk):
    for number in (2, 9, 10):
        desk.file(f"n500_s0/events.out.tfevents.1.vm.{number}", event_file((number, "val_acc", number / 16)))
    assert desk.bring(desk.project.root / "n500_s0") == 0
    assert desk.rows("test_accuracy") == [(500, 0, 0.625)]
