"""The ways to compute the lanes of a pack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, TypeAlias

from tui_datasize.training.engine import Trainer
from tui_datasize.training.packs.fused import Fused
from tui_datasize.training.packs.side_by_side import SideBySide
from tui_datasize.training.provenance import Implementation


class Together(Protocol):
    """Computes the updates of several runs."""

    def step(self, lanes: Sequence[int]) -> None:
        """Make one update of each of the given lanes; one that is left out stays as it is."""


PutTogether: TypeAlias = Callable[[Sequence[Trainer]], Together]

IMPLEMENTATIONS: Mapping[Implementation, PutTogether] = MappingProxyType(
    {"side by side": SideBySide, "fused": Fused}
)
