"""The questions that can be asked of an experiment's runs, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, cast

from tui_datasize.runlog.paths import RunPaths

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
    compares_all: bool = False
    """Whether it needs all variants, and one of them as a baseline only where somebody chose it."""
    asks: str = ""
    """In a sentence, of those that have a page."""
    is_of_any: bool = False
    """Whether it is asked of runs that learn without labels, too."""
    reads: str = ""
    """What of the record it cannot do without: a key of `_RECORDED`; empty for what every run has."""

    def ask(self, record: Record) -> Answer:
        """Answer it; its module is imported now.

        Raises ConfigError: what is asked makes no sense for the metric.
        """
        if not self.suits(record.all_runs):
            return cast("Answer", _starts().NO_POINT)
        return cast("Callable[[Record], Answer]", self._module().ask)(record)

    def suits(self, runs: pl.DataFrame) -> bool:
        """Whether it makes sense of some runs: of such without labels alone few questions do."""
        return self.is_of_any or not _starts().is_all_there_is(runs)

    def is_offered(self, runs: pl.DataFrame) -> bool:
        """Whether there is anything to ask of the runs of an experiment, schema `RUNS`, at all."""
        if not self.suits(runs):
            return False
        if not self.needs:
            return True
        return cast("Callable[[pl.DataFrame], bool]", self._module().is_offered)(runs)

    def missing(self, runs: pl.DataFrame) -> str:
        """What the runs of an experiment, schema `RUNS`, lack for it, in a few words; mostly empty."""
        if not self.is_offered(runs):
            return self.needs if self.suits(runs) else "runs that learn from labels"
        return "" if not self.reads or _is_recorded(self.reads, runs) else _RECORDED[self.reads]

    def _module(self) -> ModuleType:
        return import_module(f"tui_datasize.answers.{self.module or self.name.replace('-', '_')}")


def _starts() -> ModuleType:
    return import_module("tui_datasize.answers.starts")


_RECORDED: Mapping[str, str] = MappingProxyType(
    {
        "metrics": "several evaluations of a run",
        "train_": "training scores",
        "test_margin": "margins",
        "wall_s": "training times",
        "per_class": "accuracies of classes",
        "confusion": "confusion matrices",
        "predictions": "predictions of images",
    }
)
"""Beginnings of columns of `RUNS` and files of a run, and what they hold; imported runs have few of them."""
_LOOKED_AT = 20
"""Runs of an experiment in which a file is looked for."""


def _is_recorded(what: str, runs: pl.DataFrame) -> bool:
    columns = [name for name in runs.columns if name.startswith(what) and name != "train_size"]
    if columns:
        return any(runs[name].null_count() < runs.height for name in columns)
    done = [RunPaths(Path(path)) for path in runs.filter(state="succeeded")["path"].head(_LOOKED_AT)]
    if what == "metrics":
        return any(_is_evaluated_again(run.metrics) for run in done)
    return any(getattr(run, what).exists() for run in done)


def _is_evaluated_again(metrics: Path) -> bool:
    with suppress(OSError), metrics.open() as lines:
        of_test = (line for line in lines if '"evaluation"' in line and '"test"' in line)
        return len(list(islice(of_test, 2))) > 1
    return False


_ENTRIES = (
    Entry("answer", "Answer", "first_answer", is_brief=True, has_page=False, is_of_any=True),
    Entry("plan", "Which runs to queue next", asks="What narrows the answer most?"),
    Entry(
        "audit",
        "Can these numbers be trusted?",
        is_brief=True,
        is_of_any=True,
        asks="What speaks against these runs?",
    ),
    Entry("curve", "Learning curve", "learning_curve", is_brief=True, has_page=False),
    Entry("forecast", "Beyond the largest size", is_brief=True, has_page=False),
    Entry(
        "variants",
        "Variants compared",
        is_brief=True,
        needs="two variants",
        asks="Which one needs fewer images?",
    ),
    Entry("spread", "Spread between runs", is_brief=True, asks="How far apart are equal runs?"),
    Entry("variance", "Sources of the spread", is_brief=True, asks="Is it the seed or the draw?"),
    Entry("training-curves", "Training curves", asks="How does a run of each size learn?", reads="metrics"),
    Entry(
        "surface",
        "Metrics over size and training",
        asks="Does training longer replace data?",
        reads="metrics",
    ),
    Entry("gap", "Training against test", asks="Where do runs overfit?", reads="train_"),
    Entry("best", "Best evaluation against the last", asks="Would stopping early pay?", reads="metrics"),
    Entry("classes", "Learning curve of each class", asks="Which classes need more data?", reads="per_class"),
    Entry(
        "groups",
        "Groups and further test sets",
        needs="groups or tests in experiments.toml",
        asks="Where does it fail?",
    ),
    Entry("confusions", "Confusion matrix", asks="What is taken for what?", reads="confusion"),
    Entry("calibration", "Calibration", asks="Is the confidence right?", reads="predictions"),
    Entry(
        "margins",
        "Margins of right and wrong answers",
        asks="How sure is it when it is wrong?",
        reads="test_margin",
    ),
    Entry("overlap", "Overlap of subset draws", has_page=False),
    Entry("agreement", "Agreement of runs", asks="Do runs err on the same images?", reads="predictions"),
    Entry(
        "conditions",
        "Transfer conditions",
        needs="runs that start from others' weights",
        asks="Do others' weights save images?",
    ),
    Entry("options", "Swept options", needs="an option that is swept", asks="Which option matters most?"),
    Entry(
        "tuned",
        "Options tuned on validation",
        needs="an option that is swept, and images held out",
        asks="Which options suit which size?",
    ),
    Entry(
        "search",
        "Architecture searched",
        needs="a search in experiments.toml",
        compares_all=True,
        asks="Which architecture suits which size?",
    ),
    Entry(
        "levers",
        "Levers beside more images",
        needs="two variants, seeds for an ensemble, or generated images",
        compares_all=True,
        asks="What is worth more than labels?",
    ),
    Entry(
        "starts",
        "Starts without labels",
        needs="runs that learn without labels",
        is_of_any=True,
        asks="What did they learn?",
    ),
    Entry("cost", "Metric against training time", asks="What is best for the time?", reads="wall_s"),
    Entry("ensembles", "Ensembles of runs", asks="What do several runs gain together?", reads="predictions"),
    Entry("laws", "Laws", has_page=False),
)
QUESTIONS: Mapping[str, Entry] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
