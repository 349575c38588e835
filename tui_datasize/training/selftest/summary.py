"""What a user may rely on, from the steps that were made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from tui_datasize.training.selftest.runner import StepResult

Figures: TypeAlias = Mapping[str, Any]


def summary(results: Mapping[str, StepResult]) -> list[str]:
    """What they come to: first what holds, then what is not known and why.

    Args:
        results: By the names of the steps, the first one among them.
    """
    made = [result for result in results.values() if result.verdict != "left out"]
    told = "; ".join(
        words for name, tell in _TOLD.items() for r in made if r.name == name for words in tell(r)
    )
    unknown: dict[str, list[str]] = {}
    for result in results.values():
        if result.verdict == "left out":
            unknown.setdefault(result.told, []).append(result.name)
    return [told, *(f"not tested, {why}: {', '.join(names)}" for why, names in unknown.items())]


def _yes_or_no(what: str, detail: str = "") -> Callable[[StepResult], Iterator[str]]:
    def tell(result: StepResult) -> Iterator[str]:
        yield f"{what}: yes{detail}" if result.verdict == "ok" else f"{what}: NO"

    return tell


def _speeds(result: StepResult) -> Iterator[str]:
    figures = result.figures
    if gain := figures.get("pack_gain"):
        yield f"packs: {gain:.1f}x ({figures.get('pack_width')} runs, {figures.get('pack_way')})"
    if start_s := figures.get("process_start_s"):
        yield f"process start: {start_s:.1f} s"
    if fork_s := figures.get("fork_to_first_update_s"):
        yield f"forked: {fork_s:.1f} s"
    if result.verdict == "fail":
        yield "speed: NOT measured to its end"


def _images(result: StepResult) -> Iterator[str]:
    if rate := result.figures.get("mapped_images_per_s"):
        yield f"images from disk: {rate:,.0f}/s"
    if result.verdict == "fail":
        yield "images from disk and in memory alike: NO"


_TOLD: Mapping[str, Callable[[StepResult], Iterator[str]]] = {
    "probe": _yes_or_no("the device computes"),
    "kernels": _yes_or_no("results are right", " (within rounding, against float64)"),
    "bits": _yes_or_no("bits repeat"),
    "recording": _yes_or_no("updates are recorded"),
    "packs": _yes_or_no("fused packs agree"),
    "memory": _yes_or_no("memory that runs out is survived"),
    "placement": _images,
    "speed": _speeds,
    "faults": _yes_or_no("no run drifts to the CPU"),
    "end-to-end": _yes_or_no("the queue works"),
    "tests": _yes_or_no("tests of the card pass"),
}
