from __future__ import annotations

import json
import os
import shutil
from functools import partial

import polars as pl
import pytest

from tests.fakes import fake_dataset, fake_spec, fake_sweep, metric_rows, write_lines, write_run
from tui_datasize.cli.dispatch import main
from tui_datasize.experiments.spec import Budget, ModelSpec
from tui_datasize.runlog import claim, schema
from tui_datasize.runlog.collect import RUN_METRICS
from tui_datasize.runlog.incomplete import noted_incomplete
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.tables import DATASETS
from tui_datasize.runlog.tail import MetricsTail


def run_of(project, **values):
    """The single row of the frame `runs`, after writing one run."""
    paths = write_run(project, fake_spec(), **values)
    return paths, RunLog(project).runs().row(0, named=True)


def test_a_project_without_runs_gives_empty_frames(tmp_path):
    for project in (ProjectPaths(tmp_path), ProjectPaths(tmp_path / "missing")):
        log = RunLog(project)
        assert log.runs().schema == pl.Schema(schema.RUNS)
        assert log.metrics().schema == pl.Schema(RUN_METRICS)
        assert log.table("subsets").schema == pl.Schema({"run_id": pl.String, **schema.SUBSET})
        assert log.datasets().schema == pl.Schema(DATASETS)
        assert log.problems == ()


@pytest.fixture
def few(project):
    """A project of two runs that have succeeded."""
    for spec in fake_sweep(sizes=[40], seeds=[0]):
        write_run(project, spec)
    return project


def test_runs_of_a_sweep(finished):
    log = RunLog(finished)
    runs = log.runs()
    assert runs.schema == pl.Schema(schema.RUNS)
    assert runs.height == 36
    assert set(runs["run_id"]) == {spec.run_id for spec in fake_sweep()}
    assert runs["train_size"].to_list() == sorted(runs["train_size"])
    assert runs["state"].unique().to_list() == ["succeeded"]
    assert log.problems == ()


