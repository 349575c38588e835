"""The questions that can be asked of an experiment's runs, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from tui_datasize.answers.answer import Answer
    from tui_datasize.answers.record import Record


@dataclass(frozen=True, slots=True)
class Entry:
    """A question of the catalogue."""

    name: str
    """On the command line, and of the module in this package that answers it (with `_` for `-`)."""
    title: str

    def ask(self, record: Record) -> Answer:
        """Answer it; its module is imported now.

        Raises:
            ConfigError: What is asked makes no sense for the metric.
        """
        module = import_module(f"tui_datasize.answers.{self.name.replace('-', '_')}")
        return cast("Callable[[Record], Answer]", module.ask)(record)


QUESTIONS: Mapping[str, Entry] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            Entry("audit", "Can these numbers be trusted?"),
            Entry("variance", "Sources of the spread"),
            Entry("gap", "Training against test"),
            Entry("best", "Best evaluation against the last"),
        )
    }
)
