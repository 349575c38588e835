"""What the files do not tell is not known: seeds that only number repeats, and subset draws.

What belongs to the kind: repeats without a number of their own (rows, rows of one run name, curves one below
another, files, folders); rows that differ in a column which tells curves apart; a seed that may or may not
choose the images too; what was imported before its draws were told. No pairing by a seed that is none, and no
sentence on draws that nobody knows.
"""

from __future__ import annotations

import json

import pytest

from tests.unit.import_desk import event_file
from tui_datasize.cli.dispatch import main
from tui_datasize.runlog.reader import RunLog
from tui_datasize.stats.curve import points
from tui_datasize.stats.groups import seed_table

REPEATS = [(500, 0, 0.71), (500, 1, 0.72), (2000, 0, 0.81), (2000, 1, 0.82)]


@pytest.mark.parametrize(
    "text",
    [
        "n,accuracy\n500,0.71\n500,0.72\n2000,0.81\n2000,0.82\n",
        "name,n,test_acc\nsweep,500,0.71\nsweep,500,0.72\nsweep,2000,0.81\nsweep,2000,0.82\n",
        "n,epoch,val_acc\n500,1,0.5\n500,2,0.71\n500,1,0.6\n500,2,0.72\n2000,1,0.81\n2000,1,0.82\n",
        "n,split,acc\n500,train,1\n500,train,1\n500,test,0.71\n500,test,0.72\n2000,test,0.81\n2000,test,0.82\n",
    ],
)
def test_repeats_without_a_seed_are_numbered_and_told(desk, capsys, text):
    file = desk.file("runs.csv", text)
    assert desk.bring(file) == 0
    assert desk.rows("test_accuracy") == REPEATS
    assert "no seed is given: up to 2 runs of a size are repeats, numbered from 1" in capsys.readouterr().err
    runs = RunLog(desk.project).runs()
    assert runs["seed"].null_count() == runs.height
    assert runs["repeat"].to_list() == [1, 2, 1, 2]
    # The first of one size has nothing to do with the first of another.
    assert seed_table(points(runs, "test_accuracy"))[0] == []
    before = desk.tree()
    assert desk.bring(file) == 0
    assert desk.tree() == before


def test_files_and_folders_without_a_seed_are_repeats(desk):
    logs = [
        desk.file(f"{x}/n500.csv", f"epoch,val_acc\n1,0.5\n2,{v}\n") for x, v in (("a", 0.71), ("b", 0.72))
    ]
    assert desk.bring(*logs, experiment="logs") == 0
    for name, value in (("n500_a", 0.75), ("n500_b", 0.5)):
        desk.file(f"tb/{name}/train/events.out.tfevents.1", event_file((1, "acc", 1.0)))
        desk.file(f"tb/{name}/validation/events.out.tfevents.1", event_file((1, "acc", value)))
    assert desk.bring(desk.project.root / "tb", experiment="tb") == 0
    assert desk.rows("test_accuracy", "train_accuracy") == [
        (500, 0, 0.71, None), (500, 1, 0.72, None), (500, 0, 0.75, 1.0), (500, 1, 0.5, 1.0),
    ]  # fmt: skip


def test_rows_that_differ_in_a_column_of_curves_are_no_repeats(desk, capsys):
    file = desk.file("a.csv", "model,n,acc\ncnn,500,0.7\nmlp,500,0.6\ncnn,2000,0.8\nmlp,2000,0.65\n")
    assert desk.bring(file) == 2
    assert (
        "'model' has several values (cnn, mlp); give --variant model if it tells curves apart"
        in capsys.readouterr().err
    )
    assert desk.bring(file, "--variant", "model") == 0
    assert [row[2] for row in desk.rows("variant")] == ["model=cnn"] * 2 + ["model=mlp"] * 2
    assert desk.bring(file, "--ignore", "model", experiment="pooled") == 0
    seeded = desk.file(
        "b.csv", "model,n,seed,acc\ncnn,500,0,0.7\nmlp,500,0,0.6\ncnn,2000,0,0.8\nmlp,2000,0,0.65\n"
    )
    assert desk.bring(seeded, experiment="seeded") == 2
    assert (
        "'model' has several values (cnn, mlp); give --variant model if it tells curves apart"
        in capsys.readouterr().err
    )


def test_rows_that_differ_in_a_number_are_no_repeats_unless_it_counts_them(desk, capsys):
    table = "{},n,acc\n0.1,500,0.7\n0.01,500,0.4\n0.1,2000,0.8\n0.01,2000,0.5\n"
    file = desk.file("a.csv", table.format("lr"))
    assert desk.bring(file) == 2
    assert "if it tells curves apart, give --variant lr; if it numbers repeats, --column seed=lr" in (
        capsys.readouterr().err
    )
    assert desk.bring(file, "--variant", "lr") == 0
    assert desk.bring(desk.file("b.csv", table.format("fold")), experiment="folds") == 0
    # Of each run another: nothing that was chosen.
    seconds = "best_epoch,n,acc\n12,500,0.7\n15,500,0.72\n14,2000,0.8\n12,2000,0.81\n"
    assert desk.bring(desk.file("c.csv", seconds), experiment="seconds") == 0


