"""Whole runs on the digits: what they write, that they repeat, and that they resume bit for bit."""

from __future__ import annotations

import itertools
import json
from functools import partial

import numpy as np
import polars as pl
import pytest
import torch

from tests.training.graph_trainers import on_recordings
from tests.training.helpers import evaluations, read_rows, small_spec, train, train_until, weights
from tui_datasize.errors import RunFailedError
from tui_datasize.experiments.budget import epochs_at, evaluation_updates, total_updates
from tui_datasize.experiments.spec import Budget, ModelSpec, OptimizerSpec
from tui_datasize.experiments.subsets import draw
from tui_datasize.files import read_object
from tui_datasize.runlog import schema
from tui_datasize.runlog.writer import MetricsWriter
from tui_datasize.training import checkpoint
from tui_datasize.training import session as session_module
from tui_datasize.training.engine import Trainer
from tui_datasize.training.session import Session
from tui_datasize.training.stop import StopRequest

CNN = ModelSpec("cnn3", {"width": 4})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train_size": 5},
        {"budget": Budget("epochs", 2.5)},
        {"budget": Budget("samples", 100), "evaluations": 12},
        {"model": CNN, "clip_grad_norm": None},
        {"optimizer": OptimizerSpec("sgd", lr=0.05, momentum=0.9), "model": CNN},
    ],
    ids=["plain", "tiny", "epochs", "samples", "cnn", "sgd"],
)
def test_a_run_makes_exactly_its_updates_and_evaluations(changes, queue_run):
    spec = small_spec(**changes)
    paths = queue_run(spec)
    session = train(paths)
    due = evaluation_updates(total_updates(spec), spec.evaluations)
    rows = evaluations(paths)
    assert session.trainer.update == total_updates(spec)
    assert [row["update"] for row in rows] == list(itertools.chain(*zip(due, due, strict=True)))
    assert [row["split"] for row in rows] == ["train", "test"] * len(due)
    assert [row["samples_seen"] for row in rows] == [row["update"] * spec.batch_size for row in rows]
    assert rows[-1]["epoch"] == epochs_at(spec, due[-1])


def test_rows_have_the_columns_of_the_schema(queue_run):
    paths = queue_run(small_spec())
    train(paths)
    rows = read_rows(paths)
    assert all(tuple(row) == tuple(schema.METRICS) for row in rows)
    trained = [row for row in rows if row["event"] == "train"]
    assert [row["update"] for row in trained] == list(evaluation_updates(40, 5))
    assert all(row["grad_norm"] > 0 and row["loss"] > 0 and row["lr"] == 3e-3 for row in trained)


def test_scores_are_of_the_whole_split_and_follow_from_the_predictions(queue_run, digits):
    paths = queue_run(small_spec())
    train(paths)
    last = evaluations(paths)[-1]
    kept = pl.read_parquet(paths.predictions)
    assert dict(kept.schema) == dict(schema.PREDICTIONS)
    rows = kept.filter(pl.col("evaluation") == "last")
    assert rows["index"].to_list() == list(range(len(digits.test.labels)))
    assert rows["label"].to_list() == digits.test.labels.tolist()
    assert rows["hash"].to_list() == digits.test.hashes.tolist()
    predicted = rows["probabilities"].list.arg_max().to_numpy()
    assert (predicted == digits.test.labels).mean() == last["accuracy"]
    assert rows["probabilities"].list.sum().to_numpy() == pytest.approx(1, abs=0.01)


def test_tables_agree_with_the_rows(queue_run, digits):
    paths = queue_run(small_spec())
    train(paths)
    tested = [row for row in evaluations(paths) if row["split"] == "test"]
    best = max(tested, key=lambda row: row["accuracy"])
    confusion, per_class = pl.read_parquet(paths.confusion), pl.read_parquet(paths.per_class)
    assert dict(confusion.schema) == dict(schema.CONFUSION)
    assert dict(per_class.schema) == dict(schema.PER_CLASS)
    for name, row in (("last", tested[-1]), ("best", best)):
        cells = confusion.filter(pl.col("evaluation") == name)
        hits = cells.filter(pl.col("label") == pl.col("predicted"))["images"].sum()
        assert cells["update"].unique().to_list() == [row["update"]]
        assert cells["images"].sum() == len(digits.test.labels)
        assert hits / len(digits.test.labels) == row["accuracy"]
        classes = per_class.filter((pl.col("evaluation") == name) & (pl.col("split") == "test"))
        assert classes["images"].to_list() == np.bincount(digits.test.labels).tolist()
        assert (classes["accuracy"] * classes["images"]).sum() == pytest.approx(hits)


