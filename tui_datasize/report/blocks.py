"""What a page is put together from, before it is HTML or Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tui_datasize.answers.answer import Figure as Picture


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is that of the page."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Words:
    """A paragraph; `kind` is empty, or the severity of a finding, which stands before it."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A table of texts."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    """Columns that are aligned to the left, from the first on; the others hold numbers."""
    is_folded: bool = False
    """Whether it is for specialists: a page shows it when it is asked to."""


@dataclass(frozen=True)
class Figure:
    """A chart and what it shows."""

    chart: Picture
    caption: str


Block: TypeAlias = Heading | Words | Table | Figure
