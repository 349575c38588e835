"""Whether recorded updates are the updates themselves, and what comes of one that cannot be recorded."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tui_datasize.training.accelerator.interface import Capture
from tui_datasize.training.engine import Trainer
from tui_datasize.training.graph import capture_on
from tui_datasize.training.selftest.record import Findings
from tui_datasize.training.selftest.subject import Subject, compare, images, kinds, make, outcome

_UPDATES = 40


class _Waits(nn.Module):
    """Has the host wait for the device, which no recording can hold."""

    def forward(self, values: Tensor) -> Tensor:
        return values * (2 if values.sum().item() > 0 else 3)


class NeverRecorded:
    """A way to record that refuses, and is otherwise the device's own."""

    def __init__(self, own: Capture) -> None:
        self.prepare, self.forget = own.prepare, own.forget

    def record(self, work: object) -> object:  # noqa: ARG002
        """Never.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("not recorded, for comparison")


def never_recorded(device: torch.device, generators: Sequence[torch.Generator]) -> Capture | None:
    """In the place of `capture_on`."""
    own = capture_on(device, generators)
    return NeverRecorded(own) if own else None  # type: ignore[return-value]


def run(subject: Subject, findings: Findings) -> None:
    """Compares recorded with single updates, without and with a recording that is refused between."""
    data = images(is_card=True)
    for name, spec in kinds(is_card=subject.is_card).items():
        single = make(subject.trainer(spec, data, never_recorded), _UPDATES)
        recorded = make(subject.trainer(spec, data), _UPDATES)
        findings.check(f"{name}: is recorded", recorded.replayed > 0, "no update was a replay")
        compare(findings, f"{name}: recorded", outcome(recorded, data), outcome(single, data))
    spec = kinds(is_card=subject.is_card)["cnn3 with dropout and clipping"]
    single, refused = (_waiting(subject.trainer(spec, data, way)) for way in (never_recorded, capture_on))
    for one in (single, refused):
        make(one, _UPDATES)
    findings.check("an update that waits is not recorded", refused.replayed == 0, "it was")
    compare(findings, "a run whose recording is refused", outcome(refused, data), outcome(single, data))
    after = make(subject.trainer(spec, data), _UPDATES)
    findings.check("runs after it are recorded", after.replayed > 0, "no update was a replay")
    findings.figure("replayed", after.replayed)
    findings.say(
        f"{after.replayed} of {_UPDATES} updates are replays, equal to single ones; a refused one goes on"
    )


def _waiting(trainer: Trainer) -> Trainer:
    trainer.model = nn.Sequential(_Waits(), trainer.model)
    return trainer