def test_train_scores_are_of_the_whole_subset(queue_run):
    spec = small_spec()
    paths = queue_run(spec)
    train(paths)
    per_class = pl.read_parquet(paths.per_class)
    subset = per_class.filter((pl.col("evaluation") == "last") & (pl.col("split") == "train"))
    assert subset["images"].sum() == spec.train_size
    accuracy = (subset["images"] * subset["accuracy"].fill_null(0)).sum() / spec.train_size
    assert accuracy == pytest.approx(evaluations(paths)[-2]["accuracy"])


def test_the_directory_names_the_images_that_were_drawn(queue_run, digits):
    spec = small_spec()
    paths = queue_run(spec)
    train(paths)
    chosen = draw(np.asarray(digits.train.labels), spec.train_size, spec.subset)
    subset = pl.read_parquet(paths.subset)
    assert dict(subset.schema) == dict(schema.SUBSET)
    assert subset["index"].to_list() == chosen.tolist()
    assert subset["label"].to_list() == digits.train.labels[chosen].tolist()
    assert subset["hash"].to_list() == digits.train.hashes[chosen].tolist()
    facts = json.loads(paths.dataset.read_text())
    assert facts["train_images_per_class"] == np.bincount(digits.train.labels).tolist()
    assert facts["fingerprint"] == digits.fingerprint
    provenance = json.loads(paths.provenance.read_text())
    assert provenance["device"] == "cpu"
    assert provenance["dataset_fingerprint"] == digits.fingerprint


def test_training_learns(queue_run):
    spec = small_spec(train_size=640, budget=Budget("updates", 300), evaluations=2)
    paths = queue_run(spec)
    train(paths)
    assert evaluations(paths)[-1]["accuracy"] > 0.85


def test_equal_runs_are_equal_and_seeds_are_not(queue_run):
    spec = small_spec(model=CNN)
    one, other, two = queue_run(spec), queue_run(small_spec(model=CNN, seed=8)), queue_run(spec)
    first, different, second = train(one), train(other), train(two)
    assert evaluations(one) == evaluations(two)
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(different))


@pytest.mark.parametrize("model", [small_spec().model, CNN], ids=str)
def test_a_resumed_run_is_the_undisturbed_one_bit_for_bit(model, queue_run):
    spec = small_spec(model=model)
    whole = queue_run(spec)
    undisturbed = train(whole)
    # After the first update, at an evaluation, between two, and after the last.
    for update in (1, 16, 21, 40):
        broken = queue_run(spec)
        train_until(broken, update)
        assert max(row["update"] for row in read_rows(broken)) == update
        resumed = train(broken)
        assert evaluations(broken) == evaluations(whole), update
        assert torch.equal(weights(resumed), weights(undisturbed)), update
        for table in ("predictions", "confusion", "per_class", "subset"):
            assert pl.read_parquet(getattr(broken, table)).equals(pl.read_parquet(getattr(whole, table)))


def test_a_run_survives_being_left_again_and_again(queue_run):
    spec = small_spec()
    whole, broken = queue_run(spec), queue_run(spec)
    train(whole)
    for update in (3, 8, 9, 16, 33):
        train_until(broken, update)
    train(broken)
    assert evaluations(broken) == evaluations(whole)


def test_a_worker_that_dies_between_rows_and_checkpoint_leaves_no_row_twice(queue_run, monkeypatch):
    spec = small_spec()
    whole, broken = queue_run(spec), queue_run(spec)
    train(whole)
    train_until(broken, 16)

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", die)
        with pytest.raises(KeyboardInterrupt):
            train(broken)
    assert read_rows(broken)[-1]["event"] == "evaluation"
    train(broken)
    assert evaluations(broken) == evaluations(whole)