def test_a_row_holds_the_specification_the_end_and_the_last_and_best_evaluation(project):
    spec = fake_spec(subset_seed=3, seed=5, model=ModelSpec("mlp", {"hidden": 32}))
    paths = write_run(project, spec, state="queued")
    write_run(project, spec, accuracy=0.9, evaluations=0)
    rows = metric_rows(spec, [50, 100, 150, 200], 0.8)
    rows[8]["accuracy"], rows[8]["loss"] = 0.85, 0.4
    rows[11]["loss"] = None
    write_lines(paths.metrics, rows)
    row = RunLog(project).runs().row(0, named=True)
    expected = {
        "run_id": spec.run_id,
        "experiment": "digits",
        "variant": "",
        "model": "mlp(hidden=32)",
        "train_size": 40,
        "subset_seed": 3,
        "seed": 5,
        "state": "succeeded",
        "attempt": 1,
        "updates": 200,
        "total_updates": 200,
        "samples_seen": 6400,
        "test_accuracy": pytest.approx(0.8),
        "test_loss": None,
        "test_top5": 1.0,
        "train_accuracy": pytest.approx(0.85),
        "best_test_accuracy": 0.85,
        "best_test_loss": 0.4,
        "best_update": 150,
        "images_per_s": 3200.0,
        "wall_s": 2.0,
        "device": "cpu",
        "optimizer": "adamw",
        "broken_lines": 0,
        "path": str(paths.directory),
    }
    assert {key: row[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("lost", "missing"),
    [
        ((), 0),
        ((3,), 0),  # A row of training alone.
        ((4,), 1),  # The second evaluation of the subset.
        ((5,), 1),
        ((4, 5), 1),
        ((10, 11), 1),
        (range(12), 4),
    ],
)
@pytest.mark.parametrize("torn", [False, True])
def test_evaluations_that_were_lost_are_counted(project, lost, missing, torn):
    paths, _ = run_of(project, evaluations=4)
    lines = paths.metrics.read_text().splitlines()
    kept = [line if i not in lost else line[:40] for i, line in enumerate(lines) if torn or i not in lost]
    paths.metrics.write_text("".join(f"{line}\n" for line in kept))
    told = RunLog(project).runs().select("missing_evaluations", "state").row(0)
    assert told == (missing, "incomplete" if missing else "succeeded")
    assert noted_incomplete(project) == ({paths.run_id} if missing else set())
    # By a log that is not the one that was read nothing is said of its run.
    paths.metrics.write_text("")
    assert noted_incomplete(project) == frozenset()


def test_a_note_of_incomplete_runs_is_taken_back_and_a_spoilt_one_says_nothing(project):
    paths, _ = run_of(project, evaluations=2)
    assert noted_incomplete(project) == {paths.run_id}
    write_lines(paths.metrics, metric_rows(fake_spec(), [150, 200], 0.8))
    assert RunLog(project).runs()["state"].item() == "succeeded"
    assert noted_incomplete(project) == frozenset()
    note = project.cache / "incomplete.json"
    for text in ("", "[]", '{"runs": 1}', '{"runs": [[1], 2, ["e", "r", "0", 0], ["\\u0000", "r", 0, 0]]}'):
        note.write_text(text)
        assert noted_incomplete(project) <= {"r"}


def test_an_evaluation_at_another_update_is_none_of_those_asked_for(project):
    paths, _ = run_of(project, evaluations=3)
    write_lines(paths.metrics, metric_rows(fake_spec(), [199], 0.8))
    assert RunLog(project).runs()["missing_evaluations"].item() == 1


def test_the_best_evaluation_is_the_earliest_of_equals(project):
    paths, _ = run_of(project, evaluations=0)
    rows = metric_rows(fake_spec(), range(1, 101), 0.8)
    for row in rows[2::3]:
        row["accuracy"] = 0.7 if row["update"] >= 40 else 0.5
    write_lines(paths.metrics, rows)
    assert RunLog(project).runs()["best_update"].item() == 40


@pytest.mark.parametrize("state", ["queued", "running", "succeeded", "failed", "cancelled", "interrupted"])
def test_the_state_is_told_from_the_directory(project, state):
    _, row = run_of(project, state=state, reason="because")
    assert row["state"] == state
    assert row["reason"] == ("because" if state in ("succeeded", "failed", "cancelled") else "")


def test_a_worker_that_dies_without_a_trace_is_noticed(project):
    paths = write_run(project, fake_spec(), state="running")
    log = RunLog(project)
    assert log.runs()["state"].item() == "running"
    stamp = paths.claim.stat()
    record = json.loads(paths.claim.read_text())
    paths.claim.write_text(json.dumps(record | {"start_ticks": 0}))
    os.utime(paths.claim, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert log.runs()["state"].item() == "interrupted"


def test_a_retry_of_a_failed_run_is_running_again(project):
    paths, row = run_of(project, state="failed", reason="disk full")
    assert (row["state"], row["reason"]) == ("failed", "disk full")
    log = RunLog(project)
    log.runs()
    held = claim.acquire(paths, 2)
    assert log.runs().select("state", "attempt", "reason").row(0) == ("running", 2, "")
    write_lines(paths.metrics, metric_rows(fake_spec(), [150, 200], 0.8))
    held.finish(claim.RunOutcome.SUCCEEDED)
    assert log.runs().select("state", "attempt").row(0) == ("succeeded", 2)


def test_new_rows_of_a_running_run_are_seen(project):
    paths = write_run(project, fake_spec(), state="running", evaluations=1)
    log = RunLog(project)
    assert log.runs()["updates"].item() == 50
    write_lines(paths.metrics, metric_rows(fake_spec(), [100], 0.8))
    assert log.runs()["updates"].item() == 100


def test_variants_are_named_within_their_experiment(project):
    for lr_like in (16, 32):
        write_run(project, fake_spec("swept", model=ModelSpec("mlp", {"hidden": lr_like})))
    write_run(project, fake_spec("plain", budget=Budget("updates", 5)))
    write_run(project, fake_spec("plain", budget=Budget("updates", 5), seed=1, train_size=80))
    runs = RunLog(project).runs()
    assert runs.filter(pl.col("experiment") == "swept")["variant"].to_list() == [
        "hidden=16",
        "hidden=32",
    ]
    assert set(runs.filter(pl.col("experiment") == "plain")["variant"]) == {""}


def test_runs_of_one_experiment(fake_project):
    write_run(fake_project, fake_spec("other"))
    log = RunLog(fake_project)
    assert log.runs("other").height == 1
    assert log.runs("digits").height == 36
    assert log.runs("none").is_empty()


def test_hidden_directories_and_stray_files_are_no_runs(few):
    superseded = few.superseded("digits")
    superseded.mkdir()
    first = next(few.all_runs())
    shutil.move(first.directory, superseded / first.run_id)
    (few.runs / "queue.db").touch()
    (few.runs / "digits" / "notes.txt").touch()
    log = RunLog(few)
    assert log.runs().height == 1
    assert log.problems == ()


def test_a_run_moved_away_is_gone_at_the_next_look(few):
    log = RunLog(few)
    assert log.runs().height == 2
    shutil.rmtree(next(few.all_runs()).directory)
    assert log.runs().height == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "is missing"),
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"schema_version": 99}', "newer datasize-tui"),
        ('{"schema_version": 1}', "is not the specification of a run"),
        ('{"schema_version": 1, "spec": {"train_size": 3}}', "is not the specification of a run"),
        ('{"schema_version": 1, "spec": []}', "is not the specification of a run"),
        ("\xff", "is not JSON"),
    ],
)
def test_a_directory_that_is_no_run_is_a_problem_and_no_row(few, text, complaint):
    broken = few.run("digits", "digits-broken")
    broken.directory.mkdir()
    if text is not None:
        broken.spec.write_bytes(text.encode("latin-1"))
    log = RunLog(few)
    assert log.runs().height == 2
    (problem,) = log.problems
    assert str(broken.spec) in str(problem)
    assert complaint in str(problem)
    # It stays a problem at the next look, and is none once it is mended.
    log.runs()
    assert len(log.problems) == 1
    broken.directory.rename(few.superseded("digits"))
    log.runs()
    assert log.problems == ()


