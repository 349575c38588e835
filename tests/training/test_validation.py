"""Images held out of a subset: chosen by them, never by the test; stopping early; training anew on all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from tests.training.conftest import Compute, QueueRun
from tests.training.helpers import Rows, evaluations, small_spec, train, weights
from tests.training.pack_runs import CNN, SPEC, after, ask_to_leave, die, work, work_until_death
from tui_datasize.experiments.packing import pack_key
from tui_datasize.experiments.spec import (
    Budget,
    LabelNoise,
    ModelSpec,
    OptimizerSpec,
    RunSpec,
    Stopping,
    Transfer,
)
from tui_datasize.metric import METRICS_OFFERED
from tui_datasize.runlog.paths import ProjectPaths, RunPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.training import prepare as prepare_module
from tui_datasize.training.arrays import ImageSplit, LoadedDataset
from tui_datasize.training.engine import Trainer
from tui_datasize.training.packs.fused import Fused
from tui_datasize.training.packs.implementations import SideBySide
from tui_datasize.training.prepare import Shared, prepare
from tui_datasize.training.stop import StopRequest, StopRequested
from tui_datasize.training.task import make_task
from tui_datasize.training.transfer import read_source

EARLY = small_spec(
    train_size=60, validation=0.2, stop=Stopping(2), budget=Budget("updates", 200), evaluations=25
)
"""Ends long before its budget."""
REFIT = replace(EARLY, refit=True)


EARLY_CNN = replace(
    replace(CNN, train_size=60, validation=0.2, stop=Stopping(2), optimizer=OptimizerSpec(lr=5e-2)),
    budget=Budget("updates", 24),
    evaluations=12,
)
"""Evaluated after every second update."""


def expected_end(rows: Rows, patience: int) -> tuple[int, int]:
    """Update of the best evaluation and of the last, by the validation rows alone."""
    best, waited = rows[0], 0
    for row in rows[1:]:
        is_better = (row["accuracy"], -row["loss"]) > (best["accuracy"], -best["loss"])
        best, waited = (row, 0) if is_better else (best, waited + 1)
        if waited == patience:
            return best["update"], row["update"]
    return best["update"], rows[-1]["update"]


def of_split(paths: RunPaths, split: str) -> Rows:
    return [row for row in evaluations(paths) if row["split"] == split]


def assert_equal_weights(*runs: RunPaths) -> None:
    """Of what is kept of both."""
    kept, other = (torch.load(paths.best, weights_only=True)["state"]["model"] for paths in runs)
    assert kept.keys() == other.keys()
    assert all(torch.equal(some, other[name]) for name, some in kept.items())


def recorded(paths: RunPaths) -> dict[str, object]:
    return RunLog(ProjectPaths(paths.directory.parents[2])).runs().row(0, named=True)


@pytest.mark.parametrize(("validation", "held_out"), [(0.2, 12), (0.3, 18), (7.0, 7)])
def test_what_is_held_out_is_a_stratified_part_that_the_draw_decides(
    validation: float, held_out: int, digits: LoadedDataset
) -> None:
    spec = small_spec(train_size=60, validation=validation)
    task = make_task(spec, digits)
    assert task.is_held_out.sum() == held_out == spec.held_out
    labels = task.true_labels[task.subset]
    per_class = np.bincount(labels[task.is_held_out], minlength=10)
    assert np.abs(per_class - np.bincount(labels, minlength=10) * held_out / 60).max() < 1
    for other in (replace(spec, seed=8), replace(spec, label_noise=LabelNoise(0.3))):
        assert np.array_equal(make_task(other, digits).is_held_out, task.is_held_out)
    elsewhere = make_task(replace(spec, subset=replace(spec.subset, seed=1)), digits)
    assert not np.array_equal(elsewhere.is_held_out, task.is_held_out)


def test_an_epoch_is_a_pass_over_the_images_trained_on(queue_run: QueueRun) -> None:
    spec = small_spec(train_size=60, validation=0.2, budget=Budget("epochs", 10))
    paths = queue_run(spec)
    session = train(paths)
    assert session.trainer.update == 30
    roles = pl.read_parquet(paths.subset)["role"]
    assert roles.value_counts().sort("role").rows() == [("train", 48), ("validation", 12)]
    assert [row["epoch"] for row in of_split(paths, "validation")] == [2, 4, 6, 8, 10]
    # Options are tuned by whichever metric of the test is asked for.
    scores = [{name for name, score in row.items() if score is not None} for row in evaluations(paths)[-2:]]
    assert scores[0] == scores[1] > {"auroc"}
    classes = pl.read_parquet(paths.per_class).filter(split="train", evaluation="last")
    assert classes["images"].sum() == 48


def test_it_ends_when_so_many_evaluations_were_no_better_and_keeps_the_best(queue_run: QueueRun) -> None:
    paths = queue_run(EARLY)
    session = train(paths)
    best, ended = expected_end(of_split(paths, "validation"), 2)
    assert best < ended < 200
    assert torch.equal(taken_from(paths), weights(session))
    kept = torch.load(paths.best, weights_only=True)["state"]
    tested = {row["update"]: row["accuracy"] for row in of_split(paths, "test")}
    assert (kept["update"], kept["test_accuracy"]) == (best, tested[best])
    paths.exit.write_text('{"attempt": 1, "outcome": "succeeded", "reason": ""}', encoding="utf-8")
    row = recorded(paths)
    assert (row["updates"], row["ended_update"], row["missing_evaluations"]) == (ended, ended, 0)
    assert (row["best_update"], row["best_test_accuracy"]) == (best, tested[best])
    assert row["validation_accuracy"] == of_split(paths, "validation")[-1]["accuracy"]


def test_it_trains_anew_on_all_images_for_as_long_as_was_best(
    queue_run: QueueRun, digits: LoadedDataset
) -> None:
    paths, all_images = queue_run(REFIT), small_spec(train_size=60, budget=EARLY.budget, evaluations=200)
    session = train(paths)
    best, ended = expected_end(of_split(paths, "validation"), 2)
    last = evaluations(paths)[-2:]
    assert [(row["split"], row["update"]) for row in last] == [
        ("train", ended + best),
        ("test", ended + best),
    ]
    assert last[0]["samples_seen"] == 16 * (ended + best)
    plain = Trainer(all_images, digits, make_task(all_images, digits).subset, torch.device("cpu"))
    for _ in range(best):
        plain.step()
    of_plain = torch.cat([parameter.detach().flatten() for parameter in plain.model.parameters()])
    assert torch.equal(weights(session), of_plain)
    row = recorded(paths)
    assert [name for name in METRICS_OFFERED if row[name] is None] == []
    assert (row["ended_update"], row["refit_update"]) == (ended, ended + best)
    assert row["test_accuracy"] == last[1]["accuracy"]
    # These are the best: what is kept, and what is told of them.
    assert (row["best_update"], row["best_test_accuracy"]) == (ended + best, last[1]["accuracy"])
    kept = torch.load(paths.best, weights_only=True)["state"]
    assert (kept["update"], kept["test_accuracy"]) == (ended + best, last[1]["accuracy"])
    assert all(torch.equal(kept["model"][name], value) for name, value in plain.model.state_dict().items())
    tables = pl.read_parquet(paths.predictions).partition_by("evaluation", include_key=False)
    assert len(tables) == 2
    assert tables[0].equals(tables[1])
    assert torch.equal(taken_from(paths), of_plain)


def taken_from(paths: RunPaths) -> torch.Tensor:
    """What another run takes over from one that did not end by its budget."""
    source = read_source(paths, replace(EARLY, transfer=Transfer(paths.run_id, None, freeze=False)))
    assert source is not None
    return torch.cat([value.flatten() for value in source.values.values()])


def leave_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[RunPaths], None]:
    """Train until a request to leave comes after so many updates of one attempt."""

    def train_so_far(paths: RunPaths) -> None:
        session, stop, made = prepare(paths, 1, Shared(), print), StopRequest(), 0
        step = Trainer.step

        def step_and_ask(self: Trainer) -> None:
            nonlocal made
            step(self)
            made += 1
            stop.requested = made == steps

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "step", step_and_ask)
            with pytest.raises(StopRequested):
                session.run(stop)

    return train_so_far


@pytest.mark.parametrize("spec", [EARLY, REFIT], ids=["stops", "trains-anew"])
def test_it_resumes_bit_for_bit_in_either_training(
    spec: RunSpec, queue_run: QueueRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = queue_run(spec)
    undisturbed = train(whole)
    _, ended = expected_end(of_split(whole, "validation"), 2)
    made = ended + (undisturbed.trainer.update if spec.refit else 0)
    # In the first training, at its end, in the second, at an evaluation, and after the last update.
    for steps in {9, ended - 1, ended, min(ended + 3, made), made}:
        broken = queue_run(spec)
        leave_after(steps, monkeypatch)(broken)
        # How far it has to go is told as soon as it is known.
        refit = recorded(broken)["refit_update"]
        assert refit == (recorded(whole)["refit_update"] if steps > ended else None)
        resumed = train(broken)
        assert evaluations(broken) == evaluations(whole), steps
        assert torch.equal(weights(resumed), weights(undisturbed)), steps
        assert recorded(broken)["ended_update"] == ended
        assert_equal_weights(broken, whole)
        train(broken)
        assert recorded(broken)["ended_update"] == ended


def test_no_test_image_and_no_label_outside_the_subset_decides_anything(
    queue_run: QueueRun, digits: LoadedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, spoilt = queue_run(REFIT), queue_run(REFIT)
    undisturbed = train(plain)
    noise = np.random.default_rng(0)
    labels = np.asarray(digits.train.labels).copy()
    outside = np.setdiff1d(np.arange(len(labels)), make_task(REFIT, digits).subset)
    # Each class keeps its images, which the draw is made by.
    task = make_task(REFIT, digits)
    labels[outside] = noise.permutation(labels[outside])
    images = noise.integers(0, 256, np.asarray(digits.test.images).shape, dtype=np.uint8)
    of_noise = ImageSplit(images, noise.permutation(digits.test.labels), digits.test.hashes)
    train_split = ImageSplit(digits.train.images, labels, digits.train.hashes)
    noisy = replace(digits, test=of_noise, train=train_split)
    monkeypatch.setattr(prepare_module, "load_dataset", lambda *_: noisy)
    monkeypatch.setattr(prepare_module, "make_task", lambda *_: replace(task, dataset=noisy))
    disturbed = train(spoilt)
    assert torch.equal(weights(disturbed), weights(undisturbed))
    for split in ("train", "validation"):
        assert of_split(spoilt, split) == of_split(plain, split)
    assert of_split(spoilt, "test") != of_split(plain, "test")
    kept = [torch.load(paths.best, weights_only=True)["state"] for paths in (spoilt, plain)]
    assert kept[0]["update"] == kept[1]["update"]


def test_the_images_held_out_are_not_trained_on(queue_run: QueueRun, digits: LoadedDataset) -> None:
    spec = small_spec(train_size=60, validation=0.2)
    task = make_task(spec, digits)
    session = prepare(queue_run(spec), 1, Shared(), print)
    session.run(StopRequest())
    trained = task.subset[~task.is_held_out]
    plain = Trainer(spec, digits, trained, torch.device("cpu"))
    for _ in range(40):
        plain.step()
    of_plain = torch.cat([parameter.detach().flatten() for parameter in plain.model.parameters()])
    assert torch.equal(weights(session), of_plain)


def test_lanes_of_a_pack_end_each_at_a_time_of_its_own(queue_run: QueueRun, compute: Compute) -> None:
    compute(Fused)
    specs = [
        replace(SPEC, seed=seed, train_size=60, validation=0.2, stop=Stopping(1), evaluations=10)
        for seed in (1, 2, 3)
    ]
    assert len({pack_key(spec) for spec in specs}) == 1
    assert pack_key(replace(specs[0], refit=True)) == ""
    # Batch normalisation wants lanes of one length.
    coupled = replace(specs[0], model=ModelSpec("resnet"), stop=Stopping())
    assert pack_key(replace(coupled, stop=Stopping(1))) == ""
    assert pack_key(coupled) != pack_key(replace(coupled, validation=0.4))
    runs = [queue_run(spec) for spec in specs]
    assert work(runs) == 0
    ends = [expected_end(of_split(paths, "validation"), 1)[1] for paths in runs]
    assert [evaluations(paths)[-1]["update"] for paths in runs] == ends
    assert len(set(ends)) > 1


# Of a fused pack that died nobody knows who killed it: what is left of it goes on alone, as rounding has it.
@pytest.mark.parametrize(
    ("together", "happens", "ended"), [(Fused, ask_to_leave, 3), (Fused, die, 1), (SideBySide, die, 3)]
)
def test_what_is_left_of_a_pack_goes_on_bit_for_bit(
    together: type[Fused | SideBySide],
    happens: Callable[[], None],
    ended: int,
    queue_run: QueueRun,
    compute: Compute,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    specs = [replace(EARLY_CNN, seed=seed) for seed in (7, 8, 9)]
    whole = [queue_run(spec) for spec in specs]
    compute(together)
    assert work(whole) == 0
    ends = [evaluations(paths)[-1]["update"] for paths in whole]
    first, second, third = sorted(ends)
    assert first < second < third
    # None of them has ended then, one, or two.
    for steps in (first - 1, first + 1, second + 1)[:ended]:
        broken = [queue_run(spec) for spec in specs]
        compute(after(steps, happens, together))
        if happens is die:
            work_until_death(broken, monkeypatch)
        else:
            assert work(broken) == 0
        left = [paths for paths, end in zip(broken, ends, strict=True) if end > steps]
        compute(together)
        monkeypatch.setenv("DATASIZE_ATTEMPT", ",".join("2" * len(left)))
        assert work(left) == 0
        monkeypatch.delenv("DATASIZE_ATTEMPT")
        for undisturbed, resumed in zip(whole, broken, strict=True):
            assert evaluations(resumed) == evaluations(undisturbed), steps
            assert_equal_weights(resumed, undisturbed)
