"""Images/s alone and together, a study at a tenth, and how long a process needs to its first update."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from tui_datasize.errors import EXIT_OK
from tui_datasize.experiments.spec import ModelSpec, OptimizerSpec, RunSpec
from tui_datasize.programs import python_module
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.packs.implementations import IMPLEMENTATIONS
from tui_datasize.training.provenance import Implementation
from tui_datasize.training.selftest import subject as subjects
from tui_datasize.training.selftest.child import in_fork
from tui_datasize.training.selftest.record import Findings
from tui_datasize.training.selftest.subject import Subject

_WAYS: tuple[Implementation, ...] = ("side by side", "fused")
_STUDY_SIZES = (750, 800, 1000, 1200, 1500, 2000, 2400, 3000, 4000, 6000, 12_000)
"""One seed of ten of the study of EMNIST Letters, whose 20,800 test images are measured twelve times."""
_STUDY_MODEL = ModelSpec("cnn3")
_STUDY_EVALUATIONS = 12
_ALONE = (0, 5, 10)
"""Runs of it that are also made one after the other; the others take what these do."""


def check_speed(subject: Subject, findings: Findings) -> None:
    """Measures; whether that is fast is for a person to say."""
    # To the end of the first update: from the start of a process, and from a fork of it as workers begin.
    started_s = time.monotonic()
    done = subprocess.run(python_module(__name__), check=True, stdout=subprocess.PIPE)
    findings.figure("process_start_s", time.monotonic() - started_s)
    findings.figure("fork_to_first_update_s", json.loads(done.stdout.splitlines()[-1]))
    data = subjects.dataset(1024, (1, 28, 28))
    cnn = subjects.spec(_small(is_gpu=subject.is_gpu), train_size=1024, batch_size=72)
    width = 8 if subject.is_gpu else 2
    alone = _rate(subject, [cnn], data, "side by side")
    findings.figure("cnn3_images_per_s", alone)
    findings.check("a run alone makes updates", alone > 0)
    lanes = [replace(cnn, seed=lane) for lane in range(width)]
    together = {way: _rate(subject, lanes, data, way) for way in _WAYS}
    findings.figure("cnn3_pack_images_per_s", {name: rate for name, rate in together.items()})
    way = max(together, key=lambda name: together[name])
    findings.figure("pack_gain", together[way] / alone)
    findings.figure("pack_way", way)
    findings.figure("pack_width", width)
    if subject.is_gpu:
        colour = subjects.dataset(1024, (3, 32, 32))
        resnet = subjects.spec(ModelSpec("resnet", {"depth": 20}), train_size=1024, batch_size=128)
        findings.figure("resnet20_images_per_s", _rate(subject, [resnet], colour, "side by side"))
        lanes = [replace(resnet, seed=lane) for lane in range(8)]
        findings.figure("resnet20_pack_images_per_s", _rate(subject, lanes, colour, "side by side"))
        findings.figure("study_at_a_tenth_s", {**study_s(subject)})
    findings.say(f"cnn3 28 px: {alone:,.0f} images/s alone, {together[way]:,.0f} as {width} runs {way}")


def study_s(
    subject: Subject, model: ModelSpec = _STUDY_MODEL, updates: int = 2000, images: int = 41_600
) -> dict[str, float]:
    """Seconds that a study's runs take, evaluations included: one after the other, and together."""
    data = subjects.dataset(images, (1, 28, 28))
    optimizer = OptimizerSpec("adamw", lr=4e-4, weight_decay=0.4)
    one = subjects.spec(model, batch_size=72, optimizer=optimizer)
    runs = [replace(one, train_size=min(size, images)) for size in _STUDY_SIZES]
    spent_s = [_train_s(subject, [runs[place]], data, "side by side", updates) for place in _ALONE]
    together_s = {str(way): _train_s(subject, runs, data, way, updates) for way in _WAYS}
    return {"one after the other": sum(spent_s) * len(runs) / len(spent_s), **together_s}


def _train_s(
    subject: Subject, specs: Sequence[RunSpec], data: LoadedDataset, way: Implementation, updates: int
) -> float:
    started_s = time.monotonic()
    trainers = [subject.trainer(spec, data) for spec in specs]
    together = IMPLEMENTATIONS[way](trainers)
    for update in range(1, updates + 1):
        together.step(range(len(trainers)))
        if update * _STUDY_EVALUATIONS % updates < _STUDY_EVALUATIONS:
            for trainer in trainers:
                subjects.outcome(trainer, data)
    return time.monotonic() - started_s


def _small(*, is_gpu: bool) -> ModelSpec:
    return ModelSpec("cnn3") if is_gpu else ModelSpec("cnn3", {"width": 8})


def _rate(subject: Subject, specs: Sequence[RunSpec], data: LoadedDataset, way: Implementation) -> float:
    together = IMPLEMENTATIONS[way]([subject.trainer(spec, data) for spec in specs])
    step_s = subject.seconds_per_step(lambda: together.step(range(len(specs))), longest_s=4.0)
    return len(specs) * specs[0].batch_size / step_s


def main() -> None:
    """Fork, have the child make one update, wait for it, and print how many seconds that took."""
    started_s = time.monotonic()
    status = in_fork(_make_first_update)
    print(time.monotonic() - started_s)
    sys.exit(status)


def _make_first_update() -> int:
    subject = Subject.chosen()
    data = subjects.dataset(72, (1, 28, 28))
    spec = subjects.spec(_small(is_gpu=subject.is_gpu), train_size=72, batch_size=72)
    subjects.make(subject.trainer(spec, data), 1).read()
    return EXIT_OK


if __name__ == "__main__":
    main()
