"""Steps of a selftest find what is wrong; for a card stand operations that are recorded on the CPU."""

from __future__ import annotations

import json
import os
import signal

import pytest
import torch

from tests.training.graph_recorder import RecordedGraphs
from tests.training.strict_gpu import StrictGpu
from tui_datasize.errors import DeviceUnavailable
from tui_datasize.experiments.spec import ModelSpec
from tui_datasize.training.engine import Trainer
from tui_datasize.training.packs import training
from tui_datasize.training.selftest import devices, exactness, memory, speed, subject
from tui_datasize.training.selftest.record import Findings
from tui_datasize.training.selftest.subject import Subject

KIND = "cnn3 with dropout and clipping"


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """One kind of run, a few updates, on the CPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    kinds = subject.kinds
    monkeypatch.setattr(exactness, "kinds", lambda **_: {KIND: kinds(is_gpu=False)[KIND]})
    monkeypatch.setattr(exactness, "images", lambda **_: subject.dataset(96, (1, 28, 28)))
    for name in ("_PACK_UPDATES", "_RECORDED_UPDATES"):
        monkeypatch.setattr(exactness, name, 6)


def wrong_in(make, tmp_path):
    """The checks of a step that do not hold."""
    file = tmp_path / "step.json"
    make(Subject.chosen(), Findings(file))
    checks = json.loads(file.read_text())["checks"]
    assert checks
    return [check["name"] for check in checks if not check["good"]]


class LosesAnUpdate(RecordedGraphs):
    """A recording whose replays do nothing."""

    def record(self, work):
        made, _ = super().record(work)
        return made, lambda: None


@pytest.mark.parametrize(
    ("graphs", "wrong"), [(RecordedGraphs, []), (LosesAnUpdate, [f"{KIND}: recorded"])], ids=["sound", "lost"]
)
def test_recorded_updates_are_compared_with_single_ones(graphs, wrong, monkeypatch, tmp_path):
    def capture(_device, generators):
        return graphs(generators)

    monkeypatch.setattr(exactness, "capture_on", capture)
    # The way to record is the default of its last parameter.
    monkeypatch.setattr(Subject, "trainer", _with_default(Subject.trainer, capture))
    assert wrong_in(exactness.check_recording, tmp_path) == wrong


def _with_default(trainer, capture):
    return lambda self, spec, data, way=capture: trainer(self, spec, data, way)


def test_bits_that_differ_are_told(monkeypatch, tmp_path):
    def killed(_, folder):
        for name, spec in exactness.kinds(is_gpu=False).items():
            trainer = subject.make(Subject.chosen().trainer(spec, exactness.images(is_gpu=False)), 3)
            measured = trainer.read()
            state = {"trainer": trainer.state_dict(), "losses": list(measured.losses)}
            state["gradient_norms"] = list(measured.gradient_norms)
            exactness.checkpoint.save(folder / f"{name}.pt", exactness._IDENTITY, state)
        return -signal.SIGKILL

    monkeypatch.setattr(exactness, "_train_and_die", killed)
    monkeypatch.setattr(exactness, "in_fork", lambda work: work())
    assert wrong_in(exactness.check_bits, tmp_path) == []
    load = Trainer.load_state_dict

    def without_dropout(trainer, state):
        load(trainer, {**state, "dropout": trainer._dropout.get_state()})

    monkeypatch.setattr(Trainer, "load_state_dict", without_dropout)
    assert wrong_in(exactness.check_bits, tmp_path) == [f"{KIND}: after kill -9"]


@pytest.mark.long
def test_a_pack_that_halves_for_memory_is_told_from_one_that_does_not(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_LARGE", {"model": ModelSpec("mlp", {"hidden": 4}), "batch_size": 32})
    monkeypatch.setenv("DATASIZE_DATA", "")
    together = training._train_together

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    def wrong(train_together, folder):
        folder.mkdir()
        with monkeypatch.context() as patch, StrictGpu(patch):
            patch.setattr(training, "_train_together", train_together)
            return wrong_in(memory._check_pack, folder)

    assert wrong(full, tmp_path / "short") == []
    assert wrong(together, tmp_path / "enough") == [
        "a pack of 4 without memory is halved",
        "a pack of 2 without memory is halved",
    ]


def test_the_study_is_timed_in_each_way():
    found = speed.study_s(Subject.chosen(), ModelSpec("mlp", {"hidden": 4}), updates=1, images=48)
    assert list(found) == ["one after the other", "side by side", "fused"]
    assert min(found.values()) > 0


MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.95\n"


def test_a_driver_that_was_updated_under_the_system_is_told_by_whoever_knows(monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '{MISMATCH}'\nexit 18\n")
    tool.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(DeviceUnavailable) as caught:
        devices.check_probe(Subject.chosen(), Findings(tmp_path / "step.json"))
    told = (
        "nvidia-smi: Failed to initialize NVML: Driver/library version mismatch, NVML library version: 580.95"
    )
    assert told in caught.value.line
    assert json.loads((tmp_path / "step.json").read_text())["figures"]["nvidia_smi_refuses"] in told


def test_fused_lanes_that_do_not_agree_are_told(monkeypatch, tmp_path):
    assert wrong_in(exactness.check_packs, tmp_path) == []
    draw = exactness.Fused._draw_masks

    def halved(*given):
        return {name: 0.5 * mask for name, mask in draw(*given).items()}

    monkeypatch.setattr(exactness.Fused, "_draw_masks", halved)
    assert wrong_in(exactness.check_packs, tmp_path) == [f"{KIND}, 2 lanes", f"{KIND}, 3 lanes"]
