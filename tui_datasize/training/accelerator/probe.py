"""Whether a GPU can train: it is opened, a convolution goes forward and backward, the work is waited for."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import conv2d

from tui_datasize.errors import EXIT_OK, EXIT_RUN_FAILED, DeviceUnavailable
from tui_datasize.training.accelerator import faults
from tui_datasize.training.accelerator.device import chosen
from tui_datasize.training.accelerator.interface import Accelerator


def probe(accelerator: Accelerator | None = None) -> dict[str, Any]:
    """Facts of the device of this process, and `free_bytes`, once a convolution went forward and backward.

    Raises DeviceUnavailable: any of this fails, or gives what is no number.
    """
    one = accelerator or chosen()
    one.initialise()
    with faults.while_opening():
        images = torch.ones((8, 3, 16, 16), device=one.device)
        weights = torch.full((4, 3, 3, 3), 0.5, device=one.device, requires_grad=True)
        conv2d(images, weights, padding=1).square().mean().backward()  # type: ignore[no-untyped-call]
        one.wait()
        assert weights.grad is not None
        if not bool(weights.grad.isfinite().all()):
            raise RuntimeError("a convolution of ones gave what is no number")
        return one.facts() | {"free_bytes": one.free_bytes()}


def main(_argv: Sequence[str] = ()) -> int:
    """Probe the device that `CUDA_VISIBLE_DEVICES` names and print what was found as one line of JSON.

    Returns:
        Exit status: 0 it can train, 1 it cannot.
    """
    try:
        print(json.dumps({"usable": True, **probe()}), flush=True)
    except DeviceUnavailable as unusable:
        print(json.dumps({"usable": False, "what": unusable.what, "fix": unusable.fix}), flush=True)
        return EXIT_RUN_FAILED
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
