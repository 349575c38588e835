"""What a person asks of a learning curve: as written into a dialog, and as the analysis takes it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from tui_datasize.answers.asked import Asked
from tui_datasize.errors import ConfigError
from tui_datasize.text import MOST_COUNT

if TYPE_CHECKING:
    from tui_datasize.metric import Metric

T = TypeVar("T")

FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "target": "how many images for this value? e.g. {target}",
        "fit from": "leave smaller sizes out of the fits, e.g. 1000",
        "worth it": "least gain that a doubling is worth, e.g. {delta}",
        "predict at": "e.g. 20000 (empty if a target is set)",
        "budget": "runs to plan, e.g. 20 (empty: as many again)",
    }
)
"""What may be written, and an example of each."""


def asked_as_written(asked: Asked, metric: Metric) -> dict[str, str]:
    """What is asked as it stands in the fields, by the names of `FIELDS`."""
    return {
        "target": "" if asked.target is None else metric.exact(asked.target),
        "fit from": str(asked.fit_from or ""),
        "worth it": "" if asked.delta is None else metric.exact_difference(asked.delta),
        "predict at": f"{asked.at:.0f}" if asked.at else "",
        "budget": str(asked.runs or ""),
    }


def examples(metric: Metric) -> dict[str, str]:
    """An example for each field, by the names of `FIELDS`."""
    target, delta = ("95", "0.5%") if metric.is_share else ("0.1", "0.02")
    return {name: text.format(target=target, delta=delta) for name, text in FIELDS.items()}


def read_asked(written: Mapping[str, str], metric: Metric) -> Asked:
    """What the fields say.

    Raises:
        ConfigError: A text is no number, or what is asked makes no sense.
    """
    asked = Asked(
        target=_value_of(written["target"], metric.read),
        fit_from=_read(written, "fit from", _count, "a number of images") or 0,
        delta=_value_of(written["worth it"], metric.read_difference),
        at=_read(written, "predict at", _count, "a number of images"),
        runs=_read(written, "budget", _count, "a number of runs"),
    )
    asked.check(metric)
    asked.check_plan(metric)
    return asked


def _value_of(text: str, read: Callable[[str], float]) -> float | None:
    return read(text) if text.strip() else None


def _read(written: Mapping[str, str], name: str, kind: Callable[[str], T], expected: str) -> T | None:
    text = written[name].strip()
    if not text:
        return None
    try:
        return kind(text)
    except ValueError:
        raise ConfigError(f"{name}: {text!r} is not {expected}") from None


def _count(text: str) -> int:
    number = int(text.replace(",", "").replace("_", "").replace(" ", ""))
    if not 1 <= number <= MOST_COUNT:
        raise ValueError(number)
    return number
