"""What runs take of a GPU's memory, in parts: a process, its lanes, their images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tui_datasize.experiments.device_settings import IMAGES_SHARE
from tui_datasize.files import known_object
from tui_datasize.runlog.paths import RunPaths

CONTEXT_BYTES = 768 * 2**20
"""What a process has on a GPU beyond its tensors, kernels and the driver's own, until that is measured."""
_LEAST_CONTEXT_BYTES = 64 * 2**20
"""Less means that it was not looked at while it had most."""


@dataclass(frozen=True, slots=True)
class PlacedImages:
    """Where the images of a run lie."""

    image_bytes: int
    """Of one."""
    train_bytes: int
    """On the device; 0 where the training images stay in their file."""
    test_bytes: int
    """Likewise; runs of one worker share them."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What was seen of a workload's runs."""

    in_file: bool
    """Whether their training images stay in their file."""
    work_bytes: int
    """Of one run, without images: weights, optimiser, activations, batches."""
    image_bytes: int
    """Of one image."""
    test_bytes: int
    """Test images on the device."""


def noted_images(paths: RunPaths, attempt: int) -> PlacedImages | None:
    """Where an attempt's images lie, as its worker noted; None where it has not."""
    noted = known_object(paths.provenance)
    return _images(noted) if noted.get("attempt") == attempt else None


def noted_memory(paths: RunPaths) -> Learned | None:
    """What a run that had its process to itself took at most, as its worker noted; None where it did not.

    In a container the driver may tell of no process what it has.
    """
    noted = known_object(paths.provenance)
    images, peak_bytes = _images(noted), noted.get("peak_device_memory_bytes")
    if images is None or not isinstance(peak_bytes, int) or noted.get("pack_widths", [1]) != [1]:
        return None
    return learn(peak_bytes, [images])


def noted_context(paths: RunPaths, seen_bytes: int) -> int:
    """What a process had beyond the tensors of its only run, which has ended; 0 where that is not told.

    `seen_bytes` is the most that the driver said the process had.
    """
    noted = known_object(paths.provenance)
    peak_bytes = noted.get("peak_device_memory_bytes")
    if not isinstance(peak_bytes, int) or noted.get("pack_widths", [1]) != [1]:
        return 0
    context_bytes = seen_bytes - peak_bytes
    return context_bytes if context_bytes >= _LEAST_CONTEXT_BYTES else 0


def learn(tensors_bytes: int, lanes: Sequence[PlacedImages]) -> Learned | None:
    """What a process with these lanes, at least one, tells of one; None where they are placed differently.

    `tensors_bytes` is all that it has on the GPU but its context.
    """
    in_file = {not lane.train_bytes for lane in lanes}
    if len(in_file) > 1:
        return None
    first = lanes[0]
    left_bytes = tensors_bytes - first.test_bytes - sum(lane.train_bytes for lane in lanes)
    return Learned(in_file.pop(), max(0, left_bytes) // len(lanes), first.image_bytes, first.test_bytes)


def need(
    learned: Sequence[Learned], train_size: int, gpu_bytes: int, context_bytes: int = CONTEXT_BYTES
) -> tuple[int, int] | None:
    """What its worker will take once for all runs, and the run itself; None where nothing is known of it.

    `learned` is of that: with images on the device, in their file, or both. `gpu_bytes` is the memory of the
    largest GPU, which decides where a worker leaves the images.
    """
    if not learned:
        return None
    images_bytes = train_size * max(one.image_bytes for one in learned)
    in_file = images_bytes > IMAGES_SHARE * gpu_bytes
    seen = next((one for one in learned if one.in_file == in_file), learned[0])
    return context_bytes + seen.test_bytes, seen.work_bytes + (0 if in_file else images_bytes)


def _images(noted: dict[str, Any]) -> PlacedImages | None:
    values = [noted.get(f"{name}_bytes") for name in ("image", "train_images_device", "test_images_device")]
    sizes = [value for value in values if isinstance(value, int) and value >= 0]
    return PlacedImages(*sizes) if len(sizes) == len(values) else None