def test_time_adds_up_over_attempts(queue_run):
    paths = queue_run(small_spec())
    train_until(paths, 20)
    before = max(row["wall_s"] for row in read_rows(paths))
    train(paths)
    walls = [row["wall_s"] for row in read_rows(paths)]
    assert walls == sorted(walls)
    assert walls[-1] > before


def test_a_finished_run_has_nothing_left_to_do(queue_run):
    paths = queue_run(small_spec())
    train(paths)
    before = evaluations(paths)
    session = train(paths)
    assert session.trainer.update == 40
    assert evaluations(paths) == before


@pytest.mark.parametrize("damage", ["torn", "foreign"])
def test_a_checkpoint_that_does_not_fit_is_not_used(damage, queue_run, capsys):
    spec = small_spec()
    whole, broken = queue_run(spec), queue_run(spec)
    train(whole)
    if damage == "torn":
        train_until(broken, 20)
        broken.checkpoint.write_bytes(broken.checkpoint.read_bytes()[:1000])
    else:
        stranger = queue_run(small_spec(seed=99))
        train_until(stranger, 20)
        broken.checkpoint.write_bytes(stranger.checkpoint.read_bytes())
    train(broken)
    assert evaluations(broken) == evaluations(whole)
    assert "starting over, the checkpoint does not fit" in capsys.readouterr().out


def test_a_loss_that_is_no_number_ends_the_run_with_its_update(queue_run):
    paths = queue_run(small_spec(optimizer=OptimizerSpec("sgd", lr=1e30), clip_grad_norm=None))
    with pytest.raises(RunFailedError, match=r"loss became (NaN|infinite) at update \d+ \(lr 1e\+30\)"):
        train(paths)
    last = read_rows(paths)[-1]
    assert (last["event"], last["loss"]) == ("train", None)


def test_a_row_is_written_about_once_a_second_and_a_checkpoint_every_ten_seconds(queue_run, digits):
    spec = small_spec(budget=Budget("updates", 400), evaluations=1)
    paths = queue_run(spec)
    ticks = itertools.count()
    subset = draw(np.asarray(digits.train.labels), spec.train_size, spec.subset)
    saved = []

    def clock():
        """A tenth of a second at every look."""
        saved.append(paths.checkpoint.exists())
        return next(ticks) / 10

    Session(paths, spec, digits, subset, torch.device("cpu"), clock).run(StopRequest())
    trained = [row for row in read_rows(paths) if row["event"] == "train"]
    gaps = np.diff([row["wall_s"] for row in trained])
    assert len(trained) > 10
    assert gaps[:-1].min() >= 1.0
    assert gaps.max() < 2.5
    assert 90 <= saved.index(True) <= 110


def test_checkpoints_that_take_long_are_written_seldom(queue_run, digits, monkeypatch):
    spec = small_spec(budget=Budget("updates", 600), evaluations=1)
    paths = queue_run(spec)
    now_s, saved_at_s = [0.0], []
    save = checkpoint.save

    def save_slowly(*arguments):
        saved_at_s.append(now_s[0])
        now_s[0] += 0.5
        save(*arguments)

    def clock():
        now_s[0] += 0.1
        return now_s[0]

    monkeypatch.setattr(checkpoint, "save", save_slowly)
    subset = draw(np.asarray(digits.train.labels), spec.train_size, spec.subset)
    session = Session(paths, spec, digits, subset, torch.device("cpu"), clock)
    session.sharers = 2
    session.run(StopRequest())
    # Two runs that save for .7 s each by this clock; the last ones are of the end.
    assert 70 <= saved_at_s[1] - saved_at_s[0] < 73


