"""The weights with the highest test accuracy: kept through everything that may happen to a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.training.conftest import Compute, QueueRun
from tests.training.helpers import evaluations, small_spec, train, train_until
from tests.training.pack_runs import SPEC, specs_of, work
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.training import checkpoint
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.engine import Trainer
from tui_datasize.training.evaluate import Tally, predict, score
from tui_datasize.training.packs.fused import Fused
from tui_datasize.training.placement import place_images
from tui_datasize.training.prepare import Shared, prepare

SPOILT_AFTER = 16
"""Updates of the small run after which its weights are nothing: its second evaluation is its best."""


@pytest.fixture
def _spoilt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every run lose all that it has learned."""
    step = Trainer.step

    def step_and_spoil(self: Trainer) -> None:
        step(self)
        if self.update > SPOILT_AFTER:
            with torch.no_grad():
                for parameter in self.model.parameters():
                    parameter.zero_()

    monkeypatch.setattr(Trainer, "step", step_and_spoil)


def read(paths: RunPaths) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(paths.best, weights_only=True)["state"]
    return state


def checkpointed(paths: RunPaths) -> dict[str, Any]:
    """The best evaluation as the checkpoint knows it."""
    best: dict[str, Any] = torch.load(paths.checkpoint, weights_only=True)["state"]["best"]
    return best


def accuracies(paths: RunPaths) -> list[tuple[int, float]]:
    """Update and test accuracy of each evaluation."""
    return [(row["update"], row["accuracy"]) for row in evaluations(paths) if row["split"] == "test"]


def are_equal(some: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> bool:
    return some.keys() == others.keys() and all(torch.equal(some[name], others[name]) for name in some)


def accuracy_of(weights: Mapping[str, Tensor], paths: RunPaths, digits: LoadedDataset) -> float:
    """Measured anew, by a model that is given the weights."""
    trainer = prepare(paths, 1, Shared(), print).trainer
    trainer.model.load_state_dict(weights)
    tally = Tally(10, keep_all=True)
    images = place_images(digits.test, slice(None), torch.device("cpu"))
    outputs = predict(
        trainer.model,
        images,
        trainer.view,
        tally,
        batch_size=64,
        autocast=trainer.autocast,
        check=lambda: None,
    )
    accuracy = score(outputs).scores["accuracy"]
    assert accuracy is not None
    return accuracy


@pytest.mark.usefixtures("_spoilt")
def test_the_best_weights_are_those_of_the_best_evaluation(
    queue_run: QueueRun, digits: LoadedDataset
) -> None:
    paths = queue_run(small_spec())
    train(paths)
    best = read(paths)
    assert best["update"] == SPOILT_AFTER
    assert (best["update"], best["test_accuracy"]) == max(accuracies(paths), key=lambda row: row[1])
    assert accuracy_of(best["model"], paths, digits) == best["test_accuracy"] > accuracies(paths)[-1][1]


@pytest.mark.usefixtures("_spoilt")
@pytest.mark.parametrize("left_at", [(12,), (20,), (16, 17, 30)])
def test_the_best_weights_survive_that_the_run_is_left(left_at: tuple[int, ...], queue_run: QueueRun) -> None:
    whole, broken = queue_run(small_spec()), queue_run(small_spec())
    train(whole)
    for update in left_at:
        train_until(broken, update)
        assert not broken.best.exists()
    train(broken)
    assert are_equal(read(broken).pop("model"), read(whole).pop("model"))


@pytest.mark.usefixtures("_spoilt")
def test_a_finished_run_holds_its_best_weights_once(queue_run: QueueRun) -> None:
    paths = queue_run(small_spec())
    train_until(paths, 20)
    assert checkpointed(paths)["weights"] is not None
    train(paths)
    assert checkpointed(paths)["weights"] is None
    before = paths.best.read_bytes()
    train(paths)
    assert paths.best.read_bytes() == before


@pytest.mark.usefixtures("_spoilt")
def test_a_checkpoint_from_before_the_weights_were_kept_still_continues(queue_run: QueueRun) -> None:
    whole, broken = queue_run(small_spec()), queue_run(small_spec())
    train(whole)
    train_until(broken, 20)
    document = torch.load(broken.checkpoint, weights_only=True)
    del document["state"]["best"]["weights"]
    checkpoint.save(broken.checkpoint, document["identity"], document["state"])
    train(broken)
    assert evaluations(broken) == evaluations(whole)
    # They were of an evaluation before that checkpoint: other weights would be worse than none.
    assert not broken.best.exists()


@pytest.mark.usefixtures("_spoilt")
@pytest.mark.parametrize("left_at", [None, 20])
def test_a_run_that_dies_after_its_best_weights_and_before_its_last_checkpoint_ends_the_same(
    left_at: int | None, queue_run: QueueRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = queue_run(small_spec()), queue_run(small_spec())
    train(whole)
    if left_at:
        train_until(broken, left_at)
    save, written = checkpoint.save, list[Path]()

    def save_once_and_die(path: Path, identity: Mapping[str, str], state: Mapping[str, Any]) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(path)
        save(path, identity, state)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save_once_and_die)
        with pytest.raises(KeyboardInterrupt):
            train(broken)
    assert written == [broken.best]
    assert broken.checkpoint.exists() == bool(left_at)

    train(broken)
    assert evaluations(broken) == evaluations(whole)
    assert are_equal(read(broken).pop("model"), read(whole).pop("model"))
    assert checkpointed(broken)["weights"] is None


def test_the_best_weights_of_a_run_that_averages_are_the_average(
    queue_run: QueueRun, digits: LoadedDataset
) -> None:
    paths = queue_run(small_spec(ema_decay=0.9))
    train(paths)
    best = read(paths)
    assert accuracy_of(best["model"], paths, digits) == best["test_accuracy"]


def test_each_run_of_a_pack_keeps_its_own(
    queue_run: QueueRun, digits: LoadedDataset, compute: Compute
) -> None:
    compute(Fused)
    runs = [queue_run(spec) for spec in specs_of(SPEC)]
    assert work(runs) == 0
    for paths, best in zip(runs, map(read, runs), strict=True):
        assert (best["update"], best["test_accuracy"]) == max(accuracies(paths), key=lambda row: row[1])
        assert accuracy_of(best["model"], paths, digits) == best["test_accuracy"]
