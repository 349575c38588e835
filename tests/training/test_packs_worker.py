"""A worker for several runs at once: each ends as if it were alone."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest
import torch

from tests.training.helpers import evaluations
from tests.training.pack_runs import (
    CNN,
    SPEC,
    after,
    ask_to_leave,
    die,
    diverging,
    ends,
    specs_of,
    work,
    work_until_death,
)
from tui_datasize.errors import EXIT_BAD_INPUT, EXIT_OK, EXIT_RUN_FAILED
from tui_datasize.experiments.spec import Budget, ModelSpec
from tui_datasize.runlog import schema
from tui_datasize.runlog.claim import LEFT_WITH_PACK, RunOutcome, acquire, conclude, read_exit, take_lock
from tui_datasize.training import engine
from tui_datasize.training.lane import Lane
from tui_datasize.training.packs import calibration
from tui_datasize.training.packs.fused import Fused
from tui_datasize.training.packs.implementations import SideBySide
from tui_datasize.training.placement import DeviceSplit, MappedSplit, nowhere
from tui_datasize.training.session import Session
from tui_datasize.training.worker import main


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def work_as(attempts, runs, monkeypatch):
    monkeypatch.setenv("DATASIZE_ATTEMPT", attempts)
    return work(runs)


def facts(paths):
    return json.loads(paths.provenance.read_text())


def test_a_pack_ends_as_its_runs_alone_do(queue_run, compute):
    compute(SideBySide)
    specs = specs_of(SPEC, 3)
    packed, alone = [queue_run(spec) for spec in specs], [queue_run(spec) for spec in specs]
    assert work(packed) == EXIT_OK
    assert main([str(paths.directory) for paths in alone]) == EXIT_OK
    assert ends(packed) == [(RunOutcome.SUCCEEDED, "")] * 3
    for one, lane in zip(alone, packed, strict=True):
        assert evaluations(lane) == evaluations(one)
        assert lane.predictions.exists()
        assert (facts(lane)["pack_width"], facts(one)["pack_width"]) == (3, 1)
        assert facts(one)["pack_implementation"] == "alone"
        told = lane.stdout.read_text().splitlines()
        assert told[0].startswith(f"{lane.run_id}: attempt 1, ")
        assert told[-1] == f"{lane.run_id}: succeeded"
        tested = [row for row in evaluations(lane) if row["split"] == "test"]
        last = f"test loss {tested[-1]['loss']:.4f}, test accuracy {tested[-1]['accuracy']:.2%}"
        assert told[-2] == f"{lane.run_id}: update {tested[-1]['update']} of {tested[-1]['update']}: {last}"
        assert sum(": update " in line for line in told) == len(tested)


def assert_agree(found, expected):
    """Every column within what fused lanes are held to: rounding, which may move an image or two."""
    for one, other in zip(found, expected, strict=True):
        shares = {column: one.pop(column) for column in schema.SHARES}
        assert shares == pytest.approx({column: other.pop(column) for column in schema.SHARES}, abs=5e-3)
        assert one.pop("loss") == pytest.approx(other.pop("loss"), abs=1e-4)
        assert one == other


@pytest.mark.parametrize("spec", [SPEC, CNN], ids=["mlp", "cnn3"])
def test_fused_lanes_agree_with_their_runs_alone_in_every_column(spec, queue_run, compute):
    compute(Fused)
    specs = specs_of(spec, 3)
    packed, alone = [queue_run(spec) for spec in specs], [queue_run(spec) for spec in specs]
    assert work(packed) == EXIT_OK
    assert main([str(paths.directory) for paths in alone]) == EXIT_OK
    for one, lane in zip(alone, packed, strict=True):
        assert_agree(evaluations(lane), evaluations(one))


def test_a_lane_whose_loss_is_no_number_ends_alone(queue_run, compute):
    compute(Fused)
    first, second, third = specs_of(CNN, 3)
    sound, mixed = ([queue_run(spec) for spec in (first, s, third)] for s in (second, diverging(second)))
    assert work(sound) == EXIT_OK
    assert work(mixed) == EXIT_RUN_FAILED
    outcomes = ends(mixed)
    assert outcomes[1][0] is RunOutcome.FAILED
    assert "loss became" in outcomes[1][1]
    assert "loss became" in mixed[1].stderr.read_text()
    assert outcomes[0] == outcomes[2] == (RunOutcome.SUCCEEDED, "")
    for lane in (0, 2):
        assert evaluations(mixed[lane]) == evaluations(sound[lane])


def test_a_lane_that_ended_is_free_while_the_others_train(queue_run, compute):
    specs = [replace(CNN, budget=Budget("updates", updates)) for updates in (4, 12)]
    runs = [queue_run(spec) for spec in specs]
    seen = []

    def look():
        lock = take_lock(runs[0], patience_s=0)
        seen.append((lock is not None, take_lock(runs[1], patience_s=0), *ends(runs)))
        os.close(lock)

    compute(after(8, look))
    assert work(runs) == EXIT_OK
    assert seen == [(True, None, (RunOutcome.SUCCEEDED, ""), None)]


def test_runs_of_a_pack_that_still_train_share_the_cost_of_their_checkpoints(queue_run, compute, monkeypatch):
    specs = [replace(CNN, budget=Budget("updates", updates)) for updates in (4, 12)]
    sharers = []
    monkeypatch.setattr(Session, "_save_if_due", lambda session: sharers.append(session.sharers))
    compute(Fused)
    assert work([queue_run(spec) for spec in specs]) == EXIT_OK
    assert (sharers[0], sharers[-1]) == (2, 1)


def test_a_pack_asked_to_leave_resumes_bit_for_bit(queue_run, compute, monkeypatch):
    specs = specs_of(CNN, 3)
    whole, broken = [queue_run(spec) for spec in specs], [queue_run(spec) for spec in specs]
    compute(Fused)
    assert work(whole) == EXIT_OK
    compute(after(8, ask_to_leave))
    assert work(broken) == EXIT_OK
    assert ends(broken) == [(RunOutcome.INTERRUPTED, LEFT_WITH_PACK)] * 3
    compute(Fused)
    assert work_as("2,2,2", broken, monkeypatch) == EXIT_OK
    for undisturbed, resumed in zip(whole, broken, strict=True):
        assert read_exit(resumed).attempt == 2
        assert evaluations(resumed) == evaluations(undisturbed)
        assert facts(resumed)["pack_widths"] == [3]
        assert "resuming at update 8 of 12" in resumed.stdout.read_text()


def test_a_lane_of_a_pack_that_died_resumes_alone_and_the_record_tells(queue_run, compute, monkeypatch):
    specs = specs_of(CNN, 2)
    whole, broken = queue_run(specs[1]), [queue_run(spec) for spec in specs]
    compute(after(8, die))
    work_until_death(broken, monkeypatch)
    assert main([str(broken[1].directory)]) == EXIT_OK
    assert main([str(whole.directory)]) == EXIT_OK
    told = facts(broken[1])
    assert (told["pack_width"], told["pack_implementation"]) == (1, "alone")
    assert (told["image_bytes"], told["train_images_device_bytes"]) == (64, 64 * specs[1].train_size)
    assert (told["pack_widths"], told["pack_implementations"]) == ([2, 1], ["fused", "alone"])
    assert_agree(evaluations(broken[1]), evaluations(whole))


def test_what_reaches_a_lanes_log_anyway_is_not_copied(queue_run):
    paths = queue_run(SPEC)
    lane = Lane(acquire(paths, 1), is_one_of_several=True)
    lane.say("once")
    ours, log = os.dup(1), os.open(paths.stdout, os.O_WRONLY)
    os.dup2(log, 1)
    lane.say("the scheduler has made this file our output")
    os.dup2(ours, 1)
    os.close(ours)
    os.close(log)
    assert paths.stdout.read_text() == f"{paths.run_id}: once\n"


def test_memory_that_runs_out_leaves_images_in_their_file_and_then_halves_the_pack(
    queue_run, compute, monkeypatch
):
    places = []

    class Large(Fused):
        steps = 0

        def step(self, lanes):
            Large.steps += 1
            if len(self._trainers) > 2 and Large.steps > 8:
                places.append({type(trainer.subset) for trainer in self._trainers})
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            super().step(lanes)

    # Checkpoints as if they were due after each update.
    monkeypatch.setattr("tui_datasize.training.session._READING_INTERVAL_S", 0.0)
    monkeypatch.setattr("tui_datasize.training.session.save_interval_s", lambda _: 0.0)
    compute(Large)
    runs = [queue_run(spec) for spec in specs_of(CNN, 3)]
    assert work(runs) == EXIT_OK
    assert ends(runs) == [(RunOutcome.SUCCEEDED, "")] * 3
    assert places == [{DeviceSplit}, {MappedSplit}]
    assert [facts(paths)["pack_widths"] for paths in runs] == [[3, 2], [3, 2], [3, 1]]
    told = runs[2].stdout.read_text()
    assert "out of memory in a pack of 3, going on with the images left in their file" in told
    assert "out of memory in a pack of 3, going on in a smaller one" in told
    assert "resuming at update 8" in told


def test_a_run_alone_goes_on_with_its_images_in_their_file_before_it_fails(queue_run, monkeypatch, capsys):
    places = []

    def step(trainer, steps=engine.Trainer.step):
        places.append(type(trainer.subset))
        if len(places) == 3 or (is_hopeless and len(places) == 6):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        steps(trainer)

    monkeypatch.setattr(engine.Trainer, "step", step)
    for is_hopeless in (False, True):
        places.clear()
        run = queue_run(SPEC)
        assert work([run]) == (EXIT_RUN_FAILED if is_hopeless else EXIT_OK)
        assert places[:4] == [DeviceSplit] * 3 + [MappedSplit]
        assert "out of memory alone, going on with the images left in their file" in capsys.readouterr().out
        ((outcome, reason),) = ends([run])
        assert outcome is (RunOutcome.FAILED if is_hopeless else RunOutcome.SUCCEEDED)
        assert reason.startswith("out of memory: ") == is_hopeless
        assert facts(run)["train_images_device_bytes"] == facts(run)["test_images_device_bytes"] == 0


def test_a_run_whose_images_are_in_their_file_already_is_not_tried_like_that_again(
    queue_run, monkeypatch, capsys
):
    tries = []

    def step(trainer):
        tries.append(type(trainer.subset))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(engine.Trainer, "step", step)
    monkeypatch.setattr("tui_datasize.training.packs.training.has_room", nowhere)
    run = queue_run(SPEC)
    assert work([run]) == EXIT_RUN_FAILED
    assert tries == [MappedSplit]
    assert "going on" not in capsys.readouterr().out


def test_an_error_of_what_lanes_share_ends_all_of_them(queue_run, compute):
    def fail():
        raise KeyError("surprise")

    compute(after(2, fail))
    runs = [queue_run(spec) for spec in specs_of(SPEC, 2)]
    assert work(runs) == EXIT_RUN_FAILED
    reason = "unexpected error: KeyError: 'surprise'; see stderr.log"
    assert ends(runs) == [(RunOutcome.FAILED, reason)] * 2
    assert "Traceback" in runs[1].stderr.read_text()


def test_a_lane_that_cannot_be_claimed_or_prepared_leaves_the_others(queue_run, compute, monkeypatch):
    compute(Fused)
    taken, broken, *sound = runs = [queue_run(spec) for spec in specs_of(CNN)]
    conclude(taken, 1, RunOutcome.CANCELLED, "cancelled by you")
    broken.spec.write_text("{}")
    assert work_as("1,1,1,1", runs, monkeypatch) == EXIT_RUN_FAILED
    assert [end[0] for end in ends(runs)] == [
        *(RunOutcome.CANCELLED, RunOutcome.FAILED, RunOutcome.SUCCEEDED, RunOutcome.SUCCEEDED)
    ]
    assert [facts(paths)["pack_width"] for paths in sound] == [2, 2]


def test_runs_that_do_not_fit_together_are_told(queue_run):
    runs = [queue_run(SPEC), queue_run(CNN)]
    assert work(runs) == EXIT_RUN_FAILED
    assert all("cannot be trained together" in reason for _, reason in ends(runs))


def test_wrong_attempts_are_told(queue_run, monkeypatch, capsys):
    runs = [queue_run(spec) for spec in specs_of(SPEC, 3)]
    for attempts in ("2,1", "2,1,one", "0,1,1"):
        assert work_as(attempts, runs, monkeypatch) == EXIT_BAD_INPUT
        assert "DATASIZE_ATTEMPT" in capsys.readouterr().err
    assert not any(paths.claim.exists() for paths in runs)


def test_the_faster_way_is_measured_once(digits, monkeypatch, tmp_path):
    def choose(width=2):
        return calibration.choose(SPEC, digits, torch.device("cpu"), width)

    measured = []

    def pretend(name, _spec, images, _device, width):
        assert images.image_shape == digits.image_shape
        measured.append((name, width))
        return {"fused": 1.0, "side by side": 3.0 / width}[name]

    assert choose() in ("fused", "side by side")
    (cached,) = tmp_path.rglob("packs/*.json")
    timings = json.loads(cached.read_text())["seconds_per_step"]
    assert all(seconds > 0 for seconds in timings.values())

    monkeypatch.setattr(calibration, "_seconds_per_step", pretend)
    choose()
    assert measured == []
    cached.write_text("{")
    assert [choose(), choose()] == ["fused", "fused"]
    assert choose(width=3) == "side by side"
    assert measured == [(name, width) for width in (2, 3) for name in ("side by side", "fused")]

    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert choose() == "fused"
    assert len(measured) == 6


def test_what_is_not_measured_is_not_measured_again(digits, monkeypatch):
    measured = []

    def pretend(name, spec, _images, _device, _width):
        measured.append(spec)
        return 1.0

    monkeypatch.setattr(calibration, "_seconds_per_step", pretend)
    spec = replace(SPEC, model=ModelSpec("resnet", {"depth": 8, "width": 4}))
    for size in (50, 59, 68):
        of_size = replace(spec, train_size=size, budget=Budget("samples", 10 * size))
        calibration.choose(of_size, digits, torch.device("cpu"), 2)
    assert len(measured) == len(calibration.IMPLEMENTATIONS)
    calibration.choose(replace(spec, batch_size=8), digits, torch.device("cpu"), 2)
    assert len(measured) == 2 * len(calibration.IMPLEMENTATIONS)


def test_what_cannot_be_fused_is_trained_side_by_side(digits, monkeypatch, capsys):
    class Impossible:
        def __init__(self, trainers):
            raise RuntimeError("vmap: no rule for this")

    monkeypatch.setattr(calibration, "IMPLEMENTATIONS", {"side by side": SideBySide, "fused": Impossible})
    assert calibration.choose(SPEC, digits, torch.device("cpu"), 2) == "side by side"
    assert "no rule for this" in capsys.readouterr().out
