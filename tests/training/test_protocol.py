"""The published protocol: what is counted, what is measured, and on which images."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from tests.training.helpers import evaluations, small_spec, train
from tui_datasize.experiments.budget import batches_per_epoch, samples_at, total_updates
from tui_datasize.experiments.spec import Budget, ModelSpec, Protocol
from tui_datasize.experiments.subsets import draw
from tui_datasize.training.engine import Trainer
from tui_datasize.training.streams import last_batch

PUBLISHED = Protocol("last-batch", "micro", partial_batches=True)


@pytest.mark.parametrize(("train_size", "updates"), [(12_000, 2_004), (800, 2_160), (750, 2_112)])
def test_partial_batches_make_the_updates_of_the_study(train_size, updates):
    spec = small_spec(
        train_size=train_size, batch_size=72, budget=Budget("samples", 144_000), protocol=PUBLISHED
    )
    assert total_updates(spec) == updates
    assert samples_at(spec, updates) == 144_000


def test_every_epoch_ends_with_its_smaller_batch_and_shows_every_image_once(digits):
    spec = small_spec(train_size=50, batch_size=16, protocol=PUBLISHED)
    subset = draw(np.asarray(digits.train.labels), 50, spec.subset)
    trainer = Trainer(spec, digits, subset, torch.device("cpu"))
    for _ in range(3):
        rows = []
        for _ in range(batches_per_epoch(spec)):
            rows.append(trainer._next_rows())
            trainer.update += 1
        assert [len(part) for part in rows] == [16, 16, 16, 2]
        assert sorted(torch.cat(rows).tolist()) == list(range(50))


@pytest.mark.parametrize(("images", "batch_size", "count"), [(20_800, 72, 64), (144, 72, 72), (50, 72, 50)])
def test_the_last_batch_of_a_shuffled_pass(images, batch_size, count):
    first, again, later = (last_batch(images, batch_size, 7, update) for update in (167, 167, 334))
    assert len(np.unique(first)) == count
    assert first.max() < images
    assert np.array_equal(first, again)
    assert not np.array_equal(first, later)


def test_the_record_of_a_published_run_is_of_its_last_batches_alone(queue_run, digits):
    spec = small_spec(
        protocol=PUBLISHED, train_size=50, batch_size=32, budget=Budget("epochs", 6), evaluations=3
    )
    paths = queue_run(spec)
    session = train(paths)
    on_train, on_test = evaluations(paths)[-2:]
    tested = last_batch(len(digits.test.labels), 32, spec.seed, 12)
    assert len(tested) == len(digits.test.labels) % 32
    kept = pl.read_parquet(paths.predictions).filter(pl.col("evaluation") == "last")
    assert kept["index"].to_list() == tested.tolist()
    assert kept["label"].to_list() == digits.test.labels[tested].tolist()
    assert kept["hash"].to_list() == digits.test.hashes[tested].tolist()
    hits = kept["probabilities"].list.arg_max().to_numpy() == digits.test.labels[tested]
    assert on_test["accuracy"] == hits.mean() == pytest.approx(on_test["f1_macro"])
    seen = session.trainer.last_batch
    assert len(seen.labels) == 18
    assert on_train["accuracy"] == (seen.logits.argmax(dim=1) == seen.labels).double().mean()
    for split, images in (("train", 18), ("test", len(tested))):
        table = pl.read_parquet(paths.per_class)
        rows = table.filter((pl.col("evaluation") == "last") & (pl.col("split") == split))
        assert rows["images"].sum() == images


def test_train_numbers_are_those_of_the_update_itself_with_dropout_on(digits):
    spec = small_spec(model=ModelSpec("mlp", {"hidden": 16, "dropout": 0.5}), protocol=PUBLISHED)
    subset = draw(np.asarray(digits.train.labels), spec.train_size, spec.subset)
    trainer, twin = (Trainer(spec, digits, subset, torch.device("cpu")) for _ in range(2))
    trainer.step()
    images, labels = twin.subset.batch(twin._next_rows())
    logits = twin.model(twin.view(images))
    assert torch.equal(trainer.last_batch.logits, logits.detach())
    assert torch.equal(trainer.last_batch.labels, labels)
    twin.model.eval()
    assert not torch.equal(twin.model(twin.view(images)), logits)


def test_micro_f1_is_the_accuracy_and_macro_is_not(queue_run):
    for f1, differs in (("micro", False), ("macro", True)):
        paths = queue_run(small_spec(protocol=Protocol(f1=f1), budget=Budget("updates", 5)))
        train(paths)
        last = evaluations(paths)[-1]
        assert (abs(last["f1_macro"] - last["accuracy"]) > 1e-6) == differs
