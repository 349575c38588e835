"""Images/s of a run alone and of several in one process, and how long a process needs to its first update."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace

from tui_datasize.experiments.spec import ModelSpec, RunSpec
from tui_datasize.programs import python_module
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.packs.implementations import IMPLEMENTATIONS
from tui_datasize.training.provenance import Implementation
from tui_datasize.training.selftest import subject as subjects
from tui_datasize.training.selftest.findings import Findings
from tui_datasize.training.selftest.subject import Subject

_START_PATIENCE_S = 60
_WAYS: tuple[Implementation, ...] = ("side by side", "fused")


def run(subject: Subject, findings: Findings) -> None:
    """Measures; whether that is fast is for a person to say."""
    findings.figure("process_start_s", _process_start_s())
    data = subjects.dataset(1024, (1, 28, 28))
    cnn = subjects.spec(_small(is_card=subject.is_card), train_size=1024, batch_size=72)
    width = 8 if subject.is_card else 2
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
    if subject.is_card:
        _larger(subject, findings)
    findings.say(f"cnn3 28 px: {alone:,.0f} images/s alone, {together[way]:,.0f} as {width} runs {way}")


def _larger(subject: Subject, findings: Findings) -> None:
    colour = subjects.dataset(1024, (3, 32, 32))
    resnet = subjects.spec(ModelSpec("resnet", {"depth": 20}), train_size=1024, batch_size=128)
    findings.figure("resnet20_images_per_s", _rate(subject, [resnet], colour, "side by side"))
    lanes = [replace(resnet, seed=lane) for lane in range(8)]
    findings.figure("resnet20_pack_images_per_s", _rate(subject, lanes, colour, "side by side"))


def _small(*, is_card: bool) -> ModelSpec:
    return ModelSpec("cnn3") if is_card else ModelSpec("cnn3", {"width": 8})


def _rate(subject: Subject, specs: Sequence[RunSpec], data: LoadedDataset, way: Implementation) -> float:
    """Images/s of all lanes together."""
    together = IMPLEMENTATIONS[way]([subject.trainer(spec, data) for spec in specs])
    step_s = subject.seconds_per_step(lambda: together.step(range(len(specs))), longest_s=4.0)
    return len(specs) * specs[0].batch_size / step_s


def _process_start_s() -> float:
    """From the start of a process to the end of its first update."""
    started_s = time.monotonic()
    subprocess.run(python_module(__name__), check=True, timeout=_START_PATIENCE_S)
    return time.monotonic() - started_s


def main() -> None:
    """Make one update and wait for it."""
    subject = Subject.chosen()
    data = subjects.dataset(72, (1, 28, 28))
    spec = subjects.spec(_small(is_card=subject.is_card), train_size=72, batch_size=72)
    subjects.make(subject.trainer(spec, data), 1).read()


if __name__ == "__main__":
    main()
