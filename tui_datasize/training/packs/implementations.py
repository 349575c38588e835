"""The ways to compute the lanes of a pack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from tui_datasize.training.accelerator.device import accelerator_of
from tui_datasize.training.engine import Trainer
from tui_datasize.training.packs.fused import Fused
from tui_datasize.training.provenance import Implementation


class SideBySide:
    """Makes every lane's updates as the run alone would, bit for bit.

    On a GPU each lane works on a stream of its own, so that their kernels, each of which fills a small
    part of the device, run at the same time. Whatever else is done with the trainers belongs on the
    stream that is current at a step: it comes after the steps before it and before those after it. All
    lanes are on one device.
    """

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        self._trainers = tuple(trainers)
        self._accelerator = accelerator_of(trainers[0].device)
        self._streams = [self._accelerator.stream() for _ in trainers]

    def step(self, lanes: Sequence[int]) -> None:
        """Make one update of each of the given lanes; one that is left out stays as it is.

        All begin after the current stream's work so far, which goes on after all of them.
        """
        current = self._accelerator.current_stream()
        begin = current.mark()
        try:
            for lane in lanes:
                self._streams[lane].follow(begin)
                with self._streams[lane]:
                    self._trainers[lane].step()
        finally:
            # Where one fails, too: memory that is given up must not be written to any more.
            for lane in lanes:
                current.follow(self._streams[lane].mark())


Together: TypeAlias = SideBySide | Fused
PutTogether: TypeAlias = Callable[[Sequence[Trainer]], Together]

IMPLEMENTATIONS: Mapping[Implementation, PutTogether] = MappingProxyType(
    {"side by side": SideBySide, "fused": Fused}
)