def test_a_value_of_a_wrong_type_is_a_problem(project):
    paths = write_run(project, fake_spec())
    document = json.loads(paths.spec.read_text())
    document["spec"]["train_size"] = "many"
    paths.spec.write_text(json.dumps(document))
    log = RunLog(project)
    assert log.runs().is_empty()
    assert "wrong type" in str(log.problems[0])


def test_a_copied_directory_is_not_a_second_run(few):
    first = next(few.all_runs())
    shutil.copytree(first.directory, first.directory.with_name("copy"))
    log = RunLog(few)
    assert log.runs().height == 2
    assert "holds run" in str(log.problems[0])


def test_broken_lines_are_counted_and_reported(project):
    paths = write_run(project, fake_spec(), evaluations=2)
    with paths.metrics.open("a") as file:
        file.write('{"event": "tra\n')
    write_lines(paths.metrics, metric_rows(fake_spec(), [200], 0.8))
    with paths.metrics.open("a") as file:
        file.write('{"event": "torn')
    log = RunLog(project)
    row = log.runs().row(0, named=True)
    assert (row["broken_lines"], row["updates"]) == (1, 200)
    assert [str(problem) for problem in log.problems] == [f"{paths.metrics}: 1 broken line left out"]
    assert log.metrics().height == 9


def test_rows_done_again_after_a_resume_count_once(project):
    spec = fake_spec()
    paths = write_run(project, spec, evaluations=3)
    write_lines(paths.metrics, [{"event": "resume", "update": 50}])
    write_lines(paths.metrics, metric_rows(spec, [100], 0.5))
    log = RunLog(project)
    assert log.runs()["updates"].item() == 100
    assert log.metrics()["update"].to_list() == [50] * 3 + [100] * 3


def test_metrics_are_told_apart_and_selected(finished):
    log = RunLog(finished)
    ids = log.runs()["run_id"]
    metrics = log.metrics([ids[1], ids[0], "unknown"])
    assert metrics.schema == pl.Schema(RUN_METRICS)
    assert metrics.height == 24
    assert set(metrics["run_id"]) == {ids[0], ids[1]}
    assert log.metrics().height == 36 * 12
    assert log.metrics([]).is_empty()
    for (_,), rows in metrics.group_by("run_id"):
        assert rows["update"].is_sorted()
        assert rows["event"].to_list()[:3] == ["train", "evaluation", "evaluation"]


def test_tables_of_the_run_directories(finished):
    log = RunLog(finished)
    runs = log.runs()
    one = runs["run_id"][:1]
    assert log.table("subsets").height == runs["train_size"].sum()
    assert log.table("subsets", one)["index"].n_unique() == runs["train_size"][0]
    assert log.table("per_class", one).height == 2 * 2 * 10
    assert log.table("confusion", one)["images"].sum() == 2 * 360
    assert log.table("predictions", one).height == 2 * 360
    datasets = log.datasets(one)
    assert datasets["label"].to_list() == list(range(10))
    assert datasets["train_images"].sum() == len(fake_dataset("digits").train_labels)
    assert log.problems == ()


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1"])
def test_a_damaged_table_is_a_problem_and_the_others_are_read(few, damage):
    first = next(few.all_runs())
    first.subset.write_bytes(damage)
    log = RunLog(few)
    subsets = log.table("subsets")
    assert subsets["run_id"].n_unique() == 1
    (problem,) = log.problems
    assert str(first.subset) in str(problem)
    assert "\n" not in str(problem)


