"""Lanes one beside the other: each run's own updates, in one process."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tui_datasize.training.engine import Trainer


class SideBySide:
    """Makes every lane's updates as the run alone would, bit for bit.

    On a GPU each lane works on a stream of its own, so that their kernels, each of which fills a small
    part of the device, run at the same time. Whatever else is done with the trainers belongs on the
    stream that is current at a step: it comes after the steps before it and before those after it.

    Args:
        trainers: One for each lane, all on one device.
    """

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        self._trainers = tuple(trainers)
        self._device = trainers[0].device
        self._streams = (
            [torch.cuda.Stream(self._device) for _ in trainers]  # type: ignore[no-untyped-call]
            if self._device.type == "cuda"
            else []
        )

    def step(self, lanes: Sequence[int]) -> None:
        """Make one update of each of the given lanes."""
        if self._streams:
            self._step_on_streams(lanes)
            return
        for lane in lanes:
            self._trainers[lane].step()

    def _step_on_streams(self, lanes: Sequence[int]) -> None:
        """Have all lanes begin after the current stream's work so far, which goes on after all of them."""
        current = torch.cuda.current_stream(self._device)
        begin = current.record_event()
        try:
            for lane in lanes:
                self._streams[lane].wait_event(begin)
                with torch.cuda.stream(self._streams[lane]):
                    self._trainers[lane].step()
        finally:
            # Where one fails, too: memory that is given up must not be written to any more.
            for lane in lanes:
                current.wait_stream(self._streams[lane])