def test_every_face_counts_repeats_and_names_no_seed(desk, capsys):
    rows = "".join(
        f"{n},{epoch},{0.9 - 8 / n + number / 100 - 0.1 / epoch:.4f}\n"
        for n in (500, 1000, 2000) for number in range(2) for epoch in (1, 2)
    )  # fmt: skip
    file = desk.file("runs.csv", f"n,epoch,val_acc\n{rows}")
    assert desk.bring(file, "--dry-run") == 0
    assert [line.split()[1:3] for line in capsys.readouterr().out.splitlines() if "not told" in line] == [
        ["repeat", "1"], ["repeat", "2"],
    ] * 3  # fmt: skip
    assert desk.bring(file, "--dry-run", "--json") == 0
    assert [(run["seed"], run["repeat"]) for run in json.loads(capsys.readouterr().out)["runs"]] == [
        (None, 1), (None, 2),
    ] * 3  # fmt: skip
    assert desk.bring(file) == 0
    project = ("--project", str(desk.project.root))
    capsys.readouterr()
    assert main(["export", "--table", "runs", "--format", "json", *project]) == 0
    assert [(run["seed"], run["repeat"]) for run in json.loads(capsys.readouterr().out)] == [
        (None, 1),
        (None, 2),
    ] * 3
    page = desk.project.root / "page.md"
    assert main(["report", "theirs", "-o", str(page), *project]) == 0
    runs = page.read_text().partition("## Runs")[2].partition("##")[0]
    assert ("| repeat |" in runs, "| seed |" in runs) == (True, False)
    assert runs.count(" | 1 | 2 | ") == 3


def test_a_row_without_a_seed_among_others_with_one_is_told(desk, capsys):
    assert desk.bring(desk.file("a.csv", "n,seed,acc\n500,0,0.7\n500,1,0.8\n500,,0.75\n")) == 0
    assert desk.rows("repeat") == [(500, 2, 3), (500, 0, None), (500, 1, None)]
    assert "1 run has no seed, and others of their size do" in capsys.readouterr().err


def test_repeats_that_cannot_be_told_from_a_resumed_run_are_refused(desk, capsys):
    rows = "n,epoch,val_acc\n500,1,0.5\n500,1,0.6\n500,2,0.71\n500,2,0.72\n"
    assert desk.bring(desk.file("a.csv", rows)) == 2
    assert "neither repeats one below another nor one run that was resumed" in capsys.readouterr().err


SEEDS = "n,seed,acc\n" + "".join(
    f"{n},{seed},{0.9 - 4 / n**0.5 + seed / 97:.4f}\n" for n in (500, 1000, 2000, 4000) for seed in range(3)
)


def _analysed(desk, capsys, experiment: str) -> tuple[str, str]:
    capsys.readouterr()
    assert main(["analyze", experiment, "--json", "--project", str(desk.project.root)]) == 0
    document = json.loads(capsys.readouterr().out)
    (split,) = document["variance"]
    return " ".join(finding["check"] for finding in document["audit"]), " ".join(split["words"])


def test_a_seed_does_not_tell_whether_it_draws_the_images_too(desk, capsys):
    assert desk.bring(desk.file("a.csv", SEEDS), "--column", "test_accuracy=acc", experiment="untold") == 0
    assert RunLog(desk.project).runs()["subset_seed"].null_count() == 12
    assert RunLog(desk.project).runs()["repeat"].null_count() == len(desk.rows())
    audit, words = _analysed(desk, capsys, "untold")
    assert "draws-unknown" in audit
    assert "one-draw" not in audit
    assert "The files do not say whether runs of a size share their images" in words
    assert "share one subset draw" not in words
    assert main(["analyze", "untold", "--project", str(desk.project.root)]) == 0
    printed = capsys.readouterr()
    assert "The files do not say whether runs of a size share their images" in printed.out + printed.err
    assert "(draw=seed where the seed draws the images too)" in " ".join((printed.out + printed.err).split())


@pytest.mark.parametrize(
    ("text", "words", "audit", "says"),
    [
        (SEEDS, ("--draw", "0"), "one-draw", "All runs of a size share one subset draw"),
        (SEEDS, ("--column", "draw=seed"), "", "Seed and draw change together"),
        (SEEDS.replace("n,seed", "n,draw"), (), "", "Seed and draw change together"),
    ],
)
def test_a_draw_that_is_told_is_known(desk, capsys, text, words, audit, says):
    assert desk.bring(desk.file("a.csv", text), "--column", "test_accuracy=acc", *words) == 0
    assert RunLog(desk.project).runs()["subset_seed"].null_count() == 0
    found, told = _analysed(desk, capsys, "theirs")
    assert "draws-unknown" not in found
    assert audit in found
    assert says in told


def test_the_same_runs_do_not_come_in_twice_when_their_draw_is_told_later(desk, capsys):
    file = desk.file("a.csv", SEEDS)
    assert desk.bring(file, "--column", "test_accuracy=acc") == 0
    # Imported before it was kept what files tell.
    for provenance in desk.project.runs.rglob("provenance.json"):
        document = json.loads(provenance.read_text())
        del document["imported"]["tells"]
        provenance.write_text(json.dumps(document))
    assert RunLog(desk.project).runs()["subset_seed"].null_count() == 12
    assert desk.bring(file, "--column", "test_accuracy=acc") == 0
    assert "0 runs imported, 12 were there" in capsys.readouterr().err
    assert desk.bring(file, "--column", "test_accuracy=acc", "--column", "draw=seed") == 2
    assert "already, imported without a draw; import under another name" in capsys.readouterr().err
    assert len(desk.rows()) == 12
