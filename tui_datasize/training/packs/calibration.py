"""Which way of computing a pack is the faster one on this device.

It follows from the device, the libraries, the model and the number of lanes, so it is measured once
for each of these and kept in the user's cache directory.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import platformdirs
import torch

import tui_datasize
from tui_datasize.experiments.packing import pack_key
from tui_datasize.experiments.spec import Budget, LabelNoise, RunSpec
from tui_datasize.files import read_object
from tui_datasize.runlog.atomic import write_json
from tui_datasize.training import failures
from tui_datasize.training.accelerator import device as devices
from tui_datasize.training.accelerator.device import accelerator_of
from tui_datasize.training.arrays import ImageSplit, LoadedDataset
from tui_datasize.training.engine import Trainer
from tui_datasize.training.packs.implementations import IMPLEMENTATIONS
from tui_datasize.training.provenance import Implementation

_NEEDED_GAIN = 1.1
"""How much faster fusing must be: side by side, lanes have the bits of their runs alone."""
_MOST_STEPS = 30
_LONGEST_S = 1.0
_BATCHES = 2
_MANY_UPDATES = 1_000_000

Timings: TypeAlias = dict[Implementation, float]


def choose(spec: RunSpec, dataset: LoadedDataset, device: torch.device, width: int) -> Implementation:
    """The faster way to train `width` runs like this one together, measured where it is not known."""
    measured = _measured(spec)
    setting = _setting(measured, dataset, device, width)
    digest = hashlib.blake2b(json.dumps(setting).encode(), digest_size=8).hexdigest()
    file = platformdirs.user_cache_path("datasize-tui") / "packs" / f"{digest}.json"
    timings = _read(file)
    if timings is None:
        timings = _measure(measured, dataset, device, width)
        _write(file, setting, timings)
    return "fused" if timings["fused"] * _NEEDED_GAIN < timings["side by side"] else "side by side"


def _setting(spec: RunSpec, dataset: LoadedDataset, device: torch.device, width: int) -> dict[str, Any]:
    """All that the speed of an implementation depends on."""
    facts = devices.describe(device, spec.precision)
    return {
        "device": facts["device_name"],
        "torch_version": facts["torch"],
        "cudnn_version": facts.get("cudnn"),
        "package_version": tui_datasize.__version__,
        "pack_key": pack_key(spec),
        "image_shape": dataset.image_shape,
        "width": width,
    }


def _measured(spec: RunSpec) -> RunSpec:
    """The run that is timed: what decides a run's length, or its images, is none of an update's speed."""
    return replace(
        spec,
        train_size=_BATCHES * spec.batch_size,
        budget=Budget("updates", _MANY_UPDATES),
        label_noise=LabelNoise(),
        transfer=None,
    )


def _measure(spec: RunSpec, dataset: LoadedDataset, device: torch.device, width: int) -> Timings:
    numbers = np.random.default_rng(0)
    split = ImageSplit(
        images=numbers.integers(0, 256, (spec.train_size, *dataset.image_shape), dtype=np.uint8),
        labels=numbers.integers(0, len(dataset.class_names), spec.train_size),
        hashes=np.zeros(spec.train_size, dtype=np.uint64),
    )
    images = replace(dataset, name="synthetic", train=split, test=split)
    timings = {name: _seconds_per_step(name, spec, images, device, width) for name in IMPLEMENTATIONS}
    # The record of a run's memory is to tell of its training alone.
    accelerator_of(device).forget_peak()
    return timings


def _seconds_per_step(
    name: Implementation, spec: RunSpec, images: LoadedDataset, device: torch.device, width: int
) -> float:
    """Seconds that one update of all lanes takes, the best of many.

    Infinite where the implementation cannot compute this model, or not in the memory there is.
    """
    accelerator = accelerator_of(device)
    try:
        step = _updates(name, spec, images, device, width)
        return min(accelerator.times_s(step, _LONGEST_S, most=_MOST_STEPS))
    except (RuntimeError, ValueError) as error:
        if failures.ruins_process(error):
            raise
        print(f"{name} is left out: {failures.reason(error)}", flush=True)
        return math.inf
    finally:
        # The next one is to find the memory there is.
        accelerator.release_memory()


def _updates(
    name: Implementation, spec: RunSpec, images: LoadedDataset, device: torch.device, width: int
) -> Callable[[], None]:
    rows = np.arange(len(images.train.labels))
    trainers = [Trainer(replace(spec, seed=lane), images, rows, device) for lane in range(width)]
    return partial(IMPLEMENTATIONS[name](trainers).step, range(width))


def _read(file: Path) -> Timings | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = read_object(file)["seconds_per_step"]
        return {name: float(kept[name]) for name in IMPLEMENTATIONS}
    return None


def _write(file: Path, setting: Mapping[str, Any], timings: Timings) -> None:
    """Keep timings for the next pack; a cache that cannot be written is no reason to fail."""
    # Memory that was short now may be there next time.
    if not all(map(math.isfinite, timings.values())):
        return
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {"setting": setting, "seconds_per_step": timings})
