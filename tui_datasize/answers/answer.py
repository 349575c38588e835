"""What an answer is made of: sentences, tables and figures as data, the same for every printer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tui_datasize.stats.question import Question

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.experiments.spec import RunSpec
    from tui_datasize.metric import Metric

Tone: TypeAlias = Literal["plain", "good", "aside", "note", "warning", "error"]
"""How a sentence is to be taken: `aside` is for who wants to know more, the last three are the severities of
a finding, which printers write before it."""

SEVERITIES: tuple[Tone, ...] = ("note", "warning", "error")

Kind: TypeAlias = Literal[
    "text", "count", "number", "p", "share", "points", "value", "difference", "spread", "cell"
]
"""How a column is written: a share in percent and a difference of shares in points; `value`, `difference` and
`spread` (a difference without sign) are in units of the table's metric. A `cell` is
a struct: `mean`, `half` of its interval, `n_runs` (both null where they are not shown) and `is_best`."""

Ink: TypeAlias = int | Literal["run", "mean", "law", "forecast", "target", "muted"]
"""Whose colour something has: one of a row of like things, by number, or what it is on a learning curve."""

Mark: TypeAlias = Literal["", "dot", "ring", "small", "diamond", "bar"]


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, its point included."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a frame that a table shows."""

    name: str
    title: str
    """Without its unit."""
    kind: Kind = "count"


NAMING = (
    Column("experiment", "experiment", "text"),
    Column("variant", "variant", "text"),
    Column("train_size", "train size"),
    Column("subset_seed", "draw"),
    Column("seed", "seed"),
    Column("repeat", "repeat"),
)
"""Columns of the frame `runs` that tell runs apart."""


@dataclass(frozen=True)
class Table:
    """A frame, and how it is written; `variant` is shown where there are several."""

    frame: pl.DataFrame
    columns: Sequence[Column]
    """Texts first. Those without any value are not shown."""
    metric: Metric
    title: str = ""
    is_detail: bool = False
    """For who asks for everything."""


@dataclass(frozen=True)
class Line:
    """A series of shown values (percent for shares); None and NaN interrupt it."""

    name: str
    """In the legend; empty for none."""
    x: Sequence[float]
    y: Sequence[float | None]
    ink: Ink
    mark: Mark = ""
    is_joined: bool = True
    is_thin: bool = False

    @classmethod
    def of(
        cls, rows: pl.DataFrame, x: str, y: str, by: float, name: str, ink: Ink, mark: Mark = "", **how: bool
    ) -> Line:
        """One column over another, its values times a factor."""
        return cls(name, rows[x].to_list(), (by * rows[y]).to_list(), ink, mark, **how)


@dataclass(frozen=True)
class Band:
    """The area between two lines."""

    x: Sequence[float]
    low: Sequence[float | None]
    high: Sequence[float | None]
    ink: Ink
    name: str = ""


@dataclass(frozen=True, slots=True)
class Box:
    """A box plot at one place; whiskers reach to the last value within 1.5 interquartile ranges."""

    x: float
    whisker_low: float
    q1: float
    median: float
    q3: float
    whisker_high: float
    outliers: Sequence[float]


@dataclass(frozen=True, slots=True)
class Axis:
    """What a chart is drawn over."""

    title: str
    is_log: bool = False
    floor: float | None = None
    """No room is added below it, such as 0 for a loss."""
    ceiling: float | None = None
    start: float | None = None
    """Always within the chart, such as 0 for a count of updates."""
    names: Sequence[str] = ()
    """At the places 0, 1, 2, ... of an axis without numbers."""


@dataclass(frozen=True)
class Chart:
    """Lines over two axes, from back to front: bands, boxes, lines."""

    title: str
    """What it shows, with whose."""
    x: Axis
    y: Axis
    lines: Sequence[Line] = ()
    bands: Sequence[Band] = ()
    boxes: Sequence[Box] = ()
    is_of_training: bool = False
    """Whether its lines are training curves, which a screen may smooth."""


@dataclass(frozen=True)
class Map:
    """Numbers in cells, coloured between the lowest and the highest; None and NaN leave a cell empty."""

    title: str
    row_title: str
    column_title: str
    rows: Sequence[str]
    """Labels, the first at the top; at least one."""
    columns: Sequence[str]
    values: Sequence[Sequence[float | None]]
    """`len(rows)` rows of `len(columns)` numbers."""
    digits: int = 1
    """Behind the point."""
    otherwise: Bars | None = None
    """Shown where a window leaves no room for the numbers."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One named value, and where it lies by chance; NaN where that is unknown."""

    name: str
    value: float
    words: str = ""
    """Behind the bar; empty for the value."""
    expected: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")

    @property
    def outside(self) -> int:
        """1 above what chance gives, -1 below, 0 within or where that is unknown."""
        return (self.value > self.high) - (self.value < self.low)


@dataclass(frozen=True)
class Bars:
    """Named values, in the order in which they are to be read."""

    title: str
    axis: Axis
    """Of the values."""
    bars: Sequence[Bar]
    heads: tuple[str, str] = ("", "")
    """Above the names and above the words; empty for no such line."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """Images side by side; a page shows them, a terminal says where."""

    title: str
    png: bytes


Figure: TypeAlias = Chart | Map | Bars | Sheet


@dataclass(frozen=True)
class Answer:
    """The answer to one question, of one metric of one experiment."""

    headline: str
    """The answer in one sentence, its number first; empty where the question does not apply to these runs."""
    sentences: Sequence[Sentence] = ()
    """What follows from it, what speaks against it."""
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    """The first is the one to show where there is room for one."""
    about: str = ""
    """What the numbers are of, such as "means over runs, last evaluation"."""
    why_not: str = ""
    """A sentence: why it does not apply, and what would make it."""
    rows: Callable[[], pl.DataFrame] | None = None
    """All rows, for export."""
    views: int = 1
    """Views that there are, see `Asked.view`."""
    sizes: int = 1
    """Train sizes that there are to choose from, see `Asked.size`."""
    proposed: Sequence[RunSpec] | None = None
    """Runs to queue; None where the question proposes none."""

    @property
    def applies(self) -> bool:
        return bool(self.headline)

    @classmethod
    def of_each(cls, told: Iterable[str], further: Iterable[Sentence | str] = (), **parts: Any) -> Answer:
        """The answer of several variants: the first one's is the headline, those of the others come next."""
        first, *others = told
        every = (*others, *further)
        return cls(first, [one if isinstance(one, Sentence) else Sentence(one) for one in every], **parts)


def does_not_apply(why: str, *, views: int = 1, proposed: Sequence[RunSpec] | None = None) -> Answer:
    """No answer, and why."""
    return Answer("", why_not=why, views=views, proposed=proposed)


@dataclass(frozen=True, slots=True)
class Asked(Question):
    """What is asked; nothing at first."""

    variant: str | None = None
    """Whose runs; None asks of all variants."""
    view: int = 0
    """Which of the views of an answer, counted round and round."""
    size: int = 0
    """Which of the train sizes, counted round and round from the largest."""

    def question(self) -> Question:
        return Question(self.fit_from, self.target, self.delta)

    def of_other_metric(self) -> Asked:
        return replace(self, target=None, delta=None)


NOTHING = Asked()
