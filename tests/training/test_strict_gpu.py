"""A worker on a GPU that refuses what a real one refuses, from its claim to the end of its runs."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.training.helpers import evaluations
from tests.training.pack_runs import CNN, diverging, ends, specs_of, work
from tests.training.strict_gpu import NOT_OPENED, OUT_OF_MEMORY, StrictGpu
from tui_datasize.errors import EXIT_OK, EXIT_RUN_FAILED
from tui_datasize.experiments.augmentation import AugmentationSpec
from tui_datasize.experiments.pretext import LearningTask
from tui_datasize.experiments.spec import Budget
from tui_datasize.experiments.unlabelled import Unlabelled
from tui_datasize.runlog.claim import RunOutcome, read_exit
from tui_datasize.training import engine, pretext
from tui_datasize.training.accelerator.cuda import CudaCapture, CudaDevice
from tui_datasize.training.accelerator.interface import Accelerator
from tui_datasize.training.packs.fused import Fused
from tui_datasize.training.packs.implementations import SideBySide
from tui_datasize.training.worker import main

SUCCEEDED = (RunOutcome.SUCCEEDED, "")


@pytest.fixture
def gpu(monkeypatch):
    precision = torch.get_float32_matmul_precision()
    try:
        with StrictGpu(monkeypatch) as strict:
            yield strict
    finally:
        torch.set_float32_matmul_precision(precision)


def execute(*runs):
    return main([str(paths.directory) for paths in runs])


def facts(paths):
    return json.loads(paths.provenance.read_text())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"augmentation": AugmentationSpec(crop_padding_px=1, trivial_augment=True)},
        {"augmentation": AugmentationSpec(mixup=0.5, resized_crop=0.5, crop_px=8)},
        {"ema_decay": 0.9, "precision": "bf16"},
        {"unlabelled": Unlabelled("fixmatch", ratio=2)},
        {"task": LearningTask("rotation"), "validation": 0.3, "precision": "bf16"},
        {
            "task": LearningTask("simclr"),
            "validation": 0.4,
            "augmentation": AugmentationSpec(flip=0.5, contrast=0.3),
        },
    ],
    ids=[
        *("dropout and clipping", "trivial augment", "mixed targets and crops", "average and bf16"),
        *("images without labels", "rotation", "simclr"),
    ],
)
def test_a_run_goes_from_its_claim_to_its_end(changes, gpu, queue_run):
    paths = queue_run(replace(CNN, **changes))
    assert execute(paths) == EXIT_OK
    assert ends([paths]) == [SUCCEEDED]
    told = facts(paths)
    assert told["device_name"] == "Strict GPU"
    assert told["precision"] == changes.get("precision", "tf32")
    assert told["peak_device_memory_bytes"] == 3 << 20
    assert told["updates_replayed"] == gpu.replays == 12 - 3
    assert gpu.peak_resets == 1


@pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.9}, {"precision": "bf16"}], ids=str)
def test_evaluations_are_recorded_and_measure_what_those_made_as_they_are_do(
    changes, gpu, queue_run, monkeypatch
):
    spec = replace(CNN, evaluations=6, **changes)
    recorded, never = queue_run(spec), queue_run(spec)
    assert execute(recorded) == EXIT_OK
    # Three of six passes over either split, beside the updates.
    assert gpu.replays == facts(recorded)["updates_replayed"] + 2 * 3
    monkeypatch.setattr(CudaCapture, "record", refuse)
    assert execute(never) == EXIT_OK
    assert evaluations(recorded) == evaluations(never)


def test_the_evaluations_of_a_pack_share_their_memory(gpu, queue_run, compute, monkeypatch):
    compute(SideBySide)
    pools = []
    record = StrictGpu.record

    def noted(strict, graph, pool, **how):
        pools.append(pool)
        return record(strict, graph, pool, **how)

    monkeypatch.setattr(torch.cuda, "graph", lambda graph, pool, **how: noted(gpu, graph, pool, **how))
    assert work([queue_run(spec) for spec in specs_of(replace(CNN, evaluations=6), 3)]) == EXIT_OK
    # The first of each lane's updates begins a pool, and so does the first evaluation of them all.
    assert len(pools) == 3 + 3 * 2
    assert pools.count(None) == 3 + 1


def test_mixed_updates_of_a_fused_pack_are_recorded(gpu, queue_run, compute):
    compute(Fused)
    mixed = replace(CNN, augmentation=AugmentationSpec(mixup=0.5, cutmix=0.5))
    runs = [queue_run(spec) for spec in specs_of(mixed, 2)]
    assert work(runs) == EXIT_OK
    assert [facts(paths)["updates_replayed"] for paths in runs] == [12 - 3] * 2


def test_no_update_waits_for_the_device(gpu, queue_run):
    waits = []
    for updates in (8, 40):
        before = gpu.waits
        assert execute(queue_run(replace(CNN, budget=Budget("updates", updates)))) == EXIT_OK
        waits.append(gpu.waits - before)
    # To open the device, and for the recording.
    assert waits == [2, 2]


def test_statistics_asked_before_the_device_is_opened_end_the_run(gpu, queue_run, monkeypatch):
    monkeypatch.setattr(CudaDevice, "initialise", lambda _card: None)
    paths = queue_run(CNN)
    assert execute(paths) == EXIT_RUN_FAILED
    (end,) = ends([paths])
    assert NOT_OPENED in end[1]


@pytest.mark.parametrize(
    ("opening", "told"),
    [
        (RuntimeError("No CUDA GPUs are available"), "torch does not see the GPU"),
        (RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable"), "another process"),
        (torch.OutOfMemoryError(OUT_OF_MEMORY), "no memory left"),
        (AssertionError("Torch not compiled with CUDA enabled"), "a build without CUDA"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_a_device_that_cannot_be_opened_fails_no_run(opening, told, gpu, queue_run):
    gpu.opening = opening
    runs = [queue_run(CNN), queue_run(CNN)]
    assert execute(*runs) == EXIT_RUN_FAILED
    end = read_exit(runs[0])
    assert end.outcome is RunOutcome.INTERRUPTED
    assert told in end.device_fault
    # The process has no device for another one.
    assert not runs[1].claim.exists()


def test_a_run_whose_device_could_not_be_opened_runs_once_it_can(gpu, queue_run):
    gpu.opening = RuntimeError("No CUDA GPUs are available")
    paths = queue_run(CNN)
    assert execute(paths) == EXIT_RUN_FAILED
    gpu.opening = None
    assert execute(paths) == EXIT_OK
    assert ends([paths]) == [SUCCEEDED]


@pytest.mark.parametrize("at", [300, pytest.param(900, marks=pytest.mark.exhaustive)])
def test_a_device_that_is_lost_interrupts_the_run_which_goes_on_later(at, gpu, queue_run):
    gpu.lost_from = at
    paths, whole = queue_run(CNN), queue_run(CNN)
    assert execute(paths) == EXIT_RUN_FAILED
    end = read_exit(paths)
    assert (end.outcome, "ECC" in end.device_fault) == (RunOutcome.INTERRUPTED, True)
    gpu.lost_from = None
    assert execute(paths, whole) == EXIT_OK
    assert evaluations(paths) == evaluations(whole)


@pytest.mark.parametrize(
    "at", [3, 500, *(pytest.param(at, marks=pytest.mark.exhaustive) for at in (60, 200, 900))]
)
def test_memory_that_runs_out_once_changes_no_number(at, gpu, queue_run):
    paths, whole = queue_run(CNN), queue_run(CNN)
    gpu.refused_at = {at: torch.OutOfMemoryError(OUT_OF_MEMORY)}
    assert execute(paths, whole) == EXIT_OK if at > 3 else EXIT_RUN_FAILED
    if at > 3:
        assert evaluations(paths) == evaluations(whole)


def test_memory_that_never_suffices_fails_the_run_alone(gpu, queue_run, monkeypatch):
    paths = queue_run(CNN)
    step = engine.Trainer.step

    def full(trainer):
        gpu.is_full = True
        try:
            step(trainer)
        finally:
            gpu.is_full = False

    monkeypatch.setattr(engine.Trainer, "step", full)
    assert execute(paths) == EXIT_RUN_FAILED
    (end,) = ends([paths])
    assert end[0] is RunOutcome.FAILED
    assert end[1].startswith("out of memory: ")


@pytest.mark.parametrize("together", [SideBySide, Fused])
def test_a_pack_trains_and_one_that_diverges_leaves_the_others(together, gpu, queue_run, compute):
    compute(together)
    first, second, third = specs_of(CNN, 3)
    runs = [queue_run(spec) for spec in (first, diverging(second), third)]
    assert work(runs) == EXIT_RUN_FAILED
    outcomes = ends(runs)
    assert outcomes[0] == outcomes[2] == SUCCEEDED
    assert "loss became" in outcomes[1][1]
    assert gpu.replays > 0


def refuse(*_):
    raise RuntimeError("not recorded")


class Waits(nn.Module):
    """Waits for the device within an update, behind what draws from the stream."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        if not logits.is_meta:
            logits.sum().item()
        return logits


