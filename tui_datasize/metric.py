"""The metrics that a learning curve is offered of, and how a value of each is written and read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tui_datasize.errors import ConfigError
from tui_datasize.text import number_and_unit


@dataclass(frozen=True, slots=True)
class Metric:
    """A column of the frame `runs` that a learning curve can be drawn of."""

    name: str
    title: str
    is_share: bool
    """Whether it lies in [0, 1] and is shown in percent."""
    higher_is_better: bool

    @property
    def is_cost(self) -> bool:
        """Whether it is a price of training, which grows with the data, and nothing that data improve."""
        return self.name.endswith("_s")

    @property
    def most(self) -> float:
        """The largest value that it can have; the smallest is 0 for every metric."""
        return 1.0 if self.is_share else math.inf

    @property
    def scale(self) -> float:
        """From a value to the number that is shown: percent for shares."""
        return 100.0 if self.is_share else 1.0

    @property
    def heading(self) -> str:
        return f"{self.in_words}{', %' if self.is_share else ''}"

    @property
    def in_words(self) -> str:
        """Its title within a sentence; what is written in capitals, such as F1, stays so."""
        return self.title[0].lower() + self.title[1:]

    @property
    def split_and_score(self) -> tuple[str, str]:
        """Of what evaluations measure, the split and the name in `SCORES`; empty strings for others."""
        split, _, score = self.name.partition("_")
        is_measured = split in ("test", "train", "validation") and any(one.name == score for one in SCORES)
        return (split, score) if is_measured else ("", "")

    def text(self, value: float, digits: int | None = None) -> str:
        """A value, in [0, 1] for a share, as people read it, with as many digits as tables have unless told.

        >>> metric_named("test_accuracy").text(0.9512), metric_named("test_loss").text(0.305)
        ('95.12 %', '0.3050')
        >>> metric_named("test_accuracy").text(-1e-9, 1), metric_named("wall_s").text(61.5)
        ('0.0 %', '61.50 s')
        """
        return self._number(value, digits) + (" %" if self.is_share else self._unit)

    def difference(self, value: float, digits: int | None = None) -> str:
        """A difference of two values without its sign: in points for shares.

        >>> metric_named("test_accuracy").difference(0.005)
        '0.50 points'
        """
        return self._number(value, digits) + (" points" if self.is_share else self._unit)

    def shows_none(self, value: float) -> bool:
        """Whether a difference is too small for its digits.

        >>> metric_named("test_accuracy").shows_none(-1e-6), metric_named("test_loss").shows_none(0.01)
        (True, False)
        """
        return self.difference(value) == self.difference(0.0)

    def change(self, value: float, digits: int | None = None) -> str:
        """A difference with its sign.

        >>> metric_named("test_accuracy").change(0.005), metric_named("test_loss").change(-0.02)
        ('+0.50 points', '-0.0200')
        """
        text = self.difference(value, digits)
        return f"+{text}" if value > 0 and text != self.difference(0, digits) else text

    def exact(self, value: float) -> str:
        """A value as it was asked for, with all its digits.

        >>> metric_named("test_accuracy").exact(0.955), metric_named("test_loss").exact(0.25)
        ('95.5 %', '0.25')
        """
        return f"{self.scale * value:.10g}{' %' if self.is_share else self._unit}"

    def exact_difference(self, value: float) -> str:
        """The same of a difference of two values.

        >>> metric_named("test_accuracy").exact_difference(0.005)
        '0.5 points'
        """
        return f"{self.scale * value:.10g}{' points' if self.is_share else self._unit}"

    def read(self, text: str) -> float:
        """A value as a person writes it: `95`, `95%` and `.95` are the same share.

        Raises:
            ConfigError: It is no number, or may be a share or a percentage.

        >>> accuracy, loss = metric_named("test_accuracy"), metric_named("test_loss")
        >>> accuracy.read("95"), accuracy.read("99.5 %"), loss.read("0.3")
        (0.95, 0.995, 0.3)
        >>> metric_named("wall_s").read("90 s")
        90.0
        """
        number, unit = _read(text, f"target for {self.name}")
        if not self.is_share:
            if unit not in ("", self._unit.strip()):
                raise ConfigError(f"no target {text!r} for {self.name}", fix="give a number without a unit")
            return number
        if unit == "%":
            return number / 100
        if unit or number == 1:
            raise ConfigError(f"target {text!r} is unclear", fix="write 1% or 100%")
        return number / 100 if number > 1 else number

    def read_difference(self, text: str) -> float:
        """A difference of two values as a person writes it: of shares as `0.5%` or `0.5 points`.

        Raises:
            ConfigError: It is no number, or lacks its unit.

        >>> metric_named("test_accuracy").read_difference("0.5 points")
        0.005
        >>> metric_named("test_loss").read_difference("0.02")
        0.02
        """
        number, unit = _read(text, "gain")
        if unit not in (_OF_SHARES if self.is_share else ("", self._unit.strip())):
            example = "0.5% or 0.5 points" if self.is_share else "0.02"
            raise ConfigError(f"gain {text!r} is unclear", fix=f"write it like {example}")
        return number / 100 if self.is_share else number

    @property
    def _unit(self) -> str:
        return " s" if self.name.endswith("_s") else ""

    def _number(self, value: float, digits: int | None) -> str:
        usual = 2 if self.is_share or self._unit else 4
        return f"{self.scale * value:z.{usual if digits is None else digits}f}"


@dataclass(frozen=True, slots=True)
class Score:
    """What each evaluation measures of a split: a column of `metrics.jsonl`, and `SPLIT_name` of runs."""

    name: str
    title: str
    is_share: bool = True
    higher_is_better: bool = True


SCORES: tuple[Score, ...] = (
    Score("accuracy", "accuracy"),
    Score("loss", "loss", is_share=False, higher_is_better=False),
    Score("f1_macro", "macro F1"),
    Score("balanced_accuracy", "balanced accuracy"),
    Score("worst_class_accuracy", "accuracy of the worst class"),
    Score("auroc", "AUROC"),
    Score("top5", "top-5 accuracy"),
    Score("ece", "calibration error", higher_is_better=False),
    Score("margin_correct", "margin where correct"),
    Score("margin_wrong", "margin where wrong", higher_is_better=False),
)


def _of_split(split: str) -> tuple[Metric, ...]:
    return tuple(
        Metric(f"{split}_{one.name}", f"{split.title()} {one.title}", one.is_share, one.higher_is_better)
        for one in SCORES
    )


METRICS_OFFERED: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            *_of_split("test"),
            Metric("best_test_accuracy", "Best test accuracy", True, True),
            Metric("best_test_loss", "Test loss at best accuracy", False, False),
            *_of_split("train"),
            *_of_split("validation"),
            Metric("wall_s", "Training time, s", False, False),
        )
    }
)
"""Everything a learning curve is offered of, by column; all but the `best_...` are of the last evaluation."""


def metric_named(name: str) -> Metric:
    """Look a metric up; raises ConfigError: there is none of that name."""
    if name not in METRICS_OFFERED:
        raise ConfigError(f"no metric {name!r}", fix=f"known are {', '.join(METRICS_OFFERED)}")
    return METRICS_OFFERED[name]


_OF_SHARES = ("%", "points", "point")


def _read(text: str, what: str) -> tuple[float, str]:
    try:
        return number_and_unit(text, (*_OF_SHARES, "s"))
    except ValueError:
        raise ConfigError(f"no {what}: {text!r}", fix="give a number such as 95% or 0.95") from None