def test_a_table_with_other_columns_is_read_as_far_as_it_goes(project):
    paths = write_run(project, fake_spec())
    pl.read_parquet(paths.subset).drop("hash").with_columns(extra=1).write_parquet(paths.subset)
    subsets = RunLog(project).table("subsets")
    assert subsets.columns == ["run_id", *schema.SUBSET]
    assert subsets["hash"].null_count() == 40


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"class_names": 3}'])
def test_a_damaged_data_set_description_is_a_problem(few, text):
    first = next(few.all_runs())
    first.dataset.write_text(text)
    log = RunLog(few)
    assert log.datasets()["run_id"].n_unique() == 1
    assert str(first.dataset) in str(log.problems[0])


@pytest.mark.parametrize("count", ["9" * 30, "9" * 6000, str(2**63), "1e999"])
@pytest.mark.parametrize("key", ["train_images_per_class", "test_images_per_class"])
def test_numbers_beyond_64_bits_in_a_data_set_description_are_a_problem(few, key, count):
    first = next(few.all_runs())
    document = json.loads(first.dataset.read_text())
    document[key][0] = "COUNT"
    first.dataset.write_text(json.dumps(document).replace('"COUNT"', count))
    log = RunLog(few)
    assert log.datasets()["run_id"].n_unique() == 1
    assert str(first.dataset) in str(log.problems[0])


@pytest.mark.parametrize("columns", [(), ("label",), None])
def test_subsets_without_columns_or_rows_are_read_as_nothing(project, columns, capsys):
    paths = [write_run(project, spec) for spec in fake_sweep(sizes=(40, 80), seeds=(0, 1))]
    for file in (run.subset for run in paths[::2]):
        whole = pl.read_parquet(file)
        (whole if columns is None else whole.select(columns)).clear().write_parquet(file)
    for words in (
        ["analyze", "digits", "--json"],
        ["export", "--table", "overlap", "--experiment", "digits"],
        ["export", "--table", "audit", "--experiment", "digits"],
    ):
        status = main([*words, "--project", str(project.root)])
        told = capsys.readouterr().err
        assert status in (0, 2), words
        assert "Traceback" not in told
        assert "unexpected" not in told


def test_paths_that_look_like_patterns(tmp_path):
    project = ProjectPaths(tmp_path / "a[1]*" / "year=2025")
    write_run(project, fake_spec())
    log = RunLog(project)
    assert log.runs().height == 1
    assert log.table("subsets").height == 40
    assert log.metrics().height == 12


def test_a_missing_provenance_leaves_its_columns_empty(project):
    paths = write_run(project, fake_spec())
    paths.provenance.unlink()
    row = RunLog(project).runs().row(0, named=True)
    assert (row["device"], row["started_at"], row["state"]) == (None, None, "succeeded")


def test_rows_that_cannot_be_are_broken_lines(project):
    paths = write_run(project, fake_spec())
    before = RunLog(project).metrics().height
    possible = {"event": "evaluation", "update": 1, "split": "test", "accuracy": 0.5}
    wrong = (
        {"accuracy": 7},
        {"update": -1},
        {"update": 2**62},
        {"wall_s": -5},
        {"ece": -0.5},
        {"time": "x" * 30_000_000},
    )
    with paths.metrics.open("a") as file:
        for values in ({}, *wrong):
            file.write(json.dumps(possible | values) + "\n")
    log = RunLog(project)
    assert log.runs()["broken_lines"].to_list() == [len(wrong)]
    assert log.metrics().height == before + 1


def test_files_of_any_kind_and_size_are_problems(project):
    paths = write_run(project, fake_spec())
    for file in (paths.metrics, paths.dataset, paths.subset, paths.per_class, paths.claim):
        file.unlink(missing_ok=True)
        os.mkfifo(file)
    log = RunLog(project)
    assert log.runs().is_empty()
    assert str(paths.claim) in str(log.problems[0])
    paths.claim.unlink()
    paths.metrics.unlink()
    paths.metrics.touch()
    os.truncate(paths.metrics, 40 * 10**9)
    log = RunLog(project)
    assert log.runs().height == 1
    for frame in (log.metrics, partial(log.table, "subsets"), partial(log.table, "per_class"), log.datasets):
        assert frame().is_empty()
    assert {problem.where for problem in log.problems} == {
        str(file) for file in (paths.metrics, paths.dataset, paths.subset, paths.per_class)
    }
    (tailed,) = MetricsTail().read([paths]).problems
    assert "larger than 67 MB" in str(tailed)


def test_directories_whose_names_are_no_text_are_problems(project):
    paths = write_run(project, fake_spec())
    for directory in (project.runs, paths.directory.parent):
        (directory / os.fsdecode(b"\xff")).mkdir()
    log = RunLog(project)
    assert log.runs().height == 1
    assert [problem.what for problem in log.problems] == ["has a name that is not UTF-8"] * 2
