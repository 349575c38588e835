"""Every model of torchvision, whole, on a card of shapes: an update and an evaluation, one device, no waits.

`python -m benchmarks.models_on_shapes [MODEL ...]`

The tests try each kind of model with one block where the library has many; this tries what it has.
"""

from __future__ import annotations

import argparse
import sys
import time

import pytest

from tests.training.lazy_gpu import DevicesMixedError, HostWaitsError, LazyGpu
from tests.training.small_library import input_px
from tests.training.test_lazy_gpu import spec_of, train, trainer_of
from tui_datasize.experiments.architectures import TORCHVISION, TORCHVISION_MODELS
from tui_datasize.experiments.spec import ModelSpec

_OF_ONE_SIZE = ("maxvit_t", "vit_h_14")
_WHOLE_PX = 224


def main() -> int:
    """Try each and print a line for it; 1 where one mixes devices or waits for the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", default=TORCHVISION_MODELS)
    failed = 0
    for name in parser.parse_args().models:
        started_s = time.process_time()
        told = _try(name)
        failed += told != "ok"
        print(f"{name}: {told}, {time.process_time() - started_s:.1f} s of CPU time", flush=True)
    return int(failed > 0)


def _try(name: str) -> str:
    side_px = _WHOLE_PX if name in _OF_ONE_SIZE else input_px(name)
    model = ModelSpec(TORCHVISION + name, {"input_px": side_px})
    with pytest.MonkeyPatch.context() as patch, LazyGpu(patch).active() as gpu:
        try:
            train(gpu, trainer_of(spec_of({}, model)))
        except (AssertionError, DevicesMixedError, HostWaitsError, RuntimeError) as error:
            return f"{type(error).__name__}: {error}"
    return "ok"


if __name__ == "__main__":
    sys.exit(main())