@pytest.mark.parametrize("bytes_per_s", [10**9, 80_000, 40_000])
def test_the_first_checkpoint_comes_when_it_is_worth_what_a_part_of_it_takes(
    queue_run, digits, monkeypatch, bytes_per_s
):
    spec = small_spec(budget=Budget("updates", 800), evaluations=1)
    paths = queue_run(spec)
    now_s, saved = [0.0], []
    save, step = checkpoint.save, Trainer.step

    def save_at_that_rate(path, identity, state):
        save(path, identity, state)
        begun_s = now_s[0]
        now_s[0] += sum(tensor.nbytes for tensor in checkpoint._tensors(state)) / bytes_per_s
        saved.append((path, begun_s, now_s[0]))

    def step_in_time(trainer):
        now_s[0] += 0.1
        step(trainer)

    monkeypatch.setattr(checkpoint, "save", save_at_that_rate)
    monkeypatch.setattr(checkpoint, "_TRIED_BYTES", 4_000)
    monkeypatch.setattr(Trainer, "step", step_in_time)
    subset = draw(np.asarray(digits.train.labels), spec.train_size, spec.subset)
    Session(paths, spec, digits, subset, torch.device("cpu"), lambda: now_s[0]).run(StopRequest())
    (trial, *tried_s), (path, *saved_s), *_ = saved
    assert (trial.exists(), path) == (False, paths.checkpoint)
    assert 9 <= tried_s[0] < 11
    cost_s = tried_s[1] - tried_s[0] + saved_s[1] - saved_s[0]
    due_s = max(9, cost_s / 0.02)
    # Some of a state is no longer of the same size.
    assert 0.97 * due_s < saved_s[0] < due_s + 2


def test_time_begins_with_training_and_not_while_other_runs_are_made_ready(queue_run, digits):
    spec = small_spec()
    paths = queue_run(spec)
    ticks = itertools.count()
    subset = draw(np.asarray(digits.train.labels), spec.train_size, spec.subset)
    session = Session(paths, spec, digits, subset, torch.device("cpu"), lambda: next(ticks) / 10)
    for _ in range(1000):
        next(ticks)
    session.run(StopRequest())
    first = next(row for row in read_rows(paths) if row["event"] == "train")
    assert 0 < first["wall_s"] < 10
    # A tenth of a second at every look, of which there is one for each update.
    assert first["images_per_s"] > spec.batch_size


def test_rows_of_training_tell_rate_gradient_speed_and_memory(queue_run):
    paths = queue_run(small_spec())
    train(paths)
    rows = [row for row in read_rows(paths) if row["event"] == "train"]
    most_bytes = read_object(paths.provenance)["peak_memory_bytes"]
    for row in rows:
        assert row["lr"] > 0
        assert row["grad_norm"] > 0
        assert row["images_per_s"] > 0
        # Torch alone takes more than the first; Linux counts the present and the most apart, in batches.
        assert 50 * 2**20 < row["memory_bytes"] <= most_bytes + 16 * 2**20


def test_the_record_tells_how_many_updates_were_replayed_in_all_attempts(queue_run, monkeypatch):
    paths, plain = queue_run(small_spec()), queue_run(small_spec())
    train(plain)
    monkeypatch.setattr(session_module, "Trainer", partial(Trainer, capture=on_recordings))
    train_until(paths, 12)
    train(paths)
    replayed = [json.loads(run.provenance.read_text())["updates_replayed"] for run in (plain, paths)]
    # The first three after each start are made as they are.
    assert replayed == [0, (12 - 3) + (28 - 3)]
    assert evaluations(paths) == evaluations(plain)


def test_rows_are_on_the_disk_before_a_checkpoint_relies_on_them(queue_run, monkeypatch):
    """A power cut must not leave a checkpoint whose run lacks an evaluation that it counts as made."""
    unsynced, seen = [], []

    def wrapped(name, note):
        method = getattr(MetricsWriter, name)

        def call(*arguments, **values):
            method(*arguments, **values)
            note()

        monkeypatch.setattr(MetricsWriter, name, call)

    wrapped("write", lambda: unsynced.append(1))
    wrapped("sync", unsynced.clear)
    save = checkpoint.save

    def saved(path, *arguments):
        # The weights of the best evaluation are no place to go on from.
        if path.name == "checkpoint.pt":
            seen.append(list(unsynced))
        save(path, *arguments)

    monkeypatch.setattr(checkpoint, "save", saved)
    train(queue_run(small_spec()))
    assert seen
    assert not any(seen)
