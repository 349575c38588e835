"""Runs a scheduler on a machine with one GPU that is made up: `... fake_gpus MODULE ARGUMENTS`."""

from __future__ import annotations

import os
import runpy
import sys

from tests.unit.fake_nvml import FakeGpu, FakeNvml
from tui_datasize.jobs.scheduler import nvml

GPU = "GPU-made-up"


def main() -> None:
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    # Any library that is there.
    nvml._LIBRARY = "libc.so.6"
    sys.modules["pynvml"] = FakeNvml(FakeGpu(GPU, 24 * 2**30))  # type: ignore[assignment]
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
