"""The questions that can be asked of an experiment's runs, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.answers.answer import Answer
    from tui_datasize.answers.record import Record


@dataclass(frozen=True, slots=True)
class Entry:
    """A question of the catalogue."""

    name: str
    """On the command line, and of the module in this package that answers it."""
    title: str
    module: str = ""
    """Where its module is not named like it."""
    is_brief: bool = False
    """Whether it is among the first that `analyze` prints."""
    needs: str = ""
    """What runs must have for it, where its module says in `is_offered` which do; empty for any."""
    has_page: bool = True
    """Whether the app shows it on a page of its own, and not with the learning curve."""

    def ask(self, record: Record) -> Answer:
        """Answer it; its module is imported now.

        Raises:
            ConfigError: What is asked makes no sense for the metric.
        """
        return cast("Callable[[Record], Answer]", self._module().ask)(record)

    def is_offered(self, runs: pl.DataFrame) -> bool:
        """Whether there is anything to ask of the runs of an experiment, schema `RUNS`, at all."""
        if not self.needs:
            return True
        return cast("Callable[[pl.DataFrame], bool]", self._module().is_offered)(runs)

    def _module(self) -> ModuleType:
        return import_module(f"tui_datasize.answers.{self.module or self.name.replace('-', '_')}")


QUESTIONS: Mapping[str, Entry] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            Entry("answer", "Answer", "first_answer", is_brief=True, has_page=False),
            Entry("plan", "Which runs to queue next"),
            Entry("audit", "Can these numbers be trusted?", is_brief=True),
            Entry("curve", "Learning curve", "learning_curve", is_brief=True, has_page=False),
            Entry("forecast", "Beyond the largest size", is_brief=True, has_page=False),
            Entry("variants", "Variants compared", is_brief=True, needs="two variants"),
            Entry("spread", "Spread between runs", is_brief=True),
            Entry("variance", "Sources of the spread", is_brief=True),
            Entry("courses", "Training curves", "training_curves"),
            Entry("surface", "Metrics over size and training"),
            Entry("gap", "Training against test"),
            Entry("best", "Best evaluation against the last"),
            Entry("classes", "Learning curve of each class"),
            Entry("confusions", "Confusion matrix"),
            Entry("calibration", "Calibration"),
            Entry("margins", "Margins of right and wrong answers"),
            Entry("overlap", "Overlap of subset draws", has_page=False),
            Entry("agreement", "Agreement of runs"),
            Entry("conditions", "Transfer conditions", needs="runs that start from others' weights"),
            Entry("options", "Swept options", needs="an option that is swept"),
            Entry("cost", "Metric against training time"),
            Entry("ensembles", "Ensembles of runs"),
            Entry("laws", "Laws", has_page=False),
        )
    }
)