@pytest.fixture
def unrecordable(monkeypatch):
    build = pretext.build_model
    monkeypatch.setattr(pretext, "build_model", lambda *a, **o: Waits(build(*a, **o)))


def test_a_run_whose_recording_is_refused_goes_on_with_the_same_numbers(
    gpu, queue_run, unrecordable, monkeypatch, capsys
):
    refused, never = queue_run(CNN), queue_run(CNN)
    assert execute(refused) == EXIT_OK
    assert capsys.readouterr().out.count("updates are not recorded as a graph") == 1
    assert gpu.recordings == gpu.replays == 0
    monkeypatch.setattr(CudaCapture, "record", refuse)
    assert execute(never) == EXIT_OK
    assert evaluations(refused) == evaluations(never)


def test_a_stream_that_is_not_renewed_after_a_refused_recording_ends_the_run(
    gpu, queue_run, unrecordable, monkeypatch
):
    monkeypatch.setattr(CudaCapture, "_renewing_generators", lambda _capture: nullcontext())
    paths = queue_run(CNN)
    assert execute(paths) == EXIT_RUN_FAILED


def test_turing_computes_and_records_fp32(gpu, queue_run):
    gpu.capability = (7, 5)
    paths = queue_run(CNN)
    assert execute(paths) == EXIT_OK
    assert facts(paths)["precision"] == "fp32"
    assert torch.get_float32_matmul_precision() == "highest"
    refused = queue_run(replace(CNN, precision="tf32"))
    assert execute(refused) == EXIT_RUN_FAILED
    assert "compute capability 8.0" in ends([refused])[0][1]


def test_a_gpu_answers_nothing_as_a_cpu_does_unless_that_is_meant():
    asked = {name for name in vars(Accelerator) if not name.startswith("_")}
    # These are built on what each device answers for itself.
    assert asked - vars(CudaDevice).keys() == {"autocast", "times_s", "draws"}
